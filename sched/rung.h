/* One rung of one bracket: what was recorded, who is in its top, what the cutoff is.
 * Scores are turned (smaller is better). */
#ifndef SCHED_RUNG_H
#define SCHED_RUNG_H

#include "sched/fronts.h"
#include "sched/levels.h"
#include "sched/queue.h"
#include "sched/ranked.h"

struct rung {
    int64_t milestone;
    int32_t bracket, index;
    uint32_t reported; /* all records, the non-finite too */
    uint32_t promoted, stopped;
    /* of one objective: the finite records; those of them that failed or were stopped
     * without having been promoted, so that the next best takes their place; and those
     * whose trials are paused, some of which may be promotable no longer */
    struct ranked *all, *passed;
    struct queue paused;
    struct fronts *fronts; /* all of that, of several objectives; else NULL */
    /* the worst of its best top_of, kept until the next record */
    bool top_known, top_any;
    uint32_t top_of;
    struct ranked_key top; /* its standing */
    /* of a bracket whose rungs wait for all: */
    int32_t coming; /* trials that are to be recorded here and are not yet, nor ended */
    uint32_t seats; /* how many may go on, of a bracket of seats_of; 0: not known yet */
    int64_t seats_of;
};

void rung_init(struct rung *r, int64_t milestone, int32_t bracket, int32_t index,
               int objectives);
void rung_clear(struct rung *r);

/* Records a score (non-finite: only counted), `order` counting up. Its rank from 1 among
 * all recorded here. */
uint32_t rung_record(struct rung *r, const struct score *score, uint32_t order);

/* A recorded score, finite, leaves the competition without having been promoted. */
void rung_pass_over(struct rung *r, const struct score *score, uint32_t order);

/* How a recorded score, finite, stands now among all recorded: the less the better, the
 * lower order first where two stand alike. Of one objective it is the value itself; of
 * several how many come before it (sched/fronts.h), which each further record can change.
 */
double rung_standing(const struct rung *r, const struct score *score, uint32_t order);

/* The rank it has now, from 1, among all recorded. */
uint32_t rung_rank(const struct rung *r, const struct score *score, uint32_t order);

/* How many of its records compete: those that are finite and not passed over. */
uint32_t rung_candidates(const struct rung *r);

/* Is what stands so among the best `n`, those passed over aside? */
bool rung_in_top(struct rung *r, double standing, uint32_t order, uint32_t n);

/* The worst of those best; NaN when there are none, and of several objectives. */
double rung_top_cutoff(struct rung *r, uint32_t n);

/* The trial with a recorded score, finite, is paused here. */
void rung_pause(struct rung *r, const struct score *score, uint32_t order, int32_t trial);
/* The best of those, with its standing; false: there are none. The caller looks whether
 * it is paused still, and takes it out if not. */
bool rung_paused(const struct rung *r, struct queued *best);
void rung_resume(struct rung *r, const struct queued *best);

/* mode stop, of one objective: Ray Tune's cutoff, numpy.nanpercentile(y, (1 - 1/eta) *
 * 100) of the finite values y = -value recorded so far, by numpy's linear interpolation
 * in its order of operations (round-off decides ties). In y's sign: a trial below it
 * stops. NaN when nothing is recorded. */
double rung_stop_cutoff(const struct rung *r, struct eta eta);

#endif
