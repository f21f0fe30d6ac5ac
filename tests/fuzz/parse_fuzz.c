/* `parse:`: any expression, in the first line of the input, is compiled or refused; the
 * rest is a program's output, of which it makes reports that are whole, twice the same.
 */
#include "base/num.h"
#include "base/vec.h"
#include "tests/fuzz/fuzz.h"
#include "worker/agent/lines.h"
#include "worker/agent/parse.h"
#include "worker/agent/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct parse *parse;
    int64_t step;
    struct str said;
};

static void read_line(void *ctx, const char *line, size_t n, bool cut)
{
    struct reading *r = ctx;
    const struct metric *m;
    int count;

    (void)cut;
    if (!parse_line(r->parse, line, n, &r->step, &m, &count))
        return;
    FUZZ_CHECK(r->step >= 0 && count >= 0);
    str_addf(&r->said, "%lld", (long long)r->step);
    for (int i = 0; i < count; i++) {
        FUZZ_CHECK(m[i].name.len > 0);
        str_addf(&r->said, " %.*s=%a", (int)m[i].name.len, m[i].name.p, m[i].value);
    }
    str_addc(&r->said, '\n');
}

static void read_all(struct parse *p, struct slice text, struct str *said)
{
    struct reading r = {p, -1, STR_INIT};
    struct lines l = LINES_INIT;

    lines_feed(&l, text.p, text.len, PARSE_LINE_MAX, "\n\r", read_line, &r);
    lines_finish(&l, read_line, &r);
    lines_free(&l);
    *said = r.said;
}

/* A number is what C's strtod() makes of all of it. */
static void one_value(struct slice text)
{
    char *word = fuzz_text(text), *end;
    double v, c;

    if (strlen(word) == text.len && parse_value(text.p, text.len, &v)) {
        c = strtod(word, &end);
        FUZZ_CHECK(*end == '\0' && (c == v || (isnan(c) && isnan(v))));
    }
    free(word);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = {(const char *)data, n}, line;
    struct str once, twice;
    struct parse *p;
    struct err e;
    size_t offset;
    char *expression;
    int rc;

    if (!fuzz_line(&rest, &line))
        return 0;
    one_value(line);
    expression = fuzz_text(line);
    rc = parse_check(expression, NULL, &offset, &e);
    FUZZ_CHECK(rc == 0 || (rc == ERR_SYNTAX && *e.text && offset <= strlen(expression)));
    FUZZ_CHECK(parse_new(expression, &p, NULL) == rc);
    free(expression);
    if (rc)
        return 0;
    read_all(p, rest, &once);
    read_all(p, rest, &twice);
    FUZZ_SAME(&once, &twice);
    str_free(&once);
    str_free(&twice);
    parse_free(p);
    return 0;
}
