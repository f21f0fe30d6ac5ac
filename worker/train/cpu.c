/* Products and convolutions are most of the work, and libraries'. What is left are loops
 * over elements that do not depend on each other (`omp simd` says so), with the sums over
 * rows outside: neither vector instructions nor threads change anything in their order.
 * WIDE compiles such a loop for AVX2 too, chosen at start: the same operations on every
 * element, hence the same bits, in half the time. */
#include "worker/train/cpu_private.h"

#include "base/mem.h"
#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

/* ---- what it is ---- */

static void cpu_describe(const struct device *d, char *text, size_t size)
{
    const struct cpu *cpu = (const struct cpu *)d;
    char libraries[64];

    cpu_conv_describe(libraries, sizeof(libraries));
    snprintf(text, size, "cpu, %d thread%s (%s%s)", cpu->threads,
             cpu->threads == 1 ? "" : "s", libraries,
             cpu->precision == PRECISION_BF16 ? ", bf16" : "");
}

static int cpu_set_precision(struct device *d, enum device_precision p, struct err *e)
{
    int rc;

    if (p == PRECISION_TF32 || p == PRECISION_FP16)
        return err_set(e, ERR_UNSUPPORTED, "CPUs do not have it: use fp32 or bf16");
    rc = cpu_conv_precision(p, e);
    if (rc == 0)
        ((struct cpu *)d)->precision = p;
    return rc;
}

/* ---- memory ---- */

static void *allocate(size_t bytes)
{
    void *p = NULL;

    if (bytes <= PTRDIFF_MAX - ALIGNMENT) {
        bytes = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
        p = aligned_alloc(ALIGNMENT, bytes);
    }
    if (p)
        memset(p, 0, bytes);
    return p;
}

static int cannot_allocate(size_t bytes, struct err *e)
{
    char size[UNITS_MAX];

    return err_set(e, ERR_FULL, "cannot allocate %s", size_format(size, (double)bytes));
}

/* What is given out has its size before it. */
static int cpu_allocate(struct device *d, size_t bytes, void **p, struct err *e)
{
    struct cpu *cpu = (struct cpu *)d;
    size_t left = cpu->most - cpu->used;
    char *block = NULL, size[UNITS_MAX];

    if (bytes <= left && bytes + ALIGNMENT > bytes)
        block = allocate(bytes + ALIGNMENT);
    if (!block && bytes > left) {
        cannot_allocate(bytes, e);
        return err_prefix(e, "with %s left", size_format(size, (double)left));
    }
    if (!block)
        return cannot_allocate(bytes, e);
    memcpy(block, &bytes, sizeof(bytes));
    cpu->used += bytes;
    if (cpu->used > cpu->peak)
        cpu->peak = cpu->used;
    *p = block + ALIGNMENT;
    return 0;
}

static void cpu_release(struct device *d, void *p)
{
    size_t bytes;

    if (!p)
        return;
    char *block = (char *)p - ALIGNMENT;
    memcpy(&bytes, block, sizeof(bytes));
    ((struct cpu *)d)->used -= bytes;
    free(block);
}

/* What operations need while they run is not counted: it is little; in bf16 what a layer
 * takes in, rounded. */
static void cpu_limit(struct device *d, size_t bytes)
{
    struct cpu *cpu = (struct cpu *)d;

    cpu->most = cpu->used + bytes < cpu->used ? SIZE_MAX : cpu->used + bytes;
}

static void cpu_memory(const struct device *d, struct device_memory *m)
{
    const struct cpu *cpu = (const struct cpu *)d;

    *m = (struct device_memory){cpu->used, cpu->peak};
}

void *space_fit(struct space *s, struct cpu *cpu, size_t bytes)
{
    if (bytes <= s->bytes)
        return s->p;
    void *p = allocate(bytes);
    if (!p) {
        cannot_allocate(bytes, cpu->failure.code ? NULL : &cpu->failure);
        return NULL;
    }
    free(s->p);
    *s = (struct space){p, bytes};
    return p;
}

void *cpu_space(struct cpu *cpu, size_t bytes)
{
    return space_fit(&cpu->space, cpu, bytes);
}

