/* One rung of one bracket: what was recorded, who is in its top, what the cutoff is.
 * Values are turned (smaller is better). */
#ifndef SCHED_RUNG_H
#define SCHED_RUNG_H

#include "sched/levels.h"
#include "sched/queue.h"
#include "sched/ranked.h"

struct rung {
    int64_t milestone;
    int32_t bracket, index;
    uint32_t reported; /* all records, the non-finite too */
    uint32_t promoted, stopped;
    struct ranked *all;    /* finite records */
    struct ranked *passed; /* those of them that failed or were stopped without having
                              been promoted: the next best takes their place */
    struct queue paused;   /* may hold entries that are promotable no longer */
    /* the worst of its best top_of, kept until the next record */
    bool top_known, top_any;
    uint32_t top_of;
    struct ranked_key top;
    /* of a bracket whose rungs wait for all: */
    int32_t coming; /* trials that are to be recorded here and are not yet, nor ended */
    uint32_t seats; /* how many may go on, of a bracket of seats_of; 0: not known yet */
    int64_t seats_of;
};

void rung_init(struct rung *r, int64_t milestone, int32_t bracket, int32_t index);
void rung_clear(struct rung *r);

/* Records a value (non-finite: only counted). Its rank from 1 among all recorded here. */
uint32_t rung_record(struct rung *r, double value, uint32_t order);

/* A recorded value, finite, leaves the competition without having been promoted. */
void rung_pass_over(struct rung *r, double value, uint32_t order);

/* The rank it has now, from 1, among all recorded. */
uint32_t rung_rank(const struct rung *r, double value, uint32_t order);

/* How many of its records compete: those that are finite and not passed over. */
uint32_t rung_candidates(const struct rung *r);

/* Is a recorded value among the best `n`, those passed over aside? */
bool rung_in_top(struct rung *r, double value, uint32_t order, uint32_t n);

/* The worst of those best; NaN when there are none. */
double rung_top_cutoff(struct rung *r, uint32_t n);

/* mode stop: Ray Tune's cutoff, numpy.nanpercentile(y, (1 - 1/eta) * 100) of the finite
 * values y = -value recorded so far, by numpy's linear interpolation in its order of
 * operations (round-off decides ties). In y's sign: a trial below it stops. NaN when
 * nothing is recorded. */
double rung_stop_cutoff(const struct rung *r, struct eta eta);

#endif
