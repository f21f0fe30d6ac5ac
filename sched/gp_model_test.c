#include "sched/gp_model.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { REALS = 3, WORDS = 1, COORDS = REALS + WORDS, POINTS = 40 };

static void assert_near(double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * (fabs(want) + 1e-9)))
        fail_msg("%.17g is not %.17g", got, want);
}

/* Points with a word of three, and a function of them. */
static void sample(int n, double points[], double values[])
{
    for (int i = 0; i < n; i++) {
        double *x = &points[i * COORDS];
        for (uint32_t k = 0; k < REALS; k++)
            x[k] = rng_unit(7, RNG_TEST, (uint32_t)i, k, 0);
        x[REALS] = floor(3 * rng_unit(7, RNG_TEST, (uint32_t)i, REALS, 0));
        values[i] = sin(5 * x[0]) + x[1] * x[1] - 0.5 * x[REALS];
    }
}

static void matern_is_the_closed_form(void **state)
{
    (void)state;
    double slope;
    assert_true(gp_matern(0, &slope) == 1);
    assert_near(slope, -5.0 / 6, 1e-15);
    /* r = 1: (1 + 1 + 1/3) / e; r = 3: 7 / e^3 */
    assert_near(gp_matern(0.2, NULL), 7.0 / 3 * exp(-1), 1e-14);
    assert_near(gp_matern(1.8, NULL), 7 * exp(-3), 1e-14);
    for (double s = 0.01; s < 20; s *= 1.7) {
        double h = 1e-5 * s;
        gp_matern(s, &slope);
        assert_near(slope, (gp_matern(s + h, NULL) - gp_matern(s - h, NULL)) / (2 * h),
                    1e-6);
    }
}

/* Reference values: 60 digits (mpmath). */
static void log_improvement_has_its_digits(void **state)
{
    static const struct {
        double z, value, slope;
    } known[] = {
        {3, 1.0987396653277078, 0.33284096845179524},
        {0.5, -0.35982768374506382, 0.99092271800410996},
        {0, -0.91893853320467274, 1.2533141373155003},
        {-0.9, -2.2982829894596518, 1.8326998049212273},
        {-1, -2.4851210257126413, 1.9042712333296918},
        {-1.1, -2.6791783824760535, 1.9770770873054811},
        {-5, -16.74430116266099, 5.3618162412880885},
        {-24.9, -317.35848574266734, 24.979936959471138},
        {-25.1, -322.37440987246407, 25.179305997377542},
        {-38, -730.19618340211374, 38.052522760041328},
        {-200, -20011.515648259739, 200.00999925013122},
        {-100000.0, -5000000023.9447895, 100000.00002},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        double slope;
        assert_near(gp_log_improvement(known[i].z, &slope), known[i].value, 1e-11);
        assert_near(slope, known[i].slope, 1e-9);
    }
}

static void gradient_is_that_of_differences(void **state)
{
    double points[POINTS * COORDS], values[POINTS];
    double at[COORDS + 2] = {0.3, -0.5, 1, 0.2, 0.4, -3}, gradient[COORDS + 2];
    double unused[COORDS + 2];
    struct gp_model *m = rung_gp.create(REALS, WORDS);
    (void)state;
    sample(POINTS, points, values);
    rung_gp.add(m, POINTS, points);
    gp_loss(m, values, at, gradient);
    for (int k = 0; k < COORDS + 2; k++) {
        double was = at[k], above, below;
        at[k] = was + 1e-5;
        above = gp_loss(m, values, at, unused);
        at[k] = was - 1e-5;
        below = gp_loss(m, values, at, unused);
        at[k] = was;
        assert_near(gradient[k], (above - below) / 2e-5, 1e-6);
    }
    rung_gp.destroy(m);
}

/* One point: mean = k / (1 + noise) y, variance = 1 - k^2 / (1 + noise). */
static void predicts_by_the_closed_form(void **state)
{
    double x[COORDS] = {0.5, 0.5, 0.5, 1}, z[2 * COORDS], y = 2, mean[2], variance[2];
    double k = gp_matern(0.01, NULL), other = gp_matern(1, NULL), noise = 0.01 + 1e-7;
    struct gp_model *m = rung_gp.create(REALS, WORDS);
    (void)state;
    memcpy(z, x, sizeof(x));
    memcpy(z + COORDS, x, sizeof(x));
    z[1] = 0.6;
    z[2 * COORDS - 1] = 2; /* another word */
    rung_gp.add(m, 1, x);
    rung_gp.tell(m, &y);
    rung_gp.predict(m, 2, z, mean, variance);
    assert_near(mean[0], k / (1 + noise) * y, 1e-12);
    assert_near(variance[0], 1 - k * k / (1 + noise), 1e-12);
    assert_near(mean[1], other / (1 + noise) * y, 1e-12);
    assert_near(variance[1], 1 - other * other / (1 + noise), 1e-12);
    rung_gp.destroy(m);
}

