#include "launcher/costs.h"

#include "base/hash.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>

struct part { /* of an attempt's time */
    int level;
    double seconds;
};

struct running { /* an open attempt */
    int32_t trial;
    int level;              /* that it works for */
    struct cost one;        /* second of it */
    double at;              /* when it was last heard of, by the controller's clock */
    double elapsed;         /* since it began, until then, by its own */
    int64_t step;           /* the highest that it reported, or began from */
    VEC(struct part) parts; /* of the levels that it has passed */
    double in_level;        /* seconds for `level` */
};

struct spender { /* a trial */
    struct cost cost;
    double steps;   /* that it made, those that were made again included */
    uint32_t place; /* of its open attempt in `running`, plus 1 */
};

struct costs {
    const struct sweep *sw;
    const struct sweepfile *file;
    VEC(struct cost) level; /* [brackets][levels], up to the last that was heard */
    struct cost total;
    VEC(struct spender) trials;
    VEC(struct running) running;
    struct map slots; /* agent -> how many it holds */
};

struct costs *costs_new(const struct sweep *sw, const struct sweepfile *file)
{
    struct costs *c = mem_alloc(sizeof(*c));
    c->sw = sw;
    c->file = file;
    return c;
}

void costs_free(struct costs *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->running.n; i++)
        vec_free(&c->running.v[i].parts);
    vec_free(&c->running);
    vec_free(&c->trials);
    map_free(&c->slots);
    vec_free(&c->level);
    free(c);
}

static void add(struct cost *sum, const struct cost *one, double seconds)
{
    sum->slots += one->slots * seconds;
    sum->cpus += one->cpus * seconds;
    sum->nodes += one->nodes * seconds;
    sum->gpus += one->gpus * seconds;
    sum->used += one->used * seconds;
}

static struct cost *level_of(struct costs *c, int32_t trial, int level)
{
    size_t n = (size_t)sweep_levels(c->sw)->n,
           at = (size_t)sweep_trial(c->sw, trial)->bracket * n + (size_t)level;

    while (c->level.n <= at)
        vec_push(&c->level, (struct cost){0});
    return &c->level.v[at];
}

/* ---- events ---- */

static void spend(struct costs *c, struct running *r, double seconds)
{
    add(level_of(c, r->trial, r->level), &r->one, seconds);
    add(&c->trials.v[r->trial].cost, &r->one, seconds);
    add(&c->total, &r->one, seconds);
    r->in_level += seconds;
}

/* Goes on to the level that the steps made so far leave to be worked for. */
static void climb(struct costs *c, struct running *r)
{
    const struct levels *lv = sweep_levels(c->sw);
    int64_t step = sweep_trial(c->sw, r->trial)->last_step;
    int level = r->level;

    while (level < lv->n - 1 && lv->step[level] <= step)
        level++;
    if (level == r->level)
        return;
    if (r->in_level > 0)
        vec_push(&r->parts, ((struct part){r->level, r->in_level}));
    r->level = level;
    r->in_level = 0;
}

static struct running *running_of(struct costs *c, int32_t trial)
{
    uint32_t place = (size_t)trial < c->trials.n ? c->trials.v[trial].place : 0;

    return place > 0 ? &c->running.v[place - 1] : NULL;
}

static void on_start(struct costs *c, const struct event *ev)
{
    const struct trial *t = sweep_trial(c->sw, ev->trial);
    double nodes = c->file->resources.nodes, slots = 1;
    struct running r = {.trial = ev->trial,
                        .level = sweep_first_level(c->sw, t->bracket),
                        .at = ev->time,
                        .step = ev->start.start};
    uint32_t held;

    if (map_get(&c->slots, ev->start.agent, &held))
        slots = held;
    r.one = (struct cost){
        .slots = 1,
        .cpus = (double)c->file->resources.tasks * c->file->resources.cpus,
        .nodes = nodes / slots,
        .gpus = nodes * c->file->resources.gpus,
    };
    while (c->trials.n <= (size_t)ev->trial)
        vec_push(&c->trials, ((struct spender){.place = 0}));
    vec_push(&c->running, r);
    c->trials.v[ev->trial].place = (uint32_t)c->running.n;
    climb(c, &c->running.v[c->running.n - 1]);
}

static void on_report(struct costs *c, const struct event *ev, const struct verdict *v)
{
    struct running *r = running_of(c, ev->trial);
    double seconds;

    if (!r)
        return;
    seconds =
        isfinite(ev->report.elapsed) ? ev->report.elapsed - r->elapsed : ev->time - r->at;
    if (seconds > 0) {
        spend(c, r, seconds);
        r->elapsed += seconds;
    }
    r->at = ev->time;
    if (ev->report.step > r->step) {
        c->trials.v[ev->trial].steps += (double)(ev->report.step - r->step);
        r->step = ev->report.step;
    }
    if (v->decision == DECISION_CONTINUE)
        climb(c, r);
}

