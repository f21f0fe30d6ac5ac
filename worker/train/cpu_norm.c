/* Means over rows of channels, and what is made of them. Sums are taken in float over a
 * few rows, which vector instructions do channel by channel, and of these in double: in
 * a fixed order, and exact to float's rounding however many rows there are. */
#include "worker/train/cpu_private.h"

#include <math.h>
#include <string.h>

#define BLOCK ((size_t)32) /* rows summed in float */

/* ---- sums over rows of [n][c] ---- */

WIDE static void add_rows(size_t n, size_t c, const float *restrict x,
                          float *restrict sum)
{
    for (size_t r = 0; r < n; r++, x += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++)
            sum[i] += x[i];
    }
}

/* The sum of squares of x - mean. */
WIDE static void add_squares(size_t n, size_t c, const float *restrict x,
                             const float *restrict mean, float *restrict sum)
{
    for (size_t r = 0; r < n; r++, x += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++)
            sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
    }
}

WIDE static void divide(size_t n, float by, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] /= by;
}

/* Two sums of each channel, [c] each, and the parts of them that are in float. */
struct sums {
    double *total[2];
    float *part[2];
};

static size_t sums_bytes(size_t c)
{
    return 2 * c * (sizeof(double) + sizeof(float));
}

/* Zeros, of one piece of several. */
static struct sums sums_at(void *space, size_t piece, size_t c)
{
    double *p = (double *)(void *)((char *)space + piece * sums_bytes(c));
    struct sums s = {{p, p + c}, {(float *)(void *)(p + 2 * c), NULL}};

    s.part[1] = s.part[0] + c;
    memset(p, 0, sums_bytes(c));
    return s;
}

static size_t rows_at(size_t start, size_t n)
{
    return n - start < BLOCK ? n - start : BLOCK;
}

/* ---- mean and variance ---- */

/* Takes n more rows, with these means and sums of squared differences from them, to
 * those of `before` rows (Chan et al. 1979, equation 2.1). */
WIDE static void merge(size_t c, double before, double n, const double *restrict mean_n,
                       const double *restrict squares_n, double *restrict mean,
                       double *restrict squares)
{
    double share = n / (before + n), both = before * share;

#pragma omp simd
    for (size_t i = 0; i < c; i++) {
        double away = mean_n[i] - mean[i];
        mean[i] += away * share;
        squares[i] += squares_n[i] + away * away * both;
    }
}

/* The same from float, and back to zeros. */
WIDE static void merge_part(size_t c, double before, double n, float *restrict mean_n,
                            float *restrict squares_n, double *restrict mean,
                            double *restrict squares)
{
    double share = n / (before + n), both = before * share;

#pragma omp simd
    for (size_t i = 0; i < c; i++) {
        double away = (double)mean_n[i] - mean[i];
        mean[i] += away * share;
        squares[i] += (double)squares_n[i] + away * away * both;
        mean_n[i] = squares_n[i] = 0;
    }
}

/* What the threads of a batch normalisation work on. */
struct norm {
    const struct device_batch_norm *b;
    const float *x, *dy;
    float *to;
    void *space; /* sums of each piece */
    /* [channels] each */
    const float *mean, *scale, *mean_dy, *slope;
};

/* Means and sums of squared differences from them, of the rows of a piece. A block of
 * them is still in the cache when its mean is known. */
static void measure_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct norm *n = arg;
    size_t c = n->b->channels, rows;
    struct sums s = sums_at(n->space, piece, c);

    for (size_t r = from; r < to; r += rows) {
        const float *x = n->x + r * c;
        rows = rows_at(r, to);
        add_rows(rows, c, x, s.part[0]);
        divide(c, (float)rows, s.part[0]);
        add_squares(rows, c, x, s.part[0], s.part[1]);
        merge_part(c, (double)(r - from), (double)rows, s.part[0], s.part[1], s.total[0],
                   s.total[1]);
    }
}

/* ---- batch normalisation ---- */

/* y = act((x - mean) scale + bias). Written so that a NaN stays one. */
WIDE static void scale_rows(size_t n, size_t c, const float *restrict x,
                            const float *restrict mean, const float *restrict scale,
                            const float *restrict bias, float least, float *restrict y)
{
    for (size_t r = 0; r < n; r++, x += c, y += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++) {
            float z = (x[i] - mean[i]) * scale[i] + bias[i];
            y[i] = z < least ? least : z;
        }
    }
}

/* What y is at least. */
static float least_of(const struct device_batch_norm *b)
{
    return b->activation == ACTIVATION_RELU ? 0 : -INFINITY;
}

