/* The median stopping rule (Golovin et al., "Google Vizier: a service for black-box
 * optimization", KDD 2017, section 3.2.1): a trial is compared with the median of the
 * running means of the others. Values are turned (smaller is better). */
#ifndef SCHED_MEDIAN_H
#define SCHED_MEDIAN_H

#include <stdint.h>

struct median;

/* Means begin at step `from`; reports before it count for nothing. */
struct median *median_new(int64_t from);
void median_free(struct median *m);

/* A trial's value at a step, which is above that of its last report. One that is not
 * finite is the worst: so is every mean that it is part of. */
void median_report(struct median *m, int32_t trial, int64_t step, double value);

/* How many other trials have reported at `step` or later and at least once up to it, and
 * the median of their means up to it: of an even number the mean of the middle two, NaN
 * of none. Steps that are asked for again and again are kept in order: that takes the
 * time of a search, and a report that of moving half the means of its step. Before that
 * it sorts the means of all trials. */
uint32_t median_of_others(struct median *m, int32_t trial, int64_t step, double *median);

#endif
