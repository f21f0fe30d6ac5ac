#include "sched/dist.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LAST     0x1.fffffffffffffp-1 /* the largest u: 1 - 2^-53 */

static struct value of_real(double r)
{
    return (struct value){.kind = VALUE_REAL, .r = r};
}

static struct value of_int(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .i = i};
}

/* Mistakes as "argument: sentence; ", the argument being the offset given. */
static void note(void *ctx, size_t offset, const char *text)
{
    str_addf(ctx, "%zu: %s; ", offset, text);
}

static int make(struct dist *d, const char *name, const struct value v[], size_t n,
                struct str *mistakes)
{
    struct dist_arg args[8];
    struct space_errors errors = {note, mistakes};
    for (size_t i = 0; i < n; i++)
        args[i] = (struct dist_arg){v[i], i + 1};
    const struct dist_type *t = dist_find(slice_of(name));
    assert_non_null(t);
    return dist_make(d, t, args, n, 0, &errors);
}

static struct dist made(const char *name, size_t n, double a, double b, double c)
{
    const struct value v[] = {of_real(a), of_real(b), of_real(c)};
    struct str mistakes = STR_INIT;
    struct dist d;
    assert_int_equal(make(&d, name, v, n, &mistakes), 0);
    assert_string_equal(mistakes.p, "");
    return d;
}

static void mistakes_are_told(void **state)
{
    static const struct {
        const char *name;
        size_t n;
        double args[4];
        const char *mistakes;
    } table[] = {
        {"uniform", 0, {0}, "0: uniform(lo, hi) needs its arguments; "},
        {"uniform", 1, {1}, "0: uniform(lo, hi) takes 2 arguments, not 1; "},
        {"qrandint",
         4,
         {1, 2, 3, 4},
         "0: qrandint(lo, hi, q) takes 3 arguments, not 4; "},
        {"choice", 0, {0}, "0: choice(a, b, ...) needs at least one alternative; "},
        {"grid", 1, {INFINITY}, "1: grid needs finite numbers; "},
        {"uniform", 2, {NAN, 1}, "1: uniform(lo, hi) needs finite numbers; "},
        {"uniform",
         2,
         {1, 1},
         "2: the upper bound of uniform must be greater than the lower; "},
        {"uniform",
         2,
         {-1e308, 1e308},
         "2: the bounds of uniform are too far apart for doubles; "},
        {"loguniform",
         2,
         {0, 1},
         "1: the lower bound of loguniform must be greater than 0; "},
        {"loguniform",
         2,
         {1e-300, 1e300},
         "2: the bounds of loguniform are too far apart for doubles; "},
        {"loguniform",
         2,
         {-1, -2},
         "1: the lower bound of loguniform must be greater than 0; "
         "2: the upper bound of loguniform must be greater than the lower; "},
        {"randint",
         2,
         {0.5, 1.5},
         "1: randint(lo, hi) needs integers; "
         "2: randint(lo, hi) needs integers; "},
        {"randint", 2, {0, 0x1p54}, "2: randint(lo, hi) needs integers up to 2 ** 53; "},
        {"randint", 2, {-0x1p53, 1}, "2: randint can have 2 ** 53 values at most; "},
        {"lograndint",
         2,
         {0, 4},
         "1: the lower bound of lograndint must be greater than 0; "},
        {"quniform", 3, {0, 1, 0}, "3: q of quniform must be greater than 0; "},
        {"quniform",
         3,
         {1, 0, -1},
         "3: q of quniform must be greater than 0; "
         "2: the upper bound of quniform must be greater than the lower; "},
        {"quniform", 3, {0, 1, 1e-17}, "3: q is too small for these bounds; "},
        {"quniform", 3, {-9e15, 9e15, 1}, "3: q is too small for these bounds; "},
        {"quniform", 3, {9e15, 9.1e15, 1}, "3: q is too small for these bounds; "},
        {"quniform", 3, {-9.1e15, -9e15, 1}, "3: q is too small for these bounds; "},
        {"quniform", 3, {0.1, 0.4, 0.5}, "3: no multiple of q lies between the bounds; "},
        {"qrandint", 3, {0, 9, 0.5}, "3: qrandint(lo, hi, q) needs integers; "},
        {"randn",
         2,
         {0, 0},
         "2: the standard deviation of randn must be greater than 0; "},
        {"qrandn",
         3,
         {0, -1, -1},
         "3: q of qrandn must be greater than 0; "
         "2: the standard deviation of qrandn must be greater than 0; "},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        struct str mistakes = STR_INIT;
        struct value v[4];
        struct dist d;
        for (size_t i = 0; i < 4; i++)
            v[i] = of_real(table[t].args[i]);
        assert_int_equal(make(&d, table[t].name, v, table[t].n, &mistakes), ERR_SYNTAX);
        assert_string_equal(mistakes.p, table[t].mistakes);
        str_free(&mistakes);
    }
}

