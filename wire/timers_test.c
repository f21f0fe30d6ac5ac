#include "wire/timers.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_defaults(void **state)
{
    struct timers t;
    (void)state;
    timers_default(&t);
    assert_true(t.s[TIMER_BEAT] == 5);
    assert_true(t.s[TIMER_VIEW] == 1);
    assert_string_equal(timer_name(TIMER_BEAT), "BEAT");
    /* A controller is only silent when several beats went by without an answer. */
    assert_true(t.s[TIMER_CONTROLLER_SILENT] >= 2 * t.s[TIMER_BEAT] + t.s[TIMER_RESEND]);
    /* No agent leaves while one of its trials may still wait. */
    assert_true(t.s[TIMER_ORPHAN] > t.s[TIMER_DECISION]);
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        int rc;
        double beat, decision;
    } cases[] = {
        {"HEARTBEAT=1", -1, 5, 60},
        {"BEAT", -1, 5, 60},
        {"BEAT=", -1, 5, 60},
        {"BEAT=fast", -1, 5, 60},
        {"BEAT=0", -1, 5, 60},
        {"BEAT=-1", -1, 5, 60},
        {"BEAT=1,", -1, 5, 60},
        {",BEAT=1", -1, 5, 60},
        {"beat=1", -1, 5, 60},
        {"BEAT=1,DECISION=x", -1, 5, 60},
        {"BEAT=1 ,DECISION=2", -1, 5, 60},
        {NULL, 0, 5, 60},
        {"", 0, 5, 60},
        {"BEAT=0.2", 0, 0.2, 60},
        {"DECISION=2,BEAT=0.2", 0, 0.2, 2},
        {"BEAT=1,BEAT=2", 0, 2, 60},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct timers t;
        timers_default(&t);
        assert_int_equal(timers_parse(&t, cases[i].text), cases[i].rc);
        assert_true(t.s[TIMER_BEAT] == cases[i].beat);
        assert_true(t.s[TIMER_DECISION] == cases[i].decision);
    }
}

/* The row of doc/reliability.md that a timer must have. */
static char *row_of(int timer, double seconds)
{
    char number[NUM_MAX];
    struct str s = STR_INIT;
    num_format_short(number, seconds, 6);
    str_addf(&s, "| `%s` | %s | %s |\n", timer_name(timer), number, timer_reason(timer));
    return str_take(&s);
}

static void test_document(void **state)
{
    const char *top = getenv("top_srcdir");
    char *path = path_join(top ? top : ".", "doc/reliability.md");
    struct str text = STR_INIT;
    struct timers t;
    (void)state;
    timers_default(&t);
    assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
    const char *p =
        strstr(text.p, "| timer | seconds | what it is for |\n|---|---|---|\n");
    assert_non_null(p);
    p = strstr(p, "---|\n") + 5;
    for (int i = 0; i < TIMERS; i++) {
        char *row = row_of(i, t.s[i]);
        if (strncmp(p, row, strlen(row)) != 0)
            fail_msg("doc/reliability.md wants: %s", row);
        p += strlen(row);
        free(row);
    }
    assert_int_not_equal(*p, '|');
    str_free(&text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_document),
    };
    return cmocka_run_group_tests_name("wire/timers", tests, NULL, NULL);
}
