/* The kinds of models. A new one is a function here that puts layer behind layer, from
 * the sample to the logits, and a line in `kinds` and in model_kinds. */
#include "worker/train/models.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* OpenBLAS counts in int, and a draw is numbered by 32 bits. */
#define SIZE_LIMIT ((size_t)1 << 31)

/* ---- putting layers together ---- */

/* A model in the making. The first failure sticks; what comes after it does nothing. */
struct chain {
    struct model *m;
    struct image at; /* what the last layer gives */
    int rc;
    struct err *e;
};

/* Adds a layer; its first input is the last layer's output. */
static void add(struct chain *c, struct layer l)
{
    struct model *m = c->m;

    l.inputs[0] = m->n_layers - 1; /* of the first one LAYER_SAMPLES */
    m->layers = mem_resize(m->layers, m->n_layers + 1, sizeof(*m->layers));
    m->layers[m->n_layers++] = l;
    c->at = l.out_image;
}

static void add_dense(struct chain *c, const char *name, size_t out,
                      enum device_activation activation)
{
    size_t in = c->at.h * c->at.w * c->at.c;

    if (c->rc < 0)
        return;
    if (in == 0 || out == 0 || in >= SIZE_LIMIT / out)
        c->rc = err_set(c->e, ERR_INVAL, "layer %zu: %zu by %zu weights cannot be",
                        c->m->n_layers + 1, out, in);
    else
        add(c, layer_dense(name, in, out, activation));
}

/* Whether a window fits, and what comes out of it. */
static bool window_fits(struct chain *c, const char *name, size_t channels,
                        struct window w)
{
    size_t h = window_steps(w, c->at.h), v = window_steps(w, c->at.w);

    if (c->rc < 0)
        return false;
    if (h == 0 || v == 0)
        c->rc = err_set(c->e, ERR_INVAL,
                        "%s: images are too small for this model: a window of %zux%zu "
                        "meets %zux%zu",
                        name, w.size, w.size, c->at.h, c->at.w);
    else if (h >= SIZE_LIMIT / v || h * v >= SIZE_LIMIT / channels ||
             w.size * w.size >= SIZE_LIMIT / channels / c->at.c)
        c->rc = err_set(c->e, ERR_INVAL, "%s: images of %zux%zux%zu are too large", name,
                        c->at.h, c->at.w, c->at.c);
    return c->rc == 0;
}

static void add_conv(struct chain *c, const char *name, size_t channels, struct window w,
                     enum device_activation activation)
{
    if (window_fits(c, name, channels, w))
        add(c, layer_conv(name, c->at, channels, w, activation));
}

static void add_max_pool(struct chain *c, const char *name, struct window w)
{
    if (window_fits(c, name, c->at.c, w))
        add(c, layer_max_pool(name, c->at, w));
}

/* Hidden dense layers with ReLU, then one number a class. */
static void add_classifier(struct chain *c, const struct model_config *config)
{
    char name[LAYER_NAME];

    for (size_t i = 0; i < config->n_hidden; i++) {
        snprintf(name, sizeof(name), "dense%zu", i + 1);
        add_dense(c, name, config->hidden[i], ACTIVATION_RELU);
    }
    snprintf(name, sizeof(name), "dense%zu", config->n_hidden + 1);
    add_dense(c, name, config->classes, ACTIVATION_NONE);
}

/* ---- the kinds ---- */

static void build_mlp(struct chain *c, const struct model_config *config)
{
    add_classifier(c, config);
}

/* Two convolutions, as in PyTorch's tutorial on hyperparameters. */
static void build_cnn(struct chain *c, const struct model_config *config)
{
    const struct window filter = {.size = 5, .stride = 1},
                        pool = {.size = 2, .stride = 2};

    add_conv(c, "conv1", 6, filter, ACTIVATION_RELU);
    add_max_pool(c, "pool1", pool);
    add_conv(c, "conv2", 16, filter, ACTIVATION_RELU);
    add_max_pool(c, "pool2", pool);
    add_classifier(c, config);
}

static const struct kind {
    const char *name;
    bool images; /* it wants samples as [h][w][c] */
    void (*build)(struct chain *c, const struct model_config *config);
} kinds[] = {
    {"mlp", false, build_mlp},
    {"cnn", true, build_cnn},
};

const char *const model_kinds[] = {"mlp", "cnn", NULL};

int models_build(struct model *m, const struct model_config *config, struct err *e)
{
    struct chain c = {.m = m, .at = config->sample, .e = e};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(config->kind, kinds[i].name) != 0)
            continue;
        if (kinds[i].images && c.at.h * c.at.w <= 1)
            return err_set(e, ERR_INVAL,
                           "model %s wants images, samples of [height][width], "
                           "[height][width][channels] or [channels][height][width]; "
                           "these are no images, but %zu numbers each",
                           config->kind, c.at.c);
        m->images = kinds[i].images;
        kinds[i].build(&c, config);
        return c.rc;
    }
    return err_set(e, ERR_INVAL, "unknown model '%s'", config->kind);
}
