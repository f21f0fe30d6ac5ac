#include "wire/msg.h"

#include "wire/trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD                                                                             \
    "{\"rung\":1,\"release\":\"0.1.0\",\"epoch\":3,\"agent\":\"00000000000000ab\""
#define FROM_AGENT HEAD ",\"first\":17}\n"
#define NONCE      "\"nonce\":\"0123456789abcdef\""

static struct packet *reader;

static int open_text(const char *text, struct packet_head *h, struct err *e)
{
    return packet_open(reader, text, strlen(text), h, e);
}

static void test_bad_headers(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "without a header line"},
        {"{\"rung\":1,\"agent\":\"00000000000000ab\"}", "without a header line"},
        {"\n", "an object is wanted"},
        {"[]\n", "an object is wanted"},
        {"{\"rung\":1}\n", "without rung or agent"},
        {"{\"agent\":\"00000000000000ab\"}\n", "without rung or agent"},
        {"{\"rung\":0,\"agent\":\"00000000000000ab\"}\n", "out of range"},
        {"{\"rung\":1,\"agent\":\"ab\"}\n", "16 hex digits"},
        {"{\"rung\":1,\"agent\":17}\n", "a string is wanted"},
        {"{\"rung\":1,\"agent\":\"0000000000000000\"}\n", "without rung or agent"},
        {"{\"rung\":1,\"agent\":\"00000000000000ab\",\"epoch\":-1}\n", "out of range"},
        {"{\"rung\":1,\"agent\":\"00000000000000ab\",\"first\":0}\n", "out of range"},
        {"{\"rung\":1,\"agent\":\"00000000000000ab\",\"ack\":1e30}\n", "integer"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packet_head h;
        struct err e = {0};
        assert_int_equal(open_text(cases[i].text, &h, &e), ERR_PROTO);
        if (!strstr(e.text, cases[i].why))
            fail_msg("%s: %s", cases[i].text, e.text);
    }
}

static void test_header(void **state)
{
    struct packet_head h = {.version = WIRE_VERSION,
                            .release = SLICE("0.1.0"),
                            .epoch = 3,
                            .agent = 0xab,
                            .first = 17},
                       got;
    struct str s = STR_INIT;
    (void)state;
    packet_begin(&s, &h);
    assert_string_equal(s.p, FROM_AGENT);
    assert_int_equal(open_text(s.p, &got, NULL), 0);
    assert_int_equal(got.version, 1);
    assert_true(slice_eq(got.release, "0.1.0"));
    assert_int_equal(got.epoch, 3);
    assert_int_equal(got.agent, 0xab);
    assert_int_equal(got.first, 17);
    assert_int_equal(got.ack, 0);
    str_cut(&s, 0);
    h.first = 0;
    h.ack = 16;
    h.agent = UINT64_MAX;
    packet_begin(&s, &h);
    assert_int_equal(open_text(s.p, &got, NULL), 0);
    assert_int_equal(got.first, 0);
    assert_int_equal(got.ack, 16);
    assert_true(got.agent == UINT64_MAX);
    /* Another version's header is for the caller to judge. */
    assert_int_equal(
        open_text("{\"rung\":2,\"agent\":\"00000000000000ab\",\"new\":[]}\n", &got, NULL),
        0);
    assert_int_equal(got.version, 2);
    str_free(&s);
}

static const struct metric metrics[] = {
    {SLICE("val_loss"), 0.21},
    {SLICE("a \"quoted\" name"), INFINITY},
    {SLICE("gpu/util"), -0.0},
};
static const struct open_attempt attempts[] = {{12, 3, 0, 0xfedcba9876543210},
                                               {0, 1, 3, 1}};

static const struct gpu_use gpus[] = {{0, 1, 0.5, 4096, 8192, 300.5},
                                      {3, 8, NAN, NAN, NAN, NAN}};

