/* Growing arrays: VEC(int) v = {0}; vec_push(&v, 3); v.v[i] for i < v.n;
 * vec_free(&v). Elements move when the array grows: keep indices, not
 * pointers. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/mem.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define VEC(type)                                                                        \
    struct {                                                                             \
        type *v;                                                                         \
        size_t n, cap;                                                                   \
    }

/* Room for at least `want` elements in all. */
#define vec_reserve(a, want)                                                             \
    do {                                                                                 \
        if ((a)->cap < (want)) {                                                         \
            size_t vec_cap_ = (a)->cap ? (a)->cap * 2 : 8;                               \
            if (vec_cap_ < (size_t)(want))                                               \
                vec_cap_ = (want);                                                       \
            (a)->v = mem_resize((a)->v, vec_cap_, sizeof(*(a)->v));                      \
            (a)->cap = vec_cap_;                                                         \
        }                                                                                \
    } while (0)

#define vec_push(a, item)                                                                \
    do {                                                                                 \
        vec_reserve((a), (a)->n + 1);                                                    \
        (a)->v[(a)->n++] = (item);                                                       \
    } while (0)

/* Takes element i out, keeping the order of the others. */
#define vec_remove(a, i)                                                                 \
    do {                                                                                 \
        memmove(&(a)->v[(i)], &(a)->v[(i) + 1], ((a)->n - 1 - (i)) * sizeof(*(a)->v));   \
        (a)->n--;                                                                        \
    } while (0)

#define vec_free(a)                                                                      \
    do {                                                                                 \
        free((a)->v);                                                                    \
        (a)->v = NULL;                                                                   \
        (a)->n = (a)->cap = 0;                                                           \
    } while (0)

#endif
