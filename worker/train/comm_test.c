/* Ranks as threads, for what they do together; and as processes, for the lifeline. */
#include "worker/train/comm.h"

#include "base/mem.h"
#include "base/rng.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS_MAX 7

/* ---- what n ranks do, a thread each ---- */

struct rank {
    struct comm *comm;
    pthread_t thread;
    void (*body)(struct comm *c, void *mine);
    char *mine;
};

static void *start(void *arg)
{
    struct rank *r = arg;

    r->body(r->comm, r->mine);
    comm_close(r->comm);
    return NULL;
}

/* Runs body() on n ranks; each has `bytes` of its own, in `all` behind each other. */
static void run_ranks(int n, void *all, size_t bytes,
                      void (*body)(struct comm *c, void *mine))
{
    struct comm *comms[RANKS_MAX];
    struct rank ranks[RANKS_MAX];

    comm_threads(n, comms);
    for (int i = 0; i < n; i++) {
        ranks[i] = (struct rank){.comm = comms[i], .body = body};
        ranks[i].mine = (char *)all + (size_t)i * bytes;
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, start, &ranks[i]), 0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(ranks[i].thread, NULL);
}

static void test_one_that_is_alone(void **state)
{
    (void)state;
    struct err e = {0};
    double x = 3;
    float y = 4;

    assert_int_equal(comm_rank(NULL), 0);
    assert_int_equal(comm_size(NULL), 1);
    assert_null(comm_name(NULL));
    comm_broadcast(NULL, 0, &x, sizeof(x));
    comm_sum(NULL, &x, 1);
    comm_reduce(NULL, &y, 1);
    comm_progress(NULL);
    comm_reduce_wait(NULL);
    assert_true(x == 3 && y == 4);
    assert_int_equal(comm_agree(NULL, 0, &e), 0);
    assert_int_equal(comm_agree(NULL, ERR_IO, &e), ERR_IO);
    comm_close(NULL);
}

/* ---- broadcast, sums of doubles ---- */

static void broadcast_in_turn(struct comm *c, void *mine)
{
    int *x = mine;

    for (int root = 0; root < comm_size(c); root++) {
        x[root] = comm_rank(c) == root ? 100 + root : -1;
        comm_broadcast(c, root, &x[root], sizeof(x[root]));
    }
}

static void test_broadcast(void **state)
{
    (void)state;
    for (int n = 2; n <= RANKS_MAX; n++) {
        int x[RANKS_MAX][RANKS_MAX];
        run_ranks(n, x, sizeof(x[0]), broadcast_in_turn);
        for (int i = 0; i < n; i++)
            for (int root = 0; root < n; root++)
                assert_int_equal(x[i][root], 100 + root);
    }
}

static void sum_two(struct comm *c, void *mine)
{
    double *x = mine;

    x[0] = comm_rank(c) + 1;
    x[1] = 1e-17 * (comm_rank(c) + 1) + comm_rank(c) / 3.0;
    comm_sum(c, x, 2);
}

static void test_sum(void **state)
{
    (void)state;
    for (int n = 2; n <= RANKS_MAX; n++) {
        double x[RANKS_MAX][2];
        run_ranks(n, x, sizeof(x[0]), sum_two);
        for (int i = 0; i < n; i++) {
            assert_true(x[i][0] == n * (n + 1) / 2.0);
            assert_memory_equal(x[i], x[0], sizeof(x[0]));
        }
    }
}

/* ---- errors ---- */

static void fail_on_two(struct comm *c, void *mine)
{
    struct err *e = mine, none = {0};
    int rank = comm_rank(c), rc = 0;

    if (rank == 1 || rank == comm_size(c) - 1)
        rc = err_set(e, rank == 1 ? ERR_FULL : ERR_IO, "rank %d failed", rank);
    if (comm_agree(c, rc, e) != e->code)
        abort();
    if (comm_agree(c, 0, &none) != 0 || none.code != 0)
        abort();
}

