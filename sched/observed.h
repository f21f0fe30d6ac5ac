/* What a model-based searcher knows of a sweep: where its trials lie in the unit cube,
 * and what they came to at each level. It is told by the events of the sweep, in their
 * order, and holds nothing else; so it is the same after a replay.
 *
 * A trial is
 *   pending  while there is no value of it: it waits or runs
 *   told     once there is one, at the levels where there is
 *   worst    when it failed or had a value that is not finite, whatever it had before
 *   dropped  when it ended without any value, and nothing follows from that
 *
 * Values at different levels are never compared with each other. Memory: 8 bytes a
 * dimension, a trial, and of a trial's score an objective and a level. */
#ifndef SCHED_OBSERVED_H
#define SCHED_OBSERVED_H

#include "sched/score.h"
#include "sched/space.h"

struct observed;

struct observed *observed_new(const struct space *sp, int levels, int objectives);
void observed_free(struct observed *o); /* NULL is fine */
struct observed *observed_copy(const struct observed *o);
/* Another number after each change of what it knows. */
uint64_t observed_changes(const struct observed *o);

/* The next trial, numbered from 0, pending: point u[space_dims], of which only the
 * dimensions count whose parameter is present in values[space_count]. */
void observed_add(struct observed *o, const double u[], const struct value values[]);
/* Its score at a level, turned so that smaller is better. */
void observed_score(struct observed *o, int32_t trial, int level,
                    const struct score *score);
/* The same of one objective. */
static inline void observed_value(struct observed *o, int32_t trial, int level,
                                  double value)
{
    const struct score score = score_of(value);

    observed_score(o, trial, level, &score);
}
void observed_worst(struct observed *o, int32_t trial);
/* It is over without having failed: when it is pending still, it becomes worst if
 * `beaten` by the others, else it is dropped. */
void observed_over(struct observed *o, int32_t trial, bool beaten);
/* It rests: it has paused, and may never go on. observed_over() has it rest for good. */
void observed_rest(struct observed *o, int32_t trial, bool rests);

int32_t observed_trials(const struct observed *o);
/* Its point: NaN in dimensions that are not active, the middle of the interval of its
 * value in rounded ones and in choices. Valid until the next observed_add(). */
const double *observed_point(const struct observed *o, int32_t trial);

bool observed_rests(const struct observed *o, int32_t trial);

/* The highest level with at least `enough` finite values; if none has so many, the lowest
 * one with any; -1 when there is none at all. */
int observed_level(const struct observed *o, int enough);

enum standing {
    STANDING_NONE, /* dropped, or told only above the level */
    STANDING_PENDING,
    STANDING_WORST,
    STANDING_FINITE,
};
/* How a trial stands, seen from a level. Of finite ones *rank, to be compared with
 * observed_before(): those with a value at the level come before those that have not got
 * there, whose highest level below it counts, the higher the better; within one level the
 * smaller value comes first, and of equal ones the lower trial. */
struct standing_rank {
    int below;    /* levels below the one in question: 0 is at it */
    double value; /* of several objectives the first, until observed_place() */
    int32_t trial;
};
enum standing observed_standing(const struct observed *o, int level, int32_t trial,
                                struct standing_rank *rank);
bool observed_before(const struct standing_rank *a, const struct standing_rank *b);
/* Of several objectives: sets the values of n finite ones, all seen from a level, so that
 * the first `want` are those of the first fronts (sched/fronts.h) of what counts at the
 * same level, and of the last of these fronts those that add most to its hypervolume. Of
 * one objective it changes nothing. */
void observed_place(const struct observed *o, int level, struct standing_rank ranks[],
                    int n, int want);

#endif
