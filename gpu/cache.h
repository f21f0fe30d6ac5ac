/* A caching allocator. Memory of a GPU is slow to get and to give back (the driver waits
 * for all that is queued), so what is released is kept for the next who asks. */
#ifndef GPU_CACHE_H
#define GPU_CACHE_H

#include "base/err.h"

#include <stddef.h>

/* Where the memory comes from. */
struct cache_source {
    int (*take)(void *arg, size_t bytes, void **p, struct err *e); /* ERR_FULL: none */
    void (*give)(void *arg, void *p);
    void *arg;
};

struct cache_usage {
    size_t used; /* bytes that are given out, as they were rounded up */
    size_t peak; /* the most that were so at once */
    size_t held; /* bytes taken from the source: used, and kept */
    size_t left; /* what the limit leaves of more; SIZE_MAX: there is none */
};

struct cache;

struct cache *cache_open(const struct cache_source *source);
/* Gives everything back, what is still given out, too. NULL is fine. */
void cache_close(struct cache *c);

/* Not zeroed. Where there is no more, all that is kept goes back to the source, which is
 * asked again; then ERR_FULL. */
int cache_allocate(struct cache *c, size_t bytes, void **p, struct err *e);
void cache_release(struct cache *c, void *p); /* NULL is fine */
/* Gives back what is kept. */
void cache_trim(struct cache *c);
/* From now on at most so many bytes more than are given out now. Gives back what is
 * kept. */
void cache_limit(struct cache *c, size_t bytes);
struct cache_usage cache_usage(const struct cache *c);

#endif
