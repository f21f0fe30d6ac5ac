/* What the files of the CUDA device share. */
#ifndef GPU_CUDA_PRIVATE_H
#define GPU_CUDA_PRIVATE_H

#include "base/vec.h"
#include "gpu/cache.h"
#include "gpu/device.h"
#include "gpu/fault.h"
#include "gpu/kernels.h"
#include "gpu/tape.h"
#include "gpu/usage.h"

/* Page-locked memory of the host, through which copies go. */
struct staging {
    void *p;
    cudaEvent_t done; /* what was copied from here or to here */
};
#define STAGINGS 2

struct attachment {
    void *p;
    bool host; /* page-locked memory of the host, which kernels read over the bus */
};

struct cuda {
    struct device device;
    char name[256]; /* the GPU's */
    int capability; /* 90 is 9.0 */
    struct fault_versions versions;
    enum device_precision precision;
    enum kernel_type type; /* of activations */
    struct err failure;    /* the first of an operation */

    /* All is queued on the one stream, but gathering, which goes on beside it. What does
     * not come from the tape has the stream from cuda_stream(). */
    cudaStream_t queue, gatherer;
    cudaEvent_t queued; /* what was before the gathering */
    cudaEvent_t gathered;
    bool gathering;

    struct tape *tape;
    union kernel_values *values; /* [KERNEL_VALUES], those of a graph, on the GPU */
    size_t captured_values;
    bool capturing;

    struct usage *usage;
    struct cuda_group *group; /* NULL: NCCL was not looked for */

    struct cache *cache;
    void *space; /* what an operation needs while it runs */
    size_t space_bytes;
    uint32_t *overflow; /* unscale()'s */
    struct staging staging[STAGINGS];
    VEC(struct attachment) attachments;

    cublasHandle_t blas;
    void *blas_space;
    cudnnHandle_t dnn;
    struct convolver *convolver;
};

/* Each notes the first failure, for download(), and says whether there was none. */
bool cuda_ok(struct cuda *cuda, cudaError_t rc, const char *what);
bool cuda_blas_ok(struct cuda *cuda, cublasStatus_t rc, const char *what);
bool cuda_note(struct cuda *cuda, int rc, const struct err *e);

/* So many bytes, good until the next call (in the stream's order). ERR_FULL. */
int cuda_space_try(struct cuda *cuda, size_t bytes, void **p, struct err *e);
/* The same; NULL without memory, which is noted. */
void *cuda_space(struct cuda *cuda, size_t bytes);

/* Pieces of a space begin at multiples of this. */
#define CUDA_ALIGN(n) (((n) + 255) / 256 * 256)

/* The stream, behind all that was called. */
cudaStream_t cuda_stream(struct cuda *cuda);

/* An operation, and what it works on; each has those of the members that it needs, and
 * the others are zero. */
struct call {
    void (*run)(struct cuda *cuda, const struct call *c);
    union {
        struct device_gather gather; /* without index and moves */
        struct device_gemm gemm;
        struct device_slide slide;
        struct device_batch_norm norm;
        struct image image;
    } of;
    size_t n, cols;
    enum device_activation activation;
    uint32_t keep;
    float smoothing;
    bool varies; /* it has values */
    const void *x, *y, *dy;
    const float *weight, *bias;
    const int32_t *labels;
    void *to, *to_other, *to_third; /* the results */
    float *dweight, *dbias;
    struct device_totals *totals;
    union kernel_values values; /* what another step may have otherwise */
};

/* ---- cuda_graph.c ---- */
int cuda_graph_open(struct cuda *cuda, struct err *e);
/* While a call of a graph runs: where its values will be. */
const union kernel_values *cuda_later(struct cuda *cuda);

/* ---- cuda_ops.c ---- */
/* What is queued next sees what was gathered. */
void cuda_join_gatherer(struct cuda *cuda);
void cuda_gather_wait(struct device *d);
void cuda_gather(struct device *d, const struct device_gather *g, size_t rows, void *out);
void cuda_gemm(struct device *d, const struct device_gemm *g);
void cuda_conv(struct device *d, const struct device_slide *s, const void *x,
               const float *weight, const float *bias, enum device_activation activation,
               void *y);
void cuda_conv_backward_data(struct device *d, const struct device_slide *s,
                             const float *weight, const void *dy, void *dx);
void cuda_conv_backward_weight(struct device *d, const struct device_slide *s,
                               const void *x, const void *dy, float *dweight,
                               float *dbias);
void cuda_activation_backward(struct device *d, enum device_activation activation,
                              size_t rows, size_t cols, const void *y, void *dy,
                              float *dbias);
void cuda_add(struct device *d, enum device_activation activation, size_t n,
              const void *a, const void *b, void *y);
void cuda_add_backward(struct device *d, enum device_activation activation, size_t n,
                       const void *y, const void *dy, void *da, void *db);
void cuda_dropout(struct device *d, const struct device_dropout *dropout, const void *x,
                  void *y);
void cuda_softmax_loss(struct device *d, size_t rows, size_t classes, const void *logits,
                       const int32_t *labels, const uint32_t *index, float smoothing,
                       float share, void *gradient, struct device_totals *totals);
void cuda_max_pool(struct device *d, const struct device_slide *s, const void *x,
                   void *y);
void cuda_max_pool_backward(struct device *d, const struct device_slide *s, const void *x,
                            const void *y, const void *dy, void *dx);
void cuda_avg_pool(struct device *d, size_t rows, struct image in, const void *x,
                   void *y);
void cuda_avg_pool_backward(struct device *d, size_t rows, struct image in,
                            const void *dy, void *dx);
void cuda_batch_norm(struct device *d, const struct device_batch_norm *b, const void *x,
                     void *y);
void cuda_batch_norm_running(struct device *d, const struct device_batch_norm *b,
                             const void *x, void *y);
void cuda_batch_norm_backward(struct device *d, const struct device_batch_norm *b,
                              const void *x, const void *dy, float *dweight, float *dbias,
                              void *dx);
void cuda_accumulate(struct device *d, size_t n, float *g, const float *more);
int cuda_unscale(struct device *d, float by, size_t n, float *g, bool *finite,
                 struct err *e);
void cuda_sgd(struct device *d, const struct device_sgd *s, size_t n, float *w,
              const float *g, float *v);
void cuda_adam(struct device *d, const struct device_adam *s, size_t n, float *w,
               const float *g, float *m, float *v);

/* ---- cuda_blas.c ---- */
int cuda_blas_open(struct cuda *cuda, struct err *e);
void cuda_blas_close(struct cuda *cuda);
void cuda_blas_gemm(struct cuda *cuda, const struct device_gemm *g);

/* ---- cuda_conv.c ---- */
int cuda_conv_open(struct cuda *cuda, struct err *e);
void cuda_conv_close(struct cuda *cuda);
void cuda_conv_forget(struct cuda *cuda);
/* What device_ops has of the same names. */
void cuda_conv_forward(struct cuda *cuda, const struct device_slide *s, const void *x,
                       const float *weight, const float *bias, bool relu, void *y);
void cuda_conv_data_gradient(struct cuda *cuda, const struct device_slide *s,
                             const float *weight, const void *dy, void *dx);
void cuda_conv_weight_gradient(struct cuda *cuda, const struct device_slide *s,
                               const void *x, const void *dy, float *dweight,
                               float *dbias);

/* ---- cuda_group.c ---- */
extern const struct device_group_ops cuda_group_ops;
/* Leaves the group, if there is one. */
void cuda_group_close(struct cuda *cuda);
/* Notes, as cuda_ok() does, that it has broken. */
void cuda_group_check(struct cuda *cuda);

#endif
