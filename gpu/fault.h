/* What goes wrong on a GPU, as a person needs to hear it. Plain functions over the
 * libraries' numbers, so that they are tested where there is no GPU. */
#ifndef GPU_FAULT_H
#define GPU_FAULT_H

#include "base/err.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

/* Each sets *e, unless it is NULL, to "WHAT: sentence", and returns its code; 0, with *e
 * as it is, for success.
 *
 * ERR_NOENT: there is no GPU, or no driver. ERR_UNSUPPORTED: there is one, which this
 * build or this driver cannot use. ERR_FULL: its memory does not suffice. ERR_IO: it is
 * there and does not work, or is somebody else's.
 *
 * driver and runtime are versions as CUDA counts them (12040 is 12.4), for the sentence
 * on a driver that is too old; 0: not known. */
struct fault_versions {
    int driver, runtime;
};
int fault_cuda(cudaError_t code, const struct fault_versions *v, const char *what,
               struct err *e);
int fault_cublas(cublasStatus_t code, const char *what, struct err *e);
int fault_cudnn(cudnnStatus_t code, const char *what, struct err *e);

#endif
