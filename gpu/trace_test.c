#include "gpu/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void assert_seconds(double got, double want)
{
    assert_true(got > want * 0.999999 && got < want * 1.000001);
}

static void test_time_is_counted_once(void **state)
{
    (void)state;
    struct trace_span spans[] = {
        {5000, 6000, false},                      /* alone, and out of order */
        {1000, 2000, false}, {1500, 2500, false}, /* the one goes on in the other */
        {1200, 1300, false},                      /* within */
        {2500, 2600, false},                      /* at once behind */
    };

    assert_seconds(trace_covered(spans, COUNT(spans), true), 2600e-9);
    assert_true(trace_covered(spans, 0, true) == 0);
}

static void test_gathering_beside_other_work_is_no_wait(void **state)
{
    (void)state;
    struct trace_span spans[] = {
        {1000, 2000, false}, {1100, 1900, true}, {1900, 2300, true}, {3000, 4000, false}};

    assert_seconds(trace_covered(spans, COUNT(spans), true), 2300e-9);
    assert_seconds(trace_covered(spans, COUNT(spans), false), 2000e-9);
}

/* Only where there is a GPU, and CUPTI. */
static void test_a_trace_of_nothing_fails(void **state)
{
    (void)state;
    struct trace_span *spans;
    struct err e;
    size_t n;
    struct trace *t = trace_begin(&e);

    if (!t)
        skip();
    assert_int_equal(trace_end(t, &spans, &n, &e), ERR_NOENT);
    trace_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_is_counted_once),
        cmocka_unit_test(test_gathering_beside_other_work_is_no_wait),
        cmocka_unit_test(test_a_trace_of_nothing_fails),
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
