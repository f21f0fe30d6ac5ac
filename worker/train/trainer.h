/* Training by epochs: draws batches, drives model, optimiser and device. */
#ifndef WORKER_TRAIN_TRAINER_H
#define WORKER_TRAIN_TRAINER_H

#include "worker/train/comm.h"
#include "worker/train/data.h"
#include "worker/train/loss_scale.h"
#include "worker/train/draw.h"
#include "worker/train/optimizer.h"
#include "worker/train/pass.h"
#include "worker/train/schedule.h"

/* What an epoch is reported with: an identifier, its name, and what it is. `loss` is the
 * one that is minimised, with label smoothing; `val_loss` is always plain cross-entropy,
 * to be compared between trials. */
#define METRIC_MAP(X)                                                                    \
    X(LOSS, loss)                             /* mean over the training samples, each */ \
    X(ACCURACY, accuracy)                     /* as its batch met the model */           \
    X(VAL_LOSS, val_loss)                     /* over the validation samples, by the */  \
    X(VAL_ACCURACY, val_accuracy)             /* model as the epoch left it */           \
    X(SAMPLES_PER_SECOND, samples_per_second) /* in training, without validation */      \
    X(EPOCH_SECONDS, epoch_seconds)           /* training and validation */              \
    X(HOST_RSS, host_rss)                     /* bytes of this process in memory */      \
    X(GPU_UTIL, gpu_util)                     /* these of rank 0's GPU, as its driver */ \
    X(GPU_MEM_USED, gpu_mem_used)             /* tells; NaN: it does not, or there */    \
    X(GPU_MEM_PEAK, gpu_mem_peak)             /* is none. See struct device_usage */     \
    X(GPU_POWER, gpu_power)                                                              \
    X(GPU_SECONDS, gpu_seconds) /* of the epoch, times the ranks: a GPU each */

enum metric {
#define METRIC_ENUM_(id, name) METRIC_##id,
    METRIC_MAP(METRIC_ENUM_)
#undef METRIC_ENUM_
        METRICS
};

#define METRICS_ON_HOST METRIC_GPU_UTIL /* so many are there without a GPU */

extern const char *const metric_names[METRICS];

struct metrics {
    double v[METRICS];
};

struct trainer_config {
    struct comm *comm; /* the ranks that train together; NULL: one alone */
    size_t batch_size; /* of all ranks together */
    /* The ranks are stages, each with some of the layers, which all samples go through;
     * else each has a share of every batch, and all the layers. */
    bool staged;
    /* That a batch, or a rank's share, is cut into, one after the other: gradients are
     * those of all of it, to rounding, where there is no batch normalisation. 0: as few
     * as memory allows; where ranks are stages four times as many as those. */
    size_t micro_batches;
    uint64_t seed; /* of the order of samples, and of how they are moved */
    struct augmentation augmentation;
    double label_smoothing;        /* 0 to 1, in the loss that is trained on */
    struct schedule schedule;      /* checked; of the optimiser's learning rate */
    struct loss_scale *loss_scale; /* the caller's; NULL: none */
    const char *exchange;          /* one of exchange_kinds; NULL: "auto" */
    comm_lost *lost; /* ends the process where devices that exchange break */
    void *lost_arg;
    /* Gets a line on how devices exchange, and each time that memory is short; NULL: none
     */
    struct str *notes;
};

struct trainer;

/* data must be measured. All stay the caller's. All ranks at once, with the same result
 * on all, and with the same parameters to begin with: then they have the same after each
 * step; as stages their own, and rank 0 has all at the end of an epoch. NULL on failure:
 * ERR_FULL without memory, ERR_INVAL for batches that are too large, or samples that are
 * no images, or too small ones, where those are to be moved, or for more stages than the
 * model can be cut into; exchange_open()'s. */
struct trainer *trainer_create(struct device *device, struct data *data,
                               struct model *model, struct optimizer *optimizer,
                               const struct trainer_config *config, struct err *e);
void trainer_destroy(struct trainer *t); /* NULL is fine */

/* Micro-batches that a batch, or a rank's share of it, is cut into. */
size_t trainer_micro_batches(const struct trainer *t);

/* Makes an array of the device [n] what it is on rank 0. All ranks at once, with the same
 * result on all. */
int trainer_replicate(struct device *d, struct comm *c, float *x, size_t n,
                      struct err *e);

/* Optimiser steps in an epoch of so many training samples. */
int64_t trainer_steps(size_t samples, size_t batch_size);

/* Called between batches, with the training samples done so far. */
typedef void trainer_tick(void *arg, size_t done, size_t total);

/* Trains epoch `epoch` (from 1), then validates; all ranks at once, with the same metrics
 * and result on all. Its batches depend on (seed, epoch)
 * alone, and so does their place in the schedule. tick may be NULL. The losses may turn
 * out NaN or infinite: no error. */
int trainer_epoch(struct trainer *t, uint32_t epoch, trainer_tick *tick, void *arg,
                  struct metrics *metrics, struct err *e);

#endif
