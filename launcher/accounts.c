#include "launcher/accounts.h"

#include "base/hash.h"
#include "base/num.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MAX 200 /* in one question */
/* Questions about one attempt: what is not there then never comes. */
#define ASKS_MAX 3
#define CLOCKS   60.0 /* seconds that clocks of nodes may differ by */
/* Jobs are asked for that ended since so many seconds before the attempt began. */
#define MARGIN 3600.0

struct owed { /* an attempt */
    int32_t trial, attempt;
    char *job;
    char *step;   /* which one of the job it was; NULL: none, or that is not known */
    bool process; /* it was none */
    double began;
    int asks;
    bool asked;       /* in the question that is out */
    bool goes_on;     /* its job does, by the answer: there will be more of it */
    uint32_t earlier; /* the one before it of the same trial in that question, plus 1 */
    bool found;       /* there is a record: */
    char *found_step; /* NULL: of the job alone */
    char *state, *nodes;
    struct account record; /* but for its texts */
};

struct accounts {
    const struct sweepfile *file;
    VEC(struct owed) owed;
    struct map place;  /* trial and attempt -> index of owed */
    struct map trials; /* trial -> index of its last one in the question that is out */
    struct map agents; /* agent -> index of jobs, of those that joined */
    VEC(char *) jobs;
    struct map ended; /* hash of a job's name -> 1, or 0 when it joined again */
    bool out;         /* a question is */
    bool given_up, over;
    double next;
};

struct accounts *accounts_new(const struct sweepfile *file)
{
    struct accounts *a = mem_alloc(sizeof(*a));

    a->file = file;
    return a;
}

static void clear_found(struct owed *o)
{
    free(o->found_step);
    free(o->state);
    free(o->nodes);
    o->found_step = o->state = o->nodes = NULL;
    o->found = false;
}

static void forget(struct owed *o)
{
    clear_found(o);
    free(o->job);
    free(o->step);
}

void accounts_free(struct accounts *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->owed.n; i++)
        forget(&a->owed.v[i]);
    for (size_t i = 0; i < a->jobs.n; i++)
        free(a->jobs.v[i]);
    vec_free(&a->owed);
    vec_free(&a->jobs);
    map_free(&a->place);
    map_free(&a->trials);
    map_free(&a->agents);
    map_free(&a->ended);
    free(a);
}

/* ---- what is owed ---- */

static uint64_t key_of(int32_t trial, int32_t attempt)
{
    return (uint64_t)(uint32_t)trial << 32 | (uint32_t)attempt;
}

/* NULL: not owed. */
static struct owed *owed_of(struct accounts *a, int32_t trial, int32_t attempt)
{
    uint32_t i;

    return map_get(&a->place, key_of(trial, attempt), &i) ? &a->owed.v[i] : NULL;
}

/* The entry leaves the list; its texts are the caller's. */
static struct owed take_out(struct accounts *a, size_t i)
{
    struct owed o = a->owed.v[i];

    map_remove(&a->place, key_of(o.trial, o.attempt));
    a->owed.v[i] = a->owed.v[--a->owed.n];
    if (i < a->owed.n)
        map_put(&a->place, key_of(a->owed.v[i].trial, a->owed.v[i].attempt), (uint32_t)i);
    return o;
}

static void on_end(struct accounts *a, const struct event *ev, const struct sweep *sw)
{
    const struct end_facts *f = &ev->end.facts;
    const struct trial *t = sweep_trial(sw, ev->trial);
    struct owed o = {.trial = ev->trial,
                     .attempt = ev->attempt,
                     .process = f->slurm_job.len > 0 && f->slurm_step.len == 0,
                     .began = f->started > 0 ? f->started : t->attempt_started};
    uint32_t job;

    if (f->slurm_job.len > 0)
        o.job = mem_strndup(f->slurm_job.p, f->slurm_job.len);
    else if (map_get(&a->agents, t->agent, &job)) /* it was lost */
        o.job = mem_strdup(a->jobs.v[job]);
    else
        return;
    if (f->slurm_step.len > 0)
        o.step = mem_strndup(f->slurm_step.p, f->slurm_step.len);
    map_put(&a->place, key_of(o.trial, o.attempt), (uint32_t)a->owed.n);
    vec_push(&a->owed, o);
}

