/* Costs of a sweep that is told event by event. One bracket, milestones 1, 3 and 9. */
#include "launcher/costs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LEVELS 3

struct tale {
    struct sweepfile file;
    struct sweep *sw;
    struct costs *costs;
    struct metric loss;
    uint32_t number;
};

static void begin(struct tale *t)
{
    static const char *const names[] = {"x"};
    struct spec *s = &t->file.spec;

    *t = (struct tale){.loss = {SLICE("loss"), 1}};
    spec_init(s);
    s->objective[0].name = mem_strdup("loss");
    s->space = space_new();
    space_declare(s->space, names, 1);
    assert_int_equal(space_define(s->space, 0, "uniform(0, 1)", NULL, NULL, NULL), 0);
    s->trials = 9;
    s->max_t = 9;
    s->in_place = false;
    s->retry_failures = 2;
    t->file.resources.nodes = 2;
    t->file.resources.tasks = 4;
    t->file.resources.cpus = 3;
    t->file.resources.gpus = 1;
    t->sw = sweep_new(s);
    t->costs = costs_new(t->sw, &t->file);
}

static void end(struct tale *t)
{
    costs_free(t->costs);
    sweep_free(t->sw);
    spec_clear(&t->file.spec);
}

static enum decision tell(struct tale *t, struct event *ev, double time)
{
    struct verdict v;
    struct err e = {0};

    ev->time = time;
    if (sweep_apply(t->sw, ev, &v, &e) != 0)
        fail_msg("%s", e.text);
    costs_event(t->costs, ev, &v);
    return v.decision;
}

static void joins(struct tale *t, uint64_t agent, int slots)
{
    struct event ev = {.kind = EVENT_JOB, .trial = -1};

    ev.job.job = SLICE("52_0");
    ev.job.change = SLICE("joined");
    ev.job.agent = agent;
    ev.job.slots = slots;
    tell(t, &ev, 0);
}

/* The next work goes to slot 0 of an agent: its trial. */
static int32_t starts(struct tale *t, uint64_t agent, double time)
{
    struct work w = sweep_next(t->sw);
    struct event ev;

    while (w.kind == WORK_DRAW) {
        assert_int_equal(sweep_draw(t->sw, &ev, NULL), 0);
        tell(t, &ev, time);
        w = sweep_next(t->sw);
    }
    assert_int_equal(w.kind, WORK_TRIAL);
    sweep_start_event(t->sw, &w, &ev);
    ev.start.agent = agent;
    ev.start.nonce = agent;
    tell(t, &ev, time);
    return w.trial;
}

static enum decision reports(struct tale *t, int32_t trial, int64_t step, double elapsed,
                             double time)
{
    struct event ev = {.kind = EVENT_REPORT, .trial = trial};

    ev.attempt = sweep_trial(t->sw, trial)->attempts;
    ev.report.number = ++t->number;
    ev.report.step = step;
    ev.report.elapsed = elapsed;
    ev.report.metrics = &t->loss;
    ev.report.n_metrics = 1;
    return tell(t, &ev, time);
}

/* seconds NAN: nothing is known of it but that it is gone. */
static void ends(struct tale *t, int32_t trial, double seconds, double cpu, double time)
{
    struct event ev = {.kind = EVENT_END, .trial = trial};
    struct end_facts *f = &ev.end.facts;

    ev.attempt = sweep_trial(t->sw, trial)->attempts;
    *f = (struct end_facts){.started = isnan(seconds) ? NAN : 5000,
                            .ended = 5000 + seconds,
                            .cpu_seconds = cpu,
                            .gpu_seconds = NAN};
    f->cause = isnan(seconds) ? CAUSE_AGENT_GONE : CAUSE_NOTHING;
    f->answered = sweep_trial(t->sw, trial)->answered;
    ev.end.outcome = sweep_outcome(t->sw, trial, f, &ev.end.saved);
    tell(t, &ev, time);
}

static void near(double a, double b)
{
    if (fabs(a - b) > 1e-9)
        fail_msg("%.12g, not %.12g", a, b);
}

static void levels_are(const struct tale *t, double now, double a, double b, double c)
{
    struct cost level[LEVELS];

    costs_levels(t->costs, -1, now, level);
    near(level[0].slots, a);
    near(level[1].slots, b);
    near(level[2].slots, c);
    near(costs_total(t->costs, now).slots, a + b + c);
}

/* Time goes to the rung that it is worked for, by the attempt's own clock; what follows a
 * pause to the rung that was reached. */
