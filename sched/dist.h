/* Distributions: how a number u in [0, 1) becomes a value.
 *
 * The map is monotone wherever the values have an order, so that a searcher that
 * works in the unit cube sees neighbours side by side. A finite set of n equally
 * likely values takes value floor(u * n). Names and bounds are Ray Tune's:
 *
 *   uniform(lo, hi)          real, lo <= x < hi
 *   loguniform(lo, hi)       the same, log x uniform
 *   randint(lo, hi)          integer, lo <= x < hi
 *   lograndint(lo, hi)       the integer part of loguniform(lo, hi)
 *   quniform, qloguniform(lo, hi, q)   multiples of q, lo <= x <= hi
 *   qrandint, qlograndint(lo, hi, q)   the same in integers
 *   randn(mean, sd), qrandn(mean, sd, q)
 *   choice(...), grid(...)   the alternatives as written
 *
 * A multiple of q has the probability of the interval of width q around it: in
 * quniform and qrandint all have the same, in qloguniform, qlograndint and qrandn
 * the density decides. (Ray gives the first and the last one half of that.) */
#ifndef SCHED_DIST_H
#define SCHED_DIST_H

#include "sched/arith.h"
#include "sched/dim.h"
#include "sched/mistake.h"

struct dist_type; /* a row of the table of distributions */

const char *dist_name(size_t i); /* of the i-th type; NULL past the last */
const struct dist_type *dist_find(struct slice name);
const char *dist_usage(const struct dist_type *t); /* "uniform(lo, hi)" */
bool dist_takes_text(const struct dist_type *t);   /* choice and grid */

struct dist {
    struct dim dim;        /* name, param and key are for the space to fill */
    struct value *options; /* [dim.n] of choice and grid; texts are the caller's */
    /* Of the others, set by dist_make(): */
    double first;               /* the least value, in units of q */
    double base, ratio, offset; /* logarithmic ones: base * exp(u * ratio) + offset */
    double num, den;            /* q as a fraction */
};

struct dist_arg {
    struct value value;
    size_t offset; /* in the expression, for reports */
};

/* Makes *d from constant arguments. ERR_SYNTAX after reporting each mistake; `offset`
 * is where the call begins. */
int dist_make(struct dist *d, const struct dist_type *t, const struct dist_arg args[],
              size_t n, size_t offset, const struct space_errors *errors);
void dist_clear(struct dist *d);

struct value dist_value(const struct dist *d, double u);
/* The interval of all coordinates that stand for the same value as u, as far as rounding
 * lets it be told; both ends are u where no two have the same. */
void dist_cell(const struct dist *d, double u, double cell[2]);
/* The coordinate of the value at u times `factor`, within the bounds. A rounded value
 * moves by one at least, up or down as the factor is above 1 or below; one of a list goes
 * to its neighbour, at the end of the list to the one that it has. What is 0 and not
 * rounded stays. */
double dist_scaled(const struct dist *d, double u, double factor);
struct arith_type dist_result(const struct dist *d); /* what the values can be */

/* Inverse of the standard normal distribution function, 0 < p < 1, relative error
 * about 1e-16: algorithm AS 241, PPND16 (M. J. Wichura, "The percentage points of the
 * normal distribution", Applied Statistics 37, 1988). */
double dist_normal(double p);

#endif
