/* A queue of encoded lines with two marks: what the controller has, and what was sent.
 *
 *     bytes  |..acknowledged..|..sent..........|..unsent...|
 *                             head             unsent      bytes.len
 *
 * Acknowledged bytes are dropped when they are more than half of the buffer, so the
 * cost of an item does not depend on how many wait, and a queue that runs empty from
 * time to time allocates nothing. */
#include "wire/msg.h"

#include "base/vec.h"

#include <stdlib.h>
#include <string.h>

struct outbox {
    struct str bytes;
    size_t head, unsent;  /* offsets in bytes */
    VEC(uint32_t) length; /* of each item in bytes, acknowledged ones first */
    size_t first, next;   /* indices in length: oldest unacknowledged, first unsent */
    uint64_t oldest;      /* number of item length.v[first] */
};

struct outbox *outbox_new(void)
{
    struct outbox *o = mem_alloc(sizeof(*o));
    o->bytes = (struct str)STR_INIT;
    o->oldest = 1;
    return o;
}

void outbox_free(struct outbox *o)
{
    if (!o)
        return;
    str_free(&o->bytes);
    vec_free(&o->length);
    free(o);
}

size_t outbox_unacked(const struct outbox *o)
{
    return o->length.n - o->first;
}

size_t outbox_unsent(const struct outbox *o)
{
    return o->length.n - o->next;
}

size_t outbox_bytes(const struct outbox *o)
{
    return o->bytes.len - o->head;
}

uint64_t outbox_oldest(const struct outbox *o)
{
    return o->oldest;
}

uint64_t outbox_next(const struct outbox *o)
{
    return o->oldest + (o->next - o->first);
}

uint64_t outbox_put(struct outbox *o, const struct item *it)
{
    size_t before = o->bytes.len;
    item_encode(it, &o->bytes);
    vec_push(&o->length, (uint32_t)(o->bytes.len - before));
    return o->oldest + outbox_unacked(o) - 1;
}

static void forget_acknowledged(struct outbox *o)
{
    str_drop(&o->bytes, o->head);
    o->unsent -= o->head;
    o->head = 0;
    o->length.n -= o->first;
    memmove(o->length.v, o->length.v + o->first, o->length.n * sizeof(*o->length.v));
    o->next -= o->first;
    o->first = 0;
}

bool outbox_ack(struct outbox *o, uint64_t number)
{
    if (number < o->oldest || number - o->oldest >= outbox_unacked(o))
        return false;
    for (; o->oldest <= number; o->oldest++)
        o->head += o->length.v[o->first++];
    if (o->next < o->first) { /* sent before a rewind, and heard only now */
        o->next = o->first;
        o->unsent = o->head;
    }
    if (o->head > o->bytes.len / 2)
        forget_acknowledged(o);
    return true;
}

void outbox_rewind(struct outbox *o)
{
    o->next = o->first;
    o->unsent = o->head;
}

size_t outbox_take(struct outbox *o, size_t max, struct str *out)
{
    size_t n = 0, bytes = 0;
    for (; o->next < o->length.n; o->next++, n++) {
        size_t more = o->length.v[o->next];
        if (n > 0 && bytes + more > max)
            break;
        bytes += more;
    }
    str_addn(out, o->bytes.p + o->unsent, bytes);
    o->unsent += bytes;
    return n;
}
