/* A layer: rows of `in` numbers become rows of `out` numbers. A kind of layer is a
 * table of functions and a maker; the model knows no kind but through them. */
#ifndef WORKER_TRAIN_LAYER_H
#define WORKER_TRAIN_LAYER_H

#include "worker/train/device.h"

#define LAYER_PARAMETERS 2
#define LAYER_NAME       32

struct parameter {
    const char *name; /* "weight" */
    int ndim;
    size_t dim[2];
    size_t count;
    double bound;  /* starts uniform in [-bound, bound); 0: starts as zeros */
    size_t offset; /* in the model's arrays of values and of gradients */
};

struct layer {
    const struct layer_kind *kind;
    char name[LAYER_NAME]; /* "dense1", as checkpoints have it */
    size_t in, out;
    enum device_activation activation;
    int n_parameters;
    struct parameter parameters[LAYER_PARAMETERS];
};

struct layer_kind {
    /* y [rows][out] from x [rows][in]; values holds all the model's parameters. */
    void (*forward)(const struct layer *l, struct device *d, const float *values,
                    size_t rows, const float *x, float *y);
    /* From dy, the gradient with respect to y, which is used up: the gradients of the
     * parameters (the mean over rows is in dy already) and, unless NULL, dx. */
    void (*backward)(const struct layer *l, struct device *d, const float *values,
                     float *gradients, size_t rows, const float *x, const float *y,
                     float *dy, float *dx);
};

/* y = act(x W^T + b), W [out][in]. Starts as He et al. 2015 ("Delving deep into
 * rectifiers"): W uniform with variance gain^2 / in, gain^2 being 2 before a ReLU and
 * 1 else; b zero. */
struct layer layer_dense(const char *name, size_t in, size_t out,
                         enum device_activation activation);

#endif
