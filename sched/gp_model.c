#include "config.h"

#include "sched/gp_model.h"

#include "base/mem.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <nlopt.h>
#include <stdlib.h>
#include <string.h>

#define LOG_SQRT_2_PI  0.91893853320467274
#define LEAST_VARIANCE 1e-12
/* Parameters of the process stay in between, as logarithms. */
#define LEAST_LOG -13.0
#define MOST_LOG  9.0

struct gp_model {
    int reals, coords; /* coordinates of a point, words among them */
    int n, room;       /* points */
    double *at;        /* [coords + 2]: logarithms of the parameters */
    double *weights;   /* [coords] */
    double scale, noise;
    double *points;        /* [room][coords] */
    double *values;        /* [room] */
    double *factor;        /* [room][room], by columns: Cholesky's L, in the lower half */
    double *alpha;         /* [room]: K^-1 values */
    double *row, *solved;  /* [room]: working space */
    double *inverse;       /* [room][room] of gp_loss() */
    double *lower, *upper; /* [coords + 2] */
};

/* ---- functions ---- */

double gp_matern(double s, double *slope)
{
    double r = sqrt(5 * s), fall = exp(-r);
    if (slope)
        *slope = -5.0 / 6 * (1 + r) * fall;
    return (1 + r + r * r / 3) * fall;
}

/* For z < -25: phi(z) / z^2 times a series in 1 / z^2. */
static double far_improvement(double z, double *slope)
{
    double q = 1 / (z * z);
    double h = 1 - q * (3 - q * (15 - q * (105 - q * (945 - q * 10395))));
    double tail = 1 - q * (1 - q * (3 - q * (15 - q * (105 - q * 945))));
    *slope = -z * tail / h;
    return -z * z / 2 - LOG_SQRT_2_PI - 2 * log(-z) + log(h);
}

double gp_log_improvement(double z, double *slope)
{
    double phi = exp(-z * z / 2 - LOG_SQRT_2_PI), below = erfc(-z * M_SQRT1_2) / 2;
    if (z < -25)
        return far_improvement(z, slope);
    if (z > -1) {
        double h = phi + z * below;
        *slope = below / h;
        return log(h);
    }
    double ratio = below / phi;
    *slope = ratio / (1 + z * ratio);
    return -z * z / 2 - LOG_SQRT_2_PI + log1p(z * ratio);
}

static double distance(const struct gp_model *m, const double x[], const double z[])
{
    double s = 0;
    for (int i = 0; i < m->reals; i++)
        s += m->weights[i] * (x[i] - z[i]) * (x[i] - z[i]);
    for (int i = m->reals; i < m->coords; i++)
        s += x[i] == z[i] ? 0 : m->weights[i];
    return s;
}

static const double *point_of(const struct gp_model *m, int i)
{
    return &m->points[(size_t)i * (size_t)m->coords];
}

static double *column(const struct gp_model *m, double *matrix, int j)
{
    return &matrix[(size_t)j * (size_t)m->room];
}

/* ---- building ---- */

static void set_parameters(struct gp_model *m, const double at[])
{
    memmove(m->at, at, ((size_t)m->coords + 2) * sizeof(double));
    for (int i = 0; i < m->coords; i++)
        m->weights[i] = exp(at[i]);
    m->scale = exp(at[m->coords]);
    m->noise = GP_LEAST_NOISE + exp(at[m->coords + 1]);
}

static struct gp_model *create(int reals, int words)
{
    struct gp_model *m = mem_alloc(sizeof(*m));
    size_t n = (size_t)(reals + words) + 2;
    m->reals = reals;
    m->coords = reals + words;
    m->at = mem_alloc(n * sizeof(double));
    m->weights = mem_alloc(n * sizeof(double));
    m->lower = mem_alloc(n * sizeof(double));
    m->upper = mem_alloc(n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        m->lower[i] = LEAST_LOG;
        m->upper[i] = MOST_LOG;
    }
    m->at[n - 1] = log(0.01);
    set_parameters(m, m->at);
    return m;
}

static void destroy(struct gp_model *m)
{
    if (!m)
        return;
    free(m->at);
    free(m->weights);
    free(m->lower);
    free(m->upper);
    free(m->points);
    free(m->values);
    free(m->factor);
    free(m->alpha);
    free(m->row);
    free(m->solved);
    free(m->inverse);
    free(m);
}

