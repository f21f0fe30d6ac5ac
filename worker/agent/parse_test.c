#include "worker/agent/parse.h"

#include "base/num.h"
#include "base/str.h"
#include "worker/agent/run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void bad_expressions(void **state)
{
    static const struct {
        const char *expression, *says;
        size_t offset;
    } cases[] = {
        {"(?<step>\\d+", "missing closing parenthesis, at character 12", 11},
        {"(?<step>[)(?<loss>.)", "missing terminating ]", 20},
        {"(?<step>\\d+) (?<step>\\d+)", "two named subpatterns have the same name", 21},
        {"", "no group named step", 0},
        {"step (\\d+) loss (\\S+)", "no group named step", 0},
        {"(?<loss>\\S+)", "no group named step", 0},
        {"(?<step>\\d+) (\\S+)", "no named group for a metric", 0},
        {"(?<step>\\d+) (?<time>\\S+)", "'time'", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parse *p = NULL;
        struct err e = {0};
        size_t offset = 99;
        assert_int_equal(parse_check(cases[i].expression, NULL, &offset, &e), ERR_SYNTAX);
        if (!strstr(e.text, cases[i].says) || offset != cases[i].offset)
            fail_msg("%s: %s, offset %zu", cases[i].expression, e.text, offset);
        assert_int_equal(parse_new(cases[i].expression, &p, &e), ERR_SYNTAX);
        assert_null(p);
        assert_int_equal(parse_check(cases[i].expression, NULL, NULL, NULL), ERR_SYNTAX);
    }
    assert_int_equal(parse_check("(?<step>\\d+) (?<loss>\\S+)", NULL, NULL, NULL), 0);
}

static void the_metric_is_looked_for(void **state)
{
    static const char expression[] = "(?<step>\\d+) (?<acc>\\S+) (?<loss>\\S+)";
    struct err e = {0};
    (void)state;
    assert_int_equal(parse_check(expression, "los", NULL, &e), ERR_SYNTAX);
    assert_string_equal(e.text, "there is no group named los, the metric: (?<los>...)");
    assert_int_equal(parse_check(expression, "val/loss", NULL, &e), ERR_SYNTAX);
    assert_string_equal(e.text, "no group can have the name of the metric: give it one "
                                "of letters, digits and '_'");
    assert_int_equal(parse_check(expression, "loss", NULL, &e), 0);
}

/* "7: loss=0.5 acc=nan", or "" where the line makes no report. */
static void show(struct parse *p, const char *line, int64_t *step, struct str *out)
{
    const struct metric *m;
    char number[NUM_MAX];
    int n;
    if (!parse_line(p, line, strlen(line), step, &m, &n))
        return;
    str_addf(out, "%lld:", (long long)*step);
    for (int i = 0; i < n; i++) {
        num_format(number, m[i].value);
        str_addf(out, " %.*s=%s", (int)m[i].name.len, m[i].name.p, number);
    }
}

#define KERAS "^Epoch (?<step>\\d+)/|val_loss: (?<val_loss>\\S+)"
#define PLAIN "step=(?<step>\\S+).* loss=(?<loss>\\S+)(?: acc=(?<acc>.+))?$"

static void reports(void **state)
{
    static const struct {
        const char *expression, *line;
        int64_t before;
        const char *report;
    } cases[] = {
        {PLAIN, "", 3, ""},
        {PLAIN, "nothing of interest", 3, ""},
        {PLAIN, "step=x loss=1", 3, ""},
        {PLAIN, "step=-1 loss=1", 3, ""},
        {PLAIN, "step=1.5 loss=1", 3, ""},
        {PLAIN, "step=nan loss=1", 3, ""},
        {PLAIN, "step=9007199254740993 loss=1", 3, ""},
        {PLAIN, "step=3 loss=x", 3, ""}, /* nothing new in it */
        {PLAIN, "step=4 loss=x", 3, "4:"},
        {PLAIN, "step=0 loss=1", -1, "0: loss=1.0"},
        {PLAIN, "step=1 loss=0.25", -1, "1: loss=0.25"},
        {PLAIN, "[16:20] step=3.0 lr=1 loss=1e-3 acc= 0.5 ", 9, "3: loss=0.001 acc=0.5"},
        {PLAIN, "step=2 loss=nan acc=-inf", 1, "2: loss=nan acc=-inf"},
        {PLAIN, "step=2 loss=-NaN acc=+Infinity", 1, "2: loss=nan acc=inf"},
        {PLAIN, "step=2 loss=nanometre acc=1,5", 1, "2:"},
        {PLAIN, "step=2 loss=\xff\xfe", 1, "2:"},
        {KERAS, "Epoch 7/20", 6, "7:"},
        {KERAS, "Epoch 7/20", 7, ""},
        {KERAS, "100/100 - loss: 0.3 - val_loss: 0.21", 7, "7: val_loss=0.21"},
        {KERAS, "100/100 - loss: 0.3 - val_loss: 0.21", -1, ""},
        {"(?J)(?<step>\\d+) (?:a(?<x>\\S+)|b(?<x>\\S+))", "1 b7", -1, "1: x=7.0"},
        {"(?J)(?<step>\\d+) (?<x>\\S+) (?<x>\\S+)", "1 2 3", -1, "1: x=2.0"},
        {"(*UTF)(?<step>\\d+) \u00e9 (?<x>\\S+)", "1 \u00e9 2", -1, "1: x=2.0"},
        {"(*UTF)(?<step>\\d+) (?<x>.+)", "1 \xff", -1, ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parse *p;
        struct str out = STR_INIT;
        int64_t step = cases[i].before;
        assert_int_equal(parse_new(cases[i].expression, &p, NULL), 0);
        show(p, cases[i].line, &step, &out);
        if (strcmp(out.p, cases[i].report) != 0)
            fail_msg("%s: '%s'", cases[i].line, out.p);
        if (!*cases[i].report)
            assert_int_equal(step, cases[i].before);
        str_free(&out);
        parse_free(p);
    }
}

/* A line is given up rather than tried for years; the next one is as good as ever. */
static void endless_matching(void **state)
{
    static char line[PARSE_LINE_MAX];
    struct parse *p;
    struct str out = STR_INIT;
    int64_t step = 0;
    (void)state;
    assert_int_equal(parse_new("^(a+)+(?<step>\\d+) (?<x>\\d+)", &p, NULL), 0);
    memset(line, 'a', sizeof(line) - 1);
    for (int i = 0; i < 20; i++)
        show(p, line, &step, &out);
    assert_string_equal(out.p, "");
    show(p, "aa1 2", &step, &out);
    assert_string_equal(out.p, "1: x=2.0");
    str_free(&out);
    parse_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_expressions),
        cmocka_unit_test(the_metric_is_looked_for),
        cmocka_unit_test(reports),
        cmocka_unit_test(endless_matching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
