#include "base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void test_format(void **state)
{
    static const struct {
        double wall;
        const char *text, *stamp;
    } cases[] = {
        {NAN, "-", "-"},
        {0, "-", "-"},
        {INFINITY, "-", "-"},
        {1e300, "-", "-"},
        {1763658902.9, "2025-11-20 17:15:02", "20251120-171502"},
        {1, "1970-01-01 00:00:01", "19700101-000001"},
        {-0.5, "1969-12-31 23:59:59", "19691231-235959"},
    };
    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char buf[32];
        assert_string_equal(clock_format(buf, cases[i].wall), cases[i].text);
        assert_string_equal(clock_stamp(buf, cases[i].wall), cases[i].stamp);
    }
    char buf[32];
    setenv("TZ", "XYZ-2", 1); /* two hours east */
    tzset();
    assert_string_equal(clock_format(buf, 1763658902), "2025-11-20 19:15:02");
}

static void test_clocks(void **state)
{
    (void)state;
    double wall = clock_wall(), mono = clock_mono();
    assert_true(fabs(wall - (double)time(NULL)) < 2);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    double passed = clock_mono() - mono;
    assert_true(passed >= 0.02 && passed < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
