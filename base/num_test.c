#include "base/err.h"
#include "base/file.h"
#include "base/num.h"
#include "base/rng.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void same_double(double a, double b)
{
    uint64_t x, y;
    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    if (x != y)
        fail_msg("%a, not %a", a, b);
}

static void test_parse_bad(void **state)
{
    static const char *const bad[] = {
        "",    " ",    ".",    "+",        "-",   "e5",   "1e",   "1e+", "1e-",
        "--1", "+-1",  " 1",   "1 ",       "1..", "1.2.", "0x10", "nan", "inf",
        "1,5", "1e5.", "1e5e", "Infinity", "1_0", "12a",  "1f",   "٣",
    };
    static const char *const far[] = {"1e309", "-1e309", "1.7976931348623159e308",
                                      "1e99999999999999999999999"};
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        double v = 7;
        if (num_parse(bad[i], strlen(bad[i]), &v) != ERR_SYNTAX)
            fail_msg("'%s' was read", bad[i]);
        same_double(v, 7);
    }
    for (size_t i = 0; i < COUNT(far); i++) {
        double v = 7;
        assert_int_equal(num_parse(far[i], strlen(far[i]), &v), ERR_RANGE);
        same_double(v, 7);
    }
    double v;
    assert_int_equal(num_parse("1\0", 2, &v), ERR_SYNTAX);
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0.0},
        {"-0", -0.0},
        {"-0.000e99", -0.0},
        {"0e-400", 0.0},
        {"1", 1},
        {"+1", 1},
        {"007", 7},
        {".5", 0.5},
        {"5.", 5},
        {"-.5e1", -5},
        {"1E+2", 100},
        {"0.1", 0x1.999999999999ap-4},
        {"1e22", 0x1.0f0cf064dd592p+73},
        {"1e23", 0x1.52d02c7e14af6p+76},
        {"9007199254740993", 0x1p53}, /* 2^53 + 1: a tie, to even */
        {"9007199254740993.0", 0x1p53},
        /* A hair above a tie, and only the remainder of the division tells. */
        {"6431594775630910415e-22", 0x1.51336760c2785p-11},
        {"4838260142866318147e-24", 0x1.44b0ad2422319p-18},
        {"5246426280612935561e-26", 0x1.c2aa224d9103bp-25},
        {"8447368427817764983e-27", 0x1.223fd6a6e24efp-27},
        {"9007199254740995", 0x1.0000000000002p53},
        {"9007199254740993.0000000000000000000000000000000001", 0x1.0000000000001p53},
        {"18446744073709551615", 0x1p64}, /* 20 digits */
        {"9999999999999999999", 0x1.158e460913dp+63},
        {"0.00000000000000000000001234", 0x1.dd6170d04a3b9p-77},
        {"1000000000000000000000000000000", 0x1.93e5939a08ceap+99},
        {"1.7976931348623157e308", 0x1.fffffffffffffp+1023},
        {"1.7976931348623158e308", 0x1.fffffffffffffp+1023},
        {"2.2250738585072014e-308", 0x1p-1022},
        {"2.2250738585072011e-308", 0x0.fffffffffffffp-1022}, /* once hung PHP and Java */
        {"5e-324", 0x1p-1074},
        {"2.4703282292062327e-324", 0.0}, /* just below half of the smallest */
        {"2.4703282292062328e-324", 0x1p-1074},
        {"1e-99999999999999999999999", 0.0},
        {"0e99999999999999999999999", 0.0},
        {"6.0221409e+23", 0x1.fe185d6c70058p+78},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        double v;
        assert_int_equal(num_parse(cases[i].text, strlen(cases[i].text), &v), 0);
        if (v != cases[i].value || signbit(v) != signbit(cases[i].value))
            fail_msg("%s: %a, not %a", cases[i].text, v, cases[i].value);
    }
}

/* Texts of any length: half of the smallest double, which is a tie, and a hair more,
 * behind the digits that are kept; and zeros by the thousand. */
static void test_parse_long(void **state)
{
    (void)state;
    char half[1600], text[5000];
    double v;
    /* 2^-1075 is a digit longer than 2^-1074, for which printf has the digits. */
    snprintf(half, sizeof(half), "%.1075f", 0x1p-1074);
    int carry = 0;
    for (char *p = half; *p; p++) {
        if (*p == '.')
            continue;
        int d = carry * 10 + (*p - '0');
        *p = (char)('0' + d / 2);
        carry = d % 2;
    }
    assert_int_equal(carry, 0);
    assert_int_equal(num_parse(half, strlen(half), &v), 0);
    same_double(v, 0);
    for (int i = 0; i < 20; i++)
        strcat(half, "00000000000000000000");
    assert_int_equal(num_parse(half, strlen(half), &v), 0);
    same_double(v, 0);
    strcat(half, "1");
    assert_int_equal(num_parse(half, strlen(half), &v), 0);
    same_double(v, 0x1p-1074);

    memset(text, '0', sizeof(text));
    memcpy(text, "0.", 2);
    memcpy(text + 4000, "25e4000", 8);
    assert_int_equal(num_parse(text, strlen(text), &v), 0);
    same_double(v, 25);
    memset(text, '0', sizeof(text));
    memcpy(text, "25", 2);
    memcpy(text + 4000, "e-3998", 7);
    assert_int_equal(num_parse(text, strlen(text), &v), 0);
    same_double(v, 25);
    memcpy(text + 2000, ".", 1); /* 1998 zeros on either side */
    memcpy(text + 4000, "e-1998", 7);
    assert_int_equal(num_parse(text, strlen(text), &v), 0);
    same_double(v, 25);
}

