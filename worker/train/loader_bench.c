/* How long a training waits for its samples, which are gathered while the device works:
 * the time spent in gather() and gather_wait(), over an epoch's. In one thread beside the
 * one that gathers; plain samples and moved ones take turns, and the best epoch counts.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "worker/train/cpu.h"
#include "worker/train/trainer.h"

#include <math.h>
#include <stdio.h>

enum { RUNS = 5, CLASSES = 10 };

static const struct {
    const char *model, *data;
    size_t batch;
    struct augmentation moved;
    const char *target; /* of the time waited for; "-": none */
} cases[] = {
    {"mlp", "synthetic:28x28,samples=20000", 128, {2, true}, "< 2 %"},
    {"cnn", "synthetic:3x32x32,samples=5000", 32, {4, true}, "< 2 %"},
    {"cnn", "synthetic:3x32x32,samples=2000", 4, {4, true}, "-"},
};

/* The CPU's operations, with a look at the clock. */
static const struct device_ops *inner;
static double waited;

static void timed_gather(struct device *d, const struct device_gather *g, size_t rows,
                         void *out)
{
    double begun = clock_mono();

    inner->gather(d, g, rows, out);
    waited += clock_mono() - begun;
}

static void timed_wait(struct device *d)
{
    double begun = clock_mono();

    inner->gather_wait(d);
    waited += clock_mono() - begun;
}

struct run {
    struct model *model;
    struct optimizer *optimizer;
    struct trainer *trainer;
    double seconds, waited; /* of the best epoch */
};

static struct run run_open(struct device *d, struct data *data, size_t c, bool moved)
{
    static const size_t hidden[] = {120, 84};
    bool planar;
    struct run r = {.seconds = INFINITY};
    struct trainer_config config = {.batch_size = cases[c].batch};

    if (moved)
        config.augmentation = cases[c].moved;
    r.model = model_create(d,
                           &(struct model_config){
                               .kind = cases[c].model,
                               .sample = samples_image(&data->train, &planar),
                               .classes = CLASSES,
                               .hidden = hidden,
                               .n_hidden = 2,
                           },
                           NULL);
    r.optimizer = optimizer_create(
        d, &(struct optimizer_config){"sgd", 1e-3, 0.9, 0, false}, r.model->n, NULL);
    r.trainer = trainer_create(d, data, r.model, r.optimizer, &config, NULL);
    return r;
}

static void run_epoch(struct run *r, uint32_t epoch)
{
    struct metrics m;

    waited = 0;
    trainer_epoch(r->trainer, epoch, NULL, NULL, &m, NULL);
    if (m.v[METRIC_EPOCH_SECONDS] < r->seconds) {
        r->seconds = m.v[METRIC_EPOCH_SECONDS];
        r->waited = waited;
    }
}

static void run_close(struct run *r)
{
    trainer_destroy(r->trainer);
    optimizer_destroy(r->optimizer);
    model_destroy(r->model);
}

static void run_case(struct device *d, size_t c)
{
    struct data *data = data_open(&(struct data_config){cases[c].data, 0, NAN}, NULL);
    struct run runs[2];

    data_measure(data);
    for (int moved = 0; moved < 2; moved++)
        runs[moved] = run_open(d, data, c, moved);
    for (uint32_t i = 1; i <= RUNS; i++)
        for (int moved = 0; moved < 2; moved++)
            run_epoch(&runs[moved], i);
    for (int moved = 0; moved < 2; moved++)
        printf("%.2f %%\t%s\tof an epoch is waiting for samples%s: %s, batch %zu\n",
               100 * runs[moved].waited / runs[moved].seconds, cases[c].target,
               moved ? ", cropped and mirrored" : "", cases[c].model, cases[c].batch);
    printf("%.3f\t-\tan epoch with samples cropped and mirrored, over one without "
           "(%.0f ms over %.0f ms): %s, batch %zu; best of %d\n",
           runs[1].seconds / runs[0].seconds, 1e3 * runs[1].seconds,
           1e3 * runs[0].seconds, cases[c].model, cases[c].batch, RUNS);
    for (int moved = 0; moved < 2; moved++)
        run_close(&runs[moved]);
    data_close(data);
}

int main(void)
{
    struct device *d = cpu_open(1);
    struct device_ops timed = *d->ops;

    inner = d->ops;
    timed.gather = timed_gather;
    timed.gather_wait = timed_wait;
    d->ops = &timed;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        run_case(d, c);
    device_close(d);
    return 0;
}
