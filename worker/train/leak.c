#include "worker/train/leak.h"

#include <math.h>

enum { PIECES = 5, LEAST = 10 };

#define BYTES 16777216.0
#define SHARE 0.02

static double lowest(const double *bytes, size_t n)
{
    double low = bytes[0];

    for (size_t i = 1; i < n; i++)
        low = fmin(low, bytes[i]);
    return low;
}

/* Of n epochs, a multiple of PIECES. */
static double rate(const double *bytes, size_t n)
{
    size_t piece = n / PIECES;
    double first = lowest(bytes, piece), last = first, least = INFINITY, most = 0;

    for (size_t i = 1; i < PIECES; i++) {
        double low = lowest(bytes + i * piece, piece);
        least = fmin(least, low - last);
        most = fmax(most, low - last);
        last = low;
    }
    double grown = last - first;
    if (least < most / 2 || !(grown > fmax(BYTES, SHARE * first)))
        return 0;
    return grown / (double)(n - piece);
}

double leak_rate(const double *bytes, size_t n)
{
    double found = 0;

    for (size_t last = LEAST; last <= n && found == 0; last *= 2)
        found = rate(bytes + n - last, last);
    return found;
}
