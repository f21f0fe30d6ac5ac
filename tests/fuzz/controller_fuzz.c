/* The controller's mind against whatever comes over the wire, in any order. It goes on;
 * it journals nothing that a replay would not take or would decide otherwise; what it
 * sends can be read.
 *
 * The input is text. A line `{"rung":...` begins a packet, as it is; lines `{"item":...`
 * are added to it, or to one that agent N sends as an honest one would; `$T` in an item
 * stands for `"trial":T` with the attempt and the nonce that it has now. Other lines:
 *
 *     @N    from agent N from here on        +N    N tenths of a second go by
 *     jNAME job_started()                    gNAME job_gone()
 *     sT    stop trial T                     S     stop the sweep
 *     p     pause       r  resume            i     interrupt
 *     kKEY=VALUE  a setting                  xN    agent N of before is expected
 *     !     a new controller, from the journal */
#include "base/hash.h"
#include "base/mem.h"
#include "launcher/controller.h"
#include "sched/state_json.h"
#include "store/journal.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENTS      10
#define PACKETS_MAX 300

struct world {
    struct sweepfile file;
    struct sweep *sw, *shadow;
    struct costs *costs, *shadow_costs;
    struct controller *c;
    struct event_scratch *scratch;
    struct packet *reader;
    struct str journal; /* lines */
    struct str packet;  /* being made */
    bool raw;           /* it has a header of its own */
    uint64_t first;     /* number of its first numbered item */
    int agent;
    uint64_t next[AGENTS]; /* each honest agent's next number */
    int32_t epoch;
    double now;
    int packets;
};

/* ---- what the controller does ---- */

/* What was journaled, as its line says it, is taken and decided alike elsewhere. */
static void take_line(struct world *w, struct sweep *sw, struct costs *costs,
                      const char *line, size_t n)
{
    struct event ev;
    struct verdict v;
    struct err e = {0};

    if (event_decode(line, n, &ev, NULL, w->scratch, &e) != 0 ||
        sweep_apply(sw, &ev, &v, &e) != 0)
        fprintf(stderr, "%.*s\n%s\n", (int)n, line, e.text);
    FUZZ_CHECK(e.code == 0);
    FUZZ_CHECK((ev.kind != EVENT_REPORT && ev.kind != EVENT_START) || !v.mismatch);
    costs_event(costs, &ev, &v);
}

static void on_append(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct world *w = ctx;
    size_t start = w->journal.len;

    event_encode(ev, v, false, &w->journal);
    take_line(w, w->shadow, w->shadow_costs, w->journal.p + start,
              w->journal.len - start);
    str_addc(&w->journal, '\n');
}

static void on_send(void *ctx, uint64_t agent, const char *packet, size_t n)
{
    struct world *w = ctx;
    struct packet_head h;
    struct item it;
    uint64_t number;
    int rc;

    FUZZ_CHECK(packet_open(w->reader, packet, n, &h, NULL) == 0);
    FUZZ_CHECK(h.agent == agent && h.epoch == w->epoch && h.version == WIRE_VERSION);
    while ((rc = packet_next(w->reader, &it, &number, NULL)) == 1)
        FUZZ_CHECK(!item_numbered(it.kind));
    FUZZ_CHECK(rc == 0);
}

static void on_submit(void *ctx, int jobs)
{
    (void)ctx;
    FUZZ_CHECK(jobs > 0);
}

static enum job_state on_job_state(void *ctx, const char *job)
{
    (void)ctx;
    return *job ? (enum job_state)(hash64(job, strlen(job)) % 4) : JOB_UNKNOWN;
}

static double on_job_left(void *ctx, const char *job)
{
    (void)ctx;
    return *job & 1 ? 100.0 : (double)NAN;
}

static void on_say(void *ctx, const char *text)
{
    (void)ctx;
    FUZZ_CHECK(*text);
}

/* ---- the world ---- */

