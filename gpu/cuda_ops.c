/* The operations of device_ops that a training step is made of. Each becomes a call,
 * which the tape runs at once or, where a step comes again, launches with all others of
 * it as one graph (cuda_graph.c): so an operation is two functions, the one that notes
 * what it was given, and the one that does it. */
#include "gpu/cuda_private.h"

#include <string.h>

/* All of a call is set, the gaps in it too: calls are compared as bytes. */
static struct call *begin(struct call *c, void (*run)(struct cuda *, const struct call *))
{
    memset(c, 0, sizeof(*c));
    c->run = run;
    return c;
}

static void submit(struct device *d, const struct call *c)
{
    tape_call(((struct cuda *)d)->tape, c);
}

static bool is_relu(const struct call *c)
{
    return c->activation == ACTIVATION_RELU;
}

/* ---- gathering ---- */

void cuda_join_gatherer(struct cuda *cuda)
{
    if (cuda->gathering)
        cuda_ok(cuda, cudaStreamWaitEvent(cuda->queue, cuda->gathered, 0),
                "the gathering of samples");
    cuda->gathering = false;
}

static void run_gather_wait(struct cuda *cuda, const struct call *c)
{
    (void)c;
    cuda_join_gatherer(cuda);
}

void cuda_gather_wait(struct device *d)
{
    struct call c;

    submit(d, begin(&c, run_gather_wait));
}

static void run_gather(struct cuda *cuda, const struct call *c)
{
    static const char what[] = "the gathering of samples";
    struct device_gather g = c->of.gather;

    g.index = c->values.gather.index;
    g.moves = c->values.gather.moves;
    cuda_join_gatherer(cuda);
    cuda->gathering =
        cuda_ok(cuda, cudaEventRecord(cuda->queued, cuda->queue), what) &&
        cuda_ok(cuda, cudaStreamWaitEvent(cuda->gatherer, cuda->queued, 0), what) &&
        cuda_ok(
            cuda,
            kernel_gather(cuda->gatherer, cuda->type, &g, c->n, c->to, cuda_later(cuda)),
            what) &&
        cuda_ok(cuda, cudaEventRecord(cuda->gathered, cuda->gatherer), what);
}

void cuda_gather(struct device *d, const struct device_gather *g, size_t rows, void *out)
{
    struct call c;
    struct device_gather *to = &begin(&c, run_gather)->of.gather;

    to->x = g->x;
    to->type = g->type;
    to->stride = g->stride;
    to->features = g->features;
    to->mean = g->mean;
    to->scale = g->scale;
    to->planes = g->planes;
    to->image = g->image;
    c.n = rows;
    c.to = out;
    c.varies = true;
    c.values.gather.index = g->index;
    c.values.gather.moves = g->moves;
    submit(d, &c);
}

/* ---- products and convolutions ---- */

static void run_gemm(struct cuda *cuda, const struct call *c)
{
    cuda_blas_gemm(cuda, &c->of.gemm);
}

void cuda_gemm(struct device *d, const struct device_gemm *g)
{
    struct call c;
    struct device_gemm *to = &begin(&c, run_gemm)->of.gemm;

    to->a_transposed = g->a_transposed;
    to->b_transposed = g->b_transposed;
    to->m = g->m;
    to->n = g->n;
    to->k = g->k;
    to->a = g->a;
    to->b = g->b;
    to->c = g->c;
    to->bias = g->bias;
    to->activation = g->activation;
    to->weight_gradient = g->weight_gradient;
    submit(d, &c);
}

static void run_conv(struct cuda *cuda, const struct call *c)
{
    cuda_conv_forward(cuda, &c->of.slide, c->x, c->weight, c->bias, is_relu(c), c->to);
}

void cuda_conv(struct device *d, const struct device_slide *s, const void *x,
               const float *weight, const float *bias, enum device_activation activation,
               void *y)
{
    struct call c;

    begin(&c, run_conv)->of.slide = *s;
    c.x = x;
    c.weight = weight;
    c.bias = bias;
    c.activation = activation;
    c.to = y;
    submit(d, &c);
}

