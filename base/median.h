#ifndef BASE_MEDIAN_H
#define BASE_MEDIAN_H

#include <stddef.h>

/* The middle one of n numbers, of which none is NaN, the higher of two; sorts them. */
double median(double v[], size_t n);

#endif
