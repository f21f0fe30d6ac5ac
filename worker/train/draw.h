/* What the trainer draws at random: the third number of a draw in RNG_TRAIN's stream
 * keeps its uses apart. All are functions of a seed, so nothing needs to be saved for
 * a run to go on as it would have. */
#ifndef WORKER_TRAIN_DRAW_H
#define WORKER_TRAIN_DRAW_H

#include "gpu/device.h"

enum draw {
    DRAW_START,            /* (layer, index): a weight's start */
    DRAW_ORDER,            /* (epoch, position): the order of samples in an epoch */
    DRAW_SPLIT,            /* (0, position): which samples validate, which are left out */
    DRAW_SYNTHETIC_CLASS,  /* (class, cell): what samples of a class have in common */
    DRAW_SYNTHETIC_SAMPLE, /* (sample, cell): what each has for itself */
    DRAW_SYNTHETIC_NOISE,  /* (0, place), (1, sample) */
    DRAW_CROP_Y,           /* (epoch, sample): where an image is cropped */
    DRAW_CROP_X,
    DRAW_FLIP,                   /* (epoch, sample): whether an image is mirrored */
    DRAW_DROPOUT = DROPOUT_DRAW, /* (step, layer's draws): a seed; by it (row of the
                                 batch, number / 8) */
};

/* Shuffles order[n] (Fisher and Yates; Durstenfeld's form). n is below 2^32. */
void draw_shuffle(uint64_t seed, enum draw draw, uint32_t epoch, uint32_t *order,
                  size_t n);

/* What is done to images in training, to each anew in each epoch. */
struct augmentation {
    size_t crop; /* padded by so much on each side, and cropped to what they were */
    bool flip;   /* one in two mirrored, left for right */
};

/* For a sample, whatever batch or rank it is in. Crops are equally likely, all
 * (2 crop + 1)^2; crop is below 2^30. */
struct device_move draw_move(uint64_t seed, const struct augmentation *a, uint32_t epoch,
                             uint32_t sample);

#endif
