/* Ranks are threads, a GPU each; kinds of steps take turns, so that each kind meets the
 * same machine. */
#include "worker/train/gpu_bench.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rank.h"
#include "worker/train/devices.h"
#include "worker/train/trainer_private.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { RANKS_MAX = 8, ROUNDS = 25, ROWS = 256, CLASSES = 10 };
enum { MEANS = 20, MEAN_FLOATS = 64 << 20 };

enum kind { ALONE, AFTER, OVERLAPPED, HOST, KINDS };

struct rank {
    struct comm *comm;
    struct device *device;
    struct data *data;
    struct model *model;
    struct optimizer *optimizer;
    struct trainer *alone, *nccl, *host;
    size_t at; /* where the next batch of `alone` begins: the loader has it already */
    pthread_t thread;
};

static void lost(void *arg, const char *text)
{
    struct err e;

    (void)arg;
    err_set(&e, ERR_IO, "%s", text);
    gpu_bench_quit(&e);
}

static void insist(int rc, const struct err *e)
{
    if (rc < 0)
        gpu_bench_quit(e);
}

static void finish(struct device *d)
{
    struct err e;

    insist(d->ops->download(d, NULL, NULL, 0, &e), &e);
}

/* Of the slowest rank. */
static double slowest(const struct rank *r, double mine)
{
    double took[RANKS_MAX] = {0}, longest = 0;

    took[comm_rank(r->comm)] = mine;
    comm_sum(r->comm, took, RANKS_MAX);
    for (int i = 0; i < RANKS_MAX; i++)
        longest = fmax(longest, took[i]);
    return longest;
}

/* ---- means ---- */

static void run_means(struct rank *r)
{
    struct device *d = r->device;
    const struct device_group_ops *g = d->ops->group;
    int n = comm_size(r->comm);
    double rate[ROUNDS];
    void *x;
    struct err e;

    insist(d->ops->allocate(d, MEAN_FLOATS * sizeof(float), &x, &e), &e);
    for (int round = -1; round < ROUNDS; round++) {
        finish(d);
        comm_agree(r->comm, 0, NULL);
        double begun = clock_mono();
        for (int i = 0; i < MEANS; i++)
            g->mean(d, x, MEAN_FLOATS);
        g->mean_wait(d);
        finish(d);
        double took = slowest(r, clock_mono() - begun);
        if (round >= 0)
            rate[round] = 2.0 * (n - 1) / n * MEANS * MEAN_FLOATS * sizeof(float) / took;
    }
    d->ops->release(d, x);
    if (comm_rank(r->comm) == 0)
        printf("bus\t%.6g\n", median(rate, ROUNDS));
}

/* ---- steps ---- */

static struct trainer *make_trainer(const struct rank *r, struct comm *c,
                                    const char *exchange)
{
    struct err e;
    struct trainer *t = trainer_create(r->device, r->data, r->model, r->optimizer,
                                       &(struct trainer_config){
                                           .comm = c,
                                           .batch_size = ROWS * (size_t)comm_size(c),
                                           .exchange = exchange,
                                           .lost = lost,
                                       },
                                       &e);

    if (!t)
        gpu_bench_quit(&e);
    return t;
}

static double seconds(struct rank *r, enum kind kind)
{
    struct trainer *t = kind == OVERLAPPED ? r->nccl : kind == HOST ? r->host : r->alone;
    size_t all = r->data->training.n, at = t == r->alone ? r->at : 0;

    finish(r->device);
    comm_agree(r->comm, 0, NULL);
    double begun = clock_mono();
    step_train(t, &t->training, at, t->config.batch_size);
    if (t == r->alone)
        r->at = (at + ROWS) % all;
    if (kind == AFTER) {
        exchange_reduce(r->nccl->exchange, 0, r->model->n);
        exchange_reduce_wait(r->nccl->exchange);
    }
    finish(r->device);
    return slowest(r, clock_mono() - begun);
}

static void run_steps(struct rank *r)
{
    static const char *const names[] = {"alone", "after", "overlapped", "host"};
    double took[KINDS][ROUNDS];
    int kinds = r->comm ? KINDS : HOST;

    for (int round = -1; round < ROUNDS; round++)
        for (int k = 0; k < kinds; k++)
            took[k][round < 0 ? 0 : round] = seconds(r, (enum kind)k);
    if (comm_rank(r->comm) > 0)
        return;
    for (int k = kinds; k-- > 0;) {
        for (int i = 0; i < ROUNDS && k > ALONE; i++)
            took[k][i] -= took[ALONE][i];
        printf("step %s\t%.6g\n", names[k], median(took[k], ROUNDS));
    }
}

static void *run_rank(void *arg)
{
    struct rank *r = arg;
    size_t batch = ROWS * (size_t)comm_size(r->comm);
    char source[64];
    struct err e;

    r->device =
        devices_open(&(struct devices_config){.kind = "cuda", .comm = r->comm}, &e);
    if (!r->device)
        gpu_bench_quit(&e);
    insist(r->device->ops->set_precision(r->device, PRECISION_BF16, &e), &e);
    snprintf(source, sizeof(source), "synthetic:32x32x3,samples=%zu", 2 * batch);
    r->data = data_open(&(struct data_config){.source = source, .val_fraction = 0.5}, &e);
    if (!r->data)
        gpu_bench_quit(&e);
    data_measure(r->data);
    r->model = model_create(
        r->device,
        &(struct model_config){
            .kind = "resnet18", .sample = {32, 32, 3}, .classes = CLASSES, .seed = 1},
        &e);
    if (!r->model)
        gpu_bench_quit(&e);
    r->optimizer = optimizer_create(
        r->device, &(struct optimizer_config){"sgd", 0.01, 0.9, 5e-4, false}, r->model->n,
        &e);
    if (!r->optimizer)
        gpu_bench_quit(&e);
    r->alone = make_trainer(r, NULL, "host");
    r->nccl = make_trainer(r, r->comm, "nccl");
    r->host = r->comm ? make_trainer(r, r->comm, "host") : NULL;
    run_steps(r);
    if (r->comm)
        run_means(r);
    trainer_destroy(r->host);
    trainer_destroy(r->nccl);
    trainer_destroy(r->alone);
    optimizer_destroy(r->optimizer);
    model_destroy(r->model);
    data_close(r->data);
    device_close(r->device);
    comm_close(r->comm);
    return NULL;
}

void gpu_bench_group(void)
{
    int gpus = devices_gpus(), n = gpus < RANKS_MAX ? gpus : RANKS_MAX;
    struct rank ranks[RANKS_MAX];
    struct comm *comms[RANKS_MAX] = {NULL};

    printf("ranks\t%d\n", n);
    if (n > 1)
        comm_threads(n, comms);
    for (int i = 0; i < n; i++) {
        struct err e;
        ranks[i] = (struct rank){.comm = comms[i]};
        if (pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]) != 0)
            gpu_bench_quit((err_set(&e, ERR_IO, "cannot start a thread"), &e));
    }
    for (int i = 0; i < n; i++)
        pthread_join(ranks[i].thread, NULL);
    fflush(stdout);
}
