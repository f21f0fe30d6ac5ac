/* Who of some scores adds most to the hypervolume that they dominate (Zitzler, Thiele,
 * "Multiobjective optimization using evolutionary algorithms: a comparative case study",
 * PPSN V, 1998). */
#ifndef SCHED_HYPERVOLUME_H
#define SCHED_HYPERVOLUME_H

#include "sched/score.h"

#include <stddef.h>
#include <stdint.h>

/* `want` of n finite scores, at most some tens: one after another the one that adds most
 * to the hypervolume of those before it, of equal ones that with the lowest index.
 * Volumes are in parts of the scores' extent, and measured from a tenth of it beyond
 * their worst; an objective in which all are equal counts for nothing. */
void hypervolume_choose(const struct score scores[], size_t n, size_t want,
                        uint32_t chosen[]);

#endif