static void scale_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct norm *n = arg;
    size_t c = n->b->channels;

    (void)piece;
    scale_rows(to - from, c, n->x + from * c, n->mean, n->scale, n->b->bias,
               least_of(n->b), n->to + from * c);
}

static float rstd_of(double variance, float epsilon)
{
    return (float)(1 / sqrt(variance + (double)epsilon));
}

/* By the share of the way that `momentum` is. */
static void move(float *running, double to, float momentum)
{
    *running = (float)((1 - (double)momentum) * (double)*running + (double)momentum * to);
}

/* Room for the sums of all pieces, and for as many floats more. */
static void *make_space(struct cpu *cpu, const struct device_batch_norm *b, size_t floats)
{
    size_t pieces = cpu_pieces(cpu, b->n, b->channels);

    return cpu_space(cpu, pieces * sums_bytes(b->channels) + floats * sizeof(float));
}

/* Behind the sums. */
static float *floats_at(const struct cpu *cpu, const struct norm *n)
{
    size_t pieces = cpu_pieces(cpu, n->b->n, n->b->channels);

    return (float *)(void *)((char *)n->space + pieces * sums_bytes(n->b->channels));
}

static double *total_at(const struct norm *n, size_t piece, size_t which)
{
    size_t c = n->b->channels;

    return (double *)(void *)((char *)n->space + piece * sums_bytes(c)) + which * c;
}

void cpu_batch_norm(struct device *d, const struct device_batch_norm *b, const void *x,
                    void *y)
{
    struct cpu *cpu = (struct cpu *)d;
    size_t c = b->channels, pieces = cpu_pieces(cpu, b->n, c);
    struct norm n = {b, x, NULL, y, make_space(cpu, b, c), b->mean, NULL, NULL, NULL};
    double rows = (double)b->n;

    if (!n.space)
        return;
    cpu_parallel(cpu, b->n, c, measure_piece, &n);
    double *mean = total_at(&n, 0, 0), *squares = total_at(&n, 0, 1);
    for (size_t k = 1; k < pieces; k++) {
        size_t from = b->n * k / pieces, to = b->n * (k + 1) / pieces;
        merge(c, (double)from, (double)(to - from), total_at(&n, k, 0),
              total_at(&n, k, 1), mean, squares);
    }
    float *scale = floats_at(cpu, &n);
    for (size_t i = 0; i < c; i++) {
        b->mean[i] = (float)mean[i];
        b->rstd[i] = rstd_of(squares[i] / rows, b->epsilon);
        scale[i] = b->weight[i] * b->rstd[i];
        move(&b->running_mean[i], mean[i], b->momentum);
        move(&b->running_var[i], b->n > 1 ? squares[i] / (rows - 1) : squares[i],
             b->momentum);
    }
    n.scale = scale;
    cpu_parallel(cpu, b->n, c, scale_piece, &n);
}

void cpu_batch_norm_running(struct device *d, const struct device_batch_norm *b,
                            const void *x, void *y)
{
    struct cpu *cpu = (struct cpu *)d;
    float *scale = cpu_space(cpu, b->channels * sizeof(*scale));
    struct norm n = {b, x, NULL, y, NULL, b->running_mean, scale, NULL, NULL};

    if (!scale)
        return;
    for (size_t i = 0; i < b->channels; i++)
        scale[i] = b->weight[i] * rstd_of((double)b->running_var[i], b->epsilon);
    cpu_parallel(cpu, b->n, b->channels, scale_piece, &n);
}

/* ---- its backward ---- */

/* The sums of g and of g (x - mean), g being dy where y is above `least`, which is
 * found as it was in forward, else 0. */
WIDE static void add_products(size_t n, size_t c, const float *restrict x,
                              const float *restrict dy, const float *restrict mean,
                              const float *restrict scale, const float *restrict bias,
                              float least, float *restrict sum, float *restrict product)
{
    for (size_t r = 0; r < n; r++, x += c, dy += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++) {
            float away = x[i] - mean[i];
            float g = away * scale[i] + bias[i] <= least ? 0 : dy[i];
            sum[i] += g;
            product[i] += g * away;
        }
    }
}

WIDE static void add_and_clear(size_t c, float *restrict part, double *restrict total)
{
#pragma omp simd
    for (size_t i = 0; i < c; i++) {
        total[i] += (double)part[i];
        part[i] = 0;
    }
}

