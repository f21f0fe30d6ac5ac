/* The controller's mind with agents' minds, in memory, and what people ask of it. (What
 * it does when things go wrong is seen in the simulation, tests/sim/.) After every sweep:
 * slots never above what was asked for, the state equals a replay of the lines, and the
 * sweep ended. */
#include "base/mem.h"
#include "base/rng.h"
#include "launcher/controller.h"
#include "store/journal.h"
#include "worker/agent/agent.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

#define AGENTS 12
#define SLOTS  3
#define STEP   0.1 /* seconds a round */

struct packet_on_its_way {
    double due;
    uint64_t agent;
    bool to_agent;
    char *data;
    size_t n;
};

struct program {
    bool runs, asked_to_end, waits;
    int32_t trial;
    int64_t step, last;
    double next;
    int leave; /* exit status + 1 once it leaves */
};

struct world;
struct machine { /* a job: an agent and its programs */
    struct world *w;
    struct agent *agent;
    uint64_t id;
    char job[16];
    bool alive;
    bool job_only; /* no agent, but its job seems to live */
    double ends;   /* its walltime */
    int32_t knows; /* the epoch it was told of */
    struct program slot[SLOTS];
};

struct world {
    uint64_t seed;
    uint32_t dice;
    double now;
    struct sweepfile file;
    struct controller *controller;
    struct sweep *sw;
    struct costs *costs;
    int32_t epoch;
    VEC(char *) journal; /* lines, durable */
    VEC(char *) pending; /* appended, not yet */
    VEC(struct packet_on_its_way) net;
    struct machine machine[AGENTS];
    int machines;
    bool crash; /* programs fail at their first step */
    bool mute;  /* they train on, and report nothing */
    bool saves; /* at each step, beside the last */
    double walltime;
    double beat;       /* of agents, seconds; 0: as a rule */
    double least_left; /* when 6 steps were begun, not as a job's first attempt */
    int at_first;      /* and as that, how often */
    enum steps_mode steps;
    int as_steps, as_processes; /* begun so */
    int most_open;
    bool ahead; /* draws are made ahead, and take so many rounds: */
    int draw_rounds;
    struct draft *draft; /* the one that is being made */
    int draft_left;      /* rounds */
    int drafts;          /* that were begun */
    int room;            /* jobs that can be submitted */
    int refused;         /* how often more were asked for */
    int excluded;        /* nodes */
    int said;            /* sentences */
    char last_said[1000];
};

static double chance(struct world *w)
{
    return rng_unit(w->seed, RNG_TEST, w->dice++, 0, 0);
}

/* ---- the net ---- */

static void post(struct world *w, uint64_t agent, bool to_agent, const char *data,
                 size_t n)
{
    struct packet_on_its_way p = {.due = w->now + 0.01,
                                  .agent = agent,
                                  .to_agent = to_agent,
                                  .data = mem_dup(data, n + 1),
                                  .n = n};

    vec_push(&w->net, p);
}

/* ---- what the minds ask for ---- */

static void on_append(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct world *w = ctx;
    struct str line = STR_INIT;

    event_encode(ev, v, w->pending.n == 0, &line);
    vec_push(&w->pending, str_take(&line));
}

static void on_send(void *ctx, uint64_t agent, const char *packet, size_t n)
{
    post(ctx, agent, true, packet, n);
}

static void on_say(void *ctx, const char *text)
{
    struct world *w = ctx;

    w->said++;
    snprintf(w->last_said, sizeof(w->last_said), "%s", text);
}

static enum job_state on_job_state(void *ctx, const char *job)
{
    struct world *w = ctx;

    for (int i = 0; i < w->machines; i++) {
        if (strcmp(w->machine[i].job, job) == 0)
            return w->machine[i].job_only ? JOB_PENDING
                   : w->machine[i].alive  ? JOB_RUNNING
                                          : JOB_GONE;
    }
    return JOB_UNKNOWN;
}

static void agent_send(void *ctx, const char *packet, size_t n)
{
    struct machine *m = ctx;

    post(m->w, m->id, false, packet, n);
}

