#include "worker/train/draw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1000 };

static void shuffled(uint64_t seed, enum draw draw, uint32_t epoch, uint32_t order[N])
{
    for (uint32_t i = 0; i < N; i++)
        order[i] = i;
    draw_shuffle(seed, draw, epoch, order, N);
}

static void test_few_or_none(void **state)
{
    (void)state;
    uint32_t one = 7;

    draw_shuffle(1, DRAW_ORDER, 1, NULL, 0);
    draw_shuffle(1, DRAW_ORDER, 1, &one, 1);
    assert_int_equal(one, 7);
}

static void test_each_once(void **state)
{
    (void)state;
    uint32_t order[N];
    char seen[N] = {0};

    shuffled(1, DRAW_ORDER, 1, order);
    for (size_t i = 0; i < N; i++) {
        assert_true(order[i] < N && !seen[order[i]]);
        seen[order[i]] = 1;
    }
}

static void test_keyed_by_seed_use_and_epoch(void **state)
{
    (void)state;
    uint32_t a[N], b[N];

    shuffled(1, DRAW_ORDER, 1, a);
    shuffled(1, DRAW_ORDER, 1, b);
    assert_memory_equal(a, b, sizeof(a));
    shuffled(2, DRAW_ORDER, 1, b);
    assert_memory_not_equal(a, b, sizeof(a));
    shuffled(1, DRAW_SPLIT, 1, b);
    assert_memory_not_equal(a, b, sizeof(a));
    shuffled(1, DRAW_ORDER, 2, b);
    assert_memory_not_equal(a, b, sizeof(a));
}

/* All 24 orders of four, equally often: chi square with 23 degrees of freedom is below
 * 49.7 in 999 of 1000 cases, and the draws are always the same. */
static void test_orders_are_equally_likely(void **state)
{
    (void)state;
    enum { DRAWS = 24000 };
    int count[256] = {0}, orders = 0;
    double chi2 = 0;

    for (uint32_t epoch = 0; epoch < DRAWS; epoch++) {
        uint32_t o[4] = {0, 1, 2, 3};
        draw_shuffle(3, DRAW_ORDER, epoch, o, 4);
        count[o[0] << 6 | o[1] << 4 | o[2] << 2 | o[3]]++;
    }
    for (int i = 0; i < 256; i++) {
        double off = count[i] - DRAWS / 24.0;
        if (!count[i])
            continue;
        orders++;
        chi2 += off * off / (DRAWS / 24.0);
    }
    assert_int_equal(orders, 24);
    assert_true(chi2 < 49.7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_or_none),
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_keyed_by_seed_use_and_epoch),
        cmocka_unit_test(test_orders_are_equally_likely),
    };

    return cmocka_run_group_tests_name("draw", tests, NULL, NULL);
}
