#include "store/replay.h"

#include "base/file.h"
#include "store/rehearsal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
/* cmocka wants the headers above */
#include <cmocka.h>

static char dir[] = "replay_test.XXXXXX";
static struct spec spec;

static int setup(void **state)
{
    (void)state;
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    rehearsal_spec(&spec, 60, false);
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    spec_clear(&spec);
    return dir_remove(dir, NULL);
}

/* Writes what it is told into a journal, in commits of a few, and can falsify: the event
 * with number `at`, from 0, among those of `kind` is changed before it is written. */
struct writer {
    struct journal *j;
    int64_t events;
    enum event_kind kind;
    int at;
    bool (*falsify)(struct event *ev, struct verdict *v); /* false: leave it out */
};

static void write_event(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct writer *w = ctx;
    struct event copy = *ev;
    struct verdict verdict = *v;

    w->events++;
    if (w->falsify && ev->kind == w->kind && w->at-- == 0 && !w->falsify(&copy, &verdict))
        return;
    journal_append(w->j, &copy, &verdict);
    if (w->events % 5 == 0)
        assert_int_equal(journal_commit(w->j, NULL), 0);
}

/* A journal of a whole sweep in one epoch; the state it ended in. */
static struct sweep *perform(struct writer *w)
{
    struct event ev = {.kind = EVENT_EPOCH, .time = 1.7e9, .trial = -1};
    struct sweep *sw = sweep_new(&spec);
    struct rehearsal r = {.sw = sw,
                          .seed = 3,
                          .slots = 6,
                          .metrics = 2,
                          .trouble = 0.02,
                          .clock = 1.7e9,
                          .emit = write_event,
                          .ctx = w};

    assert_int_equal(journal_begin(dir, &ev, &w->j, NULL, NULL), 0);
    assert_true(rehearse(&r) > 500);
    assert_int_equal(journal_commit(w->j, NULL), 0);
    journal_close(w->j);
    return sw;
}

static void assert_same_num(double a, double b)
{
    if (!(a == b || (isnan(a) && isnan(b))))
        fail_msg("%.17g is not %.17g", a, b);
}

static void assert_same_trial(const struct trial *a, const struct trial *b)
{
#define SAME(member) assert_int_equal(a->member, b->member)
    SAME(state), SAME(answered), SAME(given), SAME(finalist), SAME(complete);
    SAME(parent), SAME(bracket), SAME(rung), SAME(promoted), SAME(order);
    SAME(last_step), SAME(saved), SAME(until), SAME(best_step), SAME(attempts);
    SAME(failures), SAME(nonce), SAME(agent), SAME(slot), SAME(ask), SAME(last_number);
#undef SAME
    for (int i = 0; i < OBJECTIVES_MAX; i++) {
        assert_same_num(a->value.v[i], b->value.v[i]);
        assert_same_num(a->metric.v[i], b->metric.v[i]);
        assert_same_num(a->best.v[i], b->best.v[i]);
    }
    assert_same_num(a->created, b->created);
    assert_same_num(a->started, b->started);
    assert_same_num(a->ended, b->ended);
    assert_same_num(a->seconds, b->seconds);
    assert_string_equal(a->params, b->params);
}

static void assert_same_state(struct sweep *a, struct sweep *b)
{
    struct work v = sweep_next(a), w = sweep_next(b);

    assert_int_equal(sweep_trials(a), sweep_trials(b));
    for (int32_t t = 0; t < sweep_trials(a); t++)
        assert_same_trial(sweep_trial(a, t), sweep_trial(b, t));
    for (int s = 0; s < sweep_brackets(a); s++)
        for (int k = 0; k < sweep_rungs(a, s); k++) {
            struct rung_info x = sweep_rung(a, s, k), y = sweep_rung(b, s, k);
            assert_int_equal(x.reported, y.reported);
            assert_int_equal(x.promoted, y.promoted);
            assert_int_equal(x.stopped, y.stopped);
            assert_same_num(x.cutoff, y.cutoff);
        }
    assert_int_equal(sweep_totals(a)->best, sweep_totals(b)->best);
    assert_int_equal(sweep_totals(a)->reports, sweep_totals(b)->reports);
    assert_int_equal(v.kind, w.kind);
}

