#include "launcher/orders.h"

#include "base/rank.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>

struct record {
    int32_t trial;
    double value; /* turned: smaller is better */
};

struct orders {
    const struct sweep *sw;
    int levels;
    struct records {
        VEC(struct record) all; /* no trial twice */
    } * at;                     /* [levels] */
};

struct orders *orders_new(const struct sweep *sw)
{
    struct orders *o = mem_alloc(sizeof(*o));
    o->sw = sw;
    o->levels = sweep_levels(sw)->n;
    o->at = mem_alloc((size_t)o->levels * sizeof(*o->at));
    return o;
}

void orders_free(struct orders *o)
{
    if (!o)
        return;
    for (int i = 0; i < o->levels; i++)
        vec_free(&o->at[i].all);
    free(o->at);
    free(o);
}

void orders_event(struct orders *o, const struct event *ev, const struct verdict *v)
{
    if (ev->kind != EVENT_REPORT || v->stale)
        return;
    const struct trial *t = sweep_trial(o->sw, ev->trial);
    const struct spec *spec = sweep_spec(o->sw);
    int level;
    double value;
    if (v->rung >= 0) {
        level = sweep_first_level(o->sw, t->bracket) + v->rung;
        value = v->value;
    } else if (t->complete && ev->report.step >= spec->max_t) {
        level = o->levels - 1;
        value = t->metric.v[0];
    } else {
        return;
    }
    if (!isfinite(value))
        value = NAN;
    struct record r = {ev->trial, spec->objective[0].maximize ? -value : value};
    vec_push(&o->at[level].all, r);
}

static int by_trial(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return x->trial < y->trial ? -1 : x->trial > y->trial;
}

static void sort(struct records *r)
{
    if (r->all.n > 1)
        qsort(r->all.v, r->all.n, sizeof(r->all.v[0]), by_trial);
}

/* Pairs of those that are in both, which are sorted by trial; how many. */
static size_t pair(const struct records *early, const struct records *late, double x[],
                   double y[])
{
    size_t n = 0, k = 0;
    for (size_t i = 0; i < early->all.n; i++) {
        while (k < late->all.n && late->all.v[k].trial < early->all.v[i].trial)
            k++;
        if (k == late->all.n || late->all.v[k].trial != early->all.v[i].trial)
            continue;
        x[n] = early->all.v[i].value;
        y[n++] = late->all.v[k].value;
    }
    return n;
}

struct order orders_of(struct orders *o, int level)
{
    struct records *early = &o->at[level], *late = &o->at[level + 1];
    size_t n = early->all.n;
    double *x = mem_alloc(n * sizeof(*x)), *y = mem_alloc(n * sizeof(*y));
    sort(early);
    sort(late);
    n = pair(early, late, x, y);
    struct order order = {(uint32_t)n, rank_correlation(x, y, n)};
    free(x);
    free(y);
    return order;
}

bool order_is_poor(const struct order *o)
{
    return o->trials >= ORDER_TRIALS && o->correlation < ORDER_NONE;
}
