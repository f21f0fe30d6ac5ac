/* Around each operation its arrays go to the GPU as they are, poison in results too, and
 * what it writes comes back. */
#include "worker/train/subject.h"

#include "base/mem.h"
#include "worker/train/devices.h"
#include "worker/train/gpu_wanted.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct copy {
    const void *host;
    void *gpu;
    size_t bytes;
    bool written;
};

struct subject {
    struct device device;
    struct device *gpu;
    struct err failure;
    struct copy copies[16];
    int n;
};

static struct device *gpu_of(struct device *d)
{
    return ((struct subject *)d)->gpu;
}

/* ---- copies ---- */

static struct copy *copy_of(struct device *d, const void *host, size_t bytes)
{
    struct subject *s = (struct subject *)d;
    struct err e;

    for (int i = 0; i < s->n; i++)
        if (s->copies[i].host == host)
            return &s->copies[i];
    assert(s->n < 16);
    struct copy *c = &s->copies[s->n++];
    *c = (struct copy){.host = host, .bytes = bytes};
    if (s->gpu->ops->allocate(s->gpu, bytes, &c->gpu, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    s->gpu->ops->upload(s->gpu, c->gpu, host, bytes);
    return c;
}

/* NULL gives NULL. */
static const void *input_bytes(struct device *d, const void *host, size_t bytes)
{
    return host ? copy_of(d, host, bytes)->gpu : NULL;
}

static const float *input(struct device *d, const float *host, size_t n)
{
    return input_bytes(d, host, n * sizeof(*host));
}

static float *output(struct device *d, float *host, size_t n)
{
    if (!host)
        return NULL;
    struct copy *c = copy_of(d, host, n * sizeof(*host));
    c->written = true;
    return c->gpu;
}

/* Brings back what was written. */
static void finish(struct device *d)
{
    struct subject *s = (struct subject *)d;
    struct err *e = s->failure.code ? NULL : &s->failure;

    for (int i = 0; i < s->n; i++) {
        struct copy *c = &s->copies[i];
        if (c->written)
            s->gpu->ops->download(s->gpu, (void *)(uintptr_t)c->host, c->gpu, c->bytes,
                                  e);
        s->gpu->ops->release(s->gpu, c->gpu);
    }
    s->n = 0;
}

/* ---- memory ---- */

static void subject_close(struct device *d)
{
    device_close(gpu_of(d));
    free(d);
}

static void subject_describe(const struct device *d, char *text, size_t size)
{
    const struct device *gpu = ((const struct subject *)d)->gpu;

    gpu->ops->describe(gpu, text, size);
}

static int subject_set_precision(struct device *d, enum device_precision p, struct err *e)
{
    return gpu_of(d)->ops->set_precision(gpu_of(d), p, e);
}

/* Where the GPU has as much. */
static int subject_allocate(struct device *d, size_t bytes, void **p, struct err *e)
{
    void *on_gpu;
    int rc = gpu_of(d)->ops->allocate(gpu_of(d), bytes, &on_gpu, e);

    if (rc < 0)
        return rc;
    gpu_of(d)->ops->release(gpu_of(d), on_gpu);
    bytes = (bytes + 64) / 64 * 64;
    *p = aligned_alloc(64, bytes);
    memset(*p, 0, bytes);
    return 0;
}

static void subject_release(struct device *d, void *p)
{
    (void)d;
    free(p);
}

static void subject_limit(struct device *d, size_t bytes)
{
    gpu_of(d)->ops->limit(gpu_of(d), bytes);
}

static void subject_memory(const struct device *d, struct device_memory *m)
{
    const struct device *gpu = ((const struct subject *)d)->gpu;

    gpu->ops->memory(gpu, m);
}

static int subject_attach(struct device *d, const void *host, size_t bytes,
                          const void **p, struct err *e)
{
    (void)d, (void)bytes, (void)e;
    *p = host;
    return 0;
}

static void subject_detach(struct device *d, const void *p)
{
    (void)d, (void)p;
}

static void subject_upload(struct device *d, void *to, const void *host, size_t bytes)
{
    (void)d;
    memcpy(to, host, bytes);
}

static int subject_download(struct device *d, void *host, const void *from, size_t bytes,
                            struct err *e)
{
    const struct err *failure = &((struct subject *)d)->failure;

    if (failure->code)
        return err_set(e, failure->code, "%s", failure->text);
    memcpy(host, from, bytes);
    return 0;
}

/* ---- operations ---- */

static size_t most_of(const uint32_t *index, size_t n)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++)
        most = index[i] > most ? index[i] : most;
    return most;
}

static void subject_gather(struct device *d, const struct device_gather *g, size_t rows,
                           float *out)
{
    struct device_gather there = *g;
    struct device *gpu = gpu_of(d);
    size_t each = g->type == SAMPLE_U8 ? 1 : sizeof(float);
    size_t bytes = most_of(g->index, rows) * g->stride + g->features * each;

    there.x = input_bytes(d, g->x, bytes);
    there.index = input_bytes(d, g->index, rows * sizeof(*g->index));
    there.mean = input(d, g->mean, g->features);
    there.scale = input(d, g->scale, g->features);
    there.moves = input_bytes(d, g->moves, rows * sizeof(*g->moves));
    gpu->ops->gather(gpu, &there, rows, output(d, out, rows * g->features));
    gpu->ops->gather_wait(gpu);
    finish(d);
}

