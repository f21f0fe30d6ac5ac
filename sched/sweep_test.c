/* The rules of doc/scheduling.md that an oracle of decisions (tests/oracle.py) does not
 * see: ends, retries, interruptions, overrides, replays. */
#include "base/mem.h"
#include "sched/draft.h"
#include "sched/sweep_private.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

/* ---- a sweep to play with ---- */

struct play {
    struct spec spec;
    struct sweep *sw;
    struct verdict v;
    double time;
    uint32_t number[300]; /* of each trial's last report */
};

static void ignore(void *ctx, size_t offset, const char *text)
{
    (void)ctx;
    fail_msg("at %zu: %s", offset, text);
}

static struct play *play_new(const char *eta, int64_t max_t, int trials)
{
    static const char *const names[] = {"lr", "batch"};
    static const struct space_errors errors = {ignore, NULL};
    struct play *p = mem_alloc(sizeof(*p));

    spec_init(&p->spec);
    p->spec.objective[0].name = mem_strdup("loss");
    p->spec.space = space_new();
    space_declare(p->spec.space, names, 2);
    assert_int_equal(space_define(p->spec.space, 0, "uniform(0, 1)", NULL, &errors, NULL),
                     0);
    assert_int_equal(space_define(p->spec.space, 1, "choice(64)", NULL, &errors, NULL),
                     0);
    p->spec.search = SEARCH_RANDOM;
    p->spec.trials = trials;
    p->spec.schedule = SCHEDULE_ASHA;
    p->spec.mode = MODE_PROMOTE;
    p->spec.grace_period = 1;
    p->spec.max_t = max_t;
    assert_int_equal(eta_parse(eta, &p->spec.eta, NULL), 0);
    p->spec.brackets = 1;
    p->spec.finalists = 0;
    p->spec.in_place = false;
    p->spec.retry_failures = 1;
    return p;
}

static void play_begin(struct play *p)
{
    p->sw = sweep_new(&p->spec);
}

static void play_free(struct play *p)
{
    sweep_free(p->sw);
    spec_clear(&p->spec);
    free(p);
}

static void happen(struct play *p, struct event *ev)
{
    struct err e = {0};

    ev->time = p->time += 1;
    if (sweep_apply(p->sw, ev, &p->v, &e) != 0)
        fail_msg("%s", e.text);
}

/* A free slot asks; the trial it is given, or -1. */
static int32_t ask(struct play *p)
{
    struct work w = sweep_next(p->sw);
    struct event ev;

    if (w.kind == WORK_DRAW) {
        assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
        happen(p, &ev);
        w = sweep_next(p->sw);
    }
    if (w.kind != WORK_TRIAL)
        return -1;
    sweep_start_event(p->sw, &w, &ev);
    ev.start.agent = 1;
    ev.start.slot = w.trial;
    ev.start.nonce = (uint64_t)(w.trial * 100 + ev.attempt);
    happen(p, &ev);
    p->number[w.trial] = 0;
    return w.trial;
}

static enum decision report(struct play *p, int32_t trial, int64_t step, double loss)
{
    struct metric m = {SLICE("loss"), loss};
    struct event ev = {.kind = EVENT_REPORT, .trial = trial};

    ev.attempt = sweep_trial(p->sw, trial)->attempts;
    ev.report.number = ++p->number[trial];
    ev.report.step = step;
    ev.report.metrics = &m;
    ev.report.n_metrics = isnan(loss) && loss != 0 && signbit(loss) ? 0 : 1;
    happen(p, &ev);
    return p->v.decision;
}

static struct end_facts exited(int code, enum decision answered, int64_t last_step)
{
    return (struct end_facts){.exit_code = code,
                              .answered = answered,
                              .last_step = last_step,
                              .reports = last_step > 0,
                              USAGE_UNKNOWN};
}

static enum outcome end(struct play *p, int32_t trial, struct end_facts facts)
{
    struct event ev = {.kind = EVENT_END, .trial = trial};

    ev.attempt = sweep_trial(p->sw, trial)->attempts;
    ev.end.facts = facts;
    ev.end.outcome = sweep_outcome(p->sw, trial, &facts, &ev.end.saved);
    happen(p, &ev);
    return ev.end.outcome;
}

static enum outcome end_with(struct play *p, int32_t trial, enum outcome o)
{
    struct event ev = {.kind = EVENT_END, .trial = trial};

    ev.attempt = sweep_trial(p->sw, trial)->attempts;
    ev.end.facts = exited(1, DECISION_NONE, 0);
    ev.end.outcome = o;
    ev.end.saved = -1;
    happen(p, &ev);
    return o;
}

/* asks, reports at `step`, ends as a good program does */
static int32_t run_to(struct play *p, int64_t step, double loss)
{
    int32_t t = ask(p);
    enum decision d = report(p, t, step, loss);

    if (d != DECISION_CONTINUE)
        end(p, t, exited(0, d, step));
    return t;
}

/* n new trials at once, so that none is promoted between them */
static void run_together(struct play *p, int n, const double loss[])
{
    for (int i = 0; i < n; i++)
        assert_int_equal(ask(p), i);
    for (int i = 0; i < n; i++)
        end(p, i, exited(0, report(p, i, 1, loss[i]), 1));
}

static enum trial_state state_of(const struct play *p, int32_t trial)
{
    return (enum trial_state)sweep_trial(p->sw, trial)->state;
}

/* ---- what cannot be ---- */

static void test_impossible(void **state)
{
    struct play *p = play_new("3", 9, 5);
    struct verdict v;
    struct sweep_totals before;
    struct event bad[15];
    struct err e;

    (void)state;
    play_begin(p);
    assert_int_equal(ask(p), 0);
    report(p, 0, 1, .5);
    before = *sweep_totals(p->sw);
    for (size_t i = 0; i < 15; i++)
        bad[i] = (struct event){.trial = 0, .attempt = 1};
    bad[0].kind = EVENT_NONE;
    bad[1].kind = EVENT_KINDS;
    bad[2].kind = EVENT_TRIAL; /* number 0 exists */
    bad[3].kind = EVENT_TRIAL;
    bad[3].trial = 1;
    bad[3].drawn.bracket = 1;  /* there is one bracket */
    bad[4].kind = EVENT_START; /* it runs */
    bad[5].kind = EVENT_START;
    bad[5].trial = 7;
    bad[6].kind = EVENT_REPORT;
    bad[6].attempt = 2; /* not the open one */
    bad[7].kind = EVENT_REPORT;
    bad[7].report.number = 1; /* again */
    bad[8].kind = EVENT_END;
    bad[8].attempt = 2;
    bad[9].kind = EVENT_SAVED;
    bad[9].trial = -1;
    bad[10].kind = EVENT_STOP;
    bad[10].trial = 3;
    bad[11].kind = EVENT_SET;
    bad[11].set.key = SLICE("search.trials");
    bad[11].set.value = SLICE("many");
    bad[12].kind = bad[13].kind = bad[14].kind = EVENT_ACCOUNT;
    bad[12].trial = 1;
    bad[13].attempt = 2; /* there is one */
    bad[14].attempt = 0;
    for (size_t i = 0; i < 15; i++) {
        e.text[0] = '\0';
        assert_int_equal(sweep_apply(p->sw, &bad[i], &v, &e), ERR_PROTO);
        assert_true(strlen(e.text) > 0);
        assert_memory_equal(&before, sweep_totals(p->sw), sizeof(before));
    }
    play_free(p);
}

/* ---- who gets work ---- */