static bool agent_start(void *ctx, int slot, const struct item *work)
{
    struct machine *m = ctx;

    assert_false(m->slot[slot].runs);
    m->w->as_steps += work->work.step;
    m->w->as_processes += !work->work.step;
    if (work->work.until - work->work.start == 6) {
        if (work->work.ask > 1)
            m->w->least_left = fmin(m->w->least_left, m->ends - m->w->now);
        m->w->at_first += work->work.ask == 1;
    }
    m->slot[slot] = (struct program){.runs = true,
                                     .trial = work->work.trial,
                                     .step = work->work.start,
                                     .next = m->w->now + chance(m->w)};
    return true;
}

static void agent_end(void *ctx, int slot)
{
    struct machine *m = ctx;

    m->slot[slot].asked_to_end = true;
}

static bool agent_gpus(void *ctx, int slot, struct gpu_use *out)
{
    const struct machine *m = ctx;
    int32_t trial = m->slot[slot].trial;

    *out = (struct gpu_use){.gpus = 1, .util = trial / 100.0};
    return trial % 2 == 0; /* those of the others tell nothing */
}

static void agent_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    struct machine *m = ctx;
    struct program *p = &m->slot[slot];

    (void)conn;
    p->waits = false;
    p->next = m->w->now + chance(m->w);
    if (memmem(line, n, "pause", 5) || memmem(line, n, "stop", 4))
        p->leave = 1;
}

static void agent_quit(void *ctx, int status, const char *why)
{
    struct machine *m = ctx;

    (void)status, (void)why;
    m->alive = false;
}

static double on_job_left(void *ctx, const char *job)
{
    const struct world *w = ctx;

    for (int i = 0; i < w->machines; i++) {
        if (strcmp(w->machine[i].job, job) == 0 && isfinite(w->machine[i].ends))
            return fmax(0, w->machine[i].ends - w->now);
    }
    return NAN;
}

static bool on_exclude(void *ctx, const char *node)
{
    struct world *w = ctx;

    assert_string_equal(node, "bad");
    w->excluded++;
    return true;
}

static void on_submit(void *ctx, int jobs)
{
    static const struct agent_port port = {.send = agent_send,
                                           .start = agent_start,
                                           .end = agent_end,
                                           .gpus = agent_gpus,
                                           .reply = agent_reply,
                                           .quit = agent_quit};
    struct world *w = ctx;

    if (w->room < jobs) {
        w->refused++;
        controller_jobs_refused(w->controller, jobs, "too many", w->room >= 0);
        return;
    }
    w->room -= jobs;
    while (jobs-- > 0 && w->machines < AGENTS) {
        struct machine *m = &w->machine[w->machines++];
        struct agent_config c = {
            .slots = SLOTS, .host = SLICE("h"), .release = SLICE("t")};

        *m = (struct machine){.w = w, .alive = true, .ends = w->now + w->walltime};
        m->id = c.id = rng_u64(w->seed, RNG_TEST, (uint32_t)w->machines, 1, 0) | 1;
        snprintf(m->job, sizeof(m->job), "job%d", w->machines);
        c.job = slice_of(m->job);
        c.promote = w->file.spec.mode == MODE_PROMOTE;
        timers_default(&c.timers);
        if (w->beat > 0)
            c.timers.s[TIMER_BEAT] = w->beat;
        m->agent = agent_new(&c, &port, m, w->now);
        controller_job_submitted(w->controller, m->job);
    }
}

/* ---- programs ---- */

static double loss_of(const struct world *w, int32_t trial, int64_t step)
{
    double u = rng_unit(w->seed, RNG_TEST, (uint32_t)trial, 2, (uint32_t)step);

    return u < .03 ? NAN : u / (double)step;
}

static void leave(struct machine *m, int slot, int status, int signal)
{
    struct end_facts f = {
        .exit_code = signal ? -1 : status, .signal = signal, USAGE_UNKNOWN};

    m->slot[slot].runs = false;
    agent_ended(m->agent, slot, &f, m->w->now);
}

