#include "sched/levels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

static struct eta eta_of(const char *text)
{
    struct eta eta;

    assert_int_equal(eta_parse(text, &eta, NULL), 0);
    return eta;
}

static void test_bad_eta(void **state)
{
    static const char *const bad[] = {
        "",     ".", "1",   "1.0", "0.5", "-3",    "3x",           "1e3",
        "2..5", "0", "nan", " 3",  "+3",  "1.000", "1.0000000001", "0.00000000001"};
    struct eta eta;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = {0};

        assert_true(eta_parse(bad[i], &eta, &e) < 0);
        assert_true(strlen(e.text) > 0);
    }
}

static void test_floor_is_exact(void **state)
{
    (void)state;
    assert_int_equal(eta_floor(33, eta_of("1.1")), 30); /* binary floor(33 / 1.1) is 29 */
    assert_int_equal(eta_floor(9, eta_of("3")), 3);
    assert_int_equal(eta_floor(8, eta_of("3.000")), 2);
    assert_int_equal(eta_floor(5, eta_of("2.5")), 2);
    assert_int_equal(eta_floor(0, eta_of("2.5")), 0);
    assert_int_equal(eta_floor(2147483647, eta_of("1.00000001")), 2147483625);
}

static void check_levels(int64_t r, const char *eta, int64_t max_t, int n,
                         const int64_t want[])
{
    struct levels lv;

    assert_int_equal(levels_make(&lv, r, eta_of(eta), max_t, NULL), 0);
    assert_int_equal(lv.n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(lv.step[i], want[i]);
    levels_free(&lv);
}

static void test_levels(void **state)
{
    (void)state;
    check_levels(1, "3", 27, 4, (int64_t[]){1, 3, 9, 27});
    check_levels(1, "3", 30, 5, (int64_t[]){1, 3, 9, 27, 30});
    check_levels(5, "4", 5, 1, (int64_t[]){5});
    /* 1, 1.5, 2.25, 3.375, 5.06, 7.59: half up, 2 twice */
    check_levels(1, "1.5", 8, 5, (int64_t[]){1, 2, 3, 5, 8});
    /* 1, 2.5, 6.25, 15.625, 39.06 */
    check_levels(1, "2.5", 40, 6, (int64_t[]){1, 3, 6, 16, 39, 40});
    /* 5 * 1.1 is 5.5 exactly, which rounds up */
    check_levels(5, "1.1", 7, 3, (int64_t[]){5, 6, 7});
    check_levels(INT64_MAX / 2, "3", INT64_MAX, 2, (int64_t[]){INT64_MAX / 2, INT64_MAX});
}

static void check_merged(int64_t r, const char *eta, int64_t max_t, int n,
                         const int64_t want[])
{
    struct levels lv;

    assert_int_equal(levels_make(&lv, r, eta_of(eta), max_t, NULL), 0);
    levels_merge_last(&lv);
    assert_int_equal(lv.n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(lv.step[i], want[i]);
    levels_free(&lv);
}

static void test_merged_levels(void **state)
{
    (void)state;
    check_merged(1, "3", 27, 4, (int64_t[]){1, 3, 9, 27});
    check_merged(1, "3", 30, 4, (int64_t[]){1, 3, 9, 30});
    check_merged(1, "3", 80, 4, (int64_t[]){1, 3, 9, 80});
    check_merged(2, "3", 3, 1, (int64_t[]){3});
    check_merged(3, "3", 3, 1, (int64_t[]){3});
    /* 7.59 rounds to 8 */
    check_merged(1, "1.5", 8, 5, (int64_t[]){1, 2, 3, 5, 8});
    check_merged(1, "1.5", 9, 5, (int64_t[]){1, 2, 3, 5, 9});
}

static void test_powers_are_exact(void **state)
{
    (void)state;
    assert_int_equal(eta_times(5, eta_of("3"), 4), 405);
    assert_int_equal(eta_times(4, eta_of("2.5"), 2), 25);
    assert_int_equal(eta_times(5, eta_of("2.5"), 2), 32); /* 31.25 */
    assert_int_equal(eta_times(1, eta_of("1.1"), 0), 1);
    assert_int_equal(eta_times(100, eta_of("1.1"), 2),
                     121); /* binary: 121.00000000000001 */
    assert_int_equal(eta_times(1, eta_of("3"), 400), (int64_t)1 << 31);
    assert_int_equal(eta_over(121, eta_of("1.1"), 2), 100);
    assert_int_equal(eta_over(120, eta_of("1.1"), 2), 99);
    assert_int_equal(eta_over(81, eta_of("3"), 4), 1);
    assert_int_equal(eta_over(80, eta_of("3"), 4), 0);
    assert_int_equal(eta_over(7, eta_of("2.5"), 0), 7);
    assert_int_equal(eta_over(0, eta_of("3"), 1), 0);
}

static void test_bad_levels(void **state)
{
    struct levels lv;
    struct err e = {0};

    (void)state;
    assert_int_equal(levels_make(&lv, 10, eta_of("3"), 9, &e), ERR_RANGE);
    assert_int_equal(levels_make(&lv, 0, eta_of("3"), 9, &e), ERR_RANGE);
    assert_int_equal(levels_make(&lv, 1, eta_of("1.00001"), 100, &e), ERR_RANGE);
    assert_int_equal(levels_make(&lv, 1000, eta_of("1.001"), 1000000, &e), ERR_RANGE);
}

static void test_brackets(void **state)
{
    static const double want[] = {.551, .245, .122, .082};
    struct levels lv;
    int count[4] = {0};

    (void)state;
    assert_int_equal(levels_make(&lv, 1, eta_of("3"), 27, NULL), 0);
    for (int s = 0; s < 4; s++)
        assert_float_equal(bracket_probability(&lv, 4, s), want[s], .0005);
    for (int i = 0; i < 10000; i++)
        count[bracket_draw(&lv, 4, i / 10000.)]++;
    for (int s = 0; s < 4; s++)
        assert_float_equal(count[s] / 10000., want[s], .001);
    assert_int_equal(bracket_draw(&lv, 1, .999), 0);
    levels_free(&lv);
}

static void test_every(void **state)
{
    struct levels lv;

    (void)state;
    assert_int_equal(levels_every(&lv, 3, 9, NULL), 0);
    assert_true(lv.n == 3 && lv.step[0] == 3 && lv.step[1] == 6 && lv.step[2] == 9);
    levels_free(&lv);
    assert_int_equal(levels_every(&lv, 3, 10, NULL), 0);
    assert_true(lv.n == 4 && lv.step[2] == 9 && lv.step[3] == 10);
    levels_free(&lv);
    assert_int_equal(levels_every(&lv, 1, LEVELS_MAX, NULL), 0);
    assert_int_equal(lv.n, LEVELS_MAX);
    levels_free(&lv);
    assert_int_equal(levels_every(&lv, 1, LEVELS_MAX + 1, NULL), ERR_RANGE);
    assert_int_equal(levels_every(&lv, 9, 9, NULL), ERR_RANGE);
    assert_int_equal(levels_every(&lv, 0, 9, NULL), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_eta),          cmocka_unit_test(test_floor_is_exact),
        cmocka_unit_test(test_levels),           cmocka_unit_test(test_bad_levels),
        cmocka_unit_test(test_brackets),         cmocka_unit_test(test_merged_levels),
        cmocka_unit_test(test_powers_are_exact), cmocka_unit_test(test_every),
    };

    return cmocka_run_group_tests_name("levels", tests, NULL, NULL);
}
