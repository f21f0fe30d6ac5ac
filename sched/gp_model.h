/* A Gaussian process over points of the unit cube, and where it expects to improve on the
 * best value. It needs LAPACK and NLopt, which not every build has and no other part of
 * rung wants (OpenBLAS starts a thread for each CPU when it is loaded), so it is a
 * plug-in that sched/gp_open.c opens when a sweep searches by it: librung_gp.so has one
 * table.
 *
 * A point has reals, whose distance is a difference, and then words, which are the same
 * or not. Of the points x and z with
 *
 *     s = sum over reals of w_i (x_i - z_i)^2 + sum over words that differ of w_i
 *
 * the covariance is a Matern function with smoothness 5/2 (Rasmussen, Williams, "Gaussian
 * processes for machine learning", eq. 4.17), a weight w_i (the inverse square of a
 * length) for each coordinate:
 *
 *     k(x, z) = scale (1 + r + r^2 / 3) exp(-r),  r = sqrt(5 s)
 *
 * and values have a variance `noise` of their own, GP_LEAST_NOISE at least. Values are to
 * have a variance of 1; 0 is what is expected where nothing is known, smaller is better.
 * The parameters are those of the highest posterior density (gp_fit()). Not for several
 * threads at once. */
#ifndef SCHED_GP_MODEL_H
#define SCHED_GP_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#define GP_FILE        "librung_gp.so"
#define GP_SYMBOL      "rung_gp"
#define GP_LEAST_NOISE 1e-7

struct gp_model;

struct gp_ops {
    const char *version; /* of rung; another one's may have other functions */
    size_t size;         /* sizeof(struct gp_ops); so may one of the same version */

    /* Points of `reals` and then `words` coordinates. Parameters start at weights of 1,
     * scale 1, noise 0.01. */
    struct gp_model *(*create)(int reals, int words);
    void (*destroy)(struct gp_model *m);

    /* Keeps the first n of its points. */
    void (*cut)(struct gp_model *m, int n);
    /* n more points[n][reals + words]: a row of the factor of the covariance for each, in
     * O(points^2), or the whole factor anew where that is less. */
    void (*add)(struct gp_model *m, int n, const double points[]);
    /* The values of all points. add() and cut() forget them. */
    void (*tell)(struct gp_model *m, const double values[]);
    /* tell(), with the parameters fitted to the values: from those it has, and at most so
     * many evaluations. Returns minus the log posterior density, up to a constant. */
    double (*fit)(struct gp_model *m, const double values[], int evaluations);

    /* What it expects at points[n][]: mean and variance (without noise). */
    void (*predict)(struct gp_model *m, int n, const double points[], double mean[],
                    double variance[]);
    /* The logarithm of the expected improvement on `best` at points[n][]. */
    void (*promise)(struct gp_model *m, int n, const double points[], double best,
                    double out[]);
    /* Moves the reals x[i] with free[i], which are within low[i] and high[i], within
     * these to where that is highest nearby; returns it. */
    double (*climb)(struct gp_model *m, const bool free[], const double low[],
                    const double high[], double best, double x[]);
};

extern const struct gp_ops rung_gp;

/* ---- for tests ---- */

/* The covariance for r^2 = 5 s, scale 1, and its derivative by s. */
double gp_matern(double s, double *slope);
/* log(phi(z) + z Phi(z)), the logarithm of the expected improvement of a standard normal
 * variable on z, to 11 digits for any z (where a plain formula ends at z = -38, and loses
 * its digits long before); and its derivative. After Ament et al., "Unexpected
 * improvements to expected improvement for Bayesian optimization", NeurIPS 2023, eq. 9.
 */
double gp_log_improvement(double z, double *slope);
/* Minus the log posterior density of the values, up to a constant, at
 * log(weights[reals + words], scale, noise - GP_LEAST_NOISE), and its gradient. */
double gp_loss(struct gp_model *m, const double values[], const double at[],
               double gradient[]);

#endif
