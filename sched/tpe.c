#include "sched/tpe.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sched/parzen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MOST (100 * TPE_CANDIDATES)
#define BY_CHANCE  TRIES_MOST /* no candidate's number */

/* ---- good ones and others ---- */

struct split {
    int n_good, n_others;
    const double *good[TPE_GOOD_MOST];
    const double *others[TPE_OTHERS_MOST]; /* both by trial, the lowest first */
};

/* What is known, as a rule sees it. */
struct view {
    const struct observed *o;
    int level;
    bool bohb;
};

static enum standing standing(const struct view *v, int32_t trial,
                              struct standing_rank *rank)
{
    enum standing s = observed_standing(v->o, v->level, trial, rank);
    return v->bohb && s == STANDING_FINITE && rank->below > 0 ? STANDING_NONE : s;
}

/* How many trials are told or worst, and how many of these are finite. */
static int32_t count(const struct view *v, int32_t *finite)
{
    struct standing_rank rank;
    int32_t n = 0;
    *finite = 0;
    for (int32_t t = 0; t < observed_trials(v->o); t++) {
        enum standing s = standing(v, t, &rank);
        n += s == STANDING_WORST || s == STANDING_FINITE;
        *finite += s == STANDING_FINITE;
    }
    return n;
}

/* The best `want` of so many finite trials, best first. */
static void choose(const struct view *v, int32_t finite, int want,
                   struct standing_rank best[])
{
    struct standing_rank *ranks = mem_alloc((size_t)finite * sizeof(*ranks)), rank;
    int n = 0;
    for (int32_t t = 0; t < observed_trials(v->o); t++)
        if (standing(v, t, &rank) == STANDING_FINITE)
            ranks[n++] = rank;
    observed_place(v->o, v->level, ranks, finite, want);
    n = 0;
    for (int32_t i = 0; i < finite; i++) {
        if (n == want && !observed_before(&ranks[i], &best[n - 1]))
            continue;
        int at = n < want ? n++ : n - 1;
        for (; at > 0 && observed_before(&ranks[i], &best[at - 1]); at--)
            best[at] = best[at - 1];
        best[at] = ranks[i];
    }
    free(ranks);
}

static int by_trial(const void *a, const void *b)
{
    const struct standing_rank *x = a, *y = b;
    return x->trial < y->trial ? -1 : x->trial > y->trial;
}

/* false: there is too little to go by. */
static bool split(const struct observed *o, int dims, bool bohb, struct split *s)
{
    int enough = dims + 1 > TPE_STARTS ? dims + 1 : TPE_STARTS, good;
    struct view v = {o, observed_level(o, enough), bohb};
    struct standing_rank best[TPE_GOOD_MOST], rank;
    int32_t finite, n;
    if (v.level < 0 || (n = count(&v, &finite)) < TPE_STARTS)
        return false;
    good = (n + 9) / 10 < TPE_GOOD_MOST ? (n + 9) / 10 : TPE_GOOD_MOST;
    good = good < finite ? good : finite;
    choose(&v, finite, good, best);
    qsort(best, (size_t)good, sizeof(best[0]), by_trial);
    for (int i = 0; i < good; i++)
        s->good[i] = observed_point(o, best[i].trial);
    s->n_good = good--;
    /* from the newest on backwards, to the end of the array first */
    int from = TPE_OTHERS_MOST;
    for (int32_t t = observed_trials(o) - 1; t >= 0 && from > 0; t--) {
        if (good >= 0 && best[good].trial == t)
            good--;
        else if (standing(&v, t, &rank) != STANDING_NONE)
            s->others[--from] = observed_point(o, t);
    }
    s->n_others = TPE_OTHERS_MOST - from;
    memmove(s->others, &s->others[from], (size_t)s->n_others * sizeof(s->others[0]));
    return true;
}

/* ---- densities ---- */

/* Two densities over some dimensions. */
struct pair {
    struct parzen *good, *others;
};

/* points, but only those that are active in dimension d. */
static int active(const double *const points[], int n, int d, const double *out[])
{
    int m = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(points[i][d]))
            out[m++] = points[i];
    return m;
}

static struct pair pair_of(const struct space *sp, const struct split *s, int d)
{
    const double **points = mem_alloc(TPE_OTHERS_MOST * sizeof(*points));
    struct pair p;
    p.good = parzen_new(sp, &d, 1, points, active(s->good, s->n_good, d, points));
    p.others = parzen_new(sp, &d, 1, points, active(s->others, s->n_others, d, points));
    free(points);
    return p;
}

static struct pair pair_of_all(const struct space *sp, const struct split *s)
{
    int n = space_dims(sp), *dims = mem_alloc((size_t)n * sizeof(*dims));
    struct pair p;
    for (int d = 0; d < n; d++)
        dims[d] = d;
    p.good = parzen_new(sp, dims, n, s->good, s->n_good);
    p.others = parzen_new(sp, dims, n, s->others, s->n_others);
    free(dims);
    return p;
}

