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

static void test_moves_are_keyed_by_seed_epoch_and_sample(void **state)
{
    (void)state;
    static const struct augmentation a = {1000, true};
    const struct device_move m = draw_move(1, &a, 2, 3),
                             others[] = {draw_move(2, &a, 2, 3), draw_move(1, &a, 3, 3),
                                         draw_move(1, &a, 2, 4)},
                             again = draw_move(1, &a, 2, 3),
                             unflipped =
                                 draw_move(1, &(struct augmentation){1000, false}, 2, 3);

    assert_true(m.dy == again.dy && m.dx == again.dx && m.flip == again.flip);
    assert_true(m.dy == unflipped.dy && m.dx == unflipped.dx);
    assert_int_not_equal(m.dy, m.dx);
    for (int i = 0; i < 3; i++)
        assert_true(m.dy != others[i].dy && m.dx != others[i].dx);
}

/* All 9 by 9 crops, mirrored and not, equally often: chi square with 161 degrees of
 * freedom is below 222 in 999 of 1000 cases. By samples and by epochs. */
static void test_moves_are_equally_likely(void **state)
{
    (void)state;
    enum { CROP = 4, SIDE = 2 * CROP + 1, MOVES = 2 * SIDE * SIDE, EACH = 200 };
    static const struct augmentation a = {CROP, true};

    for (int by = 0; by < 2; by++) {
        int count[MOVES] = {0};
        double chi2 = 0;
        for (uint32_t i = 0; i < MOVES * EACH; i++) {
            struct device_move m = draw_move(3, &a, by ? i : 1, by ? 1 : i);
            assert_in_range(m.dy + CROP, 0, SIDE - 1);
            assert_in_range(m.dx + CROP, 0, SIDE - 1);
            count[((m.dy + CROP) * SIDE + m.dx + CROP) * 2 + m.flip]++;
        }
        for (int i = 0; i < MOVES; i++)
            chi2 += (double)((count[i] - EACH) * (count[i] - EACH)) / EACH;
        assert_true(chi2 < 222);
    }
}

static void test_what_is_not_asked_for_is_not_drawn(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        struct device_move m = draw_move(3, &(struct augmentation){0, true}, 1, i);
        assert_true(m.dy == 0 && m.dx == 0);
        assert_false(draw_move(3, &(struct augmentation){4, false}, 1, i).flip);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_or_none),
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_keyed_by_seed_use_and_epoch),
        cmocka_unit_test(test_orders_are_equally_likely),
        cmocka_unit_test(test_moves_are_keyed_by_seed_epoch_and_sample),
        cmocka_unit_test(test_moves_are_equally_likely),
        cmocka_unit_test(test_what_is_not_asked_for_is_not_drawn),
    };

    return cmocka_run_group_tests_name("draw", tests, NULL, NULL);
}
