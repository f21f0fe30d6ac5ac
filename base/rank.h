/* Order of numbers. */
#ifndef BASE_RANK_H
#define BASE_RANK_H

#include <stddef.h>

/* In ascending order; none is NaN. */
void numbers_sort(double v[], size_t n);
/* The middle one of n numbers, of which none is NaN, the higher of two; sorts them. */
double median(double v[], size_t n);
/* That below which a share of n > 0 sorted numbers lies, with linear interpolation. */
double quantile(const double v[], size_t n, double share);

/* Spearman's rank correlation of n pairs: that of Pearson between the ranks, equal
 * numbers having the mean of theirs. NaN is larger than all numbers. NaN is the result
 * when there are fewer than two pairs, or when either side is the same everywhere. */
double rank_correlation(const double x[], const double y[], size_t n);

#endif