/* Rows added one by one, and after others were cut off, make the factor of all. */
static void rows_make_the_same_factor(void **state)
{
    double points[POINTS * COORDS], values[POINTS], a[2][POINTS], b[2][POINTS];
    struct gp_model *whole = rung_gp.create(REALS, WORDS);
    struct gp_model *rows = rung_gp.create(REALS, WORDS);
    (void)state;
    sample(POINTS, points, values);
    rung_gp.add(whole, POINTS, points);
    rung_gp.add(rows, 25, points);
    for (int i = 25; i < 35; i++)
        rung_gp.add(rows, 1, &points[2 * COORDS]);
    rung_gp.cut(rows, 25);
    for (int i = 25; i < POINTS; i++)
        rung_gp.add(rows, 1, &points[i * COORDS]);
    rung_gp.tell(whole, values);
    rung_gp.tell(rows, values);
    for (int i = 0; i < POINTS * COORDS; i++)
        points[i] = i % COORDS < REALS ? fmod(points[i] + 0.37, 1) : points[i];
    rung_gp.predict(whole, POINTS, points, a[0], a[1]);
    rung_gp.predict(rows, POINTS, points, b[0], b[1]);
    for (int i = 0; i < POINTS; i++) {
        assert_near(b[0][i], a[0][i], 1e-9);
        assert_near(b[1][i], a[1][i], 1e-9);
    }
    rung_gp.destroy(whole);
    rung_gp.destroy(rows);
}

/* The same point many times leaves nothing of its variance but noise. */
static void the_same_point_again_and_again(void **state)
{
    double x[COORDS] = {0.1, 0.2, 0.3, 0}, y[60], mean, variance;
    struct gp_model *m = rung_gp.create(REALS, WORDS);
    (void)state;
    for (int i = 0; i < 60; i++) {
        rung_gp.add(m, 1, x);
        y[i] = i % 2 ? 1 : 3;
    }
    rung_gp.fit(m, y, 50);
    rung_gp.predict(m, 1, x, &mean, &variance);
    assert_true(isfinite(mean) && fabs(mean - 2) < 0.2);
    assert_true(isfinite(variance));
    rung_gp.destroy(m);
}

/* A fit knows which coordinates count, and predicts what it was not told. */
static void fits(void **state)
{
    enum { TOLD = POINTS - 10 };
    double points[POINTS * COORDS], values[POINTS], mean[POINTS], variance[POINTS];
    double error = 0, spread = 0;
    struct gp_model *m = rung_gp.create(REALS, WORDS);
    (void)state;
    sample(POINTS, points, values);
    rung_gp.add(m, TOLD, points);
    rung_gp.fit(m, values, 100);
    rung_gp.predict(m, 10, &points[TOLD * COORDS], mean, variance);
    for (int i = 0; i < 10; i++) {
        error += pow(mean[i] - values[TOLD + i], 2);
        spread += values[TOLD + i] * values[TOLD + i];
    }
    assert_true(error < 0.02 * spread);
    rung_gp.destroy(m);
}

/* From anywhere within bounds it climbs, moves only what is free, and ends where it is
 * flat or at a bound; what it returns is the promise there. */
static void climbs(void **state)
{
    static const bool free_ones[REALS] = {true, false, true};
    static const double low[REALS] = {0.1, 0, 0}, high[REALS] = {0.8, 1, 0.9};
    int at_bounds = 0;
    double points[POINTS * COORDS], values[POINTS];
    struct gp_model *m = rung_gp.create(REALS, WORDS);
    (void)state;
    sample(POINTS, points, values);
    rung_gp.add(m, POINTS, points);
    rung_gp.fit(m, values, 100);
    for (int i = 0; i < 10; i++) {
        double x[COORDS], before, after, near, got;
        for (int k = 0; k < COORDS; k++)
            x[k] = k < REALS
                       ? low[k] + (high[k] - low[k]) *
                                      rng_unit(9, RNG_TEST, (uint32_t)i, (uint32_t)k, 0)
                       : 1;
        double fixed = x[1];
        rung_gp.promise(m, 1, x, -2, &before);
        got = rung_gp.climb(m, free_ones, low, high, -2, x);
        rung_gp.promise(m, 1, x, -2, &after);
        assert_near(got, after, 1e-6);
        assert_true(after > before);
        assert_true(x[1] == fixed && x[REALS] == 1);
        for (int k = 0; k < REALS; k += 2) {
            double was = x[k], top = after + 0.01;
            assert_true(was >= low[k] && was <= high[k]);
            at_bounds += was == low[k] || was == high[k];
            for (int sign = -1; sign <= 1; sign += 2) {
                x[k] = fmin(fmax(was + sign * 1e-3, low[k]), high[k]);
                rung_gp.promise(m, 1, x, -2, &near);
                assert_true(near < top);
            }
            x[k] = was;
        }
    }
    assert_true(at_bounds > 0);
    rung_gp.destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matern_is_the_closed_form),
        cmocka_unit_test(log_improvement_has_its_digits),
        cmocka_unit_test(gradient_is_that_of_differences),
        cmocka_unit_test(predicts_by_the_closed_form),
        cmocka_unit_test(rows_make_the_same_factor),
        cmocka_unit_test(the_same_point_again_and_again),
        cmocka_unit_test(fits),
        cmocka_unit_test(climbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
