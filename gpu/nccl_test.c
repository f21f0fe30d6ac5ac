/* The communicator, over a library of our own in NCCL's place (tests/nccl.c): ranks are
 * threads, and arrays are the host's. */
#include "gpu/nccl.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { RANKS_MAX = 5, COUNT = 100 };

static int (*left)(void); /* communicators that nobody ended */

static void wrong(const char *what)
{
    assert_int_equal(setenv("FAKE_NCCL", what, 1), 0);
}

/* ---- the library ---- */

/* Before ours is loaded. */
static void test_no_library(void **state)
{
    void *real = dlopen("libnccl.so.2", RTLD_LAZY);
    struct nccl *n;
    struct err e = {0};

    (void)state;
    if (real) {
        dlclose(real);
        skip();
    }
    assert_int_equal(nccl_open(&n, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "NCCL does not open: libnccl.so.2: "));
    nccl_close(NULL);
}

/* The loader then finds it by its name. */
static void test_load(void **state)
{
    const char *top = getenv("top_builddir");
    char library[4096];

    (void)state;
    snprintf(library, sizeof(library), "%s/tests/nvml/libnccl.so.2", top ? top : ".");
    void *ours = dlopen(library, RTLD_NOW);
    assert_non_null(ours);
    *(void **)&left = dlsym(ours, "fake_nccl_left");
    assert_non_null(left);
}

static void test_versions(void **state)
{
    (void)state;
    struct nccl *n;
    struct err e;

    wrong("old");
    assert_int_equal(nccl_open(&n, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "NCCL 2.18 is too old: it takes 2.19"));
    wrong("");
    assert_int_equal(nccl_open(&n, &e), 0);
    assert_int_equal(nccl_version(n), 29901);
    nccl_close(n);
}

/* ---- ranks ---- */

struct rank {
    struct device_group group;
    struct nccl *nccl;
    void (*body)(struct rank *r);
    int rc; /* of joining */
    struct err e;
    float x[COUNT], y[COUNT];
    double seconds;
    sem_t broke; /* posted when it is told that it has broken */
    char why[256];
    pthread_t thread;
};

static void note_broken(void *arg, const char *text)
{
    struct rank *r = arg;

    snprintf(r->why, sizeof(r->why), "%s", text);
    sem_post(&r->broke);
}

static void *run_rank(void *arg)
{
    struct rank *r = arg;

    if (nccl_open(&r->nccl, &r->e) < 0)
        abort();
    double begun = clock_mono();
    r->rc = nccl_join(r->nccl, &r->group, &r->e);
    r->seconds = clock_mono() - begun;
    if (r->rc == 0)
        r->body(r);
    nccl_close(r->nccl);
    return NULL;
}

static void start(struct rank *r, int rank, int size, const struct device_group_id *id,
                  double seconds, void (*body)(struct rank *r))
{
    *r = (struct rank){.group = {rank, size, *id, seconds, note_broken, r}, .body = body};
    sem_init(&r->broke, 0, 0);
    for (int i = 0; i < COUNT; i++)
        r->x[i] = (float)(i + 1000 * rank);
    assert_int_equal(pthread_create(&r->thread, NULL, run_rank, r), 0);
}

static struct device_group_id new_id(void)
{
    struct device_group_id id;
    struct nccl *n;

    assert_int_equal(nccl_open(&n, NULL), 0);
    assert_int_equal(nccl_make_id(n, &id, NULL), 0);
    nccl_close(n);
    return id;
}

/* So many of n ranks. */
static void run_some(struct rank ranks[], int some, int n, double seconds,
                     void (*body)(struct rank *r))
{
    struct device_group_id id = new_id();

    for (int r = 0; r < some; r++)
        start(&ranks[r], r, n, &id, seconds, body);
    for (int r = 0; r < some; r++)
        pthread_join(ranks[r].thread, NULL);
    assert_int_equal(left(), 0);
}

static void run(struct rank ranks[], int n, void (*body)(struct rank *r))
{
    run_some(ranks, n, n, 60, body);
}

/* ---- exchange ---- */

