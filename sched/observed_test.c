#include "sched/observed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void refuse(void *ctx, size_t offset, const char *text)
{
    (void)ctx;
    fail_msg("%zu: %s", offset, text);
}

/* x real, n in quarters, k only where x is below a half. */
static struct space *space_of_three(void)
{
    static const struct space_errors errors = {refuse, NULL};
    static const char *const names[] = {"x", "n", "k"};
    struct space *sp = space_new();
    space_declare(sp, names, 3);
    space_define(sp, 0, "uniform(0, 1)", NULL, &errors, NULL);
    space_define(sp, 1, "randint(0, 4)", NULL, &errors, NULL);
    space_define(sp, 2, "choice(a, b)", "x < 0.5", &errors, &errors);
    return sp;
}

static void add(struct observed *o, const struct space *sp, double x, double n, double k)
{
    double u[3] = {x, n, k};
    struct value values[3];
    assert_int_equal(space_eval(sp, u, values, NULL), SPACE_OK);
    observed_add(o, u, values);
}

static void points_are_what_values_stand_for(void **state)
{
    struct space *sp = space_of_three();
    struct observed *o = observed_new(sp, 1, 1);
    (void)state;
    add(o, sp, 0.3, 0.26, 0.9);
    add(o, sp, 0.7, 0.99, 0.9);
    assert_int_equal(observed_trials(o), 2);
    assert_true(observed_point(o, 0)[0] == 0.3);
    assert_true(observed_point(o, 0)[1] == 0.375);
    assert_true(observed_point(o, 0)[2] == 0.75);
    assert_true(observed_point(o, 1)[1] == 0.875);
    assert_true(isnan(observed_point(o, 1)[2]));
    observed_free(o);
    space_free(sp);
}

static enum standing standing(const struct observed *o, int level, int32_t trial)
{
    struct standing_rank rank;
    return observed_standing(o, level, trial, &rank);
}

static void trials_have_fates(void **state)
{
    struct space *sp = space_of_three();
    struct observed *o = observed_new(sp, 2, 1);
    (void)state;
    for (int i = 0; i < 7; i++)
        add(o, sp, 0.1, 0.1, 0.1);
    observed_value(o, 1, 1, 3); /* only above level 0 */
    observed_value(o, 2, 0, 3);
    observed_worst(o, 2);
    observed_value(o, 3, 0, NAN);
    observed_value(o, 3, 1, 1); /* whatever it has later */
    observed_over(o, 4, false);
    observed_over(o, 5, true);
    observed_value(o, 6, 0, 2);
    observed_over(o, 6, true); /* it has a value, which is what counts */
    assert_int_equal(standing(o, 0, 0), STANDING_PENDING);
    assert_int_equal(standing(o, 0, 1), STANDING_NONE);
    assert_int_equal(standing(o, 1, 1), STANDING_FINITE);
    assert_int_equal(standing(o, 0, 2), STANDING_WORST);
    assert_int_equal(standing(o, 0, 3), STANDING_WORST);
    assert_int_equal(standing(o, 1, 3), STANDING_WORST);
    assert_int_equal(standing(o, 0, 4), STANDING_NONE);
    assert_int_equal(standing(o, 0, 5), STANDING_WORST);
    assert_int_equal(standing(o, 0, 6), STANDING_FINITE);
    observed_free(o);
    space_free(sp);
}

static void the_level_is_the_highest_with_enough(void **state)
{
    struct space *sp = space_of_three();
    struct observed *o = observed_new(sp, 3, 1);
    (void)state;
    for (int i = 0; i < 6; i++)
        add(o, sp, 0.1, 0.1, 0.1);
    assert_int_equal(observed_level(o, 1), -1);
    for (int i = 0; i < 4; i++)
        observed_value(o, i, 1, i);
    observed_value(o, 0, 2, 0);
    observed_value(o, 1, 2, 0);
    observed_value(o, 1, 2, 1); /* the same value again is one */
    assert_int_equal(observed_level(o, 2), 2);
    assert_int_equal(observed_level(o, 3), 1);
    assert_int_equal(observed_level(o, 5), 1); /* none: the lowest with any */
    observed_worst(o, 1);
    assert_int_equal(observed_level(o, 2), 1);
    assert_int_equal(observed_level(o, 1), 2);
    observed_free(o);
    space_free(sp);
}