static void test_interrupted_first(void **state)
{
    struct play *p = play_new("2", 8, 20);

    (void)state;
    play_begin(p);
    run_together(p, 4, (double[]){.1, .2, .3, .4}); /* 0 and 1 can be promoted */
    assert_int_equal(ask(p), 0);
    assert_int_equal(ask(p), 1);
    assert_int_equal(ask(p), 4);
    assert_int_equal(end_with(p, 4, OUTCOME_LOST), OUTCOME_LOST);
    end_with(p, 1, OUTCOME_PREEMPTED);
    end_with(p, 0, OUTCOME_CANCELLED);
    assert_int_equal(ask(p), 0); /* promoted ones before new ones, the lower first */
    assert_int_equal(ask(p), 1);
    assert_int_equal(ask(p), 4);
    assert_int_equal(sweep_trial(p->sw, 4)->failures, 0);
    play_free(p);
}

static void test_not_before_its_end(void **state)
{
    struct play *p = play_new("2", 8, 3);
    int32_t a, b;

    (void)state;
    play_begin(p);
    a = ask(p);
    b = ask(p);
    assert_int_equal(report(p, a, 1, .1), DECISION_PAUSE);
    assert_int_equal(report(p, b, 1, .2), DECISION_PAUSE);
    end(p, b, exited(0, DECISION_PAUSE, 1));
    assert_int_equal(ask(p), 2); /* a is in the top half, but it still runs */
    end(p, a, exited(0, DECISION_PAUSE, 1));
    assert_int_equal(ask(p), a);
    assert_int_equal(p->v.rung, 0);
    assert_int_equal(p->v.rank, 1);
    assert_int_equal(p->v.size, 2);
    assert_int_equal(sweep_trial(p->sw, a)->until, 2);
    assert_int_equal(sweep_trial(p->sw, a)->attempt_start, 1);
    play_free(p);
}

static void test_passed_over(void **state)
{
    struct play *p = play_new("2", 8, 4);
    struct event ev = {.kind = EVENT_STOP, .trial = 0};

    (void)state;
    play_begin(p);
    run_together(p, 4, (double[]){0, 1, 2, 3});
    happen(p, &ev); /* a person stops the best */
    assert_int_equal(state_of(p, 0), TRIAL_STOPPED);
    assert_int_equal(ask(p), 1);
    assert_int_equal(ask(p), 2);
    assert_int_equal(ask(p), -1);
    play_free(p);
}

static void test_in_place(void **state)
{
    struct play *p = play_new("2", 8, 2);

    (void)state;
    p->spec.in_place = true;
    play_begin(p);
    run_to(p, 1, .5);
    assert_int_equal(ask(p), 1);
    assert_int_equal(report(p, 1, 1, .1), DECISION_CONTINUE);
    assert_true(p->v.in_place);
    assert_int_equal(p->v.until, 2);
    assert_int_equal(sweep_rung(p->sw, 0, 0).promoted, 1);
    /* it was started with --epochs 1 and exits there: it goes on, at no cost */
    assert_int_equal(end(p, 1, exited(0, DECISION_CONTINUE, 1)), OUTCOME_INTERRUPTED);
    assert_int_equal(sweep_trial(p->sw, 1)->failures, 0);
    assert_int_equal(ask(p), 1);
    assert_int_equal(sweep_trial(p->sw, 1)->attempt_start, 1);
    assert_int_equal(sweep_trial(p->sw, 1)->until, 2);
    play_free(p);
}

static void test_finalists(void **state)
{
    struct play *p = play_new("2", 4, 2);

    (void)state;
    p->spec.finalists = 1;
    play_begin(p);
    run_to(p, 1, .5);
    run_to(p, 1, NAN);
    assert_int_equal(ask(p), 0); /* promoted: best of two */
    assert_int_equal(report(p, 0, 2, .4), DECISION_PAUSE);
    assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
    end(p, 0, exited(0, DECISION_PAUSE, 2));
    assert_int_equal(ask(p), 0); /* alone in rung 1: only as a finalist */
    assert_true(sweep_trial(p->sw, 0)->finalist);
    assert_int_equal(sweep_trial(p->sw, 0)->until, 4);
    end_with(p, 0, OUTCOME_NODE_FAIL);
    assert_int_equal(ask(p), 0);
    assert_int_equal(report(p, 0, 4, .3), DECISION_STOP);
    assert_int_equal(end(p, 0, exited(1, DECISION_STOP, 4)), OUTCOME_COMPLETED);
    assert_int_equal(sweep_next(p->sw).kind, WORK_DONE);
    play_free(p);
}

/* ---- reports ---- */

static void test_reports(void **state)
{
    struct play *p = play_new("3", 27, 5);
    const double nothing = -NAN; /* see report(): no metric */

    (void)state;
    p->spec.in_place = true;
    play_begin(p);
    assert_int_equal(ask(p), 0);
    assert_int_equal(report(p, 0, 1, nothing), DECISION_CONTINUE);
    assert_int_equal(p->v.rung, -1);
    assert_int_equal(report(p, 0, 1, .7), DECISION_PAUSE); /* the two are one */
    assert_int_equal(p->v.rung, 0);
    assert_int_equal(report(p, 0, 2, .1), DECISION_PAUSE);
    assert_true(p->v.stale);
    end(p, 0, exited(0, DECISION_PAUSE, 1));
    assert_int_equal(ask(p), 1);
    assert_int_equal(report(p, 1, 10, .5),
                     DECISION_PAUSE); /* jumps over two milestones */
    assert_int_equal(p->v.rung, 2);
    assert_int_equal(sweep_rung(p->sw, 0, 0).reported, 1);
    assert_int_equal(sweep_rung(p->sw, 0, 2).reported, 1);
    end_with(p, 1, OUTCOME_LOST);
    assert_int_equal(state_of(p, 1), TRIAL_PAUSED);
    assert_int_equal(sweep_trial(p->sw, 1)->saved, 0);
    play_free(p);
}

static void test_wild_steps(void **state)
{
    struct play *p = play_new("3", 9, 3);

    (void)state;
    play_begin(p);
    for (int32_t t = 0; t < 3; t++) {
        assert_int_equal(ask(p), t);
        assert_int_equal(report(p, t, INT64_MAX, 1), DECISION_STOP);
        assert_int_equal(end(p, t, exited(0, DECISION_STOP, INT64_MAX)),
                         OUTCOME_COMPLETED);
        assert_true(sweep_totals(p->sw)->steps == INT64_MAX);
    }
    play_free(p);
}

static void test_best(void **state)
{
    struct play *p = play_new("3", 27, 5);
    int32_t best[3];

    (void)state;
    p->spec.objective[0].maximize = true;
    play_begin(p);
    assert_int_equal(sweep_best(p->sw, best, 3), 0);
    run_together(p, 4, (double[]){.5, .5, INFINITY, .25}); /* a tie: the lower trial */
    assert_int_equal(sweep_totals(p->sw)->best, 0);
    assert_int_equal(sweep_best(p->sw, best, 3), 3);
    assert_int_equal(best[0], 0);
    assert_int_equal(best[1], 1);
    assert_int_equal(best[2], 3);
    assert_int_equal(ask(p), 0);
    report(p, 0, 2, .4);
    assert_true(sweep_trial(p->sw, 0)->best.v[0] == .5);
    report(p, 0, 3, .5); /* equal at a higher step */
    assert_int_equal(sweep_trial(p->sw, 0)->best_step, 3);
    play_free(p);
}

static void test_stop_mode(void **state)
{
    struct play *p = play_new("2", 8, 5);

    (void)state;
    p->spec.mode = MODE_STOP;
    play_begin(p);
    assert_int_equal(ask(p), 0);
    assert_int_equal(sweep_trial(p->sw, 0)->began_until, 8);
    assert_int_equal(sweep_trial(p->sw, 0)->until, 1);
    assert_int_equal(report(p, 0, 1, .5), DECISION_CONTINUE); /* the first */
    assert_int_equal(p->v.until, 2);
    assert_int_equal(ask(p), 1);
    assert_int_equal(report(p, 1, 1, .6), DECISION_STOP);
    assert_int_equal(end(p, 1, exited(9, DECISION_STOP, 1)), OUTCOME_STOPPED);
    assert_int_equal(ask(p), 2);
    assert_int_equal(report(p, 2, 1, NAN), DECISION_STOP);
    /* interrupted between rungs: it waits, it is not "paused" */
    assert_int_equal(end_with(p, 0, OUTCOME_PREEMPTED), OUTCOME_PREEMPTED);
    assert_int_equal(state_of(p, 0), TRIAL_WAITING);
    assert_int_equal(ask(p), 0);
    play_free(p);
}

