#include "worker/train/layer.h"

#include <stdio.h>

static struct device_slide slide(const struct layer *l, size_t rows)
{
    return (struct device_slide){rows, l->in_image, l->out_image, l->window};
}

static void pool_forward(const struct layer *l, struct device *d, const float *values,
                         size_t rows, const float *x, float *y)
{
    struct device_slide s = slide(l, rows);

    (void)values;
    d->ops->max_pool(d, &s, x, y);
}

static void pool_backward(const struct layer *l, struct device *d, const float *values,
                          float *gradients, size_t rows, const float *x, const float *y,
                          float *dy, float *dx)
{
    struct device_slide s = slide(l, rows);

    (void)values, (void)gradients;
    if (dx)
        d->ops->max_pool_backward(d, &s, x, y, dy, dx);
}

const struct layer_kind layer_kind_max_pool = {pool_forward, pool_backward};

struct layer layer_max_pool(const char *name, struct image in, struct window window)
{
    struct image out = {window_steps(window, in.h), window_steps(window, in.w), in.c};
    struct layer l = {
        .kind = &layer_kind_max_pool,
        .in = in.h * in.w * in.c,
        .out = out.h * out.w * out.c,
        .in_image = in,
        .out_image = out,
        .window = window,
    };

    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