static void cpu_close(struct device *d)
{
    cpu_gather_close((struct cpu *)d);
    cpu_conv_close((struct cpu *)d);
    free(((struct cpu *)d)->space.p);
    free(d);
}

static int cpu_attach(struct device *d, const void *host, size_t bytes, const void **p,
                      struct err *e)
{
    (void)d, (void)bytes, (void)e;
    *p = host;
    return 0;
}

static void cpu_detach(struct device *d, const void *p)
{
    (void)d, (void)p;
}

static void cpu_upload(struct device *d, void *to, const void *host, size_t bytes)
{
    (void)d;
    memcpy(to, host, bytes);
}

static int cpu_download(struct device *d, void *host, const void *from, size_t bytes,
                        struct err *e)
{
    const struct err *failure = &((struct cpu *)d)->failure;

    if (failure->code)
        return err_set(e, failure->code, "%s", failure->text);
    memcpy(host, from, bytes);
    return 0;
}

/* ---- forward and backward ---- */

WIDE static void add_bias(size_t n, const float *restrict bias, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += bias[i];
}

/* Written so that a NaN stays one: a training that diverged shows it. */
WIDE static void add_bias_relu(size_t n, const float *restrict bias, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float z = y[i] + bias[i];
        y[i] = z < 0 ? 0 : z;
    }
}

static void cpu_gemm(struct device *d, const struct device_gemm *g)
{
    float *c = g->c;

    cpu_product((struct cpu *)d, g);
    for (size_t r = 0; g->bias && r < g->m; r++, c += g->n) {
        if (g->activation == ACTIVATION_RELU)
            add_bias_relu(g->n, g->bias, c);
        else
            add_bias(g->n, g->bias, c);
    }
}

WIDE static void relu_backward_row(size_t n, const float *restrict y, float *restrict dy,
                                   float *restrict dbias)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float g = y[i] == 0 ? 0 : dy[i];
        dy[i] = g;
        dbias[i] += g;
    }
}

WIDE static void relu_backward(size_t n, const float *restrict y, float *restrict dy)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dy[i] = y[i] == 0 ? 0 : dy[i];
}

/* What an operation on elements works on; each has those of them that it needs. */
struct elements {
    enum device_activation activation;
    const float *a, *b, *y, *dy;
    float *to[2];
};

static void relu_backward_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct elements *e = arg;

    (void)piece;
    relu_backward(to - from, e->y + from, e->to[0] + from);
}

static void cpu_activation_backward(struct device *d, enum device_activation activation,
                                    size_t rows, size_t cols, const void *y, void *dy,
                                    float *dbias)
{
    struct elements e = {.y = y, .to = {dy}};
    float *g = dy;

    if (!dbias) {
        if (activation == ACTIVATION_RELU)
            cpu_parallel((struct cpu *)d, rows * cols, 1, relu_backward_piece, &e);
        return;
    }
    memset(dbias, 0, cols * sizeof(*dbias));
    for (size_t r = 0; r < rows; r++) {
        if (activation == ACTIVATION_RELU)
            relu_backward_row(cols, e.y + r * cols, g + r * cols, dbias);
        else
            add_bias(cols, g + r * cols, dbias);
    }
}

/* y may be a or b, which `restrict` would deny. */
WIDE static void add(size_t n, const float *a, const float *b, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

WIDE static void add_relu(size_t n, const float *a, const float *b, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float z = a[i] + b[i];
        y[i] = z < 0 ? 0 : z;
    }
}

static void add_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct elements *e = arg;

    (void)piece;
    (e->activation == ACTIVATION_RELU ? add_relu : add)(to - from, e->a + from,
                                                        e->b + from, e->to[0] + from);
}

static void cpu_add(struct device *d, enum device_activation activation, size_t n,
                    const void *a, const void *b, void *y)
{
    struct elements e = {.activation = activation, .a = a, .b = b, .to = {y}};

    cpu_parallel((struct cpu *)d, n, 1, add_piece, &e);
}

WIDE static void relu_backward_to(size_t n, const float *restrict y,
                                  const float *restrict dy, float *restrict da)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        da[i] = y[i] == 0 ? 0 : dy[i];
}

