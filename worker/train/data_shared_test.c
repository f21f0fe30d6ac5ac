/* Ranks as threads of one process: what holds between processes too, and tests/ranks.t
 * has those. */
#include "worker/train/data.h"

#include "base/mem.h"
#include "worker/train/comm.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { RANKS = 3 };

struct rank {
    struct comm *comm;
    const struct data_config *config;
    struct data *data;
    struct err err;
    pthread_t thread;
};

static void *open_rank(void *arg)
{
    struct rank *r = arg;

    r->data = data_open_shared(r->config, r->comm, &r->err);
    comm_close(r->comm);
    return NULL;
}

static void open_ranks(struct rank ranks[RANKS], const struct data_config *config)
{
    struct comm *comms[RANKS];

    comm_threads(RANKS, comms);
    for (int i = 0; i < RANKS; i++) {
        ranks[i] = (struct rank){.comm = comms[i], .config = config};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, open_rank, &ranks[i]), 0);
    }
    for (int i = 0; i < RANKS; i++)
        pthread_join(ranks[i].thread, NULL);
}

static void test_an_error_is_everyones(void **state)
{
    (void)state;
    static const struct {
        struct data_config config;
        int code;
        const char *text;
    } vectors[] = {
        {{"nowhere", 0, NAN}, ERR_NOENT, "nowhere: No such file"},
        {{"synthetic:2", 0, 1e-9}, ERR_INVAL, "0 to validate"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct rank ranks[RANKS];
        open_ranks(ranks, &vectors[i].config);
        for (int r = 0; r < RANKS; r++) {
            assert_null(ranks[r].data);
            assert_int_equal(ranks[r].err.code, vectors[i].code);
            assert_non_null(strstr(ranks[r].err.text, vectors[i].text));
        }
    }
}

static void assert_same_samples(const struct samples *a, const struct samples *b)
{
    assert_int_equal(a->n, b->n);
    if (a->n == 0)
        return;
    assert_int_equal(a->ndim, b->ndim);
    assert_memory_equal(a->dim, b->dim, sizeof(a->dim));
    assert_int_equal(a->features, b->features);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->stride, b->stride);
    assert_memory_equal(a->x, b->x, samples_bytes(a));
    assert_memory_equal(a->y, b->y, a->n * sizeof(*a->y));
    assert_int_equal((uintptr_t)a->x % sizeof(float), 0);
}

static void assert_same_part(const struct part *a, const struct part *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->index, b->index, a->n * sizeof(*a->index));
}

static void assert_same(struct data *a, struct data *b)
{
    assert_same_samples(&a->train, &b->train);
    assert_same_samples(&a->test, &b->test);
    assert_same_part(&a->training, &b->training);
    assert_same_part(&a->validation, &b->validation);
    assert_int_equal(a->classes, b->classes);
    data_measure(a);
    data_measure(b);
    assert_memory_equal(a->mean, b->mean, a->train.features * sizeof(float));
    assert_memory_equal(a->scale, b->scale, a->train.features * sizeof(float));
}

/* Opens by ranks what one reads for itself; `sharing` says whether they share. */
static void check(const struct data_config *config, bool sharing)
{
    struct err e = {0};
    struct data *alone = data_open(config, &e);
    struct rank ranks[RANKS];

    if (!alone && e.code == ERR_NOENT) /* Fashion-MNIST is not here */
        skip();
    assert_non_null(alone);
    assert_null(alone->shared);
    open_ranks(ranks, config);
    for (int r = 0; r < RANKS; r++) {
        struct data *d = ranks[r].data;
        assert_non_null(d);
        assert_int_equal(d->shared != NULL, sharing);
        assert_true(d->training.samples == &d->train);
        assert_same(d, alone);
        if (r > 0)
            assert_true(d->train.x != ranks[0].data->train.x);
    }
    for (int r = 0; r < RANKS; r++)
        data_close(ranks[r].data);
    data_close(alone);
}

static void test_ranks_have_what_one_reads(void **state)
{
    (void)state;

    check(&(struct data_config){"synthetic:3x5x7,samples=101,classes=3", 0, NAN}, true);
    check(&(struct data_config){"synthetic:9,samples=50", 30, 0.3}, true);
}

/* Its test part validates. */
static void test_both_parts_are_shared(void **state)
{
    (void)state;

    check(&(struct data_config){"fashion-mnist", 1000, NAN}, true);
}

/* No file, not even one without a name, may be so long. */
static void test_without_memory_to_share_each_reads(void **state)
{
    (void)state;
    struct rlimit before, small;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    check(&(struct data_config){"synthetic:3x5x7,samples=101,classes=3", 0, NAN}, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void test_one_that_is_alone_reads(void **state)
{
    (void)state;
    struct data *d = data_open_shared(
        &(struct data_config){"synthetic:4,samples=50", 0, NAN}, NULL, NULL);

    assert_non_null(d);
    assert_null(d->shared);
    data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_error_is_everyones),
        cmocka_unit_test(test_ranks_have_what_one_reads),
        cmocka_unit_test(test_both_parts_are_shared),
        cmocka_unit_test(test_without_memory_to_share_each_reads),
        cmocka_unit_test(test_one_that_is_alone_reads),
    };

    return cmocka_run_group_tests_name("data_shared", tests, NULL, NULL);
}
