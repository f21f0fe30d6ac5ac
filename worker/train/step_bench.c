/* A training step - forward, loss, backward, optimiser - against oneDNN's primitives of
 * the same layers called bare, without loss and optimiser. In one thread by its CPU time,
 * in two by the clock; they take turns, and medians count: of the bare ones that of the
 * faster format of images. */
#include "base/clock.h"
#include "base/rank.h"
#include "base/mem.h"
#include "worker/train/bare.h"
#include "worker/train/cpu.h"
#include "worker/train/optimizer.h"
#include "worker/train/pass.h"
#include "worker/train/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CLASSES = 10, RUNS = 5 };

static const struct image sample = {32, 32, 3};
static const struct {
    const char *model;
    size_t hidden[2], n_hidden;
    size_t batch;
    int threads;
    int steps; /* in a turn */
} cases[] = {
    {"cnn", {120, 84}, 2, 32, 1, 50},
    {"resnet18", {0}, 0, 64, 1, 1},
    {"cnn", {120, 84}, 2, 32, 2, 50},
    {"resnet18", {0}, 0, 64, 2, 1},
};

struct training {
    struct device *device;
    struct model *model;
    struct optimizer *optimizer;
    struct pass *pass;
    size_t rows;
    float *x;
    int32_t *labels;
    uint32_t *index;
    struct device_totals totals;
};

static void step(struct training *t)
{
    struct device *d = t->device;
    const float *logits = pass_forward(
        t->pass, &(struct batch){.rows = t->rows, .x = t->x, .training = true});

    d->ops->softmax_loss(d, t->rows, CLASSES, logits, t->labels, t->index, 0,
                         1.0f / (float)t->rows, pass_upstream(t->pass), &t->totals);
    pass_backward(t->pass, t->model->gradients, NULL, NULL, NULL);
    optimizer_step(t->optimizer, t->model->values, t->model->gradients);
}

static struct training training_open(size_t c)
{
    struct training t = {.device = cpu_open(cases[c].threads), .rows = cases[c].batch};

    t.model = model_create(t.device,
                           &(struct model_config){
                               .kind = cases[c].model,
                               .sample = sample,
                               .classes = CLASSES,
                               .hidden = cases[c].hidden,
                               .n_hidden = cases[c].n_hidden,
                               .seed = 1,
                           },
                           NULL);
    t.optimizer =
        optimizer_create(t.device, &(struct optimizer_config){"sgd", 1e-3, 0.9, 0, false},
                         t.model->n, NULL);
    t.pass = pass_create(
        t.model, &(struct pass_config){0, t.model->n_layers, t.rows, t.rows}, NULL);
    t.x = reference_numbers(t.rows * image_size(sample), 1);
    t.labels = mem_alloc(t.rows * sizeof(*t.labels));
    t.index = mem_alloc(t.rows * sizeof(*t.index));
    for (uint32_t i = 0; i < t.rows; i++) {
        t.labels[i] = (int32_t)(i % CLASSES);
        t.index[i] = i;
    }
    return t;
}

static void training_close(struct training *t)
{
    pass_destroy(t->pass);
    optimizer_destroy(t->optimizer);
    model_destroy(t->model);
    device_close(t->device);
    free(t->x);
    free(t->labels);
    free(t->index);
}

static double seconds(int threads)
{
    struct timespec t;

    if (threads > 1)
        return clock_mono();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_case(size_t c)
{
    struct training t = training_open(c);
    struct bare *bare[] = {bare_create(t.model, t.rows, false),
                           bare_create(t.model, t.rows, true)};
    double ours[RUNS], theirs[2][RUNS];

    /* The first turn makes what is kept, and does not count. */
    for (int run = -1; run < RUNS; run++) {
        double ends[4] = {seconds(cases[c].threads)};
        for (int i = 0; i < cases[c].steps; i++)
            step(&t);
        ends[1] = seconds(cases[c].threads);
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < cases[c].steps; i++)
                bare_step(bare[k]);
            ends[k + 2] = seconds(cases[c].threads);
        }
        if (run < 0)
            continue;
        ours[run] = (ends[1] - ends[0]) / cases[c].steps;
        for (int k = 0; k < 2; k++)
            theirs[k][run] = (ends[k + 2] - ends[k + 1]) / cases[c].steps;
    }
    double own = median(ours, RUNS), any = median(theirs[0], RUNS),
           plain = median(theirs[1], RUNS);
    printf("%.0f %%\t>= 70 %%\tof a training step is oneDNN's time for the same layers "
           "(%.2f ms, images as [n][h][w][c] %.2f, of %.2f): %s, batch %zu, %d thread%s; "
           "median of %d in turns\n",
           100 * (any < plain ? any : plain) / own, 1e3 * any, 1e3 * plain, 1e3 * own,
           cases[c].model, t.rows, cases[c].threads, cases[c].threads > 1 ? "s" : "",
           RUNS);
    fflush(stdout);
    bare_destroy(bare[0]);
    bare_destroy(bare[1]);
    training_close(&t);
}

int main(void)
{
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        run_case(c);
    return 0;
}
