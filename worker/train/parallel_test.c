/* What several ranks learn together, and one in small pieces: what one learns. The ranks
 * are threads. */
#include "worker/train/fixture.h"

#include "base/mem.h"
#include "worker/train/cpu.h"
#include "worker/train/grouped.h"
#include "worker/train/stages.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { RANKS_MAX = 5, EPOCHS = 2 };

/* What is trained, and how. */
struct way {
    const char *model, *optimizer;
    double dropout;
    size_t batch_size;
    bool staged;
    size_t micro_batches;
};

/* Where arrays are. */
enum memory {
    HOST,
    APART,   /* in memory of the device's own: what ranks exchange is copied */
    GROUPED, /* and the devices exchange it by themselves */
};

struct rank {
    const struct way *way;
    enum memory memory; /* what its device says */
    struct comm *comm;
    struct device *device;
    struct device_ops ops; /* its own, if it is changed */
    struct bench bench;
    struct err e;
    pthread_t thread;
};

static void *train_rank(void *arg)
{
    struct rank *r = arg;
    const struct way *w = r->way;
    struct trainer_config config = {.comm = r->comm,
                                    .batch_size = w->batch_size,
                                    .staged = w->staged,
                                    .micro_batches = w->micro_batches,
                                    .seed = 5};

    r->device = cpu_open(1);
    if (r->memory != HOST)
        grouped_make(r->device, &r->ops, r->memory == GROUPED ? &grouped_ops : NULL,
                     r->comm);
    bench_open_on(&r->bench, r->device, w->model, w->dropout, w->optimizer, 0.002,
                  &config, &r->e);
    if (r->bench.trainer)
        train(&r->bench, EPOCHS);
    if (r->memory == GROUPED) { /* the group is left while there are ranks */
        trainer_destroy(r->bench.trainer);
        r->bench.trainer = NULL;
    }
    comm_close(r->comm);
    return NULL;
}

/* Trains on n ranks. */
static void run_on(struct rank ranks[], int n, const struct way *way, enum memory memory)
{
    struct comm *comms[RANKS_MAX] = {NULL};

    if (n > 1)
        comm_threads(n, comms);
    for (int i = 0; i < n; i++) {
        ranks[i] = (struct rank){.way = way, .memory = memory, .comm = comms[i]};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, train_rank, &ranks[i]),
                         0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(ranks[i].thread, NULL);
}

static void run(struct rank ranks[], int n, const struct way *way)
{
    run_on(ranks, n, way, HOST);
}

static void done(struct rank ranks[], int n)
{
    for (int i = 0; i < n; i++) {
        bench_close(&ranks[i].bench);
        device_close(ranks[i].device);
    }
}

/* With rounding, which may decide of a sample whose hidden outputs are all dropped: its
 * logits are biases, of which adam's first steps make equal ones. */
static void assert_same_metrics(const struct training *a, const struct training *b,
                                double within)
{
    const double one_sample = within > 0 ? 1.001 / TRAINING : 0;

    assert_int_equal(a->history.n, b->history.n);
    for (size_t i = 0; i < a->history.n; i++)
        for (int m = METRIC_LOSS; m <= METRIC_VAL_ACCURACY; m++) {
            double x = a->history.v[i].metrics.v[m], y = b->history.v[i].metrics.v[m];
            bool share = m == METRIC_ACCURACY || m == METRIC_VAL_ACCURACY;
            assert_true(fabs(x - y) <= (share ? one_sample : within));
        }
}

static void assert_near(const struct training *a, const struct training *b)
{
    const struct model *m = a->model, *n = b->model;

    for (size_t i = 0; i < m->n; i++)
        assert_true(fabsf(m->values[i] - n->values[i]) < 1e-4f);
    assert_same_metrics(a, b, 1e-4);
}

/* 333 samples in batches of 32: the last has 13, of which one of two ranks has 7. Each
 * number of ranks and pieces learns the same, to rounding; dropout draws the same mask,
 * whoever draws it: another one would be off by 0.1 and more. */
