#include "worker/train/layer.h"

#include <math.h>
#include <stdio.h>

enum { WEIGHT, BIAS };

static struct device_slide slide(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    return (struct device_slide){c->batch->rows, l->in_image, l->out_image, l->window};
}

static bool biased(const struct layer *l)
{
    return l->n_parameters > BIAS;
}

static void conv_forward(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    struct device_slide s = slide(c);

    c->device->ops->conv(c->device, &s, c->x[0], c->values + l->parameters[WEIGHT].offset,
                         biased(l) ? c->values + l->parameters[BIAS].offset : NULL,
                         l->activation, c->y);
}

static void conv_backward(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    struct device *d = c->device;
    struct device_slide s = slide(c);

    d->ops->activation_backward(d, l->activation, s.rows, l->out, c->y, c->dy, NULL);
    d->ops->conv_backward_weight(
        d, &s, c->x[0], c->dy, c->gradients + l->parameters[WEIGHT].offset,
        biased(l) ? c->gradients + l->parameters[BIAS].offset : NULL);
    if (c->dx[0])
        d->ops->conv_backward_data(d, &s, c->values + l->parameters[WEIGHT].offset, c->dy,
                                   c->dx[0]);
}

const struct layer_kind layer_kind_conv = {conv_forward, conv_backward};

struct layer layer_conv(const char *name, struct image in, size_t channels,
                        struct window window, enum device_activation activation)
{
    struct image out = {window_steps(window, in.h), window_steps(window, in.w), channels};
    size_t patch = window.size * window.size * in.c;
    struct layer l = {
        .kind = &layer_kind_conv,
        .in = image_size(in),
        .out = image_size(out),
        .in_image = in,
        .out_image = out,
        .n_inputs = 1,
        .backward_x = true,
        .backward_y = activation != ACTIVATION_NONE,
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

struct layer layer_conv_unbiased(const char *name, struct image in, size_t channels,
                                 struct window window)
{
    /* The weights start as before a ReLU: there is one behind the normalisation. */
    struct layer l = layer_conv(name, in, channels, window, ACTIVATION_RELU);

    l.activation = ACTIVATION_NONE;
    l.backward_y = false;
    l.n_parameters = 1;
    return l;
}
