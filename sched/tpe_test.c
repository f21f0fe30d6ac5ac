#include "sched/tpe.h"

#include "base/rng.h"
#include "sched/space_made.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 12

struct world {
    struct space *sp;
    struct observed *o;
    double u[MOST];
    struct value values[MOST];
    struct draw d;
    struct err e;
};

static void world_begin(struct world *w, const struct line lines[],
                        const char *constraint)
{
    *w = (struct world){.sp = space_made(lines, constraint)};
    w->o = observed_new(w->sp, 2, 1);
    w->d.u = w->u;
    w->d.values = w->values;
}

static void world_end(struct world *w)
{
    observed_free(w->o);
    space_free(w->sp);
}

/* A trial at a point; its number. */
static int32_t put(struct world *w, double a, double b)
{
    double u[MOST] = {a, b};
    struct value values[MOST];
    assert_int_equal(space_eval(w->sp, u, values, NULL), SPACE_OK);
    observed_add(w->o, u, values);
    return observed_trials(w->o) - 1;
}

static void draw_by(struct world *w, uint32_t trial, struct tpe_rule rule)
{
    if (tpe_draw(w->sp, w->o, 7, trial, rule, &w->d, &w->e) != 0)
        fail_msg("%s", w->e.text);
}

static void draw(struct world *w, uint32_t trial, bool multivariate)
{
    draw_by(w, trial, (struct tpe_rule){.multivariate = multivariate});
}

static bool is_random(const struct world *w, uint32_t trial)
{
    return w->u[0] == rng_unit(7, RNG_SEARCH, trial, space_dim(w->sp, 0)->key, 0);
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

static void the_first_ten_are_random(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 10; i++) {
        draw(&w, i, true);
        assert_true(is_random(&w, i));
        /* failed ones count, too */
        int32_t t = put(&w, spread(i, 0), spread(i, 1));
        if (i % 2)
            observed_worst(w.o, t);
        else
            observed_value(w.o, t, 0, i);
    }
    draw(&w, 10, true);
    assert_false(is_random(&w, 10));
    world_end(&w);
}

static void nothing_but_failures_are_no_guide(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 50; i++)
        observed_worst(w.o, put(&w, spread(i, 0), spread(i, 1)));
    draw(&w, 50, true);
    assert_true(is_random(&w, 50));
    world_end(&w);
}

/* How often draws of trials 1000.. lie within 0.1 of (x, y). */
static int near(struct world *w, double x, double y, bool multivariate)
{
    int n = 0;
    for (uint32_t i = 0; i < 200; i++) {
        draw(w, 1000 + i, multivariate);
        n += fabs(w->u[0] - x) < 0.1 && fabs(w->u[1] - y) < 0.1;
    }
    return n;
}

static void draws_go_where_the_best_are(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 100; i++) {
        double x = spread(i, 0), y = spread(i, 1);
        double value = (x - 0.3) * (x - 0.3) + (y - 0.8) * (y - 0.8);
        observed_value(w.o, put(&w, x, y), 0, value);
    }
    assert_in_range(near(&w, 0.3, 0.8, true), 100, 200);
    assert_in_range(near(&w, 0.3, 0.8, false), 100, 200);
    world_end(&w);
}

/* Good ones at two corners of a square: only together do x and y say that the other two
 * corners are bad. */
static void together_dimensions_are_seen_jointly(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 100; i++) {
        double x = i % 2 ? 0.2 : 0.8, y = i / 2 % 2 ? 0.2 : 0.8;
        x += 0.05 * spread(i, 0);
        y += 0.05 * spread(i, 1);
        observed_value(w.o, put(&w, x, y), 0, (i % 2 != i / 2 % 2) + 0.001 * i);
    }
    assert_in_range(near(&w, 0.225, 0.825, true) + near(&w, 0.825, 0.225, true), 0, 10);
    assert_in_range(near(&w, 0.225, 0.825, false) + near(&w, 0.825, 0.225, false), 30,
                    200);
    world_end(&w);
}

