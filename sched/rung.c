#include "sched/rung.h"

void rung_init(struct rung *r, int64_t milestone, int32_t bracket, int32_t index,
               int objectives)
{
    *r = (struct rung){.milestone = milestone, .bracket = bracket, .index = index};
    r->all = ranked_new();
    r->passed = ranked_new();
    if (objectives > 1)
        r->fronts = fronts_new();
}

void rung_clear(struct rung *r)
{
    ranked_free(r->all);
    ranked_free(r->passed);
    queue_free(&r->paused);
    fronts_free(r->fronts);
}

static struct ranked_key key_of(const struct score *score, uint32_t order)
{
    return (struct ranked_key){score->v[0], order};
}

double rung_standing(const struct rung *r, const struct score *score, uint32_t order)
{
    return r->fronts ? fronts_place(r->fronts, order) : score->v[0];
}

uint32_t rung_rank(const struct rung *r, const struct score *score, uint32_t order)
{
    if (!score_finite(score))
        return r->reported;
    if (r->fronts)
        return fronts_place(r->fronts, order) + 1;
    return ranked_below(r->all, key_of(score, order)) + 1;
}

uint32_t rung_record(struct rung *r, const struct score *score, uint32_t order)
{
    r->reported++;
    r->top_known = false;
    if (!score_finite(score))
        return r->reported;
    if (!r->fronts)
        return ranked_insert(r->all, key_of(score, order)) + 1;
    fronts_insert(r->fronts, score, order);
    return fronts_place(r->fronts, order) + 1;
}

void rung_pass_over(struct rung *r, const struct score *score, uint32_t order)
{
    r->top_known = false;
    if (r->fronts)
        fronts_pass_over(r->fronts, order);
    else
        ranked_insert(r->passed, key_of(score, order));
}

uint32_t rung_candidates(const struct rung *r)
{
    return r->fronts ? fronts_competing(r->fronts)
                     : ranked_count(r->all) - ranked_count(r->passed);
}

/* The want-th of `all` without `passed`: each step moves the rank by as many as were
 * passed over up to it, until none is added. */
static struct ranked_key find_ranked(const struct rung *r, uint32_t want)
{
    uint32_t passed = 0, rank;
    struct ranked_key found, key;

    do {
        rank = want - 1 + passed;
        found = key = ranked_at(r->all, rank);
        key.order++; /* count the key itself */
        passed = ranked_below(r->passed, key);
    } while (rank != want - 1 + passed);
    return found;
}

static void find_top(struct rung *r, uint32_t want)
{
    uint32_t left = rung_candidates(r);

    if (r->top_known && r->top_of == want)
        return;
    r->top_known = true;
    r->top_of = want;
    if (want > left)
        want = left;
    r->top_any = want > 0;
    if (want == 0)
        return;
    if (r->fronts)
        r->top = (struct ranked_key){fronts_best(r->fronts, want - 1), UINT32_MAX};
    else
        r->top = find_ranked(r, want);
}

bool rung_in_top(struct rung *r, double standing, uint32_t order, uint32_t n)
{
    find_top(r, n);
    return r->top_any && (standing < r->top.value ||
                          (standing == r->top.value && order <= r->top.order));
}

double rung_top_cutoff(struct rung *r, uint32_t n)
{
    find_top(r, n);
    return r->top_any && !r->fronts ? r->top.value : NAN;
}

void rung_pause(struct rung *r, const struct score *score, uint32_t order, int32_t trial)
{
    if (r->fronts)
        fronts_pause(r->fronts, order, trial);
    else
        queue_push(&r->paused, (struct queued){score->v[0], order, trial});
}

bool rung_paused(const struct rung *r, struct queued *best)
{
    if (!r->fronts) {
        if (r->paused.heap.n > 0)
            *best = r->paused.heap.v[0];
        return r->paused.heap.n > 0;
    }
    if (!fronts_paused(r->fronts, &best->order, &best->trial))
        return false;
    best->value = fronts_place(r->fronts, best->order);
    return true;
}

void rung_resume(struct rung *r, const struct queued *best)
{
    if (r->fronts)
        fronts_resume(r->fronts, best->order);
    else
        queue_pop(&r->paused);
}

double rung_stop_cutoff(const struct rung *r, struct eta eta)
{
    uint32_t n = ranked_count(r->all), low, high;
    double q, v, t, a, b, diff;

    if (n == 0)
        return NAN;
    q = (1 - 1 / eta_value(eta)) * 100;
    v = (n - 1) * (q / 100);
    low = (uint32_t)v;
    high = low + 1 < n ? low + 1 : n - 1;
    t = v - low;
    /* y ascends as the value descends */
    a = -ranked_at(r->all, n - 1 - low).value;
    b = -ranked_at(r->all, n - 1 - high).value;
    diff = b - a;
    return t >= 0.5 ? b - diff * (1 - t) : a + diff * t;
}
