#include "worker/agent/lines.h"

#include <string.h>

#define KEEP 65536 /* bytes of memory that a stream keeps between its lines */

/* Where each of the (one or two) ending characters comes next, from `from` on; `stop` for
 * one that does not. Kept from line to line: text that has only one of the two must not
 * be searched to its end for the other at every line. */
struct ahead {
    const char *next[2];
};

static const char *next_end(struct ahead *a, const char *from, const char *stop,
                            const char *ends)
{
    for (int i = 0; i < 2 && ends[i]; i++)
        if (!a->next[i] || a->next[i] < from) {
            a->next[i] = memchr(from, ends[i], (size_t)(stop - from));
            if (!a->next[i])
                a->next[i] = stop;
        }
    return ends[1] && a->next[1] < a->next[0] ? a->next[1] : a->next[0];
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
    struct ahead ahead = {{NULL, NULL}};
    while ((end = next_end(&ahead, p, stop, ends)) < stop) {
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
