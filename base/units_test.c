#include "base/units.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_duration_bad(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"", ERR_SYNTAX},
        {" ", ERR_SYNTAX},
        {"s", ERR_SYNTAX},
        {"h2", ERR_SYNTAX},
        {"2x", ERR_SYNTAX},
        {"2 h", ERR_SYNTAX},
        {" 2h", ERR_SYNTAX},
        {"-5", ERR_SYNTAX},
        {"-5s", ERR_SYNTAX},
        {"+5", ERR_SYNTAX},
        {"5H", ERR_SYNTAX},
        {"5M", ERR_SYNTAX},
        {":", ERR_SYNTAX},
        {"4:", ERR_SYNTAX},
        {":30", ERR_SYNTAX},
        {"4:60", ERR_SYNTAX},
        {"4:60:00", ERR_SYNTAX},
        {"4:00:60", ERR_SYNTAX},
        {"1:2:3:4", ERR_SYNTAX},
        {"4:-1", ERR_SYNTAX},
        {"4:1.5", ERR_SYNTAX},
        {"1-", ERR_SYNTAX},
        {"1-24", ERR_SYNTAX},
        {"1-12:", ERR_SYNTAX},
        {"1--2", ERR_SYNTAX},
        {"1-2-3", ERR_SYNTAX},
        {"1-1:00:00:00", ERR_SYNTAX},
        {"1-12:60:00", ERR_SYNTAX},
        {"12:00:00h", ERR_SYNTAX},
        {"1-12h", ERR_SYNTAX},
        {"nan", ERR_SYNTAX},
        {"inf", ERR_SYNTAX},
        {"1e999", ERR_SYNTAX},
        {"0", ERR_RANGE},
        {"0s", ERR_RANGE},
        {"0:00:00", ERR_RANGE},
        {"0-0", ERR_RANGE},
        {"1e15", ERR_RANGE},
        {"9999999d", ERR_RANGE},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        double s = -7;
        struct err e = {0};
        if (duration_parse(cases[i].text, &s, &e) != cases[i].rc)
            fail_msg("'%s': %s", cases[i].text, err_name(e.code));
        assert_true(s == -7);
        assert_int_equal(e.code, cases[i].rc);
        if (cases[i].rc == ERR_RANGE)
            assert_non_null(
                strstr(e.text, strpbrk(cases[i].text, "19") ? "long" : "zero"));
        if (cases[i].text[0])
            assert_non_null(strstr(e.text, cases[i].text));
    }
}

static void test_duration(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } cases[] = {
        {"4:00:00", 14400}, {"30:00", 1800},       {"90:00", 5400},
        {"0:01", 1},        {"100:00:00", 360000}, {"1-12:00:00", 129600},
        {"1-12", 129600},   {"1-12:30", 131400},   {"0-00:00:01", 1},
        {"90s", 90},        {"15m", 900},          {"2h", 7200},
        {"1.5h", 5400},     {"3d", 259200},        {"90", 90},
        {"0.5", 0.5},       {".5m", 30},           {"1e3", 1000},
        {"1e-3", 0.001},    {"2e1m", 1200},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        double s;
        struct err e = {0};
        if (duration_parse(cases[i].text, &s, &e) != 0 || s != cases[i].seconds)
            fail_msg("'%s': %g %s", cases[i].text, s, e.text);
    }
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        int rc;
        int64_t bytes;
    } cases[] = {
        {"", ERR_SYNTAX, 0},
        {"G", ERR_SYNTAX, 0},
        {"-1G", ERR_SYNTAX, 0},
        {"1 G", ERR_SYNTAX, 0},
        {"1X", ERR_SYNTAX, 0},
        {"1GB", ERR_SYNTAX, 0},
        {"G1", ERR_SYNTAX, 0},
        {"0", ERR_RANGE, 0},
        {"0G", ERR_RANGE, 0},
        {"0.0001K", ERR_RANGE, 0},
        {"8192P", ERR_RANGE, 0},
        {"1e30", ERR_RANGE, 0},
        {"1", 0, 1},
        {"800K", 0, 819200},
        {"512M", 0, INT64_C(512) << 20},
        {"2G", 0, INT64_C(2) << 30},
        {"2g", 0, INT64_C(2) << 30},
        {"1.5T", 0, INT64_C(3) << 39},
        {"1P", 0, INT64_C(1) << 50},
        {"1e3", 0, 1000},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t n = 0;
        struct err e = {0};
        if (size_parse(cases[i].text, &n, &e) != cases[i].rc || n != cases[i].bytes)
            fail_msg("'%s'", cases[i].text);
        if (cases[i].rc == ERR_RANGE)
            assert_non_null(strstr(e.text, cases[i].text[0] == '0' ? "zero" : "large"));
    }
}

static void test_duration_format(void **state)
{
    static const struct {
        double seconds;
        const char *text, *slurm;
    } cases[] = {
        {NAN, "-", "0-00:00:00"},
        {-1, "-", "0-00:00:00"},
        {INFINITY, "-", "1157407-09:46:40"},
        {0, "0.0 s", "0-00:00:00"},
        {0.04, "0.0 s", "0-00:00:01"},
        {4.2, "4.2 s", "0-00:00:05"},
        {59.94, "59.9 s", "0-00:01:00"},
        {59.96, "1m 00s", "0-00:01:00"},
        {60, "1m 00s", "0-00:01:00"},
        {187, "3m 07s", "0-00:03:07"},
        {3599.4, "59m 59s", "0-01:00:00"},
        {3599.6, "1h 00m", "0-01:00:00"},
        {3960.0000000000005, "1h 06m", "0-01:06:00"}, /* 1.1 * 3600 */
        {7500, "2h 05m", "0-02:05:00"},
        {86399, "1d 00h", "0-23:59:59"},
        {100800, "1d 04h", "1-04:00:00"},
        {8640000, "100d 00h", "100-00:00:00"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buf[UNITS_MAX];
        assert_string_equal(duration_format(buf, cases[i].seconds), cases[i].text);
        assert_string_equal(duration_slurm(buf, cases[i].seconds), cases[i].slurm);
    }
}

static void test_size_format(void **state)
{
    static const struct {
        double bytes;
        const char *text;
    } cases[] = {
        {NAN, "-"},
        {-1, "-"},
        {INFINITY, "-"},
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {1.5 * (1 << 30), "1.5 GiB"},
        {13.66 * (1 << 30), "13.7 GiB"},
        {99.96 * 1024, "100 KiB"},
        {512.0 * (1 << 20), "512 MiB"},
        {1023.9 * 1024, "1 MiB"},
        {0x1p60 * 100, "100 EiB"},
        {0x1p69, "512 EiB"},
        {0x1.ffffp69, "1024 EiB"}, /* there is no name beyond */
        {0x1p70, "-"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buf[UNITS_MAX];
        assert_string_equal(size_format(buf, cases[i].bytes), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration_bad), cmocka_unit_test(test_duration),
        cmocka_unit_test(test_size),         cmocka_unit_test(test_duration_format),
        cmocka_unit_test(test_size_format),
    };
    return cmocka_run_group_tests_name("base/units", tests, NULL, NULL);
}
