/* Jobs: each an agent, with the real mind, and the trial programs that it runs. */
#include "base/json.h"
#include "base/rng.h"
#include "tests/sim/world.h"

#include <math.h>
#include <stdio.h>

static double program_unit(const struct world *w, const struct program *p, uint32_t use)
{
    return rng_unit(w->c.seed, RNG_TEST, 1000 + use, (uint32_t)p->trial,
                    (uint32_t)p->attempt);
}

/* ---- what a trial is like: the same in all its attempts, or drawn for each ---- */

static bool trial_is(const struct world *w, int32_t trial, enum fault manner)
{
    return !(w->c.off >> manner & 1) && rng_unit(w->c.seed, RNG_TEST, 2000 + manner,
                                                 (uint32_t)trial, 0) < w->rate[manner];
}

/* The metric at a step: of some seeds often the same, sometimes none that counts. */
static double metric_at(const struct world *w, int32_t trial, int64_t step)
{
    double u = rng_unit(w->c.seed, RNG_TEST, 3000, (uint32_t)trial, (uint32_t)step);
    double v = rng_unit(w->c.seed, RNG_TEST, 3001, (uint32_t)trial, 0);

    if (trial_is(w, trial, F_NAN) && u < 0.2)
        return u < 0.1 ? NAN : u < 0.15 ? INFINITY : -INFINITY;
    if (w->c.seed % 3 == 0)
        return floor(v * 4) / 4; /* ties */
    return v + u / (double)(step + 1);
}

/* ---- programs ---- */

static struct trial_dir *dir_of(struct world *w, int32_t trial)
{
    while (w->dirs.n <= (size_t)trial)
        vec_push(&w->dirs, ((struct trial_dir){0}));
    return &w->dirs.v[trial];
}

static double step_time(struct world *w, const struct program *p)
{
    double slow = rng_unit(w->c.seed, RNG_TEST, 4000, (uint32_t)p->trial, 0);

    return (slow < 0.1 ? 20 : 1) * (0.1 + 2 * chance(w, S_PROGRAM));
}

static void exits(struct world *w, struct program *p, int code, int signal)
{
    if (p->exiting)
        return;
    p->exiting = true;
    p->code = code;
    p->signal = signal;
    p->next = w->now + (chance(w, S_PROGRAM) < 0.05 ? 30 : 0.5) * chance(w, S_PROGRAM);
}

static void gone(struct machine *m, int slot)
{
    struct program *p = &m->program[slot];
    struct end_facts f = {.exit_code = p->signal ? -1 : p->code,
                          .signal = p->signal,
                          .started = NAN,
                          .ended = NAN,
                          USAGE_UNKNOWN};

    if (p->code == -2)
        f.cause = CAUSE_NO_LAUNCH;
    p->runs = false;
    agent_ended(m->mind, slot, &f, m->w->now);
}

/* Only into its own directory: it was renamed when the next attempt began. */
static bool save(struct world *w, struct program *p)
{
    struct trial_dir *d = dir_of(w, p->trial);

    if (d->nonce != p->nonce)
        return false;
    d->step = p->step;
    return true;
}

static void print_report(struct machine *m, int slot, bool metric, double v)
{
    struct program *p = &m->program[slot];
    struct metric loss = {SLICE("loss"), v};

    p->next = m->w->now + step_time(m->w, p);
    agent_printed(m->mind, slot, p->step, &loss, metric, m->w->now);
}

static void say_line(struct machine *m, int slot, bool report, bool metric, bool saved)
{
    struct program *p = &m->program[slot];
    struct str line = STR_INIT;
    double v = metric_at(m->w, p->trial, p->step);

    if (report) {
        p->number++;
        p->reached = p->step >= p->until;
        judge_said(m->w, p, p->step, v, metric);
    }
    if (m->w->printed) {
        if (report)
            print_report(m, slot, metric, v);
        return;
    }
    str_add(&line, "{");
    if (report) {
        str_addf(&line, "\"step\":%lld,\"metrics\":{", (long long)p->step);
        if (metric) {
            str_add(&line, "\"loss\":");
            json_put_num(&line, v);
        }
        str_add(&line, "}");
    }
    if (saved) {
        judge_saved(m->w, p);
        str_addf(&line, "%s\"saved\":%lld", report ? "," : "", (long long)p->step);
    }
    str_add(&line, "}");
    p->waits = report;
    agent_line(m->mind, slot, report ? 1 : 2, line.p, line.len, m->w->now);
    str_free(&line);
}