static void run_program(struct machine *m, int slot)
{
    struct program *p = &m->slot[slot];
    char line[128], loss[32], saved[32] = "";
    double v;
    int n;

    if (!p->runs || (p->waits && !p->asked_to_end))
        return;
    if (p->asked_to_end) {
        leave(m, slot, 0, 15);
    } else if (p->leave) {
        leave(m, slot, p->leave - 1, 0);
    } else if (m->w->now >= p->next && !m->w->mute) {
        if (m->w->crash) {
            leave(m, slot, 1, 0);
            return;
        }
        v = loss_of(m->w, p->trial, ++p->step);
        snprintf(loss, sizeof(loss), isnan(v) ? "NaN" : "%.9f", v);
        if (m->w->saves)
            snprintf(saved, sizeof(saved), ",\"saved\":%lld", (long long)p->step);
        n = snprintf(line, sizeof(line), "{\"step\":%lld,\"metrics\":{\"loss\":%s}%s}",
                     (long long)p->step, loss, saved);
        p->waits = true;
        agent_line(m->agent, slot, 1, line, (size_t)n, m->w->now);
    }
}

/* ---- the world ---- */

static void commit(struct world *w)
{
    for (size_t i = 0; i < w->pending.n; i++)
        vec_push(&w->journal, w->pending.v[i]);
    w->pending.n = 0;
}

/* A state from the journal's lines, and its costs, if they are asked for; with a
 * controller also the agents it tells of. */
static struct sweep *replay(struct world *w, struct costs **costs,
                            struct controller **expect)
{
    struct event_scratch *scratch = event_scratch_new();
    struct sweep *sw = sweep_new(&w->file.spec);

    if (costs)
        *costs = costs_new(sw, &w->file);
    for (size_t i = 0; i < w->journal.n; i++) {
        struct verdict v;
        struct event ev;
        struct err e = {0};

        if (event_decode(w->journal.v[i], strlen(w->journal.v[i]), &ev, NULL, scratch,
                         &e) != 0 ||
            sweep_apply(sw, &ev, &v, &e) != 0)
            fail_msg("seed %llu: %s", (unsigned long long)w->seed, e.text);
        assert_false(v.mismatch);
        if (costs)
            costs_event(*costs, &ev, &v);
        if (expect && ev.kind == EVENT_JOB && slice_eq(ev.job.change, "joined")) {
            char *job = mem_strndup(ev.job.job.p, ev.job.job.len);

            controller_expect(*expect, ev.job.agent, job, "h", ev.job.slots);
            free(job);
        }
    }
    event_scratch_free(scratch);
    return sw;
}

static void on_draft(void *ctx, struct draft *d)
{
    struct world *w = ctx;

    assert_null(w->draft);
    w->draft = d;
    w->draft_left = w->draw_rounds;
    w->drafts++;
}

static void make_draft(struct world *w)
{
    struct draft *d = w->draft;

    if (!d || w->draft_left-- > 0)
        return;
    w->draft = NULL;
    draft_make(d);
    controller_drafted(w->controller, d);
}

static void begin_controller(struct world *w)
{
    const struct controller_port port = {.append = on_append,
                                         .send = on_send,
                                         .submit = on_submit,
                                         .job_state = on_job_state,
                                         .job_left = on_job_left,
                                         .exclude = on_exclude,
                                         .draft = w->ahead ? on_draft : NULL,
                                         .say = on_say};
    struct controller_config c = {.file = &w->file, .epoch = ++w->epoch, .release = "t"};
    struct event ev = {.kind = EVENT_EPOCH, .trial = -1};

    timers_default(&c.timers);
    c.slots_per_job = SLOTS;
    c.steps = w->steps;
    w->sw = c.sw = replay(w, &w->costs, NULL);
    c.costs = w->costs;
    w->controller = controller_new(&c, &port, w, w->now);
    controller_clock(w->controller, w->now, w->now);
    sweep_free(replay(w, NULL, &w->controller));
    ev.epoch.epoch = w->epoch;
    on_append(w, &ev, NULL);
}

static void deliver(struct world *w)
{
    for (size_t i = 0; i < w->net.n;) {
        struct packet_on_its_way p = w->net.v[i];

        if (p.due > w->now) {
            i++;
            continue;
        }
        vec_remove(&w->net, i);
        if (!p.to_agent) {
            controller_packet(w->controller, p.data, p.n);
        } else {
            for (int k = 0; k < w->machines; k++) {
                if (w->machine[k].id == p.agent && w->machine[k].alive)
                    agent_packet(w->machine[k].agent, p.data, p.n, w->now);
            }
        }
        free(p.data);
    }
}