static void numbers_are_wanted_as_bounds(void **state)
{
    const struct value v[] = {{.kind = VALUE_STR, .s = "x"},
                              {.kind = VALUE_BOOL, .b = true}};
    struct str mistakes = STR_INIT;
    struct dist d;
    (void)state;
    assert_int_equal(make(&d, "uniform", v, 2, &mistakes), ERR_SYNTAX);
    assert_string_equal(mistakes.p, "1: uniform(lo, hi) needs numbers; "
                                    "2: uniform(lo, hi) needs numbers; ");
    assert_null(dist_find(slice_of("unifor")));
    str_free(&mistakes);
}

/* First and last value, and how many there are. */
static void bounds(void **state)
{
    static const struct {
        const char *name;
        size_t n;
        double args[3], first, last;
        int64_t count;
    } table[] = {
        {"randint", 2, {2, 9}, 2, 8, 7},
        {"randint", 2, {-5, -4}, -5, -5, 1},
        {"randint", 2, {-0x1p52, 0x1p52}, -0x1p52, 0x1p52 - 1, INT64_C(1) << 53},
        {"lograndint", 2, {1, 1000}, 1, 999, 999},
        {"lograndint", 2, {1, 1e9}, 1, 1e9 - 1, 999999999},
        {"qrandint", 3, {0, 10, 5}, 0, 10, 3},
        {"qrandint", 3, {1, 11, 5}, 5, 10, 2},
        {"qrandint", 3, {-7, 7, 3}, -6, 6, 5},
        {"qrandint", 3, {3, 4, 1}, 3, 4, 2},
        {"qrandint", 3, {0, 4e12, 2e12}, 0, 4e12, 3},
        {"qlograndint", 3, {1, 100, 10}, 10, 100, 10},
        {"quniform", 3, {0, 1, 0.1}, 0, 1, 11},
        {"quniform", 3, {0.05, 0.95, 0.1}, 0.1, 0.9, 9},
        {"quniform", 3, {-0.3, 0.7, 0.1}, -0.3, 0.7, 11},
        {"quniform", 3, {-0.05, 0.05, 0.1}, 0, 0, 1},
        {"quniform", 3, {3.2, 5.4, 0.2}, 3.2, 5.4, 12},
        {"quniform", 3, {0, 1, 1.0 / 3}, 0, 1, 4},
        {"qloguniform", 3, {1e-4, 1e-1, 5e-4}, 5e-4, 0.1, 200},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        const double *a = table[t].args;
        struct dist d = made(table[t].name, table[t].n, a[0], a[1], a[2]);
        struct value first = dist_value(&d, 0), last = dist_value(&d, LAST);
        assert_int_equal(d.dim.n, table[t].count);
        assert_true(value_equal(first, of_real(table[t].first)));
        assert_true(value_equal(last, of_real(table[t].last)));
        assert_int_equal(first.kind, d.dim.kind == DIM_INT ? VALUE_INT : VALUE_REAL);
        assert_true(d.dim.lo == table[t].first && d.dim.hi == table[t].last);
        assert_false(first.kind == VALUE_REAL && first.r == 0 && signbit(first.r));
    }
}

/* lo itself can come, hi never; rounding must not reach it. */
static void continuous_ones_leave_hi_out(void **state)
{
    static const struct {
        const char *name;
        double lo, hi;
    } table[] = {
        {"uniform", 0, 1},
        {"uniform", -1e-3, 3e10},
        {"uniform", 1, 1 + 0x1p-52},
        {"loguniform", 1e-4, 1e-1},
        {"loguniform", 3, 3 + 1e-14},
        {"loguniform", 1e-300, 1},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        struct dist d = made(table[t].name, 2, table[t].lo, table[t].hi, 0);
        assert_true(dist_value(&d, 0).r == table[t].lo);
        assert_true(dist_value(&d, LAST).r < table[t].hi);
        assert_true(dist_value(&d, LAST).r >= table[t].lo);
        assert_int_equal(d.dim.n, 0);
    }
}

