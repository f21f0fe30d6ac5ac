#include "launcher/simulate.h"

#include "base/rng.h"
#include "sched/dist.h"
#include "sched/queue.h"

#include <math.h>
#include <stdlib.h>

#define LOST_MOST 1000 /* attempts, a trial */

/* What a random number is for. */
enum chance { CHANCE_STRAGGLE, CHANCE_DROP, CHANCE_WAIT };

struct busy_slot {
    int32_t trial; /* -1: none; its job is pending, or there is no work */
    int64_t step;  /* of its last report, or where it began */
    int64_t until;
    double slowness;
    double lost_at; /* INFINITY: never */
    double since;   /* it is busy */
};

struct play {
    const struct simulation *s;
    struct simulated *out;
    struct busy_slot *slots; /* [s->slots] */
    struct queue events;     /* time -> slot */
    VEC(int) idle;
    uint32_t draws; /* of random numbers */
    double now;
};

static void apply(struct play *p, struct event *ev, struct verdict *v)
{
    ev->time = p->out->time = p->now;
    if (sweep_apply(p->out->sw, ev, v, NULL) != 0)
        abort(); /* the events made here follow on the state by construction */
    if (p->s->happened)
        p->s->happened(p->s->ctx, p->out->sw, ev, v);
}

/* In (0, 1]. */
static double chance(struct play *p, enum chance what)
{
    return 1 - rng_unit(p->s->seed, RNG_FORECAST, p->draws++, 1, (uint32_t)what);
}

static double exponential(struct play *p, enum chance what, double mean)
{
    return mean > 0 ? -log(chance(p, what)) * mean : 0;
}

static double slowness(struct play *p)
{
    if (p->s->straggler_std <= 0)
        return 1;
    /* half of the chances would only differ in z's sign */
    return 1 - dist_normal(chance(p, CHANCE_STRAGGLE) / 2) * p->s->straggler_std;
}

/* ---- slots ---- */

static void wake_at(struct play *p, int slot, double time)
{
    queue_push(&p->events, (struct queued){time, (uint32_t)slot, slot});
}

/* The next report of the attempt in a slot, or its loss. */
static void go_on(struct play *p, int slot)
{
    struct busy_slot *b = &p->slots[slot];
    int64_t next = p->s->next(p->s->ctx, b->step, b->until);
    double time =
        p->now + b->slowness * p->s->seconds(p->s->ctx, b->trial, b->step, next);

    wake_at(p, slot, fmin(time, b->lost_at));
}

static void start(struct play *p, int slot, const struct work *w)
{
    struct busy_slot *b = &p->slots[slot];
    struct verdict v;
    struct event ev;

    sweep_start_event(p->out->sw, w, &ev);
    ev.start.slot = slot;
    apply(p, &ev, &v);
    *b = (struct busy_slot){.trial = w->trial,
                            .step = w->start,
                            .until = w->until,
                            .slowness = slowness(p),
                            .lost_at = INFINITY,
                            .since = p->now};
    if (p->s->mean_loss > 0)
        b->lost_at = p->now + exponential(p, CHANCE_DROP, p->s->mean_loss);
    go_on(p, slot);
}

static int draw(struct play *p, struct err *e)
{
    struct sweep *sw = p->out->sw;
    struct verdict v;
    struct event ev;
    int rc = p->s->draw ? p->s->draw(p->s->ctx, sw, &ev, e) : sweep_draw(sw, &ev, e);

    if (rc != 0 && rc != ERR_NOENT)
        return rc;
    apply(p, &ev, &v);
    return 0;
}