static void run_machines(struct world *w)
{
    for (int i = 0; i < w->machines; i++) {
        struct machine *m = &w->machine[i];

        m->alive = m->alive && m->ends > w->now;
        if (!m->alive)
            continue;
        if (m->knows < w->epoch &&
            (m->knows == 0 || agent_lost_controller(m->agent, w->now))) {
            m->knows = w->epoch;
            agent_controller(m->agent, w->epoch, w->now);
        }
        for (int s = 0; s < SLOTS && m->alive; s++)
            run_program(m, s);
        if (m->alive)
            agent_tick(m->agent, w->now);
    }
}

static void round_of(struct world *w)
{
    w->now += STEP;
    controller_clock(w->controller, w->now, w->now);
    deliver(w);
    run_machines(w);
    make_draft(w);
    controller_tick(w->controller);
    commit(w);
    controller_flush(w->controller);
    if (sweep_totals(w->sw)->open > w->most_open)
        w->most_open = sweep_totals(w->sw)->open;
}

static struct world *world_of(uint64_t seed, enum schedule_mode mode, int trials,
                              int slots, enum steps_mode steps)
{
    static const char *const names[] = {"x"};
    struct world *w = mem_alloc(sizeof(*w));
    struct spec *s = &w->file.spec;

    w->seed = seed;
    w->steps = steps;
    w->room = AGENTS;
    w->saves = true;
    w->walltime = w->least_left = INFINITY;
    spec_init(s);
    s->objective[0].name = mem_strdup("loss");
    s->space = space_new();
    space_declare(s->space, names, 1);
    assert_int_equal(space_define(s->space, 0, "uniform(0, 1)", NULL, NULL, NULL), 0);
    s->trials = trials;
    s->mode = mode;
    s->max_t = 9;
    s->in_place = seed % 2;
    s->retry_failures = 50; /* so that trials get somewhere */
    w->file.slots = slots;
    w->file.idle = 20;
    w->file.resources.nodes = w->file.resources.tasks = w->file.resources.cpus = 1;
    begin_controller(w);
    return w;
}

static struct world *world_new(uint64_t seed, enum schedule_mode mode, int trials,
                               int slots)
{
    return world_of(seed, mode, trials, slots, STEPS_NO);
}

static void world_free(struct world *w)
{
    controller_free(w->controller);
    draft_free(w->draft);
    costs_free(w->costs);
    sweep_free(w->sw);
    for (int i = 0; i < w->machines; i++)
        agent_free(w->machine[i].agent);
    for (size_t i = 0; i < w->net.n; i++)
        free(w->net.v[i].data);
    for (size_t i = 0; i < w->journal.n; i++)
        free(w->journal.v[i]);
    vec_free(&w->journal);
    vec_free(&w->pending);
    vec_free(&w->net);
    spec_clear(&w->file.spec);
    free(w);
}

/* ---- what must hold ---- */

static void check_world(struct world *w)
{
    struct costs *costs;
    struct sweep *again = replay(w, &costs, NULL);
    struct cost spent = costs_total(w->costs, w->now),
                spent_again = costs_total(costs, w->now);
    const struct sweep_totals *a = sweep_totals(w->sw), *b = sweep_totals(again);

    assert_int_equal(sweep_trials(w->sw), sweep_trials(again));
    for (int s = 0; s < TRIAL_STATES; s++)
        assert_int_equal(a->state[s], b->state[s]);
    assert_int_equal(a->reports, b->reports);
    assert_int_equal(a->best, b->best);
    for (int32_t i = 0; i < sweep_trials(again); i++) {
        const struct trial *x = sweep_trial(w->sw, i), *y = sweep_trial(again, i);

        assert_int_equal(x->state, y->state);
        assert_int_equal(x->attempts, y->attempts);
        assert_int_equal(x->last_step, y->last_step);
        assert_int_equal(x->rung, y->rung);
    }
    assert_memory_equal(&spent, &spent_again, sizeof(spent));
    costs_free(costs);
    sweep_free(again);
    assert_true(w->most_open <= w->file.slots);
}

