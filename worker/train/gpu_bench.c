/* What a GPU does, as lines of `name  number` for tests/gpu_bench.py, which has the
 * targets and asks PyTorch for the same:
 *
 *     MODEL BATCH PRECISION   samples a second of an epoch, with all that is needed for
 *                             it: gathering, normalising, loss, backward, optimiser
 *     ... queued              of the time from the first step of an epoch to the last,
 *                             the share that the host takes to queue the work
 *     ... graphs              steps of an epoch that are launched as a whole
 *     ... idle, ... waits     the shares of it in which the GPU does nothing, and nothing
 *                             but gather samples; only with CUPTI
 *     ... idle traced         the same share of a traced epoch's own time, in which the
 *                             host is slower
 *     sgd, adam               bytes a second that optimiser steps read and write
 *     checkpoint              seconds that a training waits for one of resnet18
 *     and what gpu_bench.h has of ranks
 *
 * Medians, each after one run that does not count. */
#include "base/clock.h"
#include "base/rank.h"
#include "base/mem.h"
#include "gpu/trace.h"
#include "worker/train/content.h"
#include "worker/train/gpu_bench.h"
#include "worker/train/gpu_wanted.h"
#include "worker/train/trainer.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 5, SAMPLES = 50000, CLASSES = 10 };

#define LONGER 1.05 /* times as long as another an epoch may take */

static const struct image_case {
    const char *model;
    size_t batch;
    enum device_precision precision;
    const char *name; /* of the precision */
} cases[] = {
    {"resnet18", 512, PRECISION_BF16, "bf16"},
    {"cnn", 32, PRECISION_TF32, "tf32"},
    {"cnn", 512, PRECISION_TF32, "tf32"},
};

void gpu_bench_quit(const struct err *e)
{
    fprintf(stderr, "gpu_bench: %s\n", e->text);
    exit(EXIT_FAILURE);
}

/* ---- trainings ---- */

struct bench {
    struct training t;
    struct trainer *trainer;
};

static struct bench bench_open(struct device *d, struct data *data,
                               const struct image_case *c)
{
    struct bench b = {.t = {.model_kind = c->model, .data = data, .seed = 1}};
    static const size_t hidden[] = {120, 84};
    bool planar, has_hidden = model_has_hidden(c->model);
    struct err e;

    if (d->ops->set_precision(d, c->precision, &e) < 0)
        gpu_bench_quit(&e);
    b.t.model = model_create(d,
                             &(struct model_config){
                                 .kind = c->model,
                                 .sample = samples_image(&data->train, &planar),
                                 .classes = CLASSES,
                                 .hidden = hidden,
                                 .n_hidden = has_hidden ? 2 : 0,
                                 .seed = 1,
                             },
                             &e);
    if (!b.t.model)
        gpu_bench_quit(&e);
    b.t.optimizer = optimizer_create(
        d, &(struct optimizer_config){"sgd", 0.01, 0.9, 5e-4, false}, b.t.model->n, &e);
    if (!b.t.optimizer)
        gpu_bench_quit(&e);
    b.trainer =
        trainer_create(d, data, b.t.model, b.t.optimizer,
                       &(struct trainer_config){.batch_size = c->batch, .seed = 1}, &e);
    if (!b.trainer)
        gpu_bench_quit(&e);
    return b;
}

static void bench_close(struct bench *b)
{
    trainer_destroy(b->trainer);
    optimizer_destroy(b->t.optimizer);
    model_destroy(b->t.model);
    vec_free(&b->t.history);
}

/* An epoch's steps: when the first was done, when the host had queued the last, and when
 * that was done. What the GPU did in between, if it is to be traced. */
struct steps {
    struct device *device;
    double first, queued, last;
    size_t launches; /* of a step as a whole */
    bool traced;
    struct trace *trace;
    double busy, gathers; /* seconds */
};

static void wait_for(struct device *d)
{
    struct err e;
    char none;

    if (d->ops->download(d, &none, NULL, 0, &e) < 0)
        gpu_bench_quit(&e);
}

static void begin_trace(struct steps *s)
{
    struct err e;

    s->trace = trace_begin(&e);
    if (!s->trace)
        fprintf(stderr, "gpu_bench: %s: nothing is traced\n", e.text);
}

static void end_trace(struct steps *s)
{
    struct trace_span *spans;
    struct err e;
    size_t n;

    if (trace_end(s->trace, &spans, &n, &e) < 0)
        gpu_bench_quit(&e);
    s->busy = trace_covered(spans, n, true);
    s->gathers = s->busy - trace_covered(spans, n, false);
    trace_free(s->trace);
}

static void note_step(void *arg, size_t done, size_t total)
{
    struct steps *s = arg;

    s->queued = clock_mono();
    if (s->first > 0 && done < total)
        return;
    wait_for(s->device);
    if (s->first == 0) {
        if (s->traced)
            begin_trace(s);
        s->first = clock_mono();
    } else {
        s->last = clock_mono();
        if (s->trace)
            end_trace(s);
    }
}

static struct steps run_epoch(struct bench *b, struct device *d, uint32_t epoch,
                              bool traced, struct metrics *m)
{
    struct steps s = {.device = d, .traced = traced};
    size_t launches = d->launches;
    struct err e;

    if (trainer_epoch(b->trainer, epoch, note_step, &s, m, &e) < 0)
        gpu_bench_quit(&e);
    s.launches = d->launches - launches;
    return s;
}

