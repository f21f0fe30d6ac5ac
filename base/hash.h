/* Checksums and a small hash map. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t n); /* XXH3, 64 bits: errors, not attacks */
void hash_hex(char out[17], uint64_t h);     /* 16 lower-case hex digits and NUL */
bool hash_unhex(const char *hex, size_t n, uint64_t *out); /* exactly 16 digits */

/* uint64_t -> uint32_t, open addressing. `struct map m = {0};` is empty. */
struct map {
    struct map_slot *slots;
    size_t n, cap;
};
bool map_get(const struct map *m, uint64_t key, uint32_t *value);
void map_put(struct map *m, uint64_t key, uint32_t value); /* adds or replaces */
bool map_remove(struct map *m, uint64_t key);
void map_free(struct map *m);

#endif
