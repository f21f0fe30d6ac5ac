#include "sched/median.h"

#include "base/rank.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>

/* The sum of a trial's values up to a step, in two parts of which the second holds what
 * the first has no digits for: equal values have an equal mean, however many they are. */
struct point {
    int64_t step;
    double sum, rest;
};

struct course {
    VEC(struct point) points;
};

struct median {
    int64_t from;
    VEC(struct course) trials;
};

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
    next.step = step;
    add(&next, value);
    vec_push(&c->points, next);
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

uint32_t median_of_others(const struct median *m, int32_t trial, int64_t step,
                          double *median)
{
    double *means = mem_alloc((m->trials.n + 1) * sizeof(means[0]));
    uint32_t n = 0;

    for (size_t i = 0; i < m->trials.n; i++) {
        double mean = mean_up_to(&m->trials.v[i], step);

        if (i != (size_t)trial && !isnan(mean))
            means[n++] = mean;
    }
    numbers_sort(means, n);
    *median = n == 0 ? NAN : n % 2 ? means[n / 2] : (means[n / 2 - 1] + means[n / 2]) / 2;
    free(means);
    return n;
}
