/* What a sweep costs, as its events tell it: time of slots, CPUs, nodes and GPUs, for
 * each rung, each trial and in all. sched/ decides nothing by it, so it is kept apart.
 *
 * What counts is allocated, as Slurm and those who bill by it count: an attempt costs its
 * seconds times resources.tasks * resources.cpus CPUs, times resources.nodes *
 * resources.gpus GPUs, and times its share of its job's nodes, resources.nodes / slots of
 * the job; all as they were set when it began. Its seconds are those that its agent
 * measured; where nothing is heard of it any more, those until the controller gave it up.
 * The time that a job takes to start, and a slot's without work, is not in it.
 *
 * The time until a report belongs to the rung that was being worked for: the one whose
 * milestone is the first above the highest step that the trial had reported before (in
 * bracket s that of the s-th level, at least). So steps that are done again count for the
 * rung that the trial wants to get to. What comes after the answer pause or stop, like
 * saving a checkpoint, belongs to the rung that was reached. */
#ifndef LAUNCHER_COSTS_H
#define LAUNCHER_COSTS_H

#include "launcher/sweepfile.h"
#include "sched/sweep.h"

struct cost { /* in seconds */
    double slots, cpus, nodes, gpus;
    double
        used; /* of the CPUs: user and system time of attempts that ended and told it */
};

struct costs;

/* Both must outlive it. The file's resources are read when an attempt starts. */
struct costs *costs_new(const struct sweep *sw, const struct sweepfile *file);
void costs_free(struct costs *c);
/* Takes in an event that was just applied, with its verdict. */
void costs_event(struct costs *c, const struct event *ev, const struct verdict *v);

/* What runs counts up to `now`, a wall clock. */
struct cost costs_total(const struct costs *c, double now);
struct cost costs_trial(const struct costs *c, int32_t trial, double now);
/* By the level that was worked for: out[sweep_levels()->n]. The last one is that of
 * complete trials. bracket -1: of all brackets together. */
void costs_levels(const struct costs *c, int bracket, double now, struct cost out[]);

/* Slot-seconds that would have been spent beyond those that were, if each trial that
 * was started had run to max_t, at the time that it took for a step, or else at the mean.
 * NaN as long as no step was made. *share (may be NULL): of all that would have been. */
double costs_saved(const struct costs *c, double now, double *share);

#endif
