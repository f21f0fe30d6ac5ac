#include "sched/cmaes.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/vec.h"
#include "sched/dist.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#define FIRST_SIGMA  (1.0 / 6)
#define LEAST_SPREAD 1e-10
#define INSIDE_MOST  100  /* tries before points are cut off at the bounds */
#define TRIES_MOST   2400 /* before a draw is random */

struct told {
    double value;
    int32_t trial;
};

struct cmaes {
    const struct space *space;
    uint64_t seed;
    int n;                     /* axes */
    int *axes;                 /* [n]: dimensions */
    int64_t generation, begun; /* counted from 0; the one that the last start was at */
    int lambda;
    int level;       /* the lowest that it was told of */
    int known_level; /* of the known point that it starts at; -1: it knows none */
    double known;    /* and its value */
    double sigma;
    double *mean, *path_sigma, *path_c; /* [n] */
    double *covariance, *factor;        /* [n][n], the factor lower triangular */
    double *shift;                      /* [n]: working space */
    VEC(double) points;                 /* [trials][n] */
    VEC(int64_t) drawn;                 /* [trials]: in which generation; -1: none */
    VEC(struct told) told;              /* of this generation, lambda - 1 at most */
};

static bool is_axis(const struct dim *d)
{
    return d->kind != DIM_CHOICE && d->kind != DIM_GRID && d->n != 1;
}

int cmaes_axes(const struct space *sp)
{
    int n = 0;
    for (int d = 0; d < space_dims(sp); d++)
        n += is_axis(space_dim(sp, d));
    return n;
}

int cmaes_first(const struct space *sp)
{
    int n = cmaes_axes(sp);
    return 4 + (n > 0 ? (int)(3 * log((double)n)) : 0);
}

static void begin(struct cmaes *c)
{
    size_t n = (size_t)c->n;
    c->begun = c->generation;
    c->sigma = FIRST_SIGMA;
    for (size_t i = 0; i < n; i++) {
        c->mean[i] = 0.5;
        if (c->generation > 0)
            c->mean[i] = rng_unit(c->seed, RNG_MODEL, (uint32_t)c->generation, UINT32_MAX,
                                  (uint32_t)i);
        c->path_sigma[i] = c->path_c[i] = 0;
        for (size_t k = 0; k < n; k++)
            c->covariance[i * n + k] = c->factor[i * n + k] = i == k;
    }
}

struct cmaes *cmaes_new(const struct space *sp, uint64_t seed)
{
    struct cmaes *c = mem_alloc(sizeof(*c));
    size_t n = (size_t)cmaes_axes(sp);
    c->space = sp;
    c->seed = seed;
    c->level = INT_MAX;
    c->known_level = -1;
    c->axes = mem_alloc(n * sizeof(*c->axes));
    for (int d = 0; d < space_dims(sp); d++)
        if (is_axis(space_dim(sp, d)))
            c->axes[c->n++] = d;
    c->mean = mem_alloc((4 * n + 2 * n * n) * sizeof(double));
    c->path_sigma = c->mean + n;
    c->path_c = c->path_sigma + n;
    c->shift = c->path_c + n;
    c->covariance = c->shift + n;
    c->factor = c->covariance + n * n;
    c->lambda = cmaes_first(sp);
    begin(c);
    return c;
}

void cmaes_free(struct cmaes *c)
{
    if (!c)
        return;
    free(c->axes);
    free(c->mean);
    vec_free(&c->points);
    vec_free(&c->drawn);
    vec_free(&c->told);
    free(c);
}

/* ---- adaptation ---- */

/* Cholesky's factor of the covariance; false: it has none, by round-off. */
static bool factorize(struct cmaes *c)
{
    int n = c->n;
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= i; k++) {
            double sum = c->covariance[i * n + k];
            for (int j = 0; j < k; j++)
                sum -= c->factor[i * n + j] * c->factor[k * n + j];
            if (i == k && !(sum > 0))
                return false;
            c->factor[i * n + k] = i == k ? sqrt(sum) : sum / c->factor[k * n + k];
        }
    return true;
}

/* v := A^-1 v */
static void unfold(const struct cmaes *c, double v[])
{
    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < i; k++)
            v[i] -= c->factor[i * c->n + k] * v[k];
        v[i] /= c->factor[i * c->n + i];
    }
}

static int by_value(const void *a, const void *b)
{
    const struct told *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->trial < y->trial ? -1 : x->trial > y->trial;
}

/* The weight of the i-th best before they are made to sum to 1. */
static double raw_weight(const struct cmaes *c, int i)
{
    return log((c->lambda + 1) / 2.0) - log(i + 1);
}

/* Evolution paths: *stalled when sigma's is so long that the other one must wait. */
static double follow(struct cmaes *c, double mu_eff, double cc, bool *stalled)
{
    double n = c->n, length = 0;
    double cs = (mu_eff + 2) / (n + mu_eff + 5);
    double ds = 1 + 2 * fmax(0, sqrt((mu_eff - 1) / (n + 1)) - 1) + cs;
    double chi = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
    double *step = mem_alloc((size_t)c->n * sizeof(*step));
    for (int i = 0; i < c->n; i++)
        step[i] = c->shift[i];
    unfold(c, step);
    for (int i = 0; i < c->n; i++) {
        c->path_sigma[i] =
            (1 - cs) * c->path_sigma[i] + sqrt(cs * (2 - cs) * mu_eff) * step[i];
        length += c->path_sigma[i] * c->path_sigma[i];
    }
    free(step);
    length = sqrt(length);
    double settled = 1 - pow(1 - cs, 2.0 * (double)(c->generation - c->begun + 1));
    *stalled = length / sqrt(settled) >= (1.4 + 2 / (n + 1)) * chi;
    for (int i = 0; i < c->n; i++)
        c->path_c[i] = (1 - cc) * c->path_c[i] +
                       (*stalled ? 0 : sqrt(cc * (2 - cc) * mu_eff) * c->shift[i]);
    return exp(cs / ds * (length / chi - 1));
}

