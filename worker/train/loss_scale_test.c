#include "worker/train/loss_scale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct loss_scale none;

static void test_only_fp16_is_scaled(void **state)
{
    (void)state;
    struct loss_scale s = loss_scale_start(false, none);

    assert_true(s.factor == 1);
    assert_false(loss_scale_used(&s));
    s = loss_scale_start(true, none);
    assert_true(s.factor == 65536);
    assert_true(loss_scale_used(&s));
}

static void test_overflow_halves_and_calm_doubles(void **state)
{
    (void)state;
    struct loss_scale s = loss_scale_start(true, none);

    loss_scale_step(&s, false);
    loss_scale_step(&s, false);
    assert_true(s.factor == 16384);
    assert_int_equal(s.skipped, 2);
    for (int i = 0; i < 1999; i++)
        loss_scale_step(&s, true);
    assert_true(s.factor == 16384);
    loss_scale_step(&s, true);
    assert_true(s.factor == 32768);
    loss_scale_step(&s, false);
    for (int i = 0; i < 1999; i++)
        loss_scale_step(&s, true);
    assert_true(s.factor == 16384);
    assert_int_equal(s.skipped, 3);
}

static void test_it_stays_within_bounds(void **state)
{
    (void)state;
    struct loss_scale s = loss_scale_start(true, none);

    for (int i = 0; i < 100; i++)
        loss_scale_step(&s, false);
    assert_true(s.factor == 1);
    assert_int_equal(s.skipped, 100);
    for (int i = 0; i < 2000 * 200; i++)
        loss_scale_step(&s, true);
    assert_true(s.factor == 0x1p100);
}

static void test_a_training_goes_on_with_its_own(void **state)
{
    (void)state;
    struct loss_scale s = {256, 17, 5}, t = loss_scale_start(true, s);

    assert_true(t.factor == 256 && t.since == 17 && t.skipped == 5);
    t = loss_scale_start(false, s); /* in another precision */
    assert_true(t.factor == 1 && t.since == -1 && t.skipped == 5);
    t = loss_scale_start(true, t); /* and back */
    assert_true(t.factor == 65536 && t.since == 0 && t.skipped == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_fp16_is_scaled),
        cmocka_unit_test(test_overflow_halves_and_calm_doubles),
        cmocka_unit_test(test_it_stays_within_bounds),
        cmocka_unit_test(test_a_training_goes_on_with_its_own),
    };

    return cmocka_run_group_tests_name("loss_scale", tests, NULL, NULL);
}