static void subject_gather_wait(struct device *d)
{
    (void)d;
}

static void subject_gemm(struct device *d, const struct device_gemm *g)
{
    struct device_gemm there = *g;

    there.a = input(d, g->a, g->m * g->k);
    there.b = input(d, g->b, g->k * g->n);
    there.bias = input(d, g->bias, g->n);
    there.c = output(d, g->c, g->m * g->n);
    gpu_of(d)->ops->gemm(gpu_of(d), &there);
    finish(d);
}

static void subject_activation_backward(struct device *d,
                                        enum device_activation activation, size_t rows,
                                        size_t cols, const float *y, float *dy,
                                        float *dbias)
{
    gpu_of(d)->ops->activation_backward(
        gpu_of(d), activation, rows, cols, input(d, y, rows * cols),
        output(d, dy, rows * cols), output(d, dbias, cols));
    finish(d);
}

static void subject_add(struct device *d, enum device_activation activation, size_t n,
                        const float *a, const float *b, float *y)
{
    gpu_of(d)->ops->add(gpu_of(d), activation, n, input(d, a, n), input(d, b, n),
                        output(d, y, n));
    finish(d);
}

static void subject_add_backward(struct device *d, enum device_activation activation,
                                 size_t n, const float *y, const float *dy, float *da,
                                 float *db)
{
    gpu_of(d)->ops->add_backward(gpu_of(d), activation, n, input(d, y, n),
                                 input(d, dy, n), output(d, da, n), output(d, db, n));
    finish(d);
}

static void subject_dropout(struct device *d, const struct device_dropout *dropout,
                            const float *x, float *y)
{
    size_t n = dropout->rows * dropout->cols;

    gpu_of(d)->ops->dropout(gpu_of(d), dropout, input(d, x, n), output(d, y, n));
    finish(d);
}

static void subject_softmax_loss(struct device *d, size_t rows, size_t classes,
                                 const float *logits, const int32_t *labels,
                                 const uint32_t *index, float smoothing, float share,
                                 float *gradient, struct device_totals *totals)
{
    size_t n_labels = most_of(index, rows) + 1;
    struct copy *sums = copy_of(d, totals, sizeof(*totals));

    sums->written = true;
    gpu_of(d)->ops->softmax_loss(gpu_of(d), rows, classes,
                                 input(d, logits, rows * classes),
                                 input_bytes(d, labels, n_labels * sizeof(*labels)),
                                 input_bytes(d, index, rows * sizeof(*index)), smoothing,
                                 share, output(d, gradient, rows * classes), sums->gpu);
    finish(d);
}

static size_t weights_of(const struct device_slide *s)
{
    return s->out.c * s->window.size * s->window.size * s->in.c;
}

static void subject_conv(struct device *d, const struct device_slide *s, const float *x,
                         const float *weight, const float *bias,
                         enum device_activation activation, float *y)
{
    gpu_of(d)->ops->conv(gpu_of(d), s, input(d, x, s->rows * image_size(s->in)),
                         input(d, weight, weights_of(s)), input(d, bias, s->out.c),
                         activation, output(d, y, s->rows * image_size(s->out)));
    finish(d);
}

static void subject_conv_backward_data(struct device *d, const struct device_slide *s,
                                       const float *weight, const float *dy, float *dx)
{
    gpu_of(d)->ops->conv_backward_data(gpu_of(d), s, input(d, weight, weights_of(s)),
                                       input(d, dy, s->rows * image_size(s->out)),
                                       output(d, dx, s->rows * image_size(s->in)));
    finish(d);
}

static void subject_conv_backward_weight(struct device *d, const struct device_slide *s,
                                         const float *x, const float *dy, float *dweight,
                                         float *dbias)
{
    gpu_of(d)->ops->conv_backward_weight(
        gpu_of(d), s, input(d, x, s->rows * image_size(s->in)),
        input(d, dy, s->rows * image_size(s->out)), output(d, dweight, weights_of(s)),
        output(d, dbias, s->out.c));
    finish(d);
}

static void subject_max_pool(struct device *d, const struct device_slide *s,
                             const float *x, float *y)
{
    gpu_of(d)->ops->max_pool(gpu_of(d), s, input(d, x, s->rows * image_size(s->in)),
                             output(d, y, s->rows * image_size(s->out)));
    finish(d);
}

static void subject_max_pool_backward(struct device *d, const struct device_slide *s,
                                      const float *x, const float *y, const float *dy,
                                      float *dx)
{
    size_t n_x = s->rows * image_size(s->in), n_y = s->rows * image_size(s->out);

    gpu_of(d)->ops->max_pool_backward(gpu_of(d), s, input(d, x, n_x), input(d, y, n_y),
                                      input(d, dy, n_y), output(d, dx, n_x));
    finish(d);
}