static void run_conv_backward_data(struct cuda *cuda, const struct call *c)
{
    cuda_conv_data_gradient(cuda, &c->of.slide, c->weight, c->dy, c->to);
}

void cuda_conv_backward_data(struct device *d, const struct device_slide *s,
                             const float *weight, const void *dy, void *dx)
{
    struct call c;

    begin(&c, run_conv_backward_data)->of.slide = *s;
    c.weight = weight;
    c.dy = dy;
    c.to = dx;
    submit(d, &c);
}

static void run_conv_backward_weight(struct cuda *cuda, const struct call *c)
{
    cuda_conv_weight_gradient(cuda, &c->of.slide, c->x, c->dy, c->dweight, c->dbias);
}

void cuda_conv_backward_weight(struct device *d, const struct device_slide *s,
                               const void *x, const void *dy, float *dweight,
                               float *dbias)
{
    struct call c;

    begin(&c, run_conv_backward_weight)->of.slide = *s;
    c.x = x;
    c.dy = dy;
    c.dweight = dweight;
    c.dbias = dbias;
    submit(d, &c);
}

/* ---- elements ---- */

static void run_activation_backward(struct cuda *cuda, const struct call *c)
{
    static const char what[] = "an activation's gradient";
    size_t rows = c->n, cols = c->cols;
    void *space =
        c->dbias ? cuda_space(cuda, kernel_sums_space(cuda->type, rows, cols)) : NULL;

    if (space)
        cuda_ok(cuda,
                kernel_column_sums(cuda->queue, cuda->type, rows, cols,
                                   is_relu(c) ? c->y : NULL, c->to, c->to, c->dbias,
                                   space),
                what);
    else if (!c->dbias && is_relu(c))
        cuda_ok(cuda,
                kernel_relu_backward(cuda->queue, cuda->type, rows * cols, c->y, c->to),
                what);
}

void cuda_activation_backward(struct device *d, enum device_activation activation,
                              size_t rows, size_t cols, const void *y, void *dy,
                              float *dbias)
{
    struct call c;

    begin(&c, run_activation_backward)->activation = activation;
    c.n = rows;
    c.cols = cols;
    c.y = y;
    c.to = dy;
    c.dbias = dbias;
    submit(d, &c);
}

static void run_add(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_add(cuda->queue, cuda->type, is_relu(c), c->n, c->x, c->y, c->to),
            "an addition");
}

void cuda_add(struct device *d, enum device_activation activation, size_t n,
              const void *a, const void *b, void *y)
{
    struct call c;

    begin(&c, run_add)->activation = activation;
    c.n = n;
    c.x = a;
    c.y = b;
    c.to = y;
    submit(d, &c);
}

static void run_add_backward(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_add_backward(cuda->queue, cuda->type, is_relu(c), c->n, c->y, c->dy,
                                c->to, c->to_other),
            "an addition's gradient");
}

void cuda_add_backward(struct device *d, enum device_activation activation, size_t n,
                       const void *y, const void *dy, void *da, void *db)
{
    struct call c;

    begin(&c, run_add_backward)->activation = activation;
    c.n = n;
    c.y = y;
    c.dy = dy;
    c.to = da;
    c.to_other = db;
    submit(d, &c);
}

static void run_dropout(struct cuda *cuda, const struct call *c)
{
    const struct device_dropout dropout = {.rows = c->n,
                                           .cols = c->cols,
                                           .seed = c->values.dropout.seed,
                                           .row = c->values.dropout.row,
                                           .keep = c->keep};

    cuda_ok(
        cuda,
        kernel_dropout(cuda->queue, cuda->type, &dropout, c->x, c->to, cuda_later(cuda)),
        "dropout");
}

void cuda_dropout(struct device *d, const struct device_dropout *dropout, const void *x,
                  void *y)
{
    struct call c;

    begin(&c, run_dropout)->n = dropout->rows;
    c.cols = dropout->cols;
    c.keep = dropout->keep;
    c.x = x;
    c.to = y;
    c.varies = true;
    c.values.dropout.seed = dropout->seed;
    c.values.dropout.row = dropout->row;
    submit(d, &c);
}