WIDE static void relu_backward_to_both(size_t n, const float *restrict y,
                                       const float *restrict dy, float *restrict da,
                                       float *restrict db)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float g = y[i] == 0 ? 0 : dy[i];
        da[i] = g;
        db[i] = g;
    }
}

static void add_backward_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct elements *e = arg;
    size_t n = to - from;

    (void)piece;
    if (e->activation == ACTIVATION_RELU && e->to[0] && e->to[1]) {
        relu_backward_to_both(n, e->y + from, e->dy + from, e->to[0] + from,
                              e->to[1] + from);
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (e->to[i] && e->activation == ACTIVATION_RELU)
            relu_backward_to(n, e->y + from, e->dy + from, e->to[i] + from);
        else if (e->to[i])
            memcpy(e->to[i] + from, e->dy + from, n * sizeof(*e->dy));
    }
}

static void cpu_add_backward(struct device *d, enum device_activation activation,
                             size_t n, const void *y, const void *dy, void *da, void *db)
{
    struct elements e = {.activation = activation, .y = y, .dy = dy, .to = {da, db}};

    cpu_parallel((struct cpu *)d, n, 1, add_backward_piece, &e);
}

/* The sum of z[c] - from. */
static double sum_from(size_t n, const float *z, float from)
{
    double sum = 0;

    for (size_t c = 0; c < n; c++)
        sum += (double)(z[c] - from);
    return sum;
}

static void cpu_softmax_loss(struct device *d, size_t rows, size_t classes,
                             const void *all, const int32_t *labels,
                             const uint32_t *index, float smoothing, float share,
                             void *gradients, struct device_totals *totals)
{
    const float *logits = all;
    float *gradient = gradients, spread = smoothing / (float)classes;

    (void)d;
    for (size_t r = 0; r < rows; r++, logits += classes) {
        size_t label = (size_t)labels[index[r]], best = 0;
        float sum = 0, shifted;

        for (size_t c = 1; c < classes; c++)
            if (logits[c] > logits[best])
                best = c;
        shifted = logits[label] - logits[best];
        if (smoothing > 0)
            shifted = (float)((double)(1 - smoothing) * (double)shifted +
                              (double)spread * sum_from(classes, logits, logits[best]));
        for (size_t c = 0; c < classes; c++) {
            float p = expf(logits[c] - logits[best]);
            sum += p;
            if (gradient)
                gradient[c] = p;
        }
        totals->loss += (double)(logf(sum) - shifted);
        totals->correct += best == label;
        if (!gradient)
            continue;
        for (size_t c = 0; c < classes; c++)
            gradient[c] = gradient[c] / sum * share - spread * share;
        gradient[label] -= (1 - smoothing) * share;
        gradient += classes;
    }
}

/* ---- optimiser steps ---- */

static void cpu_accumulate(struct device *d, size_t n, float *g, const float *more)
{
    cpu_add(d, ACTIVATION_NONE, n, g, more, g);
}

/* Adds up zeros; what is no finite number makes that a NaN. */
WIDE static float unscale(size_t n, float by, float *g)
{
    float zero = 0;

#pragma omp simd reduction(+ : zero)
    for (size_t i = 0; i < n; i++) {
        g[i] *= by;
        zero += g[i] * 0;
    }
    return zero;
}

static int cpu_unscale(struct device *d, float by, size_t n, float *g, bool *finite,
                       struct err *e)
{
    char none;

    *finite = unscale(n, by, g) == 0;
    return cpu_download(d, &none, g, 0, e);
}

WIDE static void sgd_plain(struct device_sgd s, size_t n, float *restrict w,
                           const float *restrict g)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        w[i] -= s.lr * (g[i] + s.weight_decay * w[i]);
}

WIDE static void sgd_momentum(struct device_sgd s, size_t n, float *restrict w,
                              const float *restrict g, float *restrict v)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        v[i] = s.momentum * v[i] + (g[i] + s.weight_decay * w[i]);
        w[i] -= s.lr * v[i];
    }
}

