/* Products by OpenBLAS: where oneDNN is missing, or has no fast ones. */
#include "worker/train/cpu_private.h"

#include <cblas.h>

#include <stdio.h>

void cpu_blas_open(const struct cpu *cpu)
{
    openblas_set_num_threads(cpu->threads);
}

void cpu_blas_product(const struct device_gemm *g)
{
    cblas_sgemm(CblasRowMajor, g->a_transposed ? CblasTrans : CblasNoTrans,
                g->b_transposed ? CblasTrans : CblasNoTrans, (blasint)g->m, (blasint)g->n,
                (blasint)g->k, 1, g->a, (blasint)(g->a_transposed ? g->m : g->k), g->b,
                (blasint)(g->b_transposed ? g->k : g->n), 0, g->c, (blasint)g->n);
}

void cpu_blas_describe(char *text, size_t size)
{
    snprintf(text, size, "OpenBLAS %s", openblas_get_corename());
}
