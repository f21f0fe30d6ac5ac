/* How ranks come to exchange, and what they say where devices cannot by themselves; what
 * they then exchange is in parallel_test.c. Ranks are threads, devices CPUs that pretend
 * (grouped.h). */
#include "worker/train/exchange.h"

#include "worker/train/cpu.h"
#include "worker/train/grouped.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { RANKS = 3, COUNT = 10 };

/* What goes wrong with rank 1, and what has been called. */
enum trouble { NONE, MISSING, OTHER, NO_ID, LATE };
static _Thread_local enum trouble trouble;
static _Thread_local int joined, abandoned, left;

static int find(struct device *d, char *name, size_t size, struct err *e)
{
    if (trouble == MISSING)
        return err_set(e, ERR_UNSUPPORTED, "NCCL does not open");
    grouped_ops.find(d, name, size, e);
    if (trouble == OTHER)
        snprintf(name, size, "a guest");
    return 0;
}

static int make_id(struct device *d, struct device_group_id *id, struct err *e)
{
    return trouble == NO_ID ? err_set(e, ERR_IO, "it does not begin")
                            : grouped_ops.make_id(d, id, e);
}

static int join(struct device *d, const struct device_group *g, struct err *e)
{
    (void)d;
    if (strcmp(g->id.bytes, "the id") != 0) /* rank 0's */
        abort();
    if (trouble == LATE)
        return err_set(e, ERR_TIMEOUT, "not all came within %g s", g->seconds);
    joined++;
    return 0;
}

static void leave(struct device *d)
{
    (void)d;
    left++;
}

static void abandon(struct device *d)
{
    (void)d;
    abandoned++;
}

/* ---- ranks ---- */

struct rank {
    const char *kind;
    enum trouble trouble;
    struct comm *comm;
    int rc;
    struct err e;
    struct str notes;
    float gradients[COUNT];
    float weight;
    int joined, abandoned, left;
    pthread_t thread;
};

static void lost(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
    _exit(9);
}

static void *run_rank(void *arg)
{
    struct rank *r = arg;
    struct device *d = cpu_open(1);
    struct device_group_ops group = grouped_ops;
    struct device_ops ops;
    struct exchange *x;

    group.find = find;
    group.make_id = make_id;
    group.join = join;
    group.leave = leave;
    group.abandon = abandon;
    trouble = r->trouble;
    grouped_make(d, &ops, &group, r->comm);
    const struct exchange_config config = {.kind = r->kind,
                                           .comm = r->comm,
                                           .device = d,
                                           .gradients = r->gradients,
                                           .n = COUNT,
                                           .seconds = 7,
                                           .lost = lost,
                                           .notes = &r->notes};
    r->rc = exchange_open(&x, &config, &r->e);
    if (r->rc == 0) {
        r->weight = exchange_weight(x);
        for (int i = 0; i < COUNT; i++)
            r->gradients[i] = r->weight * (float)((comm_rank(r->comm) + 1) * i);
        exchange_reduce(x, 3, COUNT);
        exchange_reduce(x, 0, 3);
        exchange_progress(x);
        exchange_reduce_wait(x);
        exchange_close(x);
    }
    r->joined = joined;
    r->abandoned = abandoned;
    r->left = left;
    comm_close(r->comm);
    device_close(d);
    return NULL;
}

static void run(struct rank ranks[], int n, const char *kind, int who, enum trouble t)
{
    struct comm *comms[RANKS] = {NULL};

    if (n > 1)
        comm_threads(n, comms);
    for (int i = 0; i < n; i++) {
        ranks[i] = (struct rank){.kind = kind,
                                 .trouble = i == who ? t : NONE,
                                 .comm = comms[i],
                                 .notes = STR_INIT};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]), 0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(ranks[i].thread, NULL);
}

static void done(struct rank ranks[], int n)
{
    for (int i = 0; i < n; i++)
        str_free(&ranks[i].notes);
}

/* Whatever way it went, it is the sum; and whoever joined has left. */
static void assert_exchanged(const struct rank ranks[], int n, const char *notes,
                             float weight)
{
    int sum = n * (n + 1) / 2;

    for (int r = 0; r < n; r++) {
        assert_int_equal(ranks[r].rc, 0);
        assert_string_equal(ranks[r].notes.p, notes);
        assert_true(ranks[r].weight == weight);
        assert_true(ranks[r].left >= ranks[r].joined);
        for (int i = 0; i < COUNT; i++)
            assert_true(ranks[r].gradients[i] == (float)(sum * i));
    }
}

static void test_devices_exchange_where_they_can(void **state)
{
    static const char by_devices[] =
        "what ranks exchange goes from device to device, by the host\n";
    struct rank ranks[RANKS];

    (void)state;
    run(ranks, RANKS, "auto", -1, NONE);
    assert_exchanged(ranks, RANKS, by_devices, RANKS);
    done(ranks, RANKS);
    run(ranks, RANKS, "nccl", -1, NONE);
    assert_exchanged(ranks, RANKS, by_devices, RANKS);
    done(ranks, RANKS);
    run(ranks, RANKS, "host", -1, NONE);
    assert_exchanged(ranks, RANKS, "", 1);
    done(ranks, RANKS);
    /* One alone does so only if it is asked to. */
    run(ranks, 1, "auto", -1, NONE);
    assert_exchanged(ranks, 1, "", 1);
    done(ranks, 1);
    run(ranks, 1, "nccl", -1, NONE);
    assert_exchanged(ranks, 1, by_devices, 1);
    assert_int_equal(ranks[0].joined, 1);
    done(ranks, 1);
}

