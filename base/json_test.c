#include "base/json.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define X10(s)   s s s s s s s s s s

/* A copy of exactly len bytes, so that a sanitizer sees any step beyond it. */
static char *exact(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return copy;
}

static const char *check(const char *text, size_t len)
{
    struct json j;
    char *copy = exact(text, len);
    json_begin(&j, copy, len);
    json_skip(&j);
    json_end(&j);
    assert_in_range(j.p - j.start, 0, len);
    free(copy);
    return j.error;
}

static const struct {
    const char *text, *error;
} refused[] = {
    {"", "a value is wanted"},
    {" \t\r\n", "a value is wanted"},
    {"\x0b"
     "1",
     "a value is wanted"},
    {"\xef\xbb\xbf"
     "1",
     "a value is wanted"}, /* a byte order mark */
    {"tru", "true or false is wanted"},
    {"truE", "true or false is wanted"},
    {"nul", "a value is wanted"},
    {"True", "a value is wanted"},
    {"nan", "a value is wanted"},
    {"+1", "a value is wanted"},
    {".5", "a value is wanted"},
    {"-", "not a number"},
    {"-a", "not a number"},
    {"01", "not a number"},
    {"-01", "not a number"},
    {"1.", "not a number"},
    {"1.e5", "not a number"},
    {"-.5", "not a number"},
    {"1e", "not a number"},
    {"1e+", "not a number"},
    {"-Inf", "not a number"},
    {"Inf", "not a number"},
    {"-NaN", "not a number"},
    {"1 2", "text after the value"},
    {"1,", "text after the value"},
    {"1x", "text after the value"},
    {"0x10", "text after the value"},
    {"truefalse", "text after the value"},
    {"{}{}", "text after the value"},
    {"[1]]", "text after the value"},
    {"[", "a value is wanted"},
    {"[1", "',' or ']' is wanted"},
    {"[1 2]", "',' or ']' is wanted"},
    {"[1}", "',' or ']' is wanted"},
    {"[1,]", "a value is wanted"},
    {"[,1]", "a value is wanted"},
    {"[1,,2]", "a value is wanted"},
    {"[1,", "a value is wanted"},
    {"{", "a string is wanted"},
    {"{]", "a string is wanted"},
    {"{1:2}", "a string is wanted"},
    {"{a:2}", "a string is wanted"},
    {"{,}", "a string is wanted"},
    {"{\"a\"}", "':' is wanted"},
    {"{\"a\" 1}", "':' is wanted"},
    {"{\"a\":}", "a value is wanted"},
    {"{\"a\":1", "',' or '}' is wanted"},
    {"{\"a\":1]", "',' or '}' is wanted"},
    {"{\"a\":1,}", "a string is wanted"},
    {"{\"a\":1,,\"b\":2}", "a string is wanted"},
    {"{\"a\":1 \"b\":2}", "',' or '}' is wanted"},
    {"\"", "a string without its end"},
    {"\"abc", "a string without its end"},
    {"'abc'", "a value is wanted"},
    {"\"a\nb\"", "a control character in a string"},
    {"\"\x1f\"", "a control character in a string"},
    {"\"\\", "an invalid escape in a string"},
    {"\"\\\"", "a string without its end"},
    {"\"\\x\"", "an invalid escape in a string"},
    {"\"\\'\"", "an invalid escape in a string"},
    {"\"\\u\"", "an invalid escape in a string"},
    {"\"\\u12\"", "an invalid escape in a string"},
    {"\"\\u12g4\"", "an invalid escape in a string"},
    {"\"\\u+123\"", "an invalid escape in a string"},
    {"\"\\ud83d\"", "an invalid escape in a string"},
    {"\"\\ud83dx\"", "an invalid escape in a string"},
    {"\"\\ud83d\\xde00\"", "an invalid escape in a string"},
    {"\"\\ud83dxude00\"", "an invalid escape in a string"},
    {"\"\\ud83d\\n\"", "an invalid escape in a string"},
    {"\"\\ud83d\\ud83d\"", "an invalid escape in a string"},
    {"\"\\ud83d\\u0041\"", "an invalid escape in a string"},
    {"\"\\ud83d\\ude0", "an invalid escape in a string"},
    {"\"\\ude00\"", "an invalid escape in a string"},
    {"\"\x80\"", "invalid UTF-8 in a string"},
    {"\"\xc3\"", "invalid UTF-8 in a string"},
    {"\"\xc3", "invalid UTF-8 in a string"},
    {"\"\xc0\x80\"", "invalid UTF-8 in a string"}, /* NUL in two bytes */
    {"\"\xc1\xbf\"", "invalid UTF-8 in a string"},
    {"\"\xe0\x9f\xbf\"", "invalid UTF-8 in a string"},
    {"\"\xe2\x82\"", "invalid UTF-8 in a string"},
    {"\"\xe2\x28\xa1\"", "invalid UTF-8 in a string"},
    {"\"\xed\xa0\x80\"", "invalid UTF-8 in a string"}, /* a surrogate */
    {"\"\xf0\x8f\xbf\xbf\"", "invalid UTF-8 in a string"},
    {"\"\xf0\x9f\x98\"", "invalid UTF-8 in a string"},
    {"\"\xf4\x90\x80\x80\"", "invalid UTF-8 in a string"},
    {"\"\xf5\x80\x80\x80\"", "invalid UTF-8 in a string"},
    {"\"\xff\"", "invalid UTF-8 in a string"},
    {"{\"\xff\":1}", "invalid UTF-8 in a string"},
    {X10("[") X10("[") X10("[") "[[[", "nested deeper than 32"},
    {X10("{\"a\":") X10("{\"a\":") X10("{\"a\":") "[[[", "nested deeper than 32"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        const char *error = check(refused[i].text, strlen(refused[i].text));
        if (!error || strcmp(error, refused[i].error) != 0)
            fail_msg("%s: %s", refused[i].text, error ? error : "accepted");
    }
    assert_non_null(check("1\0", 2));
    assert_non_null(check("\"\0\"", 3));
}

