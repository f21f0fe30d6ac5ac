/* What is asked of an accounting, and what becomes of its answers. */
#include "launcher/accounts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EVERY 600.0

struct tale {
    struct executor x;
    struct executor_ops ops;
    struct sweepfile file;
    struct sweep *sw;
    struct accounts *a;
    struct str asked, told;
    double since, now;
};

static void on_account(struct executor *x, char *const jobs[], size_t n, double since)
{
    struct tale *t = (struct tale *)x;

    for (size_t i = 0; i < n; i++)
        str_addf(&t->asked, "%s%s", i ? " " : "", jobs[i]);
    t->since = since;
}

static int set_up(void **state)
{
    static const char *const names[] = {"x"};
    struct tale *t = mem_alloc(sizeof(*t));
    struct spec *s = &t->file.spec;

    t->ops.account = on_account;
    t->x.ops = &t->ops;
    spec_init(s);
    s->objective[0].name = mem_strdup("loss");
    s->space = space_new();
    space_declare(s->space, names, 1);
    space_define(s->space, 0, "uniform(0, 1)", NULL, NULL, NULL);
    s->trials = 99;
    s->max_t = 9;
    t->file.slots_per_job = 1;
    t->sw = sweep_new(s);
    t->a = accounts_new(&t->file);
    t->asked = t->told = (struct str)STR_INIT;
    t->now = 1;
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct tale *t = *state;

    accounts_free(t->a);
    sweep_free(t->sw);
    spec_clear(&t->file.spec);
    for (size_t i = 0; i < t->file.slurm.n; i++)
        free(t->file.slurm.v[i].name);
    vec_free(&t->file.slurm);
    str_free(&t->asked);
    str_free(&t->told);
    free(t);
    return 0;
}

static void tell(struct tale *t, struct event *ev)
{
    struct err e = {0};

    ev->time = 1000;
    if (sweep_apply(t->sw, ev, NULL, &e) != 0)
        fail_msg("%s", e.text);
    accounts_event(t->a, ev, t->sw);
}

static void job(struct tale *t, const char *name, const char *change, uint64_t agent)
{
    struct event ev = {.kind = EVENT_JOB, .trial = -1};

    ev.job.job = slice_of(name);
    ev.job.change = slice_of(change);
    ev.job.agent = agent;
    ev.job.slots = 1;
    tell(t, &ev);
}

/* The next trial runs, and completes early; job NULL: its agent is lost. */
static void attempt(struct tale *t, uint64_t agent, const char *slurm_job,
                    const char *step, double began)
{
    struct event ev;
    struct work w = sweep_next(t->sw);

    while (w.kind == WORK_DRAW) {
        assert_int_equal(sweep_draw(t->sw, &ev, NULL), 0);
        tell(t, &ev);
        w = sweep_next(t->sw);
    }
    sweep_start_event(t->sw, &w, &ev);
    ev.start.agent = agent;
    tell(t, &ev);
    ev = (struct event){.kind = EVENT_END, .trial = w.trial, .attempt = ev.attempt};
    ev.end.facts.started = began;
    ev.end.facts.slurm_job = slice_of(slurm_job ? slurm_job : "");
    ev.end.facts.slurm_step = slice_of(step);
    ev.end.outcome = slurm_job ? OUTCOME_COMPLETED : OUTCOME_STOPPED;
    tell(t, &ev);
}

static void asks(struct tale *t, double after, bool over, const char *want)
{
    t->now += after;
    str_cut(&t->asked, 0);
    str_add(&t->asked, "");
    accounts_ask(t->a, &t->x, EVERY, t->now, over);
    assert_string_equal(t->asked.len ? t->asked.p : "", want);
}