/* Trials that run repel, and so do those that failed: at a place full of them hardly
 * anything more is drawn. */
static void pending_and_failed_ones_repel(void **state)
{
    (void)state;
    for (int failed = 0; failed < 2; failed++) {
        struct world w;
        world_begin(&w, plane, NULL);
        for (uint32_t i = 0; i < 45; i++) {
            double x = spread(i, 0), y = spread(i, 1);
            double value = (x - 0.3) * (x - 0.3) + (y - 0.3) * (y - 0.3);
            observed_value(w.o, put(&w, x, y), 0, value);
        }
        int before = near(&w, 0.3, 0.3, true);
        for (uint32_t i = 0; i < 5; i++) { /* which leaves the number of good ones */
            int32_t t = put(&w, 0.25 + 0.1 * spread(i, 2), 0.25 + 0.1 * spread(i, 3));
            if (failed)
                observed_worst(w.o, t);
        }
        int after = near(&w, 0.3, 0.3, true);
        if (before < 60 || after > before * 2 / 3)
            fail_msg("%d draws there, and %d with others there", before, after);
        world_end(&w);
    }
}

/* One success among failures is all that is good. */
static void failures_are_never_good(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 60; i++)
        observed_worst(w.o, put(&w, 0.5 + spread(i, 0) / 2, spread(i, 1)));
    observed_value(w.o, put(&w, 0.1, 0.5), 0, 1);
    int low = 0;
    for (uint32_t i = 0; i < 100; i++) {
        draw(&w, 100 + i, true);
        low += w.u[0] < 0.5;
    }
    assert_in_range(low, 95, 100);
    world_end(&w);
}

/* They are not counted among those of which a tenth is good, nor are the first ten made
 * of them. */
static void pending_ones_do_not_count(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 9; i++)
        observed_value(w.o, put(&w, 0.5, 0.5), 0, i);
    for (uint32_t i = 0; i < 90; i++)
        put(&w, 0.1, 0.1);
    draw(&w, 99, true);
    assert_true(is_random(&w, 99));
    world_end(&w);
}

/* Of ten trials one is good, of eleven two: then the second best has its choice drawn,
 * which fewer of the others have. */
static void a_tenth_are_good(void **state)
{
    static const struct line lines[] = {{"c", "choice(p, q, r)", NULL},
                                        {NULL, NULL, NULL}};
    struct world w;
    (void)state;
    world_begin(&w, lines, NULL);
    for (uint32_t i = 0; i < 10; i++)
        observed_value(w.o, put(&w, i == 0 ? 0.1 : i == 1 ? 0.5 : 0.9, 0), 0, i);
    for (uint32_t i = 0; i < 50; i++) {
        draw(&w, 100 + i, true);
        assert_string_equal(w.values[0].s, "p");
    }
    observed_value(w.o, put(&w, 0.1, 0), 0, 11);
    for (uint32_t i = 0; i < 50; i++) {
        draw(&w, 100 + i, true);
        assert_string_equal(w.values[0].s, "q");
    }
    world_end(&w);
}

/* The 26th best is one of the others, however many there are. */
static void twenty_five_are_good_at_most(void **state)
{
    struct world w;
    int many = 0;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 600; i++)
        observed_value(w.o,
                       put(&w,
                           i < 25   ? 0.1
                           : i < 60 ? 0.9
                                    : spread(i, 0),
                           spread(i, 1)),
                       0, i);
    for (uint32_t i = 0; i < 200; i++) {
        draw(&w, 1000 + i, true);
        many += w.u[0] > 0.85;
    }
    assert_in_range(many, 0, 10);
    world_end(&w);
}