static int replay(struct replay *r, struct err *e)
{
    *r = (struct replay){.sw = sweep_new(&spec), .verify = true};
    return replay_run(r, dir, NULL, e);
}

/* ---- what cannot be right ---- */

static bool leave_out(struct event *ev, struct verdict *v)
{
    (void)ev, (void)v;
    return false;
}

static void test_impossible(void **state)
{
    static const enum event_kind kinds[] = {EVENT_TRIAL, EVENT_START};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct writer w = {.kind = kinds[i], .at = 0, .falsify = leave_out};
        struct replay r;
        struct err e = {0};
        sweep_free(perform(&w));
        assert_int_equal(replay(&r, &e), ERR_CORRUPT);
        assert_int_equal(e.code, ERR_CORRUPT);
        assert_non_null(strstr(e.text, "000001.jsonl:"));
        sweep_free(r.sw);
        assert_int_equal(dir_remove(dir, NULL), 0);
        assert_int_equal(mkdir(dir, 0755), 0);
    }
}

static bool other_decision(struct event *ev, struct verdict *v)
{
    (void)ev;
    v->decision = v->decision == DECISION_CONTINUE ? DECISION_PAUSE : DECISION_CONTINUE;
    return true;
}

static bool other_rung(struct event *ev, struct verdict *v)
{
    (void)ev;
    v->rung++;
    return true;
}

static bool other_point(struct event *ev, struct verdict *v)
{
    (void)v;
    ((double *)ev->drawn.u.v)[2] += 2e-12;
    return true;
}

static bool other_bracket(struct event *ev, struct verdict *v)
{
    (void)v;
    ev->drawn.bracket = !ev->drawn.bracket;
    return true;
}

static bool other_until(struct event *ev, struct verdict *v)
{
    (void)v;
    ev->start.until++;
    return true;
}

