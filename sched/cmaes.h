/* CMA-ES, the evolution strategy with covariance matrix adaptation (Hansen, "The CMA
 * evolution strategy: a tutorial", arXiv:1604.00772, with its strategy parameters and
 * without negative weights), in the dimensions of the unit cube that are numbers.
 *
 * Points are drawn from a normal distribution; when as many of those that were drawn from
 * it have a value as make a generation, it moves on to the next one. Of a triangular
 * factor A of the covariance, C = A A', the inverse stands where the tutorial has
 * C^(-1/2): Krause, Arbones, Igel, "CMA-ES with optimal covariance update and storage
 * complexity", NIPS 2016, section 3. It starts at the middle with a standard deviation of
 * 1/6; when it has contracted to nothing it starts again, somewhere, with generations
 * of twice the size.
 *
 * It is a function of what it was told, in that order. Dimensions without an order
 * are drawn at random. */
#ifndef SCHED_CMAES_H
#define SCHED_CMAES_H

#include "sched/search.h"

struct cmaes;

struct cmaes *cmaes_new(const struct space *sp, uint64_t seed);
void cmaes_free(struct cmaes *c); /* NULL is fine */

/* The dimensions that it moves in: those that are numbers with more than one value. */
int cmaes_axes(const struct space *sp);
/* How many make the first generation: so many draws are before any value counts. */
int cmaes_first(const struct space *sp);

/* What is known of a point at a level before the first trial, smaller is better: the
 * best one at the highest level is where it starts, in place of the middle. NaN in
 * u[space_dims] for what is not known. */
void cmaes_known(struct cmaes *c, const double u[], int level, double value);

/* The next trial, numbered from 0: its point u[space_dims], drawn from that generation;
 * NULL: it was not drawn, and what it comes to does not matter. */
void cmaes_add(struct cmaes *c, const double u[], int64_t generation);
/* What it came to at a level, smaller is better; what is not finite is the worst. Levels
 * are not mixed: values count of the lowest one there was so far. Of a trial the first
 * one counts, and none of an earlier generation. */
void cmaes_value(struct cmaes *c, int32_t trial, int level, double value);
void cmaes_worst(struct cmaes *c, int32_t trial); /* it failed: the same at any level */

/* Draws the configuration of trial number `trial`; d->next becomes the generation. Points
 * outside the cube or that the space does not allow are drawn again, and cut off at its
 * bounds after 100 times; after 2,400, the draw is random. 0, or ERR_RANGE as
 * search_draw(). */
int cmaes_draw(const struct cmaes *c, uint32_t trial, struct draw *d, struct err *e);

#endif
