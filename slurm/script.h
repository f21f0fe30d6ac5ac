/* The batch script of a job of slots, as text that a person can read, and the sbatch
 * commands that submit it. Nothing here runs anything. */
#ifndef SLURM_SCRIPT_H
#define SLURM_SCRIPT_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct script_option { /* of sbatch: --name=value, value NULL: --name */
    const char *name, *value;
};

struct script {
    const char *name;    /* the sweep's: letters, digits, "._-" */
    const char *dir;     /* the sweep's, absolute */
    const char *workdir; /* where trials run, absolute */
    const char *rung;    /* our own program, absolute */
    int slots;           /* of the job; what follows is of one of them: */
    int nodes, tasks, cpus, gpus;
    int64_t memory; /* bytes a node, 0: the site's */
    double time;    /* seconds, 0: the site's */
    const struct script_option *options;
    size_t n_options;
    char *const *settings; /* "KEY=VALUE", for its agent */
    size_t n_settings;
    const char *setup; /* lines of shell before the agent; NULL: none */
};

/* The controller as a job of its own. */
struct script_controller {
    const char *name;    /* the sweep's */
    const char *dir;     /* the sweep's, absolute */
    const char *workdir; /* where it runs, absolute */
    const char *rung;    /* our own program, absolute */
    const struct script_option *options;
    size_t n_options;
};

/* Where its batch script is: DIR/jobs/controller.sh. free() it. */
char *script_controller_path(const char *dir);
/* What its jobs are called: "fashion.rung-1a2b3c4d", a name of this sweep alone, by its
 * directory, since jobs of one name wait for each other (--dependency=singleton). */
void script_controller_job(struct str *out, const char *name, const char *dir);
/* Appends the script; errors as script_text(). */
int script_controller_text(const struct script_controller *s, struct str *out,
                           struct err *e);
/* The command that submits one; as script_sbatch(). */
char **script_controller_sbatch(const char *dir);

/* Where a sweep's batch script is: DIR/jobs/slots.sh. free() it. */
char *script_path(const char *dir);

/* Appends the script. A task of an array or a job by itself, it replaces itself by
 * `rung agent`, so that signals reach that one. ERR_INVAL for what can stand in no batch
 * script: control characters, and a backslash in dir, which would end Slurm's %-patterns
 * in the name of the job's output. */
int script_text(const struct script *s, struct str *out, struct err *e);

/* The command that submits n jobs as one array, with their outputs in DIR/jobs/A_a.log;
 * n 0: one job that is no array, with its output in DIR/jobs/j.log. exclude: these nodes,
 * instead of those that the script excludes; NULL: as it says. NULL-terminated; free each
 * and it. It prints "JOBID", or "JOBID;CLUSTER". */
char **script_sbatch(const char *dir, int n, const char *exclude);

/* Slurm counts the tasks of an array from 0 and has none from this number on
 * (MaxArraySize), unless a site says else. */
#define SCRIPT_ARRAY_MAX 1001

#endif
