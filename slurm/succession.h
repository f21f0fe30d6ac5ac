/* The chain of a sweep's controllers: each is a job of one name, one of which runs while
 * its successor waits behind it (--dependency=singleton). */
#ifndef SLURM_SUCCESSION_H
#define SLURM_SUCCESSION_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

/* ---- from within: a controller that is such a job ---- */

struct succession_setup {
    const char *dir;  /* the sweep's, with the script */
    const char *name; /* of the jobs */
    const char *job;  /* that we are */
    double first;     /* seconds before the first look: who submitted us may just be
                         submitting     the next one */
    double again;     /* after Slurm did not answer, or refused */
    void (*say)(void *ctx, const char *text);
    void *ctx;
};

/* Sees to it, beside the loop that calls succession_poll(), that a successor waits: one
 * squeue, and an sbatch if there is none. Setup's texts are copied. */
struct succession;
struct succession *succession_new(const struct succession_setup *setup);
void succession_poll(struct succession *c);
/* The same without that loop, at once: our job is being taken away. Waits for Slurm. */
void succession_hurry(struct succession *c);
double succession_deadline(
    const struct succession *c); /* on clock_mono(); INFINITY: it is done */
double succession_ends(
    const struct succession *c); /* our job's end, wall clock; 0: not known */
/* Was it preemption that took the last of our predecessors away, as far as is known? */
bool succession_preempted(const struct succession *c);
void succession_free(struct succession *c); /* NULL is fine; leaves the successor */

/* ---- from anywhere; these wait for Slurm, half a minute at most ---- */

/* The job of that name that runs, or else one that waits: appends its id, and tells
 * which. Nothing when there is none. ERR_IO: Slurm does not say, with its sentence. */
int succession_find(const char *name, struct str *job, bool *runs, struct err *e);
/* Submits one; appends its id. */
int succession_submit(const char *dir, struct str *job, struct err *e);
/* Cancels those that wait. */
int succession_cancel(const char *name, struct err *e);

#endif
