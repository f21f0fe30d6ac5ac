/* What sched/ costs: a million trials drawn, started, reported at every rung they reach,
 * and ended, by ASHA in both modes; and 10,000 with several objectives, where the order
 * within a rung changes with each report. Prints lines of figure, target, method. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sched/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIALS            1000000
#define TRIALS_OF_SEVERAL 10000

struct bench {
    struct spec spec;
    struct sweep *sw;
    double draws, reports, others; /* seconds */
    int64_t n_reports;
};

static void begin(struct bench *b, enum schedule_mode mode, int objectives)
{
    static const char *const names[] = {"x", "y", "z"};
    static const char *const metrics[] = {"loss", "time", "size", "energy"};

    *b = (struct bench){0};
    spec_init(&b->spec);
    b->spec.objectives = objectives;
    for (int i = 0; i < objectives; i++)
        b->spec.objective[i].name = mem_strdup(metrics[i]);
    b->spec.space = space_new();
    space_declare(b->spec.space, names, 3);
    for (int i = 0; i < 3; i++)
        space_define(b->spec.space, i, i ? "uniform(0, 1)" : "loguniform(1e-4, 1)", NULL,
                     NULL, NULL);
    b->spec.trials = objectives > 1 ? TRIALS_OF_SEVERAL : TRIALS;
    b->spec.mode = mode;
    b->spec.grace_period = 1;
    b->spec.max_t = 27;
    eta_parse("3", &b->spec.eta, NULL);
    b->spec.in_place = true;
    b->sw = sweep_new(&b->spec);
}

static void apply(struct bench *b, struct event *ev, struct verdict *v)
{
    struct err e; /* no kB to be cleared for each event */

    if (sweep_apply(b->sw, ev, v, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
}

static double since(double *last)
{
    double now = clock_mono(), passed = now - *last;

    *last = now;
    return passed;
}

/* As good as random, and at no cost that would be taken for the scheduler's. */
static double value_of(int32_t trial, int64_t step, int objective)
{
    int64_t key = (int64_t)trial << 32 | (int64_t)objective << 24 | step;

    return (double)(hash64(&key, sizeof(key)) >> 11) / 0x1p53;
}

/* One attempt: as far as its decisions let it go. */
static void attempt(struct bench *b, const struct work *w)
{
    struct metric m[OBJECTIVES_MAX];
    struct event ev;
    struct verdict v;
    double at = clock_mono();
    uint32_t number = 0;
    int64_t step;

    sweep_start_event(b->sw, w, &ev);
    ev.start.slot = w->trial & 7;
    apply(b, &ev, &v);
    b->others += since(&at);
    do {
        step = sweep_trial(b->sw, w->trial)->until;
        for (int i = 0; i < b->spec.objectives; i++)
            m[i] = (struct metric){slice_of(b->spec.objective[i].name),
                                   value_of(w->trial, step, i)};
        ev = (struct event){.kind = EVENT_REPORT, .trial = w->trial};
        ev.attempt = sweep_trial(b->sw, w->trial)->attempts;
        ev.report.number = ++number;
        ev.report.step = step;
        ev.report.metrics = m;
        ev.report.n_metrics = b->spec.objectives;
        apply(b, &ev, &v);
        b->n_reports++;
    } while (v.decision == DECISION_CONTINUE);
    b->reports += since(&at);
    ev = (struct event){.kind = EVENT_END, .trial = w->trial, .attempt = ev.attempt};
    ev.end.facts.answered = v.decision;
    ev.end.facts.last_step = step;
    ev.end.facts.reports = number;
    ev.end.outcome = sweep_outcome(b->sw, w->trial, &ev.end.facts, &ev.end.saved);
    apply(b, &ev, &v);
    b->others += since(&at);
}

static void run(enum schedule_mode mode, int objectives)
{
    struct bench b;
    struct event ev;
    double at;

    begin(&b, mode, objectives);
    for (;;) {
        struct work w = sweep_next(b.sw);

        if (w.kind == WORK_DRAW) {
            at = clock_mono();
            sweep_draw(b.sw, &ev, NULL);
            apply(&b, &ev, NULL);
            b.draws += since(&at);
        } else if (w.kind == WORK_TRIAL) {
            attempt(&b, &w);
        } else {
            break;
        }
    }
    if (objectives > 1) {
        printf("%.0f us\t< 1000 us\ta report with %d objectives; %d trials, %lld reports "
               "at milestones\n",
               b.reports / (double)b.n_reports * 1e6, objectives, sweep_trials(b.sw),
               (long long)b.n_reports);
    } else {
        printf(
            "%.2f us\t< 1 us\ta report, mode %s; %d trials, %lld reports at milestones\n",
            b.reports / (double)b.n_reports * 1e6, mode_names[mode], sweep_trials(b.sw),
            (long long)b.n_reports);
        printf("%.2f us\t-\tdraw of a trial, mode %s\n", b.draws / TRIALS * 1e6,
               mode_names[mode]);
        printf("%.2f us\t-\tstarts and ends of a trial, mode %s\n",
               b.others / TRIALS * 1e6, mode_names[mode]);
    }
    sweep_free(b.sw);
    spec_clear(&b.spec);
}

int main(void)
{
    run(MODE_PROMOTE, 1);
    run(MODE_STOP, 1);
    for (int objectives = 2; objectives <= OBJECTIVES_MAX; objectives++)
        run(MODE_PROMOTE, objectives);
    return 0;
}
