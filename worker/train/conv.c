#include "worker/train/layer.h"

#include <math.h>
#include <stdio.h>

enum { WEIGHT, BIAS };

static struct device_slide slide(const struct layer *l, size_t rows)
{
    return (struct device_slide){rows, l->in_image, l->out_image, l->window};
}

static void conv_forward(const struct layer *l, struct device *d, const float *values,
                         size_t rows, const float *x, float *y)
{
    struct device_slide s = slide(l, rows);

    d->ops->conv(d, &s, x, values + l->parameters[WEIGHT].offset,
                 values + l->parameters[BIAS].offset, l->activation, y);
}

static void conv_backward(const struct layer *l, struct device *d, const float *values,
                          float *gradients, size_t rows, const float *x, const float *y,
                          float *dy, float *dx)
{
    struct device_slide s = slide(l, rows);

    d->ops->activation_backward(d, l->activation, rows, l->out, y, dy, NULL);
    d->ops->conv_backward_weight(d, &s, x, dy, gradients + l->parameters[WEIGHT].offset,
                                 gradients + l->parameters[BIAS].offset);
    if (dx)
        d->ops->conv_backward_data(d, &s, values + l->parameters[WEIGHT].offset, dy, dx);
}

const struct layer_kind layer_kind_conv = {conv_forward, conv_backward};

struct layer layer_conv(const char *name, struct image in, size_t channels,
                        struct window window, enum device_activation activation)
{
    struct image out = {window_steps(window, in.h), window_steps(window, in.w), channels};
    size_t patch = window.size * window.size * in.c;
    struct layer l = {
        .kind = &layer_kind_conv,
        .in = in.h * in.w * in.c,
        .out = out.h * out.w * out.c,
        .in_image = in,
        .out_image = out,
        .window = window,
        .activation = activation,
        .n_parameters = 2,
        .parameters =
            {[WEIGHT] = {.name = "weight",
                         .ndim = 4,
                         .dim = {channels, window.size, window.size, in.c},
                         .count = channels * patch,
                         .bound = layer_bound(patch, activation)},
             [BIAS] = {.name = "bias", .ndim = 1, .dim = {channels}, .count = channels}},
    };
    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
