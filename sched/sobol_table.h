/* The packed direction numbers, as sobol_table.py writes and sobol.c reads them.
 *
 * Dimensions 1 to 21200 stand one after another, in order of the degree s of their
 * primitive polynomial (dimension 0 has none); each has s - 1 bits for the inner
 * coefficients a, then i - 1 bits for each odd initial number m_i < 2^i, i = 1..s,
 * without its lowest bit. */
#ifndef SCHED_SOBOL_TABLE_H
#define SCHED_SOBOL_TABLE_H

#include <stdint.h>

#define SOBOL_DEGREES 18

struct sobol_degree {
    uint32_t dim, bit; /* the first dimension of this degree, and where it begins */
};
extern const struct sobol_degree sobol_degrees[SOBOL_DEGREES]; /* of degree i + 1 */
extern const uint64_t sobol_words[]; /* bit i is bit i % 64 of word i / 64 */

#endif
