#include "worker/train/exchange.h"

#include "base/mem.h"

#include <stdlib.h>

struct exchange {
    struct comm *comm;
    struct device *device;
    float *gradients;
    size_t n;
    bool copies; /* the device's memory is its own, and there are other ranks */
    float *sums; /* [n], the gradients in the host's memory */
    /* On their way; kept, for their memory. */
    float *sent, *received;
    size_t room_sent, room_received;
};

struct exchange *exchange_open(struct comm *c, struct device *d, float *gradients,
                               size_t n)
{
    struct exchange *x = mem_alloc(sizeof(*x));

    *x = (struct exchange){.comm = c, .device = d, .gradients = gradients, .n = n};
    x->copies = !d->ops->on_host && comm_size(c) > 1;
    if (x->copies)
        x->sums = mem_alloc(n * sizeof(*x->sums));
    return x;
}

void exchange_close(struct exchange *x)
{
    if (!x)
        return;
    free(x->sums);
    free(x->sent);
    free(x->received);
    free(x);
}

static float *room(float **p, size_t *has, size_t n)
{
    if (n > *has) {
        *p = mem_resize(*p, n, sizeof(**p));
        *has = n;
    }
    return *p;
}

void exchange_send(struct exchange *x, int to, const float *p, size_t n)
{
    if (x->copies) {
        comm_sent(x->comm); /* what was sent last lies where this goes */
        float *copy = room(&x->sent, &x->room_sent, n);
        x->device->ops->download(x->device, copy, p, n * sizeof(*p), NULL);
        p = copy;
    }
    comm_send(x->comm, to, p, n * sizeof(*p));
}

void exchange_sent(struct exchange *x)
{
    comm_sent(x->comm);
}

void exchange_receive(struct exchange *x, int from, float *p, size_t n)
{
    float *to = x->copies ? room(&x->received, &x->room_received, n) : p;

    comm_receive(x->comm, from, to, n * sizeof(*p));
    if (x->copies)
        x->device->ops->upload(x->device, p, to, n * sizeof(*p));
}

void exchange_reduce(struct exchange *x, size_t from, size_t to)
{
    float *g = (x->copies ? x->sums : x->gradients) + from;

    if (x->copies)
        x->device->ops->download(x->device, g, x->gradients + from,
                                 (to - from) * sizeof(*g), NULL);
    comm_reduce(x->comm, g, to - from);
}

void exchange_reduce_wait(struct exchange *x)
{
    comm_reduce_wait(x->comm);
    if (x->copies)
        x->device->ops->upload(x->device, x->gradients, x->sums, x->n * sizeof(*x->sums));
}
