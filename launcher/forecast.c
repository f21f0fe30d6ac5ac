#include "launcher/forecast.h"

#include "base/rng.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>

/* Beyond so many trials a part of them is played, with as many slots for each, and the
 * result scaled up: the shares that reach each rung hardly change any more. */
#define PLAYED_MAX     5000
#define MEDIAN_PLAYED  500
#define MEDIAN_REPORTS 20 /* of a trial, about */
/* Random orders are averaged over passes, of about so many trials in all. */
#define PLAYED_WANTED 2000
#define PASSES_MAX    20

struct busy {
    int32_t trial; /* -1: free */
    int64_t until;
    double end; /* when it reports that step */
};

struct play {
    struct spec spec; /* a copy: random search of fewer trials */
    struct sweep *sw;
    enum forecast_case order;
    uint64_t seed;
    struct busy *slots;
    int n;
    double now, steps;
};

/* Smaller is better. */
static double rank_of(const struct play *p, int32_t trial)
{
    switch (p->order) {
    case FORECAST_BEST: return trial;
    case FORECAST_WORST: return -trial;
    default: return rng_unit(p->seed, RNG_FORECAST, (uint32_t)trial, 0, 0);
    }
}

static void apply(struct play *p, struct event *ev, struct verdict *v)
{
    ev->time = p->now;
    if (sweep_apply(p->sw, ev, v, NULL) != 0)
        abort(); /* the events made here follow on the state by construction */
}

static void draw(struct play *p)
{
    struct event ev = {.kind = EVENT_TRIAL, .trial = sweep_trials(p->sw)};
    ev.drawn.parent = -1;
    ev.drawn.bracket = sweep_next_bracket(p->sw);
    ev.drawn.params = SLICE("{}");
    apply(p, &ev, NULL);
}

static bool start(struct play *p, int slot)
{
    struct work w = sweep_next(p->sw);
    struct event ev;
    if (w.kind == WORK_DRAW) {
        draw(p);
        w = sweep_next(p->sw);
    }
    if (w.kind != WORK_TRIAL)
        return false;
    sweep_start_event(p->sw, &w, &ev);
    ev.start.slot = slot;
    apply(p, &ev, NULL);
    double steps = (double)(w.until - w.start);
    p->slots[slot] = (struct busy){w.trial, w.until, p->now + steps};
    p->steps += steps;
    return true;
}

/* Where every report is compared, some stand for all: the order of trials stays. */
static int64_t next_report(const struct play *p, int64_t step, int64_t until)
{
    int64_t next = step + p->spec.max_t / MEDIAN_REPORTS;
    if (p->spec.schedule != SCHEDULE_MEDIAN || next < until)
        return until;
    return next < p->spec.max_t ? next : p->spec.max_t;
}

static void report(struct play *p, int slot)
{
    struct busy *b = &p->slots[slot];
    const struct trial *t = sweep_trial(p->sw, b->trial);
    double rank = rank_of(p, b->trial);
    struct metric m = {slice_of(p->spec.metric), p->spec.maximize ? -rank : rank};
    struct event ev = {.kind = EVENT_REPORT, .trial = b->trial, .attempt = t->attempts};
    struct verdict v = {0};
    ev.report.number = t->last_number + 1;
    ev.report.step = b->until;
    ev.report.metrics = &m;
    ev.report.n_metrics = 1;
    apply(p, &ev, &v);
    if (v.decision == DECISION_CONTINUE) {
        int64_t steps = next_report(p, b->until, v.until) - b->until;
        p->steps += (double)steps;
        b->end += (double)steps;
        b->until += steps;
        return;
    }
    ev = (struct event){.kind = EVENT_END, .trial = b->trial, .attempt = t->attempts};
    ev.end.outcome = v.decision == DECISION_PAUSE ? OUTCOME_PAUSED : OUTCOME_STOPPED;
    ev.end.saved = v.decision == DECISION_PAUSE ? b->until : -1;
    apply(p, &ev, NULL);
    b->trial = -1;
}