static void subject_avg_pool(struct device *d, size_t rows, struct image in,
                             const float *x, float *y)
{
    gpu_of(d)->ops->global_avg_pool(gpu_of(d), rows, in,
                                    input(d, x, rows * image_size(in)),
                                    output(d, y, rows * in.c));
    finish(d);
}

static void subject_avg_pool_backward(struct device *d, size_t rows, struct image in,
                                      const float *dy, float *dx)
{
    gpu_of(d)->ops->global_avg_pool_backward(gpu_of(d), rows, in,
                                             input(d, dy, rows * in.c),
                                             output(d, dx, rows * image_size(in)));
    finish(d);
}

static struct device_batch_norm norm_there(struct device *d,
                                           const struct device_batch_norm *b)
{
    struct device_batch_norm there = *b;
    size_t c = b->channels;

    there.weight = input(d, b->weight, c);
    there.bias = input(d, b->bias, c);
    there.running_mean = output(d, b->running_mean, c);
    there.running_var = output(d, b->running_var, c);
    there.mean = output(d, b->mean, c);
    there.rstd = output(d, b->rstd, c);
    return there;
}

static void subject_batch_norm(struct device *d, const struct device_batch_norm *b,
                               const float *x, float *y)
{
    struct device_batch_norm there = norm_there(d, b);
    size_t n = b->n * b->channels;

    gpu_of(d)->ops->batch_norm(gpu_of(d), &there, input(d, x, n), output(d, y, n));
    finish(d);
}

static void subject_batch_norm_running(struct device *d,
                                       const struct device_batch_norm *b, const float *x,
                                       float *y)
{
    struct device_batch_norm there = norm_there(d, b);
    size_t n = b->n * b->channels;

    gpu_of(d)->ops->batch_norm_running(gpu_of(d), &there, input(d, x, n),
                                       output(d, y, n));
    finish(d);
}

static void subject_batch_norm_backward(struct device *d,
                                        const struct device_batch_norm *b, const float *x,
                                        const float *dy, float *dweight, float *dbias,
                                        float *dx)
{
    struct device_batch_norm there = norm_there(d, b);
    size_t n = b->n * b->channels;

    gpu_of(d)->ops->batch_norm_backward(gpu_of(d), &there, input(d, x, n),
                                        input(d, dy, n), output(d, dweight, b->channels),
                                        output(d, dbias, b->channels), output(d, dx, n));
    finish(d);
}

static int subject_unscale(struct device *d, float by, size_t n, float *g, bool *finite,
                           struct err *e)
{
    int rc = gpu_of(d)->ops->unscale(gpu_of(d), by, n, output(d, g, n), finite, e);

    finish(d);
    return rc;
}

static void subject_sgd(struct device *d, const struct device_sgd *s, size_t n, float *w,
                        const float *g, float *v)
{
    gpu_of(d)->ops->sgd(gpu_of(d), s, n, output(d, w, n), input(d, g, n),
                        output(d, v, n));
    finish(d);
}

static void subject_adam(struct device *d, const struct device_adam *s, size_t n,
                         float *w, const float *g, float *m, float *v)
{
    gpu_of(d)->ops->adam(gpu_of(d), s, n, output(d, w, n), input(d, g, n),
                         output(d, m, n), output(d, v, n));
    finish(d);
}

static const struct device_ops subject_ops = {
    .on_host = true,
    .close = subject_close,
    .describe = subject_describe,
    .set_precision = subject_set_precision,
    .allocate = subject_allocate,
    .release = subject_release,
    .limit = subject_limit,
    .memory = subject_memory,
    .attach = subject_attach,
    .detach = subject_detach,
    .upload = subject_upload,
    .download = subject_download,
    .gather = subject_gather,
    .gather_wait = subject_gather_wait,
    .gemm = subject_gemm,
    .activation_backward = subject_activation_backward,
    .add = subject_add,
    .add_backward = subject_add_backward,
    .dropout = subject_dropout,
    .softmax_loss = subject_softmax_loss,
    .conv = subject_conv,
    .conv_backward_data = subject_conv_backward_data,
    .conv_backward_weight = subject_conv_backward_weight,
    .max_pool = subject_max_pool,
    .max_pool_backward = subject_max_pool_backward,
    .global_avg_pool = subject_avg_pool,
    .global_avg_pool_backward = subject_avg_pool_backward,
    .batch_norm = subject_batch_norm,
    .batch_norm_running = subject_batch_norm_running,
    .batch_norm_backward = subject_batch_norm_backward,
    .unscale = subject_unscale,
    .sgd = subject_sgd,
    .adam = subject_adam,
};

struct device *subject_open(int threads)
{
    struct subject *s = mem_alloc(sizeof(*s));

    (void)threads;
    s->device.ops = &subject_ops;
    s->gpu = gpu_wanted();
    return &s->device;
}
