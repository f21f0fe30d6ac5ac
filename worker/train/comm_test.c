/* Ranks as threads, for what they do together, over each transport that there is without
 * a launcher. tests/ranks.t and tests/cluster_ranks.t have them as processes. */
#include "worker/train/comm.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/comm_tcp.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
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

static void nobody_is_lost(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "lost: %s\n", text ? text : "-");
    abort();
}

struct tcp_rank {
    struct rank *rank;
    int number, size, listening;
    const struct tcp_address *all;
};

static void *start_tcp(void *arg)
{
    struct tcp_rank *r = arg;
    struct transport *t;
    struct err e = {0};

    if (transport_tcp(&t, r->number, r->size, r->listening, r->all, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    r->rank->comm = comm_over(t, nobody_is_lost, NULL);
    return start(r->rank);
}

/* Ranks that find each other over TCP. */
static void run_tcp(int n, struct rank *ranks)
{
    struct tcp_address all[RANKS_MAX];
    struct tcp_rank tcp[RANKS_MAX];
    struct err e = {0};

    for (int i = 0; i < n; i++) {
        tcp[i] = (struct tcp_rank){&ranks[i], i, n, -1, all};
        assert_int_equal(tcp_listen(&all[i], &tcp[i].listening, &e), 0);
    }
    for (int i = 0; i < n; i++)
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, start_tcp, &tcp[i]), 0);
    for (int i = 0; i < n; i++)
        pthread_join(ranks[i].thread, NULL);
}

static void run_threads(int n, struct rank *ranks)
{
    struct comm *comms[RANKS_MAX];

    comm_threads(n, comms);
    for (int i = 0; i < n; i++) {
        ranks[i].comm = comms[i];
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, start, &ranks[i]), 0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(ranks[i].thread, NULL);
}

/* Runs body() on n ranks; each has `bytes` of its own, in `all` behind each other. *state
 * says over what. */
