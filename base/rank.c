#include "base/rank.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void numbers_sort(double v[], size_t n)
{
    if (n > 1) /* of none v may be NULL */
        qsort(v, n, sizeof(v[0]), compare);
}

double median(double v[], size_t n)
{
    numbers_sort(v, n);
    return v[n / 2];
}

double quantile(const double v[], size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t low = (size_t)at;

    if (at == (double)low || v[low] == v[low + 1]) /* beside infinity, or two of them */
        return v[low];
    return v[low] + (v[low + 1] - v[low]) * (at - (double)low);
}

/* ---- ranks ---- */

struct placed {
    double value;
    size_t at;
};

static int ascending(const void *a, const void *b)
{
    double x = ((const struct placed *)a)->value, y = ((const struct placed *)b)->value;

    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return x < y ? -1 : x > y;
}

/* The rank of each, from 0. */
static double *ranks(const double v[], size_t n)
{
    struct placed *sorted = mem_alloc(n * sizeof(*sorted));
    double *rank = mem_alloc(n * sizeof(*rank));

    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct placed){v[i], i};
    qsort(sorted, n, sizeof(*sorted), ascending);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && ascending(&sorted[i], &sorted[end]) == 0; end++)
            ;
        for (size_t k = i; k < end; k++)
            rank[sorted[k].at] = (double)(i + end - 1) / 2;
    }
    free(sorted);
    return rank;
}

double rank_correlation(const double x[], const double y[], size_t n)
{
    double *a = ranks(x, n), *b = ranks(y, n);
    double mean = ((double)n - 1) / 2, ab = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < n; i++) {
        ab += (a[i] - mean) * (b[i] - mean);
        aa += (a[i] - mean) * (a[i] - mean);
        bb += (b[i] - mean) * (b[i] - mean);
    }
    free(a);
    free(b);
    return n >= 2 && aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}
