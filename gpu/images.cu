/* Kernels over images: gathering of samples, and pooling. */
#include "gpu/launch.cuh"

cudaError_t kernel_gather(cudaStream_t s, const struct device_gather *gather, size_t rows,
                          float *out)
{
    struct device_gather g = *gather;

    return each(s, rows * g.features, [=] __device__(size_t i) {
        out[i] = arith_gather(&g, i / g.features, i % g.features);
    });
}

cudaError_t kernel_max_pool(cudaStream_t s, const struct device_slide *slide,
                            const float *x, float *y)
{
    struct device_slide p = *slide;

    return each(s, p.rows * image_size(p.out),
                [=] __device__(size_t i) { y[i] = arith_max_pool(&p, x, i); });
}

cudaError_t kernel_max_pool_backward(cudaStream_t s, const struct device_slide *slide,
                                     const float *x, const float *y, const float *dy,
                                     float *dx)
{
    struct device_slide p = *slide;

    return each(s, p.rows * image_size(p.in), [=] __device__(size_t i) {
        dx[i] = arith_max_pool_backward(&p, x, y, dy, i);
    });
}

/* A thread has a channel of a row, and adds its places in their order. */
cudaError_t kernel_avg_pool(cudaStream_t s, size_t rows, struct image in, const float *x,
                            float *y)
{
    size_t places = in.h * in.w, c = in.c;

    return each(s, rows * c, [=] __device__(size_t i) {
        const float *from = x + i / c * places * c + i % c;
        float sum = 0;
        for (size_t p = 0; p < places; p++)
            sum += from[p * c];
        y[i] = sum / (float)places;
    });
}

cudaError_t kernel_avg_pool_backward(cudaStream_t s, size_t rows, struct image in,
                                     const float *dy, float *dx)
{
    size_t places = in.h * in.w, c = in.c;

    return each(s, rows * places * c, [=] __device__(size_t i) {
        dx[i] = dy[i / (places * c) * c + i % c] / (float)places;
    });
}
