#include "base/median.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double median(double v[], size_t n)
{
    qsort(v, n, sizeof(v[0]), compare);
    return v[n / 2];
}
