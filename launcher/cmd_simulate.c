/* `rung simulate`: a sweep against learning curves, in simulated time, many times. */
#include "base/clock.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rank.h"
#include "base/rng.h"
#include "base/units.h"
#include "launcher/cli.h"
#include "launcher/columns.h"
#include "launcher/commands.h"
#include "launcher/curves.h"
#include "launcher/earlier.h"
#include "launcher/simulate.h"
#include "launcher/sweepfile.h"
#include "store/h5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_CURVES,
    OPT_SLOTS,
    OPT_STEP,
    OPT_STRAGGLER,
    OPT_DROP,
    OPT_WAIT,
    OPT_UNTIL,
    OPT_REPEAT,
    OPT_HDF5,
    OPT_JSON
};
const struct cli_option simulate_options[] = {
    [OPT_CURVES] = {"curves", 'c', "TABLE",
                    "learning curves in CSV (may be gzipped), or a sweep's directory; "
                    "default: invented ones"},
    [OPT_SLOTS] = {"slots", 'n', "N", "trials at once (default: the file's)"},
    [OPT_STEP] =
        {"step", 's', "TIME",
         "how long a step takes (40s, 2m); default: as the curves say, else time "
         "is told in steps"},
    [OPT_STRAGGLER] = {"straggler-std", 0, "X",
                       "an attempt takes 1 + |z| times as long, z being normal with this "
                       "deviation (default: 0)"},
    [OPT_DROP] = {"drop-rate", 0, "P",
                  "chance that an attempt is lost in the time of a step (default: 0)"},
    [OPT_WAIT] = {"queue-wait", 0, "TIME",
                  "how long a slot's job is pending, on average (default: 0); without "
                  "--step a number of steps"},
    [OPT_UNTIL] = {"until", 0, "TIME",
                   "look no further (default: to the end); without --step a number of "
                   "steps"},
    [OPT_REPEAT] = {"repeat", 'r', "N",
                    "how often, each time with another seed "
                    "(default: 20)"},
    [OPT_HDF5] = {"hdf5", 0, "FILE", "write the first time as a sweep.h5"},
    [OPT_JSON] = {"json", 'j', NULL, "all of it as one JSON object"},
    {0}};

#define REPEAT_MOST 100000
/* Invented curves are reported so often at most, up to max_t. */
#define INVENTED_REPORTS 1000
/* Budgets at which the best is told: so many trainings to max_t. */
static const int budgets[] = {1,   2,   5,    10,   20,   50,   100,
                              200, 500, 1000, 2000, 5000, 10000};
#define BUDGETS ((int)(sizeof(budgets) / sizeof(budgets[0])))

static const double shares[] = {0.1, 0.25, 0.5, 0.75, 0.9};
static const char *const share_names[] = {"p10", "p25", "p50", "p75", "p90"};
#define SHARES 5

typedef VEC(double) numbers;

struct simulator {
    const struct cli_command *self;
    struct sweepfile *file;
    struct spec spec; /* a copy: of each repetition another seed */
    struct earlier earlier;
    struct curves *curves;
    const char *path;   /* of the curves; NULL: invented */
    double step;        /* seconds; 0: not said */
    double mean_step;   /* in the unit of time */
    bool timed;         /* the unit is seconds, and not steps */
    double until, wait; /* as said; NAN: not */
    double straggler, drop;
    int64_t slots, repeats;
    const char *hdf5;
    bool json;
    /* the repetition that runs */
    int64_t *order;          /* of the configurations, random; NULL where endless */
    VEC(int64_t) rows;       /* of each trial */
    bool *taken;             /* [rows of the curves]: by a trial; NULL: endless */
    struct history *history; /* NULL unless it is wanted */
    /* what came out, by repetition */
    numbers time, busy, slot_time, attempts, lost, steps, best;
    numbers *level;          /* [levels.n]: trials that got there */
    numbers at[BUDGETS];     /* the best metric then */
    numbers regret[BUDGETS]; /* how far that is from the best of all curves */
    double best_of_all;      /* NaN: endless */
};

/* ---- what the simulation asks ---- */

static int64_t row_of(const struct simulator *s, int32_t trial)
{
    return s->rows.v[trial];
}

static double metric(void *ctx, int32_t trial, int64_t step, int objective)
{
    const struct simulator *s = ctx;

    (void)objective; /* there is one */
    return curves_metric(s->curves, row_of(s, trial), step);
}