static void mean_twice(struct rank *r)
{
    for (int i = 0; i < 2; i++)
        if (nccl_mean(r->nccl, r->x, COUNT, NULL, &r->e) < 0)
            abort();
}

static void test_means(void **state)
{
    struct rank ranks[RANKS_MAX];

    (void)state;
    wrong("");
    for (int n = 1; n <= RANKS_MAX; n++) {
        run(ranks, n, mean_twice);
        for (int r = 0; r < n; r++)
            for (int i = 0; i < COUNT; i++)
                assert_true(ranks[r].x[i] == (float)i + 500.0f * (float)(n - 1));
    }
}

/* Each to the next, round and round: nobody could receive before it has sent. */
static void pass_round(struct rank *r)
{
    int n = r->group.size, rank = r->group.rank;

    for (int i = 0; i < n; i++) {
        const struct nccl_message out = {(rank + 1) % n, r->x, COUNT},
                                  in = {(rank + n - 1) % n, r->y, COUNT};
        if (nccl_exchange(r->nccl, &out, &in, NULL, &r->e) < 0)
            abort();
        memcpy(r->x, r->y, sizeof(r->x));
    }
}

/* And in a row: the first only sends, and the last only receives. */
static void pass_on(struct rank *r)
{
    int rank = r->group.rank;
    const struct nccl_message out = {rank + 1, r->x, COUNT}, in = {rank - 1, r->x, COUNT};

    if (rank > 0 && nccl_exchange(r->nccl, NULL, &in, NULL, &r->e) < 0)
        abort();
    if (rank + 1 < r->group.size && nccl_exchange(r->nccl, &out, NULL, NULL, &r->e) < 0)
        abort();
}

static void test_messages(void **state)
{
    struct rank ranks[RANKS_MAX];

    (void)state;
    wrong("");
    for (int n = 1; n <= RANKS_MAX; n++) {
        run(ranks, n, pass_round);
        for (int r = 0; r < n; r++)
            assert_true(ranks[r].x[7] == (float)(7 + 1000 * r));
        run(ranks, n, pass_on);
        for (int r = 0; r < n; r++)
            assert_true(ranks[r].x[7] == 7);
    }
}

/* ---- failures ---- */

static void test_who_does_not_come_is_not_waited_for(void **state)
{
    struct rank ranks[2];

    (void)state;
    wrong("");
    run_some(ranks, 2, 3, 0.3, mean_twice);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].rc, ERR_TIMEOUT);
        assert_string_equal(ranks[r].e.text,
                            "NCCL, coming together: not all ranks came within 0.3 s");
        assert_true(ranks[r].seconds >= 0.3 && ranks[r].seconds < 10);
    }
}

static void test_codes_of_the_beginning(void **state)
{
    static const struct {
        const char *wrong, *says;
    } cases[] = {
        {"refuse=1", "a call of CUDA's fails"},
        {"refuse=5", "two ranks may share a GPU"},
        {"refuse=5", "NCCL_SOCKET_IFNAME names what is no interface"},
        {"init=2", "NCCL_SOCKET_IFNAME"},
        {"init=3", "it fails inside: NCCL version 2.99.1+cuda13.0 (NCCL_DEBUG=WARN"},
        {"init=4", "it refuses"},
        {"init=6", "another rank has ended"},
    };
    struct rank ranks[2];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wrong(cases[i].wrong);
        run(ranks, 2, mean_twice);
        for (int r = 0; r < 2; r++) {
            assert_int_equal(ranks[r].rc, ERR_IO);
            if (!strstr(ranks[r].e.text, cases[i].says))
                fail_msg("%s: %s", cases[i].wrong, ranks[r].e.text);
        }
    }
}

/* The first is well, and then nothing is. */
static void mean_until_broken(struct rank *r)
{
    if (nccl_mean(r->nccl, r->x, COUNT, NULL, &r->e) < 0 ||
        nccl_check(r->nccl, &r->e) < 0)
        abort();
    r->rc = nccl_mean(r->nccl, r->x, COUNT, NULL, &r->e);
    sem_wait(&r->broke); /* it is told by a thread, too */
    r->e.text[0] = '\0';
    if (nccl_check(r->nccl, &r->e) != r->rc)
        abort();
    if (nccl_mean(r->nccl, r->x, COUNT, NULL, NULL) != r->rc ||
        nccl_exchange(r->nccl, NULL, &(struct nccl_message){0, r->y, COUNT}, NULL,
                      NULL) != r->rc)
        abort();
}

