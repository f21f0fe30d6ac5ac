/* What a kernel does to one element, for the GPU and, compiled by a C compiler, for the
 * host, where tests hold it against the CPU device: the same operations in the same
 * order, and hence the same bits. (So nvcc is told not to fuse multiplications with
 * additions.) What sums over many elements at once is in the kernels. */
#ifndef GPU_ARITH_H
#define GPU_ARITH_H

#include "base/rng.h"
#include "gpu/device.h"

#include <math.h>

#ifdef __cplusplus
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define ARITH static __host__ __device__ __forceinline__
#else
#define ARITH static inline
#endif

/* ---- activations, of each type ---- */

/* Functions that read arrays of them are of arith_number: on the GPU of each type, and on
 * the host of fp32. What is computed is fp32. */

ARITH float arith_widen(float x)
{
    return x;
}

#ifdef __cplusplus
ARITH float arith_widen(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

ARITH float arith_widen(__half x)
{
    return __half2float(x);
}

ARITH void arith_narrow(float x, float *y)
{
    *y = x;
}

ARITH void arith_narrow(float x, __nv_bfloat16 *y)
{
    *y = __float2bfloat16_rn(x);
}

ARITH void arith_narrow(float x, __half *y)
{
    *y = __float2half_rn(x);
}

#define ARITH_OF template <typename arith_number> ARITH
#else
typedef float arith_number;
#define ARITH_OF ARITH
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

/* What is dropped of numbers [8 * eighth, ...) of a row, counted in these rows: x
 * becomes y. */
ARITH void arith_dropout(const struct device_dropout *d, size_t row, size_t eighth,
                         float x[ARITH_DRAWS])
{
    uint32_t draw[4] = {(uint32_t)(d->row + row), (uint32_t)eighth, DROPOUT_DRAW,
                        RNG_TRAIN};
    float scale = (float)DROPOUT_ALL / (float)d->keep;

    arith_philox(draw, (uint32_t)d->seed, (uint32_t)(d->seed >> 32));
    for (size_t i = 0; i < ARITH_DRAWS; i++) {
        uint32_t bits = draw[i / 2] >> i % 2 * 16 & 0xffff;
        x[i] *= bits < d->keep ? scale : 0;
    }
}

/* ---- gathering ---- */

/* Where number f of a moved sample, as it is stored, comes from; -1: from outside. */
ARITH int32_t arith_moved(struct image image, struct device_move m, uint32_t f)
{
    uint32_t w = (uint32_t)image.w, c = (uint32_t)image.c,
             size = (uint32_t)image.h * w * c;
    uint32_t at = f % size, place = at / c, row = place / w, col = place % w;
    int32_t y = (int32_t)row + m.dy, x = (int32_t)(m.flip ? w - 1 - col : col) + m.dx;

    if (y < 0 || y >= (int32_t)image.h || x < 0 || x >= (int32_t)w)
        return -1;
    return (int32_t)(f - at + ((uint32_t)y * w + (uint32_t)x) * c + at % c);
}

/* out[r][f] of device_ops.gather(). */
ARITH float arith_gather(const struct device_gather *g, uint32_t r, uint32_t f)
{
    uint32_t planes = (uint32_t)g->planes, features = (uint32_t)g->features;
    int32_t at =
        (int32_t)(planes > 1 ? f % planes * (features / planes) + f / planes : f);
    const char *x = (const char *)g->x + g->index[r] * g->stride;

    if (g->moves)
        at = arith_moved(g->image, g->moves[r], (uint32_t)at);
    if (at < 0)
        return 0;
    float v = g->type == SAMPLE_U8 ? (float)((const uint8_t *)x)[at]
                                   : ((const float *)(const void *)x)[at];
    return (v - g->mean[at]) * g->scale[at];
}

/* ---- pooling ---- */

/* A window's places along one side that lie inside of an image of n. */
struct arith_span {
    uint32_t from, to;
};

ARITH struct arith_span arith_clip(struct window w, uint32_t at, size_t n)
{
    uint32_t start = at * (uint32_t)w.stride, end = start + (uint32_t)w.size,
             pad = (uint32_t)w.pad, size = (uint32_t)n;
    struct arith_span s;

    s.from = start < pad ? 0 : start - pad;
    s.to = end < size + pad ? end - pad : size;
    return s;
}

ARITH size_t arith_size(struct image i)
{
    return i.h * i.w * i.c;
}

/* Where element i of images is. */
struct arith_place {
    uint32_t image, row, col, channel;
};

ARITH struct arith_place arith_place(struct image in, uint32_t i)
{
    uint32_t w = (uint32_t)in.w, c = (uint32_t)in.c, place = i / c, row = place / w;
    struct arith_place p;

    p.image = row / (uint32_t)in.h;
    p.row = row - p.image * (uint32_t)in.h;
    p.col = place - row * w;
    p.channel = i - place * c;
    return p;
}

/* y[i] of max_pool(). */
ARITH_OF float arith_max_pool(const struct device_slide *s, const arith_number *x,
                              uint32_t i)
{
    struct arith_place p = arith_place(s->out, i);
    struct arith_span v = arith_clip(s->window, p.row, s->in.h);
    struct arith_span h = arith_clip(s->window, p.col, s->in.w);
    size_t c = s->in.c;
    const arith_number *image = x + p.image * arith_size(s->in) + p.channel;
    float most = arith_widen(image[(v.from * s->in.w + h.from) * c]);

    for (uint32_t r = v.from; r < v.to; r++)
        for (uint32_t k = h.from; k < h.to; k++) {
            float z = arith_widen(image[(r * s->in.w + k) * c]);
            most = z > most || z != z ? z : most;
        }
    return most;
}

/* Whether, of the window at (oy, ox) in an image, the first of the largest is at (r, k).
 * x and y point to the image's first number of the channel. */
ARITH_OF bool arith_is_first(const struct device_slide *s, const arith_number *x, float y,
                             uint32_t oy, uint32_t ox, uint32_t r, uint32_t k)
{
    struct arith_span v = arith_clip(s->window, oy, s->in.h);
    struct arith_span h = arith_clip(s->window, ox, s->in.w);

    for (uint32_t i = v.from; i < v.to; i++)
        for (uint32_t j = h.from; j < h.to; j++)
            if (!(arith_widen(x[(i * s->in.w + j) * s->in.c]) < y))
                return i == r && j == k;
    return false; /* never: y is one of them */
}

/* The first window that has place p: it begins at a stride <= p + pad, and so do those
 * behind it, and ends behind that. */
ARITH uint32_t arith_first_window(struct window w, uint32_t p)
{
    uint32_t at = p + (uint32_t)w.pad, size = (uint32_t)w.size;

    return at < size ? 0 : (at - size) / (uint32_t)w.stride + 1;
}

/* dx[i] of max_pool_backward(): of each window that x[i] is in, in their order. */
ARITH_OF float arith_max_pool_backward(const struct device_slide *s,
                                       const arith_number *x, const arith_number *y,
                                       const arith_number *dy, uint32_t i)
{
    struct arith_place p = arith_place(s->in, i);
    uint32_t stride = (uint32_t)s->window.stride, pad = (uint32_t)s->window.pad;
    uint32_t top = arith_first_window(s->window, p.row),
             left = arith_first_window(s->window, p.col);
    const arith_number *image = x + p.image * arith_size(s->in) + p.channel;
    size_t out = p.image * arith_size(s->out) + p.channel;
    float sum = 0;

    for (uint32_t oy = top; oy < s->out.h && oy * stride <= p.row + pad; oy++)
        for (uint32_t ox = left; ox < s->out.w && ox * stride <= p.col + pad; ox++) {
            size_t at = out + (oy * s->out.w + ox) * s->out.c;
            if (arith_is_first(s, image, arith_widen(y[at]), oy, ox, p.row, p.col))
                sum += arith_widen(dy[at]);
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
