/* What a kernel does to one element, for the GPU and, compiled by a C compiler, for the
 * host, where tests hold it against the CPU device: the same operations in the same
 * order, and hence the same bits. (So nvcc is told not to fuse multiplications with
 * additions.) What sums over many elements at once is in the kernels. */
#ifndef GPU_ARITH_H
#define GPU_ARITH_H

#include "base/rng.h"
#include "gpu/device.h"

#include <math.h>

#ifdef __CUDACC__
#define ARITH static __host__ __device__ __forceinline__
#else
#define ARITH static inline
#endif

/* ---- activation ---- */

/* A NaN stays one. */
ARITH float arith_activate(bool relu, float z)
{
    return relu && z < 0 ? 0 : z;
}

/* Of y = act(z): the gradient with respect to z. */
ARITH float arith_activate_backward(bool relu, float y, float dy)
{
    return relu && y == 0 ? 0 : dy;
}

/* ---- optimiser steps of element i; formulas in device.h ---- */

ARITH void arith_sgd(const struct device_sgd *s, size_t i, float *w, const float *g,
                     float *v)
{
    float x = g[i] + s->weight_decay * w[i];

    if (!v) {
        w[i] -= s->lr * x;
        return;
    }
    v[i] = s->momentum * v[i] + x;
    w[i] -= s->lr * (s->nesterov ? x + s->momentum * v[i] : v[i]);
}

ARITH void arith_adam(const struct device_adam *s, size_t i, float *w, const float *g,
                      float *m, float *v)
{
    float x = g[i] + s->weight_decay * w[i];

    m[i] = s->beta1 * m[i] + (1 - s->beta1) * x;
    v[i] = s->beta2 * v[i] + (1 - s->beta2) * x * x;
    w[i] = s->keep * w[i] - s->step * m[i] / (s->scale * sqrtf(v[i]) + s->epsilon);
}

/* ---- dropout ---- */

/* Philox4x32-10 (Salmon et al. 2011, section 3.3 and table 2). */
ARITH void arith_philox(uint32_t c[4], uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53 * c[0], b = (uint64_t)0xCD9E8D57 * c[2];
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(b >> 32) ^ c1 ^ key0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c3 ^ key1;
        c[3] = (uint32_t)a;
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
}

#define ARITH_DRAWS 8 /* numbers that one draw is for */

/* What is dropped of numbers [8 * eighth, ...) of a row, counted in these rows, up to
 * its end. */
ARITH void arith_dropout(const struct device_dropout *d, size_t row, size_t eighth,
                         const float *x, float *y)
{
    uint32_t draw[4] = {(uint32_t)(d->row + row), (uint32_t)eighth, DROPOUT_DRAW,
                        RNG_TRAIN};
    float scale = (float)DROPOUT_ALL / (float)d->keep;
    size_t from = eighth * ARITH_DRAWS, at = row * d->cols + from;

    arith_philox(draw, (uint32_t)d->seed, (uint32_t)(d->seed >> 32));
    for (size_t i = 0; i < ARITH_DRAWS && from + i < d->cols; i++) {
        uint32_t bits = draw[i / 2] >> i % 2 * 16 & 0xffff;
        y[at + i] = x[at + i] * (bits < d->keep ? scale : 0);
    }
}

/* ---- gathering ---- */

/* Where number f of a moved sample, as it is stored, comes from; -1: from outside. */
ARITH int64_t arith_moved(struct image image, struct device_move m, size_t f)
{
    int64_t size = (int64_t)(image.h * image.w * image.c), w = (int64_t)image.w,
            c = (int64_t)image.c;
    int64_t at = (int64_t)f % size, y = at / (w * c) + m.dy, x = at / c % w;

    x = (m.flip ? w - 1 - x : x) + m.dx;
    if (y < 0 || y >= (int64_t)image.h || x < 0 || x >= w)
        return -1;
    return (int64_t)f - at + (y * w + x) * c + at % c;
}

/* out[r][f] of device_ops.gather(). */
ARITH float arith_gather(const struct device_gather *g, size_t r, size_t f)
{
    size_t each = g->features / g->planes;
    int64_t at = (int64_t)(g->planes > 1 ? f % g->planes * each + f / g->planes : f);
    const char *x = (const char *)g->x + g->index[r] * g->stride;

    if (g->moves)
        at = arith_moved(g->image, g->moves[r], (size_t)at);
    if (at < 0)
        return 0;
    float v = g->type == SAMPLE_U8 ? (float)((const uint8_t *)x)[at]
                                   : ((const float *)(const void *)x)[at];
    return (v - g->mean[at]) * g->scale[at];
}

