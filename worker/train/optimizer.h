/* Optimisers over one flat array of parameters. */
#ifndef WORKER_TRAIN_OPTIMIZER_H
#define WORKER_TRAIN_OPTIMIZER_H

#include "worker/train/device.h"

#define OPTIMIZER_SLOTS 2

struct optimizer_config {
    const char *kind; /* "sgd", "adam" */
    double lr;
    double momentum;     /* of sgd */
    double weight_decay; /* added to the gradient, in both (L2) */
};

struct optimizer {
    struct device *device;
    const struct optimizer_kind *kind;
    struct optimizer_config config;
    size_t n;
    int n_slots;
    float *slots[OPTIMIZER_SLOTS]; /* each [n], zero at first */
    int64_t updates;               /* steps taken; adam's t */
};

/* Names of the kinds, NULL at the end. */
extern const char *const optimizer_kinds[];

/* NULL on failure: ERR_INVAL for an unknown kind, ERR_FULL without memory. */
struct optimizer *optimizer_create(struct device *d,
                                   const struct optimizer_config *config, size_t n,
                                   struct err *e);
void optimizer_destroy(struct optimizer *o); /* NULL is fine */

void optimizer_step(struct optimizer *o, float *values, const float *gradients);

/* What slot i is called in checkpoints: "momentum"; "m", "v". */
const char *optimizer_slot(const struct optimizer *o, int i);

#endif
