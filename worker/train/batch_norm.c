#include "worker/train/layer.h"

#include <stdio.h>

#define EPSILON  1e-5f
#define MOMENTUM 0.1f

enum { WEIGHT, BIAS };
enum { RUNNING_MEAN, RUNNING_VAR };

static struct device_batch_norm norm(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    size_t channels = l->in_image.c;

    return (struct device_batch_norm){
        .n = c->batch->rows * l->in_image.h * l->in_image.w,
        .channels = channels,
        .epsilon = EPSILON,
        .momentum = MOMENTUM,
        .activation = l->activation,
        .weight = c->values + l->parameters[WEIGHT].offset,
        .bias = c->values + l->parameters[BIAS].offset,
        .running_mean = c->state + l->states[RUNNING_MEAN].offset,
        .running_var = c->state + l->states[RUNNING_VAR].offset,
        .mean = c->saved,
        .rstd = c->saved + channels,
    };
}

static void batch_norm_forward(const struct layer_call *c)
{
    const struct device_ops *ops = c->device->ops;
    struct device_batch_norm b = norm(c);

    (c->batch->training ? ops->batch_norm : ops->batch_norm_running)(c->device, &b,
                                                                     c->x[0], c->y);
}

static void batch_norm_backward(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    struct device *d = c->device;
    struct device_batch_norm b = norm(c);

    d->ops->batch_norm_backward(d, &b, c->x[0], c->dy,
                                c->gradients + l->parameters[WEIGHT].offset,
                                c->gradients + l->parameters[BIAS].offset, c->dx[0]);
}

const struct layer_kind layer_kind_batch_norm = {batch_norm_forward, batch_norm_backward};

static struct parameter per_channel(const char *name, size_t channels, float start)
{
    return (struct parameter){
        .name = name, .ndim = 1, .dim = {channels}, .count = channels, .start = start};
}

struct layer layer_batch_norm(const char *name, struct image in,
                              enum device_activation activation)
{
    struct layer l = {
        .kind = &layer_kind_batch_norm,
        .in = image_size(in),
        .out = image_size(in),
        .in_image = in,
        .out_image = in,
        .n_inputs = 1,
        .backward_x = true,
        .activation = activation,
        .n_parameters = 2,
        .parameters = {[WEIGHT] = per_channel("weight", in.c, 1),
                       [BIAS] = per_channel("bias", in.c, 0)},
        .n_states = 2,
        .states = {[RUNNING_MEAN] = per_channel("running_mean", in.c, 0),
                   [RUNNING_VAR] = per_channel("running_var", in.c, 1)},
        .saved = 2 * in.c,
    };

    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
