/* The kernels: each is launched on a stream and returns at once, with what CUDA says of
 * the launch. Arrays and meanings are those of device_ops (device.h). All sums run in an
 * order that depends on the shapes alone: the same bits each time, on every GPU. */
#ifndef GPU_KERNELS_H
#define GPU_KERNELS_H

#include "gpu/device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- elements.cu ---- */

/* What products and convolutions take in 16 bits. */
enum kernel_narrow { NARROW_BF16, NARROW_FP16 };

cudaError_t kernel_narrow(cudaStream_t s, enum kernel_narrow to, size_t n, const float *x,
                          void *y);
/* y [n] = act(x + bias[i % cols]); bias NULL: x alone. */
cudaError_t kernel_widen(cudaStream_t s, enum kernel_narrow from, size_t n, const void *x,
                         const float *bias, size_t cols, bool relu, float *y);
/* y [n] = act(y + bias[i % cols]) */
cudaError_t kernel_bias(cudaStream_t s, size_t n, size_t cols, const float *bias,
                        bool relu, float *y);
cudaError_t kernel_relu_backward(cudaStream_t s, size_t n, const float *y, float *dy);
cudaError_t kernel_add(cudaStream_t s, bool relu, size_t n, const float *a,
                       const float *b, float *y);
cudaError_t kernel_add_backward(cudaStream_t s, bool relu, size_t n, const float *y,
                                const float *dy, float *da, float *db);
cudaError_t kernel_dropout(cudaStream_t s, const struct device_dropout *d, const float *x,
                           float *y);
cudaError_t kernel_sgd(cudaStream_t s, const struct device_sgd *sgd, size_t n, float *w,
                       const float *g, float *v);
cudaError_t kernel_adam(cudaStream_t s, const struct device_adam *adam, size_t n,
                        float *w, const float *g, float *m, float *v);
/* g *= by; *overflow, which is zero before, is not if one of g is no finite number. */
cudaError_t kernel_unscale(cudaStream_t s, float by, size_t n, float *g,
                           uint32_t *overflow);

/* ---- images.cu ---- */

cudaError_t kernel_gather(cudaStream_t s, const struct device_gather *g, size_t rows,
                          float *out);
cudaError_t kernel_max_pool(cudaStream_t s, const struct device_slide *slide,
                            const float *x, float *y);
cudaError_t kernel_max_pool_backward(cudaStream_t s, const struct device_slide *slide,
                                     const float *x, const float *y, const float *dy,
                                     float *dx);
cudaError_t kernel_avg_pool(cudaStream_t s, size_t rows, struct image in, const float *x,
                            float *y);
cudaError_t kernel_avg_pool_backward(cudaStream_t s, size_t rows, struct image in,
                                     const float *dy, float *dx);

/* ---- sums.cu ---- */

/* Bytes of `space` that a kernel over [n][cols] needs; aligned to 16. */
size_t kernel_sums_space(size_t n, size_t cols);
size_t kernel_loss_space(size_t rows);

/* sum [cols] of dy [n][cols]; unless y is NULL of `to`, which is dy, or 0 where y is. */
cudaError_t kernel_column_sums(cudaStream_t s, size_t n, size_t cols, const float *y,
                               const float *dy, float *to, float *sum, void *space);
cudaError_t kernel_batch_norm(cudaStream_t s, const struct device_batch_norm *b,
                              const float *x, float *y, void *space);
cudaError_t kernel_batch_norm_running(cudaStream_t s, const struct device_batch_norm *b,
                                      const float *x, float *y, void *space);
cudaError_t kernel_batch_norm_backward(cudaStream_t s, const struct device_batch_norm *b,
                                       const float *x, const float *dy, float *dweight,
                                       float *dbias, float *dx, void *space);
cudaError_t kernel_softmax_loss(cudaStream_t s, size_t rows, size_t classes,
                                const float *logits, const int32_t *labels,
                                const uint32_t *index, float smoothing, float share,
                                float *gradient, struct device_totals *totals,
                                void *space);

#ifdef __cplusplus
}
#endif

#endif