/* One step of training, and its report. */
static void work_on(struct machine *m, int slot)
{
    struct world *w = m->w;
    struct program *p = &m->program[slot];
    bool omit = trial_is(w, p->trial, F_OMIT) && chance(w, S_PROGRAM) < 0.3;

    if (happens(w, F_FAIL, S_PROGRAM)) {
        exits(w, p, 1, chance(w, S_PROGRAM) < 0.3 ? 11 : 0);
        return;
    }
    if (p->breaks > 0 && --p->breaks == 0) {
        if (trial_is(w, p->trial, F_HANG))
            p->next = INFINITY;
        else
            exits(w, p, !save(w, p), 0);
        return;
    }
    p->step +=
        trial_is(w, p->trial, F_LEAP) ? 1 + (int64_t)(chance(w, S_PROGRAM) * 6) : 1;
    if (omit && chance(w, S_PROGRAM) < 0.5) { /* the metric in a second report */
        say_line(m, slot, true, false, false);
        if (!p->waits && !p->exiting && p->told == DECISION_NONE)
            say_line(m, slot, true, true, false);
        return;
    }
    if (chance(w, S_PROGRAM) < 0.3 && !save(w, p)) {
        exits(w, p, 1, 0); /* its directory is gone */
        return;
    }
    say_line(m, slot, true, !omit || p->step >= w->max_t,
             dir_of(w, p->trial)->step == p->step &&
                 dir_of(w, p->trial)->nonce == p->nonce);
}

/* It was told to pause or stop, and does so: after a checkpoint, where that is wanted. */
static void obey(struct machine *m, int slot, enum decision d)
{
    struct world *w = m->w;
    struct program *p = &m->program[slot];
    bool saved = d == DECISION_PAUSE && save(w, p);

    if (d == DECISION_PAUSE && !saved) {
        exits(w, p, 1, 0);
        return;
    }
    if (saved && chance(w, S_PROGRAM) < 0.5)
        say_line(m, slot, false, false, true);
    exits(w, p, 0, 0);
}

static void act(struct machine *m, int slot)
{
    struct program *p = &m->program[slot];
    bool deaf = trial_is(m->w, p->trial, F_DEAF) && chance(m->w, S_PROGRAM) < 0.7;

    if (!p->runs || p->next > m->w->now)
        return;
    if (p->exiting) {
        gone(m, slot);
    } else if (p->told != DECISION_NONE && !deaf) {
        obey(m, slot, p->told);
    } else if (p->save) {
        p->save = false;
        if (save(m->w, p))
            say_line(m, slot, false, false, true);
    } else if (!p->waits) {
        work_on(m, slot);
    }
}

/* ---- what the agent wants done ---- */

static void on_send(void *ctx, const char *packet, size_t n)
{
    struct machine *m = ctx;

    if (m->process >= 0 && m->cut_until <= m->w->now)
        fly(m->w, -1, m->process, packet, n);
}

/* The directory that the attempt begins with: as worker/agent/attempt_dir.c has it, a
 * copy of the one that stays, or the one before it. */
