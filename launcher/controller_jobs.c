/* Jobs and the agents in them: which there are, what became of them, and how many more to
 * ask for. */
#include "launcher/controller_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STILLBORN_MAX    3
#define BAD_NODE_JOBS    2
#define SUBMIT_RETRY_MAX 300.0 /* seconds */

static void job_event(struct controller *c, const char *job, const char *change,
                      const struct peer *p)
{
    struct event ev = {.kind = EVENT_JOB, .trial = -1};

    ev.job.job = slice_of(job);
    ev.job.change = slice_of(change);
    if (p) {
        ev.job.agent = p->id;
        ev.job.host = slice_of(p->host);
        ev.job.slots = p->n_slots;
    }
    controller_happen(c, &ev);
}

/* ---- agents ---- */

void controller_expect(struct controller *c, uint64_t agent, const char *job,
                       const char *host, int slots)
{
    struct peer *p = controller_peer(c, agent);

    if (!p)
        p = controller_add_peer(c, agent);
    free(p->job);
    free(p->host);
    free(p->slots);
    p->job = mem_strdup(job);
    p->host = mem_strdup(host);
    p->n_slots = slots;
    p->slots = mem_alloc((size_t)slots * sizeof(p->slots[0]));
}

static void forget_pending(struct controller *c, const char *job)
{
    for (size_t i = 0; i < c->pending.n; i++) {
        if (strcmp(c->pending.v[i].job, job) == 0) {
            free(c->pending.v[i].job);
            vec_remove(&c->pending, i);
            return;
        }
    }
}

void controller_joined(struct controller *c, struct peer *p)
{
    p->known = true;
    p->gone = false;
    c->strangers -= p->stranger;
    p->stranger = false;
    p->lost_at = 0;
    c->slots_held += p->held;
    c->stillborn = 0;
    forget_pending(c, p->job);
    job_event(c, p->job, "joined", p);
}

void controller_lose(struct controller *c, struct peer *p, const char *why)
{
    struct end_facts f = {.cause = CAUSE_AGENT_GONE,
                          .exit_code = -1,
                          .started = NAN,
                          .ended = NAN,
                          USAGE_UNKNOWN};

    f.note = slice_of(why);
    f.slurm_state = slice_of(p->job_state);
    for (int32_t s = 0; s < p->n_slots; s++) {
        int32_t trial = sweep_in_slot(c->sw, p->id, s);

        if (trial >= 0)
            controller_end_attempt(c, trial, &f);
        p->slots[s].parked = false;
    }
    if (p->known && !p->gone)
        c->slots_held -= p->held;
    if (c->refusals > 0)
        c->next_submit = c->now; /* there may be room for another job now */
    p->gone = true;
    p->known = true; /* a repeated LEAVE of it is only to be acknowledged */
    job_event(c, p->job ? p->job : "", "ended", p);
}

/* Somebody has cancelled a job of ours. That is their affair, unless it was the last: a
 * tool that comes back then is in nobody's sense. */
static void job_cancelled(struct controller *c)
{
    if (c->slots_held == 0 && c->pending.n == 0 && c->unexplained == 0)
        controller_trouble(
            c, "all of its jobs were cancelled, so somebody wants it to end; `rung "
               "resume` goes on");
}

static bool is_cancelled(const char *state)
{
    return strcmp(state, "CANCELLED") == 0;
}

/* Learns why a job was taken away. Until that is known, none takes its place. */
static void explain(struct controller *c, struct peer *p)
{
    bool gone = c->port.job_state(c->ctx, p->job) == JOB_GONE;

    if (!gone && c->now - p->evicted_at < c->c.timers.s[TIMER_AGENT_LOST])
        return;
    p->evicted_at = 0;
    c->unexplained--;
    if (is_cancelled(p->job_state))
        job_cancelled(c);
}