static void play(struct play *p)
{
    for (int i = 0; i < p->n; i++)
        p->slots[i].trial = -1;
    for (;;) {
        int first = -1;
        bool work = true;
        for (int i = 0; i < p->n; i++) {
            if (p->slots[i].trial < 0 && work)
                work = start(p, i);
            if (p->slots[i].trial >= 0 &&
                (first < 0 || p->slots[i].end < p->slots[first].end))
                first = i;
        }
        if (first < 0)
            return;
        p->now = p->slots[first].end;
        report(p, first);
    }
}

static struct forecast_level *level_of(struct forecast *f, int bracket, int rung)
{
    struct forecast_level *l = f->levels;
    while (l->bracket != bracket || l->rung != rung)
        l++;
    return l;
}

static void count(struct forecast *f, const struct play *p, double weight, double time)
{
    enum forecast_case c = p->order;
    for (int s = 0; s < sweep_brackets(p->sw); s++)
        for (int k = 0; k < sweep_rungs(p->sw, s); k++)
            level_of(f, sweep_first_level(p->sw, s), k)->reached[c] +=
                weight * sweep_rung(p->sw, s, k).reported;
    for (int32_t t = 0; t < sweep_trials(p->sw); t++) {
        const struct trial *trial = sweep_trial(p->sw, t);
        if (trial->complete)
            level_of(f, sweep_first_level(p->sw, trial->bracket), -1)->reached[c] +=
                weight;
    }
    f->steps[c] += weight * p->steps;
    f->attempts[c] += weight * sweep_totals(p->sw)->attempts;
    f->time[c] += time * p->now;
}

static void make_levels(struct forecast *f, const struct sweep *sw)
{
    VEC(struct forecast_level) levels = {0};
    const struct levels *lv = sweep_levels(sw);
    bool all = sweep_spec(sw)->schedule == SCHEDULE_HYPERBAND; /* opened as they fill */
    for (int s = 0; s < (all ? lv->n : sweep_brackets(sw)); s++) {
        for (int k = 0; s + k < lv->n - 1; k++)
            vec_push(&levels, ((struct forecast_level){s, k, lv->step[s + k], {0}}));
        vec_push(&levels, ((struct forecast_level){s, -1, lv->step[lv->n - 1], {0}}));
    }
    f->levels = levels.v;
    f->n = (int)levels.n;
}

void forecast_make(struct forecast *f, const struct spec *spec, int slots)
{
    struct play p = {.spec = *spec};
    int64_t total = spec_planned(spec);
    *f = (struct forecast){.trials = total};
    p.spec.search = SEARCH_RANDOM;
    p.spec.n_start = 0;
    int64_t most = spec->schedule == SCHEDULE_MEDIAN ? MEDIAN_PLAYED : PLAYED_MAX;
    p.spec.trials = total < most ? total : most;
    double scale = (double)total / (double)p.spec.trials;
    double used = slots < total ? slots : (double)total; /* slots that have a trial */
    p.n = used > scale ? (int)rint(used / scale) : 1;
    p.slots = mem_alloc((size_t)p.n * sizeof(*p.slots));
    int passes = (int)(PLAYED_WANTED / p.spec.trials);
    passes = passes < 1 ? 1 : passes > PASSES_MAX ? PASSES_MAX : passes;
    for (p.order = 0; p.order < FORECAST_CASES; p.order++) {
        int n = p.order == FORECAST_EXPECTED ? passes : 1;
        for (p.seed = 0; p.seed < (uint64_t)n; p.seed++) {
            p.sw = sweep_new(&p.spec);
            p.now = p.steps = 0;
            if (!f->levels)
                make_levels(f, p.sw);
            play(&p);
            count(f, &p, scale / n, scale * p.n / used / n);
            sweep_free(p.sw);
        }
    }
    free(p.slots);
}

void forecast_free(struct forecast *f)
{
    free(f->levels);
    f->levels = NULL;
}
