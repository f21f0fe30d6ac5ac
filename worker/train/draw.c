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

static int32_t draw_offset(uint64_t seed, size_t crop, uint32_t epoch, uint32_t sample,
                           enum draw draw)
{
    double u = rng_unit(seed, RNG_TRAIN, epoch, sample, draw);

    return (int32_t)(u * (double)(2 * crop + 1)) - (int32_t)crop;
}

struct device_move draw_move(uint64_t seed, const struct augmentation *a, uint32_t epoch,
                             uint32_t sample)
{
    return (struct device_move){
        .dy = draw_offset(seed, a->crop, epoch, sample, DRAW_CROP_Y),
        .dx = draw_offset(seed, a->crop, epoch, sample, DRAW_CROP_X),
        .flip = a->flip && rng_unit(seed, RNG_TRAIN, epoch, sample, DRAW_FLIP) < 0.5,
    };
}
