/* Mean and deviation of the training samples. Bytes are summed as integers, exactly and
 * fast; floats in two passes, so that a large mean costs no digits. */
#include "worker/train/data.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Feature f belongs to group f / inner % groups, and a group shares its constants. */
struct grouping {
    size_t inner, groups;
};

static struct grouping grouping_of(const struct samples *s)
{
    bool planar;
    struct image i = samples_image(s, &planar);

    if (s->ndim == 1 || s->ndim == 3)
        return (struct grouping){planar ? i.h * i.w : 1, i.c};
    return (struct grouping){s->features, 1};
}

/* So many squares of bytes at least fit a 32-bit sum. */
#define BYTE_ROWS 65536

static const void *row_at(const struct part *p, size_t i)
{
    return (const char *)p->samples->x + p->index[i] * p->samples->stride;
}

static void add_bytes(size_t n, const uint8_t *restrict x, uint32_t *restrict sum,
                      uint32_t *restrict squares)
{
#pragma omp simd
    for (size_t f = 0; f < n; f++) {
        sum[f] += x[f];
        squares[f] += (uint32_t)x[f] * x[f];
    }
}

/* Adds up each feature and its square. */
static void sum_bytes(const struct part *p, double *sum, double *squares)
{
    size_t n = p->samples->features;
    uint32_t *s = mem_resize(NULL, n, sizeof(*s)), *q = mem_resize(NULL, n, sizeof(*q));

    for (size_t i = 0; i < p->n; i++) {
        if (i % BYTE_ROWS == 0) {
            memset(s, 0, n * sizeof(*s));
            memset(q, 0, n * sizeof(*q));
        }
        add_bytes(n, row_at(p, i), s, q);
        if (i % BYTE_ROWS != BYTE_ROWS - 1 && i + 1 != p->n)
            continue;
        for (size_t f = 0; f < n; f++) {
            sum[f] += s[f];
            squares[f] += q[f];
        }
    }
    free(s);
    free(q);
}

/* The mean over a group and all samples, in the place of each of its features. */
static void spread(struct grouping g, size_t n, size_t samples, double *v)
{
    double *total = mem_alloc(g.groups * sizeof(*total));
    double count = (double)samples * (double)(n / g.groups);

    for (size_t f = 0; f < n; f++)
        total[f / g.inner % g.groups] += v[f];
    for (size_t f = 0; f < n; f++)
        v[f] = total[f / g.inner % g.groups] / count;
    free(total);
}

static void measure_bytes(const struct part *p, struct grouping g, double *mean,
                          double *variance)
{
    size_t n = p->samples->features;

    sum_bytes(p, mean, variance);
    spread(g, n, p->n, mean);
    spread(g, n, p->n, variance);
    for (size_t f = 0; f < n; f++)
        variance[f] -= mean[f] * mean[f];
}

static void measure_floats(const struct part *p, struct grouping g, double *mean,
                           double *variance)
{
    size_t n = p->samples->features;

    for (size_t i = 0; i < p->n; i++) {
        const float *x = row_at(p, i);
        for (size_t f = 0; f < n; f++)
            mean[f] += (double)x[f];
    }
    spread(g, n, p->n, mean);
    for (size_t i = 0; i < p->n; i++) {
        const float *x = row_at(p, i);
        for (size_t f = 0; f < n; f++)
            variance[f] += ((double)x[f] - mean[f]) * ((double)x[f] - mean[f]);
    }
    spread(g, n, p->n, variance);
}

void data_measure(struct data *d)
{
    const struct part *p = &d->training;
    size_t n = p->samples->features;
    double *mean = mem_alloc(n * sizeof(*mean)),
           *variance = mem_alloc(n * sizeof(*variance));
    struct grouping g = grouping_of(p->samples);

    if (p->samples->type == SAMPLE_U8)
        measure_bytes(p, g, mean, variance);
    else
        measure_floats(p, g, mean, variance);
    for (size_t f = 0; f < n; f++) {
        double deviation = variance[f] > 0 ? sqrt(variance[f]) : 0;
        /* Rounding leaves a constant feature a trace of deviation. */
        bool varies = deviation > 1e-7 * fabs(mean[f]);
        d->mean[f] = (float)mean[f];
        d->scale[f] = varies ? (float)(1 / deviation) : 1;
    }
    free(mean);
    free(variance);
}