static void on_job(struct accounts *a, const struct event *ev)
{
    uint64_t hash = hash64(ev->job.job.p, ev->job.job.len);
    uint32_t i;

    map_put(&a->ended, hash, slice_eq(ev->job.change, "ended"));
    if (!slice_eq(ev->job.change, "joined") || map_get(&a->agents, ev->job.agent, &i))
        return;
    map_put(&a->agents, ev->job.agent, (uint32_t)a->jobs.n);
    vec_push(&a->jobs, mem_strndup(ev->job.job.p, ev->job.job.len));
}

void accounts_event(struct accounts *a, const struct event *ev, const struct sweep *sw)
{
    struct owed *o;

    if (ev->kind == EVENT_END) {
        on_end(a, ev, sw);
    } else if (ev->kind == EVENT_JOB) {
        on_job(a, ev);
    } else if (ev->kind == EVENT_ACCOUNT &&
               (o = owed_of(a, ev->trial, ev->attempt)) != NULL) {
        struct owed done = take_out(a, (size_t)(o - a->owed.v));

        forget(&done);
    }
}

/* ---- asking ---- */

static bool job_ended(const struct accounts *a, const char *job)
{
    uint32_t ended;

    return map_get(&a->ended, hash64(job, strlen(job)), &ended) && ended;
}

bool accounts_open(const struct accounts *a)
{
    if (a->given_up)
        return false;
    for (size_t i = 0; i < a->owed.n; i++) {
        if (a->owed.v[i].asks < ASKS_MAX)
            return true;
    }
    return false;
}

void accounts_ask(struct accounts *a, struct executor *x, double every, double now,
                  bool over)
{
    VEC(char *) jobs = {0};
    struct map known = {0};
    double since = INFINITY;

    if (over && !a->over)
        a->next = 0;
    a->over = over;
    if (a->next == 0)
        a->next = now + every; /* they are not there at once */
    if (!x->ops->account || a->out || a->given_up || now < a->next)
        return;
    for (size_t i = 0; i < a->owed.n; i++) {
        struct owed *o = &a->owed.v[i];
        uint64_t hash = hash64(o->job, strlen(o->job));
        uint32_t one;

        if (o->asks >= ASKS_MAX || (o->process && !over && !job_ended(a, o->job)))
            continue;
        if (!map_get(&known, hash, &one)) {
            if (jobs.n == JOBS_MAX)
                continue;
            map_put(&known, hash, 1);
            vec_push(&jobs, o->job);
        }
        o->asked = true;
        o->goes_on = false;
        o->earlier =
            map_get(&a->trials, (uint64_t)(uint32_t)o->trial, &one) ? one + 1 : 0;
        map_put(&a->trials, (uint64_t)(uint32_t)o->trial, (uint32_t)i);
        since = fmin(since, o->began - MARGIN);
    }
    a->next = now + every;
    a->out = jobs.n > 0;
    if (a->out)
        x->ops->account(x, jobs.v, jobs.n, since);
    vec_free(&jobs);
    map_free(&known);
}

/* ---- answers ---- */

/* "t000012.r2": a step's name, which has the trial and the rung. */
static bool read_name(struct slice name, int32_t *trial)
{
    const char *dot = memmem(name.p, name.len, ".r", 2);
    int64_t t;

    if (!dot || name.p[0] != 't' ||
        num_parse_int(name.p + 1, (size_t)(dot - name.p - 1), &t) != 0 || t < 0 ||
        t > INT32_MAX)
        return false;
    *trial = (int32_t)t;
    return true;
}

/* Seconds between when the attempt began and a run of its job; 0: within. */
static double apart(const struct owed *o, const struct account *r)
{
    if (isnan(r->started))
        return INFINITY;
    if (o->began < r->started)
        return r->started - o->began;
    return r->ended < o->began ? o->began - r->ended : 0;
}

