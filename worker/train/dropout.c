#include "worker/train/layer.h"

#include "base/rng.h"
#include "worker/train/draw.h"

#include <stdio.h>

/* Of DROPOUT_ALL numbers so many are kept: at least one, or there would be no scale. */
static uint32_t keep_of(const struct layer *l)
{
    uint32_t keep = (uint32_t)((1 - l->dropout) * DROPOUT_ALL + 0.5);

    return keep ? keep : 1;
}

static struct device_dropout dropout(const struct layer_call *c)
{
    const struct batch *b = c->batch;
    const struct layer *l = c->layer;

    return (struct device_dropout){
        .rows = b->rows,
        .cols = l->out,
        .seed = rng_u64(b->seed, RNG_TRAIN, (uint32_t)b->step, l->draws, DRAW_DROPOUT),
        .row = b->row,
        .keep = b->training ? keep_of(l) : DROPOUT_ALL,
    };
}

static void dropout_forward(const struct layer_call *c)
{
    struct device_dropout d = dropout(c);

    c->device->ops->dropout(c->device, &d, c->x[0], c->y);
}

/* y = x times a mask that is drawn again: so dx = dy times the same. */
static void dropout_backward(const struct layer_call *c)
{
    struct device_dropout d = dropout(c);

    if (c->dx[0])
        c->device->ops->dropout(c->device, &d, c->dy, c->dx[0]);
}

const struct layer_kind layer_kind_dropout = {dropout_forward, dropout_backward};

struct layer layer_dropout(const char *name, size_t size, double share, uint32_t draws)
{
    struct layer l = {
        .kind = &layer_kind_dropout,
        .in = size,
        .out = size,
        .in_image = {1, 1, size},
        .out_image = {1, 1, size},
        .n_inputs = 1,
        .dropout = share,
        .draws = draws,
        .training_alone = true,
    };

    snprintf(l.name, sizeof(l.name), "%s", name);
    return l;
}
