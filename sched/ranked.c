#include "sched/ranked.h"

#include "base/vec.h"

#include <stdlib.h>
#include <string.h>

/* With a million keys most of what a search touches is in no near cache; so what it
 * touches is little, and fetched at once: a block is 24 cache lines. Blocks lie in slabs,
 * on huge pages as soon as these are large: else it is the page tables that are missed.
 */
#define BLOCK_KEYS   128
#define GROUP_BLOCKS 64
#define SLAB_BLOCKS  (MEM_HUGE / sizeof(struct block))

struct block {
    double value[BLOCK_KEYS];
    uint32_t order[BLOCK_KEYS];
};

/* Some blocks, in order, with what is wanted of them before they are looked at. */
struct group {
    uint32_t n;                   /* blocks */
    uint32_t count;               /* keys in all of them */
    double value[GROUP_BLOCKS];   /* the first key of each */
    uint32_t order[GROUP_BLOCKS]; /* the same */
    uint32_t size[GROUP_BLOCKS];  /* keys in each */
    struct block *block[GROUP_BLOCKS];
};

struct ranked {
    uint32_t count;
    uint32_t n_groups, cap;
    struct group **group;      /* [n_groups], in order */
    double *value;             /* [n_groups]: the first key of each */
    uint32_t *order;           /* the same */
    uint32_t *tree;            /* [n_groups + 1]: Fenwick tree of group sizes, from 1 */
    VEC(struct block *) slabs; /* the memory of all blocks */
    size_t n_blocks, left;     /* blocks in use; how many the last slab still has */
};

struct ranked *ranked_new(void)
{
    return mem_alloc(sizeof(struct ranked));
}

void ranked_free(struct ranked *r)
{
    if (!r)
        return;
    for (uint32_t g = 0; g < r->n_groups; g++)
        free(r->group[g]);
    for (size_t i = 0; i < r->slabs.n; i++)
        free(r->slabs.v[i]);
    vec_free(&r->slabs);
    free(r->group);
    free(r->value);
    free(r->order);
    free(r->tree);
    free(r);
}

uint32_t ranked_count(const struct ranked *r)
{
    return r->count;
}

/* ---- the tree of sizes ---- */

static void tree_add(struct ranked *r, uint32_t g)
{
    for (g++; g <= r->n_groups; g += g & -g)
        r->tree[g]++;
}

static uint32_t tree_below(const struct ranked *r, uint32_t g) /* sizes of groups < g */
{
    uint32_t sum = 0;

    for (; g > 0; g -= g & -g)
        sum += r->tree[g];
    return sum;
}

static void tree_build(struct ranked *r)
{
    for (uint32_t g = 1; g <= r->n_groups; g++)
        r->tree[g] = r->group[g - 1]->count;
    for (uint32_t g = 1; g <= r->n_groups; g++) {
        uint32_t up = g + (g & -g);

        if (up <= r->n_groups)
            r->tree[up] += r->tree[g];
    }
}

/* ---- groups and blocks ---- */

/* Makes room for an element at v[at] of n. */
#define MAKE_ROOM(v, at, n)                                                              \
    memmove(&(v)[(at) + 1], &(v)[at], ((n) - (at)) * sizeof((v)[0]))

static struct group *group_add(struct ranked *r, uint32_t at)
{
    if (r->n_groups == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 4;
        r->group = mem_resize(r->group, r->cap, sizeof(r->group[0]));
        r->value = mem_resize(r->value, r->cap, sizeof(r->value[0]));
        r->order = mem_resize(r->order, r->cap, sizeof(r->order[0]));
        r->tree = mem_resize(r->tree, (size_t)r->cap + 1, sizeof(r->tree[0]));
    }
    MAKE_ROOM(r->group, at, r->n_groups);
    MAKE_ROOM(r->value, at, r->n_groups);
    MAKE_ROOM(r->order, at, r->n_groups);
    r->group[at] = mem_alloc(sizeof(struct group));
    r->n_groups++;
    return r->group[at];
}

/* Slabs are as large as all before them, up to a huge page: most rungs are small. */
static struct block *block_new(struct ranked *r)
{
    struct block *slab;

    if (r->left == 0) {
        r->left = r->n_blocks > 0 ? r->n_blocks : 1;
        if (r->left >= SLAB_BLOCKS) {
            r->left = SLAB_BLOCKS;
            slab = mem_huge(MEM_HUGE);
        } else {
            slab = mem_resize(NULL, r->left, sizeof(slab[0]));
        }
        vec_push(&r->slabs, slab);
    }
    r->n_blocks++;
    return &r->slabs.v[r->slabs.n - 1][--r->left];
}

static struct block *block_add(struct ranked *r, struct group *g, uint32_t at)
{
    MAKE_ROOM(g->block, at, g->n);
    MAKE_ROOM(g->value, at, g->n);
    MAKE_ROOM(g->order, at, g->n);
    MAKE_ROOM(g->size, at, g->n);
    g->block[at] = block_new(r);
    g->size[at] = 0;
    g->n++;
    return g->block[at];
}

