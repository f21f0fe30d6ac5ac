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

static void test_quantiles(void **state)
{
    double v[] = {4, 1, INFINITY, 3, 2}, one[] = {7}, two[] = {2, 1};

    (void)state;
    numbers_sort(v, 5);
    assert_true(v[0] == 1 && v[3] == 4 && isinf(v[4]));
    assert_float_equal(quantile(v, 4, 0.5), 2.5, 1e-15); /* numpy's default */
    assert_float_equal(quantile(v, 4, 0.1), 1.3, 1e-15);
    assert_true(quantile(v, 5, 0.75) == 4 && isinf(quantile(v, 5, 1)));
    assert_true(quantile(one, 1, 0.9) == 7);
    assert_true(median(two, 2) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_no_order),
        cmocka_unit_test(test_quantiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
