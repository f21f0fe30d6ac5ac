/* GPUs that exchange by NCCL: one by itself, which goes the whole way, and, where there
 * are several, as many ranks, threads, with a GPU each. Part of `make check-gpu`. */
#include "worker/train/gpu_wanted.h"

#include "base/mem.h"
#include "worker/train/devices.h"
#include "worker/train/fixture.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { RANKS_MAX = 4, EPOCHS = 2 };

/* ---- trainings, a thread and a GPU each ---- */

struct way {
    const char *model, *optimizer;
    bool staged;
    size_t batch_size, micro_batches;
};

struct rank {
    const struct way *way;
    const char *exchange;
    struct comm *comm;
    struct metrics metrics;
    struct str notes;
    float *values; /* [n] of the model, after it */
    size_t n;
    pthread_t thread;
};

static void lost(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
    exit(EXIT_FAILURE);
}

static float *values_of(const struct model *m)
{
    float *v = mem_resize(NULL, m->n, sizeof(*v));
    struct err e;

    if (m->device->ops->download(m->device, v, m->values, m->n * sizeof(*v), &e) < 0)
        lost(NULL, e.text);
    return v;
}

static void *train_rank(void *arg)
{
    struct rank *r = arg;
    const struct way *w = r->way;
    struct trainer_config config = {.comm = r->comm,
                                    .batch_size = w->batch_size,
                                    .staged = w->staged,
                                    .micro_batches = w->micro_batches,
                                    .seed = 5,
                                    .exchange = r->exchange,
                                    .lost = lost,
                                    .notes = &r->notes};
    struct err e;
    struct device *d =
        devices_open(&(struct devices_config){.kind = "cuda", .comm = r->comm}, &e);
    struct bench b;

    if (!d)
        lost(NULL, e.text);
    bench_open_on(&b, d, w->model, 0, w->optimizer, 0.002, &config, &e);
    if (!b.trainer)
        lost(NULL, e.text);
    r->metrics = train(&b, EPOCHS);
    r->n = b.t.model->n;
    r->values = values_of(b.t.model);
    bench_close(&b);
    device_close(d);
    comm_close(r->comm);
    return NULL;
}

static void run(struct rank ranks[], int n, const struct way *way, const char *exchange)
{
    struct comm *comms[RANKS_MAX] = {NULL};

    if (n > 1)
        comm_threads(n, comms);
    for (int i = 0; i < n; i++) {
        ranks[i] = (struct rank){
            .way = way, .exchange = exchange, .comm = comms[i], .notes = STR_INIT};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, train_rank, &ranks[i]),
                         0);
    }
    for (int i = 0; i < n; i++) {
        pthread_join(ranks[i].thread, NULL);
        if (strcmp(exchange, "nccl") == 0)
            assert_non_null(
                strstr(ranks[i].notes.p, "from device to device, by NCCL 2."));
    }
}

static void done(struct rank ranks[], int n)
{
    for (int i = 0; i < n; i++) {
        free(ranks[i].values);
        str_free(&ranks[i].notes);
    }
}

static void assert_same(const struct rank *a, const struct rank *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->values, b->values, a->n * sizeof(float));
    for (int m = METRIC_LOSS; m <= METRIC_VAL_ACCURACY; m++)
        assert_true(a->metrics.v[m] == b->metrics.v[m]);
}

static void assert_near(const struct rank *a, const struct rank *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        if (!(fabsf(a->values[i] - b->values[i]) < 1e-3f))
            fail_msg("weight %zu is %g, not %g", i, (double)a->values[i],
                     (double)b->values[i]);
    assert_true(fabs(a->metrics.v[METRIC_LOSS] - b->metrics.v[METRIC_LOSS]) < 1e-2);
}

/* ---- one GPU ---- */