/* Each kind as it is written, the way round. */
static const struct {
    const char *line;
    struct item item;
} lines[] = {
    {"{\"item\":\"hello\",\"slots\":4,\"closed\":1,\"oldest\":17,\"pid\":4711,\"host\":"
     "\"n\\\\1\","
     "\"job\":\"1234_5\",\"left\":7200.5,\"open\":[[12,3,0,\"fedcba9876543210\"],[0,1,3,"
     "\"0000000000000001\"]]}\n",
     {.kind = ITEM_HELLO,
      .hello = {.open = attempts,
                .n_open = 2,
                .slots = 4,
                .closed = 1,
                .host = SLICE("n\\1"),
                .job = SLICE("1234_5"),
                .pid = 4711,
                .oldest = 17,
                .left = 7200.5}}},
    {"{\"item\":\"beat\"}\n", {.kind = ITEM_BEAT, .hello = {.left = NAN}}},
    {"{\"item\":\"beat\",\"left\":60.0}\n", {.kind = ITEM_BEAT, .hello = {.left = 60}}},
    {"{\"item\":\"beat\",\"oldest\":18,\"open\":[[12,3,0,\"fedcba9876543210\"]]}\n",
     {.kind = ITEM_BEAT,
      .hello = {.open = attempts, .n_open = 1, .oldest = 18, .left = NAN}}},
    {"{\"item\":\"beat\",\"gpus\":[[0,1,0.5,4096.0,8192.0,300.5],"
     "[3,8,\"NaN\",\"NaN\",\"NaN\",\"NaN\"]]}\n",
     {.kind = ITEM_BEAT, .hello = {.gpus = gpus, .n_gpus = 2, .left = NAN}}},
    {"{\"item\":\"ask\",\"n\":1,\"slot\":2,\"ask\":4294967295}\n",
     {.kind = ITEM_ASK, .ask = {2, UINT32_MAX}}},
    {"{\"item\":\"report\",\"n\":1,\"trial\":12,\"attempt\":3," NONCE ",\"number\":7,"
     "\"step\":27,\"elapsed\":12.5,\"wait\":true,\"metrics\":{\"val_loss\":0.21,"
     "\"a \\\"quoted\\\" name\":\"Infinity\",\"gpu/util\":-0.0}}\n",
     {.kind = ITEM_REPORT,
      .report = {12, 3, 0x0123456789abcdef, 7, 27, 12.5, true, metrics, 3}}},
    {"{\"item\":\"saved\",\"n\":1,\"trial\":12,\"attempt\":3," NONCE
     ",\"number\":4,\"step\":27}\n",
     {.kind = ITEM_SAVED, .saved = {12, 3, 0x0123456789abcdef, 4, 27}}},
    {"{\"item\":\"end\",\"n\":1,\"trial\":12,\"attempt\":3," NONCE
     ",\"exit_code\":-1,\"signal\":9,\"oom\":true,\"cause\":\"after_pause\","
     "\"answered\":\"pause\",\"last_step\":27,\"reports\":9,\"started\":1763658902.5,"
     "\"ended\":1763658903.5,\"cpu_seconds\":1.25,\"max_rss\":1e+20,"
     "\"gpu_util\":0.5,\"gpu_mem_peak\":4096.0,\"node\":\"n1\","
     "\"slurm_job\":\"1234_5\",\"slurm_step\":\"7\",\"note\":\"no\\nmemory\"}\n",
     {.kind = ITEM_END,
      .end = {12,
              3,
              0x0123456789abcdef,
              {.exit_code = -1,
               .signal = 9,
               .oom = true,
               .cause = CAUSE_AFTER_PAUSE,
               .answered = DECISION_PAUSE,
               .last_step = 27,
               .reports = 9,
               .started = 1763658902.5,
               .ended = 1763658903.5,
               .cpu_seconds = 1.25,
               .max_rss = 1e20,
               .gpu_seconds = NAN,
               .gpu_util = 0.5,
               .gpu_mem_peak = 4096,
               .gpu_energy = NAN,
               .energy = NAN,
               .node = SLICE("n1"),
               .slurm_job = SLICE("1234_5"),
               .slurm_step = SLICE("7"),
               .note = SLICE("no\nmemory")}}}},
    {"{\"item\":\"leave\",\"n\":1,\"text\":\"no work\"}\n",
     {.kind = ITEM_LEAVE, .why = {SLICE("no work"), false}}},
    {"{\"item\":\"leave\",\"n\":1,\"text\":\"SIGTERM\",\"evicted\":true}\n",
     {.kind = ITEM_LEAVE, .why = {SLICE("SIGTERM"), true}}},
    {"{\"item\":\"who\"}\n", {.kind = ITEM_WHO}},
    {"{\"item\":\"welcome\"}\n", {.kind = ITEM_WELCOME}},
    {"{\"item\":\"work\",\"slot\":1,\"ask\":5,\"trial\":12,\"attempt\":3," NONCE
     ",\"start\":9,\"until\":27,\"seed\":\"ffffffffffffffff\",\"step\":true,"
     "\"params\":{\"lr\":0.1,\"opt\":\"sgd\"}}\n",
     {.kind = ITEM_WORK,
      .work = {1, 5, 12, 3, 0x0123456789abcdef, 9, 27, UINT64_MAX, true, 0, 0,
               SLICE("{\"lr\":0.1,\"opt\":\"sgd\"}")}}},
    {"{\"item\":\"work\",\"slot\":0,\"ask\":1,\"trial\":9,\"attempt\":1," NONCE
     ",\"start\":4,\"until\":6,\"seed\":\"0000000000000001\",\"source_trial\":3,"
     "\"source_attempt\":2,\"params\":{}}\n",
     {.kind = ITEM_WORK,
      .work = {0, 1, 9, 1, 0x0123456789abcdef, 4, 6, 1, false, 3, 2, SLICE("{}")}}},
    {"{\"item\":\"retire\",\"slot\":0,\"ask\":5}\n",
     {.kind = ITEM_RETIRE, .ask = {0, 5}}},
    {"{\"item\":\"answer\",\"trial\":12,\"attempt\":3,\"number\":7,"
     "\"decision\":\"continue\",\"until\":81}\n",
     {.kind = ITEM_ANSWER, .answer = {12, 3, 7, DECISION_CONTINUE, 81}}},
    {"{\"item\":\"kill\",\"trial\":12,\"attempt\":3," NONCE ",\"cause\":\"user_stop\"}\n",
     {.kind = ITEM_KILL, .kill = {12, 3, 0x0123456789abcdef, CAUSE_USER_STOP}}},
    {"{\"item\":\"pause\"}\n", {.kind = ITEM_PAUSE}},
    {"{\"item\":\"bye\",\"text\":\"the sweep is over\"}\n",
     {.kind = ITEM_BYE, .why = {SLICE("the sweep is over"), false}}},
    {"{\"item\":\"refused\"}\n", {.kind = ITEM_REFUSED}},
};
#define LINES (sizeof(lines) / sizeof(lines[0]))

