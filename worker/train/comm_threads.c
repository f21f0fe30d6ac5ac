#include "worker/train/comm_transport.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A message from one thread to another: there from when it is sent until it is copied. */
struct slot {
    _Atomic(const void *) p;
};

struct shared {
    atomic_int threads; /* that have not closed yet */
    int size;
    struct slot slots[]; /* [from][to] */
};

struct threads {
    struct transport transport;
    struct shared *shared;
    struct slot *out, *in; /* under way; else NULL */
    void *to;
    size_t bytes;
};

static struct slot *slot_at(const struct threads *t, int from, int to)
{
    return &t->shared->slots[from * t->shared->size + to];
}

static int threads_send(struct transport *base, int to, const void *p, size_t bytes,
                        struct err *e)
{
    struct threads *t = (struct threads *)base;

    (void)e;
    if (bytes == 0)
        return 0;
    t->out = slot_at(t, base->rank, to);
    atomic_store_explicit(&t->out->p, p, memory_order_release);
    return 0;
}

static int threads_receive(struct transport *base, int from, void *p, size_t bytes,
                           struct err *e)
{
    struct threads *t = (struct threads *)base;

    (void)e;
    if (bytes == 0)
        return 0;
    t->in = slot_at(t, from, base->rank);
    t->to = p;
    t->bytes = bytes;
    return 0;
}

static int threads_test(struct transport *base, struct err *e)
{
    struct threads *t = (struct threads *)base;
    const void *p = t->in ? atomic_load_explicit(&t->in->p, memory_order_acquire) : NULL;

    (void)e;
    if (p) {
        memcpy(t->to, p, t->bytes);
        atomic_store_explicit(&t->in->p, NULL, memory_order_release);
        t->in = NULL;
    }
    if (t->out && !atomic_load_explicit(&t->out->p, memory_order_acquire))
        t->out = NULL;
    return !t->in && !t->out;
}

static void threads_close(struct transport *base)
{
    struct threads *t = (struct threads *)base;

    if (atomic_fetch_sub(&t->shared->threads, 1) == 1)
        free(t->shared);
    free(t);
}

static const struct transport_ops threads_ops = {
    .name = "threads",
    .send = threads_send,
    .receive = threads_receive,
    .test = threads_test,
    .close = threads_close,
};

void transport_threads(int n, struct transport *transports[])
{
    size_t pairs = (size_t)n * (size_t)n;
    struct shared *shared = mem_alloc(sizeof(*shared) + pairs * sizeof(shared->slots[0]));

    atomic_init(&shared->threads, n);
    shared->size = n;
    for (int i = 0; i < n; i++) {
        struct threads *t = mem_alloc(sizeof(*t));
        t->transport = (struct transport){&threads_ops, i, n};
        t->shared = shared;
        transports[i] = &t->transport;
    }
}
