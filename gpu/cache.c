/* Blocks are kept whole: a training asks for few sizes, and for the same ones again. */
#include "gpu/cache.h"

#include "base/mem.h"
#include "base/units.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SMALL  ((size_t)1 << 20) /* up to there sizes are multiples of the first */
#define FINE   ((size_t)512)
#define COARSE ((size_t)2 << 20)

struct block {
    void *p;
    size_t bytes;
    bool used;
};

struct cache {
    struct cache_source source;
    VEC(struct block) blocks;
    struct cache_usage usage;
    size_t most; /* that may be held */
};

/* 0: too much to be counted. */
static size_t round_up(size_t bytes)
{
    size_t to = bytes <= SMALL ? FINE : COARSE;

    if (bytes == 0)
        return FINE;
    return bytes > SIZE_MAX - to ? 0 : (bytes + to - 1) / to * to;
}

struct cache *cache_open(const struct cache_source *source)
{
    struct cache *c = mem_alloc(sizeof(*c));

    c->source = *source;
    c->most = SIZE_MAX;
    return c;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->blocks.n; i++)
        c->source.give(c->source.arg, c->blocks.v[i].p);
    vec_free(&c->blocks);
    free(c);
}

/* The smallest block that is kept and has so many bytes, but not a quarter more; NULL if
 * there is none. */
static struct block *find_kept(struct cache *c, size_t bytes)
{
    struct block *best = NULL;

    for (size_t i = 0; i < c->blocks.n; i++) {
        struct block *b = &c->blocks.v[i];
        if (!b->used && b->bytes >= bytes && b->bytes - bytes <= bytes / 4 &&
            (!best || b->bytes < best->bytes))
            best = b;
    }
    return best;
}

static int take(struct cache *c, size_t bytes, void **p, struct err *e)
{
    char asked[UNITS_MAX], left[UNITS_MAX];

    if (bytes == 0 || c->usage.held > c->most || bytes > c->most - c->usage.held)
        return err_set(e, ERR_FULL, "with %s left: cannot allocate %s",
                       size_format(left, c->usage.held > c->most
                                             ? 0
                                             : (double)(c->most - c->usage.held)),
                       bytes ? size_format(asked, (double)bytes) : "so much");
    return c->source.take(c->source.arg, bytes, p, e);
}

int cache_allocate(struct cache *c, size_t bytes, void **p, struct err *e)
{
    size_t rounded = round_up(bytes);
    struct block *kept = rounded ? find_kept(c, rounded) : NULL;

    if (!kept) {
        struct block taken = {NULL, rounded, false};
        int rc = take(c, rounded, &taken.p, e);
        if (rc == ERR_FULL && c->usage.held > c->usage.used) {
            cache_trim(c);
            rc = take(c, rounded, &taken.p, e);
        }
        if (rc < 0)
            return rc;
        c->usage.held += rounded;
        vec_push(&c->blocks, taken);
        kept = &c->blocks.v[c->blocks.n - 1];
    }
    kept->used = true;
    c->usage.used += kept->bytes;
    if (c->usage.used > c->usage.peak)
        c->usage.peak = c->usage.used;
    *p = kept->p;
    return 0;
}

void cache_release(struct cache *c, void *p)
{
    for (size_t i = 0; p && i < c->blocks.n; i++) {
        struct block *b = &c->blocks.v[i];
        if (b->p != p)
            continue;
        b->used = false;
        c->usage.used -= b->bytes;
        return;
    }
}

void cache_trim(struct cache *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->blocks.n; i++) {
        struct block b = c->blocks.v[i];
        if (b.used) {
            c->blocks.v[n++] = b;
            continue;
        }
        c->source.give(c->source.arg, b.p);
        c->usage.held -= b.bytes;
    }
    c->blocks.n = n;
}

void cache_limit(struct cache *c, size_t bytes)
{
    size_t used = c->usage.used;

    cache_trim(c); /* or what is kept would be given out beyond it */
    c->most = bytes > SIZE_MAX - used ? SIZE_MAX : used + bytes;
}

struct cache_usage cache_usage(const struct cache *c)
{
    struct cache_usage usage = c->usage;

    usage.left = c->most == SIZE_MAX    ? SIZE_MAX
                 : usage.used < c->most ? c->most - usage.used
                                        : 0;
    return usage;
}