static void test_shares_and_pieces_learn_what_the_whole_does(void **state)
{
    (void)state;
    static const struct way ways[] = {{"mlp", "sgd", 0, 32, false, 1},
                                      {"mlp", "adam", 0.5, 32, false, 1},
                                      {"cnn", "sgd", 0.25, 32, false, 1}};
    static const struct {
        int ranks;
        size_t pieces;
    } cuts[] = {{1, 5}, {1, 100}, {2, 1}, {3, 4}};

    for (size_t w = 0; w < COUNT(ways); w++) {
        struct rank whole, ranks[RANKS_MAX];
        run(&whole, 1, &ways[w]);
        for (size_t i = 0; i < COUNT(cuts); i++) {
            struct way way = ways[w];
            way.micro_batches = cuts[i].pieces;
            run(ranks, cuts[i].ranks, &way);
            assert_near(&whole.bench.t, &ranks[0].bench.t);
            for (int r = 1; r < cuts[i].ranks; r++) {
                assert_true(same_state(&ranks[0].bench.t, &ranks[r].bench.t));
                assert_same_metrics(&ranks[0].bench.t, &ranks[r].bench.t, 0);
            }
            done(ranks, cuts[i].ranks);
        }
        done(&whole, 1);
    }
}

/* Stages add the same numbers in the same order as one rank that cuts its batches into as
 * many pieces: the same bits, of running statistics, too. */
static void test_stages_learn_what_one_rank_does(void **state)
{
    (void)state;
    static const struct {
        struct way way;
        int ranks;
    } vectors[] = {
        {{"mlp", "sgd", 0, 32, true, 1}, 2},
        {{"mlp", "adam", 0.5, 32, true, 2}, 2},
        {{"mlp", "adamw", 0, 32, true, 7}, 3},
        {{"mlp", "sgd", 0, 5, true, 100}, 3},
        {{"cnn", "sgd", 0.25, 32, true, 3}, 2},
        {{"cnn", "adam", 0, 32, true, 4}, 5},
        {{"resnet18", "sgd", 0, 11, true, 2}, 2},
        {{"resnet18", "sgd", 0, 11, true, 5}, 4},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct rank one, ranks[RANKS_MAX];
        run(&one, 1, &vectors[i].way);
        run(ranks, vectors[i].ranks, &vectors[i].way);
        assert_true(same_state(&one.bench.t, &ranks[0].bench.t));
        for (int r = 0; r < vectors[i].ranks; r++)
            assert_same_metrics(&one.bench.t, &ranks[r].bench.t, 0);
        done(ranks, vectors[i].ranks);
        done(&one, 1);
    }
}

static void test_by_themselves_stages_take_four_pieces_each(void **state)
{
    (void)state;
    static const struct way way = {"mlp", "sgd", 0, 32, true, 0},
                            few = {"mlp", "sgd", 0, 3, true, 0},
                            share = {"mlp", "sgd", 0, 32, false, 0};
    struct rank ranks[RANKS_MAX];

    run(ranks, 3, &way);
    assert_int_equal(trainer_micro_batches(ranks[2].bench.trainer), 12);
    done(ranks, 3);
    run(ranks, 3, &few);
    assert_int_equal(trainer_micro_batches(ranks[2].bench.trainer), 3);
    done(ranks, 3);
    run(ranks, 3, &share);
    assert_int_equal(trainer_micro_batches(ranks[2].bench.trainer), 1);
    done(ranks, 3);
}

static void test_more_stages_than_layers_are_refused(void **state)
{
    (void)state;
    static const struct way way = {"mlp", "sgd", 0, 32, true, 1};
    struct rank ranks[RANKS_MAX];

    run(ranks, 4, &way);
    for (int r = 0; r < 4; r++) {
        assert_null(ranks[r].bench.trainer);
        assert_int_equal(ranks[r].e.code, ERR_INVAL);
        assert_non_null(strstr(ranks[r].e.text, "cut into 3 stages at most"));
    }
    done(ranks, 4);
}

static void test_copies_of_what_is_exchanged_change_nothing(void **state)
{
    (void)state;
    static const struct way ways[] = {
        {"mlp", "adam", 0.5, 32, false, 1},  {"cnn", "sgd", 0, 64, false, 2},
        {"cnn", "sgd", 0, 64, true, 0},      {"resnet18", "sgd", 0, 16, false, 1},
        {"resnet18", "sgd", 0, 16, true, 3},
    };

    for (size_t i = 0; i < COUNT(ways); i++) {
        enum { RANKS = 3 };
        struct rank plain[RANKS], copied[RANKS];
        run(plain, RANKS, &ways[i]);
        run_on(copied, RANKS, &ways[i], APART);
        for (int r = 0; r < RANKS; r++)
            assert_true(same_state(&plain[r].bench.t, &copied[r].bench.t));
        done(plain, RANKS);
        done(copied, RANKS);
    }
}