static void run_softmax_loss(struct cuda *cuda, const struct call *c)
{
    void *space = cuda_space(cuda, kernel_loss_space(c->n));

    if (space)
        cuda_ok(cuda,
                kernel_softmax_loss(cuda->queue, cuda->type, c->n, c->cols, c->x,
                                    c->labels, c->values.loss.index, c->smoothing,
                                    c->values.loss.share, c->to, c->totals, space,
                                    cuda_later(cuda)),
                "the loss");
}

void cuda_softmax_loss(struct device *d, size_t rows, size_t classes, const void *logits,
                       const int32_t *labels, const uint32_t *index, float smoothing,
                       float share, void *gradient, struct device_totals *totals)
{
    struct call c;

    begin(&c, run_softmax_loss)->n = rows;
    c.cols = classes;
    c.x = logits;
    c.labels = labels;
    c.smoothing = smoothing;
    c.to = gradient;
    c.totals = totals;
    c.varies = true;
    c.values.loss.index = index;
    c.values.loss.share = share;
    submit(d, &c);
}

/* ---- pooling ---- */

static void run_max_pool(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda, kernel_max_pool(cuda->queue, cuda->type, &c->of.slide, c->x, c->to),
            "pooling");
}

void cuda_max_pool(struct device *d, const struct device_slide *s, const void *x, void *y)
{
    struct call c;

    begin(&c, run_max_pool)->of.slide = *s;
    c.x = x;
    c.to = y;
    submit(d, &c);
}

static void run_max_pool_backward(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_max_pool_backward(cuda->queue, cuda->type, &c->of.slide, c->x, c->y,
                                     c->dy, c->to),
            "pooling's gradient");
}

void cuda_max_pool_backward(struct device *d, const struct device_slide *s, const void *x,
                            const void *y, const void *dy, void *dx)
{
    struct call c;

    begin(&c, run_max_pool_backward)->of.slide = *s;
    c.x = x;
    c.y = y;
    c.dy = dy;
    c.to = dx;
    submit(d, &c);
}

static void run_avg_pool(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_avg_pool(cuda->queue, cuda->type, c->n, c->of.image, c->x, c->to),
            "pooling");
}

void cuda_avg_pool(struct device *d, size_t rows, struct image in, const void *x, void *y)
{
    struct call c;

    begin(&c, run_avg_pool)->of.image = in;
    c.n = rows;
    c.x = x;
    c.to = y;
    submit(d, &c);
}

static void run_avg_pool_backward(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_avg_pool_backward(cuda->queue, cuda->type, c->n, c->of.image, c->dy,
                                     c->to),
            "pooling's gradient");
}

void cuda_avg_pool_backward(struct device *d, size_t rows, struct image in,
                            const void *dy, void *dx)
{
    struct call c;

    begin(&c, run_avg_pool_backward)->of.image = in;
    c.n = rows;
    c.dy = dy;
    c.to = dx;
    submit(d, &c);
}

/* ---- batch normalisation ---- */

static struct call *begin_norm(struct call *c,
                               void (*run)(struct cuda *, const struct call *),
                               const struct device_batch_norm *b)
{
    struct device_batch_norm *to = &begin(c, run)->of.norm;

    to->n = b->n;
    to->channels = b->channels;
    to->epsilon = b->epsilon;
    to->momentum = b->momentum;
    to->activation = b->activation;
    to->weight = b->weight;
    to->bias = b->bias;
    to->running_mean = b->running_mean;
    to->running_var = b->running_var;
    to->mean = b->mean;
    to->rstd = b->rstd;
    return c;
}

static void *norm_space(struct cuda *cuda, const struct device_batch_norm *b)
{
    return cuda_space(cuda, kernel_sums_space(cuda->type, b->n, b->channels));
}

static void run_batch_norm(struct cuda *cuda, const struct call *c)
{
    void *space = norm_space(cuda, &c->of.norm);

    if (space)
        cuda_ok(
            cuda,
            kernel_batch_norm(cuda->queue, cuda->type, &c->of.norm, c->x, c->to, space),
            "batch normalisation");
}

