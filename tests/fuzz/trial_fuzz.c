/* What a program says on its socket: the stream falls into the same lines wherever it is
 * cut, and what a line was read as, written again, reads as the same. */
#include "base/json.h"
#include "base/vec.h"
#include "tests/fuzz/fuzz.h"
#include "wire/trial.h"
#include "worker/agent/lines.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_HERE 200 /* so that inputs can reach it */

static void gather(void *ctx, const char *line, size_t n, bool cut)
{
    struct str *out = ctx;

    FUZZ_CHECK(n <= LINE_MAX_HERE && (!cut || n == LINE_MAX_HERE));
    str_addn(out, line, n);
    str_addf(out, "\n%d\n", cut);
}

/* The lines of a stream that comes `piece` bytes at a time. */
static void split(const char *data, size_t n, size_t piece, const char *ends,
                  struct str *out)
{
    struct lines l = LINES_INIT;

    for (size_t at = 0; at < n; at += piece)
        lines_feed(&l, data + at, n - at < piece ? n - at : piece, LINE_MAX_HERE, ends,
                   gather, out);
    lines_finish(&l, gather, out);
    lines_free(&l);
}

static void cuts(const char *data, size_t n, const char *ends)
{
    const size_t pieces[] = {1, 2 + n % 210};
    struct str whole = STR_INIT, cut = STR_INIT;

    split(data, n, n + 1, ends, &whole);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        str_cut(&cut, 0);
        split(data, n, pieces[i], ends, &cut);
        FUZZ_SAME(&whole, &cut);
    }
    str_free(&whole);
    str_free(&cut);
}

static void write_line(const struct trial_line *l, struct str *out)
{
    json_put_object(out);
    if (l->report) {
        json_put_key(out, "step");
        json_put_int(out, l->step);
        json_put_key(out, "metrics");
        json_put_object(out);
        for (size_t i = 0; i < l->metrics.n; i++) {
            json_put_keyn(out, l->metrics.v[i].name);
            json_put_num(out, l->metrics.v[i].value);
        }
        json_put_close(out, '}');
    }
    if (l->saved) {
        json_put_key(out, "saved");
        json_put_int(out, l->saved_step);
    }
    json_put_close(out, '}');
}

/* An answer is one line of JSON, whatever it tells of. */
static void check_answer(const struct str *answer)
{
    struct json j;

    FUZZ_CHECK(answer->len > 0 && answer->p[answer->len - 1] == '\n');
    FUZZ_CHECK(!memchr(answer->p, '\n', answer->len - 1));
    json_begin(&j, answer->p, answer->len);
    json_skip(&j);
    json_end(&j);
    FUZZ_CHECK(!j.error);
}

static void one_line(struct slice line, struct trial_line *l)
{
    struct str once = STR_INIT, twice = STR_INIT, answer = STR_INIT;
    struct err e;
    int rc = trial_line_parse(line.p, line.len, l, &e);

    if (rc) {
        FUZZ_CHECK(rc == ERR_PROTO && *e.text);
        trial_answer_error(&answer, e.text);
    } else {
        FUZZ_CHECK(l->report || l->saved);
        FUZZ_CHECK(l->step >= 0 && l->saved_step >= 0 &&
                   l->metrics.n <= TRIAL_METRICS_MAX);
        write_line(l, &once);
        FUZZ_CHECK(trial_line_parse(once.p, once.len, l, &e) == 0);
        write_line(l, &twice);
        FUZZ_SAME(&once, &twice);
        trial_answer(&answer, DECISION_CONTINUE, l->step, l->saved);
    }
    check_answer(&answer);
    str_free(&once);
    str_free(&twice);
    str_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct trial_line l = {.names = STR_INIT};
    struct slice rest = {(const char *)data, n}, line;

    cuts(rest.p, n, "\n");
    cuts(rest.p, n, "\n\r");
    while (fuzz_line(&rest, &line))
        one_line(line, &l);
    trial_line_free(&l);
    return 0;
}
