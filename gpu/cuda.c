/* A GPU by CUDA. Operations are queued on one stream, in order, so that memory which is
 * released can be given out again at once: who gets it comes later in the stream. Some
 * wait before, on the tape (cuda_ops.c), which all here runs first. Products are cuBLAS's
 * (cuda_blas.c), convolutions cuDNN's (cuda_conv.c), and the rest kernels of ours
 * (kernels.h). */
#include "config.h"

#include "gpu/cuda_private.h"

#include "base/mem.h"
#include "base/units.h"
#include "gpu/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGING       ((size_t)8 << 20) /* bytes of each */
#define USAGE_SECONDS 1.0               /* between two looks at how busy it is */

/* ---- failures ---- */

bool cuda_note(struct cuda *cuda, int rc, const struct err *e)
{
    if (rc < 0 && !cuda->failure.code)
        cuda->failure = *e;
    return rc == 0;
}

bool cuda_ok(struct cuda *cuda, cudaError_t rc, const char *what)
{
    struct err e;

    return cuda_note(cuda, fault_cuda(rc, &cuda->versions, what, &e), &e);
}

bool cuda_blas_ok(struct cuda *cuda, cublasStatus_t rc, const char *what)
{
    struct err e;

    return cuda_note(cuda, fault_cublas(rc, what, &e), &e);
}

/* ---- what it is ---- */

static const char *const precision_names[] = {
    [PRECISION_FP32] = "fp32",
    [PRECISION_TF32] = "tf32",
    [PRECISION_BF16] = "bf16",
    [PRECISION_FP16] = "fp16",
};

static void cuda_describe(const struct device *d, char *text, size_t size)
{
    const struct cuda *cuda = (const struct cuda *)d;

    snprintf(text, size, "%s, %s", cuda->name, precision_names[cuda->precision]);
}

static int cuda_set_precision(struct device *d, enum device_precision p, struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;

    if (cuda->capability < 80 && (p == PRECISION_TF32 || p == PRECISION_BF16))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s has it not: use fp32 or fp16 (%s is for compute capability 8 "
                       "and above, this is %d.%d)",
                       cuda->name, precision_names[p], cuda->capability / 10,
                       cuda->capability % 10);
    cuda->precision = p;
    cuda->type = p == PRECISION_BF16   ? KERNEL_BF16
                 : p == PRECISION_FP16 ? KERNEL_FP16
                                       : KERNEL_FP32;
    d->width = cuda->type == KERNEL_FP32 ? 4 : 2;
    return 0;
}

cudaStream_t cuda_stream(struct cuda *cuda)
{
    tape_flush(cuda->tape);
    return cuda->queue;
}

/* ---- memory ---- */

/* The driver loads a kernel's code when it is launched first, and that has to find room:
 * the last of the memory is not ours to take. (CUDA C++ Programming Guide, "Lazy
 * Loading".) */
#define LEFT_FOR_CODE ((size_t)512 << 20)

static bool enough_left(void)
{
    size_t left, all;

    return cudaMemGetInfo(&left, &all) != cudaSuccess || left >= LEFT_FOR_CODE;
}

static int take_memory(void *arg, size_t bytes, void **p, struct err *e)
{
    const struct cuda *cuda = arg;
    char size[UNITS_MAX], what[64];
    cudaError_t rc = cudaMalloc(p, bytes);

    if (rc == cudaSuccess && enough_left())
        return 0;
    if (rc == cudaSuccess) {
        cudaFree(*p);
        rc = cudaErrorMemoryAllocation;
    }
    cudaGetLastError(); /* or the next launch would be blamed */
    snprintf(what, sizeof(what), "cannot allocate %s", size_format(size, (double)bytes));
    return fault_cuda(rc, &cuda->versions, what, e);
}

static void give_memory(void *arg, void *p)
{
    (void)arg;
    cudaDeviceSynchronize(); /* somebody may still use it */
    cudaFree(p);
}

static int cuda_allocate(struct device *d, size_t bytes, void **p, struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;
    int rc = cache_allocate(cuda->cache, bytes, p, e);

    if (rc == 0) /* download() says it if this fails */
        cuda_ok(cuda, cudaMemsetAsync(*p, 0, bytes, cuda_stream(cuda)),
                "zeroing of memory");
    return rc;
}

static void cuda_release(struct device *d, void *p)
{
    tape_flush(((struct cuda *)d)->tape);
    cache_release(((struct cuda *)d)->cache, p);
}

static void cuda_limit(struct device *d, size_t bytes)
{
    cache_limit(((struct cuda *)d)->cache, bytes);
}

