#include "base/hash.h"

#include "base/mem.h"

#include <stdlib.h>
#include <xxhash.h>

uint64_t hash64(const void *data, size_t n)
{
    return XXH3_64bits(data, n);
}

void hash_hex(char out[17], uint64_t h)
{
    for (int i = 15; i >= 0; i--, h >>= 4)
        out[i] = "0123456789abcdef"[h & 15];
    out[16] = '\0';
}

bool hash_unhex(const char *hex, size_t n, uint64_t *out)
{
    if (n != 16)
        return false;
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)hex[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else
            return false;
        h = h << 4 | digit;
    }
    *out = h;
    return true;
}

/* ---- map: linear probing, at most three quarters full, cap a power of two ---- */

struct map_slot {
    uint64_t key;
    uint32_t value;
    bool used;
};

static size_t home(const struct map *m, uint64_t key)
{
    key *= UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio: spreads runs of keys */
    return (size_t)(key >> 32) & (m->cap - 1);
}

/* The slot of key, or the empty one where it would go. */
static struct map_slot *find(const struct map *m, uint64_t key)
{
    size_t i = home(m, key);
    while (m->slots[i].used && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

bool map_get(const struct map *m, uint64_t key, uint32_t *value)
{
    if (m->n == 0)
        return false;
    const struct map_slot *s = find(m, key);
    if (s->used)
        *value = s->value;
    return s->used;
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->cap = old.cap ? old.cap * 2 : 16;
    m->slots = mem_alloc(m->cap * sizeof(*m->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].used)
            *find(m, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

void map_put(struct map *m, uint64_t key, uint32_t value)
{
    if (m->n + 1 > m->cap / 4 * 3)
        grow(m);
    struct map_slot *s = find(m, key);
    m->n += !s->used;
    *s = (struct map_slot){key, value, true};
}

bool map_remove(struct map *m, uint64_t key)
{
    if (m->n == 0)
        return false;
    struct map_slot *s = find(m, key);
    if (!s->used)
        return false;
    /* Close the gap: whoever follows in the run moves up, unless that would
     * bring it before its home. */
    size_t mask = m->cap - 1, gap = (size_t)(s - m->slots);
    for (size_t i = (gap + 1) & mask; m->slots[i].used; i = (i + 1) & mask) {
        size_t from_home = (i - home(m, m->slots[i].key)) & mask;
        if (from_home >= ((i - gap) & mask)) {
            m->slots[gap] = m->slots[i];
            gap = i;
        }
    }
    m->slots[gap].used = false;
    m->n--;
    return true;
}

void map_free(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}
