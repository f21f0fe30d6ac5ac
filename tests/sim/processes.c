/* Controllers' processes. Each runs the real epoch and controller in a coroutine, with
 * the loop of launcher/serve.c around them, and may be left at any of its system calls:
 * for a moment, for hours while others act, or for ever. A process that is killed is
 * taken up once more, but all its calls fail and nothing it says is heard, until it has
 * freed what it had. */
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/mman.h>

#define STACK_BYTES ((size_t)1 << 20)

/* ---- going and coming ---- */

/* Leaves the process until w->now >= wake; `waits`: or until a packet comes. */
static void leave_until(struct process *p, double wake, bool waits)
{
    p->wake = wake;
    p->waits = waits;
    swapcontext(&p->context, &p->w->context);
}

void process_go_on(struct process *p)
{
    p->waits = false;
    p->wake = INFINITY;
    p->w->current = p;
    swapcontext(&p->w->context, &p->context);
    p->w->current = NULL;
}

double process_due(const struct process *p)
{
    if (p->over)
        return INFINITY;
    return p->dead || (p->waits && p->inbox.n > 0) ? p->w->now : p->wake;
}

bool process_responds(const struct process *p)
{
    return !p->over && !p->dead && (p->waits || p->wake < p->w->now + 30);
}

void process_kill(struct process *p)
{
    p->dead = true;
}

void process_hear(struct process *p, char *data, size_t n)
{
    if (p->over || p->dead || p->cut_until > p->w->now)
        free(data);
    else
        vec_push(&p->inbox, ((struct slice){data, n}));
}

/* ---- system calls ---- */

/* How long a call takes, in which others may act: with names often long enough to be
 * overtaken. */
static void take_time(struct process *p, enum disk_op op)
{
    struct world *w = p->w;
    bool slow = happens(w, F_SLOW, S_DISK);
    bool freezes = chance(w, S_DISK) < w->rate[F_FREEZE] * (op == DISK_NAME ? 30 : 1) &&
                   may(w, F_FREEZE);
    bool crashes = happens(w, F_CRASH, S_DISK);
    double u = chance(w, S_DISK);

    if (crashes) {
        tell(w, "controller %d is killed in a call", p->index);
        process_kill(p);
    }
    if (freezes)
        tell(w, "controller %d freezes", p->index);
    if (freezes || slow || crashes)
        leave_until(p, w->now + (freezes ? 20 + 4000 * u * u * u : u * u * 2), false);
}

static int before_call(void *ctx, enum disk_op op, size_t *n)
{
    struct world *w = ctx;
    struct process *p = w->current;
    bool torn;

    if (!p)
        return 0;
    if (!p->dead && op != DISK_READ)
        take_time(p, op);
    if (p->dead && op == DISK_WRITE && p->torn) {
        p->torn = false; /* it was killed in this write */
        *n = (size_t)((double)*n * chance(w, S_DISK));
        return 0;
    }
    if (p->dead)
        return ESHUTDOWN;
    torn = op == DISK_WRITE && w->full_until > w->now;
    if (torn && chance(w, S_DISK) < 0.7)
        return ENOSPC;
    if (torn)
        *n = 1 + (size_t)((double)*n * chance(w, S_DISK) * 0.99);
    if (op == DISK_SYNC && happens(w, F_SYNC, S_DISK)) {
        tell(w, "an fsync of controller %d fails", p->index);
        return EIO;
    }
    return 0;
}

static void after_call(void *ctx, enum disk_op op)
{
    struct world *w = ctx;

    if (w->current && !w->current->dead)
        take_time(w->current, op);
}

static int host_of_call(void *ctx)
{
    const struct world *w = ctx;

    return w->current ? w->current->host : -1;
}

static double chance_of_disk(void *ctx)
{
    return chance(ctx, S_DISK);
}

const struct disk_port disk_of_processes = {
    .before = before_call,
    .after = after_call,
    .host = host_of_call,
    .chance = chance_of_disk,
};

/* ---- what the controller asks for ---- */

static void on_append(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct process *p = ctx;

    journal_append(p->ep.journal, ev, v);
    p->appended++;
    p->w->events++;
    if (ev->kind == EVENT_RESUME)
        p->w->finished = false; /* until it is again */
    tell(p->w, "controller %d, epoch %d: %s of trial %d, attempt %d", p->index,
         p->ep.who.epoch, event_name(ev->kind), ev->trial, ev->attempt);
}

static void on_send(void *ctx, uint64_t agent, const char *packet, size_t n)
{
    struct process *p = ctx;

    if (p->dead)
        return;
    judge_sent(p->w, p);
    if (p->cut_until > p->w->now)
        return;
    for (size_t i = 0; i < p->w->machines.n; i++)
        if (p->w->machines.v[i]->id == agent)
            fly(p->w, (int)i, -1, packet, n);
}

