#include "sched/cmaes.h"

#include "base/rng.h"
#include "sched/dist.h"
#include "sched/space_made.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 4

static const struct line plane[] = {
    {"x", "uniform(0, 1)", NULL}, {"y", "uniform(0, 1)", NULL}, {NULL, NULL, NULL}};

struct run {
    struct space *sp;
    struct cmaes *c;
    struct draw d;
    double u[MOST];
    struct value values[MOST];
    uint32_t trial;
};

static void run_begin(struct run *r, const struct line lines[], const char *constraint,
                      uint64_t seed)
{
    *r = (struct run){.sp = space_made(lines, constraint)};
    r->c = cmaes_new(r->sp, seed);
    r->d.u = r->u;
    r->d.values = r->values;
}

static void run_end(struct run *r)
{
    cmaes_free(r->c);
    space_free(r->sp);
}

/* A draw, which becomes the next trial. */
static void draw(struct run *r)
{
    assert_int_equal(cmaes_draw(r->c, r->trial, &r->d, NULL), 0);
    cmaes_add(r->c, r->u, r->d.next);
    r->trial++;
}

static double valley(const double u[])
{
    double x = 4 * u[0] - 2, y = 4 * u[1] - 1;
    return 100 * (y - x * x) * (y - x * x) + (1 - x) * (1 - x);
}

/* Rosenbrock's bent valley needs the covariance, and its scale the step size. */
static void it_finds_the_end_of_a_valley(void **state)
{
    int found = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct run r;
        double best = INFINITY;
        run_begin(&r, plane, NULL, seed);
        for (int i = 0; i < 900; i++) {
            draw(&r);
            best = fmin(best, valley(r.u));
            cmaes_value(r.c, (int32_t)r.trial - 1, 0, valley(r.u));
        }
        found += best < 1e-6;
        run_end(&r);
    }
    assert_in_range(found, 18, 20);
}

/* From the middle, with a sixth as the standard deviation in each dimension. */
static void it_begins_in_the_middle(void **state)
{
    struct run r;
    double sum[2] = {0}, squares[2] = {0};
    (void)state;
    run_begin(&r, plane, NULL, 1);
    for (int i = 0; i < 2000; i++) {
        draw(&r);
        assert_int_equal(r.d.next, 0);
        for (int k = 0; k < 2; k++) {
            assert_true(r.u[k] > 0 &&
                        r.u[k] < 1 - 0x1p-53); /* drawn again, not cut off */
            sum[k] += r.u[k] / 2000;
            squares[k] += (r.u[k] - 0.5) * (r.u[k] - 0.5) / 2000;
        }
    }
    for (int k = 0; k < 2; k++) {
        assert_true(fabs(sum[k] - 0.5) < 0.02);
        assert_true(fabs(sqrt(squares[k]) * 6 - 1) < 0.06);
    }
    run_end(&r);
}

/* Or at the best that is known, at the highest level where anything is. */
static void it_begins_where_it_is_known(void **state)
{
    static const double a[] = {0.2, 0.3}, b[] = {0.7, NAN}, c[] = {0.4, 0.4};
    struct run r;
    double sum[2] = {0};
    (void)state;
    run_begin(&r, plane, NULL, 1);
    cmaes_known(r.c, a, 1, 5);
    cmaes_known(r.c, b, 1, 4);
    cmaes_known(r.c, c, 1, 4); /* no better */
    cmaes_known(r.c, c, 1, INFINITY);
    cmaes_known(r.c, c, 0, 1);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(cmaes_draw(r.c, (uint32_t)i, &r.d, NULL), 0);
        for (int k = 0; k < 2; k++)
            sum[k] += r.u[k] / 1000;
    }
    assert_true(sum[0] > 0.65 && sum[0] < 0.72); /* the cube cuts some off */
    assert_true(fabs(sum[1] - 0.5) < 0.03);
    run_end(&r);
}

