#include "worker/agent/attempt_dir.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char sweep[] = "/tmp/rung-attempt-dir-test-XXXXXX";

static bool there(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool there(const char *fmt, ...)
{
    char path[500];
    size_t n = (size_t)snprintf(path, sizeof(path), "%s/", sweep);
    va_list args;
    va_start(args, fmt);
    vsnprintf(path + n, sizeof(path) - n, fmt, args);
    va_end(args);
    return access(path, F_OK) == 0;
}

static void cannot_make(void **state)
{
    struct str path = STR_INIT;
    struct err e;
    (void)state;
    assert_true(attempt_dir_take("/proc/nowhere", 1, 1, &path, &e) < 0);
    assert_true(attempt_log_open("/nonexistent", 1, &e) == ERR_NOENT);
    str_free(&path);
}

static void moves_along(void **state)
{
    struct str path = STR_INIT;
    char wanted[200];
    (void)state;
    assert_int_equal(attempt_dir_take(sweep, 12, 1, &path, NULL), 0);
    snprintf(wanted, sizeof(wanted), "%s/trials/000012/a01", sweep);
    assert_string_equal(path.p, wanted);
    int old = attempt_log_open(path.p, 1, NULL);
    assert_true(old > 0);
    assert_int_equal(attempt_dir_take(sweep, 12, 3, &path, NULL), 0);
    assert_false(there("trials/000012/a01"));
    close(attempt_log_open(path.p, 3, NULL));
    assert_true(there("trials/000012/a03/attempt-01.log"));
    assert_true(there("trials/000012/a03/attempt-03.log"));
    assert_int_equal(write(old, "late", 4), 4); /* by a process that was superseded */
    close(old);

    /* Again the same (the agent was restarted), and one that comes too late. */
    struct err e;
    assert_int_equal(attempt_dir_take(sweep, 12, 3, &path, NULL), 0);
    assert_int_equal(attempt_dir_take(sweep, 12, 2, &path, &e), ERR_FENCED);
    assert_string_equal(e.text, "attempt 3 has the directory already");
    assert_true(there("trials/000012/a03"));
    assert_false(there("trials/000012/a02"));
    str_free(&path);
}

/* Numbers are compared as numbers, and what else lies there is left alone. */
static void many_attempts(void **state)
{
    struct str path = STR_INIT;
    (void)state;
    for (int attempt = 98; attempt <= 102; attempt++)
        assert_int_equal(attempt_dir_take(sweep, 1000000, attempt, &path, NULL), 0);
    assert_true(there("trials/1000000/a102"));
    assert_false(there("trials/1000000/a99"));
    char other[200];
    snprintf(other, sizeof(other), "%s/trials/1000000/abc", sweep);
    assert_int_equal(mkdir(other, 0755), 0);
    assert_int_equal(attempt_dir_take(sweep, 1000000, 103, &path, NULL), 0);
    assert_true(there("trials/1000000/a103"));
    assert_true(there("trials/1000000/abc"));
    str_free(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot_make),
        cmocka_unit_test(moves_along),
        cmocka_unit_test(many_attempts),
    };
    char trials[sizeof(sweep) + 8];
    if (!mkdtemp(sweep))
        return 1;
    snprintf(trials, sizeof(trials), "%s/trials", sweep);
    if (mkdir(trials, 0755) < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dir_remove(sweep, NULL);
    return failed;
}