static const double *point_of(const struct cmaes *c, int rank)
{
    return &c->points.v[(size_t)c->told.v[rank].trial * (size_t)c->n];
}

/* One generation, whose points are sorted by value. */
static void adapt(struct cmaes *c)
{
    int n = c->n, mu = c->lambda / 2;
    double sum = 0, squares = 0, d = n;
    bool stalled;
    for (int i = 0; i < mu; i++) {
        sum += raw_weight(c, i);
        squares += raw_weight(c, i) * raw_weight(c, i);
    }
    double mu_eff = sum * sum / squares;
    double cc = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d);
    double c1 = 2 / ((d + 1.3) * (d + 1.3) + mu_eff);
    double cmu =
        fmin(1 - c1, 2 * (mu_eff - 2 + 1 / mu_eff) / ((d + 2) * (d + 2) + mu_eff));
    for (int i = 0; i < n; i++) {
        c->shift[i] = 0;
        for (int r = 0; r < mu; r++)
            c->shift[i] +=
                raw_weight(c, r) / sum * (point_of(c, r)[i] - c->mean[i]) / c->sigma;
    }
    double growth = follow(c, mu_eff, cc, &stalled);
    double keep = 1 - c1 - cmu + (stalled ? c1 * cc * (2 - cc) : 0);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            double spread = 0;
            for (int r = 0; r < mu; r++)
                spread += raw_weight(c, r) / sum * (point_of(c, r)[i] - c->mean[i]) *
                          (point_of(c, r)[k] - c->mean[k]) / (c->sigma * c->sigma);
            c->covariance[i * n + k] = keep * c->covariance[i * n + k] +
                                       c1 * c->path_c[i] * c->path_c[k] + cmu * spread;
        }
    for (int i = 0; i < n; i++)
        c->mean[i] += c->sigma * c->shift[i];
    c->sigma = fmin(c->sigma * growth, 1);
}

static void next_generation(struct cmaes *c)
{
    double widest = 0;
    qsort(c->told.v, c->told.n, sizeof(c->told.v[0]), by_value);
    adapt(c);
    c->told.n = 0;
    c->generation++;
    for (int i = 0; i < c->n; i++)
        widest = fmax(widest, c->covariance[i * c->n + i]);
    if (!factorize(c) || !(c->sigma * sqrt(widest) > LEAST_SPREAD)) {
        c->lambda *= 2;
        begin(c);
    }
}

/* ---- what it is told ---- */

void cmaes_known(struct cmaes *c, const double u[], int level, double value)
{
    if (!isfinite(value) || level < c->known_level ||
        (level == c->known_level && value >= c->known))
        return;
    c->known_level = level;
    c->known = value;
    for (int i = 0; i < c->n; i++)
        c->mean[i] = isnan(u[c->axes[i]]) ? 0.5 : u[c->axes[i]];
}

void cmaes_add(struct cmaes *c, const double u[], int64_t generation)
{
    for (int i = 0; i < c->n; i++)
        vec_push(&c->points, u ? u[c->axes[i]] : 0);
    vec_push(&c->drawn, u ? generation : -1);
}

static void tell(struct cmaes *c, int32_t trial, double value)
{
    if (c->n == 0 || c->drawn.v[trial] != c->generation)
        return;
    c->drawn.v[trial] = -1;
    vec_push(&c->told, ((struct told){isfinite(value) ? value : INFINITY, trial}));
    if (c->told.n == (size_t)c->lambda)
        next_generation(c);
}

void cmaes_value(struct cmaes *c, int32_t trial, int level, double value)
{
    if (level > c->level)
        return;
    if (level < c->level)
        c->told.n = 0;
    c->level = level;
    tell(c, trial, value);
}

void cmaes_worst(struct cmaes *c, int32_t trial)
{
    tell(c, trial, INFINITY);
}

/* ---- drawing ---- */

/* Of try k; false: outside the cube. */
static bool place(const struct cmaes *c, uint32_t trial, uint32_t k, double u[])
{
    bool inside = true;
    double *z = mem_alloc((size_t)c->n * sizeof(*z));
    for (int i = 0; i < c->n; i++) {
        double p = rng_unit(c->seed, RNG_MODEL, trial, k, (uint32_t)i), x = 0;
        z[i] = dist_normal(p > 0 ? p : 0x1p-54);
        for (int j = 0; j <= i; j++)
            x += c->factor[i * c->n + j] * z[j];
        x = c->mean[i] + c->sigma * x;
        inside &= x >= 0 && x < 1;
        u[c->axes[i]] = x < 0 ? 0 : x < 1 ? x : 1 - 0x1p-53;
    }
    free(z);
    return inside;
}

int cmaes_draw(const struct cmaes *c, uint32_t trial, struct draw *d, struct err *e)
{
    for (uint32_t k = 0; k < TRIES_MOST; k++) {
        space_point(c->space, c->seed, trial, k, d->u);
        if ((!place(c, trial, k, d->u) && k < INSIDE_MOST) ||
            space_eval(c->space, d->u, d->values, NULL) != SPACE_OK)
            continue;
        d->tries = k;
        d->next = c->generation;
        return 0;
    }
    int rc = search_draw(c->space, SEARCH_RANDOM, c->seed, trial, 0, 1, d, e);
    d->tries += TRIES_MOST;
    d->next = c->generation;
    return rc;
}