/* ---- pooling ---- */

/* A window's places along one side that lie inside of an image of n. */
struct arith_span {
    size_t from, to;
};

ARITH struct arith_span arith_clip(struct window w, size_t at, size_t n)
{
    size_t start = at * w.stride, end = start + w.size;
    struct arith_span s;

    s.from = start < w.pad ? 0 : start - w.pad;
    s.to = end < n + w.pad ? end - w.pad : n;
    return s;
}

/* y[i] of max_pool(). */
ARITH float arith_max_pool(const struct device_slide *s, const float *x, size_t i)
{
    size_t c = s->out.c, ox = i / c % s->out.w, oy = i / c / s->out.w % s->out.h;
    size_t image = i / c / s->out.w / s->out.h * s->in.h;
    struct arith_span v = arith_clip(s->window, oy, s->in.h);
    struct arith_span h = arith_clip(s->window, ox, s->in.w);
    float most = x[((image + v.from) * s->in.w + h.from) * c + i % c];

    for (size_t r = v.from; r < v.to; r++)
        for (size_t k = h.from; k < h.to; k++) {
            float z = x[((image + r) * s->in.w + k) * c + i % c];
            most = z > most || z != z ? z : most;
        }
    return most;
}

/* Whether, of the window at (oy, ox) in an image, the first of the largest is at (r, k).
 * x and y point to the image's first number of the channel. */
ARITH bool arith_is_first(const struct device_slide *s, const float *x, float y,
                          size_t oy, size_t ox, size_t r, size_t k)
{
    struct arith_span v = arith_clip(s->window, oy, s->in.h);
    struct arith_span h = arith_clip(s->window, ox, s->in.w);

    for (size_t i = v.from; i < v.to; i++)
        for (size_t j = h.from; j < h.to; j++)
            if (!(x[(i * s->in.w + j) * s->in.c] < y))
                return i == r && j == k;
    return false; /* never: y is one of them */
}

/* dx[i] of max_pool_backward(): of each window that x[i] is in, in their order. */
ARITH float arith_max_pool_backward(const struct device_slide *s, const float *x,
                                    const float *y, const float *dy, size_t i)
{
    size_t c = s->in.c, k = i / c % s->in.w, r = i / c / s->in.w % s->in.h;
    size_t n = i / c / s->in.w / s->in.h;
    size_t size = s->window.size, stride = s->window.stride, pad = s->window.pad;
    /* Windows [a, b] have place p: a stride <= p + pad < a stride + size. */
    size_t top = r + pad < size ? 0 : (r + pad - size) / stride + 1;
    size_t left = k + pad < size ? 0 : (k + pad - size) / stride + 1;
    const float *image = x + n * s->in.h * s->in.w * c + i % c;
    float sum = 0;

    for (size_t oy = top; oy < s->out.h && oy * stride <= r + pad; oy++)
        for (size_t ox = left; ox < s->out.w && ox * stride <= k + pad; ox++) {
            size_t at = ((n * s->out.h + oy) * s->out.w + ox) * c + i % c;
            if (arith_is_first(s, image, y[at], oy, ox, r, k))
                sum += dy[at];
        }
    return sum;
}

/* ---- mean and variance ---- */

struct arith_moments {
    double mean, squares; /* the sum of squared differences from it */
};

/* Takes n more numbers to those of `before` (Chan et al. 1979, equation 2.1). n 0 is
 * fine. */
ARITH void arith_merge(double before, struct arith_moments *m, double n,
                       struct arith_moments more)
{
    if (n == 0)
        return;
    double share = n / (before + n), away = more.mean - m->mean;

    m->mean += away * share;
    m->squares += more.squares + away * away * before * share;
}

/* ---- the largest of a row ---- */

/* A candidate beats another with a larger number, or the same and a lower place; a NaN
 * beats none. */
ARITH bool arith_beats(float a, uint32_t at_a, float b, uint32_t at_b)
{
    return a > b || (a == b && at_a < at_b);
}

#endif
