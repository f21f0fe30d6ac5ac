#include "sched/queue.h"

#include <stdlib.h>

bool queued_before(struct queued a, struct queued b)
{
    return a.value < b.value || (a.value == b.value && a.order < b.order);
}

void queue_push(struct queue *q, struct queued entry)
{
    size_t i = q->heap.n;

    vec_push(&q->heap, entry);
    while (i > 0 && queued_before(entry, q->heap.v[(i - 1) / 2])) {
        q->heap.v[i] = q->heap.v[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->heap.v[i] = entry;
}

void queue_pop(struct queue *q)
{
    struct queued last = q->heap.v[--q->heap.n];
    size_t i = 0, child;

    if (q->heap.n == 0)
        return;
    while ((child = 2 * i + 1) < q->heap.n) {
        if (child + 1 < q->heap.n &&
            queued_before(q->heap.v[child + 1], q->heap.v[child]))
            child++;
        if (!queued_before(q->heap.v[child], last))
            break;
        q->heap.v[i] = q->heap.v[child];
        i = child;
    }
    q->heap.v[i] = last;
}

void queue_free(struct queue *q)
{
    vec_free(&q->heap);
}
