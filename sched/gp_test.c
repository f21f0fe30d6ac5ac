#include "sched/gp.h"

#include "base/rng.h"
#include "sched/space_made.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 8

struct world {
    struct space *sp;
    struct observed *o;
    struct gp *gp;
    double u[MOST];
    struct value values[MOST];
    struct draw d;
    struct err e;
};

static void world_begin(struct world *w, const struct line lines[],
                        const char *constraint)
{
    *w = (struct world){.sp = space_made(lines, constraint)};
    const struct gp_ops *ops = gp_open(&w->e);
    if (!ops)
        fail_msg("%s", w->e.text);
    w->gp = gp_new(w->sp, 7, ops);
    w->o = observed_new(w->sp, 2, 1);
    w->d.u = w->u;
    w->d.values = w->values;
}

static void world_end(struct world *w)
{
    gp_free(w->gp);
    observed_free(w->o);
    space_free(w->sp);
}

static int32_t put(struct world *w, double a, double b)
{
    double u[MOST] = {a, b};
    struct value values[MOST];
    assert_int_equal(space_eval(w->sp, u, values, NULL), SPACE_OK);
    observed_add(w->o, u, values);
    return observed_trials(w->o) - 1;
}

static void draw(struct world *w, uint32_t trial)
{
    if (gp_draw(w->gp, w->o, trial, &w->d, &w->e) != 0)
        fail_msg("%s", w->e.text);
}

/* Draws a trial and tells its value at level 0. */
static void run(struct world *w, double (*f)(const struct world *w))
{
    int32_t t = observed_trials(w->o);
    draw(w, (uint32_t)t);
    observed_add(w->o, w->u, w->values);
    observed_value(w->o, t, 0, f(w));
}

static const struct line plane[] = {
    {"x", "uniform(0, 1)", NULL},
    {"y", "uniform(0, 1)", NULL},
    {NULL, NULL, NULL},
};

static double spread(uint32_t i, uint32_t k)
{
    return rng_unit(3, RNG_TEST, i, k, 0);
}

static double bowl_at(double x, double y)
{
    return pow(x - 0.3, 2) + pow(y - 0.7, 2);
}

static double bowl(const struct world *w)
{
    return bowl_at(w->u[0], w->u[1]);
}

/* n trials all over the plane. */
static void scatter(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        double x = spread(i, 0), y = spread(i, 1);
        observed_value(w->o, put(w, x, y), 0, bowl_at(x, y));
    }
}

static void a_plug_in_may_be_missing(void **state)
{
    char *path = getenv("RUNG_GP_PLUGIN");
    struct err e;
    (void)state;
    assert_non_null(path);
    path = strdup(path);
    setenv("RUNG_GP_PLUGIN", "/nowhere/librung_gp.so", 1);
    assert_null(gp_open(&e));
    assert_non_null(strstr(e.text, "/nowhere/librung_gp.so is not there, since rung was "
                                   "built without OpenBLAS"));
    setenv("RUNG_GP_PLUGIN", "/dev/null", 1);
    assert_null(gp_open(&e));
    assert_non_null(strstr(e.text, "search.method gp: /dev/null"));
    setenv("RUNG_GP_PLUGIN", path, 1);
    assert_non_null(gp_open(&e));
    free(path);
}

static void threads_are_as_the_user_set_them(void **state)
{
    struct err e;
    (void)state;
    setenv("OPENBLAS_NUM_THREADS", "3", 1);
    assert_non_null(gp_open(&e));
    assert_string_equal(getenv("OPENBLAS_NUM_THREADS"), "3");
    unsetenv("OPENBLAS_NUM_THREADS");
    assert_non_null(gp_open(&e));
    assert_null(getenv("OPENBLAS_NUM_THREADS"));
}

static void the_first_ones_are_quasi_random(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t t = 0; t < GP_STARTS; t++) {
        run(&w, bowl);
        assert_int_equal(w.d.next, t + 1);
        assert_true(w.u[1] == sobol_unit(7, 1, t));
    }
    run(&w, bowl);
    assert_int_equal(w.d.next, GP_STARTS); /* that draw took none */
    world_end(&w);
}

static void it_finds_the_bottom(void **state)
{
    struct world w;
    double least = 1;
    (void)state;
    world_begin(&w, plane, NULL);
    for (int t = 0; t < 25; t++) {
        run(&w, bowl);
        least = fmin(least, bowl(&w));
    }
    assert_true(least < 1e-4);
    world_end(&w);
}

/* What the real model is told at a fit. */
static struct {
    const struct gp_ops *ops;
    double values[32];
} seen;

