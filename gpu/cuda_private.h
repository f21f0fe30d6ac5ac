/* What the files of the CUDA device share. */
#ifndef GPU_CUDA_PRIVATE_H
#define GPU_CUDA_PRIVATE_H

#include "base/vec.h"
#include "gpu/cache.h"
#include "gpu/device.h"
#include "gpu/fault.h"
#include "gpu/kernels.h"
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

    /* All is queued on the one stream, but gathering, which goes on beside it. */
    cudaStream_t stream, gatherer;
    cudaEvent_t queued; /* what was before the gathering */
    cudaEvent_t gathered;
    bool gathering;

    struct usage *usage;

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

/* ---- cuda_blas.c ---- */
int cuda_blas_open(struct cuda *cuda, struct err *e);
void cuda_blas_close(struct cuda *cuda);
void cuda_gemm(struct device *d, const struct device_gemm *g);

/* ---- cuda_conv.c ---- */
int cuda_conv_open(struct cuda *cuda, struct err *e);
void cuda_conv_close(struct cuda *cuda);
void cuda_conv_forget(struct cuda *cuda);
void cuda_conv(struct device *d, const struct device_slide *s, const void *x,
               const float *weight, const float *bias, enum device_activation activation,
               void *y);
void cuda_conv_backward_data(struct device *d, const struct device_slide *s,
                             const float *weight, const void *dy, void *dx);
void cuda_conv_backward_weight(struct device *d, const struct device_slide *s,
                               const void *x, const void *dy, float *dweight,
                               float *dbias);

#endif