static void test_lines(void **state)
{
    bool seen[ITEM_KINDS] = {0};
    (void)state;
    for (size_t i = 0; i < LINES; i++) {
        struct str s = STR_INIT, packet = STR_INIT, again = STR_INIT;
        struct packet_head h;
        struct item it;
        struct err e = {0};
        uint64_t number = 99;
        item_encode(&lines[i].item, &s);
        assert_string_equal(s.p, lines[i].line);
        str_addf(&packet, "%s%s", FROM_AGENT, s.p);
        assert_int_equal(open_text(packet.p, &h, NULL), 0);
        if (packet_next(reader, &it, &number, &e) != 1)
            fail_msg("%s: %s", s.p, e.text);
        assert_int_equal(it.kind, lines[i].item.kind);
        assert_int_equal(number, item_numbered(it.kind) ? 17 : 0);
        item_encode(&it, &again);
        assert_string_equal(again.p, s.p);
        assert_int_equal(packet_next(reader, &it, &number, &e), 0);
        seen[lines[i].item.kind] = true;
        str_free(&s);
        str_free(&packet);
        str_free(&again);
    }
    for (int k = ITEM_NONE + 1; k < ITEM_KINDS; k++)
        if (!seen[k])
            fail_msg("%s is not tested", item_name((enum item_kind)k));
}

/* Values are read, not only written back as they came. */
static void test_values(void **state)
{
    struct packet_head h;
    struct item it;
    uint64_t number;
    const char *report = FROM_AGENT
        "{\"item\":\"report\",\"metrics\":{\"a\\u0041\":NaN,\"b\":null,\"c\":2},"
        "\"step\":5,\"later\":{\"x\":[1]},\"trial\":1,\"attempt\":2," NONCE
        ",\"number\":3,\"n\":1,\"elapsed\":0.5}\n";
    (void)state;
    assert_int_equal(open_text(report, &h, NULL), 0);
    assert_int_equal(packet_next(reader, &it, &number, NULL), 1);
    assert_int_equal(it.report.trial, 1);
    assert_int_equal(it.report.attempt, 2);
    assert_true(it.report.nonce == 0x0123456789abcdef);
    assert_int_equal(it.report.number, 3);
    assert_int_equal(it.report.step, 5);
    assert_true(it.report.elapsed == 0.5);
    assert_false(it.report.wait);
    assert_int_equal(it.report.n_metrics, 3);
    assert_true(slice_eq(it.report.metrics[0].name, "aA"));
    assert_true(isnan(it.report.metrics[0].value));
    assert_true(isnan(it.report.metrics[1].value));
    assert_true(slice_eq(it.report.metrics[2].name, "c"));
    assert_true(it.report.metrics[2].value == 2);

    const char *end =
        FROM_AGENT "{\"item\":\"end\",\"n\":1,\"trial\":1,\"attempt\":1," NONCE "}\n";
    assert_int_equal(open_text(end, &h, NULL), 0);
    assert_int_equal(packet_next(reader, &it, &number, NULL), 1);
    assert_int_equal(it.end.facts.exit_code, 0);
    assert_int_equal(it.end.facts.cause, CAUSE_NOTHING);
    assert_int_equal(it.end.facts.answered, DECISION_NONE);
    assert_true(isnan(it.end.facts.started) && isnan(it.end.facts.max_rss));
    assert_int_equal(it.end.facts.note.len, 0);
    assert_true(isnan(it.end.facts.gpu_util) && isnan(it.end.facts.gpu_energy));

    const char *beat = FROM_AGENT "{\"item\":\"beat\",\"gpus\":[[1,2,0.25,null,8192,300,"
                                  "\"later\"],[0,1,1,2,3,4]]}\n";
    assert_int_equal(open_text(beat, &h, NULL), 0);
    assert_int_equal(packet_next(reader, &it, &number, NULL), 1);
    assert_int_equal(it.hello.n_gpus, 2);
    assert_int_equal(it.hello.gpus[0].slot, 1);
    assert_int_equal(it.hello.gpus[0].gpus, 2);
    assert_true(it.hello.gpus[0].util == 0.25 && isnan(it.hello.gpus[0].mem_used));
    assert_true(it.hello.gpus[0].mem_total == 8192 && it.hello.gpus[0].power == 300);
    assert_true(it.hello.gpus[1].mem_used == 2 && it.hello.gpus[1].power == 4);
}

