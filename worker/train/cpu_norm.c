/* Means over rows of channels, and what is made of them. Sums are taken in float over a
 * few rows, which vector instructions do channel by channel, and of these in double: in
 * a fixed order, and exact to float's rounding however many rows there are. */
#include "worker/train/cpu_private.h"

#include <math.h>
#include <string.h>

#define SUM_ROWS ((size_t)32) /* in float */

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

WIDE static void add_squares(size_t n, size_t c, const float *restrict x,
                             const float *restrict mean, float *restrict sum)
{
    for (size_t r = 0; r < n; r++, x += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++)
            sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
    }
}

/* The sums of dy and of dy (x - mean). */
WIDE static void add_products(size_t n, size_t c, const float *restrict x,
                              const float *restrict dy, const float *restrict mean,
                              float *restrict sum, float *restrict product)
{
    for (size_t r = 0; r < n; r++, x += c, dy += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++) {
            sum[i] += dy[i];
            product[i] += dy[i] * (x[i] - mean[i]);
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

/* Two sums of each channel, and the parts of them that are in float. */
struct sums {
    double *total[2];
    float *part[2];
};

/* Zeros. */
static bool sums_make(struct cpu *cpu, size_t c, struct sums *s)
{
    size_t bytes = 2 * c * (sizeof(double) + sizeof(float));
    double *space = cpu_space(cpu, bytes);

    if (!space)
        return false;
    memset(space, 0, bytes);
    for (size_t i = 0; i < 2; i++) {
        s->total[i] = space + i * c;
        s->part[i] = (float *)(void *)(space + 2 * c) + i * c;
    }
    return true;
}

static size_t rows_at(size_t start, size_t n)
{
    return n - start < SUM_ROWS ? n - start : SUM_ROWS;
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

static void normalise(const struct device_batch_norm *b, const float *mean,
                      const float *scale, const float *x, float *y)
{
    scale_rows(b->n, b->channels, x, mean, scale, b->bias,
               b->activation == ACTIVATION_RELU ? 0 : -INFINITY, y);
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

void cpu_batch_norm(struct device *d, const struct device_batch_norm *b, const float *x,
                    float *y)
{
    size_t c = b->channels;
    double n = (double)b->n;
    struct sums s;

    if (!sums_make((struct cpu *)d, c, &s))
        return;
    for (size_t r = 0; r < b->n; r += SUM_ROWS) {
        add_rows(rows_at(r, b->n), c, x + r * c, s.part[0]);
        add_and_clear(c, s.part[0], s.total[0]);
    }
    for (size_t i = 0; i < c; i++)
        b->mean[i] = (float)(s.total[0][i] / n);
    for (size_t r = 0; r < b->n; r += SUM_ROWS) {
        add_squares(rows_at(r, b->n), c, x + r * c, b->mean, s.part[1]);
        add_and_clear(c, s.part[1], s.total[1]);
    }
    float *scale = s.part[0]; /* which is free again */
    for (size_t i = 0; i < c; i++) {
        double square = s.total[1][i];
        b->rstd[i] = rstd_of(square / n, b->epsilon);
        scale[i] = b->weight[i] * b->rstd[i];
        move(&b->running_mean[i], (double)b->mean[i], b->momentum);
        move(&b->running_var[i], b->n > 1 ? square / (n - 1) : square, b->momentum);
    }
    normalise(b, b->mean, scale, x, y);
}

void cpu_batch_norm_running(struct device *d, const struct device_batch_norm *b,
                            const float *x, float *y)
{
    struct cpu *cpu = (struct cpu *)d;
    float *scale = cpu_space(cpu, b->channels * sizeof(*scale));

    if (!scale)
        return;
    for (size_t i = 0; i < b->channels; i++)
        scale[i] = b->weight[i] * rstd_of((double)b->running_var[i], b->epsilon);
    normalise(b, b->running_mean, scale, x, y);
}

/* dx = scale (dy - mean_dy - (x - mean) slope) */
WIDE static void give_rows(size_t n, size_t c, const float *restrict x,
                           const float *restrict dy, const float *restrict mean,
                           const float *restrict scale, const float *restrict mean_dy,
                           const float *restrict slope, float *restrict dx)
{
    for (size_t r = 0; r < n; r++, x += c, dy += c, dx += c) {
#pragma omp simd
        for (size_t i = 0; i < c; i++)
            dx[i] = scale[i] * (dy[i] - mean_dy[i] - (x[i] - mean[i]) * slope[i]);
    }
}

void cpu_batch_norm_backward(struct device *d, const struct device_batch_norm *b,
                             const float *x, const float *dy, float *dweight,
                             float *dbias, float *dx)
{
    size_t c = b->channels;
    double n = (double)b->n;
    struct sums s;

    if (!sums_make((struct cpu *)d, c, &s))
        return;
    for (size_t r = 0; r < b->n; r += SUM_ROWS) {
        add_products(rows_at(r, b->n), c, x + r * c, dy + r * c, b->mean, s.part[0],
                     s.part[1]);
        add_and_clear(c, s.part[0], s.total[0]);
        add_and_clear(c, s.part[1], s.total[1]);
    }
    for (size_t i = 0; i < c; i++) {
        dbias[i] = (float)s.total[0][i];
        dweight[i] = (float)(s.total[1][i] * (double)b->rstd[i]);
    }
    if (!dx)
        return;
    float *scale = cpu_space((struct cpu *)d, 3 * c * sizeof(*scale));
    float *mean_dy = scale + c, *slope = mean_dy + c; /* where the sums were */
    for (size_t i = 0; i < c; i++) {
        scale[i] = b->weight[i] * b->rstd[i];
        mean_dy[i] = (float)((double)dbias[i] / n);
        slope[i] = (float)((double)dweight[i] * (double)b->rstd[i] / n);
    }
    give_rows(b->n, c, x, dy, b->mean, scale, mean_dy, slope, dx);
}

/* ---- the mean over all places of an image ---- */

WIDE static void divide(size_t n, float by, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] /= by;
}

WIDE static void divide_to(size_t n, float by, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / by;
}

void cpu_global_avg_pool(struct device *d, size_t rows, struct image in, const float *x,
                         float *y)
{
    size_t places = in.h * in.w;

    (void)d;
    memset(y, 0, rows * in.c * sizeof(*y));
    for (size_t r = 0; r < rows; r++, x += places * in.c, y += in.c) {
        add_rows(places, in.c, x, y);
        divide(in.c, (float)places, y);
    }
}

void cpu_global_avg_pool_backward(struct device *d, size_t rows, struct image in,
                                  const float *dy, float *dx)
{
    size_t places = in.h * in.w;

    (void)d;
    for (size_t r = 0; r < rows; r++, dy += in.c)
        for (size_t p = 0; p < places; p++, dx += in.c)
            divide_to(in.c, (float)places, dy, dx);
}