static void test_an_error_of_one_is_that_of_all(void **state)
{
    (void)state;
    for (int n = 2; n <= RANKS_MAX; n++) {
        struct err *e = mem_alloc(RANKS_MAX * sizeof(*e));
        run_ranks(n, e, sizeof(*e), fail_on_two);
        for (int i = 0; i < n; i++) {
            assert_int_equal(e[i].code, ERR_FULL);
            assert_string_equal(e[i].text, "rank 1 failed");
        }
        free(e);
    }
}

/* ---- sums of arrays ---- */

enum { ARRAYS = 5, LONGEST = 1000, LENGTHS = 0 + 1 + 6 + 130 + LONGEST };
static const size_t lengths[ARRAYS] = {LONGEST, 0, 1, 6, 130};

static float value(int rank, size_t i)
{
    return (float)(rng_unit(1, RNG_TEST, (uint32_t)rank, (uint32_t)i, 0) - 0.5);
}

/* All arrays at once, then each by itself: the same bits. */
static void reduce_arrays(struct comm *c, void *mine)
{
    float *x = mine, *at = x;

    for (int pass = 0; pass < 2; pass++) {
        float *begin = at;
        for (size_t i = 0; i < LENGTHS; i++)
            begin[i] = value(comm_rank(c), i);
        for (int a = 0; a < ARRAYS; a++) {
            comm_reduce(c, at, lengths[a]);
            at += lengths[a];
            if (pass)
                comm_reduce_wait(c);
        }
        comm_reduce_wait(c);
    }
}

static void test_reduce(void **state)
{
    (void)state;
    for (int n = 2; n <= RANKS_MAX; n++) {
        float(*x)[2][LENGTHS] = mem_alloc(RANKS_MAX * sizeof(*x));
        run_ranks(n, x, sizeof(*x), reduce_arrays);
        for (size_t i = 0; i < LENGTHS; i++) {
            double sum = 0;
            for (int r = 0; r < n; r++)
                sum += (double)value(r, i);
            if (!(sum - (double)x[0][0][i] < 1e-6 && (double)x[0][0][i] - sum < 1e-6))
                fail_msg("%d ranks, element %zu: %g is not %g", n, i, (double)x[0][0][i],
                         sum);
        }
        for (int r = 0; r < n; r++)
            for (int pass = 0; pass < 2; pass++)
                assert_memory_equal(x[r][pass], x[0][0], sizeof(x[0][0]));
        free(x);
    }
}

/* ---- launched wrongly ---- */

static void nobody_is_lost(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "lost: %s\n", text ? text : "-");
    abort();
}

static void test_silent_singletons_are_refused(void **state)
{
    (void)state;
    struct comm *c;
    struct err e = {0};

    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    setenv("SLURM_PROCID", "3", 1);
    assert_int_equal(comm_open(&c, nobody_is_lost, NULL, &e), ERR_INVAL);
    assert_non_null(strstr(e.text, "4 tasks were started, but each finds 1 in all"));
    assert_non_null(strstr(e.text, "srun --mpi=pmix"));
    assert_null(c);
    assert_false(comm_speaks());
    setenv("SLURM_PROCID", "0", 1);
    assert_true(comm_speaks());
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    assert_int_equal(comm_open(&c, nobody_is_lost, NULL, &e), 0);
    assert_null(c);
    unsetenv("SLURM_STEP_NUM_TASKS");
    unsetenv("SLURM_PROCID");
    assert_true(comm_speaks());
}

int main(void)
{
    static const char *const launchers[] = {
        "SLURM_STEP_NUM_TASKS", "SLURM_PROCID",         "PMIX_RANK",
        "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_FD"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_is_alone),
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_an_error_of_one_is_that_of_all),
        cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_silent_singletons_are_refused),
    };

    for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++)
        unsetenv(launchers[i]);
    return cmocka_run_group_tests_name("comm", tests, NULL, NULL);
}