/* 10 values at the higher level are enough, 9 are not. */
static void the_higher_level_takes_over(void **state)
{
    struct world w;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 40; i++) {
        double x = spread(i, 0);
        int32_t t = put(&w, x, spread(i, 1));
        observed_value(w.o, t, 0, x); /* to the left is good at first */
        if (i < 9)
            observed_value(w.o, t, 1, -x); /* and bad at last */
    }
    double low = 0, high = 0;
    for (uint32_t i = 0; i < 100; i++) {
        draw(&w, 100 + i, true);
        low += w.u[0] / 100;
    }
    observed_value(w.o, 9, 1, -spread(9, 0));
    for (uint32_t i = 0; i < 100; i++) {
        draw(&w, 100 + i, true);
        high += w.u[0] / 100;
    }
    assert_true(low < 0.25);
    assert_true(high > 0.5);
    world_end(&w);
}

/* Of 12 dimensions, 13. */
static void more_dimensions_need_more_values(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f",
                                        "g", "h", "i", "j", "k", "l"};
    struct line lines[13] = {{NULL, NULL, NULL}};
    struct world w;
    double mean[2] = {0};
    (void)state;
    for (int d = 0; d < 12; d++)
        lines[d] = (struct line){names[d], "uniform(0, 1)", NULL};
    world_begin(&w, lines, NULL);
    for (uint32_t i = 0; i < 60; i++) {
        double x = spread(i, 0);
        int32_t t = put(&w, x, 0.5);
        observed_value(w.o, t, 0, x);
        if (i < 12)
            observed_value(w.o, t, 1, -x);
    }
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < 100; i++) {
            draw(&w, 100 + i, true);
            mean[k] += w.u[0] / 100;
        }
        observed_value(w.o, 12, 1, -spread(12, 0));
    }
    assert_true(mean[0] < 0.3 && mean[1] > 0.5);
    world_end(&w);
}

static void kinds_are_drawn_as_they_are(void **state)
{
    static const struct line lines[] = {
        {"n", "randint(0, 5)", NULL},
        {"c", "choice(p, q, r)", NULL},
        {"m", "loguniform(1e-4, 1)", "c == q"},
        {NULL, NULL, NULL},
    };
    struct world w;
    int hits = 0;
    (void)state;
    for (int multivariate = 0; multivariate < 2; multivariate++) {
        world_begin(&w, lines, NULL);
        for (uint32_t i = 0; i < 60; i++) {
            double u[] = {spread(i, 0), spread(i, 1), spread(i, 2)};
            struct value v[MOST];
            space_eval(w.sp, u, v, NULL);
            observed_add(w.o, u, v);
            double value = abs((int)v[0].i - 3) + 2 * (v[2].kind == VALUE_ABSENT);
            if (v[2].kind != VALUE_ABSENT)
                value += fabs(log10(v[2].r) + 3);
            observed_value(w.o, (int32_t)i, 0, value);
        }
        for (uint32_t i = 0; i < 100; i++) {
            draw(&w, 100 + i, multivariate);
            assert_true(w.values[0].kind == VALUE_INT);
            assert_true(w.u[0] == ((double)w.values[0].i + 0.5) / 5);
            hits += w.values[0].i == 3 && w.values[2].kind == VALUE_REAL &&
                    fabs(log10(w.values[2].r) + 3) < 1;
        }
        world_end(&w);
    }
    assert_in_range(hits, 120, 200);
}

static const struct line conditional[] = {
    {"c", "choice(p, q)", NULL},
    {"m", "uniform(0, 1)", "c == q"},
    {NULL, NULL, NULL},
};

/* Univariate, a conditional parameter is modelled by the trials that have it alone:
 * others, of which none gets among the good ones, make no difference to it. */
