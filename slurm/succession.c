#include "slurm/succession.h"

#include "base/clock.h"
#include "base/mem.h"
#include "slurm/command.h"
#include "slurm/script.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECONDS        30.0
#define SBATCH_SECONDS 180.0 /* it waits by itself when slurmctld is too busy */

struct succession {
    char *dir, *name, *job;
    double again, next, ends;
    void (*say)(void *ctx, const char *text);
    void *ctx;
    struct proc squeue, sbatch;
    bool done;
    char *before; /* how the last of our predecessors ended; NULL */
    char *said;   /* the last sentence, not to be repeated */
};

/* ---- commands ---- */

static void free_words(char **argv)
{
    for (char **word = argv; *word; word++)
        free(*word);
    free(argv);
}

static int start_squeue(struct proc *p, const char *name, struct err *e)
{
    char squeue[] = "squeue", noheader[] = "--noheader", states[] = "--states=all",
         format[] = SQUEUE_FORMAT, user[64];
    struct str option = STR_INIT;
    int rc;

    snprintf(user, sizeof(user), "--user=%ld", (long)getuid());
    str_addf(&option, "--name=%s", name);
    rc = command_start(p,
                       (char *[]){squeue, noheader, states, format, user, option.p, NULL},
                       SECONDS, e);
    str_free(&option);
    return rc;
}

static int start_sbatch(struct proc *p, const char *dir, struct err *e)
{
    char **argv = script_controller_sbatch(dir);
    int rc = command_start(p, argv, SBATCH_SECONDS, e);

    free_words(argv);
    return rc;
}

static int failed(const char *program, const struct proc_result *r, struct err *e)
{
    struct str text = STR_INIT;

    command_sentence(&text, program, r);
    err_set(e, ERR_IO, "%s", text.p);
    str_free(&text);
    return ERR_IO;
}

static int read_sbatch(const struct proc_result *r, struct str *job, struct err *e)
{
    if (r->exit_code != 0)
        return failed("sbatch", r, e);
    return sbatch_read((struct slice){r->out.p, r->out.len}, job, e);
}

/* ---- from within ---- */

struct succession *succession_new(const struct succession_setup *setup)
{
    struct succession *c = mem_alloc(sizeof(*c));

    c->dir = mem_strdup(setup->dir);
    c->name = mem_strdup(setup->name);
    c->job = mem_strdup(setup->job);
    c->again = setup->again;
    c->next = clock_mono() + setup->first;
    c->say = setup->say;
    c->ctx = setup->ctx;
    return c;
}

static void later(struct succession *c, const char *why)
{
    struct str text = STR_INIT;

    c->next = clock_mono() + c->again;
    str_addf(&text, "no successor waits behind this controller yet: %s", why);
    if (!c->said || strcmp(c->said, text.p) != 0) {
        free(c->said);
        c->said = mem_strdup(text.p);
        c->say(c->ctx, text.p);
    }
    str_free(&text);
}

static void submit(struct succession *c)
{
    struct err e = {0};

    if (start_sbatch(&c->sbatch, c->dir, &e) == 0)
        return;
    c->sbatch.pid = 0;
    later(c, e.text);
}

/* Ids count up, in 32 bits. */
static void gone(struct succession *c, const struct squeue_line *line, long *last)
{
    long job = strtol(line->job.p, NULL, 10);

    if (job < *last)
        return;
    *last = job;
    free(c->before);
    c->before = mem_strndup(line->state.p, line->state.len);
}

static void take_squeue(struct succession *c, const struct proc_result *r)
{
    long last = 0;
    struct slice rest = {r->out.p, r->out.len};
    struct squeue_line line;
    struct err e = {0};

    if (r->exit_code != 0) {
        failed("squeue", r, &e);
        later(c, e.text);
        return;
    }
    while (squeue_next(&rest, &line)) {
        if (slice_eq(line.job, c->job))
            c->ends = line.ends;
        else if (line.is == JOB_GONE)
            gone(c, &line, &last);
        else
            c->done |= line.is == JOB_PENDING;
    }
    if (!c->done)
        submit(c);
}