/* Gives up agents whose job is gone, or that were not heard of for too long. */
static void find_lost(struct controller *c)
{
    const double *s = c->c.timers.s;

    for (size_t i = 0; i < c->peers.n; i++) {
        struct peer *p = &c->peers.v[i];
        double silent = c->now - p->heard;
        enum job_state state;

        if (p->evicted_at > 0)
            explain(c, p);
        if (p->gone || !p->job)
            continue;
        if (p->lost_at > 0 && c->now >= p->lost_at) {
            controller_lose(c, p, "its job ended");
            if (is_cancelled(p->job_state))
                job_cancelled(c);
            continue;
        }
        if (p->lost_at > 0 || (p->known && silent < 2 * s[TIMER_BEAT] && !p->doubtful))
            continue;
        state = c->port.job_state(c->ctx, p->job);
        p->job_over = state == JOB_GONE;
        if (state == JOB_GONE && p->known)
            p->lost_at = c->now + c->c.timers.s[TIMER_LAST_WORDS];
        else if (state == JOB_GONE) /* it never spoke to us, so no words are under way */
            controller_lose(c, p, "its job ended");
        else if (silent > s[TIMER_AGENT_SILENT] ||
                 (silent > s[TIMER_AGENT_LOST] && state == JOB_UNKNOWN))
            controller_lose(c, p, "its agent was not heard of any more");
    }
}

/* ---- jobs ---- */

void controller_expect_job(struct controller *c, const char *job)
{
    vec_push(&c->pending,
             ((struct pending_job){
                 .job = mem_strdup(job), .inherited = true, .since = c->now}));
}

static bool has_joined(const struct controller *c, const char *job)
{
    for (size_t i = 0; i < c->peers.n; i++) {
        if (c->peers.v[i].job && strcmp(c->peers.v[i].job, job) == 0)
            return true;
    }
    return false;
}

void controller_job_submitted(struct controller *c, const char *job)
{
    c->asked--;
    c->refusals = 0;
    c->most += c->most > 0 && c->most < c->c.file->slots;
    if (has_joined(c, job))
        return;
    vec_push(&c->pending,
             ((struct pending_job){.job = mem_strdup(job), .since = c->now}));
    job_event(c, job, "submitted", NULL);
}

void controller_jobs_refused(struct controller *c, int n, const char *why, bool passing)
{
    double wait = c->c.timers.s[TIMER_SUBMIT_RETRY];

    c->asked -= n;
    if (!passing) {
        controller_trouble(c, why);
        return;
    }
    if (!c->refusal || strcmp(c->refusal, why) != 0) {
        free(c->refusal);
        c->refusal = mem_strdup(why);
        c->port.say(c->ctx, why);
    }
    c->most = n > 1 ? n / 2 : 1;
    wait *= 1 << (c->refusals < 10 ? c->refusals : 10);
    c->refusals++;
    c->next_submit = c->now + (wait < SUBMIT_RETRY_MAX ? wait : SUBMIT_RETRY_MAX);
}

/* Two jobs that never joined, where others hold slots, and a node gets no more. */
static void blame_node(struct controller *c, const char *node)
{
    struct str text = STR_INIT;
    size_t i = 0;

    while (i < c->bad_nodes.n && strcmp(c->bad_nodes.v[i].name, node) != 0)
        i++;
    if (!*node)
        return;
    if (i == c->bad_nodes.n)
        vec_push(&c->bad_nodes, ((struct bad_node){.name = mem_strdup(node)}));
    if (++c->bad_nodes.v[i].jobs == BAD_NODE_JOBS && c->slots_held > 0 &&
        c->port.exclude && c->port.exclude(c->ctx, node)) {
        str_addf(&text,
                 "no more jobs of this sweep go to %s: %d ended there before their "
                 "agents could join, and others hold slots elsewhere",
                 node, BAD_NODE_JOBS);
        c->port.say(c->ctx, text.p);
        c->stillborn = 0;
    }
    str_free(&text);
}

/* A job ended whose agent never joined. While others hold slots, not all is wrong: one
 * node may be, say. Then jobs that take its place are submitted less and less often. */