static void reserve(struct gp_model *m, int n)
{
    int room = m->room ? m->room : 32, old = m->room;
    if (n <= old)
        return;
    while (room < n)
        room *= 2;
    double *factor = mem_alloc((size_t)room * (size_t)room * sizeof(double));
    for (int j = 0; j < m->n; j++)
        memcpy(&factor[(size_t)j * (size_t)room], column(m, m->factor, j),
               (size_t)m->n * sizeof(double));
    free(m->factor);
    free(m->inverse);
    m->factor = factor;
    m->inverse = NULL;
    m->room = room;
    m->points = mem_resize(m->points, (size_t)room * (size_t)m->coords, sizeof(double));
    m->values = mem_resize(m->values, (size_t)room, sizeof(double));
    m->alpha = mem_resize(m->alpha, (size_t)room, sizeof(double));
    m->row = mem_resize(m->row, (size_t)room, sizeof(double));
    m->solved = mem_resize(m->solved, (size_t)room, sizeof(double));
}

/* The covariance of all points into the lower half; `slopes`: its derivatives by the
 * distance above that. */
static void covariance(const struct gp_model *m, double *matrix, bool slopes)
{
    for (int j = 0; j < m->n; j++) {
        double *c = column(m, matrix, j);
        c[j] = m->scale + m->noise;
        for (int i = j + 1; i < m->n; i++) {
            double slope;
            c[i] = m->scale * gp_matern(distance(m, point_of(m, i), point_of(m, j)),
                                        slopes ? &slope : NULL);
            if (slopes)
                column(m, matrix, i)[j] = m->scale * slope;
        }
    }
}

static bool factorize(struct gp_model *m)
{
    covariance(m, m->factor, false);
    return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', m->n, m->factor, m->room) == 0;
}

/* x := L^-1 x, or L^-T x */
static void solve(const struct gp_model *m, bool transposed, double x[])
{
    cblas_dtrsv(CblasColMajor, CblasLower, transposed ? CblasTrans : CblasNoTrans,
                CblasNonUnit, m->n, m->factor, m->room, x, 1);
}

static void cut(struct gp_model *m, int n)
{
    m->n = n < m->n ? n : m->n;
}

static void add_row(struct gp_model *m)
{
    const double *x = point_of(m, m->n);
    double left = m->scale + m->noise;
    for (int i = 0; i < m->n; i++)
        m->row[i] = m->scale * gp_matern(distance(m, x, point_of(m, i)), NULL);
    solve(m, false, m->row);
    for (int i = 0; i < m->n; i++) {
        column(m, m->factor, i)[m->n] = m->row[i];
        left -= m->row[i] * m->row[i];
    }
    column(m, m->factor, m->n)[m->n] = sqrt(fmax(left, LEAST_VARIANCE));
    m->n++;
}

static void add(struct gp_model *m, int n, const double points[])
{
    reserve(m, m->n + n);
    memcpy(&m->points[(size_t)m->n * (size_t)m->coords], points,
           (size_t)n * (size_t)m->coords * sizeof(double));
    if (n > 2 + m->n / 4) {
        m->n += n;
        if (factorize(m))
            return;
        n = m->n; /* row by row, as far as round-off lets it */
        m->n = 0;
    }
    while (n-- > 0)
        add_row(m);
}

static void tell(struct gp_model *m, const double values[])
{
    memcpy(m->alpha, values, (size_t)m->n * sizeof(double));
    solve(m, false, m->alpha);
    solve(m, true, m->alpha);
}

/* ---- fitting ---- */

/* Minus the log prior density, and its derivatives added: those of Optuna's GPSampler,
 * which keep lengths near that of the cube and the noise small. */
static double prior(const struct gp_model *m, double gradient[])
{
    double sum = 0, free_noise = m->noise - GP_LEAST_NOISE;
    for (int i = 0; i < m->coords; i++) {
        double w = m->weights[i];
        sum += 0.1 / w + 0.1 * w;
        gradient[i] += 0.1 * w - 0.1 / w;
    }
    sum += m->scale - log(m->scale);
    gradient[m->coords] += m->scale - 1;
    sum += 30 * m->noise - 0.1 * log(m->noise);
    gradient[m->coords + 1] += (30 - 0.1 / m->noise) * free_noise;
    return sum;
}

/* The derivatives of minus the log likelihood; `inverse` has K^-1 below its diagonal and
 * on it, and slopes above. */
static void likelihood_gradient(struct gp_model *m, double gradient[])
{
    double trace = 0, all = 0;
    for (int j = 0; j < m->n; j++) {
        const double *x = point_of(m, j), *c = column(m, m->inverse, j);
        trace += c[j] - m->alpha[j] * m->alpha[j];
        for (int i = j + 1; i < m->n; i++) {
            const double *z = point_of(m, i);
            double more =
                (c[i] - m->alpha[i] * m->alpha[j]) * column(m, m->inverse, i)[j];
            for (int k = 0; k < m->reals; k++)
                gradient[k] += more * m->weights[k] * (x[k] - z[k]) * (x[k] - z[k]);
            for (int k = m->reals; k < m->coords; k++)
                gradient[k] += x[k] == z[k] ? 0 : more * m->weights[k];
        }
    }
    /* K = scale C + noise I, so that tr(A scale C) = tr(A K) - noise tr(A), where
     * A = K^-1 - alpha alpha' and tr(A K) = n - alpha' values. */
    all = m->n;
    for (int i = 0; i < m->n; i++)
        all -= m->alpha[i] * m->values[i];
    gradient[m->coords] += (all - m->noise * trace) / 2;
    gradient[m->coords + 1] += trace / 2 * (m->noise - GP_LEAST_NOISE);
}