static double step_seconds(const struct simulator *s, int64_t row)
{
    double seconds = s->step > 0 ? s->step : curves_seconds(s->curves, row);

    return s->timed && seconds > 0 ? seconds : s->mean_step;
}

static double seconds(void *ctx, int32_t trial, int64_t from, int64_t to)
{
    const struct simulator *s = ctx;

    return step_seconds(s, row_of(s, trial)) * (double)(to - from);
}

/* Where the curves know something, and where it is asked. */
static int64_t next(void *ctx, int64_t step, int64_t until)
{
    const struct simulator *s = ctx;
    int64_t known = curves_next_step(s->curves, step);

    if (!s->path && s->spec.max_t > INVENTED_REPORTS)
        known = step + s->spec.max_t / INVENTED_REPORTS;
    return known < until ? known : until;
}

/* The curve that a new trial follows. */
static int64_t choose_row(struct simulator *s, const struct event *ev)
{
    const struct space *sp = s->spec.space;
    struct value *values;
    struct json j;
    int64_t row;

    if (ev->drawn.parent >= 0) /* it goes on where its parent was */
        return row_of(s, ev->drawn.parent);
    if (!s->order)
        return ev->trial;
    values = mem_alloc((size_t)space_count(sp) * sizeof(*values));
    json_begin(&j, ev->drawn.params.p, ev->drawn.params.len);
    if (space_scan(sp, &j, values, NULL) != 0)
        abort(); /* it was written by space_json() */
    row = curves_nearest(s->curves, values, s->taken);
    if (row < 0) { /* all over again */
        memset(s->taken, 0, (size_t)curves_rows(s->curves) * sizeof(s->taken[0]));
        row = curves_nearest(s->curves, values, s->taken);
    }
    values_free(values, space_count(sp));
    free(values);
    if (row < 0)
        return s->order[ev->trial % curves_rows(s->curves)];
    s->taken[row] = true;
    return row;
}

static void happened(void *ctx, const struct sweep *sw, const struct event *ev,
                     const struct verdict *v)
{
    struct simulator *s = ctx;

    if (ev->kind == EVENT_TRIAL)
        vec_push(&s->rows, choose_row(s, ev));
    if (s->history)
        history_add(s->history, ev, v, sw);
}

/* ---- a repetition ---- */

/* A random order of the configurations, by Fisher and Yates. */
static void shuffle(struct simulator *s, uint64_t seed)
{
    int64_t n = curves_rows(s->curves);

    if (!s->order)
        return;
    for (int64_t i = 0; i < n; i++) {
        double u = rng_unit(seed, RNG_FORECAST, (uint32_t)i, 5, 0);
        int64_t k = (int64_t)(u * (double)(i + 1));

        s->order[i] = s->order[k];
        s->order[k] = i;
    }
}

/* The best after so many steps of all trials: its place in out->best, or -1. */
static int64_t best_after(const struct simulated *out, double steps)
{
    int64_t i = (int64_t)out->best.n - 1;

    while (i >= 0 && out->best.v[i].steps > steps)
        i--;
    return i;
}

static void take_budgets(struct simulator *s, const struct simulated *out)
{
    for (int b = 0; b < BUDGETS; b++) {
        double steps = budgets[b] * (double)s->spec.max_t;
        int64_t i = best_after(out, steps);

        if (out->steps < steps || i < 0)
            continue;
        vec_push(&s->at[b], out->best.v[i].metric);
        vec_push(&s->regret[b], fabs(out->best.v[i].metric - s->best_of_all));
    }
}

static void take_levels(struct simulator *s, const struct simulated *out)
{
    const struct levels *lv = sweep_levels(out->sw);

    for (int i = 0; i < lv->n; i++) {
        double n = 0;

        for (int b = 0; i < lv->n - 1 && b < sweep_brackets(out->sw); b++) {
            int first = sweep_first_level(out->sw, b);

            if (first <= i)
                n += sweep_rung(out->sw, b, i - first).reported;
        }
        for (int32_t t = 0; i == lv->n - 1 && t < sweep_trials(out->sw); t++)
            n += sweep_trial(out->sw, t)->complete;
        vec_push(&s->level[i], n);
    }
}