/* ---- ends ---- */

static void test_retries(void **state)
{
    struct play *p = play_new("2", 8, 1);

    (void)state;
    play_begin(p);
    ask(p);
    assert_int_equal(end(p, 0, exited(3, DECISION_NONE, 0)), OUTCOME_FAILED);
    assert_int_equal(state_of(p, 0), TRIAL_WAITING);
    assert_int_equal(ask(p), 0);
    /* told to pause, and fails: it keeps its place and starts from what was saved last */
    assert_int_equal(report(p, 0, 1, .5), DECISION_PAUSE);
    assert_int_equal(sweep_trial(p->sw, 0)->failures, 1);
    assert_int_equal(end(p, 0, exited(1, DECISION_PAUSE, 1)), OUTCOME_FAILED);
    assert_int_equal(state_of(p, 0), TRIAL_FAILED);
    assert_int_equal(sweep_next(p->sw).kind, WORK_DONE);
    play_free(p);
}

static void test_too_short(void **state)
{
    struct play *p = play_new("2", 8, 1);
    struct event saved = {.kind = EVENT_SAVED, .trial = 0};

    (void)state;
    play_begin(p);
    ask(p);
    end_with(p, 0, OUTCOME_TIMEOUT);
    ask(p);
    saved.attempt = 2;
    saved.saved.number = 1;
    saved.saved.step = 1;
    happen(p, &saved);
    end_with(p, 0, OUTCOME_TIMEOUT); /* with a newer checkpoint: begins to count again */
    ask(p);
    assert_int_equal(sweep_trial(p->sw, 0)->attempt_start, 1);
    end_with(p, 0, OUTCOME_TIMEOUT);
    assert_int_equal(state_of(p, 0), TRIAL_WAITING);
    ask(p);
    end_with(p, 0, OUTCOME_TIMEOUT);
    assert_int_equal(state_of(p, 0), TRIAL_FAILED);
    play_free(p);
}

static void test_oom(void **state)
{
    struct play *p = play_new("2", 8, 1);
    struct end_facts killed = exited(-1, DECISION_NONE, 0);
    struct str params = STR_INIT;

    (void)state;
    killed.oom = true;
    killed.signal = 9;
    p->spec.oom_param = 1;
    p->spec.oom_factor = .5;
    p->spec.oom_min = 20;
    play_begin(p);
    for (int i = 0; i < 2; i++) { /* 64 -> 32 -> 20, without costing a retry */
        ask(p);
        assert_int_equal(end(p, 0, killed), OUTCOME_OOM);
        assert_int_equal(sweep_trial(p->sw, 0)->failures, 0);
    }
    sweep_params(p->sw, 0, &params);
    assert_non_null(strstr(params.p, "\"batch\":20}"));
    assert_non_null(strstr(sweep_trial(p->sw, 0)->params, "\"batch\":64}"));
    ask(p);
    end(p, 0, killed);
    assert_int_equal(sweep_trial(p->sw, 0)->failures, 1);
    str_free(&params);
    play_free(p);
}

