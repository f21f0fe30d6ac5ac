#include "worker/train/layer.h"

#include <math.h>
#include <stdio.h>

enum { WEIGHT, BIAS };

static void dense_forward(const struct layer *l, struct device *d, const float *values,
                          size_t rows, const float *x, float *y)
{
    d->ops->gemm(d, &(struct device_gemm){
                        .b_transposed = true,
                        .m = rows,
                        .n = l->out,
                        .k = l->in,
                        .a = x,
                        .b = values + l->parameters[WEIGHT].offset,
                        .c = y,
                        .bias = values + l->parameters[BIAS].offset,
                        .activation = l->activation,
                    });
}

static void dense_backward(const struct layer *l, struct device *d, const float *values,
                           float *gradients, size_t rows, const float *x, const float *y,
                           float *dy, float *dx)
{
    d->ops->activation_backward(d, l->activation, rows, l->out, y, dy,
                                gradients + l->parameters[BIAS].offset);
    d->ops->gemm(d, &(struct device_gemm){
                        .a_transposed = true,
                        .m = l->out,
                        .n = l->in,
                        .k = rows,
                        .a = dy,
                        .b = x,
                        .c = gradients + l->parameters[WEIGHT].offset,
                    });
    if (dx)
        d->ops->gemm(d, &(struct device_gemm){
                            .m = rows,
                            .n = l->in,
                            .k = l->out,
                            .a = dy,
                            .b = values + l->parameters[WEIGHT].offset,
                            .c = dx,
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