static void take(struct simulator *s, const struct simulated *out)
{
    const struct sweep_totals *n = sweep_totals(out->sw);

    vec_push(&s->time, out->time);
    vec_push(&s->busy, out->time > 0 ? out->busy / out->time / (double)s->slots : 0);
    vec_push(&s->slot_time, out->busy);
    vec_push(&s->attempts, n->attempts);
    vec_push(&s->lost, (double)out->lost);
    vec_push(&s->steps, out->steps);
    vec_push(&s->best, n->best >= 0 ? sweep_trial(out->sw, n->best)->best.v[0] : NAN);
    take_levels(s, out);
    take_budgets(s, out);
}

static int write_hdf5(const struct simulator *s, const struct simulated *out,
                      struct err *e)
{
    struct h5_input in = {.sw = out->sw,
                          .history = s->history,
                          .name = s->file->name,
                          .yaml = s->file->text.p,
                          .yaml_len = s->file->text.len,
                          .written = clock_wall()};

    return h5_write(s->hdf5, &in, e);
}

static int repeat(struct simulator *s, int64_t number, struct err *e)
{
    struct simulation sim = {.spec = &s->spec,
                             .slots = (int)s->slots,
                             .seed = s->spec.seed,
                             .straggler_std = s->straggler,
                             .mean_loss =
                                 s->drop > 0 ? -s->mean_step / log1p(-s->drop) : 0,
                             .queue_wait = isnan(s->wait) ? 0 : s->wait,
                             .until = isnan(s->until) ? INFINITY : s->until,
                             .known = s->earlier.known.v,
                             .n_known = s->earlier.known.n,
                             .ctx = s,
                             .happened = happened,
                             .metric = metric,
                             .seconds = seconds,
                             .next = next};
    struct simulated out;
    struct history history;
    bool keep = s->hdf5 && number == 0;
    int rc;

    if (keep) {
        history_init(&history);
        s->history = &history;
    }
    s->rows.n = 0;
    if (curves_rows(s->curves) == INT64_MAX) {
        curves_free(s->curves);
        s->curves = curves_invent(s->spec.seed, s->spec.objective[0].maximize);
    }
    if (s->taken)
        memset(s->taken, 0, (size_t)curves_rows(s->curves) * sizeof(s->taken[0]));
    shuffle(s, s->spec.seed);
    rc = simulate(&sim, &out, e);
    if (!rc)
        take(s, &out);
    if (!rc && keep)
        rc = write_hdf5(s, &out, e);
    if (keep)
        history_clear(&history);
    s->history = NULL;
    simulated_free(&out);
    return rc;
}

/* ---- what is told ---- */

/* false: there are none. */
static bool quantiles(const double v[], size_t n, double out[SHARES])
{
    double *sorted = mem_alloc((n + 1) * sizeof(*sorted));
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        if (!isnan(v[i]))
            sorted[k++] = v[i];
    numbers_sort(sorted, k);
    for (int i = 0; i < SHARES; i++)
        out[i] = k > 0 ? quantile(sorted, k, shares[i]) : NAN;
    free(sorted);
    return k > 0;
}

enum show { SHOW_NUMBER, SHOW_COUNT, SHOW_TIME, SHOW_PERCENT };

static void put_cell(const struct simulator *s, struct columns *c, enum show how,
                     double v)
{
    char text[64];

    if (how == SHOW_TIME && s->timed) {
        columns_cell(c, duration_format(text, v));
    } else if (how == SHOW_TIME) {
        snprintf(text, sizeof(text), "%.0f", v);
        columns_cell(c, text);
    } else if (how == SHOW_PERCENT) {
        snprintf(text, sizeof(text), "%.1f %%", v * 100);
        columns_cell(c, text);
    } else if (how == SHOW_COUNT) {
        snprintf(text, sizeof(text), v < 10 && v != rint(v) ? "%.1f" : "%.0f", v);
        columns_cell(c, text);
    } else {
        columns_num(c, v, 5);
    }
}

static void put_row(const struct simulator *s, struct columns *c, const char *what,
                    enum show how, const double v[], size_t n)
{
    double q[SHARES];

    if (!quantiles(v, n, q))
        return;
    columns_cell(c, what);
    for (int i = 0; i < SHARES; i += 2)
        put_cell(s, c, how, q[i]);
}