static void test_accepted(void **state)
{
    static const char *const cases[] = {
        "0",
        "-0",
        " \t\r\n1 \t\r\n",
        "-12.50e-3",
        "1E5",
        "1e400", /* nobody has asked for its value */
        "null",
        "true",
        "false",
        "NaN",
        "-Infinity",
        "[Infinity]",
        "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
        "\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"
        "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
        "[]",
        "{}",
        "[[],{}]",
        " [ 1 , 2 ] ",
        "{ \"a\" : 1 , \"\" : [ { } ] }",
        X10("[") X10("[") X10("[") "[[]]" X10("]") X10("]") X10("]"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = strlen(cases[i]);
        const char *error = check(cases[i], len);
        if (error)
            fail_msg("%s: %s", cases[i], error);
        /* Not one of these bytes can be spared at the end, blanks and digits aside. */
        char last = cases[i][len - 1];
        if (strchr("]}\"el", last))
            assert_non_null(check(cases[i], len - 1));
    }
}

static void test_object(void **state)
{
    static const char text[] = "{\"n\": -3, \"x\":[ 1.5,{\"y\":[2]} ],\"s\":\"a\\nb\","
                               "\"ok\":true,\"no\":false,\"skip\":{\"n\":4},\"t\":2.0}";
    struct json j;
    struct slice key, x = {"", 0}, s = {"", 0};
    int64_t n = 0, t = 0;
    bool ok = false, no = true;
    (void)state;
    char *copy = exact(text, sizeof(text) - 1);
    json_begin(&j, copy, sizeof(text) - 1);
    assert_int_equal(json_peek(&j), JSON_OBJECT);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "n"))
            n = json_int(&j);
        else if (json_is(key, "x"))
            x = json_raw(&j);
        else if (json_is(key, "s"))
            s = json_string(&j);
        else if (json_is(key, "ok"))
            ok = json_bool(&j);
        else if (json_is(key, "no"))
            no = json_bool(&j);
        else if (json_is(key, "t"))
            t = json_int(&j);
        else
            json_skip(&j);
    }
    json_end(&j);
    assert_null(j.error);
    assert_int_equal(n, -3);
    assert_int_equal(t, 2);
    assert_true(ok);
    assert_false(no);
    assert_true(slice_eq(x, "[ 1.5,{\"y\":[2]} ]"));
    assert_true(slice_eq(s, "a\\nb"));
    char *plain = json_text(s);
    assert_string_equal(plain, "a\nb");
    free(plain);

    double sum = 0;
    json_begin(&j, x.p, x.len);
    json_array(&j);
    while (json_item(&j)) {
        if (json_peek(&j) == JSON_NUMBER) {
            sum += json_num(&j);
            continue;
        }
        json_object(&j);
        while (json_key(&j, &key)) {
            json_array(&j);
            while (json_item(&j))
                sum += json_num(&j);
        }
    }
    json_end(&j);
    assert_null(j.error);
    assert_true(sum == 3.5);
    free(copy);
}