/* Values are compared at the level; those that have not got there come after. */
static void levels_are_not_mixed(void **state)
{
    struct space *sp = space_of_three();
    struct observed *o = observed_new(sp, 3, 1);
    static const int order[] = {1, 0, 4, 2, 3, 5};
    struct standing_rank rank[6];
    (void)state;
    for (int i = 0; i < 6; i++)
        add(o, sp, 0.1, 0.1, 0.1);
    observed_value(o, 0, 0, 1);
    observed_value(o, 0, 1, 8);
    observed_value(o, 0, 2, 0); /* above the level: does not count */
    observed_value(o, 1, 0, 9);
    observed_value(o, 1, 1, 7);
    observed_value(o, 2, 0, 2);
    observed_value(o, 3, 0, 2); /* as good as 2, and later */
    observed_value(o, 4, 1, 8); /* as good as 0, and later */
    observed_value(o, 5, 0, 3);
    for (int i = 0; i < 6; i++)
        assert_int_equal(observed_standing(o, 1, i, &rank[i]), STANDING_FINITE);
    for (int i = 0; i < 5; i++) {
        assert_true(observed_before(&rank[order[i]], &rank[order[i + 1]]));
        assert_false(observed_before(&rank[order[i + 1]], &rank[order[i]]));
    }
    observed_free(o);
    space_free(sp);
}

static void a_copy_stays_as_it_was(void **state)
{
    struct space *sp = space_of_three();
    struct observed *o = observed_new(sp, 2, 1), *c = observed_copy(o);
    (void)state;
    assert_int_equal(observed_trials(c), 0);
    assert_int_equal(observed_level(c, 1), -1);
    observed_free(c);
    add(o, sp, 0.3, 0.26, 0.9);
    observed_value(o, 0, 1, 5);
    c = observed_copy(o);
    assert_true(observed_changes(c) == observed_changes(o));
    assert_int_equal(observed_level(c, 1), 1);
    observed_worst(o, 0);
    add(o, sp, 0.7, 0.99, 0.9);
    assert_false(observed_changes(c) == observed_changes(o));
    observed_free(o);
    assert_int_equal(observed_trials(c), 1);
    assert_int_equal(standing(c, 1, 0), STANDING_FINITE);
    assert_true(observed_point(c, 0)[1] == 0.375);
    observed_free(c);
    space_free(sp);
}

/* Of two objectives: by fronts, level by level; of the front that not all are wanted of,
 * the middle adds most. */
static void several_are_ranked_by_fronts(void **state)
{
    static const struct score scores[] = {{{1, 3}}, {{3, 1}}, {{2, 2}},
                                          {{3, 3}}, {{0, 0}}, {{1, NAN}}};
    static const int order[] = {2, 0, 1, 3, 4}; /* 4 has not got to level 1 */
    struct space *sp = space_of_three();
    struct observed *o = observed_new(sp, 2, 2);
    struct standing_rank rank[6];
    (void)state;
    for (int i = 0; i < 6; i++) {
        add(o, sp, 0.1, 0.1, 0.1);
        observed_score(o, i, i != 4, &scores[i]);
    }
    assert_int_equal(observed_level(o, 4), 1);
    assert_int_equal(observed_level(o, 5), 0);
    assert_int_equal(observed_standing(o, 1, 5, &rank[5]), STANDING_WORST);
    for (int i = 0; i < 5; i++)
        assert_int_equal(observed_standing(o, 1, i, &rank[i]), STANDING_FINITE);
    observed_place(o, 1, rank, 5, 1);
    for (int i = 0; i < 4; i++) {
        assert_true(observed_before(&rank[order[i]], &rank[order[i + 1]]));
        assert_false(observed_before(&rank[order[i + 1]], &rank[order[i]]));
    }
    observed_free(o);
    space_free(sp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_what_values_stand_for),
        cmocka_unit_test(trials_have_fates),
        cmocka_unit_test(the_level_is_the_highest_with_enough),
        cmocka_unit_test(levels_are_not_mixed),
        cmocka_unit_test(a_copy_stays_as_it_was),
        cmocka_unit_test(several_are_ranked_by_fronts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