static void take_dir(struct world *w, const struct item *it)
{
    struct trial_dir *d = dir_of(w, it->work.trial);
    struct kept_dir from = {it->work.source_trial, it->work.source_attempt, -1};
    bool own = from.trial == it->work.trial;

    if (from.attempt == 0 || d->attempt != (own ? from.attempt : 0))
        return;
    for (size_t i = 0; i < w->machines.n; i++)
        for (int s = 0; s < w->slots_per_job; s++) {
            const struct program *p = &w->machines.v[i]->program[s];

            if (!w->machines.v[i]->gone && p->runs && p->trial == from.trial &&
                p->attempt == from.attempt)
                broken(w, "what attempt %d of trial %d writes is being copied",
                       from.attempt, from.trial);
        }
    if (own) {
        from.step = d->step;
        vec_push(&w->kept, from);
        return;
    }
    for (size_t i = 0; i < w->kept.n; i++)
        if (w->kept.v[i].trial == from.trial && w->kept.v[i].attempt == from.attempt)
            from.step = w->kept.v[i].step;
    if (from.step < 0 && dir_of(w, from.trial)->attempt == from.attempt)
        from.step = dir_of(w, from.trial)->step;
    if (from.step != it->work.start)
        broken(w,
               "trial %d begins from step %lld of attempt %d of trial %d, which has %lld",
               it->work.trial, (long long)it->work.start, from.attempt, from.trial,
               (long long)from.step);
    dir_of(w, it->work.trial)->step = from.step;
}

static bool on_start(void *ctx, int slot, const struct item *it)
{
    struct machine *m = ctx;
    struct world *w = m->w;
    struct program *p = &m->program[slot];
    struct trial_dir *d;

    if (p->runs)
        broken(w, "slot %d of job %s has two attempts", slot, m->job);
    judge_started(w, m, it);
    *p = (struct program){.runs = true,
                          .trial = it->work.trial,
                          .attempt = it->work.attempt,
                          .nonce = it->work.nonce,
                          .step = it->work.start,
                          .until = it->work.until};
    w->attempts++;
    p->next = w->now + step_time(w, p);
    take_dir(w, it);
    d = dir_of(w, p->trial);
    if (d->attempt > p->attempt) { /* a later one has the directory */
        exits(w, p, -2, 0);
        return true;
    }
    if (d->attempt == p->attempt && d->nonce != p->nonce && w->c.loud)
        tell(w, "attempt %d of trial %d was begun before", p->attempt, p->trial);
    d->attempt = p->attempt;
    d->nonce = p->nonce;
    if (trial_is(w, p->trial, F_FORGET))
        p->step = 0;
    else if (d->step < p->step)
        broken(w,
               "attempt %d of trial %d is to start from step %lld, its checkpoint holds "
               "%lld",
               p->attempt, p->trial, (long long)p->step, (long long)d->step);
    if (trial_is(w, p->trial, F_EARLY) || trial_is(w, p->trial, F_HANG))
        p->breaks =
            program_unit(w, p, 0) < 0.5 ? 1 + (int64_t)(program_unit(w, p, 1) * 9) : 0;
    return true;
}

static void on_end(void *ctx, int slot)
{
    struct machine *m = ctx;
    struct program *p = &m->program[slot];

    if (!p->runs)
        broken(m->w, "slot %d of job %s has nothing to end", slot, m->job);
    exits(m->w, p, 0, chance(m->w, S_PROGRAM) < 0.2 ? 9 : 15);
}

static void on_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    struct machine *m = ctx;
    struct world *w = m->w;
    struct program *p = &m->program[slot];
    const char *until = memmem(line, n, "\"until\":", 8);
    bool goes_on = memmem(line, n, "\"continue\"", 10);

    if (memmem(line, n, "\"error\"", 7))
        broken(w, "trial %d is answered %.*s", p->trial, (int)n, line);
    if (conn != 1)
        return;
    if (!p->runs || !p->waits)
        broken(w, "an answer that nobody waits for: %.*s", (int)n, line);
    p->waits = false;
    if (goes_on && p->reached && w->promote && p->told == DECISION_NONE)
        judge_went_on(w, p);
    if (until)
        p->until = strtoll(until + 8, NULL, 10);
    p->next = w->now + step_time(w, p);
    p->save = memmem(line, n, "\"save\"", 6);
    if (!goes_on)
        p->told = memmem(line, n, "\"pause\"", 7) ? DECISION_PAUSE : DECISION_STOP;
    if (!goes_on || p->save)
        p->next = w->now;
}

static void on_quit(void *ctx, int status, const char *why)
{
    struct machine *m = ctx;

    (void)status;
    tell(m->w, "job %s leaves: %s", m->job, why);
    for (int s = 0; s < m->w->slots_per_job; s++)
        if (m->program[s].runs)
            broken(m->w, "job %s leaves while a program runs", m->job);
    m->gone = true;
}

