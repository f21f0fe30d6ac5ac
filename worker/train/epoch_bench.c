/* An epoch of training against the matrix products that it cannot do without, on data
 * with the shape of Fashion-MNIST: 60000 samples of 784 bytes, hidden layer 128. In one
 * thread and in its CPU time; both take turns, and the best of each counts. */
#include "base/mem.h"
#include "worker/train/cpu.h"
#include "worker/train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SAMPLES = 60000, FEATURES = 784, HIDDEN = 128, CLASSES = 10, RUNS = 7 };

static const struct {
    const char *optimizer;
    size_t batch;
    double target; /* times the products; 0: none */
} cases[] = {
    {"sgd", 64, 1 / 0.7},
    {"sgd", 256, 1 / 0.7},
    {"adam", 64, 1.75},
    {"sgd", 16, 0},
};

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct data *make_data(void)
{
    struct data *d = mem_alloc(sizeof(*d));
    struct samples *s = &d->train;

    s->bytes = d->test.bytes = (struct str)STR_INIT;
    s->n = SAMPLES;
    s->features = FEATURES;
    s->stride = FEATURES;
    s->ndim = 2;
    s->dim[0] = s->dim[1] = 28;
    str_reserve(&s->bytes, (size_t)SAMPLES * FEATURES);
    for (size_t i = 0; i < (size_t)SAMPLES * FEATURES; i++)
        s->bytes.p[i] = (char)(i * 2654435761u >> 24);
    s->x = s->bytes.p;
    s->y = mem_alloc(SAMPLES * sizeof(*s->y));
    d->training = (struct part){s, mem_alloc(SAMPLES * sizeof(uint32_t)), SAMPLES};
    d->validation = (struct part){s, mem_alloc(sizeof(uint32_t)), 1};
    for (uint32_t i = 0; i < SAMPLES; i++) {
        s->y[i] = (int32_t)(i % CLASSES);
        d->training.index[i] = i;
    }
    d->classes = CLASSES;
    d->mean = mem_alloc(FEATURES * sizeof(float));
    d->scale = mem_alloc(FEATURES * sizeof(float));
    data_measure(d);
    return d;
}

static double seconds_of_products(struct model *m, size_t batch, const float *x)
{
    const struct layer *first = &m->layers[0], *second = &m->layers[1];
    struct device *d = m->device;
    const float *w1 = m->values + first->parameters[0].offset;
    const float *w2 = m->values + second->parameters[0].offset;
    float *y1 = mem_alloc(batch * HIDDEN * sizeof(float));
    float *y2 = mem_alloc(batch * CLASSES * sizeof(float));
    float *dx = mem_alloc(batch * HIDDEN * sizeof(float));
    struct device_gemm products[] = {
        {false, true, batch, HIDDEN, FEATURES, x, w1, y1, NULL, ACTIVATION_NONE, false},
        {false, true, batch, CLASSES, HIDDEN, y1, w2, y2, NULL, ACTIVATION_NONE, false},
        {true, false, CLASSES, HIDDEN, batch, y2, y1, m->gradients, NULL, ACTIVATION_NONE,
         true},
        {false, false, batch, HIDDEN, CLASSES, y2, w2, dx, NULL, ACTIVATION_NONE, false},
        {true, false, HIDDEN, FEATURES, batch, dx, x, m->gradients, NULL, ACTIVATION_NONE,
         true},
    };
    double begun = cpu_seconds();

    for (size_t start = 0; start < SAMPLES; start += batch)
        for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++)
            d->ops->gemm(d, &products[i]);
    double seconds = cpu_seconds() - begun;
    free(y1);
    free(y2);
    free(dx);
    return seconds;
}

static void run_case(size_t c, struct device *device, struct data *data)
{
    size_t batch = cases[c].batch;
    struct model *m = model_create(
        device,
        &(struct model_config){
            "mlp", {1, 1, FEATURES}, CLASSES, (const size_t[]){HIDDEN}, 1, 1, 0},
        NULL);
    struct optimizer *o = optimizer_create(
        device, &(struct optimizer_config){cases[c].optimizer, 1e-3, 0.9, 0, false}, m->n,
        NULL);
    struct trainer *t =
        trainer_create(device, data, m, o,
                       &(struct trainer_config){.batch_size = batch, .seed = 1}, NULL);
    float *x = mem_alloc(batch * FEATURES * sizeof(*x));
    double products = 1e9, training = 1e9;

    for (uint32_t run = 1; run <= RUNS; run++) {
        struct metrics metrics;
        double begun = cpu_seconds();
        trainer_epoch(t, run, NULL, NULL, &metrics, NULL);
        double seconds = cpu_seconds() - begun;
        training = seconds < training ? seconds : training;
        seconds = seconds_of_products(m, batch, x);
        products = seconds < products ? seconds : products;
    }
    char target[16] = "-";
    if (cases[c].target > 0)
        snprintf(target, sizeof(target), "< %.2f", cases[c].target);
    printf("%.2f\t%s\tan epoch over its sgemm time (%.0f ms over %.0f ms): 784-128-10, "
           "%s, batch %zu; best of %d\n",
           training / products, target, training * 1e3, products * 1e3,
           cases[c].optimizer, batch, RUNS);
    free(x);
    trainer_destroy(t);
    optimizer_destroy(o);
    model_destroy(m);
}

int main(void)
{
    struct device *device = cpu_open(1);
    struct data *data = make_data();

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        run_case(c, device, data);
    data_close(data);
    device_close(device);
    return 0;
}