static void tell_of_submission(struct process *p, int machine)
{
    if (machine < 0) {
        controller_jobs_refused(p->ep.controller, 1, "not now", true);
        return;
    }
    vec_push(&p->children, machine);
    controller_job_submitted(p->ep.controller, p->w->machines.v[machine]->job);
}

/* No more jobs wait than there are slots for, the last one perhaps with some too many. */
static void check_waiting(const struct process *p)
{
    const struct world *w = p->w;
    int jobs = 0;

    for (size_t i = 0; i < p->submissions.n; i++)
        jobs += p->submissions.v[i].machine >= 0;
    for (size_t i = 0; i < p->children.n; i++) {
        const struct machine *m = w->machines.v[p->children.v[i]];

        jobs += !m->gone && !m->mind;
    }
    if (jobs * w->slots_per_job >= w->slots + w->slots_per_job)
        broken(w, "%d jobs wait, with %d slots each; %d are wanted", jobs,
               w->slots_per_job, w->slots);
}

static void on_submit(void *ctx, int jobs)
{
    struct process *p = ctx;
    struct world *w = p->w;

    while (jobs-- > 0 && !p->dead) {
        struct submission s = {w->now, -1};

        if (!happens(w, F_REFUSE, S_SUBMIT))
            s.machine = machine_begin(w);
        if (w->slow_submits) {
            s.at += 20 * chance(w, S_SUBMIT);
            vec_push(&p->submissions, s);
        } else {
            tell_of_submission(p, s.machine);
        }
    }
    check_waiting(p);
}

static const struct machine *find_machine(const struct process *p, const char *job)
{
    for (size_t i = 0; i < p->w->machines.n; i++)
        if (strcmp(p->w->machines.v[i]->job, job) == 0)
            return p->w->machines.v[i];
    return NULL;
}

static enum job_state on_job_state(void *ctx, const char *job)
{
    const struct machine *m = find_machine(ctx, job);

    if (!m)
        return JOB_UNKNOWN;
    return m->seems  ? JOB_RUNNING
           : m->gone ? JOB_GONE
           : m->mind ? JOB_RUNNING
                     : JOB_PENDING;
}

static double on_job_left(void *ctx, const char *job)
{
    const struct process *p = ctx;
    const struct machine *m = find_machine(p, job);

    return m && isfinite(m->ends) ? fmax(0, m->ends - p->w->now) : NAN;
}

static void on_say(void *ctx, const char *text)
{
    const struct process *p = ctx;

    tell(p->w, "controller %d says: %s", p->index, text);
}

static void on_cancel(void *ctx, const char *job)
{
    const struct process *p = ctx;

    for (size_t i = 0; i < p->w->machines.n && !p->dead; i++)
        if (strcmp(p->w->machines.v[i]->job, job) == 0)
            machine_evict(p->w->machines.v[i], "cancelled");
}

/* ---- the process ---- */

static double wall(const struct process *p)
{
    return 1.8e9 + p->w->now + p->w->jump[p->host];
}

static int set_up(struct process *p, struct err *e)
{
    static const struct controller_port port = {.append = on_append,
                                                .send = on_send,
                                                .submit = on_submit,
                                                .job_state = on_job_state,
                                                .job_left = on_job_left,
                                                .say = on_say};
    struct world *w = p->w;
    struct controller_config c = {.release = "1",
                                  .slots_per_job = w->slots_per_job,
                                  .keeps_idle = w->keeps_idle,
                                  .timers = w->timers};
    struct event first = {.kind = EVENT_EPOCH, .trial = -1, .time = wall(p)};
    int64_t torn = 0;
    int rc;

    first.epoch.name = SLICE("sim");
    first.epoch.version = SLICE("1");
    first.epoch.host = first.epoch.user = first.epoch.command = SLICE("x");
    rc = epoch_begin(&p->ep, SWEEP_DIR, &first, &torn, e);
    if (rc != 0)
        return rc;
    p->appended = 1;
    w->epochs++;
    snprintf(p->ep.who.host, sizeof(p->ep.who.host), "h%d", p->host);
    snprintf(p->ep.who.address, sizeof(p->ep.who.address), "%d", p->index);
    snprintf(p->ep.who.state, sizeof(p->ep.who.state), "running");
    rc = controller_file_write(SWEEP_DIR, &p->ep.who, e);
    if (rc == 0)
        epoch_control(&p->ep, &c, p->resume && sweep_totals(p->ep.sweep.sw)->pausing,
                      &port, p, w->now, wall(p));
    return rc;
}