static double fit_seen(struct gp_model *m, const double values[], int evaluations)
{
    memcpy(seen.values, values, sizeof(seen.values));
    return seen.ops->fit(m, values, evaluations);
}

/* Of 32 trials, trial i at (i / 32, 0.5) with values[i]: NaN is a failed one. */
static void tell(const double values[32])
{
    struct world w;
    world_begin(&w, plane, NULL);
    seen.ops = gp_open(NULL);
    struct gp_ops ops = *seen.ops;
    ops.fit = fit_seen;
    gp_free(w.gp);
    w.gp = gp_new(w.sp, 7, &ops);
    for (int i = 0; i < 32; i++) {
        int32_t t = put(&w, i / 32.0, 0.5);
        if (isnan(values[i]))
            observed_worst(w.o, t);
        else
            observed_value(w.o, t, 0, values[i]);
    }
    draw(&w, 32);
    assert_int_equal(w.d.next, 0); /* by the model */
    world_end(&w);
}

static void ties_at_the_best_hide_nothing(void **state)
{
    double values[32] = {0};
    const double *y = seen.values;
    (void)state;
    for (int i = 20; i < 30; i++)
        values[i] = i;
    values[30] = 1e10;
    values[31] = NAN;
    tell(values);
    for (int i = 1; i < 20; i++)
        assert_true(y[i] == y[0]);
    for (int i = 21; i < 31; i++)
        assert_true(y[i] > y[i - 1] + 1e-3);
    assert_true(y[20] > y[0] + 0.1 && y[31] == y[30]);
}

static void all_the_same_is_none_the_better(void **state)
{
    const double values[32] = {0};
    (void)state;
    tell(values);
    for (int i = 0; i < 32; i++)
        assert_true(seen.values[i] == -1);
}

/* How much wider the last step is than the first one. */
static double widening(const double values[32])
{
    tell(values);
    return (seen.values[31] - seen.values[30]) / (seen.values[1] - seen.values[0]);
}

/* Values whose logarithms lie straight above the median become straight, and straight
 * ones nearly stay so. */
static void drawn_together_as_is_likelier(void **state)
{
    double bent[32], straight[32];
    (void)state;
    for (int i = 0; i < 32; i++) {
        straight[i] = i - 16;
        bent[i] = i < 16 ? i - 16 : 16 * expm1((i - 16) / 16.0);
    }
    assert_float_equal(widening(bent), 1, 0.05);
    assert_float_equal(widening(straight), 1 / (1 + 15.0 / 160), 0.02);
}

/* Whichever way they are wild. */
static void outliers_hide_nothing(void **state)
{
    static const double wild[][2] = {
        {-1e200, 7}, {-DBL_MAX, DBL_MAX}, {-5, DBL_MAX}, {-1e6, 1e300}, {-DBL_MAX, -5}};
    const double *y = seen.values;
    (void)state;
    for (size_t k = 0; k < sizeof(wild) / sizeof(wild[0]); k++)
        for (double unit = 1; unit > 1e-100; unit *= 1e-50) {
            double values[32];
            for (int i = 0; i < 32; i++)
                values[i] = i * unit;
            values[0] = wild[k][0];
            values[31] = wild[k][1];
            tell(values);
            for (int i = 0; i < 32; i++)
                assert_true(fabs(y[i] + 1) < 6); /* a mean of -1, a variance of 1 */
            for (int i = 2; i < 31; i++)
                assert_true(y[i] > y[i - 1] + 1e-4);
            assert_true(y[0] < y[1]);
        }
}

static void overflow(struct gp_model *m, int n, const double points[], double best,
                     double out[])
{
    (void)m, (void)points, (void)best;
    for (int i = 0; i < n; i++)
        out[i] = NAN;
}

static void without_a_promise_it_is_quasi_random(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, "x + y > 0.5");
    struct gp_ops ops = *gp_open(NULL);
    ops.promise = overflow;
    gp_free(w.gp);
    w.gp = gp_new(w.sp, 7, &ops);
    for (int i = 0; i < 12; i++)
        observed_value(w.o, put(&w, 0.9, i / 12.0), 0, i);
    for (uint32_t t = 12; t < 20; t++) {
        int64_t next = w.d.next;
        draw(&w, t);
        assert_true(w.values[0].r + w.values[1].r > 0.5);
        assert_int_equal(w.d.next, next + w.d.tries + 1);
        assert_true(w.u[0] == sobol_unit(7, 0, (uint32_t)w.d.next - 1));
    }
    world_end(&w);
}

static const struct line normals[] = {
    {"x", "randn(0, 1)", NULL},
    {"y", "qrandn(0, 1, 0.5)", NULL},
    {NULL, NULL, NULL},
};

