#include "sched/ranked.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* 16 bytes a key: half a block, moved at most at an insertion, is one 4 kB page. */
#define BLOCK_KEYS 512

struct block {
    uint32_t n;
    struct ranked_key key[BLOCK_KEYS];
};

struct ranked {
    uint32_t count;
    uint32_t n_blocks, cap;
    struct block **block;     /* [n_blocks], each not empty, in order */
    struct ranked_key *first; /* [n_blocks]: block[i]->key[0], to search without
                                 touching the blocks */
    uint32_t *tree;           /* [n_blocks + 1]: Fenwick tree of block sizes, from 1 */
};

static bool before(struct ranked_key a, struct ranked_key b)
{
    return a.value < b.value || (a.value == b.value && a.order < b.order);
}

struct ranked *ranked_new(void)
{
    return mem_alloc(sizeof(struct ranked));
}

void ranked_free(struct ranked *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->n_blocks; i++)
        free(r->block[i]);
    free(r->block);
    free(r->first);
    free(r->tree);
    free(r);
}

uint32_t ranked_count(const struct ranked *r)
{
    return r->count;
}

/* ---- the tree of sizes ---- */

static void tree_add(struct ranked *r, uint32_t i, int32_t delta)
{
    for (i++; i <= r->n_blocks; i += i & -i)
        r->tree[i] = (uint32_t)((int32_t)r->tree[i] + delta);
}

static uint32_t tree_below(const struct ranked *r, uint32_t i) /* sizes of blocks < i */
{
    uint32_t sum = 0;

    for (; i > 0; i -= i & -i)
        sum += r->tree[i];
    return sum;
}

static void tree_build(struct ranked *r)
{
    for (uint32_t i = 1; i <= r->n_blocks; i++)
        r->tree[i] = r->block[i - 1]->n;
    for (uint32_t i = 1; i <= r->n_blocks; i++) {
        uint32_t up = i + (i & -i);

        if (up <= r->n_blocks)
            r->tree[up] += r->tree[i];
    }
}

/* ---- blocks ---- */

static void block_add(struct ranked *r, uint32_t at, struct block *b)
{
    if (r->n_blocks == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 8;
        r->block = mem_resize(r->block, r->cap, sizeof(r->block[0]));
        r->first = mem_resize(r->first, r->cap, sizeof(r->first[0]));
        r->tree = mem_resize(r->tree, (size_t)r->cap + 1, sizeof(r->tree[0]));
    }
    memmove(&r->block[at + 1], &r->block[at], (r->n_blocks - at) * sizeof(r->block[0]));
    memmove(&r->first[at + 1], &r->first[at], (r->n_blocks - at) * sizeof(r->first[0]));
    r->block[at] = b;
    r->first[at] = b->key[0];
    r->n_blocks++;
}

static void block_drop(struct ranked *r, uint32_t at)
{
    free(r->block[at]);
    r->n_blocks--;
    memmove(&r->block[at], &r->block[at + 1], (r->n_blocks - at) * sizeof(r->block[0]));
    memmove(&r->first[at], &r->first[at + 1], (r->n_blocks - at) * sizeof(r->first[0]));
    tree_build(r);
}

static void block_split(struct ranked *r, uint32_t at)
{
    struct block *low = r->block[at], *high = mem_alloc(sizeof(*high));

    high->n = low->n / 2;
    low->n -= high->n;
    memcpy(high->key, &low->key[low->n], high->n * sizeof(high->key[0]));
    block_add(r, at + 1, high);
    tree_build(r);
}

/* The block that holds or would hold the key: the last whose first key is not after it.
 */
static uint32_t find_block(const struct ranked *r, struct ranked_key key)
{
    uint32_t lo = 0, hi = r->n_blocks;

    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (before(key, r->first[mid]))
            hi = mid;
        else
            lo = mid;
    }
    return lo;
}

static uint32_t find_in_block(const struct block *b, struct ranked_key key)
{
    uint32_t lo = 0, hi = b->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (before(b->key[mid], key))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void ranked_insert(struct ranked *r, struct ranked_key key)
{
    uint32_t at, i;
    struct block *b;

    r->count++;
    if (r->n_blocks == 0) {
        b = mem_alloc(sizeof(*b));
        b->n = 1;
        b->key[0] = key;
        block_add(r, 0, b);
        tree_build(r);
        return;
    }
    at = find_block(r, key);
    if (r->block[at]->n == BLOCK_KEYS) {
        block_split(r, at);
        at = find_block(r, key);
    }
    b = r->block[at];
    i = find_in_block(b, key);
    memmove(&b->key[i + 1], &b->key[i], (b->n - i) * sizeof(b->key[0]));
    b->key[i] = key;
    b->n++;
    r->first[at] = b->key[0];
    tree_add(r, at, 1);
}

bool ranked_remove(struct ranked *r, struct ranked_key key)
{
    uint32_t at, i;
    struct block *b;

    if (r->count == 0)
        return false;
    at = find_block(r, key);
    b = r->block[at];
    i = find_in_block(b, key);
    if (i == b->n || before(key, b->key[i]))
        return false;
    b->n--;
    r->count--;
    memmove(&b->key[i], &b->key[i + 1], (b->n - i) * sizeof(b->key[0]));
    if (b->n == 0) {
        block_drop(r, at);
        return true;
    }
    r->first[at] = b->key[0];
    tree_add(r, at, -1);
    return true;
}

uint32_t ranked_below(const struct ranked *r, struct ranked_key key)
{
    uint32_t at;

    if (r->count == 0)
        return 0;
    at = find_block(r, key);
    return tree_below(r, at) + find_in_block(r->block[at], key);
}

struct ranked_key ranked_at(const struct ranked *r, uint32_t rank)
{
    uint32_t at = 0, step = 1;

    while (step * 2 <= r->n_blocks)
        step *= 2;
    for (; step > 0; step /= 2) {
        if (at + step <= r->n_blocks && r->tree[at + step] <= rank) {
            at += step;
            rank -= r->tree[at];
        }
    }
    return r->block[at]->key[rank];
}
