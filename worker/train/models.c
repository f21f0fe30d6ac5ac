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
    size_t last;     /* the layer that the next one takes */
    struct image at; /* what it gives */
    int rc;
    struct err *e;
};

/* Adds a layer; its first input is the last layer's output. */
static void add(struct chain *c, struct layer l)
{
    struct model *m = c->m;

    l.inputs[0] = c->last;
    m->layers = mem_resize(m->layers, m->n_layers + 1, sizeof(*m->layers));
    m->layers[m->n_layers] = l;
    c->last = m->n_layers++;
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

/* A convolution, and "bn" behind it. */
static void add_conv_bn(struct chain *c, const char *conv, const char *bn,
                        size_t channels, struct window w,
                        enum device_activation activation)
{
    if (!window_fits(c, conv, channels, w))
        return;
    add(c, layer_conv_unbiased(conv, c->at, channels, w));
    add(c, layer_batch_norm(bn, c->at, activation));
}

/* Hidden dense layers with ReLU and, if there is any, dropout; then one number a class.
 */
static void add_classifier(struct chain *c, const struct model_config *config)
{
    char name[LAYER_NAME];

    for (size_t i = 0; i < config->n_hidden; i++) {
        snprintf(name, sizeof(name), "dense%zu", i + 1);
        add_dense(c, name, config->hidden[i], ACTIVATION_RELU);
        if (config->dropout > 0 && c->rc == 0) {
            snprintf(name, sizeof(name), "dropout%zu", i + 1);
            add(c, layer_dropout(name, c->at.c, config->dropout, (uint32_t)i));
        }
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

/* ---- residual networks: He et al. 2015, "Deep residual learning" ---- */

/* Larger images are made smaller before the blocks, as the paper has it for ImageNet. */
#define SMALL_IMAGE 64

static const struct resnet {
    const char *name;
    uint8_t blocks[4]; /* of 64, 128, 256 and 512 channels */
    bool bottleneck;
} resnets[] = {
    {"resnet18", {2, 2, 2, 2}, false},
    {"resnet50", {3, 4, 6, 3}, true},
};

/* "layer1.0.conv1", as torchvision has the names, and "layer1.0.bn1". */
static void add_block_conv(struct chain *c, const char *block, int i, size_t channels,
                           struct window w, enum device_activation activation)
{
    char conv[LAYER_NAME], bn[LAYER_NAME];

    snprintf(conv, sizeof(conv), "%s.conv%d", block, i);
    snprintf(bn, sizeof(bn), "%s.bn%d", block, i);
    add_conv_bn(c, conv, bn, channels, w, activation);
}

/* x + f(x), f being two convolutions of 3x3, or, bottleneck, one of 1x1, one of 3x3 and
 * one of 1x1 with four times the channels. The stride is in the first of 3x3. Where x
 * has another shape than f(x), a convolution of 1x1 gives it that. */
static void add_block(struct chain *c, const char *block, bool bottleneck,
                      size_t channels, size_t stride)
{
    const struct window one = {.size = 1, .stride = 1},
                        three = {.size = 3, .stride = 1, .pad = 1},
                        first = {.size = 3, .stride = stride, .pad = 1},
                        shortcut = {.size = 1, .stride = stride};
    const enum device_activation relu = ACTIVATION_RELU, none = ACTIVATION_NONE;
    const struct chain x = *c;
    size_t out = bottleneck ? 4 * channels : channels;
    char name[LAYER_NAME], bn[LAYER_NAME];

    if (bottleneck)
        add_block_conv(c, block, 1, channels, one, relu);
    add_block_conv(c, block, 1 + bottleneck, channels, first, relu);
    add_block_conv(c, block, 2 + bottleneck, out, bottleneck ? one : three, none);
    size_t f = c->last;
    c->last = x.last;
    c->at = x.at;
    if (stride != 1 || x.at.c != out) {
        snprintf(name, sizeof(name), "%s.downsample.0", block);
        snprintf(bn, sizeof(bn), "%s.downsample.1", block);
        add_conv_bn(c, name, bn, out, shortcut, none);
    }
    if (c->rc < 0)
        return;
    snprintf(name, sizeof(name), "%s.add", block);
    struct layer sum = layer_add(name, c->at, relu);
    sum.inputs[1] = f;
    add(c, sum);
}

static void build_resnet(struct chain *c, const struct model_config *config)
{
    const struct window three = {.size = 3, .stride = 1, .pad = 1},
                        seven = {.size = 7, .stride = 2, .pad = 3},
                        pool = {.size = 3, .stride = 2, .pad = 1};
    bool small = c->at.h <= SMALL_IMAGE && c->at.w <= SMALL_IMAGE;
    const struct resnet *r = resnets;
    char block[LAYER_NAME / 2]; /* what stands behind it in a layer's name fits, too */

    while (strcmp(r->name, config->kind) != 0)
        r++;
    add_conv_bn(c, "conv1", "bn1", 64, small ? three : seven, ACTIVATION_RELU);
    if (!small)
        add_max_pool(c, "maxpool", pool);
    for (uint8_t stage = 0; stage < 4; stage++)
        for (uint8_t i = 0; i < r->blocks[stage]; i++) {
            snprintf(block, sizeof(block), "layer%d.%d", stage + 1, i);
            add_block(c, block, r->bottleneck, (size_t)64 << stage,
                      stage > 0 && i == 0 ? 2 : 1);
        }
    if (c->rc < 0)
        return;
    add(c, layer_global_avg_pool("avgpool", c->at));
    add_dense(c, "fc", config->classes, ACTIVATION_NONE);
}

static const struct kind {
    const char *name;
    bool images; /* it wants samples as [h][w][c] */
    bool hidden; /* it has hidden dense layers, of sizes to choose */
    void (*build)(struct chain *c, const struct model_config *config);
} kinds[] = {
    {"mlp", false, true, build_mlp},
    {"cnn", true, true, build_cnn},
    {"resnet18", true, false, build_resnet},
    {"resnet50", true, false, build_resnet},
};

const char *const model_kinds[] = {"mlp", "cnn", "resnet18", "resnet50", NULL};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(name, kinds[i].name) == 0)
            return &kinds[i];
    return NULL;
}

bool model_has_hidden(const char *kind)
{
    const struct kind *k = find_kind(kind);
    return k && k->hidden;
}

int models_build(struct model *m, const struct model_config *config, struct err *e)
{
    struct chain c = {.m = m, .last = LAYER_SAMPLES, .at = config->sample, .e = e};
    const struct kind *kind = find_kind(config->kind);

    if (!kind)
        return err_set(e, ERR_INVAL, "unknown model '%s'", config->kind);
    if (kind->images && c.at.h * c.at.w <= 1)
        return err_set(e, ERR_INVAL,
                       "model %s wants images, samples of [height][width], "
                       "[height][width][channels] or [channels][height][width]; "
                       "these are no images, but %zu numbers each",
                       config->kind, c.at.c);
    m->images = kind->images;
    kind->build(&c, config);
    return c.rc;
}