static void cuda_memory(const struct device *d, struct device_memory *m)
{
    struct cache_usage u = cache_usage(((const struct cuda *)d)->cache);

    *m = (struct device_memory){u.used, u.peak};
}

static void release_space(struct cuda *cuda)
{
    tape_forget(cuda->tape);
    cache_release(cuda->cache, cuda->space);
    cuda->space = NULL;
    cuda->space_bytes = 0;
}

static void cuda_recover(struct device *d)
{
    struct cuda *cuda = (struct cuda *)d;
    cudaStream_t stream = cuda_stream(cuda);

    if (cuda->failure.code != ERR_FULL)
        return;
    cudaStreamSynchronize(stream);
    cudaGetLastError();
    release_space(cuda);
    cuda_conv_forget(cuda);
    cache_trim(cuda->cache);
    cuda->failure = (struct err){0};
}

int cuda_space_try(struct cuda *cuda, size_t bytes, void **p, struct err *e)
{
    if (cuda->space && bytes <= cuda->space_bytes) {
        *p = cuda->space;
        return 0;
    }
    if (cuda->capturing) /* the same was run before: it does not happen */
        return err_set(e, ERR_IO, "a step that is captured needs more memory");
    release_space(cuda);
    int rc = cache_allocate(cuda->cache, bytes, &cuda->space, e);
    if (rc < 0)
        return rc;
    cuda->space_bytes = bytes;
    *p = cuda->space;
    return 0;
}

void *cuda_space(struct cuda *cuda, size_t bytes)
{
    struct err e;
    void *p = NULL;

    cuda_note(cuda, cuda_space_try(cuda, bytes, &p, &e), &e);
    return p;
}

/* ---- copying ---- */

static size_t piece(size_t bytes, size_t at)
{
    return bytes - at < STAGING ? bytes - at : STAGING;
}

static void cuda_upload(struct device *d, void *to, const void *host, size_t bytes)
{
    struct cuda *cuda = (struct cuda *)d;
    cudaStream_t stream = cuda_stream(cuda);
    bool ok = true;

    for (size_t at = 0, i = 0; at < bytes && ok; at += STAGING, i++) {
        struct staging *s = &cuda->staging[i % STAGINGS];
        size_t n = piece(bytes, at);
        ok = cuda_ok(cuda, cudaEventSynchronize(s->done), "a copy to the GPU");
        if (!ok)
            return;
        memcpy(s->p, (const char *)host + at, n);
        ok = cuda_ok(cuda,
                     cudaMemcpyAsync((char *)to + at, s->p, n, cudaMemcpyHostToDevice,
                                     stream),
                     "a copy to the GPU") &&
             cuda_ok(cuda, cudaEventRecord(s->done, stream), "a copy to the GPU");
    }
}

/* The bus brings a piece while the one before is copied out. */
static void bring(struct cuda *cuda, char *host, const char *from, size_t bytes)
{
    static const char what[] = "a copy from the GPU";
    size_t pieces = (bytes + STAGING - 1) / STAGING;

    for (size_t i = 0; i <= pieces; i++) {
        if (i < pieces) {
            struct staging *s = &cuda->staging[i % STAGINGS];
            if (!cuda_ok(cuda, cudaEventSynchronize(s->done), what) ||
                !cuda_ok(cuda,
                         cudaMemcpyAsync(s->p, from + i * STAGING,
                                         piece(bytes, i * STAGING),
                                         cudaMemcpyDeviceToHost, cuda->queue),
                         what) ||
                !cuda_ok(cuda, cudaEventRecord(s->done, cuda->queue), what))
                return;
        }
        if (i > 0) {
            const struct staging *s = &cuda->staging[(i - 1) % STAGINGS];
            if (!cuda_ok(cuda, cudaEventSynchronize(s->done), what))
                return;
            memcpy(host + (i - 1) * STAGING, s->p, piece(bytes, (i - 1) * STAGING));
        }
    }
}

static int cuda_download(struct device *d, void *host, const void *from, size_t bytes,
                         struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;
    cudaStream_t stream = cuda_stream(cuda);

    if (!cuda->failure.code)
        bring(cuda, host, from, bytes);
    if (!cuda->failure.code)
        cuda_ok(cuda, cudaStreamSynchronize(stream), "the GPU's work");
    cuda_group_check(cuda);
    if (cuda->failure.code)
        return err_set(e, cuda->failure.code, "%s", cuda->failure.text);
    return 0;
}

/* A copy on the GPU, where that leaves it half of what is free; else one in memory of
 * the host, which it reads. "Free" is what --max-memory leaves, too. */
