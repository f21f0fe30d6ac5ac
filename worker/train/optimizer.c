#include "worker/train/optimizer.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct optimizer_kind {
    const char *slots[OPTIMIZER_SLOTS];
    int (*count)(const struct optimizer_config *config); /* of slots it needs */
    void (*step)(struct optimizer *o, float *values, const float *gradients);
};

/* Kingma and Ba's defaults. */
#define BETA1   0.9
#define BETA2   0.999
#define EPSILON 1e-8

/* Where the slot of the parameters that steps are of begins; NULL: there is none. */
static float *slot(const struct optimizer *o, int i)
{
    return i < o->n_slots ? o->slots[i] + o->from : NULL;
}

static int sgd_count(const struct optimizer_config *config)
{
    return config->momentum > 0;
}

static void sgd_step(struct optimizer *o, float *values, const float *gradients)
{
    struct device_sgd s = {
        .lr = (float)o->lr,
        .momentum = (float)o->config.momentum,
        .weight_decay = (float)o->config.weight_decay,
        .nesterov = o->config.nesterov,
    };
    o->device->ops->sgd(o->device, &s, o->to - o->from, values, gradients, slot(o, 0));
}

static int adam_count(const struct optimizer_config *config)
{
    (void)config;
    return 2;
}

/* Adam's step: weight decay beside the gradient, or of the weights themselves. */
static void adam_family(struct optimizer *o, double l2, double keep, float *values,
                        const float *gradients)
{
    double t = (double)o->updates;
    struct device_adam s = {
        .beta1 = (float)BETA1,
        .beta2 = (float)BETA2,
        .epsilon = (float)EPSILON,
        .weight_decay = (float)l2,
        .step = (float)(o->lr / (1 - pow(BETA1, t))),
        .scale = (float)(1 / sqrt(1 - pow(BETA2, t))),
        .keep = (float)keep,
    };
    o->device->ops->adam(o->device, &s, o->to - o->from, values, gradients, slot(o, 0),
                         slot(o, 1));
}

static void adam_step(struct optimizer *o, float *values, const float *gradients)
{
    adam_family(o, o->config.weight_decay, 1, values, gradients);
}

static void adamw_step(struct optimizer *o, float *values, const float *gradients)
{
    adam_family(o, 0, 1 - o->lr * o->config.weight_decay, values, gradients);
}

const char *const optimizer_kinds[] = {"sgd", "adam", "adamw", NULL};
static const struct optimizer_kind kinds[] = {
    {{"momentum"}, sgd_count, sgd_step},
    {{"m", "v"}, adam_count, adam_step},
    {{"m", "v"}, adam_count, adamw_step},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct optimizer *optimizer_create(struct device *d,
                                   const struct optimizer_config *config, size_t n,
                                   struct err *e)
{
    size_t k = 0;
    struct optimizer *o;

    while (k < KINDS && strcmp(config->kind, optimizer_kinds[k]) != 0)
        k++;
    if (k == KINDS) {
        err_set(e, ERR_INVAL, "unknown optimizer '%s'", config->kind);
        return NULL;
    }
    o = mem_alloc(sizeof(*o));
    o->device = d;
    o->kind = &kinds[k];
    o->config = *config;
    o->lr = config->lr;
    o->n = o->to = n;
    for (int i = 0; i < o->kind->count(config); i++) {
        void *slot;
        if (d->ops->allocate(d, n * sizeof(float), &slot, e) < 0) {
            optimizer_destroy(o);
            return NULL;
        }
        o->slots[o->n_slots++] = slot;
    }
    return o;
}

void optimizer_destroy(struct optimizer *o)
{
    if (!o)
        return;
    for (int i = 0; i < o->n_slots; i++)
        o->device->ops->release(o->device, o->slots[i]);
    free(o);
}

void optimizer_step(struct optimizer *o, float *values, const float *gradients)
{
    o->updates++;
    o->kind->step(o, values + o->from, gradients + o->from);
}

const char *optimizer_slot(const struct optimizer *o, int i)
{
    return o->kind->slots[i];
}