static void absent_ones_do_not_count(void **state)
{
    struct world w, v;
    (void)state;
    world_begin(&w, conditional, NULL);
    world_begin(&v, conditional, NULL);
    for (uint32_t i = 0; i < 12; i++) {
        double m = spread(i, 1);
        observed_value(w.o, put(&w, 0.75, m), 0, fabs(m - 0.3));
        observed_value(v.o, put(&v, 0.75, m), 0, fabs(m - 0.3));
    }
    for (uint32_t i = 0; i < 7; i++)
        observed_value(v.o, put(&v, 0.25, 0.99), 0, 9);
    for (uint32_t i = 0; i < 20; i++) {
        draw(&w, 100 + i, false);
        draw(&v, 100 + i, false);
        assert_true(w.u[1] == v.u[1]);
    }
    world_end(&w);
    world_end(&v);
}

/* Jointly, candidates that lack it are compared without it: where others have it does
 * not matter to them. */
static void absent_coordinates_do_not_count(void **state)
{
    struct world w;
    int high = 0;
    (void)state;
    world_begin(&w, conditional, NULL);
    for (uint32_t i = 0; i < 60; i++)
        observed_value(w.o, put(&w, i < 6 ? 0.25 : 0.75, 0.9), 0, i);
    for (uint32_t i = 0; i < 200; i++) {
        draw(&w, 100 + i, true);
        assert_string_equal(w.values[0].s, "p");
        high += w.u[1] > 0.8;
    }
    assert_in_range(high, 20, 60);
    world_end(&w);
}

static void constraints_hold(void **state)
{
    struct world w;
    (void)state;
    for (int multivariate = 0; multivariate < 2; multivariate++) {
        uint32_t tries = 0;
        world_begin(&w, plane, "x + y < 1");
        for (uint32_t i = 0; i < 60; i++) {
            double x = spread(i, 0), y = (1 - x) * spread(i, 1);
            observed_value(w.o, put(&w, x, y), 0, -(x + y));
        }
        for (uint32_t i = 0; i < 100; i++) {
            draw(&w, 100 + i, multivariate);
            assert_true(w.values[0].r + w.values[1].r < 1);
            tries += w.d.tries;
        }
        assert_true(tries > 10);
        world_end(&w);
    }
}

/* Where the model finds nothing that is allowed, the draw is random. */
static void a_model_may_be_barred(void **state)
{
    struct world w;
    (void)state;
    for (int multivariate = 0; multivariate < 2; multivariate++) {
        world_begin(&w, plane, "x < 0.0005");
        for (uint32_t i = 0; i < 200; i++) {
            double u[] = {1, spread(i, 1)}; /* given: outside */
            struct value v[MOST];
            u[0] = 0.99 + 0.00005 * i;
            space_eval(w.sp, u, v, NULL);
            observed_add(w.o, u, v);
            observed_value(w.o, (int32_t)i, 0, i);
        }
        draw(&w, 500, multivariate);
        assert_true(w.values[0].r < 0.0005);
        world_end(&w);
    }
    world_begin(&w, plane, "x > 2");
    for (uint32_t i = 0; i < 20; i++) {
        double u[] = {spread(i, 0), spread(i, 1)};
        struct value v[MOST];
        space_eval(w.sp, u, v, NULL);
        observed_add(w.o, u, v);
        observed_value(w.o, (int32_t)i, 0, i);
    }
    assert_int_equal(tpe_draw(w.sp, w.o, 7, 20, (struct tpe_rule){0}, &w.d, &w.e),
                     ERR_RANGE);
    assert_string_equal(w.e.text, "none of 10001 draws satisfies the space; the last: "
                                  "constraint 'x > 2' is false");
    world_end(&w);
}

/* Of two halves of the trials one got to the higher level. Without those that did not get
 * there nothing tells that what these have is bad. */
