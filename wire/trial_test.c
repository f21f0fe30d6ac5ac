#include "wire/trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct trial_line line = {.names = STR_INIT};

static int parse(const char *text, struct err *e)
{
    return trial_line_parse(text, strlen(text), &line, e);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not a JSON object: an object is wanted"},
        {"loss 0.3", "not a JSON object: an object is wanted"},
        {"[1]", "not a JSON object"},
        {"{\"step\":1", "not a JSON object: ',' or '}' is wanted"},
        {"{\"step\":1} x", "not a JSON object: text after the value"},
        {"{}", "neither step nor saved"},
        {"{\"metrics\":{\"loss\":1}}", "metrics without a step"},
        {"{\"saved\":1,\"metrics\":{}}", "metrics without a step"},
        {"{\"step\":-1}", "step: a step is 0 or more"},
        {"{\"step\":1.5}", "step: an integer is wanted"},
        {"{\"step\":\"1\"}", "step: an integer is wanted"},
        {"{\"step\":null}", "step: an integer is wanted"},
        {"{\"step\":9223372036854775808}", "step: an integer beyond 64 bits"},
        {"{\"saved\":-3}", "saved: a step is 0 or more"},
        {"{\"step\":1,\"metric\":{\"loss\":1}}", "did you mean 'metrics'?"},
        {"{\"step\":1,\"frobnicate\":1}", "there are step, metrics and saved"},
        {"{\"step\":1,\"metrics\":[1]}", "metrics: an object is wanted"},
        {"{\"step\":1,\"metrics\":{\"loss\":\"low\"}}",
         "metric 'loss': a number is wanted"},
        {"{\"step\":1,\"metrics\":{\"loss\":true}}", "metric 'loss': a number is wanted"},
        {"{\"step\":1,\"metrics\":{\"loss\":[1]}}", "metric 'loss': a number is wanted"},
        {"{\"step\":1,\"metrics\":{\"loss\":1e999}}", "metric 'loss': a number beyond"},
        {"{\"step\":1,\"metrics\":{\"\":1}}", "a metric without a name"},
        {"{\"step\":1,\"metrics\":{\"a\\nb\":1}}", "a control character"},
        {"{\"step\":1,\"metrics\":{\"a\\u007f\":1}}", "a control character"},
        {"{\"step\":1,\"metrics\":{\"\\u009b31m\":1}}", "a control character"},
        {"{\"step\":1,\"metrics\":{\"rung\":1}}", "'rung' is rung's own"},
        {"{\"step\":1,\"metrics\":{\"\\u0074ime\":1}}", "'time' is rung's own"},
        {"{\"step\":1,\"metrics\":{\"a\":1,\"b\":2,\"a\":3}}", "metric 'a' twice"},
        {"{\"step\":1,\"metrics\":{\"a\xff\":1}}", "invalid UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {0};
        assert_int_equal(parse(cases[i].text, &e), ERR_PROTO);
        if (!strstr(e.text, cases[i].why))
            fail_msg("%s: %s", cases[i].text, e.text);
        assert_int_equal(parse(cases[i].text, NULL), ERR_PROTO);
    }
}

static void put_metrics(struct str *s, int n)
{
    str_add(s, "{\"step\":1,\"metrics\":{");
    for (int i = 0; i < n; i++)
        str_addf(s, "%s\"m%d\":%d", i ? "," : "", i, i);
    str_add(s, "}}");
}

static void put_name(struct str *s, int length)
{
    str_add(s, "{\"step\":1,\"metrics\":{\"");
    for (int i = 0; i < length; i++)
        str_addc(s, 'x');
    str_add(s, "\":1}}");
}

static void test_limits(void **state)
{
    struct err e;
    struct str s = STR_INIT;
    (void)state;
    put_metrics(&s, TRIAL_METRICS_MAX + 1);
    assert_int_equal(parse(s.p, &e), ERR_PROTO);
    assert_string_equal(e.text, "more than 1000 metrics");
    str_cut(&s, 0);
    put_metrics(&s, TRIAL_METRICS_MAX);
    assert_int_equal(parse(s.p, NULL), 0);
    assert_int_equal(line.metrics.n, TRIAL_METRICS_MAX);
    assert_true(line.metrics.v[999].value == 999);
    assert_true(slice_eq(line.metrics.v[999].name, "m999"));
    str_cut(&s, 0);
    put_name(&s, TRIAL_NAME_MAX + 1);
    assert_int_equal(parse(s.p, &e), ERR_PROTO);
    assert_non_null(strstr(e.text, "has more than 128 bytes"));
    str_cut(&s, 0);
    put_name(&s, TRIAL_NAME_MAX);
    assert_int_equal(parse(s.p, NULL), 0);
    str_cut(&s, 0);
    put_name(&s, TRIAL_LINE_MAX);
    assert_int_equal(parse(s.p, &e), ERR_PROTO);
    assert_non_null(strstr(e.text, "a line of more than"));
    str_free(&s);
}

static void test_read(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"step\": 3, \"metrics\": {\"val_loss\": 0.21}}\n", NULL),
                     0);
    assert_true(line.report && !line.saved);
    assert_int_equal(line.step, 3);
    assert_int_equal(line.metrics.n, 1);
    assert_true(slice_eq(line.metrics.v[0].name, "val_loss"));
    assert_true(line.metrics.v[0].value == 0.21);

    assert_int_equal(parse("{\"saved\":7}", NULL), 0);
    assert_true(line.saved && !line.report && line.saved_step == 7);
    assert_int_equal(line.metrics.n, 0);

    assert_int_equal(parse("{\"metrics\":{\"a\\\"\\u00e9\":NaN,\"b\":\"-Infinity\","
                           "\"c\":null,\"d\":Infinity},\"saved\":3,\"step\":4.0}",
                           NULL),
                     0);
    assert_true(line.report && line.saved && line.step == 4 && line.saved_step == 3);
    assert_int_equal(line.metrics.n, 4);
    assert_true(slice_eq(line.metrics.v[0].name, "a\"\xc3\xa9"));
    assert_true(isnan(line.metrics.v[0].value));
    assert_true(line.metrics.v[1].value == -INFINITY);
    assert_true(isnan(line.metrics.v[2].value));
    assert_true(line.metrics.v[3].value == INFINITY);

    assert_int_equal(parse("{\"step\":0}", NULL), 0);
    assert_true(line.report && line.step == 0 && line.metrics.n == 0);
}

static void test_answers(void **state)
{
    struct str s = STR_INIT;
    (void)state;
    trial_answer(&s, DECISION_CONTINUE, 9, false);
    trial_answer(&s, DECISION_CONTINUE, 27, true);
    trial_answer(&s, DECISION_PAUSE, -1, false);
    trial_answer(&s, DECISION_STOP, -1, false);
    trial_answer_error(&s, "metric 'a\"b' twice");
    assert_string_equal(s.p, "{\"decision\":\"continue\",\"until\":9}\n"
                             "{\"decision\":\"continue\",\"until\":27,\"save\":true}\n"
                             "{\"decision\":\"pause\"}\n"
                             "{\"decision\":\"stop\"}\n"
                             "{\"error\":\"metric 'a\\\"b' twice\"}\n");
    str_free(&s);
}

static int end(void **state)
{
    (void)state;
    trial_line_free(&line);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests_name("wire/trial", tests, NULL, end);
}