static void run_world(struct world *w)
{
    int rounds = 0;

    while (!controller_done(w->controller)) {
        round_of(w);
        if (++rounds == 60000)
            fail_msg("seed %llu: the sweep does not end: %d trials, %d open, %d paused",
                     (unsigned long long)w->seed, sweep_trials(w->sw),
                     sweep_totals(w->sw)->open, sweep_totals(w->sw)->state[TRIAL_PAUSED]);
    }
    check_world(w);
}

static void test_quiet(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        struct world *w = world_new(1, (enum schedule_mode)mode, 30, 4);

        run_world(w);
        assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
        assert_int_equal(sweep_trials(w->sw), 30);
        assert_true(sweep_totals(w->sw)->attempts >= 30);
        assert_true(sweep_totals(w->sw)->state[TRIAL_COMPLETED] > 0);
        assert_true(w->machines <= 4);
        world_free(w);
    }
}

/* However long draws take, the sweep goes on, no draft is used twice, and none that knows
 * nothing of the trial drawn before it. */
static void test_draws_ahead(void **state)
{
    static const int rounds[] = {0, 2, 40};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rounds) / sizeof(rounds[0]); i++) {
        struct world *w = world_new(5, MODE_PROMOTE, 30, 4);
        bool pbt = i % 2;

        w->file.spec.search = SEARCH_TPE;
        if (pbt) { /* whose children are no draws of the search */
            w->file.spec.schedule = SCHEDULE_PBT;
            w->file.spec.interval = 3;
            w->file.spec.in_place = false;
        }
        w->ahead = true;
        w->draw_rounds = rounds[i / 2];
        controller_free(w->controller);
        costs_free(w->costs);
        sweep_free(w->sw);
        begin_controller(w);
        run_world(w);
        assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
        assert_true(w->drafts >= 30);
        for (int32_t a = 0; a < sweep_trials(w->sw); a++)
            assert_int_equal(sweep_trial(w->sw, a)->parent >= 0, a >= 30);
        assert_int_equal(sweep_trials(w->sw) > 30, pbt);
        for (int32_t a = 0; a < 30; a++)
            for (int32_t b = 0; b < a; b++)
                assert_string_not_equal(sweep_trial(w->sw, a)->params,
                                        sweep_trial(w->sw, b)->params);
        world_free(w);
    }
}

/* What agents tell of GPUs is told of the attempt that runs there, and of no other. */
static void test_gpus(void **state)
{
    struct world *w = world_new(2, MODE_PROMOTE, 40, 4);
    struct gpu_rows rows = {0};
    int seen = 0, most = 0;

    (void)state;
    w->beat = 0.1;
    while (controller_state(w->controller) != CONTROLLER_FINISHED) {
        assert_true(w->now < 1e6);
        round_of(w);
        controller_gpus(w->controller, &rows);
        most = (int)rows.n > most ? (int)rows.n : most;
        for (size_t i = 0; i < rows.n; i++, seen++) {
            const struct gpu_row *r = &rows.v[i];
            const struct trial *t = sweep_trial(w->sw, r->trial);

            assert_int_equal(r->trial % 2, 0);
            assert_true(r->use.gpus == 1 && r->use.util == r->trial / 100.0);
            assert_int_equal(t->state, TRIAL_RUNNING);
            assert_int_equal(r->attempt, t->attempts);
            assert_true(i == 0 || r->trial > rows.v[i - 1].trial);
        }
    }
    assert_int_equal(rows.n, 0);
    assert_true(seen > 0 && most > 1);
    gpu_rows_free(&rows);
    world_free(w);
}

static void test_pause_and_resume(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        struct world *w = world_new(3, (enum schedule_mode)mode, 40, 4);
        int64_t before;

        for (int i = 0; i < 100; i++)
            round_of(w);
        assert_true(sweep_totals(w->sw)->open > 0);
        controller_pause(w->controller, "a person");
        run_world(w);
        assert_int_equal(controller_state(w->controller), CONTROLLER_PAUSED);
        assert_int_equal(sweep_totals(w->sw)->open, 0);
        before = sweep_totals(w->sw)->steps;
        controller_free(w->controller);
        costs_free(w->costs);
        sweep_free(w->sw);
        begin_controller(w);
        controller_resume(w->controller, "a person");
        run_world(w);
        assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
        assert_true(sweep_totals(w->sw)->steps > before);
        assert_int_equal(sweep_totals(w->sw)->state[TRIAL_FAILED], 0);
        world_free(w);
    }
}

