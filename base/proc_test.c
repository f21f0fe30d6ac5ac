#include "base/clock.h"
#include "base/file.h"
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* sh -c script */
static int run(const char *script, const char *input, double seconds,
               struct proc_result *r, struct err *e)
{
    char sh[] = "sh", c[] = "-c", *copy = strdup(script);
    assert_non_null(copy);
    int rc = proc_run((char *[]){sh, c, copy, NULL}, input, seconds, r, e);
    free(copy);
    return rc;
}

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Around each test: no file descriptor and no child is left. */
static int files_before;

static int setup(void **state)
{
    (void)state;
    files_before = open_files();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (open_files() != files_before)
        return -1;
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

static void test_cannot_start(void **state)
{
    struct proc_result r;
    struct err e = {0};
    char none[] = "no-such-program", path[] = "/no/such", dir[] = "/tmp",
         file[] = "/etc/passwd";
    (void)state;
    assert_int_equal(proc_run((char *[]){none, NULL}, NULL, 5, &r, &e), ERR_NOENT);
    assert_memory_equal(e.text, "no-such-program: ", 17);
    assert_int_equal(r.exit_code, -1);
    assert_string_equal(r.out.p, "");
    proc_result_free(&r);
    assert_int_equal(proc_run((char *[]){path, NULL}, "input", 5, &r, &e), ERR_NOENT);
    proc_result_free(&r);
    assert_int_equal(proc_run((char *[]){dir, NULL}, NULL, 5, &r, &e), ERR_DENIED);
    proc_result_free(&r);
    assert_int_equal(proc_run((char *[]){file, NULL}, NULL, 5, &r, &e), ERR_DENIED);
    proc_result_free(&r);
    proc_result_free(&r);
}

static void test_ends(void **state)
{
    static const struct {
        const char *script;
        int code, signal;
        const char *out, *err;
    } cases[] = {
        {"kill -9 $$", -1, 9, "", ""},
        {"echo out; kill $$; sleep 9", -1, SIGTERM, "out\n", ""},
        {"exit 255", 255, 0, "", ""},
        {"echo e >&2; exit 3", 3, 0, "", "e\n"},
        {"printf 'a\\nb'; printf c >&2", 0, 0, "a\nb", "c"},
        {"cat", 0, 0, "", ""}, /* standard input is empty */
        {"exec >&- 2>&-; sleep 0.05; exit 7", 7, 0, "", ""},
        {"exec >&-; sleep 0.05; echo e >&2", 0, 0, "", "e\n"},
        {"exec 2>&-; sleep 0.05; echo o", 0, 0, "o\n", ""},
        {"(sleep 0.1; echo late) & exit 4", 4, 0, "late\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct proc_result r;
        assert_int_equal(run(cases[i].script, NULL, 30, &r, NULL), 0);
        assert_int_equal(r.exit_code, cases[i].code);
        assert_int_equal(r.signal, cases[i].signal);
        assert_false(r.timed_out);
        assert_string_equal(r.out.p, cases[i].out);
        assert_string_equal(r.err.p, cases[i].err);
        proc_result_free(&r);
    }
}

static void test_input(void **state)
{
    struct proc_result r;
    struct str big = STR_INIT;
    (void)state;
    for (int i = 0; i < 40000; i++)
        str_addf(&big, "line %07d of the input\n", i);
    assert_true(big.len < 1 << 20);
    assert_int_equal(run("cat", big.p, 30, &r, NULL), 0);
    assert_int_equal(r.out.len, big.len);
    assert_memory_equal(r.out.p, big.p, big.len);
    proc_result_free(&r);
    /* Whoever does not read it is not hurt, and neither are we. */
    assert_int_equal(run("exec <&-; exit 5", big.p, 30, &r, NULL), 0);
    assert_int_equal(r.exit_code, 5);
    proc_result_free(&r);
    assert_int_equal(run("cat", "", INFINITY, &r, NULL), 0);
    assert_int_equal(r.out.len, 0);
    proc_result_free(&r);
    str_free(&big);
}

/* Both outputs at once, and more than is kept: nothing blocks. */
static void test_output_cut(void **state)
{
    struct proc_result r;
    (void)state;
    assert_int_equal(run("head -c 3000000 /dev/zero | tr '\\0' a >&2 &"
                         "head -c 3000000 /dev/zero | tr '\\0' b; wait; echo end",
                         NULL, 60, &r, NULL),
                     0);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.out.len, 1 << 20);
    assert_int_equal(r.err.len, 1 << 20);
    assert_int_equal(strspn(r.err.p, "a"), 1 << 20);
    assert_int_equal(strspn(r.out.p, "b"), 1 << 20);
    proc_result_free(&r);
}

static void gone(const char *pid)
{
    for (int i = 0; i < 500 && proc_start_time((pid_t)atol(pid)); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(proc_start_time((pid_t)atol(pid)), 0);
}

static void test_timeout(void **state)
{
    static const char *const scripts[] = {
        "echo $$; exec sleep 60",
        "trap '' TERM INT HUP; echo $$; while :; do sleep 1; done",
        "sleep 60 & echo $!; wait",              /* a grandchild */
        "sleep 60 & echo $!; exit 0",            /* one that outlives its parent */
        "echo $$; exec >&- 2>&-; sleep 60",      /* the outputs are closed */
        "echo $$; while :; do echo y >&2; done", /* never silent */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(scripts); i++) {
        struct proc_result r;
        double start = clock_mono();
        assert_int_equal(run(scripts[i], NULL, 0.2, &r, NULL), 0);
        double passed = clock_mono() - start;
        assert_true(r.timed_out);
        assert_true(passed >= 0.2 && passed < 20);
        if (i == 3)
            assert_int_equal(r.exit_code, 0); /* it had exited by itself */
        else
            assert_int_equal(r.signal, SIGKILL);
        assert_true(atol(r.out.p) > 1);
        gone(r.out.p);
        proc_result_free(&r);
    }
}

/* The child starts with default signals, whatever ours are. */
static void test_signals(void **state)
{
    struct proc_result r;
    sigset_t term, old;
    (void)state;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &old);
    signal(SIGPIPE, SIG_IGN);
    int rc = run("sed -n 's/^Sig[BI][lg][kn]://p' /proc/self/status", NULL, 30, &r, NULL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(rc, 0);
    char *end;
    assert_int_equal(strtoull(r.out.p, &end, 16), 0); /* SigBlk */
    /* SigIgn: bit n - 1 is signal n; 32 and 33 are the C library's own. */
    assert_int_equal(strtoull(end, &end, 16) & ~(UINT64_C(3) << 31), 0);
    assert_string_equal(end, "\n");
    proc_result_free(&r);
}

/* The input takes one file, each output a pipe: with fewer than five to be had
 * nothing starts, and nothing stays open. */
static void test_no_files_left(void **state)
{
    enum { LIMIT = 64 };
    struct rlimit old;
    int taken[LIMIT], n = 0, fd;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){LIMIT, old.rlim_max}), 0);
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        taken[n++] = fd;
    for (int left = 0; left < 8; left++) {
        struct proc_result r;
        int rc = run("exit 3", "input", 30, &r, NULL);
        assert_int_equal(rc, left < 5 ? ERR_IO : 0);
        assert_int_equal(r.exit_code, left < 5 ? -1 : 3);
        proc_result_free(&r);
        close(taken[--n]);
    }
    while (n > 0)
        close(taken[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* Of our files the child has its three only: what it can list is what we hand to
 * any child, 0, 1, 2, and the directory that it reads. */
static void test_no_files_passed_on(void **state)
{
    struct proc_result r;
    int want = 3 + 1, got = 0;
    (void)state;
    for (int fd = 3; fd < 1000; fd++) {
        int flags = fcntl(fd, F_GETFD);
        want += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    assert_int_equal(run("exec ls /proc/self/fd", "in", 30, &r, NULL), 0);
    for (const char *p = r.out.p; (p = strchr(p, '\n')); p++)
        got++;
    assert_int_equal(got, want);
    proc_result_free(&r);
}

static void test_sigchld_ignored(void **state)
{
    struct proc_result r;
    struct err e = {0};
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    int rc = run("exec >&- 2>&-; exit 1", NULL, 30, &r, &e);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(rc, ERR_IO);
    assert_int_equal(r.exit_code, -1);
    assert_non_null(strstr(e.text, "exit status is lost"));
    proc_result_free(&r);
}

static void test_start_time(void **state)
{
    (void)state;
    assert_int_equal(proc_start_time(-1), 0);
    uint64_t self = proc_start_time(getpid());
    assert_true(self > 0);
    assert_true(proc_start_time(1) <= self);
    /* A program's name may hold anything, fields and parentheses too. */
    assert_int_equal(prctl(PR_SET_NAME, "a) 1 2 (3"), 0);
    assert_true(proc_start_time(getpid()) == self);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(pause());
    assert_true(proc_start_time(pid) > self);
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    assert_int_equal(proc_start_time(pid), 0); /* a zombie */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(proc_start_time(pid), 0);
}

static void test_split_bad(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
        const char *error;
    } cases[] = {
        {"'", 0, "a ' that is not closed"},
        {"\"", 0, "a \" that is not closed"},
        {"\\", 0, "a backslash at the end"},
        {"a 'b c", 2, "a ' that is not closed"},
        {"a b\"c'd' e", 3, "a \" that is not closed"},
        {"'a''b' 'c", 7, "a ' that is not closed"},
        {"'a\\'b'", 5, "a ' that is not closed"}, /* no escapes within '' */
        {"\"a\\\"", 0, "a \" that is not closed"},
        {"\"a\\", 0, "a \" that is not closed"},
        {"ab\\", 2, "a backslash at the end"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char **words = NULL;
        size_t n = 77, offset = 77;
        struct err e = {0};
        assert_int_equal(shell_split(cases[i].text, &words, &n, &offset, &e), ERR_SYNTAX);
        assert_string_equal(e.text, cases[i].error);
        assert_int_equal(offset, cases[i].offset);
        assert_null(words);
        assert_int_equal(n, 77);
        assert_int_equal(shell_split(cases[i].text, &words, &n, NULL, NULL), ERR_SYNTAX);
    }
}

static void test_split(void **state)
{
    static const struct {
        const char *text, *words[5];
    } cases[] = {
        {"", {NULL}},
        {" \t\n ", {NULL}},
        {"\\\n", {NULL}},
        {"a", {"a"}},
        {"  a\tb\nc  ", {"a", "b", "c"}},
        {"''", {""}},
        {"a '' \"\" b", {"a", "", "", "b"}},
        {"--x='1 2'3", {"--x=1 23"}},
        {"'a'\"b\"c\\ d", {"abc d"}},
        {"'\\n$x`\"'", {"\\n$x`\""}},
        {"\"\\$\\`\\\"\\\\\\n'\"", {"$`\"\\\\n'"}},
        {"\"a\\\nb\"", {"ab"}},
        {"a\\\nb c\\\n d", {"ab", "c", "d"}},
        {"\\'\\\"\\\\", {"'\"\\"}},
        {"$HOME *.c #x; {lr} ~", {"$HOME", "*.c", "#x;", "{lr}", "~"}},
        {"\xc3\xa9 \xf0\x9f\x98\x80", {"\xc3\xa9", "\xf0\x9f\x98\x80"}},
        {"a b c d e", {"a", "b", "c", "d", "e"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char **words;
        size_t n, want = 0;
        while (want < COUNT(cases[i].words) && cases[i].words[want])
            want++;
        assert_int_equal(shell_split(cases[i].text, &words, &n, NULL, NULL), 0);
        assert_int_equal(n, want);
        for (size_t k = 0; k < n; k++)
            assert_string_equal(words[k], cases[i].words[k]);
        assert_null(words[n]);
        free(words);
    }
}

/* The shell itself is the judge: one word goes in, the same comes out. */
static void test_quote(void **state)
{
    static const char *const cases[] = {
        "",    " ",    "a b",   "'",  "''",       "it's",    "\"",       "\\",
        "$x",  "`id`", "a\nb",  "\t", "*",        "~",       "a~",       "#",
        "-n",  "x=1",  "{a,b}", "!",  ";rm",      "&",       "\xc3\xa9", "a'b\"c\\d$e",
        "[a]", "(",    "|",     "<>", "/usr/bin", "a@b:c,d", "%s\\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str script = STR_INIT;
        struct proc_result r;
        char **words;
        size_t n;
        shell_quote(&script, cases[i]);
        assert_int_equal(shell_split(script.p, &words, &n, NULL, NULL), 0);
        assert_int_equal(n, 1);
        assert_string_equal(words[0], cases[i]);
        free(words);
        struct str whole = STR_INIT;
        str_addf(&whole, "printf '<%%s>' %s", script.p);
        assert_int_equal(run(whole.p, NULL, 30, &r, NULL), 0);
        str_cut(&whole, 0);
        str_addf(&whole, "<%s>", cases[i]);
        assert_string_equal(r.out.p, whole.p);
        proc_result_free(&r);
        str_free(&whole);
        str_free(&script);
    }
    struct str plain = STR_INIT;
    shell_quote(&plain, "--lr=1e-3");
    assert_string_equal(plain.p, "--lr=1e-3"); /* nothing to quote, so no quotes */
    str_free(&plain);
}

/* ---- without waiting ---- */

static void start(struct proc *p, const char *script, char *const envp[], double seconds)
{
    char sh[] = "/bin/sh", c[] = "-c", *copy = strdup(script);

    assert_non_null(copy);
    assert_int_equal(proc_start(p, (char *[]){sh, c, copy, NULL}, envp, seconds, NULL),
                     0);
    free(copy);
}

static void test_start_cannot(void **state)
{
    (void)state;
    char none[] = "no-such-program";
    struct proc p;
    struct err e = {0};
    assert_int_equal(proc_start(&p, (char *[]){none, NULL}, NULL, 9, &e), ERR_NOENT);
    assert_non_null(strstr(e.text, "no-such-program"));
    assert_int_equal(p.pid, 0);
}

static void test_start(void **state)
{
    (void)state;
    char x[] = "X=1", path[] = "PATH=/bin:/usr/bin", *const envp[] = {x, path, NULL};
    struct proc_result r;
    struct proc p;

    /* It runs for as long as it likes, and standard input has nothing. */
    start(&p, "read line; echo \"<$X$line>\"; echo two >&2; kill -STOP $$; exit 7", envp,
          INFINITY);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)p.pid, &info, WSTOPPED | WNOWAIT), 0);
    assert_false(proc_poll(&p, &r));
    kill(p.pid, SIGCONT);
    proc_wait(&p, &r);
    assert_int_equal(r.exit_code, 7);
    assert_false(r.timed_out);
    assert_string_equal(r.out.p, "<1>\n");
    assert_string_equal(r.err.p, "two\n");
    assert_int_equal(p.pid, 0);
    proc_result_free(&r);

    start(&p, "kill -9 $$", NULL, 60);
    proc_wait(&p, &r);
    assert_int_equal(r.signal, SIGKILL);
    assert_int_equal(r.exit_code, -1);
    assert_false(r.timed_out);
    proc_result_free(&r);

    start(&p, "head -c 17000000 /dev/zero", NULL, 60);
    proc_wait(&p, &r);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.out.len, 1 << 24);
    proc_result_free(&r);
}

/* All of its group goes, and what it printed is kept. */
static void test_start_timeout(void **state)
{
    (void)state;
    struct proc_result r;
    struct proc p;
    start(&p, "trap '' TERM; sleep 1000 & echo $!; wait", NULL, 0.3);
    proc_wait(&p, &r);
    assert_true(r.timed_out);
    assert_int_equal(r.signal, SIGKILL);
    pid_t sleeper = (pid_t)strtol(r.out.p, NULL, 10);
    assert_true(sleeper > 0);
    double until = clock_mono() + 30;
    while (proc_start_time(sleeper) && clock_mono() < until)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(proc_start_time(sleeper), 0);
    proc_result_free(&r);
}

static void test_find(void **state)
{
    char dir[] = "/tmp/rung-proc-test.XXXXXX", path[200], *found;
    (void)state;
    assert_non_null(mkdtemp(dir));
    found = program_find("sh", "/nonexistent:/usr/bin:/bin");
    assert_string_equal(found, "/usr/bin/sh");
    free(found);
    assert_null(program_find("sh", NULL));
    assert_null(program_find("sh", "/nonexistent"));
    /* neither a directory of that name nor a file that nobody may run is one */
    snprintf(path, sizeof(path), "%s/sh", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_null(program_find("sh", dir));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(file_write(path, "", 0, 0644, NULL), 0);
    assert_null(program_find("sh", dir));
    assert_int_equal(chmod(path, 0755), 0);
    found = program_find("sh", dir);
    assert_string_equal(found, path);
    free(found);
    dir_remove(dir, NULL);
}

static void test_plugin_find(void **state)
{
    struct str path = STR_INIT;
    (void)state;
    setenv("RUNG_TEST_PLUGIN", "/some/where.so", 1);
    plugin_find("none.so", "RUNG_TEST_PLUGIN", "/usr/lib/rung", &path);
    assert_string_equal(path.p, "/some/where.so");
    unsetenv("RUNG_TEST_PLUGIN");
    str_cut(&path, 0);
    plugin_find("none.so", "RUNG_TEST_PLUGIN", "/usr/lib/rung", &path);
    assert_string_equal(path.p, "/usr/lib/rung/none.so");
    /* this program lies beside itself */
    str_cut(&path, 0);
    plugin_find("proc_test", "RUNG_TEST_PLUGIN", "/usr/lib/rung", &path);
    assert_int_equal(access(path.p, X_OK), 0);
    str_free(&path);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cannot_start),
        TEST(test_ends),
        TEST(test_input),
        TEST(test_output_cut),
        TEST(test_timeout),
        TEST(test_signals),
        TEST(test_no_files_left),
        TEST(test_no_files_passed_on),
        TEST(test_sigchld_ignored),
        TEST(test_start_time),
        TEST(test_split_bad),
        TEST(test_split),
        TEST(test_quote),
        TEST(test_start_cannot),
        TEST(test_start),
        TEST(test_start_timeout),
        TEST(test_find),
        TEST(test_plugin_find),
    };
    return cmocka_run_group_tests_name("base/proc", tests, NULL, NULL);
}