double gp_loss(struct gp_model *m, const double values[], const double at[],
               double gradient[])
{
    double sum = 0;
    int n = m->n;
    set_parameters(m, at);
    memset(gradient, 0, ((size_t)m->coords + 2) * sizeof(double));
    if (!m->inverse)
        m->inverse = mem_alloc((size_t)m->room * (size_t)m->room * sizeof(double));
    covariance(m, m->inverse, true);
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, m->inverse, m->room) != 0)
        return HUGE_VAL;
    memmove(m->values, values, (size_t)n * sizeof(double));
    memcpy(m->alpha, m->values, (size_t)n * sizeof(double));
    cblas_dtrsv(CblasColMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, m->inverse,
                m->room, m->alpha, 1);
    for (int i = 0; i < n; i++)
        sum += m->alpha[i] * m->alpha[i] / 2 + log(column(m, m->inverse, i)[i]);
    cblas_dtrsv(CblasColMajor, CblasLower, CblasTrans, CblasNonUnit, n, m->inverse,
                m->room, m->alpha, 1);
    LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'L', n, m->inverse, m->room);
    likelihood_gradient(m, gradient);
    return sum + prior(m, gradient);
}

struct fitting {
    struct gp_model *m;
    const double *values;
    double *best, least; /* NLopt's last point is not always its best */
    double *gradient;
};

static double loss(unsigned n, const double at[], double gradient[], void *ctx)
{
    struct fitting *f = ctx;
    double l = gp_loss(f->m, f->values, at, gradient ? gradient : f->gradient);
    if (l < f->least) {
        f->least = l;
        memcpy(f->best, at, n * sizeof(double));
    }
    return l;
}

static void descend(struct fitting *f, const double from[], int evaluations)
{
    unsigned n = (unsigned)f->m->coords + 2;
    nlopt_opt opt = nlopt_create(NLOPT_LD_LBFGS, n);
    double *at = mem_dup(from, n * sizeof(double)), l;
    nlopt_set_min_objective(opt, loss, f);
    nlopt_set_lower_bounds(opt, f->m->lower);
    nlopt_set_upper_bounds(opt, f->m->upper);
    nlopt_set_ftol_abs(opt, 1e-3);
    nlopt_set_maxeval(opt, evaluations);
    nlopt_optimize(opt, at, &l); /* whatever it says, the best of all points counts */
    nlopt_destroy(opt);
    free(at);
}

static double fit(struct gp_model *m, const double values[], int evaluations)
{
    size_t n = (size_t)m->coords + 2;
    double *space = mem_alloc(3 * n * sizeof(double));
    struct fitting f = {.m = m, .values = values, .best = space, .least = HUGE_VAL};
    double *from = space + n;
    f.gradient = space + 2 * n;
    memcpy(from, m->at, n * sizeof(double));
    memcpy(f.best, m->at, n * sizeof(double));
    descend(&f, from, evaluations);
    memset(from, 0, n * sizeof(double));
    from[n - 1] = log(0.01);
    descend(&f, from, evaluations);
    set_parameters(m, f.best);
    free(space);
    n = (size_t)m->n;
    if (!factorize(m)) {
        m->n = 0;
        while ((size_t)m->n < n)
            add_row(m);
    }
    tell(m, values);
    return f.least;
}

/* ---- asking ---- */

enum { BATCH = 256 };

static void predict(struct gp_model *m, int n, const double points[], double mean[],
                    double variance[])
{
    double *k = mem_alloc((size_t)BATCH * (size_t)m->n * sizeof(double));
    for (int from = 0; from < n; from += BATCH) {
        int many = n - from < BATCH ? n - from : BATCH;
        for (int p = 0; p < many; p++) {
            const double *x = &points[(size_t)(from + p) * (size_t)m->coords];
            double *c = &k[(size_t)p * (size_t)m->n];
            for (int i = 0; i < m->n; i++)
                c[i] = m->scale * gp_matern(distance(m, x, point_of(m, i)), NULL);
            mean[from + p] = cblas_ddot(m->n, c, 1, m->alpha, 1);
        }
        cblas_dtrsm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit,
                    m->n, many, 1, m->factor, m->room, k, m->n);
        for (int p = 0; p < many; p++) {
            const double *c = &k[(size_t)p * (size_t)m->n];
            variance[from + p] = m->scale - cblas_ddot(m->n, c, 1, c, 1);
        }
    }
    free(k);
}

