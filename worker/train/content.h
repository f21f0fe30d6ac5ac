/* What a checkpoint holds of a training, in memory of the host: copied from a training or
 * read from a file, and put into either. Between the two it is nobody else's, so that a
 * thread may write it while the training goes on. */
#ifndef WORKER_TRAIN_CONTENT_H
#define WORKER_TRAIN_CONTENT_H

#include "worker/train/checkpoint.h"

#include "store/tensors.h"

struct content {
    struct progress progress;
    int64_t updates, n_slots;
    float *mean, *scale;           /* [features] */
    float *values, *state;         /* as the model has them */
    float *slots[OPTIMIZER_SLOTS]; /* as the optimiser has them; NULL beyond its own */
    VEC(struct epoch_record) history;
};

void content_free(struct content *c); /* an empty one is fine */

/* Takes, for an empty content, the memory that a copy needs, all of it: memory that is
 * new is slow to write to. Of the training only sizes are looked at. */
void content_reserve(struct content *c, const struct training *tr);

/* Copies what the training is now. A content that was copied from the same training
 * before, or reserved for it, is copied over, in the memory that it has. */
int content_copy(struct content *c, const struct training *tr, struct err *e);
/* Into a new file. Of the training, only what never changes is looked at: its model's
 * layers, its kinds and settings. */
int content_put(const struct content *c, struct tensors *t, const struct training *tr,
                struct err *e);

/* Reads all of a file into an empty content. ERR_INVAL and ERR_VERSION: whole, but of
 * another training; ERR_NOENT: not there; anything else is damage, ERR_CORRUPT. */
int content_read(struct content *c, const char *path, const struct training *tr,
                 struct err *e);
/* Makes the training what the content says. */
void content_take(const struct content *c, struct training *tr);

#endif
