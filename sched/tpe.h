/* The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio, Kegl, "Algorithms for
 * hyper-parameter optimization", NIPS 2011, section 4), with Optuna 5's choices but for
 * the number of candidates (24 there).
 *
 * The good ones, the best min(ceil(n / 10), 25) of the n trials that are told or worst,
 * make one density (sched/parzen.h), all others and those that are pending the other one:
 * what runs repels, so that slots do not crowd. Of 32 draws from the good ones' density
 * the one is taken where it is the largest in proportion to the others'. Trials are
 * compared from the highest level that has enough finite values (sched/observed.h): as
 * many as there are dimensions and one more, but at least 10. Before 10 trials are told
 * or worst, one of them with a finite value, draws are random.
 *
 * multivariate: a draw comes from one kernel in all dimensions, and the densities are
 * compared in all of those that are active at once. Univariate: dimension by dimension,
 * each with the points that have it. */
#ifndef SCHED_TPE_H
#define SCHED_TPE_H

#include "sched/observed.h"
#include "sched/search.h"

#define TPE_STARTS     10
#define TPE_CANDIDATES 32
#define TPE_GOOD_MOST  25
/* So many of the others at most make their density, the newest ones: what a draw costs
 * and its memory are bounded. */
#define TPE_OTHERS_MOST 1000

struct tpe_rule {
    bool multivariate;
    /* BOHB (Falkner, Klein, Hutter, "BOHB: robust and efficient hyperparameter
     * optimization at scale", ICML 2018): a third of the draws are random, and trials
     * that have no value at the level in question are left out, pending ones apart. */
    bool bohb;
};

/* Draws the configuration of trial number `trial`. Candidates that the space does not
 * allow are drawn again, 100 times as many as there are candidates at most; then the draw
 * is random. tries counts them. 0, or ERR_RANGE as search_draw(). */
int tpe_draw(const struct space *sp, const struct observed *o, uint64_t seed,
             uint32_t trial, struct tpe_rule rule, struct draw *d, struct err *e);

#endif
