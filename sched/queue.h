/* A binary min-heap of trials by (value, order). Entries are never removed from within:
 * who looks at the top decides whether it still holds and drops it if not. */
#ifndef SCHED_QUEUE_H
#define SCHED_QUEUE_H

#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

struct queued {
    double value;
    uint32_t order;
    int32_t trial;
};

struct queue {
    VEC(struct queued) heap;
};

void queue_push(struct queue *q, struct queued entry);
void queue_pop(struct queue *q); /* the top; q must not be empty */
bool queued_before(struct queued a, struct queued b);
void queue_free(struct queue *q);

#endif
