#include "sched/median.h"

#include "base/rank.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(struct median *m, int32_t trial, int64_t step, uint32_t n,
                   double median)
{
    double found;

    assert_int_equal(median_of_others(m, trial, step, &found), n);
    if (isnan(median))
        assert_true(isnan(found));
    else
        assert_true(found == median);
}

static void test_means(void **state)
{
    struct median *m = median_new(2);

    (void)state;
    expect(m, 0, 2, 0, NAN);
    median_report(m, 0, 1, 100); /* before the grace period */
    median_report(m, 0, 2, 4);
    median_report(m, 0, 3, 2);
    median_report(m, 0, 5, 9);
    median_report(m, 2, 2, 1);
    median_report(m, 2, 4, 3);
    expect(m, 1, 2, 2, 2.5); /* 4 and 1 */
    expect(m, 1, 3, 2, 2);   /* 3 and 1 */
    expect(m, 1, 5, 1, 5);   /* the other is not there yet */
    expect(m, 0, 3, 1, 1);   /* not itself */
    expect(m, 1, 6, 0, NAN);
    median_report(m, 3, 7, 0); /* jumped over all before */
    expect(m, 1, 4, 2, 2.5);
    median_report(m, 4, 2, 10);
    median_report(m, 4, 4, 20);
    expect(m, 1, 4, 3, 3);
    median_free(m);
}

static void test_worst(void **state)
{
    struct median *m = median_new(1);

    (void)state;
    median_report(m, 0, 1, NAN);
    median_report(m, 0, 2, 1);
    median_report(m, 1, 1, -INFINITY);
    median_report(m, 1, 2, 1);
    median_report(m, 2, 1, 1);
    median_report(m, 2, 2, 1);
    expect(m, 3, 2, 3, INFINITY);
    expect(m, 0, 2, 2, INFINITY); /* between infinity and 1 */
    expect(m, 1, 2, 2, INFINITY);
    median_free(m);
}

/* Where all are alike nobody is worse than the mean. */
static void test_equal(void **state)
{
    struct median *m = median_new(1);

    (void)state;
    for (int64_t step = 1; step <= 1000; step++) {
        median_report(m, 0, step, 0.1);
        expect(m, 1, step, 1, 0.1);
    }
    median_free(m);
}

static double median_with(double others[], size_t n, double one)
{
    others[n++] = one;
    numbers_sort(others, n);
    return n % 2 ? others[n / 2] : (others[n / 2 - 1] + others[n / 2]) / 2;
}

/* Many trials, some of them at steps of their own, against sorting at each question. */
static void test_crowds(void **state)
{
    enum { TRIALS = 60, STEPS = 40 };
    static double sum[TRIALS][STEPS + 1];
    static int count[TRIALS][STEPS + 1];
    int64_t last[TRIALS] = {0}, first[TRIALS] = {0};
    struct median *m = median_new(1);

    (void)state;
    for (uint32_t i = 0; i < 4000; i++) {
        int32_t t = (int32_t)(rng_unit(1, RNG_SEARCH, i, 0, 0) * TRIALS);
        int64_t step = last[t] + 1 + (int64_t)(rng_unit(1, RNG_SEARCH, i, 1, 0) * 3);
        double value = floor(rng_unit(1, RNG_SEARCH, i, 2, 0) * 8), others[TRIALS + 1];
        size_t n = 0;

        if (step > STEPS)
            continue;
        if (value == 7)
            value = INFINITY;
        for (int64_t s = last[t] + 1; s <= step; s++) {
            sum[t][s] = sum[t][last[t]] + (s == step ? value : 0);
            count[t][s] = count[t][last[t]] + (s == step);
        }
        if (last[t] == 0)
            first[t] = step;
        last[t] = step;
        median_report(m, t, step, value);
        for (int k = 0; k < TRIALS; k++)
            if (k != t && last[k] >= step && first[k] <= step)
                others[n++] = sum[k][step] / count[k][step];
        numbers_sort(others, n);
        expect(m, t, step, (uint32_t)n,
               n == 0  ? NAN
               : n % 2 ? others[n / 2]
                       : (others[n / 2 - 1] + others[n / 2]) / 2);
        expect(m, TRIALS, step, (uint32_t)n + 1,
               median_with(others, n, sum[t][step] / count[t][step]));
    }
    median_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_worst),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_crowds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
