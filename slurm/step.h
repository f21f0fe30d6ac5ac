/* Job steps: the srun command that starts an attempt's ranks in a slot of the job that we
 * are in, each of them under the shim. Nothing here runs anything. */
#ifndef SLURM_STEP_H
#define SLURM_STEP_H

#include "slurm/script.h"

#include <stdbool.h>

struct step {
    int32_t trial;
    int milestone; /* the index of that which the attempt works for */
    int slots;     /* of the job; what follows is of one of them: */
    int nodes, tasks, cpus, gpus;
    int64_t memory; /* bytes a node, 0: the job's, divided by its slots */
    bool gres;      /* the job's own options name generic resources */
    const struct script_option *options; /* srun's; the last word on everything */
    size_t n_options;
    const char *rung;    /* our own program, absolute */
    const char *shim;    /* rung-exec, absolute; NULL: `rung exec`, which starts later */
    double kill_seconds; /* between SIGTERM and SIGKILL */
};

/* Words of a program -> the command that starts it as a step called "t000012.r2" (which
 * is what sacct's column shows whole). words, NULL-terminated, is taken over; the result
 * is like it. All resources are said: a step gets one CPU otherwise, and two steps that
 * do not say their memory or GPUs run one after the other. */
char **step_command(const struct step *s, char **words);

/* Removes from an environment of malloc'ed variables what in a job's own would change
 * what srun does, or is the job's and not the step's; which job it is stays.
 * NULL-terminated. */
void step_env(char **envp);

#endif