/* Gives work to idle slots, while there is any. */
static int give_work(struct play *p, struct err *e)
{
    while (p->idle.n > 0) {
        struct work w = sweep_next(p->out->sw);
        int rc = 0;

        if (w.kind == WORK_TRIAL)
            start(p, p->idle.v[--p->idle.n], &w);
        else if (w.kind == WORK_DRAW)
            rc = draw(p, e);
        else
            break;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void end(struct play *p, int slot, enum outcome outcome)
{
    struct busy_slot *b = &p->slots[slot];
    struct event ev = {.kind = EVENT_END, .trial = b->trial};
    struct verdict v;

    ev.attempt = sweep_trial(p->out->sw, b->trial)->attempts;
    ev.end.outcome = outcome;
    ev.end.saved = outcome == OUTCOME_PAUSED ? b->step : -1;
    ev.end.facts = (struct end_facts){USAGE_UNKNOWN, .exit_code = -1, .started = b->since,
                                      .ended = p->now, .last_step = b->step};
    apply(p, &ev, &v);
    p->out->busy += p->now - b->since;
    b->trial = -1;
    if (outcome == OUTCOME_NODE_FAIL) { /* its job is gone: another is asked for */
        p->out->lost++;
        wake_at(p, slot, p->now + exponential(p, CHANCE_WAIT, p->s->queue_wait));
    } else {
        vec_push(&p->idle, slot);
    }
}

/* ---- reports ---- */

static void note_best(struct play *p)
{
    const struct simulated *out = p->out;
    int32_t best = sweep_totals(out->sw)->best;
    const struct trial *t = best >= 0 ? sweep_trial(out->sw, best) : NULL;
    const struct incumbent *last = out->best.n ? &out->best.v[out->best.n - 1] : NULL;

    if (t && (!last || last->trial != best || last->step != t->best_step))
        vec_push(&p->out->best, ((struct incumbent){p->now, out->steps, best,
                                                    t->best_step, t->best.v[0]}));
}

static void report(struct play *p, int slot)
{
    struct busy_slot *b = &p->slots[slot];
    const struct trial *t = sweep_trial(p->out->sw, b->trial);
    int64_t step = p->s->next(p->s->ctx, b->step, b->until);
    const struct spec *spec = p->s->spec;
    struct metric m[OBJECTIVES_MAX];
    struct event ev = {.kind = EVENT_REPORT, .trial = b->trial, .attempt = t->attempts};
    struct verdict v = {0};

    ev.report.number = t->last_number + 1;
    ev.report.step = step;
    for (int i = 0; i < spec->objectives; i++)
        m[i] = (struct metric){slice_of(spec->objective[i].name),
                               p->s->metric(p->s->ctx, b->trial, step, i)};
    ev.report.metrics = m;
    ev.report.n_metrics = spec->objectives;
    apply(p, &ev, &v);
    p->out->steps += (double)(step - b->step);
    b->step = step;
    note_best(p);
    if (v.decision == DECISION_CONTINUE) {
        if (v.in_place)
            b->slowness = slowness(p);
        b->until = v.until;
        go_on(p, slot);
    } else {
        end(p, slot, v.decision == DECISION_PAUSE ? OUTCOME_PAUSED : OUTCOME_STOPPED);
    }
}

/* ---- the play ---- */

static int play(struct play *p, struct err *e)
{
    int rc = 0;

    for (int i = 0; i < p->s->slots; i++) {
        p->slots[i].trial = -1;
        wake_at(p, i, exponential(p, CHANCE_WAIT, p->s->queue_wait));
    }
    while (!rc && p->events.heap.n > 0) {
        struct queued next = p->events.heap.v[0];
        struct busy_slot *b = &p->slots[next.trial];

        if (next.value > p->s->until)
            break;
        queue_pop(&p->events);
        p->now = next.value;
        if (b->trial < 0)
            vec_push(&p->idle, next.trial);
        else if (p->now >= b->lost_at)
            end(p, next.trial, OUTCOME_NODE_FAIL);
        else
            report(p, next.trial);
        rc = p->out->lost > LOST_MOST * ((int64_t)sweep_trials(p->out->sw) + 1)
                 ? err_set(e, ERR_RANGE,
                           "so many attempts are lost that trials hardly get on (%lld of "
                           "them by now): with --until it can be looked at for a while",
                           (long long)p->out->lost)
                 : give_work(p, e);
    }
    return rc;
}

int simulate(const struct simulation *s, struct simulated *out, struct err *e)
{
    struct play p = {.s = s, .out = out};
    int rc;

    *out = (struct simulated){.sw = sweep_new(s->spec)};
    p.slots = mem_alloc((size_t)s->slots * sizeof(p.slots[0]));
    for (size_t i = 0; i < s->n_known; i++) {
        struct event ev = s->known[i];
        struct verdict v;

        apply(&p, &ev, &v);
    }
    rc = play(&p, e);
    if (sweep_totals(out->sw)->open > 0)
        out->time = s->until; /* or there was an error */
    for (int i = 0; i < s->slots; i++)
        out->busy += p.slots[i].trial >= 0 ? out->time - p.slots[i].since : 0;
    queue_free(&p.events);
    vec_free(&p.idle);
    free(p.slots);
    return rc;
}

void simulated_free(struct simulated *s)
{
    sweep_free(s->sw);
    vec_free(&s->best);
    *s = (struct simulated){0};
}