static void take_sbatch(struct succession *c, const struct proc_result *r)
{
    struct str job = STR_INIT;
    struct err e = {0};

    if (read_sbatch(r, &job, &e) == 0)
        c->done = true;
    else
        later(c, e.text);
    str_free(&job);
}

void succession_poll(struct succession *c)
{
    struct proc_result r;
    struct err e = {0};

    if (c->squeue.pid && proc_poll(&c->squeue, &r)) {
        take_squeue(c, &r);
        proc_result_free(&r);
    }
    if (c->sbatch.pid && proc_poll(&c->sbatch, &r)) {
        take_sbatch(c, &r);
        proc_result_free(&r);
    }
    if (c->done || c->squeue.pid || c->sbatch.pid || clock_mono() < c->next)
        return;
    if (start_squeue(&c->squeue, c->name, &e) != 0) {
        c->squeue.pid = 0;
        later(c, e.text);
    }
}

void succession_hurry(struct succession *c)
{
    struct proc_result r;

    c->next = 0;
    succession_poll(c); /* nothing is under way: begins */
    if (c->squeue.pid) {
        proc_wait(&c->squeue, &r);
        take_squeue(c, &r);
        proc_result_free(&r);
    }
    if (c->sbatch.pid) {
        proc_wait(&c->sbatch, &r);
        take_sbatch(c, &r);
        proc_result_free(&r);
    }
}

double succession_deadline(const struct succession *c)
{
    return c->done || c->squeue.pid || c->sbatch.pid ? INFINITY : c->next;
}

bool succession_preempted(const struct succession *c)
{
    return c->before && strcmp(c->before, "PREEMPTED") == 0;
}

double succession_ends(const struct succession *c)
{
    return c->ends;
}

void succession_free(struct succession *c)
{
    struct proc_result r;

    if (!c)
        return;
    if (c->squeue.pid) {
        c->squeue.deadline = 0;
        proc_wait(&c->squeue, &r);
        proc_result_free(&r);
    }
    if (c->sbatch.pid) { /* one that is under way is let through */
        c->sbatch.deadline = fmin(c->sbatch.deadline, clock_mono() + SECONDS);
        proc_wait(&c->sbatch, &r);
        proc_result_free(&r);
    }
    free(c->dir);
    free(c->name);
    free(c->job);
    free(c->said);
    free(c->before);
    free(c);
}

/* ---- from anywhere ---- */

int succession_find(const char *name, struct str *job, bool *runs, struct err *e)
{
    struct squeue_line line;
    struct proc_result r;
    struct slice rest;
    struct proc p;
    int rc = start_squeue(&p, name, e);

    *runs = false;
    if (rc != 0)
        return rc;
    proc_wait(&p, &r);
    rest = (struct slice){r.out.p, r.out.len};
    if (r.exit_code != 0)
        rc = failed("squeue", &r, e);
    while (rc == 0 && !*runs && squeue_next(&rest, &line)) {
        if (line.is != JOB_RUNNING && (line.is != JOB_PENDING || job->len > 0))
            continue;
        *runs = line.is == JOB_RUNNING;
        str_cut(job, 0);
        str_addn(job, line.job.p, line.job.len);
    }
    proc_result_free(&r);
    return rc;
}

int succession_submit(const char *dir, struct str *job, struct err *e)
{
    struct proc_result r;
    struct proc p;
    int rc = start_sbatch(&p, dir, e);

    if (rc != 0)
        return rc;
    proc_wait(&p, &r);
    rc = read_sbatch(&r, job, e);
    proc_result_free(&r);
    return rc;
}

int succession_cancel(const char *name, struct err *e)
{
    char scancel[] = "scancel", quiet[] = "--quiet", state[] = "--state=PENDING",
         user[64];
    struct str option = STR_INIT;
    struct proc_result r;
    struct proc p;
    int rc;

    snprintf(user, sizeof(user), "--user=%ld", (long)getuid());
    str_addf(&option, "--name=%s", name);
    rc = command_start(&p, (char *[]){scancel, quiet, state, user, option.p, NULL},
                       SECONDS, e);
    str_free(&option);
    if (rc != 0)
        return rc;
    proc_wait(&p, &r);
    if (r.exit_code != 0)
        rc = failed("scancel", &r, e);
    proc_result_free(&r);
    return rc;
}
