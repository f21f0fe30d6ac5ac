/* Order of numbers. */
#ifndef BASE_RANK_H
#define BASE_RANK_H

#include <stddef.h>

/* Spearman's rank correlation of n pairs: that of Pearson between the ranks, equal
 * numbers having the mean of theirs. NaN is larger than all numbers. NaN is the result
 * when there are fewer than two pairs, or when either side is the same everywhere. */
double rank_correlation(const double x[], const double y[], size_t n);

#endif
