#include "worker/agent/lines.h"

#include <string.h>

#define KEEP 65536 /* bytes of memory that a stream keeps between its lines */

static const char *find_end(const char *p, size_t n, const char *ends)
{
    const char *end = memchr(p, ends[0], n);
    if (!ends[1])
        return end;
    const char *other = memchr(p, ends[1], end ? (size_t)(end - p) : n);
    return other ? other : end;
}

/* Adds to the unfinished line, up to max bytes. */
static void gather(struct lines *l, const char *p, size_t n, size_t max)
{
    size_t room = max - l->part.len;
    if (n > room) {
        n = room;
        l->cut = true;
    }
    str_addn(&l->part, p, n);
}

static void deliver(struct lines *l, lines_fn *fn, void *ctx)
{
    fn(ctx, l->part.p, l->part.len, l->cut);
    l->cut = false;
    if (l->part.cap > KEEP)
        str_free(&l->part);
    else
        str_cut(&l->part, 0);
}

void lines_feed(struct lines *l, const char *data, size_t n, size_t max, const char *ends,
                lines_fn *fn, void *ctx)
{
    const char *p = data, *stop = data + n, *end;
    while ((end = find_end(p, (size_t)(stop - p), ends))) {
        size_t len = (size_t)(end - p);
        if (l->part.len > 0 || l->cut) {
            gather(l, p, len, max);
            deliver(l, fn, ctx);
        } else {
            fn(ctx, p, len < max ? len : max, len > max);
        }
        p = end + 1;
    }
    gather(l, p, (size_t)(stop - p), max);
}

void lines_finish(struct lines *l, lines_fn *fn, void *ctx)
{
    if (l->part.len > 0)
        deliver(l, fn, ctx);
}

void lines_free(struct lines *l)
{
    str_free(&l->part);
}
