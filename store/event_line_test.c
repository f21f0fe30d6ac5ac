#include "store/event_line.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct event_scratch *scratch;

static int setup(void **state)
{
    (void)state;
    scratch = event_scratch_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    event_scratch_free(scratch);
    return 0;
}

/* The body with its checksum and the closing brace. */
static void seal(struct str *out, const char *body)
{
    char hex[17];

    hash_hex(hex, hash64(body, strlen(body)));
    str_cut(out, 0);
    str_addf(out, "%s,\"x\":\"%s\"}", body, hex);
}

static const struct {
    const char *body;
    int code;
    const char *says;
} bad[] = {
    {"", ERR_CORRUPT, "checksum"},
    {"[1", ERR_CORRUPT, "object"},
    {"{\"e\":\"finish\"", ERR_CORRUPT, "time"},
    {"{\"t\":1,\"e\":\"finish\"", ERR_CORRUPT, "kind"},
    {"{\"e\":7,\"t\":1", ERR_CORRUPT, "string"},
    {"{\"e\":\"finish\",\"t\":\"soon\"", ERR_CORRUPT, "number"},
    {"{\"e\":\"finish\",\"t\":1}", ERR_CORRUPT, "after the value"},
    {"{\"e\":\"finish\",\"t\":1,\"later\":[1,2", ERR_CORRUPT, "is wanted"},
    {"{\"e\":\"finish\",\"t\":1,\"reason\":\"\xff\"", ERR_CORRUPT, "UTF-8"},
    {"{\"e\":\"finish\",\"t\":1,\"reason\":\"a\",\"reason\":\"b\"", ERR_CORRUPT, "twice"},
    {"{\"e\":\"FINISH\",\"t\":1", ERR_VERSION, "'FINISH'"},
    {"{\"e\":\"none\",\"t\":1", ERR_VERSION, "'none'"},
    {"{\"e\":\"saved\",\"t\":1,\"trial\":1,\"attempt\":1,\"number\":1", ERR_CORRUPT,
     "'step'"},
    {"{\"e\":\"saved\",\"t\":1,\"trial\":1,\"attempt\":1,\"step\":1", ERR_CORRUPT,
     "'number'"},
    {"{\"e\":\"saved\",\"t\":1,\"trial\":1,\"attempt\":1,\"step\":0.5", ERR_CORRUPT,
     "integer"},
    {"{\"e\":\"saved\",\"t\":1,\"trial\":2147483648,\"attempt\":1,\"step\":1",
     ERR_CORRUPT, "range"},
    {"{\"e\":\"report\",\"t\":1,\"trial\":1,\"attempt\":1,\"number\":-1,\"step\":1,"
     "\"metrics\":{},\"decision\":\"stop\"",
     ERR_CORRUPT, "range"},
    {"{\"e\":\"report\",\"t\":1,\"trial\":1,\"attempt\":1,\"number\":1,\"step\":1,"
     "\"metrics\":{\"a\":\"b\"},\"decision\":\"stop\"",
     ERR_CORRUPT, "number"},
    {"{\"e\":\"report\",\"t\":1,\"trial\":1,\"attempt\":1,\"number\":1,\"step\":1,"
     "\"metrics\":{},\"decision\":\"none\"",
     ERR_VERSION, "newer"},
    {"{\"e\":\"end\",\"t\":1,\"trial\":1,\"attempt\":1,\"outcome\":\"vanished\"",
     ERR_VERSION, "newer"},
    {"{\"e\":\"end\",\"t\":1,\"trial\":1,\"attempt\":1,\"outcome\":\"lost\",\"cause\":\"?"
     "\"",
     ERR_VERSION, "newer"},
    {"{\"e\":\"epoch\",\"t\":1,\"format\":2,\"epoch\":1", ERR_VERSION, "newer"},
    {"{\"e\":\"job\",\"t\":1,\"job\":\"1\",\"change\":\"joined\",\"agent\":\"12\"",
     ERR_CORRUPT, "hex"},
    {"{\"e\":\"job\",\"t\":1,\"job\":\"1\",\"change\":\"joined\",\"agent\":"
     "\"1122334455667g88\"",
     ERR_CORRUPT, "hex"},
};

