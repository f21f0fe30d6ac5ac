#include "store/history.h"

#include "store/rehearsal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

static struct spec spec;
static struct sweep *sw;
static struct history h;
static double now;

static int setup(void **state)
{
    (void)state;
    rehearsal_spec(&spec, 9, false);
    spec.brackets = 1;
    sw = sweep_new(&spec);
    history_init(&h);
    now = 100;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    history_clear(&h);
    sweep_free(sw);
    spec_clear(&spec);
    return 0;
}

/* Applies an event as a controller does and takes it in. */
static struct verdict happen(struct event *ev)
{
    struct verdict v;
    struct err e;

    ev->time = now++;
    if (sweep_apply(sw, ev, &v, &e) != 0)
        fail_msg("%s", e.text);
    history_add(&h, ev, &v, sw);
    return v;
}

/* Hands what is next to a slot; the trial. */
static int32_t start(void)
{
    struct event ev;
    struct work w = sweep_next(sw);

    while (w.kind == WORK_DRAW) {
        assert_int_equal(sweep_draw(sw, &ev, NULL), 0);
        happen(&ev);
        w = sweep_next(sw);
    }
    assert_int_equal(w.kind, WORK_TRIAL);
    sweep_start_event(sw, &w, &ev);
    ev.start.agent = 7;
    ev.start.slot = w.trial;
    happen(&ev);
    return w.trial;
}

static struct verdict report(int32_t trial, int64_t step, int n,
                             const struct metric metrics[])
{
    const struct trial *t = sweep_trial(sw, trial);
    struct event ev = {.kind = EVENT_REPORT, .trial = trial, .attempt = t->attempts};

    ev.report.number = t->last_number + 1;
    ev.report.step = step;
    ev.report.elapsed = 1.5 * (double)step;
    ev.report.metrics = metrics;
    ev.report.n_metrics = n;
    return happen(&ev);
}

static struct verdict report_loss(int32_t trial, int64_t step, double loss)
{
    return report(trial, step, 1, &(struct metric){SLICE("val_loss"), loss});
}

static void end(int32_t trial, const struct end_facts *facts)
{
    struct event ev = {
        .kind = EVENT_END, .trial = trial, .attempt = sweep_trial(sw, trial)->attempts};

    ev.end.facts = *facts;
    ev.end.outcome = sweep_outcome(sw, trial, facts, &ev.end.saved);
    happen(&ev);
}

static double cell(size_t row, const char *name)
{
    const struct report_row *r = &h.reports.v[row];

    for (uint32_t i = 0; i < r->n_cells; i++)
        if (strcmp(h.names.v[h.cells.v[r->first_cell + i].column], name) == 0)
            return h.cells.v[r->first_cell + i].value;
    return NAN;
}

static void test_empty(void **state)
{
    (void)state;
    assert_true(isnan(h.created));
    assert_string_equal(h.host, "");
    assert_null(history_attempt(&h, 0, 1));
    history_clear(&h);
    history_clear(&h);
}

static void test_epochs(void **state)
{
    struct event ev = {.kind = EVENT_EPOCH, .trial = -1};

    (void)state;
    ev.epoch.epoch = 1;
    ev.epoch.host = SLICE("n1");
    ev.epoch.user = SLICE("ada");
    ev.epoch.command = SLICE("rung run");
    ev.epoch.version = SLICE("0.1.0");
    happen(&ev);
    ev.epoch.epoch = 3;
    ev.epoch.host = SLICE("n2");
    happen(&ev);
    assert_int_equal(h.epoch, 3);
    assert_int_equal(h.events, 2);
    assert_true(h.created == 100 && h.last == 101);
    assert_string_equal(h.host, "n1");
    assert_string_equal(h.user, "ada");
    assert_string_equal(h.command, "rung run");
    assert_string_equal(h.version, "0.1.0");
    assert_string_equal(h.git, "");
}

