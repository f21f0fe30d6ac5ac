#include "worker/train/layer.h"

#include <math.h>
#include <stdio.h>

enum { WEIGHT, BIAS };

static void dense_forward(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    struct device *d = c->device;

    d->ops->gemm(d, &(struct device_gemm){
                        .b_transposed = true,
                        .m = c->batch->rows,
                        .n = l->out,
                        .k = l->in,
                        .a = c->x[0],
                        .b = c->values + l->parameters[WEIGHT].offset,
                        .c = c->y,
                        .bias = c->values + l->parameters[BIAS].offset,
                        .activation = l->activation,
                    });
}

static void dense_backward(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    struct device *d = c->device;
    size_t rows = c->batch->rows;

    d->ops->activation_backward(d, l->activation, rows, l->out, c->y, c->dy,
                                c->gradients + l->parameters[BIAS].offset);
    d->ops->gemm(d, &(struct device_gemm){
                        .a_transposed = true,
                        .m = l->out,
                        .n = l->in,
                        .k = rows,
                        .a = c->dy,
                        .b = c->x[0],
                        .c = c->gradients + l->parameters[WEIGHT].offset,
                        .weight_gradient = true,
                    });
    if (c->dx[0])
        d->ops->gemm(d, &(struct device_gemm){
                            .m = rows,
                            .n = l->in,
                            .k = l->out,
                            .a = c->dy,
                            .b = c->values + l->parameters[WEIGHT].offset,
                            .c = c->dx[0],
                        });
}

const struct layer_kind layer_kind_dense = {dense_forward, dense_backward};

double layer_bound(size_t n, enum device_activation activation)
{
    /* A uniform distribution on [-b, b) has variance b^2 / 3. */
    double gain2 = activation == ACTIVATION_RELU ? 2 : 1;

    return sqrt(3 * gain2 / (double)n);
}

struct layer layer_dense(const char *name, size_t in, size_t out,
                         enum device_activation activation)
{
    struct layer l = {
        .kind = &layer_kind_dense,
        .in = in,
        .out = out,
        .in_image = {1, 1, in},
        .out_image = {1, 1, out},
        .n_inputs = 1,
        .backward_x = true,
        .backward_y = activation != ACTIVATION_NONE,
        .activation = activation,
        .n_parameters = 2,
        .parameters = {[WEIGHT] = {.name = "weight",
                                   .ndim = 2,
                                   .dim = {out, in},
                                   .count = out * in,
                                   .bound = layer_bound(in, activation)},
                       [BIAS] = {.name = "bias", .ndim = 1, .dim = {out}, .count = out}},
    };
    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