static void test_stop(void **state)
{
    struct world *w = world_new(5, MODE_PROMOTE, 40, 4);
    int32_t running = -1;

    (void)state;
    for (int i = 0; i < 50; i++)
        round_of(w);
    for (int32_t t = 0; t < sweep_trials(w->sw); t++) {
        if (sweep_trial(w->sw, t)->state == TRIAL_RUNNING)
            running = t;
    }
    assert_true(running >= 0);
    controller_stop(w->controller, running, "a person");
    controller_stop(w->controller, 1000, "there is none");
    for (int i = 0; i < 50; i++)
        round_of(w);
    assert_int_equal(sweep_trial(w->sw, running)->state, TRIAL_STOPPED);
    controller_stop(w->controller, -1, "a person");
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    assert_true(sweep_trials(w->sw) < 40);
    world_free(w);
}

/* What a cost condition bounds is reached in the midst of attempts, none of which ends.
 */
static void test_stop_by_cost(void **state)
{
    static const char *const keys[] = {"stop.cpu_hours", "stop.gpu_hours",
                                       "stop.node_hours"};

    (void)state;
    for (int k = 0; k < 3; k++) {
        struct world *w = world_new(11, MODE_PROMOTE, 40, SLOTS);
        struct cost spent;
        double hours, began;
        int rounds = 0;

        w->file.resources.cpus = 4;
        w->file.resources.gpus = 2;
        w->mute = true;
        assert_int_equal(controller_set(w->controller, keys[k], "1", NULL), 0);
        while (sweep_totals(w->sw)->open < SLOTS)
            round_of(w);
        began = w->now;
        while (controller_state(w->controller) == CONTROLLER_RUNNING) {
            round_of(w);
            assert_true(++rounds < 60000);
        }
        spent = costs_total(w->costs, w->now);
        hours = (k == 0 ? spent.cpus : k == 1 ? spent.gpus : spent.nodes) / 3600;
        assert_true(hours >= 1 && hours < 1.01);
        assert_true(fabs(w->now - began - (k == 0 ? 300 : k == 1 ? 600 : 3600)) < 2);
        assert_int_equal(controller_state(w->controller), CONTROLLER_PAUSING);
        assert_int_equal(sweep_totals(w->sw)->open, SLOTS);
        assert_non_null(strstr(controller_reason(w->controller), keys[k]));
        w->mute = false;
        run_world(w);
        assert_int_equal(controller_state(w->controller), CONTROLLER_PAUSED);
        world_free(w);
    }
}

/* Every attempt fails before a report: the sweep pauses and says so. */
static void test_barren(void **state)
{
    struct world *w = world_new(7, MODE_PROMOTE, 40, 3);

    (void)state;
    w->crash = true;
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_PAUSED);
    assert_true(controller_troubled(w->controller));
    assert_non_null(strstr(controller_reason(w->controller), "before a report"));
    assert_true(sweep_totals(w->sw)->attempts <= 6);
    world_free(w);
}

/* A site that lets 3 jobs in and wants to hear no more of others: fewer are asked for
 * each time, ever more rarely; what was let in finishes the sweep. */
static void test_refused(void **state)
{
    struct world *w = world_new(3, MODE_STOP, 200, 6 * SLOTS);

    (void)state;
    w->room = 3;
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    assert_int_equal(w->machines, 3);
    assert_int_equal(w->room, 0);
    assert_in_range(w->refused, 3, 20);
    assert_int_equal(w->said, 1);
    world_free(w);
}

/* What no waiting helps pauses the sweep, with the reason. */
static void test_refused_for_good(void **state)
{
    struct world *w = world_new(3, MODE_STOP, 10, SLOTS);

    (void)state;
    w->room = -1;
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_PAUSED);
    assert_true(controller_troubled(w->controller));
    assert_string_equal(controller_reason(w->controller), "too many");
    assert_int_equal(w->refused, 1);
    world_free(w);
}

