/* Scores of several objectives in the order of NSGA-II (Deb, Pratap, Agarwal, Meyarivan,
 * "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Trans. Evol.
 * Comput. 6(2), 2002, sections III-A and III-B).
 *
 * Front 1 are the scores that no other dominates, front 2 those that none dominates but
 * scores of front 1, and so on. In a front, who has the larger crowding distance comes
 * first: the sum over the objectives of the distance between the next score below and the
 * next above, in parts of the front's extent; infinite at both ends. An objective in
 * which a whole front is equal counts for nothing. Of equal scores the neighbour is the
 * one that came before or after; equal distances: the lower order first.
 *
 * A new score changes the place of others. It is put into its front, whom it dominates
 * there goes to the next one, and so on (Li, Deb, Zhang, Zhang, "Efficient nondomination
 * level update method for steady-state evolutionary multiobjective optimization", IEEE
 * Trans. Cybern. 47(9), 2017); a front is put in order when it is asked about. */
#ifndef SCHED_FRONTS_H
#define SCHED_FRONTS_H

#include "sched/score.h"

#include <stddef.h>
#include <stdint.h>

struct fronts;

struct fronts *fronts_new(void);
void fronts_free(struct fronts *f); /* NULL is fine */
uint32_t fronts_count(const struct fronts *f);

/* Adds a finite score, turned. Its order, by which it is called from then on, is above
 * that of all before it. */
void fronts_insert(struct fronts *f, const struct score *score, uint32_t order);
/* How many come before it. */
uint32_t fronts_place(struct fronts *f, uint32_t order);

/* It does not compete: fronts_best() skips it, and counts only the others. */
void fronts_pass_over(struct fronts *f, uint32_t order);
uint32_t fronts_competing(const struct fronts *f);
/* The place of the one that `before` competing ones come before, itself one of them;
 * before < fronts_competing(). */
uint32_t fronts_best(struct fronts *f, uint32_t before);

/* Its trial is paused, or is no longer. */
void fronts_pause(struct fronts *f, uint32_t order, int32_t trial);
void fronts_resume(struct fronts *f, uint32_t order);
/* The first whose trial is paused; false: none is. */
bool fronts_paused(struct fronts *f, uint32_t *order, int32_t *trial);

/* All at once: the place of each of n finite scores, and the number of its front, from 1
 * (NULL: either is not wanted). Of equal distances the one with the lower index comes
 * first. */
void fronts_sort(const struct score scores[], size_t n, uint32_t place[],
                 uint32_t front[]);

#endif