static void test_outcomes(void **state)
{
    static const struct {
        int exit_code;
        bool oom;
        enum end_cause cause;
        enum decision answered;
        int64_t last_step;
        enum outcome outcome;
        int64_t saved;
    } table[] = {
        {1, false, CAUSE_NO_LAUNCH, DECISION_NONE, 0, OUTCOME_LAUNCH_FAILED, -1},
        {-1, false, CAUSE_AGENT_GONE, DECISION_NONE, 2, OUTCOME_LOST, -1},
        {-1, false, CAUSE_EVICTED, DECISION_NONE, 2, OUTCOME_PREEMPTED, -1},
        {-1, false, CAUSE_HANG, DECISION_CONTINUE, 2, OUTCOME_HUNG, -1},
        {-1, false, CAUSE_USER_STOP, DECISION_CONTINUE, 2, OUTCOME_STOPPED, -1},
        {0, false, CAUSE_PAUSING, DECISION_PAUSE, 2, OUTCOME_INTERRUPTED, 2},
        {-1, false, CAUSE_PAUSING, DECISION_CONTINUE, 2, OUTCOME_INTERRUPTED, -1},
        {0, false, CAUSE_NOTHING, DECISION_NONE, 0, OUTCOME_FAILED, -1},
        {0, false, CAUSE_NOTHING, DECISION_CONTINUE, 2, OUTCOME_COMPLETED,
         -1}, /* early */
        {0, false, CAUSE_NOTHING, DECISION_CONTINUE, 3, OUTCOME_COMPLETED,
         -1}, /* no metric */
        {0, false, CAUSE_NOTHING, DECISION_CONTINUE, 9, OUTCOME_COMPLETED, -1},
        {0, true, CAUSE_NOTHING, DECISION_CONTINUE, 2, OUTCOME_OOM, -1},
        {2, false, CAUSE_NOTHING, DECISION_CONTINUE, 2, OUTCOME_FAILED, -1},
        {-1, false, CAUSE_AFTER_PAUSE, DECISION_PAUSE, 2, OUTCOME_FAILED, -1},
        {0, false, CAUSE_AFTER_PAUSE, DECISION_PAUSE, 2, OUTCOME_INTERRUPTED, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct play *p = play_new("3", 9, 1);
        struct end_facts f =
            exited(table[i].exit_code, table[i].answered, table[i].last_step);
        int64_t saved;

        p->spec.grace_period = 3;
        play_begin(p);
        ask(p);
        f.oom = table[i].oom;
        f.cause = table[i].cause;
        assert_int_equal(sweep_outcome(p->sw, 0, &f, &saved), table[i].outcome);
        assert_int_equal(saved, table[i].saved);
        play_free(p);
    }
}

static void lose(struct play *p, enum outcome expect, const char *slurm_state)
{
    struct end_facts gone = exited(-1, DECISION_NONE, 0);

    ask(p);
    gone.cause = CAUSE_AGENT_GONE;
    gone.slurm_state = slice_of(slurm_state);
    assert_int_equal(end(p, 0, gone), expect);
}

/* A trial that takes its slot with it fails from the third time in a row on, unless it
 * had reported something or Slurm knows of another reason. */
static void test_lost_in_a_row(void **state)
{
    struct play *p = play_new("3", 9, 1);
    struct end_facts gone = exited(-1, DECISION_CONTINUE, 1);

    (void)state;
    p->spec.grace_period = 3;
    play_begin(p);
    lose(p, OUTCOME_LOST, "");
    lose(p, OUTCOME_LOST, "");
    ask(p);
    assert_int_equal(report(p, 0, 1, .1), DECISION_CONTINUE);
    gone.cause = CAUSE_AGENT_GONE;
    assert_int_equal(end(p, 0, gone), OUTCOME_LOST);
    lose(p, OUTCOME_LOST, "");
    lose(p, OUTCOME_LOST, "");
    lose(p, OUTCOME_NODE_FAIL, "NODE_FAIL"); /* that is why */
    lose(p, OUTCOME_LOST, "");
    lose(p, OUTCOME_LOST, "");
    lose(p, OUTCOME_FAILED, "");
    assert_int_equal(sweep_trial(p->sw, 0)->state, TRIAL_WAITING);
    lose(p, OUTCOME_FAILED, "");
    assert_int_equal(sweep_trial(p->sw, 0)->state, TRIAL_FAILED);
    play_free(p);
}

/* A free slot asks, and what it is given runs to its milestone, with the trial's number
 * as loss; false: nothing to do. */
static bool play_one(struct play *p)
{
    int32_t t = ask(p);
    int64_t until;

    if (t < 0)
        return false;
    do
        until = sweep_trial(p->sw, t)->until;
    while (report(p, t, until, t) == DECISION_CONTINUE);
    end(p, t, exited(p->v.decision == DECISION_PAUSE ? 0 : -1, p->v.decision, until));
    return true;
}

/* The table in section 2.2 of the paper, R = 81 and eta = 3: how many trials each bracket
 * has at each of its levels. */
static void test_hyperband(void **state)
{
    static const uint32_t sizes[5][5] = {
        {81, 27, 9, 3, 1}, {34, 11, 3, 1}, {15, 5, 1}, {8, 2}, {5}};
    struct play *p = play_new("3", 81, 143 + 81 + 10);

    (void)state;
    p->spec.schedule = SCHEDULE_HYPERBAND;
    play_begin(p);
    while (play_one(p))
        ;
    assert_int_equal(sweep_brackets(p->sw), 7);
    for (int s = 0; s < 6; s++) {
        int rungs = sweep_rungs(p->sw, s);

        assert_int_equal(rungs, 4 - s % 5);
        for (int k = 0; k < rungs; k++) {
            assert_int_equal(sweep_rung(p->sw, s, k).reported, sizes[s % 5][k]);
            assert_int_equal(sweep_rung(p->sw, s, k).promoted, sizes[s % 5][k + 1]);
        }
    }
    /* the last has 10 trials of 34 */
    assert_int_equal(sweep_rung(p->sw, 6, 0).reported, 10);
    assert_int_equal(sweep_rung(p->sw, 6, 1).reported, 3);
    assert_int_equal(sweep_rung(p->sw, 6, 2).reported, 1);
    assert_int_equal(sweep_rung(p->sw, 6, 2).promoted, 1);
    assert_float_equal(sweep_expected(p->sw, 0), 234. * 81 / 143, 1e-9);
    assert_float_equal(sweep_expected(p->sw, 4), 234. * (1 + 1 + 1 + 2 + 5) / 143, 1e-9);
    play_free(p);
}

/* A rung keeps one at least, and waits for who is interrupted. */
static void test_sha(void **state)
{
    struct play *p = play_new("3", 81, 7);

    (void)state;
    p->spec.schedule = SCHEDULE_SHA;
    play_begin(p);
    for (int i = 0; i < 6; i++)
        assert_true(play_one(p));
    assert_int_equal(ask(p), 6);
    assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
    assert_int_equal(end_with(p, 6, OUTCOME_PREEMPTED), OUTCOME_PREEMPTED);
    assert_int_equal(ask(p), 6);
    assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
    end_with(p, 6, OUTCOME_FAILED);
    assert_int_equal(ask(p), 6);
    end_with(p, 6, OUTCOME_FAILED); /* for good: two of the other six go on */
    while (play_one(p))
        ;
    assert_int_equal(sweep_brackets(p->sw), 1);
    assert_int_equal(sweep_rung(p->sw, 0, 0).reported, 6);
    assert_int_equal(sweep_rung(p->sw, 0, 0).promoted, 2);
    assert_int_equal(sweep_rung(p->sw, 0, 1).promoted, 1);
    assert_int_equal(sweep_rung(p->sw, 0, 3).promoted, 1);
    assert_true(sweep_trial(p->sw, 0)->complete);
    play_free(p);
}

/* Each report from the grace period on is the sweep's to answer, and the first may be
 * resumed at. */
static void test_median(void **state)
{
    struct play *p = play_new("3", 9, 4);

    (void)state;
    p->spec.schedule = SCHEDULE_MEDIAN;
    p->spec.mode = MODE_STOP;
    p->spec.grace_period = 2;
    p->spec.min_trials = 2;
    play_begin(p);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask(p), i);
    assert_int_equal(sweep_trial(p->sw, 0)->until, 2);
    assert_int_equal(report(p, 0, 1, 9), DECISION_CONTINUE);
    assert_int_equal(p->v.until, 2);
    assert_int_equal(report(p, 0, 2, .3), DECISION_CONTINUE);
    assert_int_equal(p->v.until, 3);
    assert_int_equal(report(p, 1, 2, .5), DECISION_CONTINUE); /* one other */
    assert_true(isnan(p->v.cutoff));
    assert_int_equal(report(p, 2, 2, .4), DECISION_CONTINUE); /* .3 and .5: as good */
    assert_true(p->v.cutoff == .4 && p->v.value == .4 && p->v.size == 2);
    assert_int_equal(report(p, 3, 2, .41), DECISION_STOP);
    assert_true(p->v.cutoff == .4);
    assert_int_equal(end(p, 3, exited(-1, DECISION_STOP, 2)), OUTCOME_STOPPED);
    assert_int_equal(report(p, 0, 3, .8), DECISION_CONTINUE); /* its best is .3 */
    assert_int_equal(report(p, 1, 3, NAN), DECISION_STOP);
    assert_int_equal(report(p, 0, 9, .8), DECISION_STOP);
    assert_true(sweep_trial(p->sw, 0)->complete);
    play_free(p);
}

/* ---- population based training ---- */

static struct play *population(int64_t interval, int64_t max_t, int trials)
{
    struct play *p = play_new("3", max_t, trials);

    p->spec.schedule = SCHEDULE_PBT;
    p->spec.interval = interval;
    play_begin(p);
    return p;
}

/* One after another, which is what one slot does: a round to each milestone, the worst
 * replaced by a copy of the best, and of those that are further only what they had here
 * counts. */
