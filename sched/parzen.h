/* A Parzen estimator: a density over some dimensions of the unit cube, estimated from
 * points; what TPE compares two of.
 *
 * One kernel a point, the oldest first, and the prior as the last one; a kernel is a
 * product over the dimensions. The formulas are those of Optuna 5's TPESampler (Watanabe,
 * "Tree-structured Parzen estimator: understanding its algorithm components and their
 * roles for better empirical performance", arXiv:2304.11127, describes them):
 *
 *   weights      1 for the prior and for each of the 25 newest points; of older ones,
 *                n points in all, a line from 1/n at the oldest to 1
 *   numbers      a normal around the point, cut off at 0 and 1. Its standard deviation is
 *                the larger distance to the next point below or above in this dimension,
 *                0 and 1 counting as points only beside a point that is alone; at least
 *                0.75 / min(100, m + 2) where m points have the dimension, at most 1.
 * (The 0.75 is ours: tests/quality/regret.py says what for.) The prior: around 1/2,
 * standard deviation 1. Rounded ones have the probability of their value's interval.
 *   choices      among k alternatives, the point's own has (1 + 1/(m + 1)) / (1 + k/(m +
 * 1)), each other one (1/(m + 1)) / (1 + k/(m + 1)). The prior: 1/k. not active   in a
 * dimension where the point has none, the kernel is the prior's */
#ifndef SCHED_PARZEN_H
#define SCHED_PARZEN_H

#include "sched/space.h"

struct parzen;

/* Of points[n] -> [space_dims], NaN where not active, over the dimensions dims[n_dims].
 * Points and dims are copied. */
struct parzen *parzen_new(const struct space *sp, const int dims[], int n_dims,
                          const double *const points[], int n);
void parzen_free(struct parzen *p);

/* A draw from it, into the n_dims coordinates of u: random[0] in [0, 1) chooses the
 * kernel, random[1 + i] the coordinate in dims[i]. */
void parzen_draw(const struct parzen *p, const double random[], double u[]);

/* log of the density (of rounded dimensions and choices: of the probability) at
 * u[space_dims]; dimensions where it is NaN are left out of it. */
double parzen_log_density(struct parzen *p, const double u[]);

#endif