/* Six make a generation of two dimensions; the better three of them, in the weights that
 * the tutorial gives (its equation 49), are where the mean goes. */
static void a_generation_moves_the_mean(void **state)
{
    static const double points[6][2] = {{0.6, 0.5}, {0.5, 0.7}, {0.4, 0.4},
                                        {0.1, 0.1}, {0.1, 0.2}, {0.2, 0.1}};
    double w[3], sum = 0, mean[2] = {0}, drawn[2] = {0};
    struct run r;
    (void)state;
    run_begin(&r, plane, NULL, 1);
    for (int i = 0; i < 6; i++)
        cmaes_add(r.c, points[i], 0);
    r.trial = 6;
    for (int i = 5; i > 0; i--)
        cmaes_value(r.c, i, 0, i == 5 ? -INFINITY : i);
    cmaes_draw(r.c, r.trial, &r.d, NULL);
    assert_int_equal(r.d.next, 0);
    cmaes_value(r.c, 0, 0, 0);
    for (int i = 0; i < 3; i++)
        sum += w[i] = log(3.5) - log(i + 1);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++)
            mean[k] += w[i] / sum * points[i][k];
    for (int i = 0; i < 4000; i++) {
        draw(&r);
        assert_int_equal(r.d.next, 1);
        for (int k = 0; k < 2; k++)
            drawn[k] += r.u[k] / 4000;
    }
    for (int k = 0; k < 2; k++)
        assert_true(fabs(drawn[k] - mean[k]) < 0.015);
    run_end(&r);
}

/* The tutorial's equations for two dimensions, with A^-1 for C^(-1/2). */
struct reference {
    double mean[2], sigma, ps[2], pc[2], c[2][2], a[2][2];
};

static void refer(struct reference *e, const double points[6][2], int generation)
{
    const double n = 2, chi = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
    double w[3], sum = 0, squares = 0, y[3][2], step[2] = {0}, back[2];
    for (int i = 0; i < 3; i++)
        sum += w[i] = log(3.5) - log(i + 1);
    for (int i = 0; i < 3; i++) {
        w[i] /= sum;
        squares += w[i] * w[i];
        for (int k = 0; k < 2; k++) {
            y[i][k] = (points[i][k] - e->mean[k]) / e->sigma;
            step[k] += w[i] * y[i][k];
        }
    }
    double mu = 1 / squares, cs = (mu + 2) / (n + mu + 5);
    double ds = 1 + 2 * fmax(0, sqrt((mu - 1) / (n + 1)) - 1) + cs;
    double cc = (4 + mu / n) / (n + 4 + 2 * mu / n);
    double c1 = 2 / ((n + 1.3) * (n + 1.3) + mu);
    double cm = fmin(1 - c1, 2 * (mu - 2 + 1 / mu) / ((n + 2) * (n + 2) + mu));
    back[0] = step[0] / e->a[0][0];
    back[1] = (step[1] - e->a[1][0] * back[0]) / e->a[1][1];
    for (int k = 0; k < 2; k++)
        e->ps[k] = (1 - cs) * e->ps[k] + sqrt(cs * (2 - cs) * mu) * back[k];
    double length = hypot(e->ps[0], e->ps[1]);
    double h =
        length / sqrt(1 - pow(1 - cs, 2 * (generation + 1))) < (1.4 + 2 / 3.0) * chi;
    for (int k = 0; k < 2; k++)
        e->pc[k] = (1 - cc) * e->pc[k] + h * sqrt(cc * (2 - cc) * mu) * step[k];
    for (int k = 0; k < 2; k++)
        for (int l = 0; l < 2; l++) {
            e->c[k][l] = (1 - c1 - cm + c1 * (1 - h) * cc * (2 - cc)) * e->c[k][l] +
                         c1 * e->pc[k] * e->pc[l];
            for (int i = 0; i < 3; i++)
                e->c[k][l] += cm * w[i] * y[i][k] * y[i][l];
        }
    for (int k = 0; k < 2; k++)
        e->mean[k] += e->sigma * step[k];
    e->sigma *= exp(cs / ds * (length / chi - 1));
    e->a[0][0] = sqrt(e->c[0][0]);
    e->a[1][0] = e->c[1][0] / e->a[0][0];
    e->a[1][1] = sqrt(e->c[1][1] - e->a[1][0] * e->a[1][0]);
}

