/* Executors: where jobs come from. Slurm is one, this machine another, behind one
 * interface; the controller knows no more than this.
 *
 * A job runs `rung agent DIR` and holds one slot or several. Calls never block; what
 * comes of them is told as news, in submit() or a later poll(). Job names are stable text
 * ("local:PID:START", "1234_5") that also go into the journal, so that a later controller
 * can ask about the jobs of its predecessor. */
#ifndef SLURM_EXECUTOR_H
#define SLURM_EXECUTOR_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum job_state { JOB_UNKNOWN, JOB_PENDING, JOB_RUNNING, JOB_GONE };

/* A record of the site's accounting: of a job, or of a step of one. Numbers that it does
 * not have are NaN. */
struct account {
    struct slice job;  /* as the executor calls it */
    struct slice step; /* "0", "batch", "extern"; "": the job as a whole */
    struct slice name; /* of job or step */
    struct slice state, nodes;
    enum job_state is;     /* what the state means; of this run, if there are several */
    double started, ended; /* wall clock */
    double elapsed;
    double cpu_seconds; /* user + system */
    double max_rss;     /* bytes, of one task */
    double energy;      /* joules, of whole nodes */
};

/* How a job ended. */
struct job_end {
    const char *state; /* Slurm's word for it ("CANCELLED"), empty where there is none */
    const char *node;  /* where its agent was, or was to be; empty: not known */
    const char *why;   /* a sentence */
};

/* What an executor tells. */
struct executor_news {
    /* A job was submitted. Its agent may have said hello before. */
    void (*submitted)(void *ctx, const char *job);
    /* n jobs that submit() was to start were not. passing: that may pass by itself (a
     * limit of the site, a Slurm that is away), so ask again later; else somebody has to
     * see to it. */
    void (*refused)(void *ctx, int n, const char *why, bool passing);
    void (*gone)(void *ctx, const char *job, const struct job_end *end);
    /* Jobs, with spaces between, that were to be cancelled and are not going to be. */
    void (*uncancelled)(void *ctx, const char *jobs, const char *why);
    /* What account() asked for, record by record, and then that these were all. why: it
     * failed, for this reason, and may be asked again if that is passing; NULL: it did
     * not. */
    void (*account)(void *ctx, const struct account *record);
    void (*accounts)(void *ctx, const char *why, bool passing);
};

struct executor;

struct executor_ops {
    const char *name;  /* "local" */
    int slots_per_job; /* how many slots one job will have */
    bool keeps_idle;   /* idle slots cost nothing: never give them back */
    /* Starts n jobs: for each of them, submitted() or refused() follows. */
    void (*submit)(struct executor *x, int n);
    /* What a job is doing, as far as is known now. */
    enum job_state (*state)(struct executor *x, const char *job);
    /* When a running job's walltime is over, on the clock on the wall, as far as is known
     * now: it may change, and comes to be known some time after somebody asks. 0: not
     * known, or never; NULL: jobs have none. */
    double (*ends)(struct executor *x, const char *job);
    /* Ends a job: SIGTERM to its agent, which ends its attempts. */
    void (*cancel)(struct executor *x, const char *job);
    /* Asks the site's accounting about jobs that ran after `since` (wall clock), of which
     * it may know late or nothing; NULL: there is none. accounts() follows, before which
     * it must not be asked again. */
    void (*account)(struct executor *x, char *const jobs[], size_t n, double since);
    /* May what kept a launcher from starting anything, as it said, pass by itself? NULL:
     * it never does. */
    bool (*passes)(struct slice said);
    /* No more jobs are to run on that node, if this can be helped. False: it cannot, or
     * not on one more. NULL: never. */
    bool (*exclude)(struct executor *x, const char *node);
    /* Where a job's output is and how it ends, for people. NULL: there is none. */
    void (*output)(const struct executor *x, const char *job, struct str *out);
    /* Tells what happened. To be called after SIGCHLD, and now and then. */
    void (*poll)(struct executor *x);
    /* How many commands were run to look after jobs, and how many others; NULL: it needs
     * none. */
    void (*calls)(const struct executor *x, int64_t *polling, int64_t *others);
    /* Sees through what cancel() began. Jobs whose submission was not told of yet are
     * cancelled, since nobody would know of them. */
    void (*free)(struct executor *x);
};

struct executor {
    const struct executor_ops *ops;
    const struct executor_news *news;
    void *ctx;
};

/* What a local job is called: host, pid and start time name a process for ever. */
void local_job_name(struct str *out, const char *host, long pid);

/* This machine: a job is a process group of `argv` (NULL-terminated, copied), with
 * output to log_dir/agent-N.log; all slots in one job unless slots_per_job says else. */
struct executor *executor_local(char *const argv[], const char *log_dir,
                                int slots_per_job, const struct executor_news *news,
                                void *ctx);

struct slurm_setup {
    const char *dir;     /* the sweep's, where the batch script is (slurm/script.h) */
    const char *name;    /* of the jobs: as the script says */
    const char *cluster; /* of a site with several, NULL: the one we are on */
    const char *exclude; /* the nodes that the user's own `exclude` names; NULL */
    bool on_nodes;       /* the user says by name which nodes to take */
    int slots_per_job;
    double poll_seconds; /* between two calls that look after jobs, at least */
    /* A job that was never listed has ended when it was submitted this long ago. */
    double unseen_seconds;
};

/* Slurm, through its commands. Jobs are tasks of arrays, "52_3". While somebody asks what
 * jobs are doing, one squeue looks after all of them, no more often than every
 * poll_seconds and less often when it takes long or nothing changes; a job that it no
 * longer lists has ended, and its failing says nothing. Who asks when they end has
 * answers no older than 20 times poll_seconds. Together with sacct there are at most four
 * such calls in four times poll_seconds. */
struct executor *executor_slurm(const struct slurm_setup *setup,
                                const struct executor_news *news, void *ctx);

/* The jobs of a sweep that are in Slurm's queue, whoever submitted them: a controller may
 * have ended while its sbatch was under way. Waits for Slurm, half a minute at most;
 * ERR_IO with its sentence: it does not say. */
int slurm_jobs(const struct slurm_setup *setup, void (*fn)(void *ctx, const char *job),
               void *ctx, struct err *e);

#endif
