/* What the files of the CPU device share. */
#ifndef WORKER_TRAIN_CPU_PRIVATE_H
#define WORKER_TRAIN_CPU_PRIVATE_H

#include "worker/train/cpu.h"

/* Not with ThreadSanitizer: which clone to take is asked before that has started. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WIDE
#endif
#elif defined(__SANITIZE_THREAD__)
#define WIDE
#endif

#ifdef WIDE
#elif defined(__x86_64__) && defined(__gnu_linux__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

struct space {
    void *p; /* free() it */
    size_t bytes;
};

struct cpu {
    struct device device;
    int threads;
    enum device_precision precision;
    size_t used, peak, most;     /* bytes of memory */
    struct err failure;          /* the first of an operation */
    struct space space;          /* what an operation needs while it runs */
    struct gatherer *gatherer;   /* what gathers, and waits to */
    struct convolver *convolver; /* a library's, if one convolves */
    /* OpenMP's, each NULL without it. */
    void (*parallel)(void (*run)(void *arg), void *arg, unsigned threads, unsigned flags);
    void (*set_threads)(int n);
};

/* So many bytes, good until the next call. NULL without memory: download() says it. */
void *space_fit(struct space *s, struct cpu *cpu, size_t bytes);
/* The same, of the device. */
void *cpu_space(struct cpu *cpu, size_t bytes);

/* Does the numbers from `from` up to `to`, the piece of this number. */
typedef void cpu_work(void *arg, size_t piece, size_t from, size_t to);

/* So many elements at least are worth a thread. */
#define CPU_PIECE ((size_t)1 << 14)

/* Calls work for [0, n), each number being work on `each` elements, in as many pieces as
 * cpu_pieces() says, at once: as there are threads, or fewer if there is little to do. */
void cpu_parallel(struct cpu *cpu, size_t n, size_t each, cpu_work *work, void *arg);
size_t cpu_pieces(const struct cpu *cpu, size_t n, size_t each);

void cpu_threads_open(struct cpu *cpu);
/* Libraries that this thread calls use as many threads as the device has. */
void cpu_threads_use(const struct cpu *cpu);

void cpu_blas_open(const struct cpu *cpu);
void cpu_blas_product(const struct device_gemm *g);
void cpu_blas_describe(char *text, size_t size);

/* Convolutions and products are cpu_onednn.c's, or, built without oneDNN, cpu_conv.c's.
 */
void cpu_conv_open(struct cpu *cpu);
void cpu_conv_close(struct cpu *cpu);
int cpu_conv_precision(enum device_precision p, struct err *e); /* fp32 or bf16 */
void cpu_conv_describe(char *text, size_t size);                /* the libraries */
/* c = op(a) op(b) alone. */
void cpu_product(struct cpu *cpu, const struct device_gemm *g);
void cpu_conv(struct device *d, const struct device_slide *s, const void *x,
              const float *weight, const float *bias, enum device_activation activation,
              void *y);
void cpu_conv_backward_data(struct device *d, const struct device_slide *s,
                            const float *weight, const void *dy, void *dx);
void cpu_conv_backward_weight(struct device *d, const struct device_slide *s,
                              const void *x, const void *dy, float *dweight,
                              float *dbias);
void cpu_max_pool(struct device *d, const struct device_slide *s, const void *x, void *y);
void cpu_max_pool_backward(struct device *d, const struct device_slide *s, const void *x,
                           const void *y, const void *dy, void *dx);
void cpu_global_avg_pool(struct device *d, size_t rows, struct image in, const void *x,
                         void *y);
void cpu_global_avg_pool_backward(struct device *d, size_t rows, struct image in,
                                  const void *dy, void *dx);
void cpu_gather_open(struct cpu *cpu);
void cpu_gather_close(struct cpu *cpu);
void cpu_gather_wait(struct device *d);
void cpu_gather(struct device *d, const struct device_gather *g, size_t rows, void *out);
void cpu_dropout(struct device *device, const struct device_dropout *d, const void *x,
                 void *y);
void cpu_batch_norm(struct device *d, const struct device_batch_norm *b, const void *x,
                    void *y);
void cpu_batch_norm_running(struct device *d, const struct device_batch_norm *b,
                            const void *x, void *y);
void cpu_batch_norm_backward(struct device *d, const struct device_batch_norm *b,
                             const void *x, const void *dy, float *dweight, float *dbias,
                             void *dx);

#endif
