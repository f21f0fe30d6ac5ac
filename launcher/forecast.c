#include "launcher/forecast.h"

#include "base/rng.h"
#include "base/vec.h"
#include "launcher/simulate.h"

#include <math.h>
#include <stdlib.h>

/* Beyond so many trials a part of them is played, with as many slots for each, and the
 * result scaled up: the shares that reach each rung hardly change any more. */
#define PLAYED_MAX     5000
#define SLOW_PLAYED    500 /* where a decision looks at all trials */
#define MEDIAN_REPORTS 20  /* of a trial, about */
/* Random orders are averaged over passes, of about so many trials in all. */
#define PLAYED_WANTED 2000
#define PASSES_MAX    20

struct play {
    struct spec spec; /* a copy: random search of fewer trials */
    enum forecast_case order;
    uint64_t seed;
};

/* Only where it is in the order matters of a trial, not what it is. */
static int draw(void *ctx, struct sweep *sw, struct event *ev, struct err *e)
{
    (void)ctx, (void)e;
    *ev = (struct event){.kind = EVENT_TRIAL, .trial = sweep_trials(sw)};
    sweep_draw_parent(sw, ev);
    ev->drawn.bracket = sweep_next_bracket(sw);
    ev->drawn.params = SLICE("{}");
    return 0;
}

/* The better, the smaller: its rank among all. */
static double metric(void *ctx, int32_t trial, int64_t step, int objective)
{
    const struct play *p = ctx;
    double rank = p->order == FORECAST_BEST ? trial
                  : p->order == FORECAST_WORST
                      ? -trial
                      : rng_unit(p->seed, RNG_FORECAST, (uint32_t)trial, 0, 0);
    (void)step;
    return p->spec.objective[objective].maximize ? -rank : rank;
}

static double seconds(void *ctx, int32_t trial, int64_t from, int64_t to)
{
    (void)ctx, (void)trial;
    return (double)(to - from);
}

/* At milestones. Where every report is compared, some stand for all: the order of trials
 * stays. */
static int64_t next(void *ctx, int64_t step, int64_t until)
{
    const struct play *p = ctx;
    int64_t thin = step + p->spec.max_t / MEDIAN_REPORTS;
    if (p->spec.schedule != SCHEDULE_MEDIAN || until > step + 1 || thin < until)
        return until;
    return thin < p->spec.max_t ? thin : p->spec.max_t;
}

static struct forecast_level *level_of(struct forecast *f, int bracket, int rung)
{
    struct forecast_level *l = f->levels;
    while (l->bracket != bracket || l->rung != rung)
        l++;
    return l;
}

static void count(struct forecast *f, enum forecast_case c, const struct simulated *out,
                  double weight, double time)
{
    struct sweep *sw = out->sw;
    for (int s = 0; s < sweep_brackets(sw); s++)
        for (int k = 0; k < sweep_rungs(sw, s); k++)
            level_of(f, sweep_first_level(sw, s), k)->reached[c] +=
                weight * sweep_rung(sw, s, k).reported;
    for (int32_t t = 0; t < sweep_trials(sw); t++) {
        const struct trial *trial = sweep_trial(sw, t);
        if (trial->complete)
            level_of(f, sweep_first_level(sw, trial->bracket), -1)->reached[c] += weight;
    }
    f->steps[c] += weight * out->steps;
    f->attempts[c] += weight * sweep_totals(sw)->attempts;
    f->time[c] += time * out->time;
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
    bool slow = spec->schedule == SCHEDULE_MEDIAN || spec->schedule == SCHEDULE_PBT;
    int64_t most = slow ? SLOW_PLAYED : PLAYED_MAX;
    p.spec.trials = total < most ? total : most;
    double scale = (double)total / (double)p.spec.trials;
    double used = slots < total ? slots : (double)total; /* slots that have a trial */
    struct simulation s = {.spec = &p.spec,
                           .slots = used > scale ? (int)rint(used / scale) : 1,
                           .until = INFINITY,
                           .ctx = &p,
                           .draw = draw,
                           .metric = metric,
                           .seconds = seconds,
                           .next = next};
    int passes = (int)(PLAYED_WANTED / p.spec.trials);
    passes = passes < 1 ? 1 : passes > PASSES_MAX ? PASSES_MAX : passes;
    for (p.order = 0; p.order < FORECAST_CASES; p.order++) {
        int n = p.order == FORECAST_EXPECTED ? passes : 1;
        for (p.seed = 0; p.seed < (uint64_t)n; p.seed++) {
            struct simulated out;
            simulate(&s, &out, NULL); /* nothing here can fail to be drawn */
            if (!f->levels)
                make_levels(f, out.sw);
            count(f, p.order, &out, scale / n, scale * s.slots / used / n);
            simulated_free(&out);
        }
    }
}

void forecast_free(struct forecast *f)
{
    free(f->levels);
    f->levels = NULL;
}
