/* A model in stages: layers that follow each other, one stage a rank. */
#ifndef WORKER_TRAIN_STAGES_H
#define WORKER_TRAIN_STAGES_H

#include "worker/train/model.h"

struct stage {
    size_t first, last;          /* the layers [first, last) */
    size_t from, to;             /* what is theirs of the model's values, gradients */
    size_t state_from, state_to; /* and of its state */
};

/* Cuts a model into n stages, so that the one with most to do has as little as can be:
 * multiplications, as far as the layers' shapes tell. ERR_INVAL, with how many there can
 * be, where it cannot be cut into so many. */
int stages_cut(const struct model *m, size_t n, struct stage stages[], struct err *e);

#endif