static void test_falsified(void **state)
{
    static const struct {
        enum event_kind kind;
        int at;
        bool (*falsify)(struct event *ev, struct verdict *v);
        const char *says;
    } lies[] = {
        {EVENT_REPORT, 5, other_decision, "the rules decide otherwise"},
        {EVENT_REPORT, 40, other_rung, "the rules decide otherwise"},
        {EVENT_TRIAL, 3, other_point, "dimension 2 of trial 3 was drawn as 0."},
        {EVENT_TRIAL, 0, other_bracket, "trial 0 was drawn into bracket"},
        {EVENT_START, 2, other_until, "trial 2 was started, 0 to"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct writer w = {
            .kind = lies[i].kind, .at = lies[i].at, .falsify = lies[i].falsify};
        struct replay r;
        sweep_free(perform(&w));
        replay(&r, NULL); /* what follows may be impossible, too */
        assert_true(r.mismatches > 0);
        if (!strstr(r.first_mismatch, lies[i].says))
            fail_msg("'%s' does not say '%s'", r.first_mismatch, lies[i].says);
        sweep_free(r.sw);
        assert_int_equal(dir_remove(dir, NULL), 0);
        assert_int_equal(mkdir(dir, 0755), 0);
    }
}

/* ---- draws of a model ---- */

static bool far_point(struct event *ev, struct verdict *v)
{
    (void)v;
    double *u = (double *)ev->drawn.u.v;
    u[1] = u[1] < 0.5 ? u[1] + 0.5 : u[1] - 0.5;
    return true;
}

static bool outside(struct event *ev, struct verdict *v)
{
    (void)v;
    ((double *)ev->drawn.u.v)[1] = 1;
    return true;
}

static bool as_given(struct event *ev, struct verdict *v)
{
    (void)v;
    ev->drawn.given = GIVEN_START;
    return true;
}

/* They are taken as they are, and no model is fitted to say what they should be. */
static void test_model(void **state)
{
    static const struct {
        bool (*falsify)(struct event *ev, struct verdict *v);
        const char *says; /* NULL: nothing */
    } lies[] = {
        {far_point, NULL},
        {other_bracket, "trial 30 was drawn into bracket"},
        {outside, "trial 30 was not drawn by the search"},
        {as_given, "trial 30 was not drawn by the search"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct writer w = {.kind = EVENT_TRIAL, .at = 30, .falsify = lies[i].falsify};
        struct replay r;
        spec_clear(&spec);
        rehearsal_spec(&spec, 60, false);
        spec.search = SEARCH_TPE;
        sweep_free(perform(&w));
        replay(&r, NULL);
        if (lies[i].says)
            assert_non_null(strstr(r.first_mismatch, lies[i].says));
        else
            assert_int_equal(r.mismatches, 0);
        sweep_free(r.sw);
        assert_int_equal(dir_remove(dir, NULL), 0);
        assert_int_equal(mkdir(dir, 0755), 0);
    }
}

/* A draw may differ by what exp() differs by between machines. */
static bool almost_the_point(struct event *ev, struct verdict *v)
{
    (void)v;
    ((double *)ev->drawn.u.v)[1] += 0.9e-12;
    return true;
}

static void test_tolerance(void **state)
{
    struct writer w = {.kind = EVENT_TRIAL, .at = 7, .falsify = almost_the_point};
    struct replay r;

    (void)state;
    sweep_free(perform(&w));
    assert_int_equal(replay(&r, NULL), 0);
    assert_int_equal(r.mismatches, 0);
    sweep_free(r.sw);
}

/* ---- what is ---- */

static void test_same_state(void **state)
{
    struct writer w = {0};
    struct sweep *live;
    struct replay r;

    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        spec_clear(&spec);
        rehearsal_spec(&spec, 60, mode == 1);
        live = perform(&w);
        assert_int_equal(replay(&r, NULL), 0);
        assert_string_equal(r.first_mismatch, "");
        assert_int_equal(r.mismatches, 0);
        assert_same_state(live, r.sw);
        sweep_free(live);
        sweep_free(r.sw);
        assert_int_equal(dir_remove(dir, NULL), 0);
        assert_int_equal(mkdir(dir, 0755), 0);
    }
}

struct counts {
    int64_t events, reports;
};

static void count(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct counts *c = ctx;

    c->events++;
    c->reports += ev->kind == EVENT_REPORT && v->decision != DECISION_NONE;
}

/* Piece by piece, as one that watches does; with the tables. */
static void test_reading_on(void **state)
{
    struct writer w = {0};
    struct history h;
    struct counts c = {0};
    struct sweep *live = perform(&w), *sw = sweep_new(&spec);
    struct replay r = {.sw = sw, .history = &h, .on_event = count, .ctx = &c};
    struct journal_pos limit = {.epoch = 1};
    int rc = 0;

    (void)state;
    history_init(&h);
    while (rc == 0 && c.events < w.events + 1) {
        limit.offset += 1000;
        rc = replay_run(&r, dir, &limit, NULL);
    }
    assert_int_equal(rc, 0);
    assert_same_state(live, sw);
    assert_int_equal(h.events, w.events + 1);
    assert_int_equal(r.pos.events, w.events + 1);
    assert_int_equal(c.reports, sweep_totals(sw)->reports);
    assert_int_equal(h.reports.n, sweep_totals(sw)->reports);
    assert_int_equal(h.attempts.n, sweep_totals(sw)->attempts);
    history_clear(&h);
    sweep_free(live);
    sweep_free(sw);
}

static void test_no_journal(void **state)
{
    struct replay r;

    (void)state;
    assert_int_equal(replay(&r, NULL), ERR_NOENT);
    sweep_free(r.sw);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_journal), TEST(test_impossible), TEST(test_falsified),
        TEST(test_model),      TEST(test_tolerance),  TEST(test_same_state),
        TEST(test_reading_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
