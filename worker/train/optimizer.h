/* Optimisers over one flat array of parameters: what torch.optim's SGD, Adam and AdamW
 * do, whose meaning of the numbers is kept where papers have another. device.h has the
 * formulas. */
#ifndef WORKER_TRAIN_OPTIMIZER_H
#define WORKER_TRAIN_OPTIMIZER_H

#include "gpu/device.h"

#define OPTIMIZER_SLOTS 2

struct optimizer_config {
    const char *kind; /* "sgd", "adam", "adamw" */
    double lr;
    double momentum; /* of sgd */
    /* sgd and adam: weight_decay * w is added to the gradient (L2). adamw: it is
     * decoupled from it, w *= 1 - lr * weight_decay before the step. (In Loshchilov and
     * Hutter 2019 the factor is 1 - eta * lambda, eta being the schedule without the
     * learning rate: lambda is lr * weight_decay here and in PyTorch.) */
    double weight_decay;
    bool nesterov; /* of sgd with momentum */
};

struct optimizer {
    struct device *device;
    const struct optimizer_kind *kind;
    struct optimizer_config config;
    size_t n;
    size_t from, to; /* the parameters that steps are of: [0, n) at first */
    int n_slots;
    float *slots[OPTIMIZER_SLOTS]; /* each [n], zero at first */
    double lr;                     /* of the next step; the configuration's at first */
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

/* What slot i is called in checkpoints: "momentum" of sgd; "m", "v" of the others. */
const char *optimizer_slot(const struct optimizer *o, int i);

#endif
