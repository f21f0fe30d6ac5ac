#include "worker/agent/ranks.h"

#include "base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/rung-ranks-test-XXXXXX";
static char prefix[64];

static void put(const struct shim_report *r, size_t bytes)
{
    int fd = ranks_open(prefix, r->rank, NULL);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, r, bytes), bytes);
    close(fd);
}

static void put_all(const struct shim_report *r)
{
    put(r, sizeof(*r));
}

static void nothing_there(void **state)
{
    struct ranks all;
    struct err e;
    (void)state;
    assert_int_equal(ranks_open("/nonexistent/x", 0, &e), ERR_NOENT);
    assert_int_equal(ranks_collect("/nonexistent/x", &all, &e), ERR_NOENT);
    assert_int_equal(ranks_collect(prefix, &all, &e), 0);
    assert_int_equal(all.launched, 0);
    assert_int_equal(all.reported, 0);
}

static void all_well(void **state)
{
    struct ranks all;
    (void)state;
    for (int i = 0; i < 12; i++)
        put_all(&(struct shim_report){.rank = i, .cpu_seconds = 1, .max_rss = 100 + i});
    assert_int_equal(ranks_collect(prefix, &all, NULL), 0);
    assert_int_equal(all.launched, 12);
    assert_int_equal(all.reported, 12);
    assert_int_equal(all.report.exit_code, 0);
    assert_int_equal(all.report.rank, 0);
    assert_true(all.report.cpu_seconds == 12);
    assert_true(all.report.max_rss == 111);
    assert_int_equal(ranks_collect(prefix, &all, NULL), 0);
    assert_int_equal(all.launched, 0); /* they were removed */
}

/* Rank 3 failed, srun ended the others, and rank 5's node is gone. */
static void one_is_to_blame(void **state)
{
    static const struct {
        struct shim_report worst;
        int blame;
    } cases[] = {
        {{.rank = 3, .exit_code = 7}, 3},
        {{.rank = 3, .exit_code = -1, .signal = SIGSEGV}, 3},
        {{.rank = 3, .exit_code = -1, .signal = SIGTERM}, 3}, /* its own, not srun's */
        {{.rank = 3, .exit_code = -1, .signal = SIGKILL}, 3},
        {{.rank = 3, .exit_code = -1, .signal = SIGKILL, .oom = 1}, 3},
        {{.rank = 3, .exit_code = -1, .exec_errno = ENOENT}, 3},
        {{.rank = 3, .exit_code = 0}, 0}, /* the signal came from outside */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ranks all;
        put_all(&cases[i].worst);
        put_all(&(struct shim_report){
            .rank = 0, .exit_code = -1, .signal = SIGTERM, .evicted = 1});
        put_all(&(struct shim_report){
            .rank = 1, .exit_code = -1, .signal = SIGTERM, .evicted = 1, .strays = 2});
        put(&(struct shim_report){.rank = 5}, 0);
        assert_int_equal(ranks_collect(prefix, &all, NULL), 0);
        assert_int_equal(all.launched, 4);
        assert_int_equal(all.reported, 3);
        assert_int_equal(all.report.rank, cases[i].blame);
        assert_int_equal(all.report.oom, cases[i].worst.oom);
        assert_int_equal(all.report.strays, 2);
        assert_int_equal(all.report.evicted, cases[i].blame == 0);
        if (cases[i].blame == 3) {
            assert_int_equal(all.report.exit_code, cases[i].worst.exit_code);
            assert_int_equal(all.report.signal, cases[i].worst.signal);
            assert_int_equal(all.report.exec_errno, cases[i].worst.exec_errno);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(all_well),
        cmocka_unit_test(one_is_to_blame),
    };
    if (!mkdtemp(dir))
        return 1;
    snprintf(prefix, sizeof(prefix), "%s/.exec", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dir_remove(dir, NULL);
    return failed;
}