/* strtod(), another implementation, as the judge. */
static void test_parse_random(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        char text[128];
        uint64_t r = rng_u64(1, RNG_TEST, i, 0, 0), m = rng_u64(1, RNG_TEST, i, 1, 0);
        int bits = (int)(r % 64) + 1, power = (int)(r >> 8 & 127) - 64;
        m >>= 64 - bits;
        switch (r >> 16 & 3) {
        case 0:
            snprintf(text, sizeof(text), "%llue%d", (unsigned long long)m, power);
            break;
        case 1: snprintf(text, sizeof(text), "-0.%020llu", (unsigned long long)m); break;
        case 2:
            snprintf(text, sizeof(text), "%llu.%llu", (unsigned long long)m,
                     (unsigned long long)(r >> 20));
            break;
        default:
            snprintf(text, sizeof(text), "%.*g", (int)(r >> 24 & 31) + 1,
                     ldexp((double)m, power));
            break;
        }
        double v;
        assert_int_equal(num_parse(text, strlen(text), &v), 0);
        if (v != strtod(text, NULL))
            fail_msg("%s: %a, not %a", text, v, strtod(text, NULL));
    }
}

static void test_parse_int(void **state)
{
    static const struct {
        const char *text;
        int rc;
        int64_t value;
    } cases[] = {
        {"", ERR_SYNTAX, 0},
        {"-", ERR_SYNTAX, 0},
        {"1.0", ERR_SYNTAX, 0},
        {"1e3", ERR_SYNTAX, 0},
        {" 1", ERR_SYNTAX, 0},
        {"1 ", ERR_SYNTAX, 0},
        {"9223372036854775808", ERR_RANGE, 0},
        {"-9223372036854775809", ERR_RANGE, 0},
        {"18446744073709551616", ERR_RANGE, 0},
        {"18446744073709551617", ERR_RANGE, 0}, /* 1 modulo 2^64 */
        {"100000000000000000000000", ERR_RANGE, 0},
        {"0", 0, 0},
        {"-0", 0, 0},
        {"+12", 0, 12},
        {"000000000000000000000000000012", 0, 12},
        {"-007", 0, -7},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t v = 0;
        if (num_parse_int(cases[i].text, strlen(cases[i].text), &v) != cases[i].rc)
            fail_msg("'%s'", cases[i].text);
        assert_int_equal(v, cases[i].value);
    }
}