/* Three generations; in the second all go the same way, which makes its path long. */
static void generations_follow_the_equations(void **state)
{
    static const double points[3][6][2] = {
        {{0.55, 0.5}, {0.5, 0.56}, {0.47, 0.43}},
        {{0.9, 0.92}, {0.93, 0.9}, {0.9, 0.9}},
        {{0.8, 0.85}, {0.75, 0.8}, {0.8, 0.7}},
    };
    struct reference e = {{0.5, 0.5}, 1.0 / 6,          {0, 0},
                          {0, 0},     {{1, 0}, {0, 1}}, {{1, 0}, {0, 1}}};
    struct run r;
    (void)state;
    run_begin(&r, plane, NULL, 9);
    for (int g = 0; g < 3; g++) {
        for (int i = 0; i < 6; i++) {
            cmaes_add(r.c, points[g][i], g);
            cmaes_value(r.c, (int32_t)r.trial++, 0, i);
        }
        refer(&e, points[g], g);
        int inside = 0;
        for (uint32_t t = 1000; t < 1100; t++) {
            double z[2];
            cmaes_draw(r.c, t, &r.d, NULL);
            if (r.d.tries > 0)
                continue;
            for (uint32_t k = 0; k < 2; k++)
                z[k] = dist_normal(rng_unit(9, RNG_MODEL, t, 0, k));
            double x = e.mean[0] + e.sigma * e.a[0][0] * z[0];
            double y = e.mean[1] + e.sigma * (e.a[1][0] * z[0] + e.a[1][1] * z[1]);
            assert_true(fabs(r.u[0] - x) < 1e-12 && fabs(r.u[1] - y) < 1e-12);
            inside++;
        }
        assert_true(inside > 20);
    }
    run_end(&r);
}

/* Second values, given trials and those of an earlier generation are nothing to it. */
static void not_all_counts(void **state)
{
    struct run r;
    (void)state;
    run_begin(&r, plane, NULL, 1);
    for (int i = 0; i < 12; i++)
        draw(&r);
    cmaes_add(r.c, NULL, 0);
    r.trial++;
    cmaes_value(r.c, 12, 0, 0);
    for (int i = 0; i < 5; i++)
        cmaes_value(r.c, i, 0, i);
    cmaes_value(r.c, 0, 0, 3);
    draw(&r);
    assert_int_equal(r.d.next, 0);
    cmaes_value(r.c, 5, 0, 5);
    draw(&r);
    assert_int_equal(r.d.next, 1);
    for (int i = 6; i < 12; i++)
        cmaes_value(r.c, i, 0, -1);
    draw(&r);
    assert_int_equal(r.d.next, 1);
    run_end(&r);
}

/* Six values at one level are a generation, not five and one of a higher level; a lower
 * one makes void what there was. */
static void levels_are_not_mixed(void **state)
{
    struct run r;
    (void)state;
    run_begin(&r, plane, NULL, 1);
    for (int i = 0; i < 20; i++)
        draw(&r);
    for (int i = 0; i < 5; i++)
        cmaes_value(r.c, i, 1, i);
    cmaes_value(r.c, 5, 2, 0);
    draw(&r);
    assert_int_equal(r.d.next, 0);
    cmaes_value(r.c, 6, 0, 0);
    for (int i = 7; i < 11; i++)
        cmaes_worst(r.c, i);
    draw(&r);
    assert_int_equal(r.d.next, 0);
    cmaes_value(r.c, 5, 0, 0); /* it did not count before */
    draw(&r);
    assert_int_equal(r.d.next, 1);
    run_end(&r);
}

