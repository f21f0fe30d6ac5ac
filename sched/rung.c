#include "sched/rung.h"

#include <math.h>

void rung_init(struct rung *r, int64_t milestone, int32_t bracket, int32_t index)
{
    *r = (struct rung){.milestone = milestone, .bracket = bracket, .index = index};
    r->all = ranked_new();
    r->passed = ranked_new();
}

void rung_clear(struct rung *r)
{
    ranked_free(r->all);
    ranked_free(r->passed);
    queue_free(&r->paused);
}

uint32_t rung_rank(const struct rung *r, double value, uint32_t order)
{
    if (!isfinite(value))
        return r->reported;
    return ranked_below(r->all, (struct ranked_key){value, order}) + 1;
}

uint32_t rung_record(struct rung *r, double value, uint32_t order)
{
    r->reported++;
    r->top_known = false;
    if (!isfinite(value))
        return r->reported;
    return ranked_insert(r->all, (struct ranked_key){value, order}) + 1;
}

void rung_pass_over(struct rung *r, double value, uint32_t order)
{
    r->top_known = false;
    ranked_insert(r->passed, (struct ranked_key){value, order});
}

uint32_t rung_candidates(const struct rung *r)
{
    return ranked_count(r->all) - ranked_count(r->passed);
}

static void find_top(struct rung *r, uint32_t want)
{
    uint32_t left = rung_candidates(r), rank, passed;
    struct ranked_key key;

    if (r->top_known && r->top_of == want)
        return;
    r->top_known = true;
    r->top_of = want;
    if (want > left)
        want = left;
    r->top_any = want > 0;
    if (want == 0)
        return;
    /* The want-th of `all` without `passed`: each step moves the rank by as many as were
     * passed over up to it, until none is added. */
    for (rank = want - 1;; rank = want - 1 + passed) {
        r->top = key = ranked_at(r->all, rank);
        key.order++; /* count the key itself */
        passed = ranked_below(r->passed, key);
        if (rank == want - 1 + passed)
            return;
    }
}

bool rung_in_top(struct rung *r, double value, uint32_t order, uint32_t n)
{
    find_top(r, n);
    return r->top_any &&
           (value < r->top.value || (value == r->top.value && order <= r->top.order));
}

double rung_top_cutoff(struct rung *r, uint32_t n)
{
    find_top(r, n);
    return r->top_any ? r->top.value : NAN;
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