static void test_bad_content(void **state)
{
    struct str line = STR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct event ev;
        struct err e = {0};
        seal(&line, bad[i].body);
        if (event_decode(line.p, line.len, &ev, NULL, scratch, &e) != bad[i].code ||
            !strstr(e.text, bad[i].says))
            fail_msg("%s: %s: %s", bad[i].body, err_name(e.code), e.text);
        assert_int_equal(e.code, bad[i].code);
    }
    str_free(&line);
}

/* No bit of a line can change unnoticed, and no piece of it passes for a line. */
static void test_damage(void **state)
{
    struct event ev = {.kind = EVENT_REPORT, .time = 1763655343.981932, .trial = 12}, got;
    struct metric m = {SLICE("val_loss"), 0.4375};
    struct verdict v = {.decision = DECISION_PAUSE, .rung = 1};
    struct str line = STR_INIT;

    (void)state;
    ev.report.metrics = &m;
    ev.report.n_metrics = 1;
    event_encode(&ev, &v, true, &line);
    assert_int_equal(event_decode(line.p, line.len, &got, NULL, scratch, NULL), 0);
    for (size_t n = 0; n < line.len; n++)
        assert_int_equal(event_decode(line.p, n, &got, NULL, scratch, NULL), ERR_CORRUPT);
    for (size_t n = 0; n < line.len * 8; n++) {
        line.p[n / 8] ^= (char)(1 << n % 8);
        assert_int_equal(event_decode(line.p, line.len, &got, NULL, scratch, NULL),
                         ERR_CORRUPT);
        line.p[n / 8] ^= (char)(1 << n % 8);
    }
    str_free(&line);
}

/* Encodes, decodes into *got, encodes that, and compares the two lines. */
static void there_and_back(const struct event *ev, const struct verdict *v,
                           struct event *got)
{
    static struct str line = STR_INIT; /* *got points into it until the next call */
    struct str again = STR_INIT;
    struct err e = {.text = ""};
    bool first = false;

    str_cut(&line, 0);
    event_encode(ev, v, true, &line);
    assert_null(strchr(line.p, '\n'));
    if (event_decode(line.p, line.len, got, &first, scratch, &e) != 0)
        fail_msg("%s: %s", line.p, e.text);
    assert_true(first);
    assert_int_equal(got->kind, ev->kind);
    assert_true(got->time == ev->time);
    event_encode(got, NULL, true, &again);
    assert_string_equal(line.p, again.p);
    str_free(&again);
}

static void assert_slice(struct slice a, const char *text)
{
    assert_int_equal(a.len, strlen(text));
    assert_memory_equal(a.p, text, a.len);
}

static void test_epoch(void **state)
{
    struct event ev = {.kind = EVENT_EPOCH, .time = 1e9 + 1. / 3, .trial = -1}, got;

    (void)state;
    ev.epoch.epoch = 2147483647;
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.epoch.epoch, 2147483647);
    assert_int_equal(got.epoch.after, 0);
    assert_slice(got.epoch.git, "");
    ev.epoch.after = 7;
    ev.epoch.after_bytes = INT64_C(1) << 60;
    ev.epoch.after_events = INT64_C(1) << 40;
    ev.epoch.name = SLICE("fashion");
    ev.epoch.version = SLICE("0.1.0");
    ev.epoch.host = SLICE("node \"7\"\n");
    ev.epoch.user = SLICE("j\xc3\xbcrgen");
    ev.epoch.command = SLICE("rung controller 'a\\b'\t\x01");
    ev.epoch.git = SLICE("5d1f0c2");
    ev.epoch.pid = 4194304;
    ev.epoch.file_hash = UINT64_C(0xfedcba9876543210);
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.epoch.after, 7);
    assert_true(got.epoch.after_bytes == INT64_C(1) << 60);
    assert_true(got.epoch.after_events == INT64_C(1) << 40);
    assert_slice(got.epoch.name, "fashion");
    assert_slice(got.epoch.version, "0.1.0");
    assert_slice(got.epoch.host, "node \"7\"\n");
    assert_slice(got.epoch.user, "j\xc3\xbcrgen");
    assert_slice(got.epoch.command, "rung controller 'a\\b'\t\x01");
    assert_slice(got.epoch.git, "5d1f0c2");
    assert_int_equal(got.epoch.pid, 4194304);
    assert_true(got.epoch.file_hash == UINT64_C(0xfedcba9876543210));
}