static void record(struct tale *t, const char *job, const char *step, const char *name,
                   const char *state, double started, double ended)
{
    struct account r = {.job = slice_of(job),
                        .step = slice_of(step),
                        .name = slice_of(name),
                        .state = slice_of(state),
                        .nodes = SLICE("n7"),
                        .is = isnan(ended) ? JOB_RUNNING : JOB_GONE,
                        .started = started,
                        .ended = ended,
                        .elapsed = ended - started,
                        .cpu_seconds = 5,
                        .max_rss = 6,
                        .energy = 7};

    accounts_record(t->a, &r);
}

static void on_event(void *ctx, struct event *ev)
{
    struct tale *t = ctx;

    str_addf(&t->told, "%d.%d %.*s.%.*s %.*s %g %g|", ev->trial, ev->attempt,
             (int)ev->account.job.len, ev->account.job.p, (int)ev->account.step.len,
             ev->account.step.p, (int)ev->account.state.len, ev->account.state.p,
             ev->account.cpu_seconds, ev->account.energy);
    tell(t, ev);
}

static void answered(struct tale *t, const char *why, bool passing, const char *want)
{
    str_cut(&t->told, 0);
    accounts_answered(t->a, why, passing, on_event, t);
    assert_string_equal(t->told.len ? t->told.p : "", want);
}

/* Steps are known by job, number and trial; what has not ended is asked again. */
static void test_steps(void **state)
{
    struct tale *t = *state;

    asks(t, 0, false, "");
    attempt(t, 1, "52_0", "0", 5000);
    attempt(t, 1, "52_0", "1", 6000);
    attempt(t, 2, "52_1", "0", 7000);
    asks(t, EVERY - 1, false, "");
    asks(t, 1, false, "52_0 52_1");
    assert_true(t->since < 5000 && t->since > 1000);
    asks(t, EVERY, false, ""); /* not before it has answered */
    record(t, "52_0", "", "fashion", "RUNNING", 4000, NAN);
    record(t, "52_0", "0", "t000000.r2", "COMPLETED", 5000, 5500);
    record(t, "52_0", "1", "t000002.r0", "FAILED", 6000, 6500);
    record(t, "52_0", "2", "t000001.r0", "FAILED", 6000, 6500);
    record(t, "52_0", "1", "true", "FAILED", 6000, 6500);
    record(t, "52_0", "3", "t000009.r0", "FAILED", 5000, 5500);
    record(t, "52_1", "0", "t000002.r0", "RUNNING", 7000, NAN);
    answered(t, NULL, false, "0.1 52_0.0 COMPLETED 5 nan|");
    for (int i = 0; i < 5; i++) { /* as long as its job is there */
        asks(t, EVERY, false, "52_1 52_0");
        record(t, "52_0", "", "fashion", "RUNNING", 4000, NAN);
        record(t, "52_1", "", "fashion", "RUNNING", 4000, NAN);
        answered(t, NULL, false, "");
    }
    asks(t, EVERY, false, "52_1 52_0");
    record(t, "52_0", "1", "t000001.r0", "CANCELLED", 9000, 9500); /* requeued */
    record(t, "52_0", "1", "t000001.r0", "OUT_OF_MEMORY", 6000, 6500);
    answered(t, NULL, false, "1.1 52_0.1 OUT_OF_MEMORY 5 nan|");
    asks(t, EVERY, false, "52_1");
    answered(t, NULL, false, "");
    assert_false(accounts_open(t->a)); /* three times are enough */
    asks(t, EVERY, false, "");
}

/* Processes of a job have its state and none of its numbers; with several runs of it,
 * that of the run they were in. */
static void test_processes(void **state)
{
    struct tale *t = *state;

    job(t, "52_0", "joined", 1);
    attempt(t, 1, "52_0", "", 5000);
    attempt(t, 1, "52_0", "", 9000);
    asks(t, 0, false, "");
    asks(t, EVERY, false, ""); /* it goes on */
    assert_true(accounts_open(t->a));
    job(t, "52_0", "ended", 1);
    asks(t, EVERY, false, "52_0");
    record(t, "52_0", "", "fashion", "REQUEUED", 4000, 8000);
    record(t, "52_0", "", "fashion", "TIMEOUT", 8500, 9900);
    record(t, "52_0", "0", "t000000.r1", "COMPLETED", 5000, 5500);
    answered(t, NULL, false, "1.1 52_0. TIMEOUT nan nan|0.1 52_0. REQUEUED nan nan|");
    assert_false(accounts_open(t->a));
}

