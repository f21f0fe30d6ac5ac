#include "store/rehearsal.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/vec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define METRICS_MAX 1000

void rehearsal_spec(struct spec *spec, int64_t trials, bool stop_mode)
{
    static const char *const names[] = {"l1",       "lr",       "optimizer",
                                        "momentum", "nesterov", "seed"};
    static const char *const exprs[] = {
        "2 ** randint(2, 9)", "loguniform(1e-4, 1e-1)", "choice(sgd, adam)",
        "uniform(0.5, 0.99)", "choice(true, false)",    "randint(0, 1000000000000)"};

    spec_init(spec);
    spec->seed = 1;
    spec->objective[0].name = mem_strdup("val_loss");
    spec->trials = trials;
    spec->max_t = 27;
    spec->brackets = 2;
    spec->mode = stop_mode ? MODE_STOP : MODE_PROMOTE;
    spec->space = space_new();
    space_declare(spec->space, names, 6);
    for (int i = 0; i < 6; i++)
        space_define(spec->space, i, exprs[i], i == 3 ? "optimizer == \"sgd\"" : NULL,
                     NULL, NULL);
}

struct slot {
    int32_t trial, attempt; /* trial -1: free */
    uint32_t asks, number;
    int64_t step;
    double started;
    enum decision answered;
};

struct stage {
    struct rehearsal *r;
    VEC(struct slot) slots;
    struct metric *metrics;
    char (*names)[16];
    int64_t events;
};

static struct verdict tell(struct stage *s, struct event *ev)
{
    struct verdict v;
    struct err e;

    s->r->clock += 0.5 + rng_unit(s->r->seed, RNG_TEST, (uint32_t)s->events, 0, 0);
    ev->time = s->r->clock;
    if (sweep_apply(s->r->sw, ev, &v, &e) != 0) {
        fprintf(stderr, "rehearsal: %s\n", e.text);
        abort();
    }
    s->events++;
    if (s->r->emit)
        s->r->emit(s->r->ctx, ev, &v);
    return v;
}

/* A free slot asks; false: there is nothing for it now. */
static bool ask(struct stage *s, struct slot *slot, int32_t index)
{
    struct event ev;
    struct work w = sweep_next(s->r->sw);

    while (w.kind == WORK_DRAW) {
        if (sweep_draw(s->r->sw, &ev, NULL) != 0)
            return false;
        tell(s, &ev);
        w = sweep_next(s->r->sw);
    }
    if (w.kind != WORK_TRIAL)
        return false;
    sweep_start_event(s->r->sw, &w, &ev);
    ev.start.nonce = rng_u64(s->r->seed, RNG_TEST, (uint32_t)s->events, 1, 0);
    ev.start.agent = 1 + (uint64_t)index / 4;
    ev.start.slot = index % 4;
    ev.start.ask = ++slot->asks;
    *slot = (struct slot){.trial = w.trial,
                          .attempt = ev.attempt,
                          .asks = slot->asks,
                          .step = w.start,
                          .started = s->r->clock};
    tell(s, &ev);
    return true;
}

/* Curves that fall with the steps, to a level that differs by trial. */
static double loss(const struct stage *s, int32_t trial, int64_t step, int metric)
{
    double level = rng_unit(s->r->seed, RNG_TEST, (uint32_t)trial, 2, (uint32_t)metric);
    double noise = rng_unit(s->r->seed, RNG_TEST, (uint32_t)trial, 3, (uint32_t)step);

    return level + 1 / (double)(step + 1) + 0.02 * noise;
}

static void report(struct stage *s, struct slot *slot)
{
    struct event ev = {
        .kind = EVENT_REPORT, .trial = slot->trial, .attempt = slot->attempt};

    ev.report.number = ++slot->number;
    ev.report.step = ++slot->step;
    ev.report.elapsed = s->r->clock - slot->started;
    ev.report.metrics = s->metrics;
    ev.report.n_metrics = s->r->metrics;
    for (int i = 0; i < s->r->metrics; i++)
        s->metrics[i].value = loss(s, slot->trial, slot->step, i);
    slot->answered = tell(s, &ev).decision;
}

static void end(struct stage *s, struct slot *slot, int exit_code)
{
    struct event ev = {.kind = EVENT_END, .trial = slot->trial, .attempt = slot->attempt};
    struct end_facts *f = &ev.end.facts;
    char job[16];

    snprintf(job, sizeof(job), "4711_%d", (int)(slot - s->slots.v) / 4);
    *f = (struct end_facts){.exit_code = exit_code,
                            .answered = slot->answered,
                            .last_step = slot->number ? slot->step : 0,
                            .reports = slot->number,
                            .started = slot->started + 0.125,
                            .ended = s->r->clock,
                            .cpu_seconds = 3.5 * (s->r->clock - slot->started),
                            .max_rss = 1e9,
                            .gpu_seconds = NAN,
                            .gpu_util = NAN,
                            .gpu_mem_peak = NAN,
                            .gpu_energy = NAN,
                            .energy = NAN,
                            .node = SLICE("n017"),
                            .slurm_job = slice_of(job),
                            .slurm_state =
                                exit_code ? SLICE("FAILED") : SLICE("COMPLETED")};
    ev.end.outcome = sweep_outcome(s->r->sw, slot->trial, f, &ev.end.saved);
    tell(s, &ev);
    slot->trial = -1;
}

/* One move of a slot: it asks, or trains a step. False: it has nothing to do. */
static bool move(struct stage *s, int32_t index)
{
    struct slot *slot = &s->slots.v[index];

    if (slot->trial < 0)
        return ask(s, slot, index);
    if (slot->answered == DECISION_PAUSE || slot->answered == DECISION_STOP)
        end(s, slot, 0);
    else if (rng_unit(s->r->seed, RNG_TEST, (uint32_t)s->events, 4, 0) < s->r->trouble)
        end(s, slot, 1);
    else
        report(s, slot);
    return true;
}

int64_t rehearse(struct rehearsal *r)
{
    struct stage s = {.r = r};
    bool moved = true;

    s.metrics = mem_alloc(METRICS_MAX * sizeof(*s.metrics));
    s.names = mem_alloc(METRICS_MAX * sizeof(*s.names));
    for (int i = 0; i < r->metrics; i++) {
        snprintf(s.names[i], sizeof(s.names[i]), i ? "metric/%d" : "val_loss", i);
        s.metrics[i].name = slice_of(s.names[i]);
    }
    for (int i = 0; i < r->slots; i++)
        vec_push(&s.slots, ((struct slot){.trial = -1}));
    while (moved) {
        moved = false;
        for (int32_t i = 0; i < r->slots && !(r->limit && s.events >= r->limit); i++)
            moved |= move(&s, i);
    }
    vec_free(&s.slots);
    free(s.metrics);
    free(s.names);
    return s.events;
}
