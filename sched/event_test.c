#include "sched/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

static void test_no_names(void **state)
{
    static const char *const bad[] = {"", "repor", "reports", "Report", " report", "?"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct slice name = slice_of(bad[i]);

        assert_int_equal(event_kind_of(name), EVENT_NONE);
        assert_int_equal(decision_of(name), DECISION_NONE);
        assert_int_equal(outcome_of(name), -1);
        assert_int_equal(cause_of(name), -1);
    }
    assert_int_equal(event_kind_of((struct slice){"report\0", 7}), EVENT_NONE);
    assert_int_equal(event_kind_of(SLICE("none")), EVENT_NONE);
}

static void test_names_and_back(void **state)
{
    (void)state;
    for (int k = EVENT_NONE + 1; k < EVENT_KINDS; k++)
        assert_int_equal(event_kind_of(slice_of(event_name((enum event_kind)k))), k);
    for (int d = DECISION_NONE; d <= DECISION_STOP; d++)
        assert_int_equal(decision_of(slice_of(decision_name((enum decision)d))), d);
    for (int o = 0; o < OUTCOMES; o++)
        assert_int_equal(outcome_of(slice_of(outcome_name((enum outcome)o))), o);
    for (int c = 0; c < CAUSES; c++)
        assert_int_equal(cause_of(slice_of(cause_name((enum end_cause)c))), c);
    assert_string_equal(event_name(EVENT_NONE), "none");
    assert_string_equal(event_name(EVENT_REPORT), "report");
    assert_string_equal(decision_name(DECISION_NONE), "none");
    assert_string_equal(decision_name(DECISION_CONTINUE), "continue");
    assert_string_equal(outcome_name(OUTCOME_NODE_FAIL), "node_fail");
    assert_string_equal(cause_name(CAUSE_AGENT_GONE), "agent_gone");
}

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(outcome_class(OUTCOME_PAUSED), OUTCOME_IS_OWN);
    assert_int_equal(outcome_class(OUTCOME_HUNG), OUTCOME_IS_FAULT);
    assert_int_equal(outcome_class(OUTCOME_PREEMPTED), OUTCOME_IS_SITE);
    assert_int_equal(outcome_class(OUTCOME_LAUNCH_FAILED), OUTCOME_IS_SITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_names_and_back),
        cmocka_unit_test(test_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