static const struct {
    int who;
    enum trouble trouble;
    int code;
    const char *says;
} troubles[] = {
    {1, MISSING, ERR_UNSUPPORTED, "NCCL does not open"},
    {1, OTHER, ERR_UNSUPPORTED, "rank 0 has the host, and rank 1 has a guest"},
    {0, NO_ID, ERR_IO, "it does not begin"},
    {1, LATE, ERR_TIMEOUT, "not all came within 7 s"},
};

static void test_else_all_go_through_the_host_and_say_why(void **state)
{
    struct rank ranks[RANKS];

    (void)state;
    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        char notes[200];
        snprintf(notes, sizeof(notes),
                 "what ranks exchange goes through the host's memory: %s\n",
                 troubles[i].says);
        run(ranks, RANKS, "auto", troubles[i].who, troubles[i].trouble);
        assert_exchanged(ranks, RANKS, notes, 1);
        for (int r = 0; r < RANKS; r++) /* who has joined alone gives it up */
            assert_int_equal(ranks[r].abandoned, ranks[r].joined);
        done(ranks, RANKS);
    }
}

static void test_or_are_refused(void **state)
{
    struct rank ranks[RANKS];

    (void)state;
    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        char text[200];
        snprintf(text, sizeof(text), "--exchange nccl: %s", troubles[i].says);
        run(ranks, RANKS, "nccl", troubles[i].who, troubles[i].trouble);
        for (int r = 0; r < RANKS; r++) {
            assert_int_equal(ranks[r].rc, troubles[i].code);
            assert_string_equal(ranks[r].e.text, text);
            assert_int_equal(ranks[r].abandoned, ranks[r].joined);
        }
        done(ranks, RANKS);
    }
}

static void test_cpus_have_no_nccl(void **state)
{
    struct device *d = cpu_open(1);
    struct exchange *x;
    struct err e;

    (void)state;
    assert_int_equal(
        exchange_open(&x, &(struct exchange_config){.kind = "nccl", .device = d}, &e),
        ERR_UNSUPPORTED);
    assert_string_equal(e.text,
                        "--exchange nccl: NCCL is for GPUs, and there is none here");
    assert_int_equal(
        exchange_open(&x, &(struct exchange_config){.kind = "auto", .device = d}, &e), 0);
    exchange_close(x);
    device_close(d);
}

/* ---- ends ---- */

/* The callback that join() was given. */
static struct device_group given;

static int join_and_keep(struct device *d, const struct device_group *g, struct err *e)
{
    (void)d, (void)e;
    given = *g;
    return 0;
}

static void say_abandoned(struct device *d)
{
    (void)d;
    fputs("given up\n", stderr);
}

/* Of one rank in a process of its own: its exit status, and what it says. */
static int end_of(void (*body)(struct exchange *x), char *said, size_t size)
{
    struct device *d = cpu_open(1);
    struct device_group_ops group = grouped_ops;
    struct device_ops ops;
    struct exchange *x;
    int says[2], status;

    group.join = join_and_keep;
    group.abandon = say_abandoned;
    grouped_make(d, &ops, &group, NULL);
    assert_int_equal(
        exchange_open(
            &x, &(struct exchange_config){.kind = "nccl", .device = d, .lost = lost},
            NULL),
        0);
    assert_int_equal(pipe(says), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(says[1], STDERR_FILENO);
        body(x);
        _exit(0);
    }
    close(says[1]);
    ssize_t n, all = 0;
    while ((n = read(says[0], said + all, size - 1 - (size_t)all)) > 0)
        all += n;
    said[all] = '\0';
    close(says[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    exchange_close(x);
    device_close(d);
    return WEXITSTATUS(status);
}

static void break_it(struct exchange *x)
{
    (void)x;
    given.broken(given.arg, "an NVLink has failed");
}

static void agree(struct exchange *x, int rc, struct err e)
{
    if (exchange_agree(x, rc, &e) != rc)
        abort();
}

static void agree_on_a_failure(struct exchange *x)
{
    struct err e;

    agree(x, err_set(&e, ERR_IO, "the GPU has failed"), e);
}

static void agree_on_all_else(struct exchange *x)
{
    struct err e = {0};

    agree(x, 0, e);
    agree(x, err_set(&e, ERR_FULL, "no memory"), e);
}

static void test_a_group_that_breaks_ends_the_process(void **state)
{
    char said[200];

    (void)state;
    assert_int_equal(end_of(break_it, said, sizeof(said)), 9);
    assert_string_equal(said, "an NVLink has failed\n");
    assert_int_equal(end_of(agree_on_a_failure, said, sizeof(said)), 9);
    assert_string_equal(said, "given up\nthe GPU has failed\n");
    assert_int_equal(end_of(agree_on_all_else, said, sizeof(said)), 0);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_exchange_where_they_can),
        cmocka_unit_test(test_else_all_go_through_the_host_and_say_why),
        cmocka_unit_test(test_or_are_refused),
        cmocka_unit_test(test_cpus_have_no_nccl),
        cmocka_unit_test(test_a_group_that_breaks_ends_the_process),
    };

    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