static void begin(struct world *w)
{
    static const struct controller_port port = {.append = on_append,
                                                .send = on_send,
                                                .submit = on_submit,
                                                .job_state = on_job_state,
                                                .job_left = on_job_left,
                                                .say = on_say};
    struct controller_config c = {.file = &w->file, .release = "t", .slots_per_job = 2};
    struct event ev = {.kind = EVENT_EPOCH, .trial = -1, .time = w->now};
    struct slice rest = {w->journal.p, w->journal.len}, line;

    c.epoch = ++w->epoch;
    c.sw = w->sw = sweep_new(&w->file.spec);
    c.costs = w->costs = costs_new(w->sw, &w->file);
    costs_free(w->shadow_costs);
    sweep_free(w->shadow);
    w->shadow = sweep_new(&w->file.spec);
    w->shadow_costs = costs_new(w->shadow, &w->file);
    while (fuzz_line(&rest, &line)) {
        take_line(w, w->sw, w->costs, line.p, line.len);
        take_line(w, w->shadow, w->shadow_costs, line.p, line.len);
    }
    timers_default(&c.timers);
    w->c = controller_new(&c, &port, w, w->now);
    controller_clock(w->c, w->now, w->now);
    ev.epoch.epoch = w->epoch;
    FUZZ_CHECK(sweep_apply(w->sw, &ev, NULL, NULL) == 0);
    on_append(w, &ev, NULL);
}

static void end(struct world *w)
{
    struct str live = STR_INIT, replayed = STR_INIT;
    struct cost spent = costs_total(w->costs, w->now),
                again = costs_total(w->shadow_costs, w->now);

    sweep_state_json(w->sw, &live);
    sweep_state_json(w->shadow, &replayed);
    FUZZ_SAME(&live, &replayed);
    FUZZ_CHECK(memcmp(&spent, &again, sizeof(spent)) == 0);
    FUZZ_CHECK(sweep_totals(w->sw)->open <= sweep_trials(w->sw));
    controller_free(w->c);
    costs_free(w->costs);
    sweep_free(w->sw);
    str_free(&live);
    str_free(&replayed);
}

static struct world *world_new(bool stop_mode, bool in_place)
{
    static const char *const names[] = {"x", "o", "m"};
    struct world *w = mem_alloc(sizeof(*w));
    struct spec *s = &w->file.spec;

    spec_init(s);
    s->objective[0].name = mem_strdup("loss");
    s->space = space_new();
    space_declare(s->space, names, 3);
    space_define(s->space, 0, "uniform(0, 1)", NULL, NULL, NULL);
    space_define(s->space, 1, "choice(sgd, adam)", NULL, NULL, NULL);
    space_define(s->space, 2, "2 ** randint(2, 9)", "o == \"sgd\"", NULL, NULL);
    s->trials = 20;
    s->max_t = 9;
    s->brackets = 2;
    s->mode = stop_mode ? MODE_STOP : MODE_PROMOTE;
    s->in_place = in_place;
    s->oom_param = 2;
    s->oom_factor = .5;
    s->oom_min = 1;
    w->file.slots = 5;
    w->file.idle = 20;
    w->file.resources.nodes = 1;
    w->file.resources.cpus = 1;
    w->journal = w->packet = (struct str)STR_INIT;
    w->scratch = event_scratch_new();
    w->reader = packet_new();
    w->now = 1000;
    for (int i = 0; i < AGENTS; i++)
        w->next[i] = 1;
    begin(w);
    return w;
}

static void world_free(struct world *w)
{
    end(w);
    costs_free(w->shadow_costs);
    sweep_free(w->shadow);
    event_scratch_free(w->scratch);
    packet_free(w->reader);
    str_free(&w->journal);
    str_free(&w->packet);
    spec_clear(&w->file.spec);
    free(w);
}

/* ---- packets ---- */

static void send_packet(struct world *w)
{
    struct packet_head h = {.version = WIRE_VERSION, .release = SLICE("t")};
    struct str whole = STR_INIT;
    uint64_t number;
    struct item it;

    if (w->packet.len == 0)
        return;
    if (!w->raw) {
        h.epoch = w->epoch;
        h.agent = (uint64_t)w->agent + 1;
        h.first = w->next[w->agent];
        packet_begin(&whole, &h);
    }
    str_addn(&whole, w->packet.p, w->packet.len);
    if (!w->raw && packet_open(w->reader, whole.p, whole.len, &h, NULL) == 0)
        while (packet_next(w->reader, &it, &number, NULL) == 1)
            w->next[w->agent] += item_numbered(it.kind);
    controller_packet(w->c, whole.p, whole.len);
    str_cut(&w->packet, 0);
    str_free(&whole);
    w->raw = false;
}