/* ---- jobs ---- */

int machine_begin(struct world *w)
{
    struct machine *m = mem_alloc(sizeof(*m));

    if (w->machines.n >= 1000)
        broken(w, "a storm of jobs");
    m->w = w;
    m->index = (int)w->machines.n;
    m->process = -1;
    m->ends = INFINITY;
    m->id = rng_u64(w->c.seed, RNG_TEST, 5000, (uint32_t)m->index, 0) | 1;
    snprintf(m->job, sizeof(m->job), "j%d", m->index);
    m->begins = w->now + 5 * chance(w, S_JOB);
    m->gone = happens(w, F_STILLBORN, S_JOB);
    vec_push(&w->machines, m);
    return m->index;
}

static void begin(struct machine *m)
{
    static const struct agent_port port = {.send = on_send,
                                           .start = on_start,
                                           .end = on_end,
                                           .reply = on_reply,
                                           .quit = on_quit};
    struct world *w = m->w;
    struct agent_config c = {.id = m->id,
                             .slots = w->slots_per_job,
                             .host = SLICE("n"),
                             .job = slice_of(m->job),
                             .release = SLICE("1"),
                             .promote = w->promote,
                             .restart = w->restart,
                             .printed = w->printed,
                             .max_t = w->max_t,
                             .timeout = w->timeout,
                             .trials_per_job = w->trials_per_job,
                             .timers = w->timers};

    if (chance(w, S_JOB) < 0.2 && !w->only_network)
        m->ends = w->now + 20 + 300 * chance(w, S_JOB);
    if (isfinite(m->ends) && m->id & 2) /* others learn it from their controller */
        c.ends = m->ends;
    m->mind = agent_new(&c, &port, m, w->now);
    m->look_at = w->now;
}

/* As worker/agent/run.c does. */
static void look_for_controller(struct machine *m)
{
    struct world *w = m->w;
    struct controller_file f;

    m->look_at = w->now + w->timers.s[TIMER_CONTROLLER_LOOK];
    if (m->cut_until > w->now || controller_file_read(SWEEP_DIR, &f, NULL) < 0)
        return;
    if (strcmp(f.state, "running") != 0 && f.epoch >= m->epoch) {
        machine_evict(m, "the sweep is over");
    } else if (f.epoch > m->epoch) {
        m->epoch = f.epoch;
        m->process = atoi(f.address);
        agent_controller(m->mind, f.epoch, w->now);
    }
}

void machine_act(struct machine *m)
{
    double now = m->w->now;

    if (!m->mind)
        begin(m);
    if (m->ends <= now)
        machine_die(m);
    for (int s = 0; s < m->w->slots_per_job && !m->gone; s++)
        act(m, s);
    if (!m->gone && m->look_at <= now && agent_wants_controller(m->mind, now))
        look_for_controller(m);
    if (!m->gone)
        agent_tick(m->mind, now);
}

void machine_hear(struct machine *m, const char *data, size_t n)
{
    if (!m->gone && m->mind && m->cut_until <= m->w->now)
        agent_packet(m->mind, data, n, m->w->now);
}

void machine_die(struct machine *m)
{
    if (!m->gone)
        tell(m->w, "job %s dies", m->job);
    m->gone = true;
}

void machine_evict(struct machine *m, const char *why)
{
    if (!m->mind)
        m->gone = true;
    else if (!m->gone)
        agent_evict(m->mind, why, m->w->now);
}

double machine_due(const struct machine *m)
{
    double due;

    if (m->gone)
        return INFINITY;
    if (!m->mind)
        return m->begins;
    due = fmin(agent_deadline(m->mind), m->ends);
    if (agent_wants_controller(m->mind, m->w->now))
        due = fmin(due, m->look_at);
    for (int s = 0; s < m->w->slots_per_job; s++)
        if (m->program[s].runs && (m->program[s].exiting || !m->program[s].waits))
            due = fmin(due, m->program[s].next);
    return due;
}

void machine_free(struct machine *m)
{
    agent_free(m->mind);
    free(m);
}