/* Of a lost attempt its agent's job is known, and when it began; it may have been a step
 * or not. */
static void test_lost(void **state)
{
    struct tale *t = *state;

    job(t, "52_0", "joined", 1);
    job(t, "52_1", "joined", 2);
    attempt(t, 1, NULL, "", NAN);
    attempt(t, 2, NULL, "", NAN);
    attempt(t, 2, NULL, "", NAN);
    attempt(t, 3, NULL, "", NAN); /* of an agent that nobody knew */
    asks(t, 0, false, "");
    asks(t, EVERY, false, "52_0 52_1");
    record(t, "52_0", "", "fashion", "NODE_FAIL", 900, 1500);
    record(t, "52_0", "0", "t000000.r0", "CANCELLED", 1001, 1500);
    record(t, "52_0", "1", "t000000.r0", "FAILED", 500, 1500); /* an earlier one's */
    record(t, "52_1", "", "fashion", "NODE_FAIL", 900, 1500);
    record(t, "52_1", "0", "t000001.r0", "FAILED", 1100, 1500);
    record(t, "52_1", "1", "t000002.r0", "FAILED", 950, 1500);
    answered(t, NULL, false,
             "2.1 52_1.1 FAILED 5 nan|1.1 52_1. NODE_FAIL nan nan|"
             "0.1 52_0.0 CANCELLED 5 nan|");
}

/* At the end everything is asked about; a failure that passes costs nothing, another is
 * the end of it. */
static void test_over(void **state)
{
    struct tale *t = *state;

    job(t, "52_0", "joined", 1);
    attempt(t, 1, "52_0", "", 5000);
    asks(t, 0, false, "");
    asks(t, 10, true, "");
    asks(t, EVERY, true, "52_0");
    for (int i = 0; i < 5; i++) {
        answered(t, "the database is away", true, "");
        assert_true(accounts_open(t->a));
        asks(t, EVERY, true, "52_0");
    }
    answered(t, "there is no accounting", false, "");
    assert_false(accounts_open(t->a));
    asks(t, EVERY, true, "");
}

/* Energy counts where nobody else was on the node. */
static void test_energy(void **state)
{
    static const struct {
        const char *name, *value;
        int slots;
        const char *want;
    } cases[] = {
        {"qos", NULL, 1, "0.1 9.0 COMPLETED 5 nan|"},
        {"exclusive", "user", 1, "1.1 9.0 COMPLETED 5 nan|"},
        {"exclusive", NULL, 2, "2.1 9.0 COMPLETED 5 nan|"},
        {"exclusive", NULL, 1, "3.1 9.0 COMPLETED 5 7|"},
    };
    struct tale *t = *state;

    asks(t, 0, false, "");
    vec_push(&t->file.slurm, ((struct option){mem_strdup("nice"), NULL}));
    for (int i = 0; i < 4; i++) {
        char name[32];

        free(t->file.slurm.v[0].name);
        t->file.slurm.v[0].name = mem_strdup(cases[i].name);
        t->file.slurm.v[0].value = (char *)cases[i].value;
        t->file.slots_per_job = cases[i].slots;
        attempt(t, 1, "9", "0", 5000);
        asks(t, EVERY, false, "9");
        snprintf(name, sizeof(name), "t%06d.r1", i);
        record(t, "9", "0", name, "COMPLETED", 5000, 5001);
        answered(t, NULL, false, cases[i].want);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_steps), TEST(test_processes), TEST(test_lost),
        TEST(test_over),  TEST(test_energy),
    };

    return cmocka_run_group_tests_name("accounts", tests, NULL, NULL);
}