static void bad_line(const char *line, const char *why)
{
    struct str s = STR_INIT;
    struct packet_head h;
    struct item it;
    struct err e = {0};
    uint64_t number;
    int rc;
    str_addf(&s, "%s%s", FROM_AGENT, line);
    assert_int_equal(open_text(s.p, &h, NULL), 0);
    while ((rc = packet_next(reader, &it, &number, &e)) == 1)
        ;
    assert_int_equal(rc, ERR_PROTO);
    if (!strstr(e.text, why))
        fail_msg("%s: %s", line, e.text);
    assert_int_equal(packet_next(reader, &it, &number, &e), 0); /* not the rest */
    str_free(&s);
}

/* More metrics than a report has, and a longer name. */
static void test_bounds(void **state)
{
    struct str s = STR_INIT;
    (void)state;
    str_add(&s, "{\"item\":\"report\",\"metrics\":{\"m\":0");
    for (int i = 0; i < TRIAL_METRICS_MAX; i++)
        str_addf(&s, ",\"m%d\":0", i);
    str_add(&s, "}}\n");
    bad_line(s.p, "metrics: too many");
    str_cut(&s, 0);
    str_addf(&s, "{\"item\":\"report\",\"metrics\":{\"%0*d\":0}}\n", TRIAL_NAME_MAX + 1,
             0);
    bad_line(s.p, "a name that no metric has");
    str_free(&s);
}

static void test_bad_items(void **state)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"\n", "does not begin with its item's name"},
        {"{}\n", "does not begin with its item's name"},
        {"{\"n\":1,\"item\":\"ask\"}\n", "does not begin with its item's name"},
        {"{\"item\":\"ask\",\"n\":1,\"slot\":0}\n", "item ask: ask: missing"},
        {"{\"item\":\"ask\",\"n\":1,\"slot\":-1,\"ask\":1}\n", "slot: out of range"},
        {"{\"item\":\"ask\",\"n\":1,\"slot\":0,\"ask\":4294967296}\n",
         "ask: out of range"},
        {"{\"item\":\"ask\",\"n\":1,\"slot\":0,\"ask\":1} \n{}\n", "does not begin"},
        {"{\"item\":\"ask\",\"n\":1,\"slot\":0,\"ask\":1,}\n", "item ask: line:"},
        {"{\"item\":\"ask\",\"n\":1,\"slot\":0,\"ask\":1}", "cut short"},
        {"{\"item\":\"answer\",\"trial\":1,\"attempt\":1,\"number\":1,\"decision\":"
         "\"perhaps\",\"until\":1}\n",
         "decision: an unknown word"},
        {"{\"item\":\"work\",\"params\":[1]}\n", "params: an object is wanted"},
        {"{\"item\":\"beat\",\"open\":[[1,2,3]]}\n", "four members"},
        {"{\"item\":\"beat\",\"open\":[[1,2,3,4]]}\n", "a string is wanted"},
        {"{\"item\":\"beat\",\"open\":{}}\n", "an array is wanted"},
        {"{\"item\":\"beat\",\"gpus\":[[1,2,3,4,5]]}\n", "six members"},
        {"{\"item\":\"beat\",\"gpus\":[[-1,2,3,4,5,6]]}\n", "out of range"},
        {"{\"item\":\"beat\",\"gpus\":[[1,2,\"x\",4,5,6]]}\n", "a number is wanted"},
        {"{\"item\":\"novelty\",\"n\":1,\"x\":}\n", "an unknown item"},
        {"{\"item\":\"hello\",\"slots\":100001,\"closed\":0,\"oldest\":1,\"pid\":1,"
         "\"host\":\"h\"}\n",
         "slots: out of range"},
        {"{\"item\":\"report\",\"step\":-1}\n", "step: out of range"},
        {"{\"item\":\"saved\",\"step\":-1}\n", "step: out of range"},
        {"{\"item\":\"report\",\"metrics\":{\"\":1}}\n", "a name that no metric has"},
        {"{\"item\":\"report\",\"metrics\":{\"a\\u001b\":1}}\n", "a name that no metric"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        bad_line(cases[i].line, cases[i].why);
    struct packet_head h;
    struct item it;
    uint64_t number;
    assert_int_equal(
        open_text(HEAD "}\n{\"item\":\"ask\",\"n\":1,\"slot\":0,\"ask\":1}\n", &h, NULL),
        0);
    assert_int_equal(packet_next(reader, &it, &number, NULL), ERR_PROTO); /* no `first` */
    assert_int_equal(open_text(HEAD "}\n{\"item\":\"novelty\",\"n\":1}\n", &h, NULL), 0);
    assert_int_equal(packet_next(reader, &it, &number, NULL), ERR_PROTO);
    assert_int_equal(
        open_text("{\"rung\":1,\"agent\":\"00000000000000ab\",\"release\":\"\\u0041\"}\n",
                  &h, NULL),
        0);
    assert_true(slice_eq(h.release, "A"));
}

