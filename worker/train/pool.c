#include "worker/train/layer.h"

#include <stdio.h>

static struct device_slide slide(const struct layer_call *c)
{
    const struct layer *l = c->layer;
    return (struct device_slide){c->batch->rows, l->in_image, l->out_image, l->window};
}

static void pool_forward(const struct layer_call *c)
{
    struct device_slide s = slide(c);

    c->device->ops->max_pool(c->device, &s, c->x[0], c->y);
}

static void pool_backward(const struct layer_call *c)
{
    struct device_slide s = slide(c);

    if (c->dx[0])
        c->device->ops->max_pool_backward(c->device, &s, c->x[0], c->y, c->dy, c->dx[0]);
}

const struct layer_kind layer_kind_max_pool = {pool_forward, pool_backward};

struct layer layer_max_pool(const char *name, struct image in, struct window window)
{
    struct image out = {window_steps(window, in.h), window_steps(window, in.w), in.c};
    struct layer l = {
        .kind = &layer_kind_max_pool,
        .in = image_size(in),
        .out = image_size(out),
        .in_image = in,
        .out_image = out,
        .n_inputs = 1,
        .backward_x = true,
        .backward_y = true,
        .window = window,
    };

    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}

/* ---- over all places ---- */

static void global_avg_pool_forward(const struct layer_call *c)
{
    c->device->ops->global_avg_pool(c->device, c->batch->rows, c->layer->in_image,
                                    c->x[0], c->y);
}

static void global_avg_pool_backward(const struct layer_call *c)
{
    if (c->dx[0])
        c->device->ops->global_avg_pool_backward(c->device, c->batch->rows,
                                                 c->layer->in_image, c->dy, c->dx[0]);
}

const struct layer_kind layer_kind_global_avg_pool = {global_avg_pool_forward,
                                                      global_avg_pool_backward};

struct layer layer_global_avg_pool(const char *name, struct image in)
{
    struct layer l = {
        .kind = &layer_kind_global_avg_pool,
        .in = image_size(in),
        .out = in.c,
        .in_image = in,
        .out_image = {1, 1, in.c},
        .n_inputs = 1,
    };

    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