static void the_middle_is_in_the_middle(void **state)
{
    struct dist plain = made("uniform", 2, -3, 5, 0);
    struct dist log = made("loguniform", 2, 1e-4, 1e-2, 0);
    struct dist tiny = made("quniform", 3, 0, 1e-21, 1e-22);
    (void)state;
    assert_true(dist_value(&plain, 0.5).r == 1);
    assert_true(dist_value(&plain, 0.25).r == -1);
    assert_true(fabs(dist_value(&log, 0.5).r - 1e-3) < 1e-18);
    assert_true(dist_value(&tiny, 3.5 / 11).r == 3e-22);
}

static const struct {
    const char *name;
    size_t n;
    double args[3];
} ordered[] = {
    {"uniform", 2, {-3, 5}},       {"loguniform", 2, {1e-4, 10}},
    {"randint", 2, {-3, 50}},      {"lograndint", 2, {2, 5000}},
    {"qrandint", 3, {-20, 21, 4}}, {"qlograndint", 3, {3, 300, 3}},
    {"quniform", 3, {0, 1, 0.05}}, {"qloguniform", 3, {1e-3, 1, 1e-3}},
    {"randn", 2, {1, 2}},          {"qrandn", 3, {0, 1, 0.25}},
};

static void maps_are_monotone(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(ordered); t++) {
        const double *a = ordered[t].args;
        struct dist d = made(ordered[t].name, ordered[t].n, a[0], a[1], a[2]);
        struct value last = dist_value(&d, 0);
        for (int i = 1; i < 20000; i++) {
            struct value v = dist_value(&d, i / 20000.0);
            assert_true(value_order(last, v) <= 0);
            last = v;
        }
    }
}

/* Alike also in the middle of neighbouring doubles, where a formula may wobble. */
static void maps_are_monotone_closely(void **state)
{
    static const double places[] = {0.02425, 0.075, 0.3, 0.5, 0.925, 0.99};
    (void)state;
    for (size_t t = 0; t < COUNT(ordered); t++) {
        const double *a = ordered[t].args;
        struct dist d = made(ordered[t].name, ordered[t].n, a[0], a[1], a[2]);
        for (size_t i = 0; i < COUNT(places); i++)
            for (int step = -500; step < 500; step++) {
                double u = places[i] + step * 1e-13;
                assert_true(value_order(dist_value(&d, u), dist_value(&d, u + 1e-13)) <=
                            0);
            }
    }
}

/* Decimals come out as people write them. */
static void multiples_are_the_nearest_doubles(void **state)
{
    struct dist tenth = made("quniform", 3, 0, 1, 0.1);
    struct dist fine = made("quniform", 3, 0, 1, 0.0005);
    struct dist odd = made("quniform", 3, -3, 3, 0.3);
    char text[32];
    (void)state;
    for (int k = 0; k <= 10; k++) {
        snprintf(text, sizeof(text), "%d.%d", k / 10, k % 10);
        assert_true(dist_value(&tenth, (k + 0.5) / 11).r == atof(text));
    }
    for (int k = 0; k <= 2000; k++) {
        snprintf(text, sizeof(text), "%d.%04d", k * 5 / 10000, k * 5 % 10000);
        assert_true(dist_value(&fine, (k + 0.5) / 2001).r == atof(text));
    }
    for (int k = -10; k <= 10; k++) {
        snprintf(text, sizeof(text), "%s%d.%d", k < 0 ? "-" : "", abs(k * 3) / 10,
                 abs(k * 3) % 10);
        assert_true(dist_value(&odd, (k + 10.5) / 21).r == atof(text));
    }
}

/* Chi-square of n draws against the probability of the interval around each value,
 * under the plain density: 1/x for logarithmic ones. */