static void test_trial(void **state)
{
    const double u[] = {0, 0.1, 1 - 0x1p-53, 0x1p-1074};
    struct event ev = {.kind = EVENT_TRIAL, .time = 1, .trial = 0}, got;

    (void)state;
    ev.drawn.parent = ev.drawn.replaces = -1;
    ev.drawn.params = SLICE("{}");
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.trial, 0);
    assert_int_equal(got.drawn.parent, -1);
    assert_int_equal(got.drawn.replaces, -1);
    assert_int_equal(got.drawn.given, GIVEN_NOT);
    assert_int_equal(got.drawn.u.n, 0);
    ev.trial = 99;
    ev.drawn.parent = 3;
    ev.drawn.source = 7;
    ev.drawn.start = INT64_C(1) << 34;
    ev.drawn.replaces = 0;
    ev.drawn.bracket = 2;
    ev.drawn.given = GIVEN_ADDED;
    ev.drawn.tries = 10000;
    ev.drawn.cursor = INT64_C(1) << 33;
    ev.drawn.params = SLICE("{\"lr\": 1e-3,\n \"a\":\"x\\ny\"}");
    ev.drawn.u = (struct numbers){u, 4};
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.drawn.parent, 3);
    assert_int_equal(got.drawn.source, 7);
    assert_true(got.drawn.start == INT64_C(1) << 34);
    assert_int_equal(got.drawn.replaces, 0);
    assert_int_equal(got.drawn.bracket, 2);
    assert_int_equal(got.drawn.given, GIVEN_ADDED);
    assert_int_equal(got.drawn.tries, 10000);
    assert_true(got.drawn.cursor == INT64_C(1) << 33);
    assert_slice(got.drawn.params, "{\"lr\": 1e-3,  \"a\":\"x\\ny\"}");
    assert_int_equal(got.drawn.u.n, 4);
    assert_memory_equal(got.drawn.u.v, u, sizeof(u));
}

static void test_start(void **state)
{
    struct event ev = {.kind = EVENT_START, .time = 1, .trial = 5, .attempt = 2}, got;

    (void)state;
    ev.start.nonce = 1;
    ev.start.from = -1;
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.start.from, -1);
    assert_slice(got.start.override, "");
    ev.start.nonce = UINT64_MAX;
    ev.start.agent = 0;
    ev.start.slot = 7;
    ev.start.ask = UINT32_MAX;
    ev.start.start = 9;
    ev.start.until = INT64_C(3000000000);
    ev.start.from = 0;
    ev.start.final = true;
    ev.start.override = SLICE("{\"batch_size\":16}");
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.attempt, 2);
    assert_true(got.start.nonce == UINT64_MAX);
    assert_true(got.start.agent == 0);
    assert_int_equal(got.start.slot, 7);
    assert_true(got.start.ask == UINT32_MAX);
    assert_int_equal(got.start.start, 9);
    assert_true(got.start.until == INT64_C(3000000000));
    assert_int_equal(got.start.from, 0);
    assert_true(got.start.final);
    assert_slice(got.start.override, "{\"batch_size\":16}");
}

static void test_report(void **state)
{
    const struct metric m[] = {{SLICE("a/b"), NAN},
                               {SLICE("\"q\" \\"), INFINITY},
                               {SLICE("\xe2\x82\xac"), -INFINITY},
                               {SLICE(""), 0.1},
                               {SLICE("n"), -0.0}};
    struct verdict v = {.decision = DECISION_STOP, .rung = 3};
    struct event ev = {.kind = EVENT_REPORT, .time = 1, .trial = 5, .attempt = 2}, got;

    (void)state;
    ev.report.elapsed = NAN;
    there_and_back(&ev, &v, &got);
    assert_int_equal(got.report.decision, DECISION_STOP);
    assert_int_equal(got.report.rung, 3);
    assert_int_equal(got.report.n_metrics, 0);
    assert_true(isnan(got.report.elapsed));
    ev.report.number = 17;
    ev.report.step = INT64_C(1) << 40;
    ev.report.elapsed = 0.1 + 0.2;
    ev.report.metrics = m;
    ev.report.n_metrics = 5;
    ev.report.decision = DECISION_CONTINUE; /* its own, without a verdict */
    ev.report.rung = -1;
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.report.number, 17);
    assert_true(got.report.step == INT64_C(1) << 40);
    assert_true(got.report.elapsed == 0.1 + 0.2);
    assert_int_equal(got.report.decision, DECISION_CONTINUE);
    assert_int_equal(got.report.rung, -1);
    assert_int_equal(got.report.n_metrics, 5);
    assert_slice(got.report.metrics[0].name, "a/b");
    assert_true(isnan(got.report.metrics[0].value));
    assert_slice(got.report.metrics[1].name, "\"q\" \\");
    assert_true(got.report.metrics[1].value == INFINITY);
    assert_slice(got.report.metrics[2].name, "\xe2\x82\xac");
    assert_true(got.report.metrics[2].value == -INFINITY);
    assert_slice(got.report.metrics[3].name, "");
    assert_true(signbit(got.report.metrics[4].value));
}