static double promise(struct pair *p, const double u[])
{
    return parzen_log_density(p->good, u) - parzen_log_density(p->others, u);
}

static void pair_free(struct pair *p)
{
    parzen_free(p->good);
    parzen_free(p->others);
}

/* ---- drawing ---- */

struct drawing {
    const struct space *space;
    uint64_t seed;
    uint32_t trial;
    double *random; /* [dims + 1] */
    double *seen;   /* [dims]: a point as the densities see it */
    struct draw *d;
};

/* Rounded coordinates to the middle of their value's interval. */
static void settle(const struct space *sp, int d, double u[])
{
    double cell[2];
    space_cell(sp, d, u[d], cell);
    u[d] = (cell[0] + cell[1]) / 2;
}

static void draw_from(struct drawing *g, const struct parzen *p, int n,
                      uint32_t candidate, uint32_t first, double u[])
{
    for (int i = 0; i <= n; i++)
        g->random[i] =
            rng_unit(g->seed, RNG_MODEL, g->trial, candidate, first + (uint32_t)i);
    parzen_draw(p, g->random, u);
}

/* The best of the candidates that the space allows; false: there was none. */
static bool draw_joint(struct drawing *g, struct pair *p)
{
    int dims = space_dims(g->space), found = 0;
    double best = -INFINITY, *u = mem_alloc((size_t)dims * sizeof(*u));
    for (uint32_t c = 0; c < TRIES_MOST && found < TPE_CANDIDATES; c++) {
        draw_from(g, p->good, dims, c, 0, u);
        for (int d = 0; d < dims; d++)
            settle(g->space, d, u);
        if (space_eval(g->space, u, g->d->values, NULL) != SPACE_OK) {
            g->d->tries++;
            continue;
        }
        for (int d = 0; d < dims; d++) {
            bool here = g->d->values[space_dim(g->space, d)->param].kind != VALUE_ABSENT;
            g->seen[d] = here ? u[d] : NAN;
        }
        double value = promise(p, g->seen);
        if (found++ == 0 || value > best) {
            best = value;
            memcpy(g->d->u, u, (size_t)dims * sizeof(*u));
        }
    }
    free(u);
    return found > 0;
}

/* In each dimension the best of the candidates, until the space allows what that makes.
 */
static bool draw_apart(struct drawing *g, struct pair pairs[])
{
    int dims = space_dims(g->space);
    for (uint32_t k = 0; k * TPE_CANDIDATES < TRIES_MOST; k++) {
        for (int d = 0; d < dims; d++) {
            double best = -INFINITY;
            for (uint32_t c = 0; c < TPE_CANDIDATES; c++) {
                draw_from(g, pairs[d].good, 1, k * TPE_CANDIDATES + c, 2 * (uint32_t)d,
                          g->seen);
                settle(g->space, d, g->seen);
                double value = promise(&pairs[d], g->seen);
                if (c == 0 || value > best) {
                    best = value;
                    g->d->u[d] = g->seen[d];
                }
            }
        }
        if (space_eval(g->space, g->d->u, g->d->values, NULL) == SPACE_OK)
            return true;
        g->d->tries++;
    }
    return false;
}

static bool draw_by_model(struct drawing *g, const struct split *s, bool multivariate)
{
    int dims = space_dims(g->space), n = multivariate ? 1 : dims;
    struct pair *pairs = mem_alloc((size_t)n * sizeof(*pairs));
    bool found;
    for (int d = 0; d < n; d++)
        pairs[d] = multivariate ? pair_of_all(g->space, s) : pair_of(g->space, s, d);
    found = multivariate ? draw_joint(g, pairs) : draw_apart(g, pairs);
    for (int d = 0; d < n; d++)
        pair_free(&pairs[d]);
    free(pairs);
    return found;
}

int tpe_draw(const struct space *sp, const struct observed *o, uint64_t seed,
             uint32_t trial, struct tpe_rule rule, struct draw *d, struct err *e)
{
    struct split *s = mem_alloc(sizeof(*s));
    struct drawing g = {.space = sp, .seed = seed, .trial = trial, .d = d};
    size_t dims = (size_t)space_dims(sp);
    bool found = false;
    uint32_t tries;
    int rc = 0;
    d->tries = 0;
    d->next = 0;
    g.random = mem_alloc((2 * dims + 1) * sizeof(double));
    g.seen = g.random + dims + 1;
    if (!(rule.bohb && rng_unit(seed, RNG_MODEL, trial, BY_CHANCE, 0) < 1.0 / 3) &&
        split(o, (int)dims, rule.bohb, s))
        found = draw_by_model(&g, s, rule.multivariate);
    free(g.random);
    free(s);
    tries = d->tries;
    if (found)
        space_eval(sp, d->u, d->values, NULL);
    else
        rc = search_draw(sp, SEARCH_RANDOM, seed, trial, 0, 1, d, e);
    d->tries = found ? tries : tries + d->tries;
    return rc;
}