static void print_case(const struct image_case *c, const char *figure, double value)
{
    printf("%s %zu %s%s\t%.6g\n", c->model, c->batch, c->name, figure, value);
    fflush(stdout);
}

/* The share of the time in which nothing was done. Of a GPU that is never idle the traced
 * epoch may take a little longer than the others: that is none, and no fault. */
static void print_idle(const struct image_case *c, const char *figure, double busy,
                       double seconds)
{
    struct err e;

    if (busy > LONGER * seconds) {
        err_set(&e, ERR_IO, "%s %zu %s%s: the GPU was busy for %g s of %g s", c->model,
                c->batch, c->name, figure, busy, seconds);
        gpu_bench_quit(&e);
    }
    print_case(c, figure, busy < seconds ? 1 - busy / seconds : 0);
}

/* Tracing makes the host slower, and hardly what the GPU does: how long that takes is
 * held against an epoch that is not traced. */
static void run_traced(const struct image_case *c, struct bench *b, struct device *d,
                       double seconds)
{
    struct metrics m;
    struct steps s = run_epoch(b, d, RUNS + 2, true, &m);

    if (!s.trace)
        return;
    print_idle(c, " idle", s.busy, seconds);
    print_idle(c, " idle traced", s.busy, s.last - s.first);
    print_case(c, " waits", s.gathers / seconds);
}

static void run_case(const struct image_case *c, struct data *data)
{
    struct device *d = gpu_wanted();
    struct bench b = bench_open(d, data, c);
    double rate[RUNS], queued[RUNS], seconds[RUNS], graphs[RUNS];

    for (int run = -1; run < RUNS; run++) {
        struct metrics m;
        struct steps s = run_epoch(&b, d, (uint32_t)run + 2, false, &m);
        if (run < 0)
            continue;
        rate[run] = m.v[METRIC_SAMPLES_PER_SECOND];
        queued[run] = (s.queued - s.first) / (s.last - s.first);
        seconds[run] = s.last - s.first;
        graphs[run] = (double)s.launches;
    }
    print_case(c, "", median(rate, RUNS));
    print_case(c, " queued", median(queued, RUNS));
    print_case(c, " graphs", median(graphs, RUNS));
    run_traced(c, &b, d, median(seconds, RUNS));
    bench_close(&b);
    device_close(d);
}

/* ---- optimiser steps ---- */

static float *floats(struct device *d, size_t n)
{
    struct err e;
    void *p;

    if (d->ops->allocate(d, n * sizeof(float), &p, &e) < 0)
        gpu_bench_quit(&e);
    return p;
}

/* Of 64 million parameters: no cache has them. */
static void run_optimizer(bool adam)
{
    const struct device_sgd sgd = {1e-3f, 0.9f, 5e-4f, false};
    const struct device_adam moments = {0.9f, 0.999f, 1e-8f, 0, 1e-3f, 1, 1};
    const size_t n = (size_t)64 << 20;
    enum { STEPS = 20 };
    struct device *d = gpu_wanted();
    float *w = floats(d, n), *g = floats(d, n), *m = floats(d, n),
          *v = adam ? floats(d, n) : NULL, wait;
    double rate[RUNS];

    for (int run = -1; run < RUNS; run++) {
        struct err e;
        double begun = clock_mono();
        for (int i = 0; i < STEPS; i++) {
            if (adam)
                d->ops->adam(d, &moments, n, w, g, m, v);
            else
                d->ops->sgd(d, &sgd, n, w, g, m);
        }
        if (d->ops->download(d, &wait, w, sizeof(wait), &e) < 0)
            gpu_bench_quit(&e);
        if (run >= 0)
            rate[run] = (double)(STEPS * n * sizeof(float)) * (adam ? 7 : 5) /
                        (clock_mono() - begun);
    }
    printf("%s\t%.6g\n", adam ? "adam" : "sgd", median(rate, RUNS));
    fflush(stdout);
    device_close(d);
}

/* ---- a checkpoint ---- */

static void run_checkpoint(struct data *data)
{
    struct device *d = gpu_wanted();
    struct bench b = bench_open(d, data, &cases[0]);
    struct content c = {.values = NULL};
    double seconds[RUNS];

    content_reserve(&c, &b.t);
    for (int run = -1; run < RUNS; run++) {
        struct err e;
        double begun = clock_mono();
        if (content_copy(&c, &b.t, &e) < 0)
            gpu_bench_quit(&e);
        if (run >= 0)
            seconds[run] = clock_mono() - begun;
    }
    printf("checkpoint\t%.6g\n", median(seconds, RUNS));
    content_free(&c);
    bench_close(&b);
    device_close(d);
}

int main(void)
{
    char source[64];
    struct data *data;
    struct err e;

    snprintf(source, sizeof(source), "synthetic:32x32x3,samples=%d", SAMPLES);
    data = data_open(&(struct data_config){.source = source, .val_fraction = 0.02}, &e);
    if (!data)
        gpu_bench_quit(&e);
    data_measure(data);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_case(&cases[i], data);
    run_optimizer(false);
    run_optimizer(true);
    run_checkpoint(data);
    data_close(data);
    gpu_bench_group();
    return 0;
}