static void bohb_goes_by_one_level(void **state)
{
    static const struct line lines[] = {{"c", "choice(p, q, r)", NULL},
                                        {NULL, NULL, NULL}};
    struct world w;
    int chosen[2] = {0};
    (void)state;
    world_begin(&w, lines, NULL);
    for (uint32_t i = 0; i < 60; i++) {
        int32_t t = put(&w, i < 40 ? 0.5 : i % 2 ? 0.1 : 0.9, 0);
        observed_value(w.o, t, 0, i);
        if (i >= 40)
            observed_value(w.o, t, 1, i % 2);
    }
    for (uint32_t i = 0; i < 300; i++)
        for (int bohb = 0; bohb < 2; bohb++) {
            draw_by(&w, 100 + i, (struct tpe_rule){true, bohb});
            if (!is_random(&w, 100 + i))
                chosen[bohb] += w.values[0].s[0] == 'q';
        }
    assert_int_equal(chosen[0], 0);
    assert_true(chosen[1] > 0);
    world_end(&w);
}

static void bohb_draws_a_third_at_random(void **state)
{
    struct world w;
    int random = 0;
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 40; i++)
        observed_value(w.o, put(&w, spread(i, 0), spread(i, 1)), 0, spread(i, 2));
    for (uint32_t i = 0; i < 300; i++) {
        draw_by(&w, 100 + i, (struct tpe_rule){true, true});
        random += is_random(&w, 100 + i);
    }
    assert_in_range(random, 75, 125);
    world_end(&w);
}

/* Less x and more x are wanted, and y at 0.8: all of that line is the front. */
static void several_objectives_spread_along_the_front(void **state)
{
    struct world w;
    int low = 0, high = 0, near_line = 0;
    (void)state;
    world_begin(&w, plane, NULL);
    observed_free(w.o);
    w.o = observed_new(w.sp, 2, 2);
    for (uint32_t i = 0; i < 200; i++) {
        double x = spread(i, 0), y = spread(i, 1), away = fabs(y - 0.8);
        struct score score = {{x + away, 1 - x + away}};
        observed_score(w.o, put(&w, x, y), 0, &score);
    }
    for (uint32_t i = 0; i < 200; i++) {
        draw(&w, 1000 + i, true);
        near_line += fabs(w.u[1] - 0.8) < 0.15;
        low += w.u[0] < 0.5;
        high += w.u[0] > 0.5;
    }
    assert_in_range(near_line, 130, 200); /* at random 60 */
    assert_in_range(low, 40, 200);
    assert_in_range(high, 40, 200);
    world_end(&w);
}

static void a_draw_is_a_function_of_what_is_known(void **state)
{
    struct world w;
    double first[2];
    (void)state;
    world_begin(&w, plane, NULL);
    for (uint32_t i = 0; i < 40; i++)
        observed_value(w.o, put(&w, spread(i, 0), spread(i, 1)), 0, spread(i, 2));
    draw(&w, 40, true);
    memcpy(first, w.u, sizeof(first));
    draw(&w, 41, true);
    assert_memory_not_equal(w.u, first, sizeof(first));
    draw(&w, 40, true);
    assert_memory_equal(w.u, first, sizeof(first));
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_ten_are_random),
        cmocka_unit_test(nothing_but_failures_are_no_guide),
        cmocka_unit_test(draws_go_where_the_best_are),
        cmocka_unit_test(together_dimensions_are_seen_jointly),
        cmocka_unit_test(pending_and_failed_ones_repel),
        cmocka_unit_test(failures_are_never_good),
        cmocka_unit_test(pending_ones_do_not_count),
        cmocka_unit_test(a_tenth_are_good),
        cmocka_unit_test(twenty_five_are_good_at_most),
        cmocka_unit_test(the_higher_level_takes_over),
        cmocka_unit_test(more_dimensions_need_more_values),
        cmocka_unit_test(kinds_are_drawn_as_they_are),
        cmocka_unit_test(absent_ones_do_not_count),
        cmocka_unit_test(absent_coordinates_do_not_count),
        cmocka_unit_test(constraints_hold),
        cmocka_unit_test(a_model_may_be_barred),
        cmocka_unit_test(bohb_goes_by_one_level),
        cmocka_unit_test(bohb_draws_a_third_at_random),
        cmocka_unit_test(several_objectives_spread_along_the_front),
        cmocka_unit_test(a_draw_is_a_function_of_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