static int cuda_attach(struct device *d, const void *host, size_t bytes, const void **p,
                       struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;
    struct attachment a = {NULL, false};
    size_t free_bytes = 0, all, left = cache_usage(cuda->cache).left;
    int rc =
        fault_cuda(cudaMemGetInfo(&free_bytes, &all), &cuda->versions, "its memory", e);

    if (rc < 0)
        return rc;
    if (left > free_bytes)
        left = free_bytes;
    if (bytes > left / 2 || cache_allocate(cuda->cache, bytes, &a.p, NULL) < 0) {
        a.host = true;
        if (cudaHostAlloc(&a.p, bytes, cudaHostAllocDefault) != cudaSuccess) {
            char size[UNITS_MAX];
            cudaGetLastError(); /* or the next launch would be blamed */
            return err_set(e, ERR_FULL,
                           "the samples do not fit on the GPU, and the host has no %s to "
                           "lock in its memory for them",
                           size_format(size, (double)bytes));
        }
        memcpy(a.p, host, bytes);
    } else {
        cuda_upload(d, a.p, host, bytes);
    }
    vec_push(&cuda->attachments, a);
    *p = a.p;
    return 0;
}

static void cuda_detach(struct device *d, const void *p)
{
    struct cuda *cuda = (struct cuda *)d;

    tape_flush(cuda->tape);
    for (size_t i = 0; p && i < cuda->attachments.n; i++) {
        struct attachment a = cuda->attachments.v[i];
        if (a.p != p)
            continue;
        cudaStreamSynchronize(cuda->gatherer); /* which reads samples */
        cudaStreamSynchronize(cuda->queue);    /* and this one labels */
        if (a.host)
            cudaFreeHost(a.p);
        else
            cache_release(cuda->cache, a.p);
        cuda->attachments.v[i] = cuda->attachments.v[--cuda->attachments.n];
        return;
    }
}

/* ---- beginning and end ---- */

static void cuda_close(struct device *d)
{
    struct cuda *cuda = (struct cuda *)d;

    if (cuda->tape)
        tape_flush(cuda->tape);
    if (cuda->gatherer)
        cudaStreamSynchronize(cuda->gatherer);
    if (cuda->queue)
        cudaStreamSynchronize(cuda->queue);
    usage_end(cuda->usage);
    cuda_group_close(cuda);
    cuda_conv_close(cuda);
    cuda_blas_close(cuda);
    while (cuda->attachments.n)
        cuda_detach(d, cuda->attachments.v[0].p);
    tape_close(cuda->tape);
    vec_free(&cuda->attachments);
    for (int i = 0; i < STAGINGS; i++) {
        if (cuda->staging[i].p)
            cudaFreeHost(cuda->staging[i].p);
        if (cuda->staging[i].done)
            cudaEventDestroy(cuda->staging[i].done);
    }
    cache_close(cuda->cache);
    if (cuda->queued)
        cudaEventDestroy(cuda->queued);
    if (cuda->gathered)
        cudaEventDestroy(cuda->gathered);
    if (cuda->gatherer)
        cudaStreamDestroy(cuda->gatherer);
    if (cuda->queue)
        cudaStreamDestroy(cuda->queue);
    free(cuda);
}

static void cuda_usage(struct device *d, struct device_usage *u)
{
    usage_take(((struct cuda *)d)->usage, u);
}

static const struct device_ops cuda_ops = {
    .group = &cuda_group_ops,
    .close = cuda_close,
    .describe = cuda_describe,
    .set_precision = cuda_set_precision,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .limit = cuda_limit,
    .memory = cuda_memory,
    .usage = cuda_usage,
    .recover = cuda_recover,
    .attach = cuda_attach,
    .detach = cuda_detach,
    .upload = cuda_upload,
    .download = cuda_download,
    .gather = cuda_gather,
    .gather_wait = cuda_gather_wait,
    .gemm = cuda_gemm,
    .activation_backward = cuda_activation_backward,
    .add = cuda_add,
    .add_backward = cuda_add_backward,
    .dropout = cuda_dropout,
    .softmax_loss = cuda_softmax_loss,
    .conv = cuda_conv,
    .conv_backward_data = cuda_conv_backward_data,
    .conv_backward_weight = cuda_conv_backward_weight,
    .max_pool = cuda_max_pool,
    .max_pool_backward = cuda_max_pool_backward,
    .global_avg_pool = cuda_avg_pool,
    .global_avg_pool_backward = cuda_avg_pool_backward,
    .batch_norm = cuda_batch_norm,
    .batch_norm_running = cuda_batch_norm_running,
    .batch_norm_backward = cuda_batch_norm_backward,
    .accumulate = cuda_accumulate,
    .unscale = cuda_unscale,
    .sgd = cuda_sgd,
    .adam = cuda_adam,
};

static struct fault_versions versions(void)
{
    struct fault_versions v = {0, 0};