/* json_ahead() reads a member's key where just that is next, and nothing else. */
static void test_ahead(void **state)
{
    static const char text[] = "{\"a\":1,\"b\":2, \"c\":3}";
    struct json j;
    struct slice key;

    (void)state;
    json_begin(&j, text, sizeof(text) - 1);
    json_object(&j);
    assert_false(json_ahead(&j, "\"a\":", 4)); /* the first */
    assert_true(json_key(&j, &key));
    assert_int_equal(json_int(&j), 1);
    assert_false(json_ahead(&j, ",\"bb\":", 6));
    assert_true(json_ahead(&j, ",\"b\":", 5));
    assert_int_equal(json_int(&j), 2);
    assert_false(json_ahead(&j, ",\"c\":", 5)); /* a blank is between */
    assert_true(json_key(&j, &key));
    assert_int_equal(json_int(&j), 3);
    assert_false(json_ahead(&j, "}x", 2)); /* longer than the text */
    assert_false(json_key(&j, &key));
    json_end(&j);
    assert_null(j.error);
    json_fail(&j, "any");
    assert_false(json_ahead(&j, "", 0));
}

static void test_peek(void **state)
{
    static const struct {
        const char *text;
        enum json_type type;
    } cases[] = {
        {"", JSON_ERROR},   {"x", JSON_ERROR},   {"]", JSON_ERROR},  {" {", JSON_OBJECT},
        {"[", JSON_ARRAY},  {"\"", JSON_STRING}, {"t", JSON_BOOL},   {"f", JSON_BOOL},
        {"n", JSON_NULL},   {"-", JSON_NUMBER},  {"7", JSON_NUMBER}, {"NaN", JSON_NUMBER},
        {"I", JSON_NUMBER},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json j;
        json_begin(&j, cases[i].text, strlen(cases[i].text));
        assert_int_equal(json_peek(&j), cases[i].type);
        assert_int_equal(json_peek(&j), cases[i].type);
        assert_int_equal(j.error != NULL, cases[i].type == JSON_ERROR);
    }
}

static void test_int(void **state)
{
    static const struct {
        const char *text, *error;
        int64_t value;
    } cases[] = {
        {"", "an integer is wanted", 0},
        {"null", "an integer is wanted", 0},
        {"\"1\"", "an integer is wanted", 0},
        {"NaN", "an integer is wanted", 0},
        {"Infinity", "an integer is wanted", 0},
        {"-Infinity", "not a number", 0},
        {"1.5", "an integer is wanted", 0},
        {"1e-1", "an integer is wanted", 0},
        {"9007199254740993.0", "an integer is wanted", 0}, /* a double cannot tell */
        {"1e300", "an integer is wanted", 0},
        {"1e400", "an integer is wanted", 0},
        {"9223372036854775808", "an integer beyond 64 bits", 0},
        {"-9223372036854775809", "an integer beyond 64 bits", 0},
        {"18446744073709551617", "an integer beyond 64 bits", 0},
        {"0", NULL, 0},
        {"-0", NULL, 0},
        {"3.0", NULL, 3},
        {"-3.00", NULL, -3},
        {"1e3", NULL, 1000},
        {"9007199254740993", NULL, 9007199254740993},
        {"9223372036854775807", NULL, INT64_MAX},
        {"-9223372036854775808", NULL, INT64_MIN},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json j;
        json_begin(&j, cases[i].text, strlen(cases[i].text));
        assert_int_equal(json_int(&j), cases[i].value);
        json_end(&j);
        if (!cases[i].error)
            assert_null(j.error);
        else
            assert_string_equal(j.error, cases[i].error);
    }
}

static void test_num(void **state)
{
    static const char *const bad[] = {
        "",         "true",     "\"\"",     "\"1\"",       "\"nan\"",       "\"NaN",
        "\"NaN\"x", "\"-NaN\"", "\" NaN\"", "\"Infinit\"", "\"+Infinity\"", "nulL",
        "[1]",      "1e400",    "-1e400",   "01"};
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},
        {"-1.5e2", -150},
        {"0.1", 0.1},
        {"9007199254740993", 0x1p53},
        {"1e-400", 0},
        {"Infinity", INFINITY},
        {"-Infinity", -INFINITY},
        {"\"Infinity\"", INFINITY},
        {"\"-Infinity\"", -INFINITY},
    };
    static const char *const nans[] = {"NaN", "\"NaN\"", "null", " NaN "};
    struct json j;
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        json_begin(&j, bad[i], strlen(bad[i]));
        double v = json_num(&j);
        assert_true(!j.error || v == 0);
        json_end(&j);
        if (!j.error)
            fail_msg("%s was read", bad[i]);
    }
    for (size_t i = 0; i < COUNT(good); i++) {
        json_begin(&j, good[i].text, strlen(good[i].text));
        assert_true(json_num(&j) == good[i].value);
        json_end(&j);
        assert_null(j.error);
    }
    for (size_t i = 0; i < COUNT(nans); i++) {
        json_begin(&j, nans[i], strlen(nans[i]));
        assert_true(isnan(json_num(&j)));
        json_end(&j);
        assert_null(j.error);
    }
}

