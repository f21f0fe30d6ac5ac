#include "sched/parzen.h"

#include "base/mem.h"
#include "sched/dist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEWEST        25 /* points of full weight */
#define NARROWER      0.75
#define NARROWEST     100  /* parts of the unit interval */
#define NARROW_CELL   1e-3 /* a tenth of the narrowest kernel: its density serves */
#define LOG_SQRT_2_PI 0.91893853320467274

/* A dimension. Kernels of choices have the alternative's number as their centre, -1 for
 * the prior's. */
struct axis {
    int dim;
    int64_t choices;      /* 0: numbers */
    double hit, miss;     /* log probabilities of a choice, at a point's kernel */
    double *mu, *sigma;   /* [kernels] */
    double *below, *mass; /* [kernels]: of the normal, left of 0 and within 0..1 */
    double *log_scale;    /* [kernels]: of sigma * mass */
    int *sorted;          /* [kernels]: by mu and sigma, equal ones side by side */
};

struct parzen {
    const struct space *space;
    int n_axes, n; /* n kernels, the prior the last */
    struct axis *axes;
    double *weights; /* [n]: sums, the last is 1 */
    double *log_weights;
    double *sums; /* [n]: working space */
};

static double normal_below(double z)
{
    return erfc(-z * M_SQRT1_2) / 2;
}

/* ---- building ---- */

static int64_t choices_of(const struct dim *d)
{
    return d->kind == DIM_CHOICE || d->kind == DIM_GRID ? d->n : 0;
}

static int choice_at(const struct axis *a, double u)
{
    double k = floor(u * (double)a->choices);
    return (int)(k < (double)a->choices ? k : (double)a->choices - 1);
}

static void set_weights(struct parzen *p)
{
    int points = p->n - 1, old = points - NEWEST;
    double sum = 0;
    for (int i = 0; i < p->n; i++) {
        double w = 1;
        if (i < old)
            w = old > 1 ? 1.0 / points + (1 - 1.0 / points) * i / (old - 1)
                        : 1.0 / points;
        p->log_weights[i] = w;
        p->weights[i] = sum += w;
    }
    for (int i = 0; i < p->n; i++) {
        p->weights[i] /= sum;
        p->log_weights[i] = log(p->log_weights[i] / sum);
    }
}

struct order {
    double mu, sigma;
    int kernel;
};

static int by_place(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->mu != y->mu)
        return x->mu < y->mu ? -1 : 1;
    if (x->sigma != y->sigma)
        return x->sigma < y->sigma ? -1 : 1;
    return x->kernel < y->kernel ? -1 : x->kernel > y->kernel;
}

/* Standard deviations from the m active points, sorted by place. */
static void set_widths(struct axis *a, const struct order at[], int m)
{
    double least = NARROWER / (m + 2 < NARROWEST ? m + 2 : NARROWEST);
    for (int i = 0; i < m; i++) {
        double left = at[i].mu - (i > 0 ? at[i - 1].mu : 0);
        double right = (i + 1 < m ? at[i + 1].mu : 1) - at[i].mu;
        double s = left > right ? left : right;
        if (m > 1 && i == 0)
            s = right;
        if (m > 1 && i == m - 1)
            s = left;
        a->sigma[at[i].kernel] = s < least ? least : s > 1 ? 1 : s;
    }
}

static void set_normals(struct axis *a, int n, struct order at[])
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        if (!isnan(a->mu[i]))
            at[m++] = (struct order){a->mu[i], 0, i};
        else {
            a->mu[i] = 0.5;
            a->sigma[i] = 1;
        }
    }
    qsort(at, (size_t)m, sizeof(*at), by_place);
    set_widths(a, at, m);
    for (int i = 0; i < n; i++) {
        a->below[i] = normal_below(-a->mu[i] / a->sigma[i]);
        a->mass[i] = normal_below((1 - a->mu[i]) / a->sigma[i]) - a->below[i];
        a->log_scale[i] = log(a->sigma[i] * a->mass[i]) + LOG_SQRT_2_PI;
        at[i] = (struct order){a->mu[i], a->sigma[i], i};
    }
    qsort(at, (size_t)n, sizeof(*at), by_place);
    for (int i = 0; i < n; i++)
        a->sorted[i] = at[i].kernel;
}

static void set_choices(struct axis *a, int n)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        m += !isnan(a->mu[i]);
        a->mu[i] = isnan(a->mu[i]) ? -1 : choice_at(a, a->mu[i]);
    }
    double all = 1 + (double)a->choices / (m + 1);
    a->hit = log((1 + 1.0 / (m + 1)) / all);
    a->miss = log(1.0 / (m + 1) / all);
}

