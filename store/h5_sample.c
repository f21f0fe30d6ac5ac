/* h5_sample DIR: makes a journal there, of a sweep with all that is odd in it, and its
 * sweep.h5, for tests/h5.t to compare the two through other readers' eyes. */
#include "base/file.h"
#include "base/mem.h"
#include "store/h5.h"
#include "store/rehearsal.h"
#include "store/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char yaml[] =
    "name: sample\ncommand: train --lr {lr}\n# \xc3\xa9t\xc3\xa9\n";

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "h5_sample: %s: %s\n", what, e->text);
    exit(1);
}

static void write_event(void *ctx, const struct event *ev, const struct verdict *v)
{
    journal_append(ctx, ev, v);
}

static void happen(struct sweep *sw, struct journal *j, double time, struct event *ev)
{
    struct verdict v;
    struct err e;

    ev->time = time;
    if (sweep_apply(sw, ev, &v, &e) != 0)
        die("apply", &e);
    journal_append(j, ev, &v);
}

/* A configuration that the space could not have made: a real among the integers, an
 * integer beyond 32 bits, a word among the numbers. */
static void add_given(struct sweep *sw, struct journal *j, double time)
{
    static const char params[] =
        "{\"l1\":100.5,\"optimizer\":\"ad\xc3\xa4m\",\"momentum\":\"auto\",\"seed\":3}";
    const struct space *space = sweep_spec(sw)->space;
    int n = space_count(space);
    struct value *given = mem_alloc((size_t)n * sizeof(*given));
    struct event ev;
    struct json js;
    struct err e;

    json_begin(&js, params, sizeof(params) - 1);
    if (space_scan(space, &js, given, &e) != 0 ||
        sweep_draw_given(sw, given, 1, &ev, &e) != 0)
        die("given", &e);
    happen(sw, j, time, &ev);
    values_free(given, n);
    free(given);
}

/* Reports of a running trial, with metrics that have odd names and values. */
static void report_oddly(struct sweep *sw, struct journal *j, double time)
{
    static const struct metric odd[] = {
        {{"val/loss", 8}, INFINITY},
        {{"val.loss", 8}, -INFINITY},
        {{"_v_hidden", 9}, 1},
        {{"step", 4}, 2},
        {{"with space", 10}, 3},
        {{"\xc3\xa9t\xc3\xa9", 5}, 4},
        {{"2nd", 3}, 5},
        {{"val_loss", 8}, NAN},
        {{"class", 5}, 1e-300},
    };

    for (int32_t i = 0; i < sweep_trials(sw); i++) {
        const struct trial *t = sweep_trial(sw, i);
        if (t->state != TRIAL_RUNNING)
            continue;
        struct event ev = {.kind = EVENT_REPORT, .trial = i, .attempt = t->attempts};
        ev.report.number = t->last_number + 1;
        ev.report.step = t->last_step + 1;
        ev.report.elapsed = 0.1;
        ev.report.metrics = odd;
        ev.report.n_metrics = (int)(sizeof(odd) / sizeof(odd[0]));
        happen(sw, j, time, &ev);
        return;
    }
}

static void make_journal(const char *dir, const struct spec *spec)
{
    struct event ev = {.kind = EVENT_EPOCH, .time = 1.7e9, .trial = -1};
    struct sweep *sw = sweep_new(spec);
    struct journal *j;
    struct err e;

    ev.epoch.version = SLICE("0.1.0");
    ev.epoch.host = SLICE("n017");
    ev.epoch.user = SLICE("ad\xc3\xa4");
    ev.epoch.command = SLICE("rung run sample.yaml");
    if (journal_begin(dir, &ev, &j, NULL, &e) != 0)
        die("begin", &e);
    struct rehearsal r = {.sw = sw,
                          .seed = 11,
                          .slots = 5,
                          .metrics = 3,
                          .trouble = 0.02,
                          .clock = 1.7e9,
                          .emit = write_event,
                          .ctx = j,
                          .limit = 400};
    rehearse(&r);
    add_given(sw, j, r.clock + 1);
    report_oddly(sw, j, r.clock + 2.5);
    if (journal_commit(j, &e) != 0)
        die("commit", &e);
    journal_close(j);
    sweep_free(sw);
}

int main(int argc, char **argv)
{
    struct history history;
    struct spec spec;
    struct err e;

    if (argc != 2)
        return 2;
    rehearsal_spec(&spec, 60, false);
    make_journal(argv[1], &spec);
    history_init(&history);
    struct replay r = {.sw = sweep_new(&spec), .history = &history, .verify = true};
    if (replay_run(&r, argv[1], NULL, &e) != 0)
        die("replay", &e);
    struct h5_input in = {.sw = r.sw,
                          .history = &history,
                          .name = "sample",
                          .yaml = yaml,
                          .yaml_len = sizeof(yaml) - 1,
                          .written = history.last + 1};
    char *path = path_join(argv[1], "sweep.h5");
    if (h5_write(path, &in, &e) != 0)
        die("h5", &e);
    printf("%lld events, %lld mismatches\n", (long long)history.events,
           (long long)r.mismatches);
    free(path);
    sweep_free(r.sw);
    history_clear(&history);
    spec_clear(&spec);
    return 0;
}
