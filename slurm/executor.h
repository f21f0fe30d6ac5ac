/* Executors: where jobs come from. Slurm is one, this machine another, behind one
 * interface; the controller knows no more than this.
 *
 * A job runs `rung agent DIR` and holds one slot or several. Calls never block for long;
 * what they learn is told by executor_poll(). Job names are stable text
 * ("local:PID:START", "1234_5") that also go into the journal, so that a later controller
 * can ask about the jobs of its predecessor. */
#ifndef SLURM_EXECUTOR_H
#define SLURM_EXECUTOR_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum job_state { JOB_UNKNOWN, JOB_PENDING, JOB_RUNNING, JOB_GONE };

struct executor;

struct executor_ops {
    const char *name;  /* "local" */
    int slots_per_job; /* how many slots one job will have */
    bool keeps_idle;   /* idle slots cost nothing: never give them back */
    /* Starts n jobs; calls told(ctx, job) for each one that was. */
    int (*submit)(struct executor *x, int n, void (*told)(void *ctx, const char *job),
                  void *ctx, struct err *e);
    /* What a job is doing, as far as is known now. */
    enum job_state (*state)(struct executor *x, const char *job);
    /* Ends a job: SIGTERM to its agent, which ends its attempts. */
    void (*cancel)(struct executor *x, const char *job);
    /* Notices ended jobs; calls gone(ctx, job, why) once for each. */
    void (*poll)(struct executor *x,
                 void (*gone)(void *ctx, const char *job, const char *why), void *ctx);
    void (*free)(struct executor *x);
};

struct executor {
    const struct executor_ops *ops;
};

/* What a local job is called: host, pid and start time name a process for ever. */
void local_job_name(struct str *out, const char *host, long pid);

/* This machine: a job is a process group of `argv` (NULL-terminated, copied), with
 * output to log_dir/agent-N.log; all slots in one job unless slots_per_job says else. */
struct executor *executor_local(char *const argv[], const char *log_dir,
                                int slots_per_job);

#endif
