/* How the kernels are laid out: a thread an element, in blocks of THREADS. */
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

#endif