static void test_the_mean_of_one_is_itself(void **state)
{
    enum { N = 1 << 20 };
    struct device *d = gpu_wanted();
    const struct device_group_ops *g = d->ops->group;
    struct device_group group = {.size = 1, .seconds = 60, .broken = lost};
    float *host = mem_alloc(N * sizeof(*host)), *back = mem_alloc(N * sizeof(*back));
    char name[64];
    void *x, *y;
    struct err e;

    (void)state;
    if (g->find(d, name, sizeof(name), &e) < 0 || g->make_id(d, &group.id, &e) < 0 ||
        g->join(d, &group, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(d->ops->allocate(d, N * sizeof(float), &x, NULL), 0);
    assert_int_equal(d->ops->allocate(d, N * sizeof(float), &y, NULL), 0);
    for (int i = 0; i < N; i++)
        host[i] = (float)i;
    d->ops->upload(d, x, host, N * sizeof(float));
    g->mean(d, x, 1000);
    g->mean(d, (float *)x + 1000, N - 1000);
    g->mean_wait(d);
    d->ops->add(d, ACTIVATION_NONE, N, x, x, x);
    g->send(d, 0, x, N); /* to itself */
    g->receive(d, 0, y, N);
    g->sent(d);
    if (d->ops->download(d, back, y, N * sizeof(float), &e) < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < N; i++)
        assert_true(back[i] == 2 * host[i]);
    g->leave(d);
    g->leave(d); /* no harm */
    assert_int_equal(d->ops->download(d, back, y, sizeof(float), NULL), 0);
    free(host);
    free(back);
    device_close(d);
}

static void test_what_was_given_up_fails(void **state)
{
    struct device *d = gpu_wanted();
    const struct device_group_ops *g = d->ops->group;
    struct device_group group = {.size = 1, .seconds = 60, .broken = lost};
    char name[64];
    struct err e;

    (void)state;
    assert_int_equal(g->find(d, name, sizeof(name), NULL), 0);
    assert_int_equal(g->make_id(d, &group.id, NULL), 0);
    assert_int_equal(g->join(d, &group, NULL), 0);
    assert_int_equal(d->ops->download(d, NULL, NULL, 0, NULL), 0);
    g->abandon(d);
    assert_int_equal(d->ops->download(d, NULL, NULL, 0, &e), ERR_IO);
    assert_string_equal(e.text, "what ranks exchange was given up");
    g->leave(d);
    device_close(d);
}

/* The first are alike, to rounding, in whatever order gradients are summed. Others make
 * much of roundings: batch normalisation over few samples, and adam's first steps. */
enum { ALIKE = 2 };
static const struct way shares[] = {{"mlp", "sgd", false, 32, 1},
                                    {"cnn", "sgd", false, 64, 2},
                                    {"mlp", "adam", false, 32, 1},
                                    {"resnet18", "sgd", false, 16, 1}};

static void test_one_rank_learns_the_same_by_nccl(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shares); i++) {
        struct rank alone, nccl;
        run(&alone, 1, &shares[i], "host");
        run(&nccl, 1, &shares[i], "nccl");
        assert_same(&alone, &nccl);
        done(&alone, 1);
        done(&nccl, 1);
    }
}

/* ---- several ---- */

static int several(void)
{
    int n = devices_gpus();

    if (n < 2) {
        print_message("there is one GPU: ranks that exchange by NCCL need two\n");
        skip();
    }
    return n < RANKS_MAX ? n : RANKS_MAX;
}

static void test_ranks_learn_what_they_do_through_the_host(void **state)
{
    int n = several();

    (void)state;
    for (size_t i = 0; i < ALIKE; i++) {
        struct rank host[RANKS_MAX], nccl[RANKS_MAX];
        run(host, n, &shares[i], "host");
        run(nccl, n, &shares[i], "nccl");
        for (int r = 0; r < n; r++) {
            assert_near(&host[r], &nccl[r]);
            assert_same(&nccl[0], &nccl[r]);
        }
        done(host, n);
        done(nccl, n);
    }
}

static void test_ranks_give_the_same_bits_again(void **state)
{
    int n = several();

    (void)state;
    setenv("NCCL_ALGO", "^NVLS,NVLSTree", 1); /* what --deterministic does */
    for (size_t i = 0; i < COUNT(shares); i++) {
        struct rank first[RANKS_MAX], again[RANKS_MAX];
        run(first, n, &shares[i], "nccl");
        run(again, n, &shares[i], "nccl");
        assert_same(&first[0], &again[0]);
        done(first, n);
        done(again, n);
    }
}

/* Nothing is summed there: the bits are the same, whatever brings them. */
static void test_stages_learn_what_they_do_through_the_host(void **state)
{
    static const struct way stages[] = {{"mlp", "adam", true, 32, 3},
                                        {"cnn", "sgd", true, 64, 0},
                                        {"resnet18", "sgd", true, 16, 3}};
    int n = several();

    (void)state;
    for (size_t i = 0; i < COUNT(stages); i++) {
        int ranks = strcmp(stages[i].model, "mlp") == 0 && n > 3 ? 3 : n;
        struct rank host[RANKS_MAX], nccl[RANKS_MAX];
        run(host, ranks, &stages[i], "host");
        run(nccl, ranks, &stages[i], "nccl");
        assert_same(&host[0], &nccl[0]);
        done(host, ranks);
        done(nccl, ranks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_mean_of_one_is_itself),
        cmocka_unit_test(test_what_was_given_up_fails),
        cmocka_unit_test(test_one_rank_learns_the_same_by_nccl),
        cmocka_unit_test(test_ranks_learn_what_they_do_through_the_host),
        cmocka_unit_test(test_ranks_give_the_same_bits_again),
        cmocka_unit_test(test_stages_learn_what_they_do_through_the_host),
    };

    return cmocka_run_group_tests_name("gpu group", tests, NULL, NULL);
}
