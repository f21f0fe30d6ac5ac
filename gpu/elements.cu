/* Kernels in which no element depends on another. */
#include "gpu/launch.cuh"

/* ---- activations ---- */

template <typename T, typename U>
static cudaError_t convert(cudaStream_t s, size_t n, const T *x, U *y)
{
    return each_pack(s, n, [=] __device__(size_t i, int m) {
        float v[PACK];
        load(x + i, m, v);
        store(y + i, m, v);
    });
}

template <typename T>
static cudaError_t convert_to(cudaStream_t s, enum kernel_type from, size_t n,
                              const void *x, void *y)
{
    if (from == KERNEL_FP32)
        return convert(s, n, (const float *)x, (T *)y);
    return from == KERNEL_BF16 ? convert(s, n, (const __nv_bfloat16 *)x, (T *)y)
                               : convert(s, n, (const __half *)x, (T *)y);
}

cudaError_t kernel_convert(cudaStream_t s, enum kernel_type from, enum kernel_type to,
                           size_t n, const void *x, void *y)
{
    return BY_TYPE(to, convert_to, s, from, n, x, y);
}

template <typename T>
static cudaError_t bias_of(cudaStream_t s, size_t n, size_t cols, const float *bias,
                           bool relu, void *to)
{
    T *y = (T *)to;

    return each_pack(s, n, [=] __device__(size_t i, int m) {
        uint32_t col = (uint32_t)i % (uint32_t)cols;
        float v[PACK];
        load(y + i, m, v);
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            v[k] = arith_activate(relu, v[k] + bias[col]);
            col = col + 1 == cols ? 0 : col + 1;
        }
        store(y + i, m, v);
    });
}

cudaError_t kernel_bias(cudaStream_t s, enum kernel_type t, size_t n, size_t cols,
                        const float *bias, bool relu, void *y)
{
    return BY_TYPE(t, bias_of, s, n, cols, bias, relu, y);
}

template <typename T>
static cudaError_t relu_backward_of(cudaStream_t s, size_t n, const void *of, void *to)
{
    const T *y = (const T *)of;
    T *dy = (T *)to;

    return each_pack(s, n, [=] __device__(size_t i, int m) {
        float v[PACK], g[PACK];
        load(y + i, m, v);
        load(dy + i, m, g);
#pragma unroll
        for (int k = 0; k < PACK; k++)
            g[k] = arith_activate_backward(true, v[k], g[k]);
        store(dy + i, m, g);
    });
}

cudaError_t kernel_relu_backward(cudaStream_t s, enum kernel_type t, size_t n,
                                 const void *y, void *dy)
{
    return BY_TYPE(t, relu_backward_of, s, n, y, dy);
}

template <typename T>
static cudaError_t add_of(cudaStream_t s, bool relu, size_t n, const void *one,
                          const void *other, void *to)
{
    const T *a = (const T *)one, *b = (const T *)other;
    T *y = (T *)to;

    return each_pack(s, n, [=] __device__(size_t i, int m) {
        float v[PACK], w[PACK];
        load(a + i, m, v);
        load(b + i, m, w);
#pragma unroll
        for (int k = 0; k < PACK; k++)
            v[k] = arith_activate(relu, v[k] + w[k]);
        store(y + i, m, v);
    });
}

cudaError_t kernel_add(cudaStream_t s, enum kernel_type t, bool relu, size_t n,
                       const void *a, const void *b, void *y)
{
    return BY_TYPE(t, add_of, s, relu, n, a, b, y);
}

template <typename T>
static cudaError_t add_backward_of(cudaStream_t s, bool relu, size_t n, const void *of,
                                   const void *from, void *one, void *other)
{
    const T *y = (const T *)of, *dy = (const T *)from;
    T *da = (T *)one, *db = (T *)other;

    return each_pack(s, n, [=] __device__(size_t i, int m) {
        float v[PACK] = {0}, g[PACK];
        if (relu)
            load(y + i, m, v);
        load(dy + i, m, g);
#pragma unroll
        for (int k = 0; k < PACK; k++)
            g[k] = arith_activate_backward(relu, v[k], g[k]);
        if (da)
            store(da + i, m, g);
        if (db)
            store(db + i, m, g);
    });
}

cudaError_t kernel_add_backward(cudaStream_t s, enum kernel_type t, bool relu, size_t n,
                                const void *y, const void *dy, void *da, void *db)
{
    return BY_TYPE(t, add_backward_of, s, relu, n, y, dy, da, db);
}

/* A draw is for as many numbers as a pack has. */
template <typename T>
static cudaError_t dropout_of(cudaStream_t s, const struct device_dropout *dropout,
                              const void *from, void *to,
                              const union kernel_values *later)
{
    struct device_dropout d = *dropout;
    const T *x = (const T *)from;
    T *y = (T *)to;
    uint32_t packs = (uint32_t)((d.cols + PACK - 1) / PACK);

    static_assert((int)PACK == ARITH_DRAWS, "a draw a pack");
    return each(s, d.rows * packs, [=] __device__(size_t i) {
        uint32_t row = (uint32_t)i / packs, pack = (uint32_t)i - row * packs;
        size_t first = pack * PACK, at = row * d.cols + first;
        int m = d.cols - first < PACK ? (int)(d.cols - first) : (int)PACK;
        struct device_dropout now = d;
        float v[PACK];
        if (later) {
            now.seed = later->dropout.seed;
            now.row = later->dropout.row;
        }
        load(x + at, m, v);
        arith_dropout(&now, row, pack, v);
        store(y + at, m, v);
    });
}

cudaError_t kernel_dropout(cudaStream_t s, enum kernel_type t,
                           const struct device_dropout *d, const void *x, void *y,
                           const union kernel_values *later)
{
    return BY_TYPE(t, dropout_of, s, d, x, y, later);
}

/* ---- optimiser steps ---- */

cudaError_t kernel_sgd(cudaStream_t s, const struct device_sgd *sgd, size_t n, float *w,
                       const float *g, float *v, const union kernel_values *later)
{
    struct device_sgd given = *sgd;

    return each(s, n, [=] __device__(size_t i) {
        struct device_sgd step = later ? later->sgd : given;
        arith_sgd(&step, i, w, g, v);
    });
}

cudaError_t kernel_adam(cudaStream_t s, const struct device_adam *adam, size_t n,
                        float *w, const float *g, float *m, float *v,
                        const union kernel_values *later)
{
    struct device_adam given = *adam;

    return each(s, n, [=] __device__(size_t i) {
        struct device_adam step = later ? later->adam : given;
        arith_adam(&step, i, w, g, m, v);
    });
}

cudaError_t kernel_unscale(cudaStream_t s, float by, size_t n, float *g,
                           uint32_t *overflow, const union kernel_values *later)
{
    return each(s, n, [=] __device__(size_t i) {
        float x = g[i] * (later ? later->by : by);
        g[i] = x;
        if (!isfinite(x))
            *overflow = 1; /* whoever of them writes it */
    });
}

/* ---- values ---- */

struct values {
    union kernel_values v[KERNEL_VALUES];
};

/* They travel with the launch: what they were copied from may change at once. */
static __global__ void put_values(struct values given, union kernel_values *to)
{
    to[threadIdx.x] = given.v[threadIdx.x];
}

cudaError_t kernel_put_values(cudaStream_t s, size_t n, const union kernel_values *v,
                              union kernel_values *to)
{
    struct values given;

    if (n == 0)
        return cudaSuccess;
    for (size_t i = 0; i < n; i++)
        given.v[i] = v[i];
    put_values<<<1, (unsigned)n, 0, s>>>(given, to);
    return cudaGetLastError();
}
