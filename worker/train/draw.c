#include "worker/train/draw.h"

#include "base/rng.h"

void draw_shuffle(uint64_t seed, enum draw draw, uint32_t epoch, uint32_t *order,
                  size_t n)
{
    for (size_t i = n; i-- > 1;) {
        size_t j = (size_t)(rng_unit(seed, RNG_TRAIN, epoch, (uint32_t)i, draw) *
                            (double)(i + 1));
        uint32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}
