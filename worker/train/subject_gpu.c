/* Around each operation its arrays go to the GPU as they are, poison in results too, and
 * what it writes comes back. Tests have activations in fp32: those of 16 bits are rounded
 * on the way there, and widened on the way back. */
#include "worker/train/subject.h"

#include "base/mem.h"
#include "worker/train/devices.h"
#include "worker/train/gpu_wanted.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct copy {
    const void *host;
    void *gpu;
    size_t bytes;
    bool written;
    bool narrow; /* on the GPU of 16 bits */
};

struct subject {
    struct device device;
    struct device *gpu;
    enum device_precision precision;
    struct err failure;
    struct copy copies[16];
    int n;
};

static struct device *gpu_of(struct device *d)
{
    return ((struct subject *)d)->gpu;
}

/* ---- 16 bits ---- */

/* The nearest number of so many bits of significand (the leading one, too) that is a
 * multiple of 2^lowest, of two the even one. */
static float round_to(float x, int bits, int lowest)
{
    int exponent;

    if (x == 0 || !isfinite(x))
        return x;
    frexpf(x, &exponent);
    exponent = exponent - bits > lowest ? exponent - bits : lowest;
    return (float)ldexp(nearbyint(ldexp((double)x, -exponent)), exponent);
}

static uint16_t to_bf16(float x)
{
    uint32_t bits;

    x = round_to(x, 8, -133);
    memcpy(&bits, &x, sizeof(bits));
    return (uint16_t)(bits >> 16 | (isnan(x) ? 0x40 : 0));
}

static float from_bf16(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static uint16_t to_fp16(float x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    int exponent;

    if (isnan(x))
        return 0x7fff;
    x = fabsf(round_to(x, 11, -24));
    if (x > 65504)
        return sign | 0x7c00;
    if (x < 0x1p-14f)
        return sign | (uint16_t)(x * 0x1p24f);
    float share = frexpf(x, &exponent); /* from 1/2 to below 1 */
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)(share * 2048) - 1024));
}

static float from_fp16(uint16_t h)
{
    int exponent = h >> 10 & 31, share = h & 1023;
    float x = exponent == 31 ? (share ? NAN : INFINITY)
              : exponent     ? ldexpf((float)(1024 + share), exponent - 25)
                             : ldexpf((float)share, -24);

    return h & 0x8000 ? -x : x;
}

static void narrow(const struct subject *s, size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = s->precision == PRECISION_BF16 ? to_bf16(x[i]) : to_fp16(x[i]);
}

static void widen(const struct subject *s, size_t n, const uint16_t *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = s->precision == PRECISION_BF16 ? from_bf16(x[i]) : from_fp16(x[i]);
}

/* ---- copies ---- */

