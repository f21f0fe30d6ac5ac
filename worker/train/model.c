#include "worker/train/model.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/draw.h"
#include "worker/train/models.h"

#include <stdlib.h>

/* Parameters start at multiples of 16 floats: a cache line, and what vector
 * instructions and libraries like best. */
#define ALIGN(n) (((n) + 15) / 16 * 16)

/* ---- memory ---- */

/* Puts them behind the n elements that an array has so far. */
static void place(struct parameter *p, int n_parameters, size_t *n)
{
    for (int k = 0; k < n_parameters; k++) {
        p[k].offset = *n;
        *n += ALIGN(p[k].count);
    }
}

static void place_all(struct model *m)
{
    for (size_t i = 0; i < m->n_layers; i++) {
        struct layer *l = &m->layers[i];
        place(l->parameters, l->n_parameters, &m->n);
        place(l->states, l->n_states, &m->n_state);
        for (int k = 0; k < l->n_parameters; k++)
            m->n_parameters += l->parameters[k].count;
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

/* A weight's start depends on (seed, layer, index in the layer) and nothing else: layers
 * of training alone do not count. */
static void draw_start(struct model *m, uint64_t seed)
{
    float *host = mem_alloc(m->n * sizeof(*host));
    uint32_t layer = 0;

    for (size_t i = 0; i < m->n_layers; i++) {
        uint32_t index = 0;
        for (int k = 0; k < m->layers[i].n_parameters; k++) {
            const struct parameter *p = &m->layers[i].parameters[k];
            for (size_t j = 0; j < p->count; j++, index++)
                host[p->offset + j] = p->bound > 0
                                          ? (float)((2 * rng_unit(seed, RNG_TRAIN, layer,
                                                                  index, DRAW_START) -
                                                     1) *
                                                    p->bound)
                                          : p->start;
        }
        layer += !m->layers[i].training_alone;
    }
    m->device->ops->upload(m->device, m->values, host, m->n * sizeof(*host));
    free(host);
}

static void start_state(struct model *m)
{
    float *host = mem_alloc(m->n_state * sizeof(*host));

    for (size_t i = 0; i < m->n_layers; i++)
        for (int k = 0; k < m->layers[i].n_states; k++) {
            const struct parameter *p = &m->layers[i].states[k];
            for (size_t j = 0; j < p->count; j++)
                host[p->offset + j] = p->start;
        }
    m->device->ops->upload(m->device, m->state, host, m->n_state * sizeof(*host));
    free(host);
}

int model_start(struct model *m, uint64_t seed, struct err *e)
{
    int rc;

    place_all(m);
    rc = allocate(m, m->n, &m->values, e);
    if (rc == 0)
        rc = allocate(m, m->n, &m->gradients, e);
    if (rc == 0)
        rc = allocate(m, m->n_state, &m->state, e);
    if (rc < 0)
        return rc;
    draw_start(m, seed);
    start_state(m);
    return 0;
}

struct model *model_create(struct device *d, const struct model_config *config,
                           struct err *e)
{
    struct model *m = mem_alloc(sizeof(*m));

    m->device = d;
    if (models_build(m, config, e) < 0 || model_start(m, config->seed, e) < 0) {
        model_destroy(m);
        return NULL;
    }
    return m;
}

void model_destroy(struct model *m)
{
    if (!m)
        return;
    m->device->ops->release(m->device, m->values);
    m->device->ops->release(m->device, m->gradients);
    m->device->ops->release(m->device, m->state);
    free(m->layers);
    free(m);
}

bool model_can_cut(const struct model *m, size_t layer)
{
    for (size_t i = layer; i < m->n_layers; i++)
        for (int k = 0; k < m->layers[i].n_inputs; k++)
            if (m->layers[i].inputs[k] + 1 < layer) /* LAYER_SAMPLES + 1 is 0 */
                return false;
    return true;
}

/* ---- for people ---- */

static void describe_image(struct image i, struct str *out)
{
    if (i.h * i.w == 1)
        str_addf(out, "%zu", i.c);
    else
        str_addf(out, "%zux%zux%zu", i.h, i.w, i.c);
}

/* Whether a layer only goes on with images of the shape that was said last. */
static bool goes_on(struct image last, struct image i)
{
    return i.h * i.w > 1 && i.h == last.h && i.w == last.w && i.c == last.c;
}

/* Of branches only where they meet. */
void model_describe(const struct model *m, struct str *out)
{
    struct image last = m->layers[0].in_image;

    describe_image(last, out);
    for (size_t i = 0; i < m->n_layers; i++) {
        struct image next = m->layers[i].out_image;
        if (m->layers[i].training_alone || !model_can_cut(m, i + 1) ||
            goes_on(last, next))
            continue;
        str_addc(out, '-');
        describe_image(next, out);
        last = next;
    }
}