static void begin_table(struct columns *c, const char *what)
{
    columns_head(c, what);
    columns_head(c, "10 %");
    columns_head(c, "median");
    columns_head(c, "90 %");
}

static void add_costs(const struct simulator *s, struct str *out)
{
    struct columns c = {0};

    begin_table(&c, "");
    put_row(s, &c, s->timed ? "time" : "time, in steps", SHOW_TIME, s->time.v, s->time.n);
    put_row(s, &c, "slots busy", SHOW_PERCENT, s->busy.v, s->busy.n);
    put_row(s, &c, s->timed ? "slot time" : "slot time, in steps", SHOW_TIME,
            s->slot_time.v, s->slot_time.n);
    put_row(s, &c, "steps of all trials", SHOW_COUNT, s->steps.v, s->steps.n);
    put_row(s, &c, "attempts", SHOW_COUNT, s->attempts.v, s->attempts.n);
    if (s->drop > 0)
        put_row(s, &c, "attempts lost", SHOW_COUNT, s->lost.v, s->lost.n);
    columns_print(&c, 0, out);
}

static double correlation(const struct simulator *s, int64_t step)
{
    return curves_correlation(s->curves, step, s->spec.max_t,
                              s->spec.objective[0].maximize);
}

static void add_levels(const struct simulator *s, const struct levels *lv,
                       struct str *out)
{
    struct columns c = {0};
    char what[64];

    begin_table(&c, "trials that get to");
    columns_head(&c, "rank correlation");
    for (int i = 0; i < lv->n; i++) {
        snprintf(what, sizeof(what), "%sstep %lld", i < lv->n - 1 ? "" : "complete, ",
                 (long long)lv->step[i]);
        put_row(s, &c, what, SHOW_COUNT, s->level[i].v, s->level[i].n);
        columns_num(&c, correlation(s, lv->step[i]), 2);
    }
    columns_print(&c, 0, out);
    if (spec_has_grace(&s->spec))
        curves_add_grace(s->curves, lv->step[0], s->spec.max_t,
                         s->spec.objective[0].maximize, out);
}

static void add_best(const struct simulator *s, struct str *out)
{
    struct columns c = {0};
    struct str head = STR_INIT;
    char what[64];

    str_addf(&head, "best %s after", s->spec.objective[0].name);
    begin_table(&c, head.p);
    for (int b = 0; b < BUDGETS; b++) {
        if (s->at[b].n < s->time.n) /* some were over before */
            break;
        snprintf(what, sizeof(what), "%d %s of %lld steps", budgets[b],
                 budgets[b] > 1 ? "trainings" : "training", (long long)s->spec.max_t);
        put_row(s, &c, what, SHOW_NUMBER, s->at[b].v, s->at[b].n);
        if (!isnan(s->best_of_all))
            put_row(s, &c, "  to the best of all", SHOW_NUMBER, s->regret[b].v,
                    s->regret[b].n);
    }
    put_row(s, &c, "all", SHOW_NUMBER, s->best.v, s->best.n);
    columns_print(&c, 0, out);
    str_free(&head);
}

static void add_text(const struct simulator *s, const struct levels *lv, struct str *out)
{
    str_addf(out, "%s: %lld trials, %s search%s, %s", s->file->name,
             (long long)spec_planned(&s->spec), search_names[s->spec.search],
             s->spec.chosen ? " (auto)" : "", schedule_names[s->spec.schedule]);
    if (s->spec.schedule == SCHEDULE_ASHA)
        str_addf(out, " (%s)", mode_names[s->spec.mode]);
    str_addf(out, ", %lld slots; %s, %lld times\n\n", (long long)s->slots,
             curves_text(s->curves), (long long)s->repeats);
    add_costs(s, out);
    str_addc(out, '\n');
    add_levels(s, lv, out);
    str_addc(out, '\n');
    add_best(s, out);
}

/* ---- --json ---- */

static void put_quantiles(struct str *out, const char *key, const double v[], size_t n)
{
    double q[SHARES];

    json_put_key(out, key);
    if (!quantiles(v, n, q)) {
        json_put_null(out);
        return;
    }
    json_put_object(out);
    for (int i = 0; i < SHARES; i++) {
        json_put_key(out, share_names[i]);
        json_put_num(out, q[i]);
    }
    json_put_close(out, '}');
}

