#include "worker/train/model.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/draw.h"
#include "worker/train/models.h"

#include <stdlib.h>

/* Parameters start at multiples of 16 floats: a cache line, and what vector
 * instructions and libraries like best. */
#define ALIGN(n) (((n) + 15) / 16 * 16)

/* OpenBLAS counts in int. */
#define SIZE_LIMIT ((size_t)1 << 31)

/* ---- memory ---- */

static void place_parameters(struct model *m)
{
    for (size_t i = 0; i < m->n_layers; i++) {
        struct layer *l = &m->layers[i];
        for (int k = 0; k < l->n_parameters; k++) {
            l->parameters[k].offset = m->n;
            m->n += ALIGN(l->parameters[k].count);
            m->n_parameters += l->parameters[k].count;
        }
    }
}

static int allocate(struct model *m, size_t n, float **p, struct err *e)
{
    void *memory;
    int rc = m->device->ops->allocate(m->device, n * sizeof(float), &memory, e);

    if (rc == 0)
        *p = memory;
    return rc;
}

static int allocate_all(struct model *m, size_t max_rows, struct err *e)
{
    size_t widest = 0;
    int rc = 0;

    m->outputs = mem_alloc(m->n_layers * sizeof(*m->outputs));
    for (size_t i = 0; i < m->n_layers && rc == 0; i++) {
        size_t out = m->layers[i].out;
        if (out >= SIZE_LIMIT / max_rows)
            return err_set(e, ERR_INVAL, "a batch of %zu is too large for %zu outputs",
                           max_rows, out);
        if (i + 1 < m->n_layers && out > widest)
            widest = out;
        rc = allocate(m, max_rows * out, &m->outputs[i], e);
    }
    for (int k = 0; k < 2 && rc == 0; k++)
        rc = allocate(m, max_rows * widest, &m->scratch[k], e);
    if (rc == 0)
        rc = allocate(m, max_rows * m->layers[m->n_layers - 1].out, &m->upstream, e);
    if (rc == 0)
        rc = allocate(m, m->n, &m->values, e);
    if (rc == 0)
        rc = allocate(m, m->n, &m->gradients, e);
    return rc;
}

/* A weight's start depends on (seed, layer, index in the layer) and nothing else. */
static void draw_start(struct model *m, uint64_t seed)
{
    float *host = mem_alloc(m->n * sizeof(*host));

    for (size_t i = 0; i < m->n_layers; i++) {
        uint32_t index = 0;
        for (int k = 0; k < m->layers[i].n_parameters; k++) {
            const struct parameter *p = &m->layers[i].parameters[k];
            for (size_t j = 0; j < p->count; j++, index++)
                if (p->bound > 0)
                    host[p->offset + j] =
                        (float)((2 * rng_unit(seed, RNG_TRAIN, (uint32_t)i, index,
                                              DRAW_START) -
                                 1) *
                                p->bound);
        }
    }
    m->device->ops->upload(m->device, m->values, host, m->n * sizeof(*host));
    free(host);
}

struct model *model_create(struct device *d, const struct model_config *config,
                           struct err *e)
{
    struct model *m = mem_alloc(sizeof(*m));
    int rc;

    m->device = d;
    rc = models_build(m, config, e);
    if (rc == 0) {
        place_parameters(m);
        rc = allocate_all(m, config->max_rows, e);
    }
    if (rc < 0) {
        model_destroy(m);
        return NULL;
    }
    draw_start(m, config->seed);
    return m;
}

void model_destroy(struct model *m)
{
    if (!m)
        return;
    for (size_t i = 0; m->outputs && i < m->n_layers; i++)
        m->device->ops->release(m->device, m->outputs[i]);
    float *all[] = {m->scratch[0], m->scratch[1], m->upstream, m->values, m->gradients};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        m->device->ops->release(m->device, all[i]);
    free(m->outputs);
    free(m->layers);
    free(m);
}

/* ---- forward and backward ---- */

const float *model_forward(struct model *m, size_t rows, const float *x)
{
    for (size_t i = 0; i < m->n_layers; i++) {
        const struct layer *l = &m->layers[i];
        l->kind->forward(l, m->device, m->values, rows, x, m->outputs[i]);
        x = m->outputs[i];
    }
    return x;
}

void model_backward(struct model *m, size_t rows, const float *x)
{
    float *dy = m->upstream;

    for (size_t i = m->n_layers; i-- > 0;) {
        const struct layer *l = &m->layers[i];
        /* Nothing below the first layer wants its gradient. */
        float *dx = i ? m->scratch[i % 2] : NULL;
        l->kind->backward(l, m->device, m->values, m->gradients, rows,
                          i ? m->outputs[i - 1] : x, m->outputs[i], dy, dx);
        dy = dx;
    }
}

static void describe_image(struct image i, struct str *out)
{
    if (i.h * i.w == 1)
        str_addf(out, "%zu", i.c);
    else
        str_addf(out, "%zux%zux%zu", i.h, i.w, i.c);
}

void model_describe(const struct model *m, struct str *out)
{
    describe_image(m->layers[0].in_image, out);
    for (size_t i = 0; i < m->n_layers; i++) {
        str_addc(out, '-');
        describe_image(m->layers[i].out_image, out);
    }
}