/* CPU time is told of the whole attempt: each level that it worked for has its share. */
static void use(struct costs *c, struct running *r, double cpu_seconds)
{
    struct cost one = {.used = cpu_seconds};
    double all = 0;

    vec_push(&r->parts, ((struct part){r->level, r->in_level}));
    for (size_t i = 0; i < r->parts.n; i++)
        all += r->parts.v[i].seconds;
    for (size_t i = 0; i < r->parts.n; i++) {
        const struct part *p = &r->parts.v[i];

        add(level_of(c, r->trial, p->level), &one,
            all > 0 ? p->seconds / all : 1 / (double)r->parts.n);
    }
    add(&c->trials.v[r->trial].cost, &one, 1);
    add(&c->total, &one, 1);
}

static void on_end(struct costs *c, const struct event *ev)
{
    const struct end_facts *f = &ev->end.facts;
    struct running *r = running_of(c, ev->trial);
    size_t place;
    double seconds;

    if (!r)
        return;
    seconds = f->started > 0 && f->ended >= f->started
                  ? f->ended - f->started - r->elapsed
                  : ev->time - r->at;
    if (seconds > 0)
        spend(c, r, seconds);
    if (isfinite(f->cpu_seconds))
        use(c, r, f->cpu_seconds);
    vec_free(&r->parts);
    place = c->trials.v[ev->trial].place;
    c->trials.v[ev->trial].place = 0;
    *r = c->running.v[--c->running.n]; /* the last takes its place */
    if (place <= c->running.n)
        c->trials.v[r->trial].place = (uint32_t)place;
}

void costs_event(struct costs *c, const struct event *ev, const struct verdict *v)
{
    switch (ev->kind) {
    case EVENT_START: on_start(c, ev); break;
    case EVENT_REPORT: on_report(c, ev, v); break;
    case EVENT_END: on_end(c, ev); break;
    case EVENT_JOB:
        if (slice_eq(ev->job.change, "joined") && ev->job.slots > 0)
            map_put(&c->slots, ev->job.agent, (uint32_t)ev->job.slots);
        break;
    default: break;
    }
}

/* ---- looking ---- */

static double since(const struct running *r, double now)
{
    return now > r->at ? now - r->at : 0;
}

struct cost costs_total(const struct costs *c, double now)
{
    struct cost sum = c->total;

    for (size_t i = 0; i < c->running.n; i++)
        add(&sum, &c->running.v[i].one, since(&c->running.v[i], now));
    return sum;
}

struct cost costs_trial(const struct costs *c, int32_t trial, double now)
{
    struct cost sum = {0};

    if ((size_t)trial >= c->trials.n)
        return sum;
    sum = c->trials.v[trial].cost;
    if (c->trials.v[trial].place > 0) {
        const struct running *r = &c->running.v[c->trials.v[trial].place - 1];

        add(&sum, &r->one, since(r, now));
    }
    return sum;
}

void costs_levels(const struct costs *c, int bracket, double now, struct cost out[])
{
    size_t n = (size_t)sweep_levels(c->sw)->n;

    memset(out, 0, n * sizeof(out[0]));
    for (size_t i = 0; i < c->level.n; i++) {
        if (bracket < 0 || i / n == (size_t)bracket)
            add(&out[i % n], &c->level.v[i], 1);
    }
    for (size_t i = 0; i < c->running.n; i++) {
        const struct running *r = &c->running.v[i];

        if (bracket < 0 || sweep_trial(c->sw, r->trial)->bracket == bracket)
            add(&out[r->level], &r->one, since(r, now));
    }
}

double costs_saved(const struct costs *c, double now, double *share)
{
    double seconds = 0, steps = 0, full = 0, max_t = (double)sweep_spec(c->sw)->max_t;
    double saved;
    int64_t stepless = 0;

    if (share)
        *share = NAN;
    if (sweep_spec(c->sw)->schedule == SCHEDULE_PBT)
        return NAN; /* who is replaced made room for steps, and did not save any */
    for (size_t i = 0; i < c->trials.n; i++) {
        const struct spender *t = &c->trials.v[i];

        if (t->steps > 0) {
            seconds += t->cost.slots;
            steps += t->steps;
            full += t->cost.slots / t->steps * max_t;
        } else if (sweep_trial(c->sw, (int32_t)i)->attempts > 0) {
            stepless++;
        }
    }
    if (steps > 0)
        full += (double)stepless * seconds / steps * max_t;
    saved = steps > 0 ? full - costs_total(c, now).slots : NAN;
    if (share)
        *share = full > 0 ? saved / full : NAN;
    return saved;
}
