/* A sorted multiset of (value, order) that answers by rank.
 *
 * Rungs hold up to a million values and are asked, at every report, for the rank
 * of a value and for the value of a rank. Sorted blocks of some hundred keys, in groups
 * of some tens, under a Fenwick tree of the groups' sizes: an insertion moves a kB or so
 * within a block, a query is three short binary searches. */
#ifndef SCHED_RANKED_H
#define SCHED_RANKED_H

#include <stdbool.h>
#include <stdint.h>

/* Ordered by value, then by order: "recorded first" wins a tie. Finite values. */
struct ranked_key {
    double value;
    uint32_t order;
};

struct ranked;

struct ranked *ranked_new(void);
void ranked_free(struct ranked *r);
uint32_t ranked_count(const struct ranked *r);
/* Adds a key that is not there yet; how many are smaller. */
uint32_t ranked_insert(struct ranked *r, struct ranked_key key);
/* How many keys are smaller than this one. */
uint32_t ranked_below(const struct ranked *r, struct ranked_key key);
/* The key with `rank` smaller ones; rank < ranked_count(). */
struct ranked_key ranked_at(const struct ranked *r, uint32_t rank);

#endif