WIDE static void sgd_nesterov(struct device_sgd s, size_t n, float *restrict w,
                              const float *restrict g, float *restrict v)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float x = g[i] + s.weight_decay * w[i];
        v[i] = s.momentum * v[i] + x;
        w[i] -= s.lr * (x + s.momentum * v[i]);
    }
}

/* A step of one of them; v NULL without momentum. */
struct update {
    const struct device_sgd *sgd;
    const struct device_adam *adam;
    const float *g;
    float *w, *m, *v;
};

static void sgd_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct update *u = arg;
    float *w = u->w + from, *v = u->v ? u->v + from : NULL;

    (void)piece;
    if (v && u->sgd->nesterov)
        sgd_nesterov(*u->sgd, to - from, w, u->g + from, v);
    else if (v)
        sgd_momentum(*u->sgd, to - from, w, u->g + from, v);
    else
        sgd_plain(*u->sgd, to - from, w, u->g + from);
}

static void cpu_sgd(struct device *d, const struct device_sgd *s, size_t n, float *w,
                    const float *g, float *v)
{
    struct update u = {.sgd = s, .g = g, .w = w, .v = v};

    cpu_parallel((struct cpu *)d, n, 1, sgd_piece, &u);
}

WIDE static void adam(struct device_adam s, size_t n, float *restrict w,
                      const float *restrict g, float *restrict m, float *restrict v)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float x = g[i] + s.weight_decay * w[i];
        m[i] = s.beta1 * m[i] + (1 - s.beta1) * x;
        v[i] = s.beta2 * v[i] + (1 - s.beta2) * x * x;
        w[i] = s.keep * w[i] - s.step * m[i] / (s.scale * sqrtf(v[i]) + s.epsilon);
    }
}

static void adam_piece(void *arg, size_t piece, size_t from, size_t to)
{
    const struct update *u = arg;

    (void)piece;
    adam(*u->adam, to - from, u->w + from, u->g + from, u->m + from, u->v + from);
}

static void cpu_adam(struct device *d, const struct device_adam *s, size_t n, float *w,
                     const float *g, float *m, float *v)
{
    struct update u = {.adam = s, .g = g, .w = w, .m = m, .v = v};

    cpu_parallel((struct cpu *)d, n, 1, adam_piece, &u);
}

static const struct device_ops cpu_ops = {
    .on_host = true,
    .close = cpu_close,
    .describe = cpu_describe,
    .set_precision = cpu_set_precision,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .limit = cpu_limit,
    .memory = cpu_memory,
    .attach = cpu_attach,
    .detach = cpu_detach,
    .upload = cpu_upload,
    .download = cpu_download,
    .gather = cpu_gather,
    .gather_wait = cpu_gather_wait,
    .gemm = cpu_gemm,
    .activation_backward = cpu_activation_backward,
    .add = cpu_add,
    .add_backward = cpu_add_backward,
    .dropout = cpu_dropout,
    .softmax_loss = cpu_softmax_loss,
    .conv = cpu_conv,
    .conv_backward_data = cpu_conv_backward_data,
    .conv_backward_weight = cpu_conv_backward_weight,
    .max_pool = cpu_max_pool,
    .max_pool_backward = cpu_max_pool_backward,
    .global_avg_pool = cpu_global_avg_pool,
    .global_avg_pool_backward = cpu_global_avg_pool_backward,
    .batch_norm = cpu_batch_norm,
    .batch_norm_running = cpu_batch_norm_running,
    .batch_norm_backward = cpu_batch_norm_backward,
    .accumulate = cpu_accumulate,
    .unscale = cpu_unscale,
    .sgd = cpu_sgd,
    .adam = cpu_adam,
};

struct device *cpu_open(int threads)
{
    struct cpu *cpu = mem_alloc(sizeof(*cpu));

    cpu->device.ops = &cpu_ops;
    cpu->device.width = sizeof(float);
    cpu->threads = threads;
    cpu->most = SIZE_MAX;
    cpu_threads_open(cpu);
    cpu_threads_use(cpu);
    cpu_gather_open(cpu);
    cpu_conv_open(cpu);
    return &cpu->device;
}