struct parzen *parzen_new(const struct space *sp, const int dims[], int n_dims,
                          const double *const points[], int n)
{
    struct parzen *p = mem_alloc(sizeof(*p));
    size_t kernels = (size_t)n + 1;
    struct order *at = mem_alloc(kernels * sizeof(*at));
    *p = (struct parzen){.space = sp, .n_axes = n_dims, .n = n + 1};
    p->axes = mem_alloc((size_t)n_dims * sizeof(*p->axes));
    p->weights = mem_alloc(3 * kernels * sizeof(double));
    p->log_weights = p->weights + kernels;
    p->sums = p->log_weights + kernels;
    set_weights(p);
    for (int d = 0; d < n_dims; d++) {
        struct axis *a = &p->axes[d];
        a->dim = dims[d];
        a->choices = choices_of(space_dim(sp, dims[d]));
        a->mu = mem_alloc(5 * kernels * sizeof(double));
        a->sigma = a->mu + kernels;
        a->below = a->sigma + kernels;
        a->mass = a->below + kernels;
        a->log_scale = a->mass + kernels;
        a->sorted = mem_alloc(kernels * sizeof(int));
        for (int i = 0; i < n; i++)
            a->mu[i] = points[i][dims[d]];
        a->mu[n] = NAN;
        if (a->choices)
            set_choices(a, n + 1);
        else
            set_normals(a, n + 1, at);
    }
    free(at);
    return p;
}

void parzen_free(struct parzen *p)
{
    if (!p)
        return;
    for (int d = 0; d < p->n_axes; d++) {
        free(p->axes[d].mu);
        free(p->axes[d].sorted);
    }
    free(p->axes);
    free(p->weights);
    free(p);
}

/* ---- drawing ---- */

static double within(double u)
{
    return u < 0 ? 0 : u < 1 ? u : 1 - 0x1p-53;
}

static double draw_choice(const struct axis *a, int kernel, double r)
{
    double k = (double)a->choices, own = exp(a->hit), other = exp(a->miss);
    int64_t c;
    if (a->mu[kernel] < 0)
        c = (int64_t)(r * k);
    else if (r < own || k == 1)
        c = (int64_t)a->mu[kernel];
    else {
        c = (int64_t)((r - own) / other);
        c = c < a->choices - 1 ? c : a->choices - 2;
        c += c >= (int64_t)a->mu[kernel];
    }
    return ((double)c + 0.5) / k;
}

/* The centre lies within 0..1, so that the share below is never far out in a tail. */
static double draw_number(const struct axis *a, int kernel, double r)
{
    double share = a->below[kernel] + r * a->mass[kernel];
    if (!(share > 0))
        return 0;
    return within(a->mu[kernel] + a->sigma[kernel] * dist_normal(share));
}

void parzen_draw(const struct parzen *p, const double random[], double u[])
{
    int kernel = 0;
    while (kernel < p->n - 1 && random[0] >= p->weights[kernel])
        kernel++;
    for (int d = 0; d < p->n_axes; d++) {
        const struct axis *a = &p->axes[d];
        u[a->dim] = a->choices ? draw_choice(a, kernel, random[1 + d])
                               : draw_number(a, kernel, random[1 + d]);
    }
}

/* ---- density ---- */

static void add_choice(struct parzen *p, const struct axis *a, double u)
{
    int c = choice_at(a, u);
    double prior = -log((double)a->choices);
    for (int i = 0; i < p->n; i++)
        p->sums[i] += a->mu[i] < 0 ? prior : a->mu[i] == c ? a->hit : a->miss;
}

static void add_density(struct parzen *p, const struct axis *a, double u)
{
    for (int i = 0; i < p->n; i++) {
        double z = (u - a->mu[i]) / a->sigma[i];
        p->sums[i] -= z * z / 2 + a->log_scale[i];
    }
}

static void add_probability(struct parzen *p, const struct axis *a, const double cell[2])
{
    double mu = NAN, sigma = NAN, log_mass = 0;
    for (int k = 0; k < p->n; k++) {
        int i = a->sorted[k];
        if (a->mu[i] != mu || a->sigma[i] != sigma) {
            mu = a->mu[i];
            sigma = a->sigma[i];
            double lo = (cell[0] - mu) / sigma, hi = (cell[1] - mu) / sigma;
            /* on the side where the tail is small, so that differences keep their digits
             */
            double part = lo > 0 ? normal_below(-lo) - normal_below(-hi)
                                 : normal_below(hi) - normal_below(lo);
            log_mass = log(part / a->mass[i]);
        }
        p->sums[i] += log_mass;
    }
}

double parzen_log_density(struct parzen *p, const double u[])
{
    double most = -INFINITY, sum = 0, cell[2];
    memcpy(p->sums, p->log_weights, (size_t)p->n * sizeof(double));
    for (int d = 0; d < p->n_axes; d++) {
        const struct axis *a = &p->axes[d];
        if (isnan(u[a->dim]))
            continue;
        if (a->choices) {
            add_choice(p, a, u[a->dim]);
            continue;
        }
        space_cell(p->space, a->dim, u[a->dim], cell);
        if (cell[1] - cell[0] < NARROW_CELL)
            add_density(p, a, u[a->dim]);
        else
            add_probability(p, a, cell);
    }
    for (int i = 0; i < p->n; i++)
        most = p->sums[i] > most ? p->sums[i] : most;
    for (int i = 0; i < p->n; i++)
        sum += exp(p->sums[i] - most);
    return most + log(sum);
}
