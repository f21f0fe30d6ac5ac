#include "worker/agent/parse.h"

#include "base/mem.h"
#include "base/num.h"
#include "worker/agent/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* What one line may cost: an expression like (a+)+b would try for years. */
#define MATCH_LIMIT 100000
#define JIT_STACK   (512 * 1024)

#define GROUP_LETTERS "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

struct group {
    int number;
    struct slice name; /* in the compiled expression */
};

struct parse {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct group
        *groups; /* the named ones, `step` too; of a name given twice ((?J)) both */
    int n_groups;
    struct metric *metrics;
};

static int by_number(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* In the order of the expression; PCRE2 has them by name. */
static void read_groups(struct parse *p)
{
    uint32_t n = 0, size = 0;
    PCRE2_SPTR table = NULL;
    pcre2_pattern_info(p->code, PCRE2_INFO_NAMECOUNT, &n);
    pcre2_pattern_info(p->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(p->code, PCRE2_INFO_NAMETABLE, &table);
    p->n_groups = (int)n;
    p->groups = mem_alloc((n + 1) * sizeof(*p->groups));
    p->metrics = mem_alloc((n + 1) * sizeof(*p->metrics));
    for (uint32_t i = 0; i < n; i++, table += size) /* number in two bytes, name, NUL */
        p->groups[i] =
            (struct group){table[0] << 8 | table[1], slice_of((const char *)table + 2)};
    qsort(p->groups, n, sizeof(*p->groups), by_number);
}

static bool is_step(const struct group *g)
{
    return slice_eq(g->name, "step");
}

static int check_groups(const struct parse *p, struct err *e)
{
    static const char *const reserved[] = {"trial", "attempt", "rung", "time", "elapsed"};
    int steps = 0;
    for (int i = 0; i < p->n_groups; i++) {
        steps += is_step(&p->groups[i]);
        for (size_t k = 0; k < sizeof(reserved) / sizeof(*reserved); k++)
            if (slice_eq(p->groups[i].name, reserved[k]))
                return err_set(e, ERR_SYNTAX,
                               "'%s' is a name of rung's own, not of a metric",
                               reserved[k]);
    }
    if (steps == 0)
        return err_set(e, ERR_SYNTAX, "there is no group named step, like (?<step>\\d+)");
    if (steps == p->n_groups)
        return err_set(e, ERR_SYNTAX,
                       "there is no named group for a metric, like (?<loss>\\S+)");
    return 0;
}

static int compile(struct parse *p, const char *expression, size_t *offset, struct err *e)
{
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR text[200];
    int code;
    if (offset)
        *offset = 0;
    p->code =
        pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);
    if (!p->code) {
        if (offset)
            *offset = at;
        pcre2_get_error_message(code, text, sizeof(text));
        return err_set(e, ERR_SYNTAX, "%s, at character %zu", (char *)text,
                       (size_t)at + 1);
    }
    read_groups(p);
    return check_groups(p, e);
}

static int check_metric(const struct parse *p, const char *metric, struct err *e)
{
    for (int i = 0; i < p->n_groups; i++)
        if (slice_eq(p->groups[i].name, metric))
            return 0;
    if (metric[strspn(metric, GROUP_LETTERS)])
        return err_set(e, ERR_SYNTAX,
                       "no group can have the name of the metric: give it one of "
                       "letters, digits and '_'");
    return err_set(e, ERR_SYNTAX, "there is no group named %s, the metric: (?<%s>...)",
                   metric, metric);
}

int parse_check(const char *expression, const char *metric, size_t *offset, struct err *e)
{
    struct parse p = {0};
    int rc = compile(&p, expression, offset, e);
    if (rc == 0 && metric)
        rc = check_metric(&p, metric, e);
    pcre2_code_free(p.code);
    free(p.groups);
    free(p.metrics);
    return rc;
}

int parse_new(const char *expression, struct parse **out, struct err *e)
{
    struct parse *p = mem_alloc(sizeof(*p));
    int rc = compile(p, expression, NULL, e);
    if (rc) {
        parse_free(p);
        return rc;
    }
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without JIT: slower, the same */
    p->match = pcre2_match_data_create_from_pattern(p->code, NULL);
    p->context = pcre2_match_context_create(NULL);
    p->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK, NULL);
    pcre2_set_match_limit(p->context, MATCH_LIMIT);
    pcre2_jit_stack_assign(p->context, NULL, p->stack);
    *out = p;
    return 0;
}

void parse_free(struct parse *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->context);
    pcre2_jit_stack_free(p->stack);
    free(p->groups);
    free(p->metrics);
    free(p);
}

bool parse_value(const char *text, size_t n, double *out)
{
    static const struct {
        const char *word;
        double value;
    } words[] = {{"nan", NAN}, {"inf", INFINITY}, {"infinity", INFINITY}};
    if (num_parse(text, n, out) == 0)
        return true;
    size_t sign = n > 0 && (*text == '-' || *text == '+');
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strlen(words[i].word) == n - sign &&
            strncasecmp(text + sign, words[i].word, n - sign) == 0) {
            *out = sign && *text == '-' ? -words[i].value : words[i].value;
            return true;
        }
    return false;
}

/* A step may be printed as 3, 3.0 or 3e2. */
static bool read_step(struct slice text, int64_t *step)
{
    double v;
    if (!parse_value(text.p, text.len, &v) || !(v >= 0 && v < 0x1p53) || v != floor(v))
        return false;
    *step = (int64_t)v;
    return true;
}

/* What a group matched, blanks around it left out; false when it took no part. */
static bool group_text(const struct parse *p, const char *line, const struct group *g,
                       struct slice *text)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->match) + 2 * g->number;
    if (at[0] == PCRE2_UNSET || at[1] < at[0]) /* \K may set a match's start behind it */
        return false;
    const char *first = line + at[0], *end = line + at[1];
    while (first < end && (*first == ' ' || *first == '\t'))
        first++;
    while (end > first && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *text = (struct slice){first, (size_t)(end - first)};
    return true;
}

static void add_metric(struct parse *p, int *count, struct slice name, struct slice text)
{
    double value;
    if (!parse_value(text.p, text.len, &value))
        return;
    for (int i = 0; i < *count; i++)
        if (slice_eq(p->metrics[i].name, name.p))
            return;
    p->metrics[(*count)++] = (struct metric){name, value};
}

bool parse_line(struct parse *p, const char *line, size_t n, int64_t *step,
                const struct metric **metrics, int *n_metrics)
{
    int64_t at = *step;
    int count = 0;
    struct slice text;
    if (pcre2_match(p->code, (PCRE2_SPTR)line, n, 0, 0, p->match, p->context) <= 0)
        return false;
    for (int i = 0; i < p->n_groups; i++) {
        const struct group *g = &p->groups[i];
        if (!group_text(p, line, g, &text))
            continue;
        if (!is_step(g))
            add_metric(p, &count, g->name, text);
        else if (!read_step(text, &at))
            return false;
    }
    if (at < 0 || (count == 0 && at == *step))
        return false;
    *step = at;
    *metrics = p->metrics;
    *n_metrics = count;
    return true;
}
