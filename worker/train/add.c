#include "worker/train/layer.h"

#include <stdio.h>

static void add_forward(const struct layer_call *c)
{
    const struct layer *l = c->layer;

    c->device->ops->add(c->device, l->activation, c->batch->rows * l->out, c->x[0],
                        c->x[1], c->y);
}

static void add_backward(const struct layer_call *c)
{
    const struct layer *l = c->layer;

    c->device->ops->add_backward(c->device, l->activation, c->batch->rows * l->out, c->y,
                                 c->dy, c->dx[0], c->dx[1]);
}

const struct layer_kind layer_kind_add = {add_forward, add_backward};

struct layer layer_add(const char *name, struct image in,
                       enum device_activation activation)
{
    struct layer l = {
        .kind = &layer_kind_add,
        .in = image_size(in),
        .out = image_size(in),
        .in_image = in,
        .out_image = in,
        .n_inputs = 2,
        .backward_y = activation != ACTIVATION_NONE,
        .activation = activation,
    };

    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
