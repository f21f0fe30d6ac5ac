/* The draws are those of rng_u64(), of base/rng.h, for many numbers at once:
 * Philox4x32-10 (Salmon et al. 2011) on LANES counters beside each other. */
#include "worker/train/cpu_private.h"

#include "base/rng.h"
#include "worker/train/draw.h"

#include <string.h>

enum { ROUNDS = 10, LANES = 16, DRAWS = 4 * LANES };

/* The draws of a row from number `first` on, which is a multiple of 4. */
WIDE static void draw_many(uint64_t seed, uint32_t row, uint32_t first,
                           uint16_t draws[DRAWS])
{
    uint32_t words[2 * LANES];

#pragma omp simd
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t a = row, b = first / 4 + i, c = DRAW_DROPOUT, d = RNG_TRAIN;
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
        words[2 * i] = a;
        words[2 * i + 1] = b;
    }
#pragma omp simd
    for (int i = 0; i < 2 * LANES; i++) {
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

void cpu_dropout(struct device *device, const struct device_dropout *d, const float *x,
                 float *y)
{
    float scale = (float)DROPOUT_ALL / (float)d->keep;
    uint16_t draws[DRAWS];

    (void)device;
    if (d->keep == DROPOUT_ALL) {
        memcpy(y, x, d->rows * d->cols * sizeof(*y));
        return;
    }
    for (size_t r = 0; r < d->rows; r++, x += d->cols, y += d->cols)
        for (size_t i = 0; i < d->cols; i += DRAWS) {
            size_t n = d->cols - i < DRAWS ? d->cols - i : DRAWS;
            draw_many(d->seed, (uint32_t)(d->row + r), (uint32_t)i, draws);
            drop(n, draws, d->keep, scale, x + i, y + i);
        }
}