/* After an error nothing moves, and the first reason and its place stay. */
static void test_after_error(void **state)
{
    struct json j;
    struct slice key = SLICE("old");
    (void)state;
    json_begin(&j, "[1,x,{\"a\":2}]", 13);
    json_array(&j);
    assert_true(json_item(&j));
    json_int(&j);
    assert_true(json_item(&j));
    assert_int_equal(json_int(&j), 0);
    const char *error = j.error, *place = j.p;
    assert_string_equal(error, "an integer is wanted");
    assert_int_equal(j.p - j.start, 3);
    assert_false(json_item(&j));
    json_object(&j);
    json_array(&j);
    assert_false(json_key(&j, &key));
    assert_int_equal(key.len, 0);
    assert_true(json_num(&j) == 0);
    assert_false(json_bool(&j));
    assert_int_equal(json_string(&j).len, 0);
    assert_int_equal(json_raw(&j).len, 0);
    assert_int_equal(json_peek(&j), JSON_ERROR);
    json_skip(&j);
    json_end(&j);
    json_fail(&j, "another");
    assert_ptr_equal(j.error, error);
    assert_ptr_equal(j.p, place);

    json_begin(&j, "{\"a\" 1}", 7);
    json_object(&j);
    assert_false(json_key(&j, &key));
    assert_int_equal(key.len, 0);

    json_begin(&j, "3", 1);
    json_int(&j);
    json_fail(&j, "3 is not wanted here");
    json_end(&j);
    assert_string_equal(j.error, "3 is not wanted here");
}

/* Whatever single byte of a good line is changed or lost, no check reads beyond it,
 * and json_skip() says the same as the typed calls. */
static const char *read_typed(const char *text, size_t len)
{
    struct json j;
    struct slice key;
    json_begin(&j, text, len);
    json_object(&j);
    while (json_key(&j, &key)) {
        switch (json_peek(&j)) {
        case JSON_STRING: json_string(&j); break;
        case JSON_NUMBER: json_num(&j); break;
        case JSON_BOOL: json_bool(&j); break;
        case JSON_ARRAY:
            json_array(&j);
            while (json_item(&j))
                json_skip(&j);
            break;
        default: json_skip(&j); break;
        }
    }
    json_end(&j);
    return j.error;
}

static void test_mutants(void **state)
{
    static const char line[] =
        "{\"a\":-1.5e3,\"b\":[1,\"\\u00e9\\ud83d\\ude00\xc3\xa9\"],"
        "\"c\":true,\"d\":null,\"e\":NaN}";
    size_t len = sizeof(line) - 1, no = 0, yes = 0;
    (void)state;
    assert_null(read_typed(line, len));
    for (size_t i = 0; i < len; i++) {
        assert_non_null(check(line, i));
        for (int c = 0; c < 256; c++) {
            char *copy = exact(line, len);
            copy[i] = (char)c;
            const char *error = check(copy, len);
            if (copy[0] == '{')
                assert_int_equal(error == NULL, read_typed(copy, len) == NULL);
            no += error != NULL;
            yes += error == NULL;
            free(copy);
        }
    }
    assert_true(no > 10 * yes && yes > len);
}

static void test_unescape(void **state)
{
    static const struct {
        const char *raw, *text;
        size_t len;
    } cases[] = {
        {"", "", 0},
        {"plain", "plain", 5},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8},
        {"a\\u0000b", "a\0b", 3},
        {"\\u007f\\u0080\\u07ff", "\x7f\xc2\x80\xdf\xbf", 5},
        {"\\u0800\\uFFFF", "\xe0\xa0\x80\xef\xbf\xbf", 6},
        {"\\ud800\\udc00\\uDBFF\\uDFFF", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\xc3\xa9\\u00e9", "\xc3\xa9\xc3\xa9", 4},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str s = STR_INIT;
        str_add(&s, ">");
        json_unescape(slice_of(cases[i].raw), &s);
        assert_int_equal(s.len, cases[i].len + 1);
        assert_memory_equal(s.p + 1, cases[i].text, cases[i].len);
        str_free(&s);
        char *text = json_text(slice_of(cases[i].raw));
        if (strlen(cases[i].text) == cases[i].len) {
            assert_non_null(text);
            assert_string_equal(text, cases[i].text);
        } else {
            assert_null(text);
        }
        free(text);
    }
}

