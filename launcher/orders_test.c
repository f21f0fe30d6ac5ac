#include "launcher/orders.h"

#include "base/mem.h"
#include "base/rank.h"
#include "store/rehearsal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRIALS 200
#define LEVELS 4

struct heard {
    struct orders *orders;
    const struct sweep *sw;
    double value[LEVELS][TRIALS]; /* INFINITY: not finite, NaN: not there */
};

static void emit(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct heard *h = ctx;
    orders_event(h->orders, ev, v);
    if (ev->kind != EVENT_REPORT || v->stale)
        return;
    const struct trial *t = sweep_trial(h->sw, ev->trial);
    double sign = sweep_spec(h->sw)->objective[0].maximize ? -1 : 1;
    if (v->rung >= 0)
        h->value[sweep_first_level(h->sw, t->bracket) + v->rung][ev->trial] =
            isfinite(v->value) ? sign * v->value : INFINITY;
    if (t->complete)
        h->value[LEVELS - 1][ev->trial] =
            isfinite(t->metric.v[0]) ? sign * t->metric.v[0] : INFINITY;
}

/* Against all pairs, compared by hand. */
static void compare(bool stop_mode, bool maximize, int brackets)
{
    struct heard h;
    struct spec spec;
    rehearsal_spec(&spec, TRIALS, stop_mode);
    spec.objective[0].maximize = maximize;
    spec.brackets = brackets;
    struct sweep *sw = sweep_new(&spec);
    assert_int_equal(sweep_levels(sw)->n, LEVELS);
    h.sw = sw;
    h.orders = orders_new(sw);
    for (int l = 0; l < LEVELS; l++)
        for (int t = 0; t < TRIALS; t++)
            h.value[l][t] = NAN;
    rehearse(&(struct rehearsal){.sw = sw,
                                 .seed = 3,
                                 .slots = 4,
                                 .metrics = 1,
                                 .trouble = 0.02,
                                 .clock = 1e9,
                                 .emit = emit,
                                 .ctx = &h});
    for (int l = 0; l < LEVELS - 1; l++) {
        double x[TRIALS], y[TRIALS];
        size_t n = 0;
        for (int t = 0; t < TRIALS; t++)
            if (!isnan(h.value[l][t]) && !isnan(h.value[l + 1][t])) {
                x[n] = h.value[l][t];
                y[n++] = h.value[l + 1][t];
            }
        struct order o = orders_of(h.orders, l);
        assert_int_equal(o.trials, n);
        assert_true(n >= 3);
        assert_true(fabs(o.correlation - rank_correlation(x, y, n)) < 1e-12);
        assert_true(o.correlation > 0.2); /* a rehearsal's curves keep their order */
    }
    orders_free(h.orders);
    sweep_free(sw);
    spec_clear(&spec);
}

static void pairs_of_promoted_trials(void **state)
{
    (void)state;
    compare(false, false, 1);
    compare(false, false, 2);
}

static void pairs_of_trials_that_were_not_stopped(void **state)
{
    (void)state;
    compare(true, false, 1);
    compare(true, true, 1);
}

static void report(struct orders *o, struct sweep *sw, int32_t trial, int64_t step,
                   double loss)
{
    struct metric m = {slice_of(sweep_spec(sw)->objective[0].name), loss};
    struct event ev = {.kind = EVENT_REPORT, .time = 1, .trial = trial, .attempt = 1};
    struct verdict v;
    ev.report.number = (uint32_t)step;
    ev.report.step = step;
    ev.report.metrics = &m;
    ev.report.n_metrics = 1;
    assert_int_equal(sweep_apply(sw, &ev, &v, NULL), 0);
    orders_event(o, &ev, &v);
}

/* In either direction an infinity is the worst, also where training ends. */
static void infinities_are_the_worst(void **state)
{
    struct spec spec;
    (void)state;
    for (int maximize = 0; maximize < 2; maximize++) {
        rehearsal_spec(&spec, 3, true);
        spec.objective[0].maximize = maximize;
        struct sweep *sw = sweep_new(&spec);
        struct orders *o = orders_new(sw);
        double sign = maximize ? -1 : 1;
        for (int32_t t = 0; t < 3; t++) {
            struct event ev;
            assert_int_equal(sweep_draw(sw, &ev, NULL), 0);
            assert_int_equal(sweep_apply(sw, &ev, NULL, NULL), 0);
            struct work w = sweep_next(sw);
            sweep_start_event(sw, &w, &ev);
            ev.start.slot = t;
            assert_int_equal(sweep_apply(sw, &ev, NULL, NULL), 0);
        }
        for (int32_t t = 2; t >= 0; t--) /* the best last, so that none is stopped */
            report(o, sw, t, 9, sign * t);
        report(o, sw, 0, 27, sign * 0);
        report(o, sw, 1, 27, sign * 1);
        report(o, sw, 2, 27, -sign * INFINITY);
        struct order order = orders_of(o, LEVELS - 2);
        assert_int_equal(order.trials, 3);
        assert_true(fabs(order.correlation - 1) < 1e-12);
        orders_free(o);
        sweep_free(sw);
        spec_clear(&spec);
    }
}

static void what_is_poor(void **state)
{
    struct order few = {19, -1}, good = {20, 0.2}, poor = {20, 0.19}, none = {20, NAN};
    (void)state;
    assert_false(order_is_poor(&few));
    assert_false(order_is_poor(&good));
    assert_true(order_is_poor(&poor));
    assert_false(order_is_poor(&none));
    orders_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_promoted_trials),
        cmocka_unit_test(pairs_of_trials_that_were_not_stopped),
        cmocka_unit_test(infinities_are_the_worst),
        cmocka_unit_test(what_is_poor),
    };
    return cmocka_run_group_tests_name("orders", tests, NULL, NULL);
}
