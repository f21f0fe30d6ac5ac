/* What Slurm's accounting is still to be asked about: attempts that ended. Their agents
 * have reported how; sacct adds Slurm's word for it, energy, and what no agent lived to
 * report. It lags behind, may be slow or not there at all, so it is asked seldom, beside
 * everything else, and nothing ever waits for it but a sweep that is over, for a moment.
 *
 * An attempt that was a step of its job is found by job and step, and one that was lost,
 * of which nobody knows the step, by job, the trial in the step's name (t000012.r2) and
 * the time. Only then the numbers are its own. One that was a process of its job shares
 * these with all that ran there: it gets the job's state, once the job has ended. A job
 * that was requeued has several records: the one counts that the attempt began in. */
#ifndef LAUNCHER_ACCOUNTS_H
#define LAUNCHER_ACCOUNTS_H

#include "launcher/sweepfile.h"
#include "sched/sweep.h"
#include "slurm/executor.h"

struct accounts;

/* The file must outlive it: it says whether jobs have their nodes for themselves. */
struct accounts *accounts_new(const struct sweepfile *file);
void accounts_free(struct accounts *a);
/* Takes in an event that was just applied: an earlier epoch's, too. */
void accounts_event(struct accounts *a, const struct event *ev, const struct sweep *sw);

/* Asks, if it is time and there is something to ask. every: seconds between two
 * questions; now: a clock that never jumps. `over`: no job is running any more, so all
 * that is left is asked about. */
void accounts_ask(struct accounts *a, struct executor *x, double every, double now,
                  bool over);
/* Is there something that may still be answered? */
bool accounts_open(const struct accounts *a);

/* The answer: each record, and then that these were all (see slurm/executor.h). Then fn
 * is given an ACCOUNT event for each attempt that was found; it may call
 * accounts_event(). A failure that does not pass is the end of asking. */
void accounts_record(struct accounts *a, const struct account *record);
void accounts_answered(struct accounts *a, const char *why, bool passing,
                       void (*fn)(void *ctx, struct event *ev), void *ctx);

#endif