static void test_put(void **state)
{
    struct str s = STR_INIT;
    (void)state;
    json_put_object(&s);
    json_put_key(&s, "i");
    json_put_int(&s, INT64_MIN);
    json_put_key(&s, "x");
    json_put_array(&s);
    json_put_num(&s, 3);
    json_put_num(&s, 0.1);
    json_put_num(&s, -1e-5);
    json_put_num(&s, 1e300);
    json_put_num(&s, NAN);
    json_put_num(&s, INFINITY);
    json_put_num(&s, -INFINITY);
    json_put_array(&s);
    json_put_close(&s, ']');
    json_put_object(&s);
    json_put_close(&s, '}');
    json_put_bool(&s, true);
    json_put_bool(&s, false);
    json_put_null(&s);
    json_put_raw(&s, SLICE("NaN"));
    json_put_str(&s, NULL);
    json_put_close(&s, ']');
    json_put_keyn(&s, SLICE("k\0\""));
    json_put_raw(&s, SLICE("[1, 2]"));
    json_put_close(&s, '}');
    str_addc(&s, '\n');
    json_put_object(&s);
    json_put_close(&s, '}');
    str_add(&s, "\nprefix ");
    json_put_int(&s, 1);
    assert_string_equal(
        s.p,
        "{\"i\":-9223372036854775808,\"x\":[3.0,0.1,-1e-05,1e+300,\"NaN\",\"Infinity\","
        "\"-Infinity\",[],{},true,false,null,NaN,\"\"],\"k\\u0000\\\"\":[1, 2]}\n"
        "{}\nprefix 1");
    str_free(&s);
}

static void test_put_str(void **state)
{
    static const struct {
        struct slice bytes;
        const char *json;
    } cases[] = {
        {{"\xff", 1}, "\"\xef\xbf\xbd\""},
        {{"a\xc3", 2}, "\"a\xef\xbf\xbd\""},
        {{"\xc3(", 2}, "\"\xef\xbf\xbd(\""},
        {{"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"", 0}, "\"\""},
        {{"\0", 1}, "\"\\u0000\""},
        {{"\"\\\b\f\n\r\t/\x1f\x7f", 10}, "\"\\\"\\\\\\b\\f\\n\\r\\t/\\u001f\x7f\""},
        {{" a/b ~'z", 8}, "\" a/b ~'z\""},
        {{"\xc3\xa9\xf0\x9f\x98\x80", 6}, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str s = STR_INIT;
        char *copy = exact(cases[i].bytes.p, cases[i].bytes.len);
        json_put_strn(&s, (struct slice){copy, cases[i].bytes.len});
        assert_string_equal(s.p, cases[i].json);
        assert_null(check(s.p, s.len));
        free(copy);
        str_free(&s);
    }
}

/* Random bytes: what the writer makes of them is read back; the same bytes, where
 * they were UTF-8. */
static void test_round_trip(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5000; i++) {
        char bytes[24];
        size_t n = rng_u64(5, RNG_TEST, i, 0, 0) % sizeof(bytes);
        for (uint32_t k = 0; k < n; k++) {
            uint64_t r = rng_u64(5, RNG_TEST, i, 1, k);
            bytes[k] = (char)(i % 2 ? r & 0x7f : r & 0xff);
        }
        struct str s = STR_INIT, back = STR_INIT, again = STR_INIT;
        struct json j;
        json_put_strn(&s, (struct slice){bytes, n});
        json_begin(&j, s.p, s.len);
        struct slice raw = json_string(&j);
        json_end(&j);
        assert_null(j.error);
        json_unescape(raw, &back);
        if (i % 2) {
            assert_int_equal(back.len, n);
            assert_memory_equal(back.p, bytes, n);
        }
        json_put_strn(&again, (struct slice){back.p, back.len});
        assert_string_equal(again.p, s.p);
        str_free(&s);
        str_free(&back);
        str_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_object),     cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_peek),       cmocka_unit_test(test_int),
        cmocka_unit_test(test_num),        cmocka_unit_test(test_after_error),
        cmocka_unit_test(test_mutants),    cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_put),        cmocka_unit_test(test_put_str),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