static void products_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct norm *n = arg;
    size_t c = n->b->channels;
    struct sums s = sums_at(n->space, piece, c);

    for (size_t r = from; r < to; r += BLOCK) {
        add_products(rows_at(r, to), c, n->x + r * c, n->dy + r * c, n->mean, n->scale,
                     n->b->bias, least_of(n->b), s.part[0], s.part[1]);
        add_and_clear(c, s.part[0], s.total[0]);
        add_and_clear(c, s.part[1], s.total[1]);
    }
}

/* dx = scale (g - mean_dy - (x - mean) slope) */
WIDE static void give_rows(size_t n, size_t c, const float *restrict x,
                           const float *restrict dy, const float *restrict mean,
                           const float *restrict scale, const float *restrict bias,
                           float least, const float *restrict mean_dy,
                           const float *restrict slope, float *restrict dx)
{
    for (size_t r = 0; r < n; r++, x += c, dy += c, dx += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++) {
            float away = x[i] - mean[i];
            float g = away * scale[i] + bias[i] <= least ? 0 : dy[i];
            dx[i] = scale[i] * (g - mean_dy[i] - away * slope[i]);
        }
    }
}

static void give_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct norm *n = arg;
    size_t c = n->b->channels;

    (void)piece;
    give_rows(to - from, c, n->x + from * c, n->dy + from * c, n->mean, n->scale,
              n->b->bias, least_of(n->b), n->mean_dy, n->slope, n->to + from * c);
}

void cpu_batch_norm_backward(struct device *d, const struct device_batch_norm *b,
                             const void *x, const void *dy, float *dweight, float *dbias,
                             void *dx)
{
    struct cpu *cpu = (struct cpu *)d;
    size_t c = b->channels, pieces = cpu_pieces(cpu, b->n, c);
    struct norm n = {b, x, dy, dx, make_space(cpu, b, 3 * c), b->mean, NULL, NULL, NULL};
    double rows = (double)b->n;

    if (!n.space)
        return;
    float *scale = floats_at(cpu, &n), *mean_dy = scale + c, *slope = mean_dy + c;
    for (size_t i = 0; i < c; i++)
        scale[i] = b->weight[i] * b->rstd[i];
    n.scale = scale;
    cpu_parallel(cpu, b->n, c, products_piece, &n);
    for (size_t i = 0; i < c; i++) {
        double sum = 0, product = 0;
        for (size_t k = 0; k < pieces; k++) {
            sum += total_at(&n, k, 0)[i];
            product += total_at(&n, k, 1)[i];
        }
        dbias[i] = (float)sum;
        dweight[i] = (float)(product * (double)b->rstd[i]);
        mean_dy[i] = (float)(sum / rows);
        slope[i] = (float)(product * (double)b->rstd[i] * (double)b->rstd[i] / rows);
    }
    n.mean_dy = mean_dy;
    n.slope = slope;
    if (dx)
        cpu_parallel(cpu, b->n, c, give_piece, &n);
}

/* ---- the mean over all places of an image ---- */

WIDE static void divide_to(size_t n, float by, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / by;
}

/* Images of so many places; the result is y, or in backward dx. */
struct average {
    size_t places, c;
    const float *x;
    float *y;
};

static void average_images(void *arg, size_t piece, size_t from, size_t to)
{
    const struct average *a = arg;
    float *y = a->y + from * a->c;

    (void)piece;
    memset(y, 0, (to - from) * a->c * sizeof(*y));
    for (size_t r = from; r < to; r++, y += a->c) {
        add_rows(a->places, a->c, a->x + r * a->places * a->c, y);
        divide(a->c, (float)a->places, y);
    }
}

static void spread_images(void *arg, size_t piece, size_t from, size_t to)
{
    const struct average *a = arg;
    float *dx = a->y + from * a->places * a->c;

    (void)piece;
    for (size_t r = from; r < to; r++)
        for (size_t p = 0; p < a->places; p++, dx += a->c)
            divide_to(a->c, (float)a->places, a->x + r * a->c, dx);
}

void cpu_global_avg_pool(struct device *d, size_t rows, struct image in, const void *x,
                         void *y)
{
    struct average a = {in.h * in.w, in.c, x, y};

    cpu_parallel((struct cpu *)d, rows, image_size(in), average_images, &a);
}

void cpu_global_avg_pool_backward(struct device *d, size_t rows, struct image in,
                                  const void *dy, void *dx)
{
    struct average a = {in.h * in.w, in.c, dy, dx};

    cpu_parallel((struct cpu *)d, rows, image_size(in), spread_images, &a);
}
