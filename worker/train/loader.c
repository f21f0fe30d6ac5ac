#include "worker/train/trainer_private.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

int loader_open(struct loader *l, struct device *d, size_t n, size_t rows,
                size_t features, struct err *e)
{
    int rc = 0;

    *l = (struct loader){
        .device = d, .x = mem_alloc(n * sizeof(*l->x)), .n = n, .rows = rows};
    for (size_t i = 0; i < n && rc == 0; i++) {
        void *p = NULL;
        rc = d->ops->allocate(d, rows * features * d->width, &p, e);
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
    l->coming = rows;
}

/* Goes on to what is coming, and begins to gather what follows that. */
static void turn(struct loader *l, const struct feed *f, struct rows now,
                 struct rows rest)
{
    if (l->coming.n == 0)
        begin(l, f, now);
    l->device->ops->gather_wait(l->device);
    l->here = l->coming;
    l->next = l->x[l->at];
    l->at = (l->at + 1) % l->n;
    l->coming.n = 0;
    size_t has = l->here.n - now.n, left = rest.n - has;
    if (left)
        begin(l, f, (struct rows){rest.start + has, left < l->rows ? left : l->rows});
}

const void *loader_take(struct loader *l, const struct feed *f, struct rows now,
                        struct rows rest)
{
    if (l->here.n == 0)
        turn(l, f, now, rest);
    assert(l->here.start == now.start && l->here.n >= now.n);
    const char *x = l->next;
    l->next += now.n * f->gather.features * l->device->width;
    l->here.start += now.n;
    l->here.n -= now.n;
    return x;
}