static struct copy *copy_of(struct device *d, const void *host, size_t bytes,
                            bool narrowed)
{
    struct subject *s = (struct subject *)d;
    size_t there = narrowed ? bytes / 2 : bytes;
    struct err e;

    for (int i = 0; i < s->n; i++)
        if (s->copies[i].host == host)
            return &s->copies[i];
    assert(s->n < 16);
    struct copy *c = &s->copies[s->n++];
    *c = (struct copy){.host = host, .bytes = bytes, .narrow = narrowed};
    if (s->gpu->ops->allocate(s->gpu, there, &c->gpu, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    void *sent = narrowed ? mem_alloc(there) : NULL;
    if (narrowed)
        narrow(s, bytes / sizeof(float), host, sent);
    s->gpu->ops->upload(s->gpu, c->gpu, sent ? sent : host, there);
    free(sent);
    return c;
}

/* Does it have activations of 16 bits? */
static bool narrows(struct device *d)
{
    return gpu_of(d)->width < sizeof(float);
}

/* NULL gives NULL. */
static const void *input_bytes(struct device *d, const void *host, size_t bytes)
{
    return host ? copy_of(d, host, bytes, false)->gpu : NULL;
}

static const float *input(struct device *d, const float *host, size_t n)
{
    return input_bytes(d, host, n * sizeof(*host));
}

static float *output(struct device *d, float *host, size_t n)
{
    if (!host)
        return NULL;
    struct copy *c = copy_of(d, host, n * sizeof(*host), false);
    c->written = true;
    return c->gpu;
}

static const void *given(struct device *d, const void *host, size_t n)
{
    return host ? copy_of(d, host, n * sizeof(float), narrows(d))->gpu : NULL;
}

static void *result(struct device *d, void *host, size_t n)
{
    if (!host)
        return NULL;
    struct copy *c = copy_of(d, host, n * sizeof(float), narrows(d));
    c->written = true;
    return c->gpu;
}

static void bring_back(struct subject *s, const struct copy *c, struct err *e)
{
    void *host = (void *)(uintptr_t)c->host;
    size_t bytes = c->narrow ? c->bytes / 2 : c->bytes;
    void *narrowed = c->narrow ? mem_alloc(bytes) : NULL;

    s->gpu->ops->download(s->gpu, narrowed ? narrowed : host, c->gpu, bytes, e);
    if (narrowed)
        widen(s, c->bytes / sizeof(float), narrowed, host);
    free(narrowed);
}

/* Brings back what was written. */
static void finish(struct device *d)
{
    struct subject *s = (struct subject *)d;

    for (int i = 0; i < s->n; i++) {
        if (s->copies[i].written)
            bring_back(s, &s->copies[i], s->failure.code ? NULL : &s->failure);
        s->gpu->ops->release(s->gpu, s->copies[i].gpu);
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
    ((struct subject *)d)->precision = p;
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
                           void *out)
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
    gpu->ops->gather(gpu, &there, rows, result(d, out, rows * g->features));
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

    there.a = given(d, g->a, g->m * g->k);
    there.b =
        g->weight_gradient ? given(d, g->b, g->k * g->n) : input(d, g->b, g->k * g->n);
    there.bias = input(d, g->bias, g->n);
    there.c =
        g->weight_gradient ? output(d, g->c, g->m * g->n) : result(d, g->c, g->m * g->n);
    gpu_of(d)->ops->gemm(gpu_of(d), &there);
    finish(d);
}

static void subject_activation_backward(struct device *d,
                                        enum device_activation activation, size_t rows,
                                        size_t cols, const void *y, void *dy,
                                        float *dbias)
{
    gpu_of(d)->ops->activation_backward(
        gpu_of(d), activation, rows, cols, given(d, y, rows * cols),
        result(d, dy, rows * cols), output(d, dbias, cols));
    finish(d);
}

static void subject_add(struct device *d, enum device_activation activation, size_t n,
                        const void *a, const void *b, void *y)
{
    gpu_of(d)->ops->add(gpu_of(d), activation, n, given(d, a, n), given(d, b, n),
                        result(d, y, n));
    finish(d);
}

static void subject_add_backward(struct device *d, enum device_activation activation,
                                 size_t n, const void *y, const void *dy, void *da,
                                 void *db)
{
    gpu_of(d)->ops->add_backward(gpu_of(d), activation, n, given(d, y, n),
                                 given(d, dy, n), result(d, da, n), result(d, db, n));
    finish(d);
}

static void subject_dropout(struct device *d, const struct device_dropout *dropout,
                            const void *x, void *y)
{
    size_t n = dropout->rows * dropout->cols;

    gpu_of(d)->ops->dropout(gpu_of(d), dropout, given(d, x, n), result(d, y, n));
    finish(d);
}

static void subject_softmax_loss(struct device *d, size_t rows, size_t classes,
                                 const void *logits, const int32_t *labels,
                                 const uint32_t *index, float smoothing, float share,
                                 void *gradient, struct device_totals *totals)
{
    size_t n_labels = most_of(index, rows) + 1;
    struct copy *sums = copy_of(d, totals, sizeof(*totals), false);

    sums->written = true;
    gpu_of(d)->ops->softmax_loss(gpu_of(d), rows, classes,
                                 given(d, logits, rows * classes),
                                 input_bytes(d, labels, n_labels * sizeof(*labels)),
                                 input_bytes(d, index, rows * sizeof(*index)), smoothing,
                                 share, result(d, gradient, rows * classes), sums->gpu);
    finish(d);
}

static size_t weights_of(const struct device_slide *s)
{
    return s->out.c * s->window.size * s->window.size * s->in.c;
}

static void subject_conv(struct device *d, const struct device_slide *s, const void *x,
                         const float *weight, const float *bias,
                         enum device_activation activation, void *y)
{
    gpu_of(d)->ops->conv(gpu_of(d), s, given(d, x, s->rows * image_size(s->in)),
                         input(d, weight, weights_of(s)), input(d, bias, s->out.c),
                         activation, result(d, y, s->rows * image_size(s->out)));
    finish(d);
}

static void subject_conv_backward_data(struct device *d, const struct device_slide *s,
                                       const float *weight, const void *dy, void *dx)
{
    gpu_of(d)->ops->conv_backward_data(gpu_of(d), s, input(d, weight, weights_of(s)),
                                       given(d, dy, s->rows * image_size(s->out)),
                                       result(d, dx, s->rows * image_size(s->in)));
    finish(d);
}

static void subject_conv_backward_weight(struct device *d, const struct device_slide *s,
                                         const void *x, const void *dy, float *dweight,
                                         float *dbias)
{
    gpu_of(d)->ops->conv_backward_weight(
        gpu_of(d), s, given(d, x, s->rows * image_size(s->in)),
        given(d, dy, s->rows * image_size(s->out)), output(d, dweight, weights_of(s)),
        output(d, dbias, s->out.c));
    finish(d);
}

static void subject_max_pool(struct device *d, const struct device_slide *s,
                             const void *x, void *y)
{
    gpu_of(d)->ops->max_pool(gpu_of(d), s, given(d, x, s->rows * image_size(s->in)),
                             result(d, y, s->rows * image_size(s->out)));
    finish(d);
}

static void subject_max_pool_backward(struct device *d, const struct device_slide *s,
                                      const void *x, const void *y, const void *dy,
                                      void *dx)
{
    size_t n_x = s->rows * image_size(s->in), n_y = s->rows * image_size(s->out);

    gpu_of(d)->ops->max_pool_backward(gpu_of(d), s, given(d, x, n_x), given(d, y, n_y),
                                      given(d, dy, n_y), result(d, dx, n_x));
    finish(d);
}

static void subject_avg_pool(struct device *d, size_t rows, struct image in,
                             const void *x, void *y)
{
    gpu_of(d)->ops->global_avg_pool(gpu_of(d), rows, in,
                                    given(d, x, rows * image_size(in)),
                                    result(d, y, rows * in.c));
    finish(d);
}

static void subject_avg_pool_backward(struct device *d, size_t rows, struct image in,
                                      const void *dy, void *dx)
{
    gpu_of(d)->ops->global_avg_pool_backward(gpu_of(d), rows, in,
                                             given(d, dy, rows * in.c),
                                             result(d, dx, rows * image_size(in)));
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
                               const void *x, void *y)
{
    struct device_batch_norm there = norm_there(d, b);
    size_t n = b->n * b->channels;

    gpu_of(d)->ops->batch_norm(gpu_of(d), &there, given(d, x, n), result(d, y, n));
    finish(d);
}

static void subject_batch_norm_running(struct device *d,
                                       const struct device_batch_norm *b, const void *x,
                                       void *y)
{
    struct device_batch_norm there = norm_there(d, b);
    size_t n = b->n * b->channels;

    gpu_of(d)->ops->batch_norm_running(gpu_of(d), &there, given(d, x, n),
                                       result(d, y, n));
    finish(d);
}

static void subject_batch_norm_backward(struct device *d,
                                        const struct device_batch_norm *b, const void *x,
                                        const void *dy, float *dweight, float *dbias,
                                        void *dx)
{
    struct device_batch_norm there = norm_there(d, b);
    size_t n = b->n * b->channels;

    gpu_of(d)->ops->batch_norm_backward(gpu_of(d), &there, given(d, x, n),
                                        given(d, dy, n), output(d, dweight, b->channels),
                                        output(d, dbias, b->channels), result(d, dx, n));
    finish(d);
}

static void subject_accumulate(struct device *d, size_t n, float *g, const float *more)
{
    gpu_of(d)->ops->accumulate(gpu_of(d), n, output(d, g, n), input(d, more, n));
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
    .accumulate = subject_accumulate,
    .unscale = subject_unscale,
    .sgd = subject_sgd,
    .adam = subject_adam,
};

struct device *subject_open(int threads)
{
    struct subject *s = mem_alloc(sizeof(*s));

    (void)threads;
    s->device.ops = &subject_ops;
    s->device.width = sizeof(float);
    s->gpu = gpu_wanted();
    return &s->device;
}