static void job_stillborn(struct controller *c, const char *job,
                          const struct job_end *end)
{
    struct str text = STR_INIT, output = STR_INIT;

    str_addf(&text, "job %s ended before its agent could join: %s", job, end->why);
    if (c->port.job_output)
        c->port.job_output(c->ctx, job, &output);
    if (output.len > 0)
        str_addf(&text, "; %s", output.p);
    job_event(c, job, "ended", NULL);
    forget_pending(c, job); /* job may be its name */
    c->stillborn++;
    c->next_submit = c->now + (1 << (c->stillborn < 8 ? c->stillborn : 8));
    if (c->stillborn >= STILLBORN_MAX && c->slots_held == 0) {
        c->stillborn = 0;
        controller_trouble(c, text.p);
    } else {
        c->port.say(c->ctx, text.p);
        if (strcmp(end->state, "FAILED") == 0 || strcmp(end->state, "BOOT_FAIL") == 0)
            blame_node(c, end->node);
    }
    str_free(&output);
    str_free(&text);
}

void controller_job_gone(struct controller *c, const char *job, const struct job_end *end)
{
    bool joined = false;

    for (size_t i = 0; i < c->peers.n; i++) { /* several, of a job that was requeued */
        struct peer *p = &c->peers.v[i];

        if (!p->job || strcmp(p->job, job) != 0)
            continue;
        joined = true;
        snprintf(p->job_state, sizeof(p->job_state), "%s", end->state);
        p->job_over = true;
        if (!p->gone)
            p->lost_at = c->now + c->c.timers.s[TIMER_LAST_WORDS];
    }
    if (joined)
        return;
    for (size_t i = 0; i < c->pending.n; i++) {
        if (strcmp(c->pending.v[i].job, job) != 0)
            continue;
        job_stillborn(c, job, end);
        if (is_cancelled(end->state))
            job_cancelled(c);
        return;
    }
}

/* Gives up jobs that run, and whose agent says nothing: on nodes that hang. And those of
 * earlier epochs that ended meanwhile, or of which nothing can be known from here. */
static void find_silent_jobs(struct controller *c)
{
    double patience = c->c.timers.s[TIMER_AGENT_SILENT];

    for (size_t i = c->pending.n; i-- > 0;) {
        struct pending_job *p = &c->pending.v[i];
        enum job_state state = c->port.job_state(c->ctx, p->job);

        if (p->inherited && (state == JOB_GONE ||
                             (state == JOB_UNKNOWN && c->now - p->since > patience))) {
            job_event(c, p->job, "ended", NULL);
            forget_pending(c, p->job);
        } else if (state != JOB_RUNNING || p->runs_since == 0) {
            p->runs_since = state == JOB_RUNNING ? c->now : 0;
        } else if (c->now - p->runs_since > patience) {
            controller_job_gone(c, p->job,
                                &(struct job_end){"", "", "its agent said nothing"});
        }
    }
}

void controller_look(struct controller *c)
{
    find_lost(c);
    find_silent_jobs(c);
}

/* Slots that exist or are on their way. */
static int slots_coming(const struct controller *c)
{
    int n = c->slots_held + ((int)c->pending.n + c->asked) * c->c.slots_per_job;

    for (size_t i = 0; i < c->peers.n; i++) {
        if (!c->peers.v[i].known && !c->peers.v[i].gone)
            n += c->peers.v[i].n_slots;
    }
    return n;
}

void controller_want_jobs(struct controller *c, const struct work *next)
{
    int missing = c->c.file->slots - slots_coming(c);
    int jobs = missing / c->c.slots_per_job;

    if (c->c.keeps_idle && missing > jobs * c->c.slots_per_job)
        jobs++; /* slots that cost nothing may be some too many */
    if (jobs <= 0 || c->now < c->next_submit || c->unexplained > 0 ||
        (next->kind != WORK_TRIAL && next->kind != WORK_DRAW))
        return;
    if (c->most > 0 && jobs > c->most)
        jobs = c->most;
    c->asked += jobs;
    c->port.submit(c->ctx, jobs);
}

void controller_evicted(struct controller *c, const char *job)
{
    job_event(c, job, "evicted", NULL);
}
