#include "worker/train/trainer_private.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

int loader_open(struct loader *l, struct device *d, size_t n, size_t floats,
                struct err *e)
{
    int rc = 0;

    *l = (struct loader){.device = d, .x = mem_alloc(n * sizeof(*l->x)), .n = n};
    for (size_t i = 0; i < n && rc == 0; i++) {
        void *p = NULL;
        rc = d->ops->allocate(d, floats * sizeof(float), &p, e);
        l->x[i] = p;
    }
    return rc;
}

void loader_close(struct loader *l)
{
    if (!l->x)
        return;
    l->device->ops->gather_wait(l->device);
    for (size_t i = 0; i < l->n; i++)
        l->device->ops->release(l->device, l->x[i]);
    free(l->x);
    *l = (struct loader){.x = NULL};
}

static void begin(struct loader *l, const struct feed *f, struct rows rows)
{
    struct device_gather g = f->gather;

    g.index = f->order + rows.start;
    g.moves = f->moves ? f->moves + rows.start : NULL;
    l->device->ops->gather(l->device, &g, rows.n, l->x[l->at]);
}

const float *loader_take(struct loader *l, const struct feed *f, struct rows now,
                         struct rows next)
{
    const float *x = l->x[l->at];

    assert(l->coming.n == 0 || l->coming.start == now.start);
    if (l->coming.n == 0)
        begin(l, f, now);
    l->device->ops->gather_wait(l->device);
    l->at = (l->at + 1) % l->n;
    if (next.n)
        begin(l, f, next);
    l->coming = next;
    return x;
}