static void probabilities(void **state)
{
    static const struct {
        const char *name;
        size_t n;
        double args[3];
        double from, to; /* the intervals' ends together; width q each */
        double q;
        bool log;
    } table[] = {
        {"randint", 2, {0, 10}, 0, 10, 1, false},
        {"lograndint", 2, {1, 10}, 1, 10, 1, true},
        {"qrandint", 3, {0, 10, 5}, -2.5, 12.5, 5, false},
        {"qlograndint", 3, {2, 20, 2}, 1, 21, 2, true},
        {"quniform", 3, {0, 1, 0.1}, -0.05, 1.05, 0.1, false},
        {"qloguniform", 3, {0.1, 1, 0.1}, 0.05, 1.05, 0.1, true},
    };
    const uint32_t draws = 100000;
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        const double *a = table[t].args, from = table[t].from, q = table[t].q;
        struct dist d = made(table[t].name, table[t].n, a[0], a[1], a[2]);
        int count[16] = {0}, n = (int)rint((table[t].to - from) / q);
        double chi = 0;
        for (uint32_t i = 0; i < draws; i++) {
            struct value v = dist_value(&d, rng_unit(1, RNG_TEST, i, (uint32_t)t, 0));
            double x = v.kind == VALUE_INT ? (double)v.i : v.r;
            count[(int)((x - from) / q + 1e-9)]++;
        }
        for (int k = 0; k < n; k++) {
            double lo = from + k * q,
                   share = table[t].log ? log((lo + q) / lo) / log(table[t].to / from)
                                        : 1.0 / n;
            chi += pow(count[k] - draws * share, 2) / (draws * share);
        }
        assert_true(chi < 30); /* 10 degrees of freedom exceed it once in a thousand */
    }
}

/* Against 40-digit arithmetic (mpmath). */
static void normal_is_accurate(void **state)
{
    static const struct {
        double p, x;
    } table[] = {
        {1e-300, -37.0470962993611992},
        {0x1p-54, -8.29236107581359554},
        {1e-10, -6.3613409024040562},
        {0.001, -3.09023230616781354},
        {0.025, -1.95996398454005421},
        {0.0749999, -1.43953217737590059},
        {0.0750001, -1.43953076450172969},
        {0.3, -0.524400512708040816},
        {0.5, 0},
        {0.975, 1.95996398454005386},
        {0.999999, 4.75342430881708777},
    };
    struct dist d = made("randn", 2, 10, 2, 0);
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++)
        assert_true(fabs(dist_normal(table[t].p) - table[t].x) <=
                    1e-15 * fabs(table[t].x));
    assert_true(dist_value(&d, 0.5).r == 10);
    assert_true(isfinite(dist_value(&d, 0).r) && isfinite(dist_value(&d, LAST).r));
    struct dist q = made("qrandn", 3, 0, 1, 0.1);
    assert_true(dist_value(&q, 0.975).r == 2.0);
    assert_true(dist_value(&q, 0.3).r == -0.5);
    assert_false(signbit(dist_value(&q, 0.49).r));
    assert_false(dist_result(&q).nonneg);
}

static void lists_give_what_was_written(void **state)
{
    const struct value v[] = {of_int(16),
                              of_real(0.5),
                              {.kind = VALUE_STR, .s = "sgd"},
                              {.kind = VALUE_BOOL, .b = true}};
    static const char *const names[] = {"choice", "grid"};
    (void)state;
    for (size_t t = 0; t < COUNT(names); t++) {
        struct str mistakes = STR_INIT;
        struct dist d;
        assert_int_equal(make(&d, names[t], v, COUNT(v), &mistakes), 0);
        assert_int_equal(d.dim.n, 4);
        for (size_t i = 0; i < COUNT(v); i++) {
            struct value got = dist_value(&d, ((double)i + 0.5) / 4);
            assert_int_equal(got.kind, v[i].kind);
            assert_true(value_equal(got, v[i]));
        }
        assert_true(value_equal(dist_value(&d, 0), v[0]));
        assert_true(value_equal(dist_value(&d, LAST), v[3]));
        assert_int_equal(dist_result(&d).kinds, KINDS_NUMBER | KIND_STR);
        dist_clear(&d);
        str_free(&mistakes);
    }
}

static double value_scaled(const struct dist *d, double u, double factor)
{
    struct value v = dist_value(d, dist_scaled(d, u, factor));
    return v.kind == VALUE_INT ? (double)v.i : v.r;
}

