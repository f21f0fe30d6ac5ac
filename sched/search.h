/* Searchers: which point of the unit cube the next trial tries.
 *
 * A draw is a pure function of (seed, spec, the events so far), and for gp of the draws
 * before it, from which it keeps what it has fitted; the chosen point,
 * its values and the bracket go into the journal as an event, and a replay
 * applies them, so nothing here needs to give the same bits on another CPU. */
#ifndef SCHED_SEARCH_H
#define SCHED_SEARCH_H

#include "sched/space.h"

enum search_method {
    SEARCH_GRID,
    SEARCH_RANDOM,
    SEARCH_SOBOL,
    SEARCH_TPE,
    SEARCH_BOHB,
    SEARCH_CMAES,
    SEARCH_GP,
    SEARCH_AUTO /* until search_best() was asked */
};

/* "grid", "random", ...; -1 for another. search_names[] is NULL-terminated. */
int search_method_of(const char *name);
extern const char *const search_names[];
/* Whether its draws depend on what trials came to; these are not made
 * by search_draw(), and a replay does not make them again. */
bool search_by_model(enum search_method method);

/* What is best, by tests/quality/regret.py, for a space and so many slots: gp, if there
 * is one, up to SEARCH_GP_DIMS dimensions and SEARCH_GP_SLOTS slots; else tpe. */
#define SEARCH_GP_DIMS  50
#define SEARCH_GP_SLOTS 100
enum search_method search_best(const struct space *sp, int slots, bool gp);
/* Whether it goes with several objectives: it ranks trials, or needs nothing of them. */
bool search_of_several(enum search_method method);

#define SEARCH_REDRAWS 10000

struct draw {
    double *u;            /* [space_dims], caller's memory */
    struct value *values; /* [space_count], caller's memory */
    uint32_t tries;       /* redraws that came before this one */
    int64_t next;         /* sobol, in and out: the next point to use; else 0 */
};

/* Draws the configuration of trial number `trial` (0..), `drawn` of which were
 * drawn before (start: entries not counted when the method is grid).
 * random: space_point() of the trial and the redraw.
 * sobol: point number `next` (0 at first) of the scrambled sequence, dimension d;
 *   a redraw takes the following point. next is kept by the sweep's state, from
 *   the events.
 * grid: grid dimensions take point (drawn / repeats) of the product, the last
 *   dimension fastest; the others are random as above. repeats >= 1. A point that
 *   breaks a constraint whatever the rest is drawn, or that repeats another one
 *   (space_repeats()), is skipped by the caller: ERR_RANGE.
 * In every method, grid dimensions of a space searched by random or sobol are
 *   drawn like choices.
 * 0, or ERR_RANGE after SEARCH_REDRAWS redraws, the text saying what failed. */
int search_draw(const struct space *sp, enum search_method method, uint64_t seed,
                uint32_t trial, int64_t drawn, int64_t repeats, struct draw *d,
                struct err *e);

/* How many points of the grid are tried, those left out that search_draw() skips
 * whatever the rest is drawn; where there are more than 65,536, all of them, uncounted.
 * -1 as space_grid_points(). */
int64_t search_grid_points(const struct space *sp);

/* Point `index` of dimension `dim` (0..21200) of the Sobol sequence with Joe and
 * Kuo's direction numbers ("Constructing Sobol sequences with better
 * two-dimensional projections", SIAM J. Sci. Comput. 30, 2008), in 32 bits,
 * Owen-scrambled by hashing (Burley, "Practical hash-based Owen scrambling",
 * JCGT 9(4), 2020) with a key from (seed, dim). */
double sobol_unit(uint64_t seed, uint32_t dim, uint32_t index);
uint32_t sobol_bits(uint32_t dim, uint32_t index); /* unscrambled */
#define SOBOL_DIMS 21201

#endif
