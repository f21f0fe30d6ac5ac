/* The kernels: each is launched on a stream and returns at once, with what CUDA says of
 * the launch. Arrays and meanings are those of device_ops (device.h); activations, void
 * *, are of the type that is given, and what is computed of them is fp32, which is
 * rounded once. All sums run in an order that depends on shapes and types alone: the same
 * bits each time, on every GPU. */
#ifndef GPU_KERNELS_H
#define GPU_KERNELS_H

#include "gpu/device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kernel_type { KERNEL_FP32, KERNEL_BF16, KERNEL_FP16 };

/* What changes from one training step to the next. A kernel that takes one of these
 * takes it from `later`, on the GPU, at the time when it runs, and then not from its
 * other arguments; NULL: from these. */
union kernel_values {
    struct {
        const uint32_t *index;
        const struct device_move *moves;
    } gather;
    struct {
        uint64_t seed;
        size_t row;
    } dropout;
    struct {
        const uint32_t *index;
        float share;
    } loss;
    float by; /* of unscale */
    struct device_sgd sgd;
    struct device_adam adam;
};

/* So many at once. */
#define KERNEL_VALUES 64
cudaError_t kernel_put_values(cudaStream_t s, size_t n, const union kernel_values *v,
                              union kernel_values *to);

/* ---- elements.cu ---- */

/* y [n], of type `to`, = x, of type `from`. */
cudaError_t kernel_convert(cudaStream_t s, enum kernel_type from, enum kernel_type to,
                           size_t n, const void *x, void *y);
/* y [n] = act(y + bias[i % cols]) */
cudaError_t kernel_bias(cudaStream_t s, enum kernel_type t, size_t n, size_t cols,
                        const float *bias, bool relu, void *y);
cudaError_t kernel_relu_backward(cudaStream_t s, enum kernel_type t, size_t n,
                                 const void *y, void *dy);
cudaError_t kernel_add(cudaStream_t s, enum kernel_type t, bool relu, size_t n,
                       const void *a, const void *b, void *y);
cudaError_t kernel_add_backward(cudaStream_t s, enum kernel_type t, bool relu, size_t n,
                                const void *y, const void *dy, void *da, void *db);
cudaError_t kernel_dropout(cudaStream_t s, enum kernel_type t,
                           const struct device_dropout *d, const void *x, void *y,
                           const union kernel_values *later);
cudaError_t kernel_sgd(cudaStream_t s, const struct device_sgd *sgd, size_t n, float *w,
                       const float *g, float *v, const union kernel_values *later);
cudaError_t kernel_adam(cudaStream_t s, const struct device_adam *adam, size_t n,
                        float *w, const float *g, float *m, float *v,
                        const union kernel_values *later);
/* g *= by; *overflow, which is zero before, is not if one of g is no finite number. */
cudaError_t kernel_unscale(cudaStream_t s, float by, size_t n, float *g,
                           uint32_t *overflow, const union kernel_values *later);

/* ---- images.cu ---- */

cudaError_t kernel_gather(cudaStream_t s, enum kernel_type t,
                          const struct device_gather *g, size_t rows, void *out,
                          const union kernel_values *later);
cudaError_t kernel_max_pool(cudaStream_t s, enum kernel_type t,
                            const struct device_slide *slide, const void *x, void *y);
cudaError_t kernel_max_pool_backward(cudaStream_t s, enum kernel_type t,
                                     const struct device_slide *slide, const void *x,
                                     const void *y, const void *dy, void *dx);
cudaError_t kernel_avg_pool(cudaStream_t s, enum kernel_type t, size_t rows,
                            struct image in, const void *x, void *y);
cudaError_t kernel_avg_pool_backward(cudaStream_t s, enum kernel_type t, size_t rows,
                                     struct image in, const void *dy, void *dx);

/* ---- sums.cu ---- */

/* Bytes of `space` that a kernel over [n][cols] needs; aligned to 16. */
size_t kernel_sums_space(enum kernel_type t, size_t n, size_t cols);
size_t kernel_loss_space(size_t rows);

/* sum [cols] of dy [n][cols]; unless y is NULL of `to`, which is dy, or 0 where y is. */
cudaError_t kernel_column_sums(cudaStream_t s, enum kernel_type t, size_t n, size_t cols,
                               const void *y, const void *dy, void *to, float *sum,
                               void *space);
cudaError_t kernel_batch_norm(cudaStream_t s, enum kernel_type t,
                              const struct device_batch_norm *b, const void *x, void *y,
                              void *space);
cudaError_t kernel_batch_norm_running(cudaStream_t s, enum kernel_type t,
                                      const struct device_batch_norm *b, const void *x,
                                      void *y, void *space);
cudaError_t kernel_batch_norm_backward(cudaStream_t s, enum kernel_type t,
                                       const struct device_batch_norm *b, const void *x,
                                       const void *dy, float *dweight, float *dbias,
                                       void *dx, void *space);
cudaError_t kernel_softmax_loss(cudaStream_t s, enum kernel_type t, size_t rows,
                                size_t classes, const void *logits, const int32_t *labels,
                                const uint32_t *index, float smoothing, float share,
                                void *gradient, struct device_totals *totals, void *space,
                                const union kernel_values *later);

#ifdef __cplusplus
}
#endif

#endif