/* The coordinate that stands for a value, by bisection. */
static double coordinate(const struct dist *d, double x)
{
    double lo = 0, hi = 1;
    for (int i = 0; i < 60; i++) {
        double u = (lo + hi) / 2;
        struct value v = dist_value(d, u);
        if ((v.kind == VALUE_INT ? (double)v.i : v.r) < x)
            lo = u;
        else
            hi = u;
    }
    return hi < 1 ? hi : LAST;
}

static void values_are_scaled(void **state)
{
    static const struct {
        const char *name;
        size_t n;
        double args[3];
        double from, up, down; /* by 1.2 and 0.8 */
    } table[] = {
        {"uniform", 2, {0, 10}, 5, 6, 4},
        {"uniform", 2, {0, 10}, 9, 10, 7.2},
        {"uniform", 2, {-10, 10}, -5, -6, -4},
        {"uniform", 2, {4, 10}, 4.5, 5.4, 4},
        {"loguniform", 2, {1e-4, 1}, 0.01, 0.012, 0.008},
        {"loguniform", 2, {1e-4, 1}, 0.9, 1, 0.72},
        {"randint", 2, {0, 100}, 50, 60, 40},
        {"randint", 2, {0, 100}, 2, 3, 1},
        {"randint", 2, {0, 100}, 0, 1, 0},
        {"randint", 2, {0, 100}, 99, 99, 79},
        {"randint", 2, {-9, 9}, -2, -3, -1},
        {"randint", 2, {-9, 9}, 0, 1, -1},
        {"randint", 2, {7, 8}, 7, 7, 7},
        {"lograndint", 2, {1, 1000}, 10, 12, 8},
        {"quniform", 3, {0, 1, 0.1}, 0.5, 0.6, 0.4},
        {"qrandint", 3, {8, 512, 8}, 64, 80, 48},
        {"qloguniform", 3, {0.1, 10, 0.1}, 0.3, 0.4, 0.2},
        {"randn", 2, {1, 3}, 2, 2.4, 1.6},
        {"qrandn", 3, {0, 10, 2}, 10, 12, 8},
        {"qrandn", 3, {0, 10, 2}, 0, 2, -2},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        const double *a = table[i].args;
        struct dist d = made(table[i].name, table[i].n, a[0], a[1], a[2]);
        double cell[2];
        dist_cell(&d, coordinate(&d, table[i].from), cell);
        double u = (cell[0] + cell[1]) / 2;
        if (fabs(value_scaled(&d, u, 1.2) - table[i].up) > 1e-9 ||
            fabs(value_scaled(&d, u, 0.8) - table[i].down) > 1e-9)
            fail_msg("%s from %g: %g and %g", table[i].name, table[i].from,
                     value_scaled(&d, u, 1.2), value_scaled(&d, u, 0.8));
        dist_clear(&d);
    }
}

static void choices_go_to_a_neighbour(void **state)
{
    const struct value three[] = {of_int(1), of_int(2), of_int(3)};
    struct str mistakes = STR_INIT;
    struct dist d;
    (void)state;
    assert_int_equal(make(&d, "choice", three, 3, &mistakes), 0);
    assert_true(value_scaled(&d, 0.5, 1.2) == 3 && value_scaled(&d, 0.5, 0.8) == 1);
    assert_true(value_scaled(&d, 0.1, 1.2) == 2 && value_scaled(&d, 0.1, 0.8) == 2);
    assert_true(value_scaled(&d, 0.9, 1.2) == 2 && value_scaled(&d, 0.9, 0.8) == 2);
    dist_clear(&d);
    assert_int_equal(make(&d, "grid", three, 1, &mistakes), 0);
    assert_true(value_scaled(&d, 0.9, 1.2) == 1);
    dist_clear(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(numbers_are_wanted_as_bounds),
        cmocka_unit_test(bounds),
        cmocka_unit_test(continuous_ones_leave_hi_out),
        cmocka_unit_test(the_middle_is_in_the_middle),
        cmocka_unit_test(maps_are_monotone),
        cmocka_unit_test(maps_are_monotone_closely),
        cmocka_unit_test(multiples_are_the_nearest_doubles),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(normal_is_accurate),
        cmocka_unit_test(lists_give_what_was_written),
        cmocka_unit_test(values_are_scaled),
        cmocka_unit_test(choices_go_to_a_neighbour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