static void put_int(struct str *out, const char *key, int64_t v)
{
    json_put_key(out, key);
    json_put_int(out, v);
}

static void put_levels(const struct simulator *s, const struct levels *lv,
                       struct str *out)
{
    json_put_key(out, "levels");
    json_put_array(out);
    for (int i = 0; i < lv->n; i++) {
        json_put_object(out);
        put_int(out, "step", lv->step[i]);
        put_quantiles(out, "trials", s->level[i].v, s->level[i].n);
        json_put_key(out, "rank_correlation");
        json_put_num(out, correlation(s, lv->step[i]));
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
}

static void put_budgets(const struct simulator *s, struct str *out)
{
    json_put_key(out, "budgets");
    json_put_array(out);
    for (int b = 0; b < BUDGETS && s->at[b].n > 0; b++) {
        json_put_object(out);
        put_int(out, "trainings", budgets[b]);
        put_int(out, "repeats", (int64_t)s->at[b].n);
        put_quantiles(out, "metric", s->at[b].v, s->at[b].n);
        if (!isnan(s->best_of_all))
            put_quantiles(out, "regret", s->regret[b].v, s->regret[b].n);
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
}

static void add_json(const struct simulator *s, const struct levels *lv, struct str *out)
{
    json_put_object(out);
    json_put_key(out, "name");
    json_put_str(out, s->file->name);
    put_int(out, "repeats", s->repeats);
    put_int(out, "slots", s->slots);
    json_put_key(out, "unit");
    json_put_str(out, s->timed ? "seconds" : "steps");
    put_quantiles(out, "time", s->time.v, s->time.n);
    put_quantiles(out, "busy", s->busy.v, s->busy.n);
    put_quantiles(out, "slot_time", s->slot_time.v, s->slot_time.n);
    put_quantiles(out, "steps", s->steps.v, s->steps.n);
    put_quantiles(out, "attempts", s->attempts.v, s->attempts.n);
    put_quantiles(out, "lost", s->lost.v, s->lost.n);
    put_quantiles(out, "best", s->best.v, s->best.n);
    if (!isnan(s->best_of_all)) {
        json_put_key(out, "best_of_all");
        json_put_num(out, s->best_of_all);
    }
    json_put_key(out, "grace_period");
    curves_put_grace(s->curves, &s->spec, out);
    put_levels(s, lv, out);
    put_budgets(s, out);
    json_put_close(out, '}');
    str_addc(out, '\n');
}

/* ---- the command ---- */

/* What a step takes by the curves, on average of those that say it; NaN: none does. */
static double mean_seconds(const struct curves *c)
{
    double sum = 0;
    int64_t known = 0, n = curves_rows(c) == INT64_MAX ? 0 : curves_rows(c);

    for (int64_t i = 0; i < n; i++)
        if (curves_seconds(c, i) > 0) {
            sum += curves_seconds(c, i);
            known++;
        }
    return known > 0 ? sum / (double)known : NAN;
}

static int open_curves(struct simulator *s, struct err *e)
{
    double mean;
    int rc = 0;

    if (s->path && s->spec.schedule == SCHEDULE_PBT)
        return err_set(e, ERR_INVAL,
                       "%s: no table tells what comes of going on from another trial's "
                       "checkpoint, as pbt does; without --curves its time and its costs "
                       "can be looked at",
                       s->path);
    if (s->spec.objectives > 1)
        return err_set(
            e, ERR_INVAL,
            "%s has %d metrics, and curves are of one: write `metric: %s` "
            "instead of metrics into a copy of it (`rung check` tells what the "
            "sweep will cost as it is)",
            s->file->path, s->spec.objectives, s->spec.objective[0].name);
    if (s->path)
        rc =
            curves_load(&s->curves, s->path, s->spec.objective[0].name, s->spec.space, e);
    else
        s->curves = curves_invent(s->spec.seed, s->spec.objective[0].maximize);
    if (rc == 0 && s->path)
        rc = curves_cover(s->curves, &s->spec, s->path, e);
    if (rc != 0)
        return rc;
    mean = mean_seconds(s->curves);
    s->timed = s->step > 0 || mean > 0;
    s->mean_step = s->step > 0 ? s->step : s->timed ? mean : 1;
    s->best_of_all = curves_best(s->curves, s->spec.max_t, s->spec.objective[0].maximize);
    if (s->path) {
        s->order = mem_alloc((size_t)curves_rows(s->curves) * sizeof(s->order[0]));
        s->taken = mem_alloc((size_t)curves_rows(s->curves) * sizeof(s->taken[0]));
    }
    return 0;
}

static void close_simulator(struct simulator *s, const struct levels *lv)
{
    numbers *all[] = {&s->time, &s->busy,  &s->slot_time, &s->attempts,
                      &s->lost, &s->steps, &s->best};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        vec_free(all[i]);
    for (int i = 0; i < lv->n; i++)
        vec_free(&s->level[i]);
    for (int b = 0; b < BUDGETS; b++) {
        vec_free(&s->at[b]);
        vec_free(&s->regret[b]);
    }
    free(s->level);
    free(s->order);
    free(s->taken);
    vec_free(&s->rows);
    curves_free(s->curves);
    earlier_free(&s->earlier);
    sweepfile_free(s->file);
}

static int run(struct simulator *s)
{
    struct levels lv = {0};
    struct str out = STR_INIT;
    struct err e = {0};
    int rc;

    s->spec = s->file->spec;
    if (s->slots == 0)
        s->slots = s->file->slots;
    spec_levels(&s->spec, &lv, NULL); /* the file was read, so they exist */
    s->level = mem_alloc((size_t)lv.n * sizeof(s->level[0]));
    rc = earlier_load(&s->earlier, s->file, &e);
    if (!rc)
        rc = open_curves(s, &e);
    for (int64_t i = 0; !rc && i < s->repeats; i++, s->spec.seed++)
        rc = repeat(s, i, &e);
    if (!rc) {
        (s->json ? add_json : add_text)(s, &lv, &out);
        fputs(out.p, stdout);
    }
    close_simulator(s, &lv);
    levels_free(&lv);
    str_free(&out);
    return rc ? cli_fail(s->self, EXIT_USAGE, "%s", e.text) : EXIT_GOOD;
}

static int whole(const char *value, int64_t most, int64_t *out, struct err *e)
{
    if (num_parse_int(value, strlen(value), out) != 0 || *out < 1 || *out > most)
        return err_set(e, ERR_RANGE, "'%s' is no number from 1 to %lld", value,
                       (long long)most);
    return 0;
}

static int real(const char *value, double below, double *out, struct err *e)
{
    if (num_parse(value, strlen(value), out) != 0 || !(*out >= 0) || *out >= below)
        return err_set(e, ERR_RANGE, "'%s' is no number from 0 to below %g", value,
                       below);
    return 0;
}

static int read_option(struct simulator *s, int option, const char *value, struct err *e)
{
    switch (option) {
    case OPT_CURVES: s->path = value; return 0;
    case OPT_SLOTS: return whole(value, EVENT_SLOTS_MAX, &s->slots, e);
    case OPT_STEP: return duration_parse(value, &s->step, e);
    case OPT_STRAGGLER: return real(value, 1e6, &s->straggler, e);
    case OPT_DROP: return real(value, 1, &s->drop, e);
    case OPT_WAIT: return duration_parse(value, &s->wait, e);
    case OPT_UNTIL: return duration_parse(value, &s->until, e);
    case OPT_REPEAT: return whole(value, REPEAT_MOST, &s->repeats, e);
    case OPT_HDF5: s->hdf5 = value; return 0;
    default: s->json = true; return 0;
    }
}

int cmd_simulate(int argc, char **argv)
{
    struct simulator s = {
        .self = cli_find("simulate"), .repeats = 20, .until = NAN, .wait = NAN};
    const char *value, *path = NULL;
    struct str errors = STR_INIT;
    struct err e = {0};
    struct cli c;
    int option;

    cli_begin(&c, s.self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD || (option == CLI_POSITIONAL &&
                                  cli_take_file(s.self, value, &path) != EXIT_GOOD))
            return EXIT_USAGE;
        if (option >= 0 && read_option(&s, option, value, &e) != 0)
            return cli_fail(s.self, EXIT_USAGE, "--%s: %s", simulate_options[option].name,
                            e.text);
    }
    if (!path)
        return cli_no_file(s.self);
    if (sweepfile_load(path, &s.file, &errors) != 0) {
        fputs(errors.p, stderr);
        str_free(&errors);
        return EXIT_USAGE;
    }
    return run(&s);
}
