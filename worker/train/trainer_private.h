/* What the files of the trainer share. */
#ifndef WORKER_TRAIN_TRAINER_PRIVATE_H
#define WORKER_TRAIN_TRAINER_PRIVATE_H

#include "worker/train/exchange.h"
#include "worker/train/stages.h"
#include "worker/train/trainer.h"

/* Samples and labels, of the data's train and test, on the device. */
struct attached {
    const void *x, *y;
};

/* Samples of a part, by their places in its order. */
struct rows {
    size_t start, n;
};

/* Samples on their way to the model: while it works on some, the next are gathered. */
struct loader {
    struct device *device;
    void **x;           /* [n][rows][features], for those that are gathered, in turn */
    size_t n, rows, at; /* where the next go */
    struct rows coming; /* are being gathered; n 0: none */
    struct rows here;   /* were, and are not taken yet: from `next` on */
    const char *next;
};

/* A part as the device sees it. */
struct feed {
    const struct part *part;
    struct device_gather gather; /* index and moves are those of a batch */
    const int32_t *labels;
    uint32_t *order;           /* [part->n] */
    struct device_move *moves; /* [part->n], of the samples in this order; NULL: none */
    struct loader loader;      /* of a stage that takes samples */
};

/* Those from `start` on, up to `most`. */
static inline size_t rows_left(const struct feed *f, size_t start, size_t most)
{
    size_t left = f->part->n - start;
    return left < most ? left : most;
}

/* A micro-batch on its way. */
struct lane {
    struct pass *pass;
    void *room; /* [rows][in], for what the stage before gives; NULL of the first */
};

struct trainer {
    struct device *device;
    struct data *data;
    struct model *model;
    struct optimizer *optimizer;
    struct trainer_config config;
    struct exchange *exchange;
    struct attached attached[2]; /* train, test */
    struct feed training, validation;
    const void *mean, *scale;
    /* [training.part->n], before they go to the device; without augmentation no moves. */
    uint32_t *shuffled;
    struct device_move *moves;
    struct device_totals *totals;
    int64_t step; /* optimiser steps before this one, over the whole training */

    /* ---- step.c ---- */

    struct stage *stages;   /* of all ranks, if they are stages; else one, the model */
    size_t n_stages, stage; /* this rank's */
    size_t micro_batches;   /* that a batch, or a rank's share of it, is cut into */
    struct lane *lanes;     /* [n_lanes]: as many as are under way at once */
    size_t n_lanes;
    size_t most_rows;      /* in evaluation */
    void *dx;              /* [rows][in], what goes to the stage before */
    float *partial;        /* [model->n], gradients of a micro-batch but the first */
    bool adding, reducing; /* this micro-batch's gradients are added, and summed */
    /* Of this step's gradients, those from `added` on are whole on this rank, and those
     * from `reduced` on are being summed over the ranks. */
    size_t added, reduced, bucket;
};

/* Room for n times so many rows, which are gathered at once. On failure loader_close() is
 * due all the same. */
int loader_open(struct loader *l, struct device *d, size_t n, size_t rows,
                size_t features, struct err *e);
void loader_close(struct loader *l); /* one of zeros is fine */
/* The samples `now` [rows][features], good until n - 1 others are taken. Begins to gather
 * of `rest`, with which the next calls must come, `rows` of them dividing it; n 0: with
 * any. Until then f's order and moves stay as they are. */
const void *loader_take(struct loader *l, const struct feed *f, struct rows now,
                        struct rows rest);

/* Makes room for batches on their way: in as many micro-batches as were asked for, or as
 * fit into memory. All ranks at once, with the same result. */
int step_open(struct trainer *t, struct err *e);
void step_close(struct trainer *t);

/* Runs n samples of a part from `start` on through the model and back: the gradients of
 * their mean loss are there, on all ranks (of stages: their own). */
void step_train(struct trainer *t, struct feed *f, size_t start, size_t n);
/* Runs all samples of a part through the model. */
void step_validate(struct trainer *t, struct feed *f);

#endif