static void tell_of_jobs(struct process *p)
{
    for (size_t i = 0; i < p->submissions.n;) {
        struct submission s = p->submissions.v[i];

        if (s.at <= p->w->now) {
            vec_remove(&p->submissions, i);
            tell_of_submission(p, s.machine);
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < p->children.n;) {
        const struct machine *m = p->w->machines.v[p->children.v[i]];

        if (m->gone && !m->seems) {
            vec_remove(&p->children, i);
            controller_job_gone(p->ep.controller, m->job,
                                &(struct job_end){"", "", "it ended"});
        } else {
            i++;
        }
    }
}

static void more_trials(struct process *p)
{
    char number[16];
    struct err e;

    snprintf(number, sizeof(number), "%d",
             (int)p->ep.sweep.file->spec.trials + 1 + (int)(chance(p->w, S_PEOPLE) * 3));
    if (controller_set(p->ep.controller, "search.trials", number, &e) != 0)
        broken(p->w, "search.trials cannot be set: %s", e.text);
}

static void ask_of_people(struct process *p)
{
    struct world *w = p->w;
    int32_t trials = sweep_trials(p->ep.sweep.sw);

    if (!happens(w, F_PEOPLE, S_PEOPLE))
        return;
    if (controller_state(p->ep.controller) == CONTROLLER_PAUSING) /* Ctrl-C once more */
        controller_interrupt(p->ep.controller);
    else if (chance(w, S_PEOPLE) < 0.3)
        more_trials(p);
    else if (chance(w, S_PEOPLE) < 0.5 && trials > 0)
        controller_stop(p->ep.controller, (int32_t)(chance(w, S_PEOPLE) * trials),
                        "a person");
    else
        controller_pause(p->ep.controller, "a person");
}

/* As serve_round() has it. */
static int one_round(struct process *p, struct err *e)
{
    struct world *w = p->w;
    int rc;

    leave_until(p, fmin(epoch_deadline(&p->ep), w->now + 5), true);
    if (p->dead)
        return ERR_IO;
    controller_clock(p->ep.controller, w->now, wall(p));
    rc = epoch_announce(&p->ep, &w->timers, w->now, e);
    for (size_t i = 0; i < p->inbox.n; i++) {
        if (rc == 0)
            controller_packet(p->ep.controller, p->inbox.v[i].p, p->inbox.v[i].len);
        free((char *)p->inbox.v[i].p);
    }
    p->inbox.n = 0;
    if (rc != 0)
        return rc;
    ask_of_people(p);
    tell_of_jobs(p);
    controller_tick(p->ep.controller);
    rc = epoch_commit(&p->ep, &w->timers, w->now, e);
    if (rc == 0 && !p->dead && chance(w, S_DISK) < 0.02 &&
        !journal_pending(p->ep.journal))
        judge_state(w, p);
    return rc;
}

static void wind_up(struct process *p)
{
    bool finished = controller_state(p->ep.controller) == CONTROLLER_FINISHED;

    judge_state(p->w, p);
    controller_jobs(p->ep.controller, on_cancel, p);
    snprintf(p->ep.who.state, sizeof(p->ep.who.state), finished ? "finished" : "paused");
    controller_file_write(SWEEP_DIR, &p->ep.who, NULL);
    if (!p->dead)
        p->w->finished |= finished;
}

static bool may_fail_so(int rc)
{
    return rc == ERR_FENCED || rc == ERR_FULL || rc == ERR_IO || rc == ERR_EXIST;
}

static void process_main(unsigned high, unsigned low)
{
    struct process *p = (void *)((uintptr_t)high << 32 | low);
    struct err e = {0};
    int rc = set_up(p, &e);

    while (rc == 0 && !controller_done(p->ep.controller))
        rc = one_round(p, &e);
    if (rc == 0)
        wind_up(p);
    else if (!p->dead && !may_fail_so(rc))
        broken(p->w, "controller %d ends: %s", p->index, e.text);
    tell(p->w, "controller %d is gone%s%s", p->index, rc ? ": " : "", rc ? e.text : "");
    epoch_end(&p->ep);
    p->over = true;
    leave_until(p, INFINITY, false);
}

void process_begin(struct world *w, bool resume)
{
    struct process *p = mem_alloc(sizeof(*p));
    uintptr_t self = (uintptr_t)p;

    p->w = w;
    p->index = (int)w->processes.n;
    p->host = (int)(chance(w, S_PROCESS) * HOSTS);
    p->resume = resume;
    p->torn = true;
    p->wake = w->now;
    p->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p->stack == MAP_FAILED)
        broken(w, "no memory for a stack");
    getcontext(&p->context);
    p->context.uc_stack.ss_sp = p->stack;
    p->context.uc_stack.ss_size = STACK_BYTES;
    p->context.uc_link = NULL;
    makecontext(&p->context, (void (*)(void))process_main, 2, (unsigned)(self >> 32),
                (unsigned)self);
    vec_push(&w->processes, p);
    tell(w, "controller %d begins on host %d", p->index, p->host);
}

void process_free(struct process *p)
{
    munmap(p->stack, STACK_BYTES);
    for (size_t i = 0; i < p->inbox.n; i++)
        free((char *)p->inbox.v[i].p);
    vec_free(&p->inbox);
    vec_free(&p->submissions);
    vec_free(&p->children);
    free(p);
}