static void test_format(void **state)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {NAN, "nan"},
        {-NAN, "nan"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {3, "3.0"},
        {-3, "-3.0"},
        {0.1, "0.1"},
        {-0.25, "-0.25"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {2.0 / 3, "0.6666666666666666"},
        {100.5, "100.5"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {1.5e-5, "1.5e-05"},
        {1e-10, "1e-10"},
        {9.999999999999999e-11, "9.999999999999999e-11"},
        {1.2345678901234567e-12, "1.2345678901234567e-12"},
        {0x1p53, "9007199254740992.0"},
        {0x1p53 - 1, "9007199254740991.0"},
        {0x1p51 + 0.5, "2251799813685248.5"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {5e-324, "5e-324"},
        {0x1.fffffffffffffp-1023, "2.2250738585072014e-308"},
        {0x1p-1022, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {-1.7976931348623157e308, "-1.7976931348623157e+308"},
        {99999999999999.875, "99999999999999.88"}, /* ties: .87 and .62, .63 would do */
        {99999999999999.625, "99999999999999.62"},
        {0x1p-44, "5.684341886080802e-14"},   /* not ...801 or ...8015: a power of two */
        {0x1p-778, "6.290184345309701e-235"}, /* nearest: ...700, outside */
        {1763657162.123457, "1763657162.123457"},
        {0.30000001192092896, "0.30000001192092896"}, /* a float's 0.3 */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buf[NUM_MAX];
        size_t n = num_format(buf, cases[i].v);
        assert_string_equal(buf, cases[i].text);
        assert_int_equal(n, strlen(buf));
    }
}

/* The significant digits of text, zeros at both ends left out; their number. */
static int significant(char digits[64], const char *text)
{
    int n = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n > 0 || *text != '0'))
            digits[n++] = *text;
    while (n > 0 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    return n;
}

static double sample(uint32_t i)
{
    uint64_t r = rng_u64(2, RNG_TEST, i, 0, 0);
    double unit = rng_unit(2, RNG_TEST, i, 1, 0), v;
    switch (i % 8) {
    case 0: memcpy(&v, &r, sizeof(v)); return isfinite(v) ? v : 1;
    case 1: return unit;
    case 2: return (double)(float)unit;
    case 3: return 1.7e9 + 1e8 * unit;
    case 4: return ldexp(1, (int)(r % 2046) - 1022);
    case 5: return ldexp((double)(r >> 12), -1074);
    case 6: return round(unit * 1e9) / 1e6;
    default: return exp(100 * unit - 50);
    }
}

/* Read back the same; none with fewer digits is; and among those with as many it is
 * the nearest, if that one is read back at all. */
static void test_format_random(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40000; i++) {
        char buf[NUM_MAX], other[64], digits[64], other_digits[64];
        double v = sample(i), back;
        size_t len = num_format(buf, v);
        assert_int_equal(len, strlen(buf));
        assert_non_null(strpbrk(buf, ".e"));
        same_double(strtod(buf, NULL), v);
        assert_int_equal(num_parse(buf, len, &back), 0);
        same_double(back, v);
        int n = significant(digits, buf);
        assert_in_range(n, v == 0 ? 0 : 1, 17);
        snprintf(other, sizeof(other), "%.*e", n > 1 ? n - 2 : 0, v);
        if (n > 1 && strtod(other, NULL) == v)
            fail_msg("%s is shorter than %s", other, buf);
        snprintf(other, sizeof(other), "%.*e", n > 0 ? n - 1 : 0, v);
        significant(other_digits, other);
        if (strtod(other, NULL) == v)
            assert_string_equal(digits, other_digits);
    }
}

static void test_format_int(void **state)
{
    static const struct {
        int64_t v;
        const char *text;
    } cases[] = {
        {INT64_MIN, "-9223372036854775808"},
        {INT64_MAX, "9223372036854775807"},
        {0, "0"},
        {-1, "-1"},
        {10, "10"},
        {1234567890, "1234567890"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buf[NUM_MAX];
        assert_int_equal(num_format_int(buf, cases[i].v), strlen(cases[i].text));
        assert_string_equal(buf, cases[i].text);
    }
}

static void test_format_short(void **state)
{
    static const struct {
        double v;
        int digits;
        const char *text;
    } cases[] = {
        {NAN, 4, "nan"},
        {-INFINITY, 4, "-inf"},
        {0, 4, "0"},
        {-0.0, 4, "-0"},
        {0.21344, 4, "0.2134"},
        {0.21345678, 4, "0.2135"},
        {1.3e-5, 4, "1.3e-05"},
        {12, 4, "12"},
        {12.5, 4, "12.5"},
        {-99.996, 4, "-100"},
        {9999.6, 4, "1e+04"},
        {123456, 4, "1.235e+05"},
        {123456, 6, "123456"},
        {0.00012, 4, "0.00012"},
        {0.1, 0, "0.1"},
        {0.1, 99, "0.10000000000000001"},
        {-0.00012345678901234567, 17, "-0.00012345678901234567"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buf[NUM_MAX];
        assert_int_equal(num_format_short(buf, cases[i].v, cases[i].digits),
                         strlen(cases[i].text));
        assert_string_equal(buf, cases[i].text);
    }
}

/* Makes a locale whose decimal point is a comma, and sets it. */
static bool set_comma_locale(void)
{
    static const char source[] = "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \"\"\n"
                                 "grouping -1\nEND LC_NUMERIC\n";
    char dir[] = "/tmp/rung-num-test-XXXXXX", command[200], path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/source", dir);
    assert_int_equal(file_write(path, source, sizeof(source) - 1, 0600, NULL), 0);
    snprintf(command, sizeof(command), "localedef -c -i %s %s/comma >%s/log 2>&1", path,
             dir, dir);
    int status = system(command); /* 1 with warnings; setlocale() tells */
    setenv("LOCPATH", dir, 1);
    bool set = status >= 0 && setlocale(LC_NUMERIC, "comma") != NULL;
    unsetenv("LOCPATH");
    dir_remove(dir, NULL);
    return set;
}

static void test_locale(void **state)
{
    (void)state;
    if (!set_comma_locale()) {
        print_message("# no locale with a comma (Debian: apt-get install locales)\n");
        return;
    }
    char full[NUM_MAX], brief[NUM_MAX], libc[NUM_MAX];
    double v = 0;
    snprintf(libc, sizeof(libc), "%.1f", 0.5);
    int rc = num_parse("1.25e-300", 9, &v);
    num_format(full, 1.25e-300);
    num_format_short(brief, 12.5, 4);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(libc, "0,5"); /* that is what there was to fall for */
    assert_int_equal(rc, 0);
    same_double(v, 1.25e-300);
    assert_string_equal(full, "1.25e-300");
    assert_string_equal(brief, "12.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_bad),     cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_long),    cmocka_unit_test(test_parse_random),
        cmocka_unit_test(test_parse_int),     cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_random), cmocka_unit_test(test_format_int),
        cmocka_unit_test(test_format_short),  cmocka_unit_test(test_locale),
    };
    return cmocka_run_group_tests_name("base/num", tests, NULL, NULL);
}
