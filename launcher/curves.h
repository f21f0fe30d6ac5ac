/* Learning curves to simulate with: what a metric was, at each step, for configurations
 * that somebody has trained, or that are invented. */
#ifndef LAUNCHER_CURVES_H
#define LAUNCHER_CURVES_H

#include "base/err.h"
#include "base/str.h"
#include "sched/space.h"
#include "sched/spec.h"

#include <stdbool.h>
#include <stdint.h>

struct curves;

/* From CSV, gzipped or not, or from a sweep's directory.
 *
 * CSV: a header, then a line for each configuration. Columns of one name with a number
 * behind it ("va01" ... "va50") are the metric at that step: those that have the metric's
 * name, else, of those that are no parameters, the name with the most. A column such as
 * "time50_s" has the seconds that 50 steps take. An empty cell is NaN.
 *
 * A sweep: its trials, by what they reported of `metric`. Where one was ended early, its
 * last value stands for later steps.
 *
 * Columns, or parameters of that sweep, that are named like a parameter of `sp` have its
 * values. sp must outlive the curves. */
int curves_load(struct curves **out, const char *path, const char *metric,
                const struct space *sp, struct err *e);

/* Invented ones, endless: from a value at step 0, uniform in [1, 2), they fall to a
 * floor, uniform in [0, 1), with a power of step + 1 that is uniform in (-1, -0.3], under
 * normal noise of deviation 0.01; with `maximize` all of it negated. */
struct curves *curves_invent(uint64_t seed, bool maximize);
void curves_free(struct curves *c);

/* "va01 to va50 of 1000 configurations", for people. */
const char *curves_text(const struct curves *c);
int64_t curves_rows(const struct curves *c);       /* INT64_MAX: endless */
int64_t curves_first_step(const struct curves *c); /* 0 where invented */
int64_t curves_last_step(const struct curves *c);  /* INT64_MAX where invented */
/* Do they tell of all that a sweep looks at? ERR_RANGE, about `path`: they end before
 * max_t, or begin after the grace period. */
int curves_cover(const struct curves *c, const struct spec *spec, const char *path,
                 struct err *e);
/* The first known step above this one; INT64_MAX: there is none. */
int64_t curves_next_step(const struct curves *c, int64_t step);
/* At a step, or the last before it that is known; NaN: it had diverged, or no step as
 * early is known. */
double curves_metric(const struct curves *c, int64_t row, int64_t step);
/* Seconds that a step takes; NaN: not known. */
double curves_seconds(const struct curves *c, int64_t row);
/* The row whose parameters come nearest to these: by the mean of the squared distances in
 * the unit cube, in the dimensions that both have, those left out that are taken[rows].
 * -1: no row has parameters, or all are taken. */
int64_t curves_nearest(const struct curves *c, const struct value values[],
                       const bool taken[]);
/* The rank correlation of the metric at a step with that at `end`, over all rows that got
 * there, or 1000 invented ones; what has diverged is the worst. NaN: there is no order.
 */
double curves_correlation(const struct curves *c, int64_t step, int64_t end,
                          bool maximize);
/* The first step whose order is enough like that at `end`, which may be none before it:
 * by ORDER_ENOUGH, or by ORDER_NONE (launcher/orders.h) where those that got there were
 * chosen; *enough is which. -1: there is no order, or too few rows got there. */
int64_t curves_grace(const struct curves *c, int64_t end, bool maximize, double *enough);
/* If that is later than the first milestone, an empty line and two that say so. */
void curves_add_grace(const struct curves *c, int64_t first, int64_t end, bool maximize,
                      struct str *out);
/* That step as JSON; null: there is none, or the sweep has no grace period. */
void curves_put_grace(const struct curves *c, const struct spec *spec, struct str *out);
/* The best of all rows and steps up to `end`; NaN where endless. */
double curves_best(const struct curves *c, int64_t end, bool maximize);

#endif