static void test_rungs(void **state)
{
    struct tale t;
    struct cost level[LEVELS];

    (void)state;
    begin(&t);
    starts(&t, 1, 100);
    levels_are(&t, 107, 7, 0, 0);
    assert_int_equal(reports(&t, 0, 1, 10, 112), DECISION_PAUSE);
    levels_are(&t, 112, 10, 0, 0);
    levels_are(&t, 113, 11, 0, 0);
    ends(&t, 0, 14, 28, 117);
    levels_are(&t, 999, 14, 0, 0);
    for (int32_t i = 1; i < 3; i++) { /* so that trial 0 is promoted */
        assert_int_equal(starts(&t, 1, 200), i);
        t.loss.value = 2;
        reports(&t, i, 1, 1, 201);
        ends(&t, i, 1, NAN, 201);
    }
    levels_are(&t, 999, 16, 0, 0);
    t.loss.value = 1;
    assert_int_equal(starts(&t, 1, 300), 0);
    reports(&t, 0, 2, 6, 306);
    levels_are(&t, 310, 16, 10, 0);
    ends(&t, 0, 7, 21, 307);
    levels_are(&t, 999, 16, 7, 0);
    costs_levels(t.costs, 0, 999, level);
    near(level[0].used, 28);
    near(level[1].used, 21);
    near(costs_trial(t.costs, 0, 999).slots, 21);
    near(costs_trial(t.costs, 1, 999).slots, 1);
    near(costs_trial(t.costs, 8, 999).slots, 0);
    end(&t);
}

/* An attempt that goes on over milestones, as in mode stop: each rung has its share, of
 * the CPU time, too. A report may jump over a milestone. */
static void test_through(void **state)
{
    struct tale t;
    struct cost level[LEVELS];

    (void)state;
    begin(&t);
    t.file.spec.mode = MODE_STOP;
    starts(&t, 1, 100);
    reports(&t, 0, 1, 10, 110);
    reports(&t, 0, 2, 20, 120);
    levels_are(&t, 125, 10, 15, 0);
    reports(&t, 0, 5, 30, 130);
    levels_are(&t, 135, 10, 20, 5);
    ends(&t, 0, 40, 80, 140);
    costs_levels(t.costs, -1, 999, level);
    near(level[0].used, 20);
    near(level[1].used, 40);
    near(level[2].used, 20);
    near(costs_total(t.costs, 999).used, 80);
    end(&t);
}

/* Steps that are done again are for the rung that they lead to. */
static void test_again(void **state)
{
    struct tale t;

    (void)state;
    begin(&t);
    t.file.spec.mode = MODE_STOP;
    starts(&t, 1, 100);
    reports(&t, 0, 1, 10, 110);
    reports(&t, 0, 2, 20, 120);
    ends(&t, 0, NAN, NAN, 150); /* lost: until it is given up */
    levels_are(&t, 999, 10, 40, 0);
    assert_int_equal(starts(&t, 1, 200), 0);
    reports(&t, 0, 1, 10, 210);
    reports(&t, 0, 2, NAN, 220); /* no clock of its own */
    ends(&t, 0, 21, NAN, 230);
    levels_are(&t, 999, 10, 61, 0);
    near(costs_total(t.costs, 999).used, 0);
    end(&t);
}

/* Resources are those that are set when an attempt starts; slots of a job share its
 * nodes. */
static void test_resources(void **state)
{
    struct tale t;
    struct cost all;

    (void)state;
    begin(&t);
    joins(&t, 1, 1);
    joins(&t, 2, 4);
    starts(&t, 1, 100);
    all = costs_total(t.costs, 110);
    near(all.slots, 10);
    near(all.cpus, 120);
    near(all.nodes, 20);
    near(all.gpus, 20);
    t.file.resources.cpus = 1;
    all = costs_total(t.costs, 110);
    near(all.cpus, 120);
    ends(&t, 0, 10, NAN, 110);
    t.file.resources.nodes = t.file.resources.tasks = 1;
    assert_int_equal(starts(&t, 2, 200), 0); /* it failed, having reported nothing */
    assert_int_equal(starts(&t, 1, 200), 1);
    all = costs_total(t.costs, 210);
    near(all.cpus, 140);
    near(all.nodes, 20 + 2.5 + 10);
    near(all.gpus, 40);
    ends(&t, 0, 10, NAN, 210); /* the first of those that run */
    near(costs_total(t.costs, 220).cpus, 150);
    near(costs_trial(t.costs, 0, 220).nodes, 20 + 2.5);
    near(costs_trial(t.costs, 1, 220).nodes, 20);
    end(&t);
}

/* Each trial at its own pace, the stepless at the mean. */
static void test_saved(void **state)
{
    struct tale t;
    double share;

    (void)state;
    begin(&t);
    assert_true(isnan(costs_saved(t.costs, 100, NULL)));
    starts(&t, 1, 100);
    assert_true(isnan(costs_saved(t.costs, 110, &share)) && isnan(share));
    reports(&t, 0, 1, 10, 110);
    near(costs_saved(t.costs, 110, &share), 80);
    near(share, 80.0 / 90);
    ends(&t, 0, 10, NAN, 110);
    starts(&t, 1, 200);
    reports(&t, 1, 1, 20, 220);
    ends(&t, 1, 20, NAN, 220);
    near(costs_saved(t.costs, 220, NULL), 80 + 160);
    starts(&t, 1, 300);
    near(costs_saved(t.costs, 301, &share), 80 + 160 + 15 * 9 - 1);
    near(share, (80 + 160 + 15 * 9 - 1) / (90 + 180 + 15 * 9.0));
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rungs), cmocka_unit_test(test_through),
        cmocka_unit_test(test_again), cmocka_unit_test(test_resources),
        cmocka_unit_test(test_saved),
    };

    return cmocka_run_group_tests_name("costs", tests, NULL, NULL);
}