static void test_end(void **state)
{
    struct event ev = {.kind = EVENT_END, .time = 1, .trial = 5, .attempt = 2}, got;
    struct end_facts *f = &ev.end.facts;

    (void)state;
    ev.end.saved = -1;
    *f = (struct end_facts){.exit_code = -1, .started = NAN, .ended = NAN, USAGE_UNKNOWN};
    for (int o = 0; o < OUTCOMES; o++)
        for (int c = 0; c < CAUSES; c++) {
            ev.end.outcome = (enum outcome)o;
            f->cause = (enum end_cause)c;
            there_and_back(&ev, NULL, &got);
            assert_int_equal(got.end.outcome, o);
            assert_int_equal(got.end.facts.cause, c);
            assert_int_equal(got.end.facts.exit_code, -1);
            assert_int_equal(got.end.saved, -1);
            assert_true(isnan(got.end.facts.energy));
        }
    ev.end.saved = 0;
    *f = (struct end_facts){.exit_code = 0,
                            .signal = 9,
                            .oom = true,
                            .answered = DECISION_PAUSE,
                            .last_step = 27,
                            .reports = 30,
                            .started = 1763655303.25,
                            .ended = 1763655403.5,
                            .cpu_seconds = 812.25,
                            .max_rss = 1e10,
                            .gpu_seconds = 99.5,
                            .energy = 0,
                            .node = SLICE("n017"),
                            .slurm_job = SLICE("4711_3"),
                            .slurm_step = SLICE("5"),
                            .slurm_state = SLICE("OUT_OF_MEMORY"),
                            .note = SLICE("rank 3 was \"killed\"")};
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.end.saved, 0);
    assert_int_equal(got.end.facts.exit_code, 0);
    assert_int_equal(got.end.facts.signal, 9);
    assert_true(got.end.facts.oom);
    assert_int_equal(got.end.facts.answered, DECISION_PAUSE);
    assert_int_equal(got.end.facts.last_step, 27);
    assert_int_equal(got.end.facts.reports, 30);
    assert_true(got.end.facts.started == 1763655303.25);
    assert_true(got.end.facts.ended == 1763655403.5);
    assert_true(got.end.facts.cpu_seconds == 812.25);
    assert_true(got.end.facts.max_rss == 1e10);
    assert_true(got.end.facts.gpu_seconds == 99.5);
    assert_true(got.end.facts.energy == 0);
    assert_slice(got.end.facts.node, "n017");
    assert_slice(got.end.facts.slurm_job, "4711_3");
    assert_slice(got.end.facts.slurm_step, "5");
    assert_slice(got.end.facts.slurm_state, "OUT_OF_MEMORY");
    assert_slice(got.end.facts.note, "rank 3 was \"killed\"");
}

