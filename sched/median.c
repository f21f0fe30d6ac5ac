#include "sched/median.h"

#include "base/hash.h"
#include "base/rank.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The sum of a trial's values up to a step, in two parts of which the second holds what
 * the first has no digits for: equal values have an equal mean, however many they are. */
struct point {
    int64_t step;
    double sum, rest;
};

struct course {
    VEC(struct point) points;
};

/* The means of all trials up to a step that many ask for. */
struct crowd {
    int64_t step;
    VEC(double) means; /* ascending */
};

struct median {
    int64_t from;
    VEC(struct course) trials;
    struct map asked;         /* step -> how often, until it has a crowd */
    VEC(struct crowd) crowds; /* ascending by step */
    size_t reports, held;     /* points of all trials, means of all crowds */
};

#define ASKED_OFTEN 8
#define HELD_MOST                                                                        \
    8 /* means for each point: where every trial has steps of its own, all               \
         crowds together would be its square */

struct median *median_new(int64_t from)
{
    struct median *m = mem_alloc(sizeof(*m));

    m->from = from;
    return m;
}

void median_free(struct median *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->trials.n; i++)
        vec_free(&m->trials.v[i].points);
    vec_free(&m->trials);
    for (size_t i = 0; i < m->crowds.n; i++)
        vec_free(&m->crowds.v[i].means);
    vec_free(&m->crowds);
    map_free(&m->asked);
    free(m);
}

/* Knuth's exact sum of two numbers (TAOCP 2, 4.2.2, theorem B). */
static void add(struct point *p, double value)
{
    double sum = p->sum + value, part = sum - p->sum;

    if (!isfinite(value) || !isfinite(sum)) {
        p->sum = INFINITY;
        p->rest = 0;
        return;
    }
    p->rest += (p->sum - (sum - part)) + (value - part);
    p->sum = sum;
}

/* The quotient with what its first rounding lost. */
static double divide(const struct point *p, double n)
{
    double q = p->sum / n;

    return isfinite(q) ? q + (fma(-q, n, p->sum) + p->rest) / n : q;
}

/* The mean up to a step; NaN of a trial that has not come so far, or jumped over all. */
static double mean_up_to(const struct course *c, int64_t step)
{
    size_t low = 0, high = c->points.n; /* points below low are up to `step` */

    if (high == 0 || c->points.v[high - 1].step < step)
        return NAN;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (c->points.v[middle].step <= step)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NAN;
    return divide(&c->points.v[low - 1], (double)low);
}

/* ---- crowds ---- */

/* The first crowd whose step is above this one. */
static size_t crowd_above(const struct median *m, int64_t step)
{
    size_t low = 0, high = m->crowds.n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (m->crowds.v[middle].step <= step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct crowd *crowd_at(struct median *m, int64_t step)
{
    size_t i = crowd_above(m, step);

    return i > 0 && m->crowds.v[i - 1].step == step ? &m->crowds.v[i - 1] : NULL;
}

/* How many means of the crowd are smaller. */
static size_t below(const struct crowd *c, double mean)
{
    size_t low = 0, high = c->means.n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (c->means.v[middle] < mean)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void join(struct median *m, struct crowd *c, double mean)
{
    size_t at = below(c, mean);

    vec_push(&c->means, mean);
    memmove(&c->means.v[at + 1], &c->means.v[at],
            (c->means.n - 1 - at) * sizeof(c->means.v[0]));
    c->means.v[at] = mean;
    m->held++;
}

/* The means of all trials up to a step, without those of one (-1: of none), ascending. */
static void gather(const struct median *m, int64_t step, int32_t without,
                   struct crowd *out)
{
    *out = (struct crowd){.step = step};
    for (size_t i = 0; i < m->trials.n; i++) {
        double mean = mean_up_to(&m->trials.v[i], step);

        if (i != (size_t)without && !isnan(mean))
            vec_push(&out->means, mean);
    }
    numbers_sort(out->means.v, out->means.n);
}

/* NULL: the step is not asked for often, or there is no room. */
static struct crowd *crowd_for(struct median *m, int64_t step)
{
    struct crowd *c = crowd_at(m, step), made;
    uint32_t asked = 0;
    size_t at;

    if (c)
        return c;
    map_get(&m->asked, (uint64_t)step, &asked);
    map_put(&m->asked, (uint64_t)step, asked + 1);
    if (asked < ASKED_OFTEN || m->held + m->trials.n > HELD_MOST * m->reports)
        return NULL;
    gather(m, step, -1, &made);
    m->held += made.means.n;
    at = crowd_above(m, step);
    vec_push(&m->crowds, made);
    memmove(&m->crowds.v[at + 1], &m->crowds.v[at],
            (m->crowds.n - 1 - at) * sizeof(m->crowds.v[0]));
    m->crowds.v[at] = made;
    return &m->crowds.v[at];
}

/* ---- the rule ---- */

void median_report(struct median *m, int32_t trial, int64_t step, double value)
{
    struct point next = {0};
    struct course *c;

    if (step < m->from)
        return;
    while (m->trials.n <= (size_t)trial)
        vec_push(&m->trials, (struct course){0});
    c = &m->trials.v[trial];
    if (c->points.n > 0)
        next = c->points.v[c->points.n - 1];
    /* on the way it has passed crowds, which it comes to with the mean that it had */
    for (size_t i = crowd_above(m, next.step);
         c->points.n > 0 && i < m->crowds.n && m->crowds.v[i].step < step; i++)
        join(m, &m->crowds.v[i], divide(&next, (double)c->points.n));
    next.step = step;
    add(&next, value);
    vec_push(&c->points, next);
    m->reports++;
    if (crowd_at(m, step))
        join(m, crowd_at(m, step), divide(&next, (double)c->points.n));
}

/* Number i of a crowd without the mean at `own`. */
static double other(const struct crowd *c, size_t own, size_t i)
{
    return c->means.v[i < own ? i : i + 1];
}

uint32_t median_of_others(struct median *m, int32_t trial, int64_t step, double *median)
{
    struct crowd *c = crowd_for(m, step), made;
    double mean = NAN;
    size_t own, n;

    if (!c) {
        gather(m, step, trial, &made);
        c = &made;
    } else if ((size_t)trial < m->trials.n) {
        mean = mean_up_to(&m->trials.v[trial], step);
    }
    own = isnan(mean) ? c->means.n : below(c, mean);
    n = isnan(mean) ? c->means.n : c->means.n - 1;
    *median = n == 0  ? NAN
              : n % 2 ? other(c, own, n / 2)
                      : (other(c, own, n / 2 - 1) + other(c, own, n / 2)) / 2;
    if (c == &made)
        vec_free(&made.means);
    return (uint32_t)n;
}