/* Pending and running slots never exceed `slots`, also where these make no whole jobs. */
static void test_whole_jobs(void **state)
{
    struct world *w = world_new(5, MODE_STOP, 10, 2 * SLOTS - 1);

    (void)state;
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    assert_int_equal(w->machines, 1);
    world_free(w);
}

/* Jobs that an earlier controller submitted count as slots to come, until they are known
 * to have ended. */
static void test_inherited_jobs(void **state)
{
    struct world *w = world_new(5, MODE_STOP, 10, 2 * SLOTS);

    (void)state;
    snprintf(w->machine[0].job, sizeof(w->machine[0].job), "earlier0");
    snprintf(w->machine[1].job, sizeof(w->machine[1].job), "earlier1");
    w->machines = 2;
    controller_expect_job(w->controller, "earlier0");
    controller_expect_job(w->controller, "earlier1");
    w->machine[0].job_only = w->machine[1].job_only = true;
    controller_tick(w->controller);
    assert_int_equal(w->machines, 2);
    w->machine[1].job_only = false; /* it has ended */
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    assert_int_equal(w->machines, 3);
    world_free(w);
}

/* Jobs of 15 s, which their agents learn of the controller alone. What takes some 3.9 s
 * to its milestone, as far as others show, is not begun in the last of these, unless a
 * checkpoint comes to be on the way. */
static void test_time_left(void **state)
{
    double least[2] = {INFINITY, INFINITY};

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        bool saves = seed % 2;
        struct world *w = world_new(seed, MODE_PROMOTE, 180, SLOTS);

        w->saves = saves;
        w->walltime = 15;
        run_world(w);
        assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
        assert_in_range(w->machines, 6, AGENTS);
        least[saves] = fmin(least[saves], w->least_left);
        world_free(w);
    }
    assert_true(least[0] > 3);
    assert_true(least[1] < 2);
}

/* In jobs too short for any of these, they are begun all the same, once in each slot. */
static void test_short_jobs(void **state)
{
    struct world *w = world_new(2, MODE_PROMOTE, 30, SLOTS);

    (void)state;
    w->saves = false;
    w->walltime = 3;
    for (int i = 0; i < 2000; i++)
        round_of(w);
    assert_int_equal(w->machines, AGENTS);
    assert_true(isinf(w->least_left));
    assert_true(w->at_first > 1);
    world_free(w);
}

/* Jobs that end on one node before their agents join, and others do not: no more go
 * there. Where all do, the sweep pauses. */
static void test_bad_node(void **state)
{
    const struct job_end end = {"FAILED", "bad", "it failed"};

    (void)state;
    for (int others = 0; others < 2; others++) {
        struct world *w = world_new(5, MODE_STOP, 40, (3 + others) * SLOTS);

        for (int i = 0; others && i < 30; i++)
            round_of(w);
        for (int i = 0; i < 3; i++) {
            char job[16];

            snprintf(job, sizeof(job), "bad%d", i);
            controller_expect_job(w->controller, job);
            controller_job_gone(w->controller, job, &end);
            assert_int_equal(w->excluded, others && i >= 1);
        }
        assert_int_equal(controller_state(w->controller),
                         others ? CONTROLLER_RUNNING : CONTROLLER_PAUSING);
        run_world(w);
        world_free(w);
    }
}

/* An agent that lives on in a job which is over is sent away, and another job takes its
 * place. */
static void test_job_over(void **state)
{
    struct world *w = world_new(9, MODE_PROMOTE, 30, 2 * SLOTS);

    (void)state;
    for (int i = 0; i < 50; i++)
        round_of(w);
    assert_int_equal(w->machines, 2);
    assert_int_equal(controller_slots(w->controller), 2 * SLOTS);
    controller_job_gone(w->controller, w->machine[0].job,
                        &(struct job_end){"NODE_FAIL", "", "x"});
    for (int i = 0; i < 200; i++)
        round_of(w);
    assert_false(w->machine[0].alive);
    assert_int_equal(w->machines, 3);
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    assert_int_equal(w->machines, 3);
    world_free(w);
}

/* Steps begin one after another; where attempts may be processes as well, those beyond 20
 * at once are. */