static void test_small_kinds(void **state)
{
    struct event ev = {.kind = EVENT_STOP, .time = 1, .trial = -1}, got;

    (void)state;
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.trial, -1);
    ev.trial = 0;
    ev.why.reason = SLICE("enough");
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.trial, 0);
    assert_slice(got.why.reason, "enough");
    ev = (struct event){.kind = EVENT_SAVED, .time = 1, .trial = 3, .attempt = 4};
    ev.saved.number = 2;
    ev.saved.step = 81;
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.attempt, 4);
    assert_int_equal(got.saved.number, 2);
    assert_int_equal(got.saved.step, 81);
    ev = (struct event){.kind = EVENT_SET, .time = 1, .trial = -1};
    ev.set.key = SLICE("stop.trials");
    ev.set.value = SLICE("");
    there_and_back(&ev, NULL, &got);
    assert_slice(got.set.key, "stop.trials");
    assert_slice(got.set.value, "");
    ev = (struct event){.kind = EVENT_JOB, .time = 1, .trial = -1};
    ev.job.job = SLICE("4711_[0-3]");
    ev.job.change = SLICE("joined");
    ev.job.agent = 5;
    ev.job.host = SLICE("n1");
    ev.job.slots = 4;
    there_and_back(&ev, NULL, &got);
    assert_slice(got.job.job, "4711_[0-3]");
    assert_slice(got.job.change, "joined");
    assert_true(got.job.agent == 5);
    assert_slice(got.job.host, "n1");
    assert_int_equal(got.job.slots, 4);
    ev = (struct event){.kind = EVENT_ACCOUNT, .time = 1, .trial = 3, .attempt = 2};
    ev.account.job = SLICE("4711_3");
    ev.account.step = SLICE("5");
    ev.account.state = SLICE("OUT_OF_MEMORY");
    ev.account.node = SLICE("n[1-2]");
    ev.account.elapsed = ev.account.max_rss = NAN;
    ev.account.cpu_seconds = 0.25;
    ev.account.energy = 7;
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.trial, 3);
    assert_int_equal(got.attempt, 2);
    assert_slice(got.account.job, "4711_3");
    assert_slice(got.account.step, "5");
    assert_slice(got.account.state, "OUT_OF_MEMORY");
    assert_slice(got.account.node, "n[1-2]");
    assert_true(isnan(got.account.elapsed) && isnan(got.account.max_rss));
    assert_true(got.account.cpu_seconds == 0.25 && got.account.energy == 7);
    ev = (struct event){.kind = EVENT_KNOWN, .time = 1, .trial = 41};
    ev.known.params = SLICE("{\"lr\":0.5}");
    ev.known.values = (struct numbers){(const double[]){0.25, NAN}, 2};
    there_and_back(&ev, NULL, &got);
    assert_int_equal(got.trial, 41);
    assert_false(got.known.failed);
    assert_slice(got.known.params, "{\"lr\":0.5}");
    assert_int_equal(got.known.values.n, 2);
    assert_true(got.known.values.v[0] == 0.25 && isnan(got.known.values.v[1]));
    for (int k = EVENT_PAUSE; k <= EVENT_FINISH; k++) {
        ev = (struct event){.kind = (enum event_kind)k, .time = 2, .trial = -1};
        if (k == EVENT_SET || k == EVENT_JOB)
            continue;
        there_and_back(&ev, NULL, &got);
        assert_slice(got.why.reason, "");
    }
}

/* Numbers come back bit by bit, whatever they are. */
static void test_doubles(void **state)
{
    struct metric m = {SLICE("v"), 0};
    struct verdict v = {.decision = DECISION_CONTINUE, .rung = -1};
    struct event ev = {.kind = EVENT_REPORT, .trial = 0, .attempt = 1}, got;

    (void)state;
    ev.report.metrics = &m;
    ev.report.n_metrics = 1;
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t bits = rng_u64(1, RNG_TEST, i, 0, 0);
        memcpy(&m.value, &bits, sizeof(bits));
        ev.time = 1.6e9 + 1e9 * rng_unit(1, RNG_TEST, i, 1, 0);
        ev.report.elapsed = 1e5 * rng_unit(1, RNG_TEST, i, 2, 0);
        there_and_back(&ev, &v, &got);
        assert_true(got.report.elapsed == ev.report.elapsed);
        if (isnan(m.value))
            assert_true(isnan(got.report.metrics[0].value));
        else
            assert_memory_equal(&got.report.metrics[0].value, &m.value, sizeof(double));
    }
}

/* Members that this release does not know are skipped, and the order is free. */
static void test_other_writers(void **state)
{
    struct str line = STR_INIT;
    struct event ev;
    bool first = true;

    (void)state;
    seal(&line, "{ \"e\" : \"saved\", \"step\": 3, \"number\": 1, \"mood\": {\"x\": [1, "
                "null]}, \"attempt\": 2,"
                " \"t\": 5, \"trial\": 7.0");
    assert_int_equal(event_decode(line.p, line.len, &ev, &first, scratch, NULL), 0);
    assert_false(first);
    assert_int_equal(ev.trial, 7);
    assert_int_equal(ev.attempt, 2);
    assert_int_equal(ev.saved.step, 3);
    assert_true(ev.time == 5);
    assert_true(line_whole(line.p, line.len));
    assert_false(line_commits(line.p, line.len));
    seal(&line, "{\"e\":\"unheard of\",\"t\":5,\"c\":1");
    assert_true(line_commits(line.p, line.len));
    seal(&line, "{\"e\":\"report\",\"metrics\":{\"c\":1}");
    assert_false(line_commits(line.p, line.len));
    str_free(&line);
}