static void promise(struct gp_model *m, int n, const double points[], double best,
                    double out[])
{
    double *variance = mem_alloc((size_t)n * sizeof(double)), slope;
    predict(m, n, points, out, variance);
    for (int i = 0; i < n; i++) {
        double sd = sqrt(fmax(variance[i], LEAST_VARIANCE));
        out[i] = log(sd) + gp_log_improvement((best - out[i]) / sd, &slope);
    }
    free(variance);
}

struct climbing {
    struct gp_model *m;
    const bool *free;
    double best;
    double *x;      /* [coords] */
    double *slopes; /* [n] */
    double *top, most;
};

static double height(unsigned n, const double at[], double gradient[], void *ctx)
{
    struct climbing *c = ctx;
    struct gp_model *m = c->m;
    double slope, by_mean, by_variance;
    for (int i = 0, k = 0; i < m->reals; i++)
        if (c->free[i])
            c->x[i] = at[k++];
    for (int i = 0; i < m->n; i++) {
        m->row[i] = m->scale * gp_matern(distance(m, c->x, point_of(m, i)), &slope);
        c->slopes[i] = m->scale * slope;
    }
    double mean = cblas_ddot(m->n, m->row, 1, m->alpha, 1);
    memcpy(m->solved, m->row, (size_t)m->n * sizeof(double));
    solve(m, false, m->solved);
    double variance = m->scale - cblas_ddot(m->n, m->solved, 1, m->solved, 1);
    bool flat = variance < LEAST_VARIANCE;
    double sd = sqrt(flat ? LEAST_VARIANCE : variance), z = (c->best - mean) / sd;
    double value = log(sd) + gp_log_improvement(z, &slope);
    if (value > c->most) {
        c->most = value;
        memcpy(c->top, at, n * sizeof(double));
    }
    if (!gradient)
        return value;
    solve(m, true, m->solved);
    by_mean = -slope / sd;
    by_variance = flat ? 0 : (1 - slope * z) / (2 * variance);
    for (int i = 0; i < m->n; i++) /* by the distance from point i */
        c->slopes[i] *= by_mean * m->alpha[i] - 2 * by_variance * m->solved[i];
    for (int k = 0, j = 0; k < m->reals; k++) {
        double sum = 0;
        if (!c->free[k])
            continue;
        for (int i = 0; i < m->n; i++)
            sum += c->slopes[i] * (c->x[k] - point_of(m, i)[k]);
        gradient[j++] = 2 * m->weights[k] * sum;
    }
    return value;
}

static double climb(struct gp_model *m, const bool free_ones[], const double low[],
                    const double high[], double best, double x[])
{
    size_t n = 0, room = (size_t)m->coords;
    double *space = mem_alloc((4 * room + (size_t)m->n) * sizeof(double)), *at = space;
    double *lower = at + 2 * room, *upper = at + 3 * room;
    struct climbing c = {
        .m = m, .free = free_ones, .best = best, .x = x, .most = -HUGE_VAL};
    c.top = at + room;
    c.slopes = at + 4 * room;
    for (int i = 0; i < m->reals; i++)
        if (free_ones[i]) {
            lower[n] = low[i];
            upper[n] = high[i];
            at[n++] = x[i];
        }
    memcpy(c.top, at, n * sizeof(double));
    if (n > 0) {
        nlopt_opt opt = nlopt_create(NLOPT_LD_LBFGS, (unsigned)n);
        double value;
        nlopt_set_max_objective(opt, height, &c);
        nlopt_set_lower_bounds(opt, lower);
        nlopt_set_upper_bounds(opt, upper);
        nlopt_set_ftol_abs(opt, 1e-4);
        nlopt_set_maxeval(opt, 40);
        nlopt_optimize(opt, at, &value);
        nlopt_destroy(opt);
        for (int i = 0, k = 0; i < m->reals; i++)
            if (free_ones[i])
                x[i] = c.top[k++];
    } else {
        promise(m, 1, x, best, &c.most);
    }
    free(space);
    return c.most;
}

__attribute__((visibility("default"))) const struct gp_ops rung_gp = {
    .version = PACKAGE_VERSION,
    .size = sizeof(struct gp_ops),
    .create = create,
    .destroy = destroy,
    .cut = cut,
    .add = add,
    .tell = tell,
    .fit = fit,
    .predict = predict,
    .promise = promise,
    .climb = climb,
};
