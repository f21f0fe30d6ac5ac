#include "sched/value.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct value of_int(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .i = i};
}

static struct value of_real(double r)
{
    return (struct value){.kind = VALUE_REAL, .r = r};
}

static struct value of_bool(bool b)
{
    return (struct value){.kind = VALUE_BOOL, .b = b};
}

static struct value of_text(const char *s)
{
    return (struct value){.kind = VALUE_STR, .s = s};
}

static void scan_refuses(void **state)
{
    static const char *const bad[] = {
        "",          "null",   "[1]",     "{}",       "nope",  "\"a\\u0000b\"",
        "1e999",     "NaN",    "-",       "Infinity", "01",    "99999999999999999999",
        "\"unended", "-1e999", "\"\\x\"", ".5",       "\"NaN",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct json j;
        json_begin(&j, bad[i], strlen(bad[i]));
        assert_int_equal(value_scan(&j).kind, VALUE_ABSENT);
        assert_non_null(j.error);
    }
}

static void json_round_trip(void **state)
{
    const struct value values[] = {
        of_int(0),
        of_int(INT64_MIN),
        of_int(INT64_MAX),
        of_real(0.1),
        of_real(3.0),
        of_real(-0.0),
        of_real(1e-05),
        of_real(5e-324),
        of_real(1.7976931348623157e308),
        of_real(1e22),
        of_bool(true),
        of_bool(false),
        of_text(""),
        of_text("sgd"),
        of_text("a \"b\" \\ \n \x01 gr\xc3\xb6\xc3\x9f"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct str text = STR_INIT;
        struct json j;
        value_json(values[i], &text);
        json_begin(&j, text.p, text.len);
        struct value back = value_scan(&j);
        json_end(&j);
        assert_null(j.error);
        assert_int_equal(back.kind, values[i].kind);
        assert_true(value_equal(back, values[i]));
        if (back.kind == VALUE_REAL)
            assert_int_equal(signbit(back.r) != 0, signbit(values[i].r) != 0);
        if (back.kind == VALUE_STR)
            free((char *)back.s);
        str_free(&text);
    }
}

static void text_is_a_word_of_the_command(void **state)
{
    static const struct {
        struct value v;
        const char *text;
    } table[] = {
        {{.kind = VALUE_ABSENT}, ""},
        {{.kind = VALUE_INT, .i = 16}, "16"},
        {{.kind = VALUE_REAL, .r = 0.001}, "0.001"},
        {{.kind = VALUE_REAL, .r = 2}, "2.0"},
        {{.kind = VALUE_BOOL, .b = true}, "true"},
        {{.kind = VALUE_BOOL, .b = false}, "false"},
        {{.kind = VALUE_STR, .s = "sgd x"}, "sgd x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct str text = STR_INIT;
        value_text(table[i].v, &text);
        assert_string_equal(text.p, table[i].text);
        str_free(&text);
    }
}

static void equality_is_pythons(void **state)
{
    (void)state;
    assert_false(value_equal(of_int(1), of_text("1")));
    assert_false(value_equal(of_text("sgd"), of_text("SGD")));
    assert_false(value_equal(of_int(0), (struct value){.kind = VALUE_ABSENT}));
    assert_false(value_equal(of_real(NAN), of_real(NAN)));
    assert_int_equal(value_order(of_real(NAN), of_real(1)), VALUE_UNORDERED);
    assert_int_equal(value_order(of_real(1), of_real(NAN)), VALUE_UNORDERED);
    assert_true(value_equal(of_int(1), of_real(1.0)));
    assert_true(value_equal(of_bool(true), of_int(1)));
    assert_true(value_equal(of_bool(false), of_real(-0.0)));
    assert_true(value_equal(of_text("sgd"), of_text("sgd")));
}

/* 2^53 + 1 has no double: rounded, it would equal 2^53. */
static void order_is_exact(void **state)
{
    const int64_t odd = (INT64_C(1) << 53) + 1;
    static const struct {
        double r;
        int order; /* of INT64_MAX against it */
    } table[] = {
        {NAN, VALUE_UNORDERED}, {INFINITY, -1}, {0x1p63, -1}, {0x1.fffffffffffffp62, 1}};
    (void)state;
    assert_int_equal(value_order(of_int(odd), of_real(0x1p53)), 1);
    assert_int_equal(value_order(of_real(0x1p53), of_int(odd)), -1);
    assert_false(value_equal(of_int(odd), of_real(0x1p53)));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int order = table[i].order;
        assert_int_equal(value_order(of_int(INT64_MAX), of_real(table[i].r)), order);
        assert_int_equal(value_order(of_real(table[i].r), of_int(INT64_MAX)),
                         order == VALUE_UNORDERED ? order : -order);
    }
    assert_int_equal(value_order(of_int(INT64_MIN), of_real(-0x1p63)), 0);
    assert_int_equal(value_order(of_int(INT64_MIN), of_real(-INFINITY)), 1);
    assert_int_equal(value_order(of_int(-2), of_real(-2.5)), 1);
    assert_int_equal(value_order(of_int(2), of_real(2.5)), -1);
    assert_int_equal(value_order(of_bool(true), of_real(0.5)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_refuses),
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(text_is_a_word_of_the_command),
        cmocka_unit_test(equality_is_pythons),
        cmocka_unit_test(order_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