/* When nothing is left to find, it starts anew somewhere else, with twice the size. */
static void it_starts_again(void **state)
{
    struct run r;
    double mean = 0, farthest = 0;
    int size = 0, largest = 0;
    int64_t generation = 0;
    (void)state;
    run_begin(&r, plane, NULL, 1);
    for (int i = 0; i < 3000; i++) {
        draw(&r);
        if (r.d.next != generation) {
            farthest = fmax(farthest, fabs(mean / size - 0.5));
            mean = size = 0;
            generation = r.d.next;
        }
        largest = ++size > largest ? size : largest;
        mean += r.u[0];
        double x = r.u[0] - 0.5, y = r.u[1] - 0.5;
        cmaes_value(r.c, (int32_t)r.trial - 1, 0, x * x + y * y);
    }
    assert_true(largest >= 12);
    assert_true(farthest > 0.25);
    run_end(&r);
}

static void it_stays_inside(void **state)
{
    struct run r;
    double best = 0;
    (void)state;
    run_begin(&r, plane, "x + y < 1.5", 1);
    for (int i = 0; i < 400; i++) {
        draw(&r);
        assert_true(r.u[0] >= 0 && r.u[0] < 1 && r.u[1] >= 0 && r.u[1] < 1);
        assert_true(r.values[0].r + r.values[1].r < 1.5);
        best = fmax(best, r.u[0]);
        cmaes_value(r.c, (int32_t)r.trial - 1, 0, -r.u[0]);
    }
    assert_true(best > 0.999);
    run_end(&r);
}

/* Choices are random, and without a number all is. */
static void choices_are_random(void **state)
{
    static const struct line mixed[] = {{"x", "uniform(0, 1)", NULL},
                                        {"c", "choice(p, q)", NULL},
                                        {"n", "randint(0, 100)", NULL},
                                        {NULL, NULL, NULL}};
    static const struct line none[] = {
        {"c", "choice(p, q)", NULL}, {"k", "randint(3, 4)", NULL}, {NULL, NULL, NULL}};
    struct run r;
    int p = 0;
    (void)state;
    run_begin(&r, mixed, NULL, 1);
    assert_int_equal(cmaes_axes(r.sp), 2);
    for (int i = 0; i < 400; i++) {
        draw(&r);
        cmaes_value(r.c, (int32_t)r.trial - 1, 0,
                    fabs((double)r.values[2].i - 77) + (r.u[1] < 0.5));
        p += r.u[1] < 0.5;
        if (i > 300)
            assert_in_range(r.values[2].i, 67, 87);
    }
    assert_in_range(p, 150, 250);
    run_end(&r);
    run_begin(&r, none, NULL, 1);
    assert_int_equal(cmaes_axes(r.sp), 0);
    draw(&r);
    cmaes_value(r.c, 0, 0, 1);
    run_end(&r);
}

static void nothing_may_be_allowed(void **state)
{
    struct run r;
    struct err e;
    (void)state;
    run_begin(&r, plane, "x > 2", 1);
    assert_int_equal(cmaes_draw(r.c, 0, &r.d, &e), ERR_RANGE);
    assert_non_null(strstr(e.text, "constraint 'x > 2' is false"));
    run_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_finds_the_end_of_a_valley),
        cmocka_unit_test(it_begins_in_the_middle),
        cmocka_unit_test(it_begins_where_it_is_known),
        cmocka_unit_test(a_generation_moves_the_mean),
        cmocka_unit_test(generations_follow_the_equations),
        cmocka_unit_test(not_all_counts),
        cmocka_unit_test(levels_are_not_mixed),
        cmocka_unit_test(it_starts_again),
        cmocka_unit_test(it_stays_inside),
        cmocka_unit_test(choices_are_random),
        cmocka_unit_test(nothing_may_be_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
