#include "config.h"

#include "gpu/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef HAVE_CUPTI
#include <cupti.h>
#endif

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

#ifdef HAVE_CUPTI

/* ---- a CUPTI for tests, in its library's place ---- */

static struct {
    CUpti_BuffersCallbackRequestFunc give;
    CUpti_BuffersCallbackCompleteFunc take;
    int behind; /* kernels that come when all that is there is asked for */
    int n, at;  /* those of a buffer; how many of them were read */
    size_t dropped;
} cupti;

CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc give,
                                           CUpti_BuffersCallbackCompleteFunc take)
{
    cupti.give = give;
    cupti.take = take;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind)
{
    (void)kind;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind)
{
    (void)kind;
    return CUPTI_SUCCESS;
}

/* Kernel i goes from 1000 i to 1000 i + 100. */
CUptiResult cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, CUpti_Activity **a)
{
    CUpti_ActivityKernel10 *kernels = (void *)buffer, *kernel = &kernels[cupti.at];

    if (cupti.at == cupti.n)
        return CUPTI_ERROR_MAX_LIMIT_REACHED;
    cupti.at++;
    assert_true((size_t)cupti.at * sizeof(*kernel) <= valid);
    *kernel = (CUpti_ActivityKernel10){.kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                       .start = 1000 * (uint64_t)cupti.at,
                                       .end = 1000 * (uint64_t)cupti.at + 100,
                                       .name = cupti.at % 2 ? "chunk_sums"
                                                            : "gather_of<float>"};
    *a = (CUpti_Activity *)kernel;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext context, uint32_t stream,
                                              size_t *dropped)
{
    (void)context, (void)stream;
    *dropped = cupti.dropped;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiGetResultString(CUptiResult result, const char **text)
{
    (void)result;
    *text = "of a CUPTI for tests";
    return CUPTI_SUCCESS;
}

/* A buffer is given and taken, with n kernels. */
static void bring(int n)
{
    uint8_t *buffer;
    size_t size, most;

    cupti.n = n;
    cupti.at = 0;
    cupti.give(&buffer, &size, &most);
    assert_non_null(buffer);
    cupti.take(NULL, 0, buffer, size, (size_t)n * sizeof(CUpti_ActivityKernel10));
}

CUptiResult cuptiActivityFlushAll(uint32_t flag)
{
    (void)flag;
    bring(cupti.behind);
    return CUPTI_SUCCESS;
}

static void test_a_trace_has_what_cupti_brings(void **state)
{
    (void)state;
    struct trace_span *spans;
    struct err e;
    size_t n;
    struct trace *t = trace_begin(&e);

    cupti.behind = 3;
    bring(2);
    assert_int_equal(trace_end(t, &spans, &n, &e), 0);
    assert_int_equal(n, 5);
    assert_seconds(trace_covered(spans, n, true), 300e-9);
    assert_seconds(trace_covered(spans, n, false), 200e-9);
    trace_free(t);
}

static void test_a_trace_of_nothing_fails(void **state)
{
    (void)state;
    struct trace_span *spans;
    struct err e;
    size_t n;
    struct trace *t = trace_begin(&e);

    cupti.behind = 0;
    assert_int_equal(trace_end(t, &spans, &n, &e), ERR_NOENT);
    trace_free(t);
}

static void test_what_cupti_loses_is_said(void **state)
{
    (void)state;
    struct trace_span *spans;
    struct err e;
    size_t n;
    struct trace *t = trace_begin(&e);

    cupti.behind = 3;
    cupti.dropped = 1;
    assert_int_equal(trace_end(t, &spans, &n, &e), ERR_FULL);
    cupti.dropped = 0;
    trace_free(t);
}

/* CUPTI may bring a buffer when nobody wants it any more, as at the process's end. */
static void test_a_buffer_may_come_after_the_trace(void **state)
{
    (void)state;
    struct trace_span *spans;
    struct err e;
    size_t n;
    struct trace *t = trace_begin(&e);

    cupti.behind = 3;
    assert_int_equal(trace_end(t, &spans, &n, &e), 0);
    trace_free(t);
    bring(2);
    assert_int_equal(cupti.at, 0); /* nobody has read it */
    t = trace_begin(&e);
    assert_int_equal(trace_end(t, &spans, &n, &e), 0);
    assert_int_equal(n, 3);
    trace_free(t);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_is_counted_once),
        cmocka_unit_test(test_gathering_beside_other_work_is_no_wait),
#ifdef HAVE_CUPTI
        cmocka_unit_test(test_a_trace_has_what_cupti_brings),
        cmocka_unit_test(test_a_trace_of_nothing_fails),
        cmocka_unit_test(test_what_cupti_loses_is_said),
        cmocka_unit_test(test_a_buffer_may_come_after_the_trace),
#endif
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