/* The members that name a trial's attempt. */
static void add_attempt(struct world *w, int64_t trial)
{
    const struct trial *t;

    if (trial >= sweep_trials(w->sw)) {
        str_addf(&w->packet, "\"trial\":%lld", (long long)trial);
        return;
    }
    t = sweep_trial(w->sw, (int32_t)trial);
    str_addf(&w->packet, "\"trial\":%d,\"attempt\":%d,\"nonce\":\"%016llx\"", (int)trial,
             (int)t->attempts, (unsigned long long)t->nonce);
}

static void add_item(struct world *w, struct slice line)
{
    while (line.len > 0) {
        if (fuzz_word(&line, "$")) {
            add_attempt(w, fuzz_number(&line, INT32_MAX));
        } else {
            str_addc(&w->packet, *line.p++);
            line.len--;
        }
    }
    str_addc(&w->packet, '\n');
}

/* ---- what happens ---- */

static void pass(struct world *w, double seconds)
{
    double until = w->now + seconds;

    for (int i = 0; i < 50 && controller_deadline(w->c) < until; i++) {
        if (controller_deadline(w->c) > w->now)
            w->now = controller_deadline(w->c);
        controller_clock(w->c, w->now, w->now);
        controller_tick(w->c);
        controller_flush(w->c);
    }
    w->now = until;
    controller_clock(w->c, w->now, w->now);
}

static void expect_agent(struct world *w, int n)
{
    char job[16];

    snprintf(job, sizeof(job), "job%d", n);
    controller_expect(w->c, (uint64_t)n + 1, job, "h", 2);
}

static void setting(struct world *w, char *text)
{
    char *value = strchr(text, '=');

    if (!value)
        return;
    *value++ = '\0';
    controller_set(w->c, text, value, NULL);
}

static void ask(struct world *w, struct slice line)
{
    char op = line.len > 0 ? *line.p : '\0', *text;

    line.p += op != '\0';
    line.len -= op != '\0';
    text = fuzz_text(line);
    switch (op) {
    case 'j': controller_job_submitted(w->c, text); break;
    case 'n': controller_jobs_refused(w->c, 1, "not now", *text != 'x'); break;
    case 'g':
        controller_job_gone(w->c, text, &(struct job_end){"", text, "it ended"});
        break;
    case 's': controller_stop(w->c, (int32_t)fuzz_number(&line, INT32_MAX), "s"); break;
    case 'S': controller_stop(w->c, -1, "enough"); break;
    case 'p': controller_pause(w->c, "pause"); break;
    case 'r': controller_resume(w->c, "resume"); break;
    case 'i': controller_interrupt(w->c); break;
    case 'k': setting(w, text); break;
    case 'x': expect_agent(w, (int)fuzz_number(&line, AGENTS - 1)); break;
    case '@': w->agent = (int)fuzz_number(&line, AGENTS - 1); break;
    case '+': pass(w, (double)fuzz_number(&line, 1000000) / 10); break;
    case '!':
        end(w);
        begin(w);
        break;
    default: break;
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = {(const char *)data, n}, line;
    struct world *w = world_new(n % 2, n % 3 == 0);

    while (fuzz_line(&rest, &line) && w->packets++ < PACKETS_MAX) {
        if (line.len > 0 && *line.p == '{') {
            if (line.len > 2 && line.p[2] == 'r') {
                send_packet(w);
                w->raw = true;
            }
            add_item(w, line);
            continue;
        }
        send_packet(w);
        ask(w, line);
        controller_tick(w->c);
        controller_flush(w->c);
    }
    send_packet(w);
    pass(w, 1);
    world_free(w);
    return 0;
}
