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
        rc = fault_cublas(cublasSetStream(cuda->blas, cuda->stream), "cuBLAS", e);
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

/* What cuBLAS multiplies: ours, or in 16 bits. */
struct operands {
    const void *a, *b;
    cudaDataType_t type;
    cublasComputeType_t compute;
};

static bool operands_of(struct cuda *cuda, const struct device_gemm *g,
                        struct operands *o)
{
    enum kernel_narrow to;
    size_t n_a = g->m * g->k, n_b = g->k * g->n;

    *o =
        (struct operands){g->a, g->b, CUDA_R_32F,
                          cuda->precision == PRECISION_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                            : CUBLAS_COMPUTE_32F};
    if (!cuda_narrows(cuda, &to))
        return true;
    char *a = cuda_space(cuda, CUDA_ALIGN(2 * n_a) + 2 * n_b), *b;
    if (!a)
        return false;
    b = a + CUDA_ALIGN(2 * n_a);
    *o = (struct operands){a, b, to == NARROW_BF16 ? CUDA_R_16BF : CUDA_R_16F,
                           CUBLAS_COMPUTE_32F};
    return cuda_ok(cuda, kernel_narrow(cuda->stream, to, n_a, g->a, a), "a product") &&
           cuda_ok(cuda, kernel_narrow(cuda->stream, to, n_b, g->b, b), "a product");
}

/* cuBLAS has columns where we have rows: what is [m][k] to us is to it k by m. So it is
 * asked for the transposed product, op(b)^T op(a)^T, of the transposed operands. */
void cuda_gemm(struct device *d, const struct device_gemm *g)
{
    struct cuda *cuda = (struct cuda *)d;
    const float one = 1, zero = 0;
    struct operands o;

    if (!operands_of(cuda, g, &o))
        return;
    cublasStatus_t rc =
        cublasGemmEx(cuda->blas, g->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                     g->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, (int)g->n, (int)g->m,
                     (int)g->k, &one, o.b, o.type, (int)(g->b_transposed ? g->k : g->n),
                     o.a, o.type, (int)(g->a_transposed ? g->m : g->k), &zero, g->c,
                     CUDA_R_32F, (int)g->n, o.compute, CUBLAS_GEMM_DEFAULT);
    if (cuda_blas_ok(cuda, rc, "a product") && g->bias)
        cuda_ok(cuda,
                kernel_bias(cuda->stream, g->m * g->n, g->n, g->bias,
                            g->activation == ACTIVATION_RELU, g->c),
                "a bias");
}