/* Gradients are weighted by the number of ranks there, and their mean is taken: of 2 or 4
 * the same bits. */
static void test_devices_that_exchange_by_themselves_learn_the_same(void **state)
{
    (void)state;
    static const struct {
        struct way way;
        int ranks;
    } vectors[] = {
        {{"mlp", "adam", 0.5, 32, false, 1}, 2},
        {{"cnn", "sgd", 0, 64, false, 2}, 4},
        {{"mlp", "sgd", 0, 32, false, 1}, 3},
        {{"resnet18", "sgd", 0, 16, false, 1}, 2},
        {{"cnn", "sgd", 0, 64, true, 0}, 3},
        {{"resnet18", "sgd", 0, 16, true, 3}, 4},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct rank plain[RANKS_MAX], grouped[RANKS_MAX];
        const struct way *way = &vectors[i].way;
        int n = vectors[i].ranks;
        run(plain, n, way);
        run_on(grouped, n, way, GROUPED);
        for (int r = 0; r < n; r++) {
            if (way->staged || n != 3)
                assert_true(same_state(&plain[r].bench.t, &grouped[r].bench.t));
            else
                assert_near(&plain[r].bench.t, &grouped[r].bench.t);
        }
        done(plain, n);
        done(grouped, n);
    }
}

/* ---- little memory ---- */

static void test_with_little_memory_batches_are_cut(void **state)
{
    (void)state;
    static const struct way way = {"cnn", "sgd", 0, 333, false, 1};
    struct str notes = STR_INIT;
    struct trainer_config config = {.batch_size = 333, .seed = 5, .notes = &notes};
    struct device *d = cpu_open(1);
    struct rank whole;
    struct bench b;
    struct err e;

    run(&whole, 1, &way);
    bench_open_on(&b, d, "cnn", 0, "sgd", 0.002, &config, NULL);
    assert_int_equal(notes.len, 0);
    assert_int_equal(trainer_micro_batches(b.trainer), 1);
    for (size_t most = (size_t)1 << 24; notes.len == 0; most = most * 3 / 4) {
        trainer_destroy(b.trainer);
        d->ops->limit(d, most);
        b.trainer = trainer_create(d, b.t.data, b.t.model, b.t.optimizer, &config, &e);
        assert_non_null(b.trainer);
    }
    assert_in_range(trainer_micro_batches(b.trainer), 2, 16);
    assert_non_null(strstr(notes.p, "left: cannot allocate"));
    assert_non_null(strstr(notes.p, "for 333 samples at once: trying fewer\n"));
    train(&b, EPOCHS);
    assert_near(&whole.bench.t, &b.t);
    trainer_destroy(b.trainer);
    d->ops->limit(d, 10000);
    b.trainer = trainer_create(d, b.t.data, b.t.model, b.t.optimizer, &config, &e);
    assert_null(b.trainer);
    assert_int_equal(e.code, ERR_FULL);
    bench_close(&b);
    device_close(d);
    str_free(&notes);
    done(&whole, 1);
}

/* ---- a device whose operations need memory ---- */

/* The CPU, whose batch normalisation finds memory for so many rows at most, as a GPU's
 * operations may. Images have 8x8 places there. */
enum { ROWS_MOST = 12 };
static struct device_ops needy;
static bool found_none;
static const struct device_ops *cpu_ops;

static void needy_batch_norm(struct device *d, const struct device_batch_norm *b,
                             const void *x, void *y)
{
    cpu_ops->batch_norm(d, b, x, y);
    if (b->n > ROWS_MOST * 64)
        found_none = true;
}

static int needy_download(struct device *d, void *host, const void *from, size_t bytes,
                          struct err *e)
{
    if (found_none)
        return err_set(e, ERR_FULL, "no memory");
    return cpu_ops->download(d, host, from, bytes, e);
}

static void needy_recover(struct device *d)
{
    (void)d;
    found_none = false;
}

static struct device *needy_open(void)
{
    struct device *d = cpu_open(1);

