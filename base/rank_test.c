#include "base/rank.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Expected values: scipy 1.10, stats.spearmanr(). */
static void test_correlation(void **state)
{
    const double up[] = {1, 2, 3, 4, 5}, down[] = {9, 7, 5, 3, -INFINITY},
                 mixed[] = {2, 1, 4, 3, 5}, ties[] = {1, 1, 2, 2, 3};

    (void)state;
    assert_float_equal(rank_correlation(up, up, 5), 1, 1e-15);
    assert_float_equal(rank_correlation(up, down, 5), -1, 1e-15);
    assert_float_equal(rank_correlation(up, mixed, 5), 0.8, 1e-15);
    assert_float_equal(rank_correlation(up, ties, 5), 0.9486832980505138, 1e-15);
    assert_float_equal(rank_correlation(ties, mixed, 5), 0.9486832980505137, 1e-15);
}

static void test_no_order(void **state)
{
    const double up[] = {1, 2, 3}, flat[] = {7, 7, 7}, nan[] = {1, 2, NAN},
                 nans[] = {NAN, 1, NAN};

    (void)state;
    assert_true(isnan(rank_correlation(up, flat, 3)));
    assert_true(isnan(rank_correlation(up, up, 1)));
    assert_true(isnan(rank_correlation(up, up, 0)));
    assert_float_equal(rank_correlation(up, nan, 3), 1, 1e-15); /* the largest */
    assert_float_equal(rank_correlation(up, nans, 3), 0, 1e-15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_no_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
