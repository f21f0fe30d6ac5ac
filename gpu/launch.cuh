/* How the kernels are laid out: a thread an element, or a pack of them, in blocks of
 * THREADS; and how they read and write activations of each type. Arrays have fewer than
 * 2^31 elements, and where they are divided by sizes 32 bits do, in a fifth of the time
 * that 64 take. */
#ifndef GPU_LAUNCH_CUH
#define GPU_LAUNCH_CUH

#include "gpu/arith.h"
#include "gpu/kernels.h"

enum { THREADS = 256 };

static inline unsigned blocks_for(size_t n)
{
    return (unsigned)((n + THREADS - 1) / THREADS);
}

/* The number of this thread in the grid. */
static __device__ __forceinline__ size_t own_element()
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* Runs f(i) for i in [0, n), a thread each. */
template <typename F> static __global__ void each_kernel(size_t n, F f)
{
    size_t i = own_element();

    if (i < n)
        f(i);
}

template <typename F> static cudaError_t each(cudaStream_t s, size_t n, F f)
{
    if (n == 0)
        return cudaSuccess;
    each_kernel<<<blocks_for(n), THREADS, 0, s>>>(n, f);
    return cudaGetLastError();
}

/* ---- packs ---- */

/* Elements that a thread takes at once: 16 bytes of 16 bits each. */
enum { PACK = 8 };

/* Runs f(i, m) for the packs of [0, n): the m elements from i on. */
template <typename F> static cudaError_t each_pack(cudaStream_t s, size_t n, F f)
{
    return each(s, (n + PACK - 1) / PACK, [=] __device__(size_t pack) {
        size_t i = pack * PACK;
        f(i, n - i < PACK ? (int)(n - i) : (int)PACK);
    });
}

/* What is read and written by one instruction. */
template <typename T> struct alignas(16) word {
    T v[16 / sizeof(T)];
};

static __device__ __forceinline__ bool is_whole(const void *p, int m)
{
    return m == PACK && (uintptr_t)p % sizeof(word<char>) == 0;
}

/* v [PACK] = x [m], and 0 behind. */
template <typename T>
static __device__ __forceinline__ void load(const T *x, int m, float v[PACK])
{
    const int each = 16 / sizeof(T);

    if (is_whole(x, m)) {
#pragma unroll
        for (int w = 0; w < PACK / each; w++) {
            word<T> all = ((const word<T> *)x)[w];
#pragma unroll
            for (int k = 0; k < each; k++)
                v[w * each + k] = arith_widen(all.v[k]);
        }
        return;
    }
#pragma unroll
    for (int k = 0; k < PACK; k++)
        v[k] = k < m ? arith_widen(x[k]) : 0;
}

template <typename T>
static __device__ __forceinline__ void store(T *y, int m, const float v[PACK])
{
    const int each = 16 / sizeof(T);

    if (is_whole(y, m)) {
#pragma unroll
        for (int w = 0; w < PACK / each; w++) {
            word<T> all;
#pragma unroll
            for (int k = 0; k < each; k++)
                arith_narrow(v[w * each + k], &all.v[k]);
            ((word<T> *)y)[w] = all;
        }
        return;
    }
#pragma unroll
    for (int k = 0; k < PACK; k++)
        if (k < m)
            arith_narrow(v[k], &y[k]);
}

/* ---- types ---- */

/* f<T>(...), T being what activations of a type are. */
#define BY_TYPE(type, f, ...)                                                            \
    ((type) == KERNEL_BF16   ? f<__nv_bfloat16>(__VA_ARGS__)                             \
     : (type) == KERNEL_FP16 ? f<__half>(__VA_ARGS__)                                    \
                             : f<float>(__VA_ARGS__))

#endif
