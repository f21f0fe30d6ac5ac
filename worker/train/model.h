/* A model: layers, each of which takes what layers before it give, or the samples. The
 * last gives one number a class. pass.h runs it. */
#ifndef WORKER_TRAIN_MODEL_H
#define WORKER_TRAIN_MODEL_H

#include "worker/train/layer.h"

#include "base/str.h"

struct model_config {
    const char *kind;    /* one of model_kinds */
    struct image sample; /* the shape of a sample */
    size_t classes;
    const size_t *hidden; /* sizes of the hidden dense layers */
    size_t n_hidden;
    uint64_t seed;
    double dropout; /* 0 to below 1: of what each hidden dense layer gives */
};

/* The parameters of all layers lie in one array, layer after layer, their gradients in
 * another of the same shape, so that an optimiser step or an all-reduce is one
 * operation. */
struct model {
    struct device *device;
    struct layer *layers;
    size_t n_layers;
    bool images;         /* it sees samples as [h][w][c], not as they are stored */
    size_t n;            /* elements of values: parameters, and gaps that stay zero */
    size_t n_parameters; /* without the gaps */
    float *values, *gradients;
    /* What training changes, but no optimiser: running means and variances. */
    size_t n_state; /* elements, with the gaps */
    float *state;
};

/* Names of the kinds, NULL at the end. */
extern const char *const model_kinds[];

/* Whether a kind has hidden dense layers, so that their sizes say something. */
bool model_has_hidden(const char *kind);

/* Starts with the weights that belong to the seed. NULL on failure: ERR_INVAL for an
 * unknown kind, samples that are no images where the kind wants them, or sizes beyond
 * 2^31; ERR_FULL without memory. */
struct model *model_create(struct device *d, const struct model_config *config,
                           struct err *e);
void model_destroy(struct model *m); /* NULL is fine */

/* Gives a model that has its device and layers, and nothing else, its parameters: what
 * model_create() does with the layers of a kind. */
int model_start(struct model *m, uint64_t seed, struct err *e);

/* Whether the model can be cut before a layer: all that it and those after it take from
 * those before it is the output of the last of them. */
bool model_can_cut(const struct model *m, size_t layer);

/* The shape for people and checkpoints: "784-128-10", with images as "28x28x1"; of
 * branches only what they give together, images of one shape in a row once, and nothing
 * of layers of training alone. Two
 * models of one kind that differ in shape have different ones. */
void model_describe(const struct model *m, struct str *out);

#endif