static void run_ranks(void **state, int n, void *all, size_t bytes,
                      void (*body)(struct comm *c, void *mine))
{
    struct rank ranks[RANKS_MAX];

    for (int i = 0; i < n; i++)
        ranks[i] = (struct rank){.body = body, .mine = (char *)all + (size_t)i * bytes};
    (*state ? run_tcp : run_threads)(n, ranks);
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
    comm_at_loss(NULL, NULL, NULL);
    comm_wait_lost(NULL);
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
    for (int n = 2; n <= RANKS_MAX; n++) {
        int x[RANKS_MAX][RANKS_MAX];
        run_ranks(state, n, x, sizeof(x[0]), broadcast_in_turn);
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
    for (int n = 2; n <= RANKS_MAX; n++) {
        double x[RANKS_MAX][2];
        run_ranks(state, n, x, sizeof(x[0]), sum_two);
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
    for (int n = 2; n <= RANKS_MAX; n++) {
        struct err *e = mem_alloc(RANKS_MAX * sizeof(*e));
        run_ranks(state, n, e, sizeof(*e), fail_on_two);
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
            else
                comm_progress(c);
        }
        comm_reduce_wait(c);
    }
}

static void test_reduce(void **state)
{
    for (int n = 2; n <= RANKS_MAX; n++) {
        float(*x)[2][LENGTHS] = mem_alloc(RANKS_MAX * sizeof(*x));
        run_ranks(state, n, x, sizeof(*x), reduce_arrays);
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

/* ---- over TCP: what may go wrong ---- */

enum { MILLIONS = 4 << 20 }; /* more than sockets hold */

struct busy {
    float *x;
    sem_t *whole; /* rank 1 has the sum */
};

/* Rank 0 does not look after its sum while the other waits for it. */
static void reduce_while_busy(struct comm *c, void *mine)
{
    struct busy *b = mine;
    struct timespec end;

    for (size_t i = 0; i < MILLIONS; i++)
        b->x[i] = value(comm_rank(c), i);
    comm_reduce(c, b->x, MILLIONS);
    comm_progress(c);
    if (comm_rank(c) == 0) {
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += 60;
        if (sem_timedwait(b->whole, &end) < 0) {
            fprintf(stderr, "nobody takes the sum on\n");
            abort();
        }
    }
    comm_reduce_wait(c);
    if (comm_rank(c) == 1)
        sem_post(b->whole);
}

static void test_sums_go_on_while_a_rank_is_busy(void **state)
{
    struct busy b[2];
    sem_t whole;

    assert_int_equal(sem_init(&whole, 0, 0), 0);
    for (int i = 0; i < 2; i++)
        b[i] = (struct busy){mem_alloc(MILLIONS * sizeof(float)), &whole};
    run_ranks(state, 2, b, sizeof(b[0]), reduce_while_busy);
    for (size_t i = 0; i < MILLIONS; i++)
        for (int r = 0; r < 2; r++)
            if (b[r].x[i] != value(0, i) + value(1, i))
                fail_msg("rank %d, number %zu", r, i);
    for (int i = 0; i < 2; i++)
        free(b[i].x);
    sem_destroy(&whole);
}

static int listens(struct tcp_address *a)
{
    struct err e = {0};
    int fd;

    assert_int_equal(tcp_listen(a, &fd, &e), 0);
    return fd;
}

struct opening {
    int rank, listening, rc;
    struct tcp_address *all;
    struct transport *t;
    struct err e;
};

static void *open_one(void *arg)
{
    struct opening *o = arg;

    o->rc = transport_tcp(&o->t, o->rank, 2, o->listening, o->all, &o->e);
    return NULL;
}

/* Two ranks meet, while a stranger, who does not know the token, tries to be one. */
static void meet_two(struct transport *t[2])
{
    struct tcp_address all[2], forged;
    struct opening o[2] = {{.rank = 0, .all = all}, {.rank = 1, .all = all}};
    pthread_t threads[2];
    int32_t one = 1;
    int fd;
    struct err e = {0};

    for (int i = 0; i < 2; i++)
        o[i].listening = listens(&all[i]);
    forged = all[0];
    forged.token[0] ^= 1;
    assert_int_equal(pthread_create(&threads[0], NULL, open_one, &o[0]), 0);
    assert_true(tcp_connect(&forged, &one, sizeof(one), &fd, &e) < 0);
    assert_non_null(strstr(e.text, "no way to port"));
    assert_int_equal(pthread_create(&threads[1], NULL, open_one, &o[1]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(o[i].rc, 0);
        t[i] = o[i].t;
    }
}

static void test_a_stranger_is_no_rank(void **state)
{
    (void)state;
    struct transport *t[2];
    struct err e = {0};
    char sent = 'x', got = 0;
    int rc = 0;

    meet_two(t);
    assert_int_equal(t[1]->ops->send(t[1], 0, &sent, 1, &e), 0);
    assert_int_equal(t[1]->ops->test(t[1], &e), 1);
    assert_int_equal(t[0]->ops->receive(t[0], 1, &got, 1, &e), 0);
    while (rc == 0)
        rc = t[0]->ops->test(t[0], &e);
    assert_int_equal(rc, 1);
    assert_int_equal(got, 'x');
    t[0]->ops->close(t[0]);
    t[1]->ops->close(t[1]);
}

static void test_a_peer_that_has_gone_is_an_error(void **state)
{
    (void)state;
    struct transport *t[2];
    struct err e = {0};
    char got[100];
    int rc = 0;

    meet_two(t);
    assert_int_equal(t[1]->ops->send(t[1], 0, "half of it", 10, &e), 0);
    assert_int_equal(t[1]->ops->test(t[1], &e), 1);
    t[1]->ops->close(t[1]);
    assert_int_equal(t[0]->ops->receive(t[0], 1, got, sizeof(got), &e), 0);
    while (rc == 0)
        rc = t[0]->ops->test(t[0], &e);
    assert_int_equal(rc, ERR_IO);
    assert_string_equal(e.text, "rank 1 has closed its connection");
    t[0]->ops->close(t[0]);
}

enum { ACTED = 1, ENDED = 2 }; /* of a process that lost a rank, together its status */

static void act(void *arg)
{
    *(int *)arg |= ACTED;
}

static void end(void *arg, const char *text)
{
    if (strcmp(text, "rank 1 has closed its connection") == 0)
        *(int *)arg |= ENDED;
    _exit(*(int *)arg);
}

/* In a process of its own rank 0 waits for rank 1, which is gone. */
static int status_of_who_loses(bool acts)
{
    struct transport *t[2];
    int status = 0;
    pid_t child;

    meet_two(t);
    t[1]->ops->close(t[1]);
    child = fork();
    if (child == 0) {
        struct comm *c = comm_over(t[0], end, &status);
        char got;
        comm_at_loss(c, act, &status);
        if (!acts)
            comm_at_loss(c, NULL, NULL);
        comm_receive(c, 1, &got, 1);
        abort();
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    t[0]->ops->close(t[0]);
    return WEXITSTATUS(status);
}

static void test_at_a_loss_something_may_be_done_first(void **state)
{
    (void)state;
    assert_int_equal(status_of_who_loses(true), ACTED | ENDED);
    assert_int_equal(status_of_who_loses(false), ENDED);
}

/* ---- launched wrongly ---- */

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

#define OVER_TCP(test)                                                                   \
    {                                                                                    \
#test "_over_tcp", test, NULL, NULL, tcp                                         \
    }

int main(void)
{
    static const char *const launchers[] = {
        "SLURM_STEP_NUM_TASKS", "SLURM_PROCID",         "PMIX_RANK",
        "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_FD"};
    static char tcp[] = "over TCP";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_is_alone),
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_an_error_of_one_is_that_of_all),
        cmocka_unit_test(test_reduce),
        OVER_TCP(test_broadcast),
        OVER_TCP(test_sum),
        OVER_TCP(test_an_error_of_one_is_that_of_all),
        OVER_TCP(test_reduce),
        OVER_TCP(test_sums_go_on_while_a_rank_is_busy),
        cmocka_unit_test(test_a_stranger_is_no_rank),
        cmocka_unit_test(test_a_peer_that_has_gone_is_an_error),
        cmocka_unit_test(test_at_a_loss_something_may_be_done_first),
        cmocka_unit_test(test_silent_singletons_are_refused),
    };

    for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++)
        unsetenv(launchers[i]);
    return cmocka_run_group_tests_name("comm", tests, NULL, NULL);
}