static void test_attempt(void **state)
{
    int32_t trial = start();
    const struct attempt_row *a = history_attempt(&h, trial, 1);

    (void)state;
    assert_true(a->open && isnan(a->ended) && isnan(a->cpu_seconds));
    assert_true(a->started == now - 1);
    assert_int_equal(a->first_step, 0);
    assert_int_equal(a->last_step, -1);
    assert_int_equal(a->exit_code, -1);
    assert_int_equal(a->signal, -1);
    assert_int_equal(a->agent, 7);
    assert_string_equal(a->node, "");
    report(trial, 1, 0, NULL);
    assert_int_equal(a->last_step, 1);
    end(trial, &(struct end_facts){.exit_code = -1,
                                   .signal = 9,
                                   .oom = true,
                                   .last_step = 2, /* of a report that was lost */
                                   .reports = 2,
                                   .started = 100.25,
                                   .ended = 109.5,
                                   .cpu_seconds = 3,
                                   .max_rss = 4,
                                   .gpu_seconds = 5,
                                   .energy = 6,
                                   .node = SLICE("n017"),
                                   .slurm_job = SLICE("1_2"),
                                   .slurm_step = SLICE("0"),
                                   .slurm_state = SLICE("OUT_OF_ME+"),
                                   .note = SLICE("rank 3")});
    a = history_attempt(&h, trial, 1);
    assert_false(a->open);
    assert_int_equal(a->outcome, OUTCOME_OOM);
    assert_true(a->started == 100.25 && a->ended == 109.5);
    assert_int_equal(a->last_step, 2);
    assert_int_equal(a->signal, 9);
    assert_true(a->cpu_seconds == 3 && a->max_rss == 4 && a->gpu_seconds == 5);
    assert_true(a->energy == 6);
    assert_string_equal(a->node, "n017");
    assert_string_equal(a->slurm_job, "1_2");
    assert_string_equal(a->slurm_step, "0");
    assert_string_equal(a->slurm_state, "OUT_OF_ME+");
    assert_string_equal(a->note, "rank 3");
    assert_int_equal(start(), trial); /* again */
    assert_int_equal(h.attempts.n, 2);
    assert_int_equal(history_attempt(&h, trial, 2)->attempt, 2);
}

/* An agent that was lost told nothing: the controller's clock stands in. */
static void test_lost_attempt(void **state)
{
    int32_t trial = start();
    double started = now - 1;

    (void)state;
    end(trial, &(struct end_facts){.exit_code = -1,
                                   .cause = CAUSE_AGENT_GONE,
                                   .started = NAN,
                                   .ended = NAN,
                                   .cpu_seconds = NAN});
    const struct attempt_row *a = history_attempt(&h, trial, 1);
    assert_int_equal(a->outcome, OUTCOME_LOST);
    assert_true(a->started == started && a->ended == now - 1);
    assert_int_equal(a->last_step, -1);
    assert_true(isnan(a->cpu_seconds));
}

static void account(int32_t trial, int32_t attempt)
{
    struct event ev = {.kind = EVENT_ACCOUNT, .trial = trial, .attempt = attempt};

    ev.account.job = SLICE("4711_3");
    ev.account.step = SLICE("5");
    ev.account.state = SLICE("NODE_FAIL");
    ev.account.node = SLICE("n018");
    ev.account.elapsed = 1;
    ev.account.cpu_seconds = 2;
    ev.account.max_rss = 3;
    ev.account.energy = 4;
    happen(&ev);
}

/* Slurm's accounting fills what the shim did not tell, and nothing else but the state. */
static void test_account(void **state)
{
    int32_t trial = start();
    const struct attempt_row *a;

    (void)state;
    end(trial,
        &(struct end_facts){.exit_code = -1, .cause = CAUSE_AGENT_GONE, USAGE_UNKNOWN});
    account(trial, 1);
    a = history_attempt(&h, trial, 1);
    assert_string_equal(a->slurm_job, "4711_3");
    assert_string_equal(a->slurm_step, "5");
    assert_string_equal(a->slurm_state, "NODE_FAIL");
    assert_string_equal(a->node, "n018");
    assert_true(a->cpu_seconds == 2 && a->max_rss == 3 && a->energy == 4);
    assert_int_equal(a->outcome, OUTCOME_LOST);
    assert_int_equal(start(), trial);
    end(trial, &(struct end_facts){.cpu_seconds = 12,
                                   .max_rss = 13,
                                   .gpu_seconds = NAN,
                                   .energy = NAN,
                                   .node = SLICE("n017"),
                                   .slurm_job = SLICE("4712"),
                                   .slurm_step = SLICE("0")});
    account(trial, 2);
    a = history_attempt(&h, trial, 2);
    assert_string_equal(a->slurm_job, "4712");
    assert_string_equal(a->slurm_step, "0");
    assert_string_equal(a->slurm_state, "NODE_FAIL");
    assert_string_equal(a->node, "n017");
    assert_true(a->cpu_seconds == 12 && a->max_rss == 13 && a->energy == 4);
}

