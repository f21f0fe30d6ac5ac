#include "worker/train/fixture.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

static void samples_make(struct samples *s, size_t n, uint32_t which)
{
    s->bytes = (struct str)STR_INIT;
    s->n = n;
    s->ndim = 1;
    s->dim[0] = s->features = FEATURES;
    s->type = SAMPLE_F32;
    s->stride = FEATURES * sizeof(float);
    s->floats = mem_alloc(n * s->stride);
    s->x = s->floats;
    s->y = mem_alloc(n * sizeof(*s->y));
    for (uint32_t i = 0; i < n; i++) {
        s->y[i] = (int32_t)(i % CLASSES);
        for (uint32_t f = 0; f < FEATURES; f++) /* its class, in noise */
            s->floats[i * FEATURES + f] = (float)(rng_unit(which, RNG_TEST, i, f, 0) +
                                                  (f % CLASSES == i % CLASSES));
    }
}

static struct part part_of(const struct samples *s)
{
    struct part p = {s, mem_alloc(s->n * sizeof(uint32_t)), s->n};
    for (uint32_t i = 0; i < s->n; i++)
        p.index[i] = i;
    return p;
}

/* Images of two planes, in noise; a bright spot in the first one says the class. */
static void images_make(struct samples *s, size_t n, size_t side, uint32_t which)
{
    *s = (struct samples){.bytes = STR_INIT};
    s->name = mem_strdup("images");
    s->n = n;
    s->ndim = 3;
    s->dim[0] = 2;
    s->dim[1] = s->dim[2] = side;
    s->features = 2 * side * side;
    s->type = SAMPLE_F32;
    s->stride = s->features * sizeof(float);
    s->floats = mem_alloc(n * s->stride);
    s->x = s->floats;
    s->y = mem_alloc(n * sizeof(*s->y));
    for (uint32_t i = 0; i < n; i++) {
        size_t class = i % CLASSES, spot = side / 4;
        size_t top = class / 2 * side / 2 + side / 8,
               left = class % 2 * side / 2 + side / 8;
        float *x = s->floats + i * s->features;
        s->y[i] = (int32_t) class;
        for (uint32_t f = 0; f < s->features; f++)
            x[f] = (float)rng_unit(which, RNG_TEST, i, f, 0);
        for (size_t k = 0; k < spot * spot; k++)
            x[(top + k / spot) * side + left + k % spot] += 1;
    }
}

void bench_open_on(struct bench *b, struct device *device, const char *model,
                   double dropout, const char *optimizer, double lr,
                   const struct trainer_config *config, struct err *e)
{
    struct data *d = mem_alloc(sizeof(*d));
    bool planar;

    if (strcmp(model, "cnn") == 0) {
        images_make(&d->train, TRAINING, 16, 1);
        images_make(&d->test, VALIDATION, 16, 2);
    } else if (strcmp(model, "resnet18") == 0) { /* few: it is slow */
        images_make(&d->train, FEW, 8, 1);
        images_make(&d->test, FEW, 8, 2);
    } else {
        samples_make(&d->train, TRAINING, 1);
        samples_make(&d->test, VALIDATION, 2);
    }
    d->training = part_of(&d->train);
    d->validation = part_of(&d->test);
    d->classes = CLASSES;
    d->mean = mem_alloc(d->train.features * sizeof(float));
    d->scale = mem_alloc(d->train.features * sizeof(float));
    data_measure(d);
    *b = (struct bench){.t = {.model_kind = model, .data = d, .seed = 5}};
    b->t.model = model_create(
        device,
        &(struct model_config){model, samples_image(&d->train, &planar), CLASSES,
                               (const size_t[]){16, 8}, 2, 5, dropout},
        NULL);
    b->t.optimizer = optimizer_create(
        device, &(struct optimizer_config){optimizer, lr, 0.9, 1e-4, false},
        b->t.model->n, NULL);
    b->trainer = trainer_create(device, d, b->t.model, b->t.optimizer, config, e);
}

void bench_close(struct bench *b)
{
    trainer_destroy(b->trainer);
    data_close(b->t.data);
    model_destroy(b->t.model);
    optimizer_destroy(b->t.optimizer);
    vec_free(&b->t.history);
}

struct metrics train(struct bench *b, int epochs)
{
    struct metrics m = {{0}};

    for (int i = 0; i < epochs; i++) {
        b->t.progress.epoch++;
        b->t.progress.step++;
        if (trainer_epoch(b->trainer, (uint32_t)b->t.progress.epoch, NULL, NULL, &m,
                          NULL) < 0)
            abort();
        vec_push(&b->t.history, ((struct epoch_record){(int32_t)b->t.progress.step, m}));
    }
    return m;
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

bool same_state(const struct training *a, const struct training *b)
{
    const struct model *m = a->model, *n = b->model;
    bool same = same_bits(m->values, n->values, m->n) &&
                same_bits(m->state, n->state, m->n_state) &&
                a->optimizer->updates == b->optimizer->updates;

    for (int i = 0; i < a->optimizer->n_slots; i++)
        same &= same_bits(a->optimizer->slots[i], b->optimizer->slots[i], m->n);
    return same;
}