/* The upper half of an array of two halves. */
#define TAKE_HALF(to, from, half) memcpy((to), &(from)[half], (half) * sizeof((from)[0]))

static void block_split(struct ranked *r, struct group *g, uint32_t at)
{
    struct block *low = g->block[at], *high = block_add(r, g, at + 1);

    TAKE_HALF(high->value, low->value, BLOCK_KEYS / 2);
    TAKE_HALF(high->order, low->order, BLOCK_KEYS / 2);
    g->size[at] = g->size[at + 1] = BLOCK_KEYS / 2;
    g->value[at + 1] = high->value[0];
    g->order[at + 1] = high->order[0];
}

static void group_split(struct ranked *r, uint32_t at)
{
    struct group *low = r->group[at], *high = group_add(r, at + 1);

    TAKE_HALF(high->block, low->block, GROUP_BLOCKS / 2);
    TAKE_HALF(high->value, low->value, GROUP_BLOCKS / 2);
    TAKE_HALF(high->order, low->order, GROUP_BLOCKS / 2);
    TAKE_HALF(high->size, low->size, GROUP_BLOCKS / 2);
    low->n = high->n = GROUP_BLOCKS / 2;
    for (uint32_t b = 0; b < high->n; b++)
        high->count += high->size[b];
    low->count -= high->count;
    r->value[at + 1] = high->value[0];
    r->order[at + 1] = high->order[0];
    tree_build(r);
}

/* ---- finding ---- */

/* How many of n keys are before `key`. Nobody could foretell how a comparison goes, so no
 * branch depends on one, but for ties. */
static uint32_t count_before(const double value[], const uint32_t order[], uint32_t n,
                             struct ranked_key key)
{
    uint32_t at = 0;

    for (uint32_t left = n, half; left > 1; left -= half) {
        half = left / 2;
        at += half * (value[at + half - 1] < key.value);
    }
    at += n > 0 && value[at] < key.value;
    while (at < n && value[at] == key.value && order[at] < key.order)
        at++;
    return at;
}

/* The last that begins not after `key`; 0 where all of them do. */
static uint32_t last_from(const double value[], const uint32_t order[], uint32_t n,
                          struct ranked_key key)
{
    uint32_t before;

    key.order++;
    before = count_before(value, order, n, key);
    return before > 0 ? before - 1 : 0;
}

/* Asks for all of something at once, instead of for a line whenever one is missed. */
static void fetch(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const char *)p + i);
}

/* Where a key is or would be. */
struct place {
    uint32_t group, block, at;
    uint32_t rank; /* keys before it */
};

static struct place find(const struct ranked *r, struct ranked_key key)
{
    struct place p = {last_from(r->value, r->order, r->n_groups, key), 0, 0, 0};
    const struct group *g = r->group[p.group];
    const struct block *b;

    fetch(g, sizeof(*g));
    p.rank = tree_below(r, p.group);
    p.block = last_from(g->value, g->order, g->n, key);
    b = g->block[p.block];
    fetch(b, sizeof(*b)); /* and meanwhile: */
    for (uint32_t i = 0; i < p.block; i++)
        p.rank += g->size[i];
    p.at = count_before(b->value, b->order, g->size[p.block], key);
    p.rank += p.at;
    return p;
}

uint32_t ranked_insert(struct ranked *r, struct ranked_key key)
{
    struct place p;
    struct group *g;
    struct block *b;

    if (r->count == 0) {
        block_add(r, group_add(r, 0), 0);
        r->value[0] = key.value; /* find() looks at it, though nothing depends on it */
        r->order[0] = key.order;
        tree_build(r);
    }
    for (;;) {
        p = find(r, key);
        g = r->group[p.group];
        if (g->size[p.block] < BLOCK_KEYS)
            break;
        if (g->n < GROUP_BLOCKS)
            block_split(r, g, p.block);
        else
            group_split(r, p.group);
    }
    b = g->block[p.block];
    MAKE_ROOM(b->value, p.at, g->size[p.block]);
    MAKE_ROOM(b->order, p.at, g->size[p.block]);
    b->value[p.at] = key.value;
    b->order[p.at] = key.order;
    g->value[p.block] = b->value[0];
    g->order[p.block] = b->order[0];
    r->value[p.group] = g->value[0];
    r->order[p.group] = g->order[0];
    g->size[p.block]++;
    g->count++;
    r->count++;
    tree_add(r, p.group);
    return p.rank;
}

uint32_t ranked_below(const struct ranked *r, struct ranked_key key)
{
    return r->count > 0 ? find(r, key).rank : 0;
}

struct ranked_key ranked_at(const struct ranked *r, uint32_t rank)
{
    uint32_t at = 0, step = 1, b = 0;
    const struct group *g;

    while (step * 2 <= r->n_groups)
        step *= 2;
    for (; step > 0; step /= 2) {
        if (at + step <= r->n_groups && r->tree[at + step] <= rank) {
            at += step;
            rank -= r->tree[at];
        }
    }
    g = r->group[at];
    while (rank >= g->size[b])
        rank -= g->size[b++];
    return (struct ranked_key){g->block[b]->value[rank], g->block[b]->order[rank]};
}
