#include "worker/train/cpu_private.h"

#include "base/rng.h"
#include "worker/train/draw.h"

#include <string.h>

/* Numbers that one draw is for; and how many others one of them takes as long as. */
enum { DRAWS = 8, COST = 4 };

/* A draw is as likely to drop as not, so that no branch may hang on it. */
WIDE static void drop(size_t n, const uint16_t *restrict draws, uint32_t keep,
                      float scale, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * (draws[i] < keep ? scale : 0);
}

/* Of the numbers of a row from `col` on, which is a multiple of DRAWS. */
static void draw(const struct device_dropout *d, size_t row, size_t col,
                 uint16_t draws[DRAWS])
{
    uint64_t bits[2];

    rng_u128(d->seed, RNG_TRAIN, (uint32_t)row, (uint32_t)(col / DRAWS), DRAW_DROPOUT,
             bits);
    for (size_t i = 0; i < DRAWS; i++)
        draws[i] = (uint16_t)(bits[i / 4] >> i % 4 * 16);
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
            draw(d, d->row + from, i, draws);
            drop(n, draws, d->keep, r->scale, r->x + at, r->y + at);
        }
}

void cpu_dropout(struct device *device, const struct device_dropout *d, const void *x,
                 void *y)
{
    struct drop_rows r = {d, (float)DROPOUT_ALL / (float)d->keep, x, y};

    if (d->keep == DROPOUT_ALL)
        memcpy(y, x, d->rows * d->cols * sizeof(*r.y));
    else
        cpu_parallel((struct cpu *)device, d->rows, COST * d->cols, drop_rows, &r);
}