static void test_pbt(void **state)
{
    struct play *p = population(2, 6, 4);
    const struct trial *child;

    (void)state;
    assert_int_equal(sweep_rungs(p->sw, 0), 2);
    assert_int_equal(sweep_milestone(p->sw, 0, 1), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(run_to(p, 2, i == 2 ? 1 : i == 1 ? .1 : .5), i);
    assert_int_equal(p->v.rung, -1); /* of an end */
    assert_int_equal(sweep_trial(p->sw, 1)->kept, 1);
    assert_int_equal(run_to(p, 4, .4), 0);
    assert_int_equal(run_to(p, 4, .05), 1);
    assert_int_equal(sweep_next(p->sw).kind, WORK_DRAW); /* 2 is the worst at step 2 */
    assert_int_equal(ask(p), 4);
    child = sweep_trial(p->sw, 4);
    assert_int_equal(state_of(p, 2), TRIAL_STOPPED);
    assert_int_equal(sweep_trial(p->sw, 2)->replaced, 4);
    assert_int_equal(child->parent, 1); /* the best at step 2, and from where it is now */
    assert_int_equal(child->source, 2);
    assert_true(child->born == 4 && child->attempt_start == 4 && child->until == 6);
    assert_int_equal(sweep_rung(p->sw, 0, 0).stopped, 1);
    assert_int_equal(report(p, 4, 4, 9), DECISION_CONTINUE); /* its parent's step */
    assert_true(p->v.stale);
    assert_int_equal(report(p, 4, 6, .1), DECISION_STOP);
    end(p, 4, exited(0, DECISION_STOP, 6));
    assert_int_equal(run_to(p, 4, .04), 3); /* .5 was the third, though it is the last */
    /* at step 4 trial 0's is the worst: 4 counts with .05, as its parent */
    assert_int_equal(run_to(p, 6, .3), 5);
    assert_int_equal(state_of(p, 0), TRIAL_STOPPED);
    assert_int_equal(sweep_trial(p->sw, 5)->parent, 3);
    assert_int_equal(run_to(p, 6, .3), 1);
    assert_int_equal(run_to(p, 6, .3), 3);
    assert_int_equal(sweep_next(p->sw).kind, WORK_DONE);
    assert_int_equal(sweep_totals(p->sw)->state[TRIAL_COMPLETED], 4);
    assert_int_equal(sweep_totals(p->sw)->planned, 6);
    assert_int_equal(sweep_totals(p->sw)->steps, 4 * 6 - 2); /* 4 began further on */
    assert_float_equal(sweep_expected(p->sw, 2), 4, 0);
    play_free(p);
}

/* The verdict on who is replaced comes with who replaces it. */
static void test_pbt_verdict(void **state)
{
    struct play *p = population(1, 3, 4);
    struct event ev;

    (void)state;
    for (int i = 0; i < 4; i++)
        ask(p);
    for (int i = 0; i < 4; i++)
        end(p, i, exited(0, report(p, i, 1, i == 0 ? 7 : i), 1));
    assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
    assert_int_equal(ev.drawn.replaces, 0);
    assert_int_equal(ev.drawn.parent, 1);
    happen(p, &ev);
    assert_true(p->v.decision == DECISION_STOP && p->v.rung == 0);
    assert_true(p->v.value == 7 && p->v.cutoff == 3);
    assert_true(p->v.rank == 4 && p->v.size == 4);
    assert_int_equal(ask(p), 4);
    assert_int_equal(ask(p), 1);
    assert_true(p->v.rank == 1 && p->v.cutoff == 3 && p->v.value == 1);
    assert_int_equal(report(p, 1, 2, 5), DECISION_PAUSE); /* beside 7, 2 and 3 */
    assert_true(p->v.rank == 3 && p->v.size == 4 && p->v.cutoff == 5);
    play_free(p);
}

/* Nobody's turn comes while a quarter are still on their way. What has diverged ends
 * then, and never is a parent; nor is who is behind, though it was the best. */
static void test_pbt_parents(void **state)
{
    struct play *p = population(1, 9, 8);

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(ask(p), i);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
        end(p, i, exited(0, report(p, i, 1, i == 0 ? NAN : i), 1));
    }
    assert_int_equal(ask(p), 8); /* in the place of 0; a quarter of seven is one */
    assert_int_equal(sweep_trial(p->sw, 8)->parent, 1);
    assert_int_equal(sweep_trial(p->sw, 8)->born, 1);
    assert_int_equal(state_of(p, 0), TRIAL_STOPPED);
    for (int i = 1; i < 7; i++)
        assert_int_equal(ask(p), i);
    end(p, 7, exited(0, report(p, 7, 1, 7), 1));
    assert_int_equal(ask(p), 9); /* in the place of 7 */
    assert_true(sweep_trial(p->sw, 9)->parent == 1 || sweep_trial(p->sw, 9)->parent == 2);
    assert_true(sweep_keeps(p->sw, sweep_trial(p->sw, 9)->parent, 1));

    for (int i = 2; i < 10; i++) {
        if (i != 7)
            end(p, i, exited(0, report(p, i, 2, i == 3 ? NAN : i), 2));
    }
    assert_int_equal(ask(p), 2);
    assert_int_equal(ask(p), 10); /* in the place of 3; 1 has not come to step 2 */
    assert_int_equal(sweep_trial(p->sw, 10)->parent, 2);
    assert_int_equal(sweep_trial(p->sw, 10)->born, 2);
    play_free(p);
}

/* Places that are empty are not waited for. */
static void test_pbt_empty_places(void **state)
{
    struct play *p = population(1, 9, 4);
    struct event stop = {.kind = EVENT_STOP};

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask(p), i);
    for (int i = 0; i < 2; i++)
        end(p, i, exited(0, report(p, i, 1, i), 1));
    assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
    stop.trial = 2;
    happen(p, &stop);
    end_with(p, 2, OUTCOME_STOPPED);
    assert_int_equal(ask(p), 0); /* nobody of three is replaced */
    play_free(p);
}

/* The directory of an attempt is needed until all that begin from it have reported. */
static void test_pbt_keeps(void **state)
{
    struct play *p = population(1, 4, 4);

    (void)state;
    for (int i = 0; i < 4; i++)
        run_to(p, 1, i);
    assert_true(sweep_keeps(p->sw, 0, 1) && !sweep_keeps(p->sw, 0, 2));
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(p), i);
    assert_int_equal(ask(p), 4); /* from 0's first */
    end(p, 0, exited(0, report(p, 0, 2, 0), 2));
    assert_true(sweep_keeps(p->sw, 0, 1) && sweep_keeps(p->sw, 0, 2));
    assert_int_equal(end_with(p, 4, OUTCOME_LOST), OUTCOME_LOST);
    assert_int_equal(ask(p), 4);
    assert_true(sweep_keeps(p->sw, 0, 1));
    assert_true(sweep_trial(p->sw, 4)->attempt_start == 1);
    report(p, 4, 2, 5);
    assert_false(sweep_keeps(p->sw, 0, 1));
    play_free(p);
}

/* A draw is made anew until it satisfies the constraints; it is a changed parent. */
static void test_pbt_draws(void **state)
{
    struct play *p = population(1, 50, 4);
    static const struct space_errors errors = {ignore, NULL};
    int scaled = 0, anew = 0;

    (void)state;
    space_constrain(p->spec.space, "lr < 0.9", &errors);
    for (int i = 0; i < 4; i++)
        run_to(p, 1, i);
    for (int32_t i; (i = ask(p)) >= 0;) {
        const struct trial *t = sweep_trial(p->sw, i);
        int64_t until = t->until;
        double lr, of;

        end(p, i, exited(0, report(p, i, until, i % 5), until));
        t = sweep_trial(p->sw, i);
        if (t->parent < 0 || t->attempts > 1)
            continue;
        lr = strtod(strchr(t->params, ':') + 1, NULL);
        of = strtod(strchr(sweep_trial(p->sw, t->parent)->params, ':') + 1, NULL);
        assert_true(lr < 0.9);
        scaled += fabs(lr / of - 1.2) < 1e-12 || fabs(lr / of - 0.8) < 1e-12;
        anew++;
    }
    assert_true(anew >= 20 && scaled >= anew / 2 && scaled < anew);
    play_free(p);
}

static void test_pbt_impossible(void **state)
{
    struct play *p = population(1, 4, 4);
    struct event ev;
    struct err e;

    (void)state;
    for (int i = 0; i < 4; i++)
        run_to(p, 1, i);
    for (int i = 0; i < 3; i++)
        ask(p);
    assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
    ev.drawn.replaces = 2; /* it runs */
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, &e), ERR_PROTO);
    ev.drawn.replaces = 3;
    ev.drawn.source = 2; /* runs, too */
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, &e), ERR_PROTO);
    ev.drawn.source = 1;
    ev.drawn.start = 2;
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, &e), ERR_PROTO);
    ev.drawn.start = 1;
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, &e), 0);
    play_free(p);
}

static void test_plateau(void **state)
{
    struct play *p = play_new("3", 9, 9);

    (void)state;
    p->spec.schedule = SCHEDULE_NONE;
    p->spec.improvement = .05;
    play_begin(p);
    for (int i = 0; i < 6; i++)
        assert_int_equal(ask(p), i);
    report(p, 0, 1, .5);
    assert_int_equal(sweep_totals(p->sw)->plateau, 0);
    report(p, 1, 1, NAN);
    report(p, 1, 2, NAN); /* the same trial */
    report(p, 2, 1, .47); /* not enough */
    assert_int_equal(sweep_totals(p->sw)->plateau, 2);
    report(p, 3, 1, .46);
    assert_int_equal(sweep_totals(p->sw)->plateau, 3);
    report(p, 2, 2, .44); /* but all together is */
    assert_int_equal(sweep_totals(p->sw)->plateau, 0);
    report(p, 4, 1, .4);
    assert_int_equal(sweep_totals(p->sw)->plateau, 1);
    play_free(p);
}

/* Two objectives, less loss and more speed; NaN with a sign: not in the report. */
static enum decision report_two(struct play *p, int32_t trial, int64_t step, double loss,
                                double speed)
{
    struct metric m[2];
    struct event ev = {.kind = EVENT_REPORT, .trial = trial};

    ev.attempt = sweep_trial(p->sw, trial)->attempts;
    ev.report.number = ++p->number[trial];
    ev.report.step = step;
    ev.report.metrics = m;
    if (!(isnan(loss) && signbit(loss)))
        m[ev.report.n_metrics++] = (struct metric){SLICE("loss"), loss};
    if (!(isnan(speed) && signbit(speed)))
        m[ev.report.n_metrics++] = (struct metric){SLICE("speed"), speed};
    happen(p, &ev);
    return p->v.decision;
}