    cpu_ops = d->ops;
    needy = *cpu_ops;
    needy.batch_norm = needy_batch_norm;
    needy.download = needy_download;
    needy.recover = needy_recover;
    d->ops = &needy;
    return d;
}

static void test_memory_that_operations_need_cuts_batches(void **state)
{
    (void)state;
    static const struct way way = {"resnet18", "sgd", 0, FEW, false, 4};
    struct str notes = STR_INIT;
    struct trainer_config config = {.batch_size = FEW, .seed = 5, .notes = &notes};
    struct device *d = needy_open();
    struct rank cut;
    struct bench b;

    run(&cut, 1, &way);
    bench_open_on(&b, d, "resnet18", 0, "sgd", 0.002, &config, NULL);
    assert_non_null(b.trainer);
    assert_int_equal(trainer_micro_batches(b.trainer), 4);
    assert_string_equal(notes.p, "no memory for 44 samples at once: trying fewer\n"
                                 "no memory for 22 samples at once: trying fewer\n");
    train(&b, EPOCHS);
    assert_true(same_state(&b.t, &cut.bench.t)); /* trying has left no trace */
    bench_close(&b);
    d->ops = cpu_ops;
    device_close(d);
    str_free(&notes);
    done(&cut, 1);
}

/* ---- stages ---- */

static double work(const struct layer *l)
{
    double n = (double)l->out;

    if (l->n_parameters)
        n += (double)l->parameters[0].count * (double)(l->out_image.h * l->out_image.w);
    return n;
}

/* What the fullest of n stages from a layer on has to do at best: of all ways to cut. */
static double at_best(const struct model *m, size_t first, size_t n)
{
    double best = INFINITY, mine = 0;

    for (size_t i = first; i < m->n_layers; i++) {
        mine += work(&m->layers[i]);
        if (n > 1 && model_can_cut(m, i + 1))
            best = fmin(best, fmax(mine, at_best(m, i + 1, n - 1)));
    }
    return n > 1 ? best : mine;
}

static void check_stages(const struct model *m, size_t n)
{
    struct stage s[RANKS_MAX];
    double fullest = 0;

    assert_int_equal(stages_cut(m, n, s, NULL), 0);
    assert_true(s[0].first == 0 && s[0].from == 0 && s[0].state_from == 0);
    for (size_t k = 0; k < n; k++) {
        double of_stage = 0;
        for (size_t i = s[k].first; i < s[k].last; i++)
            of_stage += work(&m->layers[i]);
        fullest = fmax(fullest, of_stage);
        assert_true(s[k].first < s[k].last);
        assert_true(model_can_cut(m, s[k].last));
        if (k + 1 == n)
            continue;
        assert_int_equal(s[k].last, s[k + 1].first);
        assert_int_equal(s[k].to, s[k + 1].from);
        assert_int_equal(s[k].state_to, s[k + 1].state_from);
    }
    assert_int_equal(s[n - 1].last, m->n_layers);
    assert_int_equal(s[n - 1].to, m->n);
    assert_int_equal(s[n - 1].state_to, m->n_state);
    assert_true(fabs(fullest / at_best(m, 0, n) - 1) < 1e-9);
}

static void test_stages_are_the_model_and_have_as_much_to_do(void **state)
{
    (void)state;
    struct device *d = cpu_open(1);
    struct model *m = model_create(
        d,
        &(struct model_config){.kind = "resnet18", .sample = {32, 32, 3}, .classes = 9},
        NULL);

    for (size_t n = 1; n <= RANKS_MAX; n++)
        check_stages(m, n);
    model_destroy(m);
    device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_are_the_model_and_have_as_much_to_do),
        cmocka_unit_test(test_shares_and_pieces_learn_what_the_whole_does),
        cmocka_unit_test(test_stages_learn_what_one_rank_does),
        cmocka_unit_test(test_by_themselves_stages_take_four_pieces_each),
        cmocka_unit_test(test_more_stages_than_layers_are_refused),
        cmocka_unit_test(test_copies_of_what_is_exchanged_change_nothing),
        cmocka_unit_test(test_devices_that_exchange_by_themselves_learn_the_same),
        cmocka_unit_test(test_with_little_memory_batches_are_cut),
        cmocka_unit_test(test_memory_that_operations_need_cuts_batches),
    };

    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