static double slope(const struct world *w)
{
    return w->values[0].r - w->values[1].r;
}

/* They end where there is one of a thousand, however promising it is to go on. */
static void normals_end_somewhere(void **state)
{
    struct world w;
    double least = 0;
    (void)state;
    world_begin(&w, normals, NULL);
    for (int t = 0; t < 30; t++) {
        run(&w, slope);
        least = fmin(least, slope(&w));
        assert_true(t < GP_STARTS || (w.values[0].r > -3.1 && w.values[1].r < 3.1));
    }
    assert_true(least < -6);
    world_end(&w);
}

/* Losses of 1e10 among them hide nothing. */
static double cliff(const struct world *w)
{
    return w->u[0] > 0.6 ? 1e10 : bowl(w);
}

static void wild_values_hide_nothing(void **state)
{
    struct world w;
    double least = 1;
    (void)state;
    world_begin(&w, plane, NULL);
    for (int t = 0; t < 40; t++) {
        run(&w, cliff);
        least = fmin(least, cliff(&w));
    }
    assert_true(least < 1e-3);
    world_end(&w);
}

static void failed_ones_are_bad(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    scatter(&w, 30);
    for (uint32_t i = 0; i < 20; i++) /* where the bottom is */
        observed_worst(w.o, put(&w, 0.2 + 0.2 * spread(i, 8), 0.6 + 0.2 * spread(i, 9)));
    for (uint32_t t = 50; t < 60; t++) {
        run(&w, bowl);
        assert_false(fabs(w.u[0] - 0.3) < 0.05 && fabs(w.u[1] - 0.7) < 0.05);
    }
    world_end(&w);
}

static void pending_ones_repel(void **state)
{
    struct world w;
    double first[2];
    (void)state;
    world_begin(&w, plane, NULL);
    scatter(&w, 20);
    draw(&w, 20);
    memcpy(first, w.u, sizeof(first));
    for (uint32_t t = 20; t < 28; t++) {
        draw(&w, t);
        for (int32_t i = 20; i < observed_trials(w.o); i++) {
            const double *u = observed_point(w.o, i);
            assert_true(hypot(u[0] - w.u[0], u[1] - w.u[1]) > 1e-4);
        }
        observed_add(w.o, w.u, w.values);
    }
    assert_true(observed_point(w.o, 20)[0] == first[0]);
    world_end(&w);
}

/* One that is pending becomes told, and others come: as if the model had been made of
 * these at once. */
static void what_is_kept_changes_nothing(void **state)
{
    struct world w;
    double kept[2];
    (void)state;
    world_begin(&w, plane, NULL);
    scatter(&w, 30);
    for (int i = 0; i < 3; i++)
        put(&w, spread(50, (uint32_t)i), 0.5);
    draw(&w, 33); /* fits with 30 values */
    observed_value(w.o, 31, 0, 0.4);
    draw(&w, 33); /* 31: not yet again */
    memcpy(kept, w.u, sizeof(kept));
    gp_free(w.gp);
    w.gp = gp_new(w.sp, 7, gp_open(NULL));
    struct observed *all = w.o;
    w.o = observed_new(w.sp, 2, 1);
    scatter(&w, 30);
    draw(&w, 33); /* the same fit */
    observed_free(w.o);
    w.o = all;
    draw(&w, 33);
    assert_true(fabs(kept[0] - w.u[0]) < 1e-3 && fabs(kept[1] - w.u[1]) < 1e-3);
    world_end(&w);
}

static void the_best_are_modelled_however_old(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    scatter(&w, 300);
    for (uint32_t i = 0; i < 600; i++) {
        double x = spread(i, 4), y = 0.3 * spread(i, 5);
        observed_value(w.o, put(&w, x, y), 0, bowl_at(x, y));
    }
    draw(&w, 900);
    assert_true(hypot(w.u[0] - 0.3, w.u[1] - 0.7) < 0.02);
    world_end(&w);
}

static void lower_levels_are_no_rivals(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 12; i++) {
        double x = spread(i, 0), y = spread(i, 1);
        int32_t t = put(&w, x, y);
        observed_value(w.o, t, 0, 100);
        observed_value(w.o, t, 1, bowl_at(x, y));
    }
    for (uint32_t i = 0; i < 20; i++) { /* a lower level's values are smaller here */
        int32_t t = put(&w, 0.8 + 0.2 * spread(i, 6), spread(i, 7));
        observed_value(w.o, t, 0, -50);
        if (i % 2)
            observed_over(w.o, t, true);
        else
            observed_rest(w.o, t, true);
    }
    for (uint32_t t = 32; t < 40; t++) {
        draw(&w, t);
        assert_true(w.u[0] < 0.8);
        int32_t added = observed_trials(w.o);
        observed_add(w.o, w.u, w.values);
        observed_value(w.o, added, 1, bowl(&w));
    }
    world_end(&w);
}