static struct play *play_two(enum schedule_method schedule)
{
    struct play *p = play_new("2", 9, 9);

    p->spec.objectives = 2;
    p->spec.objective[1] = (struct objective){mem_strdup("speed"), true};
    p->spec.schedule = schedule;
    play_begin(p);
    for (int i = 0; i < 6; i++)
        assert_int_equal(ask(p), i);
    return p;
}

static void test_several_reports(void **state)
{
    struct play *p = play_two(SCHEDULE_ASHA);

    (void)state;
    assert_int_equal(report_two(p, 0, 1, .5, -NAN), DECISION_CONTINUE);
    assert_int_equal(p->v.rung, -1);
    assert_false(sweep_trial(p->sw, 0)->heard);
    assert_int_equal(report_two(p, 0, 1, -NAN, 3), DECISION_PAUSE); /* the same step */
    assert_int_equal(p->v.rung, 0);
    assert_true(p->v.value == .5);
    assert_true(isnan(p->v.cutoff));
    assert_true(sweep_trial(p->sw, 0)->best.v[1] == 3);

    report_two(p, 1, 1, .5, -NAN);
    assert_int_equal(report_two(p, 1, 2, -NAN, 3), DECISION_CONTINUE); /* another step */
    assert_int_equal(p->v.rung, -1);
    assert_int_equal(report_two(p, 1, 3, .4, 4), DECISION_PAUSE);
    assert_int_equal(sweep_trial(p->sw, 1)->rung, 1);

    /* one that is not finite makes the whole the worst */
    assert_int_equal(report_two(p, 2, 1, .1, NAN), DECISION_PAUSE);
    assert_int_equal(p->v.rank, 2);
    assert_int_equal(p->v.size, 2);
    assert_int_equal(sweep_trial(p->sw, 2)->best_step, -1);
    assert_true(sweep_trial(p->sw, 2)->metric.v[0] == .1);
    report_two(p, 3, 1, .6, 4); /* of a front with trial 0: who was recorded first */
    assert_int_equal(p->v.rank, 2);
    report_two(p, 4, 1, .4, 4); /* dominates both */
    assert_int_equal(p->v.rank, 1);
    assert_int_equal(p->v.size, 4);
    end(p, 0, exited(0, DECISION_PAUSE, 1));
    end(p, 3, exited(0, DECISION_PAUSE, 1));
    end(p, 4, exited(0, DECISION_PAUSE, 1));
    assert_int_equal(ask(p), 4); /* two of four may go on */
    assert_int_equal(p->v.rung, 0);
    assert_true(p->v.value == .4);
    assert_int_equal(ask(p), 0);
    assert_int_equal(ask(p), 6);
    play_free(p);
}

static void test_several_best(void **state)
{
    struct play *p = play_two(SCHEDULE_NONE);
    int32_t best[6], front[6];

    (void)state;
    assert_int_equal(sweep_best(p->sw, best, 6), 0);
    assert_int_equal(sweep_front(p->sw), 0);
    report_two(p, 0, 1, .5, 5);
    report_two(p, 0, 2, .6, 6); /* neither dominates: the later one */
    assert_int_equal(sweep_trial(p->sw, 0)->best_step, 2);
    report_two(p, 0, 3, .7, 6); /* dominated */
    assert_int_equal(sweep_trial(p->sw, 0)->best_step, 2);
    report_two(p, 1, 1, .55, 5);
    assert_int_equal(sweep_totals(p->sw)->best, 1);
    report_two(p, 1, 2, .65, 7); /* worse in the first */
    assert_int_equal(sweep_totals(p->sw)->best, 0);
    report_two(p, 2, 1, .9, 1);
    report_two(p, 3, 1, .62, 6.5);
    report_two(p, 4, 1, NAN, 1);
    sweep_fronts(p->sw, front);
    assert_int_equal(front[0], 1);
    assert_int_equal(front[1], 1);
    assert_int_equal(front[2], 2);
    assert_int_equal(front[3], 1);
    assert_int_equal(front[4], -1);
    assert_int_equal(sweep_front(p->sw), 3);
    /* the ends before the middle, and what is chosen by the first objective */
    assert_int_equal(sweep_best(p->sw, best, 2), 2);
    assert_int_equal(best[0], 0);
    assert_int_equal(best[1], 1);
    assert_int_equal(sweep_best(p->sw, best, 6), 4);
    assert_int_equal(best[0], 0);
    assert_int_equal(best[1], 3);
    assert_int_equal(best[2], 1);
    assert_int_equal(best[3], 2);
    play_free(p);
}

static void test_several_plateau(void **state)
{
    struct play *p = play_two(SCHEDULE_NONE);

    (void)state;
    report_two(p, 0, 1, .5, 5);
    assert_int_equal(sweep_totals(p->sw)->plateau, 0);
    report_two(p, 1, 1, .5, 5); /* as good is not better */
    report_two(p, 2, 1, .6, 4);
    assert_int_equal(sweep_totals(p->sw)->plateau, 2);
    report_two(p, 3, 1, .6, 6); /* better in one */
    assert_int_equal(sweep_totals(p->sw)->plateau, 0);
    report_two(p, 4, 1, .4, 7); /* than all */
    assert_int_equal(sweep_totals(p->sw)->plateau, 0);
    report_two(p, 5, 1, .45, 6.5);
    assert_int_equal(sweep_totals(p->sw)->plateau, 1);
    assert_int_equal(p->sw->bettered.n, 1);
    play_free(p);
}

static void test_user_stop(void **state)
{
    struct play *p = play_new("3", 9, 9);
    struct event ev = {.kind = EVENT_STOP, .trial = 0};

    (void)state;
    play_begin(p);
    ask(p);
    ask(p);
    happen(p, &ev);
    assert_int_equal(report(p, 0, 1, .1), DECISION_STOP);
    assert_int_equal(end(p, 0, exited(-1, DECISION_STOP, 1)), OUTCOME_STOPPED);
    ev.trial = -1;
    happen(p, &ev);
    assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
    end_with(p, 1, OUTCOME_LOST);
    assert_int_equal(state_of(p, 1), TRIAL_STOPPED);
    assert_int_equal(sweep_next(p->sw).kind, WORK_DONE);
    play_free(p);
}

static void test_pausing(void **state)
{
    struct play *p = play_new("2", 8, 9);
    struct event ev = {.kind = EVENT_PAUSE, .trial = -1};

    (void)state;
    p->spec.in_place = true;
    play_begin(p);
    run_to(p, 1, .5);
    ask(p);
    happen(p, &ev);
    assert_int_equal(report(p, 1, 1, .1),
                     DECISION_PAUSE); /* else it would go on in place */
    assert_int_equal(sweep_next(p->sw).kind, WORK_WAIT);
    end(p, 1, exited(0, DECISION_PAUSE, 1));
    assert_int_equal(sweep_next(p->sw).kind, WORK_DONE);
    ev.kind = EVENT_RESUME;
    happen(p, &ev);
    assert_int_equal(ask(p), 1);
    play_free(p);
}

/* ---- what a model sees ---- */

static enum standing seen(const struct play *p, int level, int32_t trial,
                          struct standing_rank *rank)
{
    return observed_standing(p->sw->seen, level, trial, rank);
}

