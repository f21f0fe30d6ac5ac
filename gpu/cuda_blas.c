/* Products by cuBLAS. Bias and activation are a kernel of ours: cuBLASLt's epilogue with
 * a ReLU would make a NaN zero, and a training that diverged would not show it. */
#include "gpu/cuda_private.h"

/* What cuBLAS is given to work in (its manual's advice for the GPUs of 2022 on), so that
 * it takes nothing itself, and a product gives the same bits each time. */
#define BLAS_SPACE ((size_t)32 << 20)

int cuda_blas_open(struct cuda *cuda, struct err *e)
{
    int rc = fault_cublas(cublasCreate(&cuda->blas), "cuBLAS", e);

    if (rc == 0)
        rc = cache_allocate(cuda->cache, BLAS_SPACE, &cuda->blas_space, e);
    if (rc == 0)
        rc = fault_cublas(cublasSetStream(cuda->blas, cuda->queue), "cuBLAS", e);
    if (rc == 0)
        rc = fault_cublas(cublasSetWorkspace(cuda->blas, cuda->blas_space, BLAS_SPACE),
                          "cuBLAS", e);
    /* Sums of 16-bit products are fp32 to the end. */
    return rc < 0
               ? rc
               : fault_cublas(
                     cublasSetMathMode(
                         cuda->blas,
                         (cublasMath_t)(CUBLAS_DEFAULT_MATH |
                                        CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
                     "cuBLAS", e);
}

void cuda_blas_close(struct cuda *cuda)
{
    if (cuda->blas)
        cublasDestroy(cuda->blas);
    cache_release(cuda->cache, cuda->blas_space);
}

static cudaDataType_t data_type(enum kernel_type t)
{
    return t == KERNEL_BF16 ? CUDA_R_16BF : t == KERNEL_FP16 ? CUDA_R_16F : CUDA_R_32F;
}

/* A parameter as cuBLAS multiplies it: of the activations' type. NULL without memory. */
static const void *as_activation(struct cuda *cuda, const void *b, size_t n)
{
    if (cuda->type == KERNEL_FP32)
        return b;
    void *to = cuda_space(cuda, 2 * n);
    bool ok =
        to &&
        cuda_ok(cuda, kernel_convert(cuda->queue, KERNEL_FP32, cuda->type, n, b, to),
                "a product");
    return ok ? to : NULL;
}

/* cuBLAS has columns where we have rows: what is [m][k] to us is to it k by m. So it is
 * asked for the transposed product, op(b)^T op(a)^T, of the transposed operands. */
void cuda_blas_gemm(struct cuda *cuda, const struct device_gemm *g)
{
    const float one = 1, zero = 0;
    enum kernel_type to = g->weight_gradient ? KERNEL_FP32 : cuda->type;
    cudaDataType_t type = data_type(cuda->type);
    const void *b = g->weight_gradient ? g->b : as_activation(cuda, g->b, g->k * g->n);

    if (!b)
        return;
    cublasStatus_t rc = cublasGemmEx(
        cuda->blas, g->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
        g->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, (int)g->n, (int)g->m, (int)g->k,
        &one, b, type, (int)(g->b_transposed ? g->k : g->n), g->a, type,
        (int)(g->a_transposed ? g->m : g->k), &zero, g->c, data_type(to), (int)g->n,
        cuda->precision == PRECISION_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                          : CUBLAS_COMPUTE_32F,
        CUBLAS_GEMM_DEFAULT);
    if (cuda_blas_ok(cuda, rc, "a product") && g->bias)
        cuda_ok(cuda,
                kernel_bias(cuda->queue, to, g->m * g->n, g->n, g->bias,
                            g->activation == ACTIVATION_RELU, g->c),
                "a bias");
}
