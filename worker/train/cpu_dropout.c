/* The draws are those of rng_u128(), of base/rng.h, for many numbers at once:
 * Philox4x32-10 (Salmon et al. 2011) on LANES counters beside each other. */
#include "worker/train/cpu_private.h"

#include "base/rng.h"
#include "worker/train/draw.h"

#include <string.h>

enum { ROUNDS = 10, LANES = 8, DRAWS = 8 * LANES, COST = 4 };

/* The draws of a row from number `first` on, which is a multiple of 8. */
WIDE static void draw_many(uint64_t seed, uint32_t row, uint32_t first,
                           uint16_t draws[DRAWS])
{
    uint32_t words[4 * LANES];

#pragma omp simd
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t a = row, b = first / 8 + i, c = DRAW_DROPOUT, d = RNG_TRAIN;
        uint32_t key = (uint32_t)seed, other = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t p = (uint64_t)0xD2511F53 * a, q = (uint64_t)0xCD9E8D57 * c;
            a = (uint32_t)(q >> 32) ^ b ^ key;
            b = (uint32_t)q;
            c = (uint32_t)(p >> 32) ^ d ^ other;
            d = (uint32_t)p;
            key += 0x9E3779B9;
            other += 0xBB67AE85;
        }
        words[4 * i] = a;
        words[4 * i + 1] = b;
        words[4 * i + 2] = c;
        words[4 * i + 3] = d;
    }
#pragma omp simd
    for (int i = 0; i < 4 * LANES; i++) {
        draws[2 * i] = (uint16_t)words[i];
        draws[2 * i + 1] = (uint16_t)(words[i] >> 16);
    }
}

WIDE static void drop(size_t n, const uint16_t *restrict draws, uint32_t keep,
                      float scale, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * (draws[i] < keep ? scale : 0);
}

struct drop_rows {
    const struct device_dropout *dropout;
    float scale;
    const float *x;
    float *y;
};

static void drop_rows(void *arg, size_t piece, size_t from, size_t to)
{
    const struct drop_rows *r = arg;
    const struct device_dropout *d = r->dropout;
    uint16_t draws[DRAWS];

    (void)piece;
    for (; from < to; from++)
        for (size_t i = 0; i < d->cols; i += DRAWS) {
            size_t n = d->cols - i < DRAWS ? d->cols - i : DRAWS, at = from * d->cols + i;
            draw_many(d->seed, (uint32_t)(d->row + from), (uint32_t)i, draws);
            drop(n, draws, d->keep, r->scale, r->x + at, r->y + at);
        }
}

void cpu_dropout(struct device *device, const struct device_dropout *d, const float *x,
                 float *y)
{
    struct drop_rows r = {d, (float)DROPOUT_ALL / (float)d->keep, x, y};

    if (d->keep == DROPOUT_ALL)
        memcpy(y, x, d->rows * d->cols * sizeof(*y));
    else /* a number takes as long as COST others */
        cpu_parallel((struct cpu *)device, d->rows, COST * d->cols, drop_rows, &r);
}