/* Values count at the level whose step they were reported at. */
static void test_seen_values(void **state)
{
    struct play *p = play_new("3", 9, 20);
    struct standing_rank rank;

    (void)state;
    p->spec.search = SEARCH_TPE;
    p->spec.objective[0].maximize = true;
    p->spec.retry_failures = 0;
    play_begin(p);
    run_together(p, 4, (const double[]){.1, .2, NAN, .4});
    assert_int_equal(run_to(p, 3, .5), 3); /* promoted, to step 3 */
    assert_int_equal(ask(p), 4);
    assert_int_equal(ask(p), 5);
    assert_int_equal(end(p, 5, exited(1, DECISION_NONE, 0)), OUTCOME_FAILED);
    assert_int_equal(seen(p, 0, 0, &rank), STANDING_FINITE);
    assert_true(rank.value == -.1 && rank.below == 0);
    assert_int_equal(seen(p, 1, 0, &rank), STANDING_FINITE);
    assert_true(rank.value == -.1 && rank.below == 1);
    assert_int_equal(seen(p, 0, 2, &rank), STANDING_WORST);
    assert_int_equal(seen(p, 0, 3, &rank), STANDING_FINITE);
    assert_true(rank.value == -.4);
    assert_int_equal(seen(p, 2, 3, &rank), STANDING_FINITE);
    assert_true(rank.value == -.5 && rank.below == 1);
    assert_int_equal(seen(p, 0, 4, &rank), STANDING_PENDING);
    assert_int_equal(seen(p, 0, 5, &rank), STANDING_WORST);
    assert_int_equal(report(p, 4, 1, .9), DECISION_PAUSE);
    assert_int_equal(seen(p, 0, 4, &rank), STANDING_FINITE);
    end(p, 4, exited(1, DECISION_PAUSE, 1));
    assert_int_equal(state_of(p, 4), TRIAL_FAILED);
    assert_int_equal(seen(p, 0, 4, &rank), STANDING_WORST);
    play_free(p);
}

/* Without rungs: what it came to at max_t, or at its own end before that. A retry is no
 * failure yet; a person's stop says nothing of a trial. */
static void test_seen_ends(void **state)
{
    struct play *p = play_new("3", 9, 20);
    struct event stop = {.kind = EVENT_STOP, .trial = 3};
    struct standing_rank rank;

    (void)state;
    p->spec.search = SEARCH_TPE;
    p->spec.schedule = SCHEDULE_NONE;
    p->spec.mode = MODE_STOP;
    play_begin(p);
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask(p), i);
    report(p, 0, 5, .3);
    assert_int_equal(seen(p, 0, 0, &rank), STANDING_PENDING);
    report(p, 0, 9, .2);
    assert_int_equal(seen(p, 0, 0, &rank), STANDING_FINITE);
    assert_true(rank.value == .2);
    report(p, 1, 5, .3);
    end(p, 1, exited(0, DECISION_CONTINUE, 5));
    assert_int_equal(seen(p, 0, 1, &rank), STANDING_FINITE);
    assert_true(rank.value == .3);
    assert_true(observed_rests(p->sw->seen, 1));
    assert_false(observed_rests(p->sw->seen, 2));
    end(p, 2, exited(1, DECISION_NONE, 0)); /* it is tried again */
    assert_false(observed_rests(p->sw->seen, 2));
    assert_int_equal(seen(p, 0, 2, &rank), STANDING_PENDING);
    report(p, 3, 5, .1);
    happen(p, &stop);
    end(p, 3, exited(0, DECISION_STOP, 5));
    assert_int_equal(seen(p, 0, 3, &rank), STANDING_NONE);
    stop.trial = 2; /* while it waits */
    happen(p, &stop);
    assert_int_equal(seen(p, 0, 2, &rank), STANDING_NONE);
    play_free(p);
}

/* Four that have a value are a generation of one dimension, failed ones among them; the
 * event of a draw says which one it is of. */
static void test_seen_by_cmaes(void **state)
{
    struct play *p = play_new("3", 9, 20);
    struct event ev;

    (void)state;
    p->spec.search = SEARCH_CMAES;
    p->spec.retry_failures = 0;
    play_begin(p);
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask(p), i);
    report(p, 0, 1, .3);
    report(p, 1, 3, .1); /* past the first rung: it is not recorded there */
    report(p, 2, 1, NAN);
    report(p, 3, 1, .2);
    assert_true(sweep_draws_by_model(p->sw));
    assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
    assert_int_equal(ev.drawn.cursor, 0);
    end(p, 4, exited(1, DECISION_NONE, 0));
    assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
    assert_int_equal(ev.drawn.cursor, 1);
    happen(p, &ev);
    assert_int_equal(p->sw->cursor, 1);
    play_free(p);
}

/* A draft is the draw that sweep_draw() would make, whatever happens while it is made;
 * then it is old, and can be used. */
static void test_drafts(void **state)
{
    struct play *p = play_new("3", 9, 40);
    struct event now, later;
    struct draft *d;
    double u[2];

    (void)state;
    play_begin(p);
    assert_int_equal(draft_begin(p->sw, &d, NULL), 0);
    assert_null(d); /* of a search that takes no time */
    sweep_free(p->sw);
    p->spec.search = SEARCH_TPE;
    play_begin(p);
    for (int i = 0; i < 15; i++) {
        assert_int_equal(ask(p), i);
        report(p, i, 1, i / 10.);
    }
    assert_int_equal(draft_begin(p->sw, &d, NULL), 0);
    assert_non_null(d);
    assert_false(draft_is_old(d, p->sw));
    assert_int_equal(sweep_draw(p->sw, &now, NULL), 0);
    assert_int_equal(now.drawn.u.n, 2);
    memcpy(u, now.drawn.u.v, sizeof(u));
    happen(p, &now);
    assert_true(draft_is_old(d, p->sw));
    draft_make(d);
    assert_int_equal(draft_use(d, p->sw, &later, NULL), 0);
    assert_int_equal(later.trial, now.trial + 1);
    assert_memory_equal(later.drawn.u.v, u, sizeof(u));
    happen(p, &later);
    draft_free(d);
    draft_free(NULL);
    play_free(p);
}

static void know(struct play *p, int32_t trial, bool failed, const double values[])
{
    struct event ev = {.kind = EVENT_KNOWN, .trial = trial};

    ev.known.params = SLICE("{\"lr\":0.75}");
    ev.known.failed = failed;
    ev.known.more = !failed;
    ev.known.values = (struct numbers){values, failed ? 0 : 3};
    happen(p, &ev);
}

/* What an earlier sweep came to is seen before the trials, and is none of them. */
static void test_known(void **state)
{
    struct play *p = play_new("3", 9, 20);
    struct standing_rank rank;
    int32_t last;

    (void)state;
    p->spec.search = SEARCH_TPE;
    p->spec.objective[0].maximize = true;
    play_begin(p);
    assert_true(sweep_wants_known(p->sw, &last));
    assert_int_equal(last, -1);
    know(p, 4, false, (const double[]){.5, .7, NAN});
    assert_true(sweep_wants_known(p->sw, &last));
    assert_int_equal(last, 4);
    know(p, 9, true, NULL);
    assert_false(sweep_wants_known(p->sw, &last));
    assert_int_equal(last, 9);
    run_together(p, 1, (const double[]){.1});
    assert_int_equal(sweep_trials(p->sw), 1);
    assert_int_equal(sweep_totals(p->sw)->best, 0);
    assert_int_equal(observed_trials(p->sw->seen), 3);
    assert_true(fabs(observed_point(p->sw->seen, 0)[0] - .75) < 1e-9);
    assert_true(isnan(observed_point(p->sw->seen, 0)[1]));
    assert_int_equal(seen(p, 1, 0, &rank), STANDING_FINITE);
    assert_true(rank.value == -.7 && rank.below == 0);
    assert_int_equal(seen(p, 0, 0, &rank), STANDING_FINITE);
    assert_true(rank.value == -.5);
    assert_int_equal(seen(p, 0, 1, &rank), STANDING_WORST);
    assert_int_equal(seen(p, 0, 2, &rank), STANDING_FINITE);
    assert_true(rank.value == -.1);
    play_free(p);
}

