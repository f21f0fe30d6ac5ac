/* Kernels in which no element depends on another. */
#include "gpu/launch.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* ---- 16 bits ---- */

static __device__ __forceinline__ void narrow(float x, __nv_bfloat16 *y)
{
    *y = __float2bfloat16_rn(x);
}

static __device__ __forceinline__ void narrow(float x, __half *y)
{
    *y = __float2half_rn(x);
}

static __device__ __forceinline__ float widen(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

static __device__ __forceinline__ float widen(__half x)
{
    return __half2float(x);
}

template <typename T>
static cudaError_t narrow_all(cudaStream_t s, size_t n, const float *x, T *y)
{
    return each(s, n, [=] __device__(size_t i) { narrow(x[i], &y[i]); });
}

template <typename T>
static cudaError_t widen_all(cudaStream_t s, size_t n, const T *x, const float *bias,
                             size_t cols, bool relu, float *y)
{
    return each(s, n, [=] __device__(size_t i) {
        float z = widen(x[i]);
        y[i] = bias ? arith_activate(relu, z + bias[i % cols]) : z;
    });
}

cudaError_t kernel_narrow(cudaStream_t s, enum kernel_narrow to, size_t n, const float *x,
                          void *y)
{
    return to == NARROW_BF16 ? narrow_all(s, n, x, (__nv_bfloat16 *)y)
                             : narrow_all(s, n, x, (__half *)y);
}

cudaError_t kernel_widen(cudaStream_t s, enum kernel_narrow from, size_t n, const void *x,
                         const float *bias, size_t cols, bool relu, float *y)
{
    return from == NARROW_BF16
               ? widen_all(s, n, (const __nv_bfloat16 *)x, bias, cols, relu, y)
               : widen_all(s, n, (const __half *)x, bias, cols, relu, y);
}

/* ---- activations ---- */

cudaError_t kernel_bias(cudaStream_t s, size_t n, size_t cols, const float *bias,
                        bool relu, float *y)
{
    return each(s, n, [=] __device__(size_t i) {
        y[i] = arith_activate(relu, y[i] + bias[i % cols]);
    });
}

cudaError_t kernel_relu_backward(cudaStream_t s, size_t n, const float *y, float *dy)
{
    return each(s, n, [=] __device__(size_t i) {
        dy[i] = arith_activate_backward(true, y[i], dy[i]);
    });
}

cudaError_t kernel_add(cudaStream_t s, bool relu, size_t n, const float *a,
                       const float *b, float *y)
{
    return each(s, n,
                [=] __device__(size_t i) { y[i] = arith_activate(relu, a[i] + b[i]); });
}

cudaError_t kernel_add_backward(cudaStream_t s, bool relu, size_t n, const float *y,
                                const float *dy, float *da, float *db)
{
    return each(s, n, [=] __device__(size_t i) {
        float g = arith_activate_backward(relu, relu ? y[i] : 0, dy[i]);
        if (da)
            da[i] = g;
        if (db)
            db[i] = g;
    });
}

cudaError_t kernel_dropout(cudaStream_t s, const struct device_dropout *dropout,
                           const float *x, float *y)
{
    struct device_dropout d = *dropout;
    size_t eighths = (d.cols + ARITH_DRAWS - 1) / ARITH_DRAWS;

    return each(s, d.rows * eighths, [=] __device__(size_t i) {
        arith_dropout(&d, i / eighths, i % eighths, x, y);
    });
}

/* ---- optimiser steps ---- */

cudaError_t kernel_sgd(cudaStream_t s, const struct device_sgd *sgd, size_t n, float *w,
                       const float *g, float *v)
{
    struct device_sgd step = *sgd;

    return each(s, n, [=] __device__(size_t i) { arith_sgd(&step, i, w, g, v); });
}

cudaError_t kernel_adam(cudaStream_t s, const struct device_adam *adam, size_t n,
                        float *w, const float *g, float *m, float *v)
{
    struct device_adam step = *adam;

    return each(s, n, [=] __device__(size_t i) { arith_adam(&step, i, w, g, m, v); });
}

cudaError_t kernel_unscale(cudaStream_t s, float by, size_t n, float *g,
                           uint32_t *overflow)
{
    return each(s, n, [=] __device__(size_t i) {
        float x = g[i] * by;
        g[i] = x;
        if (!isfinite(x))
            *overflow = 1; /* whoever of them writes it */
    });
}