/* Numbers count what is numbered, of whatever release it is. */
static void test_numbers(void **state)
{
    static const char text[] =
        FROM_AGENT "{\"item\":\"beat\"}\n"
                   "{\"item\":\"ask\",\"n\":1,\"slot\":0,\"ask\":1}\n"
                   "{\"item\":\"novelty\",\"n\":1,\"slot\":[{\"n\":1}]}\n"
                   "{\"item\":\"gossip\",\"slot\":0}\n"
                   "{\"item\":\"ask\",\"n\":1,\"slot\":1,\"ask\":1}\n"
                   "{\"item\":\"ask\",\"n\":1,\"slot\":2,\"ask\":1}\n";
    static const uint64_t want[] = {0, 17, 19, 20};
    struct packet_head h;
    struct item it;
    uint64_t number;
    (void)state;
    assert_int_equal(open_text(text, &h, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(packet_next(reader, &it, &number, NULL), 1);
        assert_int_equal(number, want[i]);
    }
    assert_int_equal(packet_next(reader, &it, &number, NULL), 0);
}

/* Reads whatever it is given to the end; how many items there were. */
static int read_all(const char *text, size_t n)
{
    char *copy = malloc(n ? n : 1); /* so that a sanitizer sees what is read behind it */
    struct packet_head h;
    struct item it;
    uint64_t number;
    int items = 0;
    memcpy(copy, text, n);
    if (packet_open(reader, copy, n, &h, NULL) == 0)
        while (packet_next(reader, &it, &number, NULL) == 1)
            items++;
    free(copy);
    return items;
}

static void test_damaged(void **state)
{
    struct str s = STR_INIT;
    (void)state;
    str_add(&s, FROM_AGENT);
    for (size_t i = 0; i < LINES; i++)
        str_add(&s, lines[i].line);
    assert_int_equal(read_all(s.p, s.len), LINES);
    for (size_t n = 0; n < s.len; n++) {
        int whole = -1;
        for (size_t i = 0; i < n; i++)
            whole += s.p[i] == '\n';
        assert_int_equal(read_all(s.p, n), whole < 0 ? 0 : whole);
    }
    for (size_t i = 0; i < s.len; i++) {
        char was = s.p[i];
        const char put[] = {'\0', '"', '{', ']', '\\', '\n', ',', '9', '\xff'};
        for (size_t k = 0; k < sizeof(put); k++) {
            s.p[i] = put[k];
            assert_true(read_all(s.p, s.len) <= (int)LINES);
        }
        s.p[i] = was;
    }
    str_free(&s);
}

static int begin(void **state)
{
    (void)state;
    reader = packet_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    packet_free(reader);
    packet_free(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_headers), cmocka_unit_test(test_bad_items),
        cmocka_unit_test(test_bounds),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_header),      cmocka_unit_test(test_lines),
        cmocka_unit_test(test_values),      cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests_name("wire/msg", tests, begin, end);
}
