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
    size_t dim[4];
    size_t count;
    double bound;  /* starts uniform in [-bound, bound); 0: starts as zeros */
    size_t offset; /* in the model's arrays of values and of gradients */
};

struct layer {
    const struct layer_kind *kind;
    char name[LAYER_NAME]; /* "dense1", as checkpoints have it */
    size_t in, out;
    struct image in_image, out_image; /* in and out by their axes */
    struct window window;             /* of what has one */
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

/* Weights start as He et al. 2015 ("Delving deep into rectifiers"): uniform with
 * variance gain^2 / n, n being the inputs that an output is the sum of and gain^2 2
 * before a ReLU, 1 else; biases start as zero. */
double layer_bound(size_t n, enum device_activation activation);

/* y = act(x W^T + b), W [out][in]. */
struct layer layer_dense(const char *name, size_t in, size_t out,
                         enum device_activation activation);
/* y = act(x * W + b), W [channels][size][size][in.c]. */
struct layer layer_conv(const char *name, struct image in, size_t channels,
                        struct window window, enum device_activation activation);
struct layer layer_max_pool(const char *name, struct image in, struct window window);

extern const struct layer_kind layer_kind_dense, layer_kind_conv, layer_kind_max_pool;

#endif
