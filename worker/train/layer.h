/* A layer: rows of `in` numbers become rows of `out` numbers. A kind of layer is a
 * table of functions and a maker; the model knows no kind but through them. */
#ifndef WORKER_TRAIN_LAYER_H
#define WORKER_TRAIN_LAYER_H

#include "gpu/device.h"

#define LAYER_INPUTS     2
#define LAYER_PARAMETERS 2
#define LAYER_STATES     2
#define LAYER_NAME       32

/* In the place of a layer's number: the samples. It is the number before 0. */
#define LAYER_SAMPLES ((size_t)-1)

struct parameter {
    const char *name; /* "weight" */
    int ndim;
    size_t dim[4];
    size_t count;
    double bound; /* starts uniform in [-bound, bound); 0: starts as `start` */
    float start;
    size_t offset; /* in the model's arrays of values and of gradients, or of state */
};

struct layer {
    const struct layer_kind *kind;
    char name[LAYER_NAME]; /* "dense1", as checkpoints have it */
    size_t in, out;
    struct image in_image, out_image; /* in and out by their axes */
    int n_inputs;
    size_t inputs[LAYER_INPUTS]; /* layers before it in the model, or LAYER_SAMPLES */
    bool backward_x, backward_y; /* whether backward reads x and y */
    struct window window;        /* of what has one */
    enum device_activation activation;
    double dropout;      /* the share that becomes 0 */
    uint32_t draws;      /* of what draws at random: sets it apart from other layers */
    bool training_alone; /* in evaluation it gives what it is given */
    int n_parameters;
    struct parameter parameters[LAYER_PARAMETERS];
    int n_states; /* what training changes, but not by gradients */
    struct parameter states[LAYER_STATES];
    size_t saved; /* floats that forward leaves for backward, whatever the rows */
};

/* Rows on their way through a model. */
struct batch {
    size_t rows;
    const void *x; /* [rows][in] of the first layer */
    bool training; /* backward may follow */
    /* What layers draw at random in training depends on these, and on nothing else: */
    uint64_t seed;
    int64_t step; /* the optimiser's, over the whole training */
    size_t row;   /* the number, in the batch of all ranks, of the first of the rows */
};

/* What a layer works on. Arrays of x have [rows][in], those of y [rows][out]; both are
 * activations, and so are dx and dy. */
struct layer_call {
    const struct layer *layer;
    struct device *device;
    const struct batch *batch;
    const float *values; /* all the model's parameters */
    float *gradients;    /* with respect to them: the mean over rows is in dy already */
    const void *x[LAYER_INPUTS];
    void *y;
    float *state; /* all the model's */
    float *saved; /* the layer's, in training */
    /* Gradients of the loss: dy is used up; dx are NULL where nobody wants them. */
    void *dy, *dx[LAYER_INPUTS];
};

struct layer_kind {
    void (*forward)(const struct layer_call *c);  /* sets y */
    void (*backward)(const struct layer_call *c); /* sets its gradients and dx */
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
/* y = x * W: what is before a batch normalisation, which has the bias. */
struct layer layer_conv_unbiased(const char *name, struct image in, size_t channels,
                                 struct window window);
/* Of each channel, y [rows][c]: the mean over its places. */
struct layer layer_global_avg_pool(const char *name, struct image in);
/* Of each channel, y = act((x - mean) / sqrt(var + 1e-5) * weight + bias): by the batch's
 * mean and variance in training, by running ones, which training moves, in evaluation. */
struct layer layer_batch_norm(const char *name, struct image in,
                              enum device_activation activation);
/* y = act(x[0] + x[1]). */
struct layer layer_add(const char *name, struct image in,
                       enum device_activation activation);
/* In training y = x / (1 - share) or, where it is dropped, 0; each number is dropped with
 * chance `share`, from 0 to below 1, taken to a multiple of 1/65536. In evaluation y = x.
 * `draws` is another number for each of a model's. */
struct layer layer_dropout(const char *name, size_t size, double share, uint32_t draws);

extern const struct layer_kind layer_kind_dense, layer_kind_conv, layer_kind_max_pool,
    layer_kind_global_avg_pool, layer_kind_batch_norm, layer_kind_add, layer_kind_dropout;

#endif
