#include "worker/agent/attempt_dir.h"

#include "base/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char sweep[] = "/tmp/rung-attempt-dir-test-XXXXXX";

static const struct attempt_source none;

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
    assert_true(attempt_dir_take("/proc/nowhere", 1, 1, none, &path, &e) < 0);
    assert_true(attempt_log_open("/nonexistent", 1, &e) == ERR_NOENT);
    str_free(&path);
}

static void moves_along(void **state)
{
    struct str path = STR_INIT;
    char wanted[200];
    (void)state;
    assert_int_equal(attempt_dir_take(sweep, 12, 1, none, &path, NULL), 0);
    snprintf(wanted, sizeof(wanted), "%s/trials/000012/a01", sweep);
    assert_string_equal(path.p, wanted);
    int old = attempt_log_open(path.p, 1, NULL);
    assert_true(old > 0);
    assert_int_equal(attempt_dir_take(sweep, 12, 3, none, &path, NULL), 0);
    assert_false(there("trials/000012/a01"));
    close(attempt_log_open(path.p, 3, NULL));
    assert_true(there("trials/000012/a03/attempt-01.log"));
    assert_true(there("trials/000012/a03/attempt-03.log"));
    assert_int_equal(write(old, "late", 4), 4); /* by a process that was superseded */
    close(old);

    /* Again the same (the agent was restarted), and one that comes too late. */
    struct err e;
    assert_int_equal(attempt_dir_take(sweep, 12, 3, none, &path, NULL), 0);
    assert_int_equal(attempt_dir_take(sweep, 12, 2, none, &path, &e), ERR_FENCED);
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
        assert_int_equal(attempt_dir_take(sweep, 1000000, attempt, none, &path, NULL), 0);
    assert_true(there("trials/1000000/a102"));
    assert_false(there("trials/1000000/a99"));
    char other[200];
    snprintf(other, sizeof(other), "%s/trials/1000000/abc", sweep);
    assert_int_equal(mkdir(other, 0755), 0);
    assert_int_equal(attempt_dir_take(sweep, 1000000, 103, none, &path, NULL), 0);
    assert_true(there("trials/1000000/a103"));
    assert_true(there("trials/1000000/abc"));
    str_free(&path);
}

static void put(const char *name)
{
    char path[500];
    snprintf(path, sizeof(path), "%s/trials/%s", sweep, name);
    assert_int_equal(file_write(path, "x", 1, 0644, NULL), 0);
}

/* A directory that others begin from stays as it is, but for the logs. */
static void is_copied(void **state)
{
    struct str path = STR_INIT;
    struct attempt_source one = {20, 1};
    char wanted[200];
    (void)state;
    assert_int_equal(attempt_dir_take(sweep, 20, 1, none, &path, NULL), 0);
    put("000020/a01/model");
    put("000020/a01/attempt-01.log");
    assert_int_equal(mkdir(strcat(strcpy(wanted, path.p), "/d"), 0755), 0);
    put("000020/a01/d/part");
    assert_int_equal(attempt_dir_take(sweep, 21, 1, one, &path, NULL), 0);
    snprintf(wanted, sizeof(wanted), "%s/trials/000021/a01", sweep);
    assert_string_equal(path.p, wanted);
    assert_true(there("trials/000021/a01/model") && there("trials/000021/a01/d/part"));
    assert_false(there("trials/000021/a01/attempt-01.log"));
    assert_true(there("trials/000020/a01/attempt-01.log"));
    put("000021/a01/own");
    assert_int_equal(attempt_dir_take(sweep, 21, 2, one, &path, NULL), 0);
    assert_true(there("trials/000021/a02/own")); /* it was renamed */

    assert_int_equal(attempt_dir_take(sweep, 20, 2, one, &path, NULL), 0);
    assert_true(there("trials/000020/a01/model") && there("trials/000020/a02/model"));
    assert_true(there("trials/000020/a02/attempt-01.log"));
    assert_false(there("trials/000020/a01/attempt-01.log"));
    put("000020/a02/own");
    assert_int_equal(attempt_dir_take(sweep, 20, 3, one, &path, NULL), 0);
    assert_true(there("trials/000020/a01/model") && there("trials/000020/a03/own"));
    assert_false(there("trials/000020/a02"));
    str_free(&path);
}

/* What a crash has left of a copy is none; and what is not there cannot be copied. */
static void copies_are_whole(void **state)
{
    struct str path = STR_INIT;
    struct err e;
    (void)state;
    assert_int_equal(attempt_dir_take(sweep, 30, 1, none, &path, NULL), 0);
    put("000030/a01/attempt-01.log");
    assert_int_equal(
        attempt_dir_take(sweep, 31, 1, (struct attempt_source){30, 1}, &path, &e),
        ERR_NOENT);
    assert_non_null(strstr(e.text, "trials/000030/a01: the checkpoint"));
    assert_int_equal(
        attempt_dir_take(sweep, 31, 1, (struct attempt_source){39, 4}, &path, &e),
        ERR_NOENT);
    assert_int_equal(
        attempt_dir_take(sweep, 39, 5, (struct attempt_source){39, 4}, &path, &e),
        ERR_NOENT);
    put("000030/a01/model");
    struct rlimit files = {0, RLIM_INFINITY}, before;
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &files); /* as a disk that is full */
    assert_true(
        attempt_dir_take(sweep, 31, 1, (struct attempt_source){30, 1}, &path, &e) < 0);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_non_null(strstr(e.text, "trials/000031/a01.tmp/model: "));
    assert_false(there("trials/000031/a01") || there("trials/000031/a01.tmp"));
    assert_int_equal(mkdir(path.p, 0755), 0); /* as attempt 1 of 31 would be cut off */
    assert_int_equal(rename(path.p, strcat(strcpy(e.text, path.p), ".tmp")), 0);
    put("000031/a01.tmp/half");
    assert_int_equal(
        attempt_dir_take(sweep, 31, 2, (struct attempt_source){30, 1}, &path, &e), 0);
    assert_true(there("trials/000031/a02/model"));
    assert_false(there("trials/000031/a02/half") || there("trials/000031/a01.tmp"));
    str_free(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot_make),      cmocka_unit_test(moves_along),
        cmocka_unit_test(many_attempts),    cmocka_unit_test(is_copied),
        cmocka_unit_test(copies_are_whole),
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