void cuda_batch_norm(struct device *d, const struct device_batch_norm *b, const void *x,
                     void *y)
{
    struct call c;

    begin_norm(&c, run_batch_norm, b)->x = x;
    c.to = y;
    submit(d, &c);
}

static void run_batch_norm_running(struct cuda *cuda, const struct call *c)
{
    void *space = norm_space(cuda, &c->of.norm);

    if (space)
        cuda_ok(cuda,
                kernel_batch_norm_running(cuda->queue, cuda->type, &c->of.norm, c->x,
                                          c->to, space),
                "batch normalisation");
}

void cuda_batch_norm_running(struct device *d, const struct device_batch_norm *b,
                             const void *x, void *y)
{
    struct call c;

    begin_norm(&c, run_batch_norm_running, b)->x = x;
    c.to = y;
    submit(d, &c);
}

static void run_batch_norm_backward(struct cuda *cuda, const struct call *c)
{
    void *space = norm_space(cuda, &c->of.norm);

    if (space)
        cuda_ok(cuda,
                kernel_batch_norm_backward(cuda->queue, cuda->type, &c->of.norm, c->x,
                                           c->dy, c->dweight, c->dbias, c->to, space),
                "batch normalisation's gradient");
}

void cuda_batch_norm_backward(struct device *d, const struct device_batch_norm *b,
                              const void *x, const void *dy, float *dweight, float *dbias,
                              void *dx)
{
    struct call c;

    begin_norm(&c, run_batch_norm_backward, b)->x = x;
    c.dy = dy;
    c.dweight = dweight;
    c.dbias = dbias;
    c.to = dx;
    submit(d, &c);
}

/* ---- gradients and optimiser steps ---- */

static void run_accumulate(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda, kernel_add(cuda->queue, KERNEL_FP32, false, c->n, c->to, c->x, c->to),
            "an addition");
}

void cuda_accumulate(struct device *d, size_t n, float *g, const float *more)
{
    struct call c;

    begin(&c, run_accumulate)->n = n;
    c.to = g;
    c.x = more;
    submit(d, &c);
}

static void run_unscale(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            cudaMemsetAsync(cuda->overflow, 0, sizeof(*cuda->overflow), cuda->queue),
            "unscaling");
    cuda_ok(cuda,
            kernel_unscale(cuda->queue, c->values.by, c->n, c->to, cuda->overflow,
                           cuda_later(cuda)),
            "unscaling");
}

int cuda_unscale(struct device *d, float by, size_t n, float *g, bool *finite,
                 struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;
    uint32_t overflow = 0;
    struct call c;

    begin(&c, run_unscale)->n = n;
    c.to = g;
    c.varies = true;
    c.values.by = by;
    submit(d, &c);
    tape_end(cuda->tape); /* as far as it goes without waiting */
    int rc = d->ops->download(d, &overflow, cuda->overflow, sizeof(overflow), e);
    *finite = overflow == 0;
    return rc;
}

static void run_sgd(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_sgd(cuda->queue, &c->values.sgd, c->n, c->to, c->x, c->to_other,
                       cuda_later(cuda)),
            "the optimiser's step");
}

void cuda_sgd(struct device *d, const struct device_sgd *s, size_t n, float *w,
              const float *g, float *v)
{
    struct call c;

    begin(&c, run_sgd)->n = n;
    c.to = w;
    c.x = g;
    c.to_other = v;
    c.varies = true;
    c.values.sgd = *s;
    submit(d, &c);
    tape_end(((struct cuda *)d)->tape);
}

static void run_adam(struct cuda *cuda, const struct call *c)
{
    cuda_ok(cuda,
            kernel_adam(cuda->queue, &c->values.adam, c->n, c->to, c->x, c->to_other,
                        c->to_third, cuda_later(cuda)),
            "the optimiser's step");
}

void cuda_adam(struct device *d, const struct device_adam *s, size_t n, float *w,
               const float *g, float *m, float *v)
{
    struct call c;

    begin(&c, run_adam)->n = n;
    c.to = w;
    c.x = g;
    c.to_other = m;
    c.to_third = v;
    c.varies = true;
    c.values.adam = *s;
    submit(d, &c);
    tape_end(((struct cuda *)d)->tape);
}