    cudaDriverGetVersion(&v.driver); /* 0 without a driver */
    cudaRuntimeGetVersion(&v.runtime);
    return v;
}

static int cuda_count(int *n, struct err *e)
{
    struct fault_versions v = versions();
    int found = 0;
    cudaError_t rc = cudaGetDeviceCount(&found);

    if (rc == cudaSuccess && found == 0)
        rc = cudaErrorNoDevice;
    if (rc == cudaSuccess)
        *n = found;
    return fault_cuda(rc, &v, "CUDA", e);
}

static int name_gpu(struct cuda *cuda, int number, uint64_t *id, struct err *e)
{
    struct cudaDeviceProp p;
    int rc = fault_cuda(cudaSetDevice(number), &cuda->versions, "CUDA", e);

    if (rc == 0)
        rc = fault_cuda(cudaGetDeviceProperties(&p, number), &cuda->versions, "CUDA", e);
    if (rc < 0)
        return rc;
    snprintf(cuda->name, sizeof(cuda->name), "%s", p.name);
    cuda->capability = 10 * p.major + p.minor;
    *id = 0;
    for (size_t i = 0; i < sizeof(p.uuid.bytes); i++)
        *id = *id * 257 + (unsigned char)p.uuid.bytes[i];
    return 0;
}

static int open_streams(struct cuda *cuda, struct err *e)
{
    cudaError_t rc = cudaStreamCreateWithFlags(&cuda->queue, cudaStreamNonBlocking);

    if (rc == cudaSuccess)
        rc = cudaStreamCreateWithFlags(&cuda->gatherer, cudaStreamNonBlocking);
    if (rc == cudaSuccess)
        rc = cudaEventCreateWithFlags(&cuda->queued, cudaEventDisableTiming);
    if (rc == cudaSuccess)
        rc = cudaEventCreateWithFlags(&cuda->gathered, cudaEventDisableTiming);
    for (int i = 0; i < STAGINGS && rc == cudaSuccess; i++) {
        struct staging *s = &cuda->staging[i];
        rc = cudaHostAlloc(&s->p, STAGING, cudaHostAllocDefault);
        if (rc == cudaSuccess)
            rc = cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming);
    }
    return fault_cuda(rc, &cuda->versions, cuda->name, e);
}

/* By its UUID, which NVML knows, too, whatever CUDA_VISIBLE_DEVICES hides. */
static void watch_usage(struct cuda *cuda, int number)
{
    struct cudaDeviceProp p;
    char name[64] = "GPU-";
    size_t n = strlen(name);

    if (cudaGetDeviceProperties(&p, number) != cudaSuccess)
        return;
    for (size_t i = 0; i < sizeof(p.uuid.bytes); i++)
        n += (size_t)snprintf(name + n, sizeof(name) - n, "%s%02x",
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                              (unsigned char)p.uuid.bytes[i]);
    cuda->usage = usage_begin(name, USAGE_SECONDS);
}

/* A kernel of ours and a copy: what does not work shows here, and not in the middle of a
 * training. */
static int try_out(struct cuda *cuda, struct err *e)
{
    void *p;
    bool finite;
    int rc = cuda_allocate(&cuda->device, 2 * sizeof(*cuda->overflow), &p, e);

    if (rc < 0)
        return rc;
    cuda->overflow = p;
    rc = cuda_unscale(&cuda->device, 1, 1, (float *)p + 1, &finite, e);
    return rc < 0 ? err_prefix(e, "%s", cuda->name) : 0;
}

static int cuda_open(int number, struct device **d, uint64_t *id, struct err *e)
{
    struct cuda *cuda = mem_alloc(sizeof(*cuda));
    int rc;

    cuda->device.ops = &cuda_ops;
    cuda->device.width = sizeof(float);
    cuda->versions = versions();
    cuda->cache = cache_open(&(struct cache_source){take_memory, give_memory, cuda});
    rc = name_gpu(cuda, number, id, e);
    if (rc == 0)
        rc = open_streams(cuda, e);
    if (rc == 0)
        rc = cuda_graph_open(cuda, e);
    if (rc == 0)
        rc = try_out(cuda, e);
    if (rc == 0)
        rc = cuda_blas_open(cuda, e);
    if (rc == 0)
        rc = cuda_conv_open(cuda, e);
    if (rc < 0) {
        cuda_close(&cuda->device);
        return rc;
    }
    watch_usage(cuda, number);
    *d = &cuda->device;
    return 0;
}

__attribute__((visibility("default"))) const struct plugin rung_cuda = {
    .version = PACKAGE_VERSION,
    .ops_size = sizeof(struct device_ops),
    .count = cuda_count,
    .open = cuda_open,
};
