/* Kernels over images: gathering of samples, and pooling. */
#include "gpu/launch.cuh"

template <typename T>
static cudaError_t gather_of(cudaStream_t s, const struct device_gather *gather,
                             size_t rows, void *to, const union kernel_values *later)
{
    struct device_gather given = *gather;
    uint32_t features = (uint32_t)given.features;
    T *out = (T *)to;

    return each(s, rows * features, [=] __device__(size_t i) {
        struct device_gather g = given;
        uint32_t r = (uint32_t)i / features;
        if (later) {
            g.index = later->gather.index;
            g.moves = later->gather.moves;
        }
        arith_narrow(arith_gather(&g, r, (uint32_t)i - r * features), &out[i]);
    });
}

cudaError_t kernel_gather(cudaStream_t s, enum kernel_type t,
                          const struct device_gather *g, size_t rows, void *out,
                          const union kernel_values *later)
{
    return BY_TYPE(t, gather_of, s, g, rows, out, later);
}

template <typename T>
static cudaError_t max_pool_of(cudaStream_t s, const struct device_slide *slide,
                               const void *from, void *to)
{
    struct device_slide p = *slide;
    const T *x = (const T *)from;
    T *y = (T *)to;

    return each(s, p.rows * image_size(p.out), [=] __device__(size_t i) {
        arith_narrow(arith_max_pool(&p, x, (uint32_t)i), &y[i]);
    });
}

cudaError_t kernel_max_pool(cudaStream_t s, enum kernel_type t,
                            const struct device_slide *slide, const void *x, void *y)
{
    return BY_TYPE(t, max_pool_of, s, slide, x, y);
}

template <typename T>
static cudaError_t max_pool_backward_of(cudaStream_t s, const struct device_slide *slide,
                                        const void *of, const void *pooled,
                                        const void *from, void *to)
{
    struct device_slide p = *slide;
    const T *x = (const T *)of, *y = (const T *)pooled, *dy = (const T *)from;
    T *dx = (T *)to;

    return each(s, p.rows * image_size(p.in), [=] __device__(size_t i) {
        arith_narrow(arith_max_pool_backward(&p, x, y, dy, (uint32_t)i), &dx[i]);
    });
}

cudaError_t kernel_max_pool_backward(cudaStream_t s, enum kernel_type t,
                                     const struct device_slide *slide, const void *x,
                                     const void *y, const void *dy, void *dx)
{
    return BY_TYPE(t, max_pool_backward_of, s, slide, x, y, dy, dx);
}

/* A thread has a channel of a row, and adds its places in their order. */
template <typename T>
static cudaError_t avg_pool_of(cudaStream_t s, size_t rows, struct image in,
                               const void *of, void *to)
{
    uint32_t places = (uint32_t)(in.h * in.w), c = (uint32_t)in.c;
    const T *x = (const T *)of;
    T *y = (T *)to;

    return each(s, rows * c, [=] __device__(size_t i) {
        uint32_t row = (uint32_t)i / c;
        const T *from = x + (size_t)row * places * c + ((uint32_t)i - row * c);
        float sum = 0;
        for (uint32_t p = 0; p < places; p++)
            sum += arith_widen(from[p * c]);
        arith_narrow(sum / (float)places, &y[i]);
    });
}

cudaError_t kernel_avg_pool(cudaStream_t s, enum kernel_type t, size_t rows,
                            struct image in, const void *x, void *y)
{
    return BY_TYPE(t, avg_pool_of, s, rows, in, x, y);
}

template <typename T>
static cudaError_t avg_pool_backward_of(cudaStream_t s, size_t rows, struct image in,
                                        const void *from, void *to)
{
    uint32_t places = (uint32_t)(in.h * in.w), c = (uint32_t)in.c;
    const T *dy = (const T *)from;
    T *dx = (T *)to;

    return each(s, rows * places * c, [=] __device__(size_t i) {
        uint32_t place = (uint32_t)i / c, channel = (uint32_t)i - place * c;
        arith_narrow(arith_widen(dy[place / places * c + channel]) / (float)places,
                     &dx[i]);
    });
}

cudaError_t kernel_avg_pool_backward(cudaStream_t s, enum kernel_type t, size_t rows,
                                     struct image in, const void *dy, void *dx)
{
    return BY_TYPE(t, avg_pool_backward_of, s, rows, in, dy, dx);
}