/* What is told of lower levels makes nobody the worse who is on its way. */
static void who_is_on_its_way_is_pending(void **state)
{
    struct world w;
    double pending[2];
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        double x = spread(i, 0), y = spread(i, 1);
        int32_t t = put(&w, x, y);
        observed_value(w.o, t, 0, 100);
        observed_value(w.o, t, 1, bowl_at(x, y));
    }
    for (int i = 0; i < 3; i++)
        put(&w, 0.29 + 0.01 * i, 0.7);
    draw(&w, 23);
    memcpy(pending, w.u, sizeof(pending));
    for (int32_t t = 20; t < 23; t++)
        observed_value(w.o, t, 0, 1);
    draw(&w, 23);
    assert_memory_equal(w.u, pending, sizeof(pending));
    for (int32_t t = 20; t < 23; t++)
        observed_rest(w.o, t, true);
    draw(&w, 23);
    assert_memory_not_equal(w.u, pending, sizeof(pending));
    for (int32_t t = 20; t < 23; t++)
        observed_rest(w.o, t, false);
    draw(&w, 23);
    assert_float_equal(w.u[0], pending[0], 0.05);
    assert_float_equal(w.u[1], pending[1], 0.05);
    world_end(&w);
}

static const struct line kinds[] = {
    {"opt", "choice(sgd, adam, none)", NULL},
    {"n", "randint(1, 9)", NULL},
    {"lr", "loguniform(1e-5, 1)", NULL},
    {"many", "randint(0, 1000)", NULL},
    {"momentum", "uniform(0, 1)", "opt == \"sgd\""},
    {NULL, NULL, NULL},
};

static double training(const struct world *w)
{
    const struct value *v = w->values;
    double loss = fabs((double)v[1].i - 3) / 4 + pow(log10(v[2].r) + 2, 2) +
                  fabs((double)v[3].i - 400) / 1000;
    if (v[4].kind == VALUE_ABSENT)
        return loss + (strcmp(v[0].s, "adam") == 0 ? 0.5 : 1);
    return loss + pow(v[4].r - 0.9, 2);
}

static void kinds_are_searched_as_they_are(void **state)
{
    struct world w;
    double least = 10;
    (void)state;
    world_begin(&w, kinds, "n * lr < 5");
    for (int t = 0; t < 60; t++) {
        run(&w, training);
        assert_true((double)w.values[1].i * w.values[2].r < 5);
        assert_true(w.values[3].i >= 0 && w.values[3].i < 1000);
        least = fmin(least, training(&w));
    }
    assert_true(least < 0.05);
    world_end(&w);
}

static void a_narrow_space_is_still_drawn_from(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, "x < 0.001");
    for (int i = 0; i < 20; i++)
        observed_value(w.o, put(&w, 0.0009, i / 20.0), 0, i);
    for (uint32_t t = 20; t < 23; t++) {
        draw(&w, t);
        assert_true(w.values[0].r < 0.001);
        assert_int_equal(w.d.tries, 0); /* candidates are no draws */
    }
    world_end(&w);
    world_begin(&w, plane, "x > 2");
    assert_int_equal(gp_draw(w.gp, w.o, 0, &w.d, &w.e), ERR_RANGE);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plug_in_may_be_missing),
        cmocka_unit_test(threads_are_as_the_user_set_them),
        cmocka_unit_test(the_first_ones_are_quasi_random),
        cmocka_unit_test(it_finds_the_bottom),
        cmocka_unit_test(ties_at_the_best_hide_nothing),
        cmocka_unit_test(all_the_same_is_none_the_better),
        cmocka_unit_test(drawn_together_as_is_likelier),
        cmocka_unit_test(outliers_hide_nothing),
        cmocka_unit_test(without_a_promise_it_is_quasi_random),
        cmocka_unit_test(normals_end_somewhere),
        cmocka_unit_test(wild_values_hide_nothing),
        cmocka_unit_test(failed_ones_are_bad),
        cmocka_unit_test(pending_ones_repel),
        cmocka_unit_test(what_is_kept_changes_nothing),
        cmocka_unit_test(the_best_are_modelled_however_old),
        cmocka_unit_test(lower_levels_are_no_rivals),
        cmocka_unit_test(who_is_on_its_way_is_pending),
        cmocka_unit_test(kinds_are_searched_as_they_are),
        cmocka_unit_test(a_narrow_space_is_still_drawn_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