static void test_known_impossible(void **state)
{
    struct play *p = play_new("3", 9, 20);
    const double values[] = {.5, .7, .1};
    struct event ev = {.kind = EVENT_KNOWN, .trial = 4};

    (void)state;
    ev.known.params = SLICE("{\"lr\":0.75}");
    ev.known.values = (struct numbers){values, 3};
    play_begin(p);
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), ERR_PROTO); /* random */
    sweep_free(p->sw);
    p->spec.search = SEARCH_CMAES;
    play_begin(p);
    ev.known.params = SLICE("{\"other\":1}");
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), ERR_PROTO);
    ev.known.params = SLICE("{\"lr\":0.75}");
    ev.known.values.n = 2;
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), ERR_PROTO);
    ev.known.values.n = 3;
    ev.known.more = true;
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), 0);
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), ERR_PROTO); /* again */
    ev.trial = 5;
    ev.known.more = false;
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), 0);
    ev.trial = 6;
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), ERR_PROTO); /* it was all */
    assert_int_equal(p->sw->known, 2);
    sweep_free(p->sw);
    play_begin(p);
    assert_int_equal(ask(p), 0);
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, NULL), ERR_PROTO); /* too late */
    play_free(p);
}

/* Who ends early is judged by its last report of both, not by halves of two. */
static void test_several_early_end(void **state)
{
    struct play *p = play_two(SCHEDULE_NONE);
    struct standing_rank rank;
    int32_t t;

    (void)state;
    sweep_free(p->sw);
    p->spec.search = SEARCH_TPE;
    play_begin(p);
    t = ask(p);
    report_two(p, t, 1, 1, 5);
    report_two(p, t, 2, .5, 6);
    report_two(p, t, 3, .1, -NAN);
    assert_int_equal(end(p, t, exited(0, DECISION_CONTINUE, 3)), OUTCOME_COMPLETED);
    assert_int_equal(state_of(p, t), TRIAL_COMPLETED);
    assert_int_equal(seen(p, sweep_levels(p->sw)->n - 1, t, &rank), STANDING_FINITE);
    assert_true(rank.value == .5);
    play_free(p);
}

/* Where trials lie: drawn ones at their point, given ones at the nearest. */
static void test_seen_points(void **state)
{
    struct play *p = play_new("3", 9, 20);
    struct value given[] = {{.kind = VALUE_REAL, .r = .25},
                            {.kind = VALUE_INT, .i = 128}};
    struct event ev;
    struct err e;

    (void)state;
    struct value *start[] = {given};

    p->spec.search = SEARCH_TPE;
    p->spec.start = start;
    p->spec.n_start = 1;
    play_begin(p);
    assert_false(sweep_draws_by_model(p->sw));
    p->spec.n_start = 0;
    assert_true(sweep_draws_by_model(p->sw));
    assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
    double x = ev.drawn.u.v[0];
    happen(p, &ev);
    assert_int_equal(sweep_draw_given(p->sw, given, -1, &ev, NULL), 0);
    happen(p, &ev);
    assert_true(observed_point(p->sw->seen, 0)[0] == x);
    assert_true(fabs(observed_point(p->sw->seen, 1)[0] - .25) < 1e-9);
    ev.trial = 2;
    ev.drawn.params = SLICE("{\"other\":1}");
    assert_int_equal(sweep_apply(p->sw, &ev, NULL, &e), ERR_PROTO);
    assert_non_null(strstr(e.text, "its parameters are not those of the space"));
    assert_int_equal(sweep_trials(p->sw), 2);
    assert_int_equal(observed_trials(p->sw->seen), 2);
    p->spec.start = NULL; /* which is not its own */
    play_free(p);
}

/* ---- replay ---- */

static void test_replay(void **state)
{
    struct play *live = play_new("2", 8, 30), *again = play_new("2", 8, 30);
    struct event ev;
    struct verdict v;

    (void)state;
    live->spec.in_place = again->spec.in_place = true;
    play_begin(live);
    play_begin(again);
    for (int i = 0; i < 40; i++) {
        struct work w = sweep_next(live->sw);
        struct metric m = {SLICE("loss"), (double)((i * 7) % 11)};

        if (w.kind == WORK_DRAW) {
            assert_int_equal(sweep_draw(live->sw, &ev, NULL), 0);
            happen(live, &ev);
            assert_int_equal(sweep_apply(again->sw, &ev, &v, NULL), 0);
            w = sweep_next(live->sw);
        }
        assert_int_equal(w.kind, WORK_TRIAL);
        assert_int_equal(sweep_next(again->sw).trial, w.trial);
        sweep_start_event(live->sw, &w, &ev);
        happen(live, &ev);
        assert_int_equal(sweep_apply(again->sw, &ev, &v, NULL), 0);
        ev = (struct event){.kind = EVENT_REPORT, .trial = w.trial};
        ev.attempt = sweep_trial(live->sw, w.trial)->attempts;
        ev.report.number = 1;
        ev.report.step = w.until;
        ev.report.metrics = &m;
        ev.report.n_metrics = 1;
        happen(live, &ev);
        ev.report.decision = live->v.decision;
        ev.report.rung = live->v.rung;
        assert_int_equal(sweep_apply(again->sw, &ev, &v, NULL), 0);
        assert_false(v.mismatch);
        ev = (struct event){.kind = EVENT_END, .trial = w.trial, .attempt = ev.attempt};
        ev.end.facts = exited(0, live->v.decision, w.until);
        ev.end.outcome = sweep_outcome(live->sw, w.trial, &ev.end.facts, &ev.end.saved);
        happen(live, &ev);
        assert_int_equal(sweep_apply(again->sw, &ev, &v, NULL), 0);
        /* times apart, which start at 0 in `again` */
        assert_int_equal(sweep_totals(live->sw)->best, sweep_totals(again->sw)->best);
    }
    play_free(live);
    play_free(again);
}

/* A journal that says otherwise is followed, and it is said. */
static void test_mismatch(void **state)
{
    struct play *p = play_new("2", 8, 2);
    struct metric m = {SLICE("loss"), .5};
    struct event ev = {.kind = EVENT_REPORT, .trial = 0, .attempt = 1};

    (void)state;
    p->spec.in_place = true;
    play_begin(p);
    ask(p);
    ev.report.number = 1;
    ev.report.step = 1;
    ev.report.metrics = &m;
    ev.report.n_metrics = 1;
    ev.report.decision = DECISION_CONTINUE; /* the rules say pause */
    ev.report.rung = 0;
    happen(p, &ev);
    assert_true(p->v.mismatch);
    assert_int_equal(p->v.decision, DECISION_CONTINUE);
    assert_int_equal(sweep_trial(p->sw, 0)->until, 2);
    play_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_interrupted_first),
        cmocka_unit_test(test_not_before_its_end),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_finalists),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_wild_steps),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_stop_mode),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_too_short),
        cmocka_unit_test(test_oom),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_lost_in_a_row),
        cmocka_unit_test(test_hyperband),
        cmocka_unit_test(test_sha),
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_pbt),
        cmocka_unit_test(test_pbt_verdict),
        cmocka_unit_test(test_pbt_parents),
        cmocka_unit_test(test_pbt_empty_places),
        cmocka_unit_test(test_pbt_keeps),
        cmocka_unit_test(test_pbt_draws),
        cmocka_unit_test(test_pbt_impossible),
        cmocka_unit_test(test_plateau),
        cmocka_unit_test(test_several_early_end),
        cmocka_unit_test(test_several_reports),
        cmocka_unit_test(test_several_best),
        cmocka_unit_test(test_several_plateau),
        cmocka_unit_test(test_user_stop),
        cmocka_unit_test(test_pausing),
        cmocka_unit_test(test_seen_values),
        cmocka_unit_test(test_seen_ends),
        cmocka_unit_test(test_seen_points),
        cmocka_unit_test(test_drafts),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_known_impossible),
        cmocka_unit_test(test_seen_by_cmaes),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_mismatch),
    };

    return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