static void test_an_error_on_the_way_aborts(void **state)
{
    static const char says[] = "NCCL, exchanging: another rank has ended, or the network "
                               "to it fails: NCCL version";
    struct rank ranks[3];

    (void)state;
    wrong("break=2=6");
    run(ranks, 3, mean_until_broken);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(ranks[r].rc, ERR_IO);
        assert_int_equal(strncmp(ranks[r].why, says, strlen(says)), 0);
        assert_int_equal(strncmp(ranks[r].e.text, says, strlen(says)), 0);
    }
}

/* An error is seen while nothing is asked of it: by who waits for a GPU. */
static void wait_until_broken(struct rank *r)
{
    nccl_mean(r->nccl, r->x, COUNT, NULL, &r->e);
    sem_wait(&r->broke);
    if (nccl_check(r->nccl, &r->e) != ERR_IO)
        abort();
}

static void test_an_error_is_seen_by_itself(void **state)
{
    struct rank ranks[2];

    (void)state;
    wrong("break=1=3");
    run(ranks, 2, wait_until_broken);
    for (int r = 0; r < 2; r++)
        assert_non_null(strstr(ranks[r].why, "it fails inside"));
}

static void *abandon(void *arg)
{
    struct rank *r = arg;
    double begun = clock_mono();

    nanosleep(&(struct timespec){0, 200000000}, NULL);
    nccl_abandon(r->nccl);
    r->seconds = clock_mono() - begun;
    return NULL;
}

/* A rank is dead, as somebody else finds out, while this one waits for it. */
static void wait_for_the_dead(struct rank *r)
{
    pthread_t other;

    if (pthread_create(&other, NULL, abandon, r) != 0)
        abort();
    r->rc = nccl_mean(r->nccl, r->x, COUNT, NULL, &r->e);
    pthread_join(other, NULL);
    nccl_abandon(r->nccl); /* once more is no harm */
}

static void test_what_waits_for_the_dead_is_given_up(void **state)
{
    struct rank ranks[2];

    (void)state;
    wrong("stuck=1");
    run(ranks, 2, wait_for_the_dead);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(ranks[r].rc, ERR_IO);
        assert_string_equal(ranks[r].e.text, "what ranks exchange was given up");
        assert_string_equal(ranks[r].why, ""); /* who has done so knows */
        assert_true(ranks[r].seconds < 4);
    }
}

/* NCCL waits for all ranks to abort, and some cannot any more. */
static void test_an_abort_that_hangs_is_not_waited_for(void **state)
{
    struct rank ranks[2];
    struct device_group_id id = new_id();

    (void)state;
    wrong("break=2=6 hang");
    for (int r = 0; r < 2; r++)
        start(&ranks[r], r, 2, &id, 60, mean_until_broken);
    for (int r = 0; r < 2; r++) {
        pthread_join(ranks[r].thread, NULL);
        assert_int_equal(ranks[r].rc, ERR_IO);
        assert_non_null(strstr(ranks[r].why, "another rank has ended"));
    }
    assert_int_equal(left(), 2);
    wrong("");
    for (int i = 0; i < 1000 && left(); i++) /* it has ended late, but well */
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_int_equal(left(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_library),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_who_does_not_come_is_not_waited_for),
        cmocka_unit_test(test_codes_of_the_beginning),
        cmocka_unit_test(test_an_error_on_the_way_aborts),
        cmocka_unit_test(test_an_error_is_seen_by_itself),
        cmocka_unit_test(test_what_waits_for_the_dead_is_given_up),
        cmocka_unit_test(test_an_abort_that_hangs_is_not_waited_for),
    };

    return cmocka_run_group_tests_name("nccl", tests, NULL, NULL);
}
