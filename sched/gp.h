/* Search by a Gaussian process (sched/gp_model.h): a trial is tried where the logarithm
 * of the expected improvement is highest. Much is as in Optuna's GPSampler: a length for
 * each dimension, parameters of the highest posterior density, 2,048 quasi-random
 * candidates, and a local search from the best ten. Ours are 512 more candidates around
 * the best eight trials, and two things about values:
 *
 *   those above the median are drawn together, to median + s log(1 + (value - median) /
 * s), s being once or ten times the median less the least, or where that is 0 the next
 * value above it less the median: how bad the bad ones are says little of where the good
 * ones lie, and one loss of 1e10 would make all others the same. At each fit it is the
 * one of the two with which the values that came are likelier, as in Snelson, Rasmussen
 * and Ghahramani, "Warped Gaussian processes", NIPS 2003. And one of -1e10 would
 * hide all others, too: those that are more than a hundred times as far below the median
 * as the middle one below it are outliers, which do not count in s, and are drawn
 * together as well. Then they get the variance 1, and a mean of -1: where nothing is
 * known the model expects worse than the average of what was tried, which was tried for a
 * reason. Else most trials are spent on corners of the cube. In spaces with choices the
 * mean is 0, so that no alternative is given up early.
 *
 * It works in the unit cube. Integers and what else is rounded are at the middle of their
 * value's interval; choices are the same or not; a dimension that is not active is at the
 * middle, and differs from one that is by a word of its own. A failed trial has the value
 * of the worst that did not; so has one that rests with values only at lower levels than
 * the one at which trials are compared (sched/observed.h). One that is on its way there
 * counts as pending, like those without any value: it has the value that the
 * model expects, but none better than the best there is, so that slots do not crowd. Of
 * all these 500 at most are modelled, half of them the best and half the newest, and of
 * the pending ones the newest 100.
 *
 * Of a normal distribution the first and the last thousandth are not drawn by the model,
 * which would else follow a slope to the cube's edge, 8.2 standard deviations out.
 *
 * The first draws, and all until there are enough values, are quasi-random (sobol).
 *
 * What it has fitted is kept from draw to draw: parameters are fitted anew when there are
 * a twentieth more values, the factor of the covariance is extended. */
#ifndef SCHED_GP_H
#define SCHED_GP_H

#include "sched/gp_model.h"
#include "sched/observed.h"
#include "sched/search.h"

#define GP_STARTS       10
#define GP_MODELLED     500
#define GP_PENDING_MOST 100

/* The plug-in's functions; they stay for as long as the process. NULL: this build, or
 * this installation, has none, and *e says so. */
const struct gp_ops *gp_open(struct err *e);

/* Whether there is one; without opening it. */
bool gp_present(void);

struct gp;

struct gp *gp_new(const struct space *sp, uint64_t seed, const struct gp_ops *ops);
void gp_free(struct gp *g); /* NULL is fine */

/* Draws the configuration of trial number `trial`. d->next, in and out: the next point of
 * the sobol sequence, which the quasi-random draws take. Points that the space does not
 * allow are left out; when it allows none of them, or the model promises nothing, the
 * draw is quasi-random, too. d->tries: redraws of a quasi-random one; else 0. 0, or
 * ERR_RANGE as search_draw(). */
int gp_draw(struct gp *g, const struct observed *o, uint32_t trial, struct draw *d,
            struct err *e);

#endif