/* ---- doc/journal.md ---- */

static void read_doc(struct str *doc)
{
    const char *top = getenv("top_srcdir");
    char *path = path_join(top ? top : ".", "doc/journal.md");
    struct err e;

    if (file_read(path, 1 << 20, doc, &e) != 0)
        fail_msg("%s", e.text);
    free(path);
}

/* Each example is a line that this code writes, and each kind has one. */
static void test_doc_examples(void **state)
{
    static const char begins[] = "\n    {\"e\":";
    bool seen[EVENT_KINDS] = {false};
    struct str doc = STR_INIT, again = STR_INIT;

    (void)state;
    read_doc(&doc);
    for (const char *p = doc.p; (p = strstr(p, begins)) != NULL; p++) {
        const char *line = p + 5;
        size_t n = strcspn(line, "\n");
        struct event ev;
        struct err e = {.text = ""};
        bool first;
        if (memmem(line, n, "...", 3))
            continue;
        if (event_decode(line, n, &ev, &first, scratch, &e) != 0)
            fail_msg("%.*s: %s", (int)n, line, e.text);
        seen[ev.kind] = true;
        str_cut(&again, 0);
        event_encode(&ev, NULL, first, &again);
        assert_int_equal(again.len, n);
        assert_memory_equal(again.p, line, n);
    }
    for (int k = EVENT_NONE + 1; k < EVENT_KINDS; k++)
        if (!seen[k])
            fail_msg("no example of '%s' in doc/journal.md",
                     event_name((enum event_kind)k));
    str_free(&doc);
    str_free(&again);
}

static const char *if_absent(const struct field *f)
{
    if (f->otherwise == ELSE_FAIL)
        return "always";
    if (f->otherwise == ELSE_MINUS1)
        return "-1";
    if (f->otherwise == ELSE_NAN)
        return "NaN";
    switch ((enum field_type)f->type) {
    case FIELD_BOOL: return "false";
    case FIELD_TEXT:
    case FIELD_JSON:
    case FIELD_NUMBERS: return "empty";
    case FIELD_CAUSE: return "nothing";
    case FIELD_DECISION: return "none";
    default: return "0";
    }
}

/* The tables have the fields that the code has, in its order, and what their absence
 * means. */
static void test_doc_tables(void **state)
{
    struct str doc = STR_INIT, row = STR_INIT;

    (void)state;
    read_doc(&doc);
    for (int k = EVENT_NONE + 1; k < EVENT_KINDS; k++) {
        struct fields fields = event_fields((enum event_kind)k);
        str_cut(&row, 0);
        str_addf(&row, "`%s`", event_name((enum event_kind)k));
        const char *p = strstr(doc.p, "\n### ");
        while (p && !memmem(p, strcspn(p + 1, "\n") + 1, row.p, row.len))
            p = strstr(p + 1, "\n### ");
        assert_non_null(p);
        p = strstr(p, "\n|---|---|---|\n");
        assert_non_null(p);
        p += strlen("\n|---|---|---|\n");
        for (int i = 0; i < fields.n; i++) {
            const struct field *f = &fields.v[i];
            str_cut(&row, 0);
            str_addf(&row, "| `%.*s` | %s |", f->key_len - 4, f->key + 2, if_absent(f));
            if (strncmp(p, row.p, row.len) != 0)
                fail_msg("%s: '%s' is wanted in doc/journal.md, not '%.40s'",
                         event_name((enum event_kind)k), row.p, p);
            p += strcspn(p, "\n") + 1;
        }
        assert_int_equal(*p, '\n');
    }
    str_free(&doc);
    str_free(&row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_content),  cmocka_unit_test(test_damage),
        cmocka_unit_test(test_epoch),        cmocka_unit_test(test_trial),
        cmocka_unit_test(test_start),        cmocka_unit_test(test_report),
        cmocka_unit_test(test_end),          cmocka_unit_test(test_small_kinds),
        cmocka_unit_test(test_doubles),      cmocka_unit_test(test_other_writers),
        cmocka_unit_test(test_doc_examples), cmocka_unit_test(test_doc_tables),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