static void test_steps(void **state)
{
    struct world *w = world_of(6, MODE_STOP, 100, AGENTS * SLOTS, STEPS_YES);
    double began;

    (void)state;
    w->mute = true;
    while (w->as_steps == 0)
        round_of(w);
    for (began = w->now; w->as_steps < AGENTS * SLOTS;) {
        round_of(w);
        assert_true(w->as_steps <= 2 + (w->now - began) / STEP);
    }
    assert_true(w->now - began < 4);
    assert_int_equal(w->as_processes, 0);
    w->mute = false;
    run_world(w);
    assert_int_equal(w->as_processes, 0);
    world_free(w);

    w = world_of(6, MODE_STOP, 100, AGENTS * SLOTS, STEPS_AUTO);
    w->mute = true;
    while (w->as_steps + w->as_processes < AGENTS * SLOTS)
        round_of(w);
    assert_in_range(w->as_steps, 20, 30);
    w->mute = false;
    run_world(w);
    world_free(w);
}

static uint64_t hear(struct world *w, const char *text)
{
    return controller_packet(w->controller, text, strlen(text));
}

#define FROM(agent) "{\"rung\":1,\"epoch\":1,\"agent\":\"" agent "\",\"first\":1}\n"

/* Somebody with the sweep's key who talks nonsense: dropped, said once, and the sweep
 * goes on. */
static void test_nonsense(void **state)
{
    static const char *const unread[] = {
        "",     "\n",         "hello",
        "{}\n", "\377\376\n", "{\"rung\":1,\"agent\":\"0000000000000000\"}\n",
    };
    static const char *const odd[] = {
        FROM("00000000000000ab") "{\"item\":\"hello\",\"slots\":2147483647,\"closed\":0,"
                                 "\"oldest\":1,\"pid\":1,\"host\":\"h\"}\n",
        FROM("00000000000000ab") "nonsense\n",
        FROM("00000000000000ab") "{\"item\":\"report\",\"step\":-1}\n",
    };
    struct world *w = world_new(8, MODE_PROMOTE, 10, 3);

    (void)state;
    for (int i = 0; i < 30; i++)
        round_of(w);
    w->said = 0;
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < sizeof(unread) / sizeof(unread[0]); i++)
            assert_int_equal(hear(w, unread[i]), 0);
    assert_int_equal(w->said, 1);
    assert_non_null(strstr(w->last_said, "a packet was dropped: "));
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
            assert_int_equal(hear(w, odd[i]), 0xab);
    assert_int_equal(w->said, 2);
    assert_non_null(strstr(w->last_said, "agent 00000000000000ab says what cannot be"));
    /* Of another epoch: a successor's agent is not ours to know. */
    assert_int_equal(hear(w, "{\"rung\":1,\"epoch\":7,\"agent\":\"00000000000000ac\"}\n"),
                     0);
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    world_free(w);
}

/* The same who makes up agents: there is an end to them, and real ones are not locked
 * out once they said hello. */
static void test_made_up_agents(void **state)
{
    struct world *w = world_new(9, MODE_PROMOTE, 10, 3);
    int taken = 0;

    (void)state;
    for (int i = 0; i < 30; i++)
        round_of(w);
    w->said = 0;
    for (int i = 1; i <= 30000; i++) {
        char text[100];

        snprintf(text, sizeof(text), "{\"rung\":%d,\"epoch\":1,\"agent\":\"%016x\"}\n",
                 i % 2 + 1, 0x1000000 + i);
        taken += hear(w, text) != 0;
    }
    assert_int_equal(taken, 10000);
    assert_non_null(strstr(w->last_said, "no more are listened to"));
    run_world(w);
    assert_int_equal(controller_state(w->controller), CONTROLLER_FINISHED);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_draws_ahead),
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_by_cost),
        cmocka_unit_test(test_barren),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_for_good),
        cmocka_unit_test(test_inherited_jobs),
        cmocka_unit_test(test_whole_jobs),
        cmocka_unit_test(test_time_left),
        cmocka_unit_test(test_short_jobs),
        cmocka_unit_test(test_job_over),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_bad_node),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_made_up_agents),
    };

    return cmocka_run_group_tests_name("controller", tests, NULL, NULL);
}