/* Of the runs of a job that was requeued, that one which the attempt began in; clocks of
 * nodes differ, so the nearest. */
static bool better(const struct owed *o, const struct account *r)
{
    return !o->found || apart(o, r) <= apart(o, &o->record);
}

static void find(struct owed *o, const struct account *r)
{
    clear_found(o);
    o->found = true;
    o->record = *r;
    o->found_step = r->step.len > 0 ? mem_strndup(r->step.p, r->step.len) : NULL;
    o->state = mem_strndup(r->state.p, r->state.len);
    o->nodes = mem_strndup(r->nodes.p, r->nodes.len);
}

/* Is that its step? Of a lost attempt it is not known which it was, only when. */
static bool its_step(const struct owed *o, const struct account *r)
{
    if (o->process || !slice_eq(r->job, o->job))
        return false;
    return o->step ? slice_eq(r->step, o->step) : fabs(r->started - o->began) < CLOCKS;
}

static void step_record(struct accounts *a, const struct account *r)
{
    int32_t trial;
    uint32_t last;

    if (!read_name(r->name, &trial) ||
        !map_get(&a->trials, (uint64_t)(uint32_t)trial, &last))
        return;
    for (uint32_t i = last + 1; i > 0; i = a->owed.v[i - 1].earlier) {
        struct owed *o = &a->owed.v[i - 1];

        if (its_step(o, r) && (!o->found_step || better(o, r)))
            find(o, r);
    }
}

void accounts_record(struct accounts *a, const struct account *r)
{
    if (!a->out)
        return;
    if (r->step.len > 0) {
        if (r->is == JOB_GONE)
            step_record(a, r);
        return;
    }
    for (size_t i = 0; i < a->owed.n; i++) {
        struct owed *o = &a->owed.v[i];

        if (!o->asked || !slice_eq(r->job, o->job))
            continue;
        if (r->is != JOB_GONE)
            o->goes_on = true;
        else if (!o->found_step && better(o, r))
            find(o, r);
    }
}

/* Energy is measured of whole nodes. */
static bool alone(const struct sweepfile *f)
{
    for (size_t i = 0; i < f->slurm.n; i++) {
        if (strcmp(f->slurm.v[i].name, "exclusive") == 0)
            return !f->slurm.v[i].value && f->slots_per_job == 1;
    }
    return false;
}

static void make_event(const struct accounts *a, const struct owed *o, struct event *ev)
{
    const struct account *r = &o->record;

    *ev = (struct event){.kind = EVENT_ACCOUNT, .trial = o->trial, .attempt = o->attempt};
    ev->account.job = slice_of(o->job);
    ev->account.step = slice_of(o->found_step ? o->found_step : "");
    ev->account.state = slice_of(o->state);
    ev->account.node = slice_of(o->nodes);
    ev->account.elapsed = o->found_step ? r->elapsed : NAN;
    ev->account.cpu_seconds = o->found_step ? r->cpu_seconds : NAN;
    ev->account.max_rss = o->found_step ? r->max_rss : NAN;
    ev->account.energy = o->found_step && alone(a->file) ? r->energy : NAN;
}

void accounts_answered(struct accounts *a, const char *why, bool passing,
                       void (*fn)(void *ctx, struct event *ev), void *ctx)
{
    a->out = false;
    map_free(&a->trials);
    a->given_up |= why && !passing;
    for (size_t i = a->owed.n; i-- > 0;) { /* from the end: others take their places */
        struct owed *o = &a->owed.v[i];
        struct event ev;

        if (!o->asked)
            continue;
        o->asked = false;
        if (why) {
            clear_found(o);
        } else if (!o->found) {
            o->asks += !o->goes_on;
        } else {
            struct owed done = take_out(a, i);

            make_event(a, &done, &ev);
            fn(ctx, &ev);
            forget(&done);
        }
    }
}