static void test_metrics(void **state)
{
    static const struct metric one[] = {{SLICE("a"), 1}, {SLICE("b"), 2}};
    static const struct metric two[] = {
        {SLICE("b"), 3}, {SLICE("c"), NAN}, {SLICE("a"), 4}};
    static const struct metric twice[] = {{SLICE("a"), 5}, {SLICE("a"), 6}};
    static const struct metric nul[] = {{{"a\0x", 3}, 7}};
    int32_t trial = start();

    (void)state;
    report(trial, 1, 2, one);
    report(trial, 2, 3, two);
    report(trial, 3, 2, twice);
    report(trial, 4, 1, nul);
    assert_int_equal(h.names.n, 3);
    assert_string_equal(h.names.v[0], "a");
    assert_string_equal(h.names.v[1], "b");
    assert_string_equal(h.names.v[2], "c");
    assert_true(cell(0, "a") == 1 && cell(0, "b") == 2 && isnan(cell(0, "c")));
    assert_true(cell(1, "a") == 4 && cell(1, "b") == 3 && isnan(cell(1, "c")));
    assert_int_equal(h.reports.v[1].n_cells, 3);
    assert_true(cell(2, "a") == 6);
    assert_int_equal(h.reports.v[2].n_cells, 1);
    assert_true(cell(3, "a") == 7);
    assert_true(h.reports.v[1].elapsed == 3);
}

/* A program that reports its training loss first and the sweep's metric after it. */
static void test_merging(void **state)
{
    int32_t trial = start(), other = start();

    (void)state;
    report(trial, 1, 1, &(struct metric){SLICE("train"), 1});
    report_loss(other, 1, 9);
    assert_int_equal(report_loss(trial, 1, 2).rung, 0);
    assert_int_equal(h.reports.n, 2);
    assert_true(cell(0, "train") == 1 && cell(0, "val_loss") == 2);
    assert_int_equal(h.reports.v[0].rung, 0);
    assert_true(h.reports.v[0].time == now - 1);
    /* decided now: another one is a repetition, and is kept apart */
    assert_true(report_loss(trial, 1, 3).stale);
    assert_int_equal(h.reports.n, 3);
    assert_true(cell(2, "val_loss") == 3);
    assert_int_equal(h.reports.v[2].rung, -1);
    /* the same step in a later attempt is another row, too */
    end(trial, &(struct end_facts){.exit_code = 1, .reports = 3, .last_step = 1});
    while (sweep_trial(sw, trial)->attempts < 2) {
        int32_t t = start();
        if (t != trial)
            report_loss(t, 1, 5 + t);
    }
    report_loss(trial, 1, 4);
    assert_true(cell(h.reports.n - 1, "val_loss") == 4);
    assert_int_equal(h.reports.v[h.reports.n - 1].attempt, 2);
}

static void test_decisions(void **state)
{
    int32_t trials[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        trials[i] = start();
    for (int i = 0; i < 3; i++) {
        report_loss(trials[i], 1, 0.5 - 0.1 * i);
        assert_int_equal(h.decisions.n, i + 1);
    }
    const struct decision_row *d = &h.decisions.v[2];
    assert_int_equal(d->trial, trials[2]);
    assert_int_equal(d->rung, 0);
    assert_int_equal(d->step, 1);
    assert_int_equal(d->rank, 1);
    assert_int_equal(d->size, 3);
    assert_true(d->value == 0.5 - 0.1 * 2 && d->cutoff == d->value);
    assert_int_equal(d->decision, DECISION_CONTINUE); /* promoted in place */
    assert_false(d->promote);
    assert_int_equal(h.decisions.v[0].decision, DECISION_PAUSE);
    report_loss(trials[2], 2, 0.1); /* between rungs: nothing is decided */
    assert_int_equal(h.decisions.n, 3);
}

/* A promotion that comes later is a decision of its own, made at the start. */
static void test_later_promotion(void **state)
{
    static const double loss[] = {0.3, 0.4, 0.5};
    int32_t trials[3];

    (void)state;
    spec.in_place = false;
    for (int i = 0; i < 3; i++)
        trials[i] = start();
    for (int i = 0; i < 3; i++)
        report_loss(trials[i], 1, loss[i]);
    end(trials[0],
        &(struct end_facts){.answered = DECISION_PAUSE, .reports = 1, .last_step = 1});
    assert_int_equal(h.decisions.n, 3);
    assert_int_equal(start(), trials[0]);
    assert_int_equal(h.decisions.n, 4);
    const struct decision_row *d = &h.decisions.v[3];
    assert_true(d->promote);
    assert_int_equal(d->trial, trials[0]);
    assert_int_equal(d->rung, 0);
    assert_int_equal(d->step, 1);
    assert_int_equal(d->rank, 1);
    assert_int_equal(d->size, 3);
    assert_true(d->value == 0.3 && d->cutoff == 0.3);
    assert_int_equal(history_attempt(&h, trials[0], 2)->first_step, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty),   TEST(test_epochs),       TEST(test_attempt),
        TEST(test_metrics), TEST(test_lost_attempt), TEST(test_account),
        TEST(test_merging), TEST(test_decisions),    TEST(test_later_promotion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
