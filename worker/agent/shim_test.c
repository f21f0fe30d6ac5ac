/* The shim with real processes. The test is a subreaper itself: whatever a shim should
 * let escape turns up as a child of the test, and each test ends by looking for some.
 * Run with arguments the test is one of the programs that the shims run. */
#include "worker/agent/shim.h"

#include "base/clock.h"
#include "base/str.h"
#include "worker/agent/kin.h"
#include "worker/agent/order.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char self[4096];
static bool stays; /* the shims under test are those that an agent keeps */

/* ---- programs ---- */

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
    got_signal = sig;
}

static void say_ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

/* Waits to be ended; ignores SIGTERM if told. */
static _Noreturn int program_stay(const char *how)
{
    if (strcmp(how, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    say_ready();
    for (;;)
        pause();
}

/* Exits 5 upon SIGTERM, 6 upon SIGUSR1. */
static int program_handle(void)
{
    sigset_t both, before;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGUSR1);
    sigprocmask(SIG_BLOCK, &both, &before);
    signal(SIGTERM, on_signal);
    signal(SIGUSR1, on_signal);
    say_ready();
    while (!got_signal)
        sigsuspend(&before);
    return got_signal == SIGTERM ? 5 : 6;
}

/* Leaves children behind that ignore SIGTERM: one of its own, and one that has left its
 * session as daemons do. */
static int program_leave(bool stay)
{
    int ready[2];
    char byte;
    if (pipe(ready) < 0)
        return 1;
    for (int daemon = 0; daemon < 2; daemon++) {
        pid_t child = fork();
        if (child > 0) {
            if (daemon) /* once its parent is gone, the daemon is the shim's child */
                waitpid(child, NULL, 0);
            continue;
        }
        if (daemon && (setsid() < 0 || fork() > 0))
            _exit(0);
        signal(SIGTERM, SIG_IGN);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    for (int i = 0; i < 2; i++)
        if (read(ready[0], &byte, 1) != 1)
            return 1;
    return stay ? program_stay("deaf") : 3;
}

static char *volatile eaten; /* not to be optimised away */

static int program_eat(void)
{
    for (int mb = 0; mb < 100; mb++) {
        eaten = malloc(1 << 20);
        memset(eaten, 1, 1 << 20);
    }
    return 0;
}

static int program(char **argv)
{
    const char *what = argv[1];
    if (strcmp(what, "stay") == 0)
        return program_stay(argv[2]);
    if (strcmp(what, "handle") == 0)
        return program_handle();
    if (strcmp(what, "leave") == 0)
        return program_leave(strcmp(argv[2], "stay") == 0);
    return program_eat();
}

/* ---- running them ---- */

struct run {
    pid_t shim;
    int out, report; /* read ends; of a shim that stays, our end of its socket */
    int status;      /* of the shim; 0 for one that stays */
    bool reported;
    struct shim_report r;
    struct str text; /* what the program printed */
};

static char *path_env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"SLURM_PROCID=7", NULL};

static void start_as(struct run *r, struct shim *s)
{
    int out[2], report[2];
    *r = (struct run){.text = STR_INIT};
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report), 0);
    s->envp = s->envp ? s->envp : path_env;
    s->out_fd = s->err_fd = out[1];
    s->report_fd = report[1];
    s->parent = getpid();
    r->shim = fork();
    assert_true(r->shim >= 0);
    if (r->shim == 0)
        _exit(stays ? shim_serve(report[1], s->parent) : shim_run(s));
    if (stays)
        assert_int_equal(order_send(report[0], s, NULL), 0);
    close(out[1]);
    close(report[1]);
    r->out = out[0];
    r->report = report[0];
}

static void start(struct run *r, char *const argv[])
{
    start_as(r, &(struct shim){.argv = argv, .kill_seconds = 0.2});
}

/* Waits until the program says that it is ready. */
static void wait_ready(struct run *r)
{
    char line[6];
    for (size_t n = 0; n < sizeof(line); n++)
        assert_int_equal(read(r->out, line + n, 1), 1);
    assert_memory_equal(line, "ready\n", 6);
}

static void finish(struct run *r)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(r->out, buf, sizeof(buf))) > 0)
        str_addn(&r->text, buf, (size_t)n);
    r->reported = read(r->report, &r->r, sizeof(r->r)) == sizeof(r->r);
    close(r->out);
    close(r->report);
    assert_int_equal(waitpid(r->shim, &r->status, 0), r->shim);
}

static void check_status(const struct run *r, int status)
{
    assert_int_equal(WEXITSTATUS(r->status), stays ? 0 : status);
}

static void done(struct run *r)
{
    str_free(&r->text);
}

static void run(struct run *r, char *const argv[])
{
    start(r, argv);
    finish(r);
}

static int nobody_left(void **state)
{
    pid_t kin[16];
    (void)state;
    size_t n = kin_descendants(getpid(), kin, 16);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "left behind: %ld\n", (long)kin[i]);
    return n > 0 ? -1 : 0;
}

#define ARGS(...) ((char *[]){__VA_ARGS__, NULL})
#define W(text)   ((char *)(text))

/* ---- tests ---- */

static void cannot_execute(void **state)
{
    static const struct {
        const char *program, *workdir;
        int errno_, status;
    } cases[] = {
        {"/no/such/program", NULL, ENOENT, 127},
        {"no-such-program-on-the-path", NULL, ENOENT, 127},
        {"/", NULL, EACCES, 126},
        {"/etc/passwd", NULL, EACCES, 126},
        {"true", "/no/such/directory", ENOENT, 127},
        {"true", "/etc/passwd", ENOTDIR, 126},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct run r;
        struct shim s = {.argv = ARGS(W(cases[i].program)), .workdir = cases[i].workdir};
        start_as(&r, &s);
        finish(&r);
        assert_true(r.reported);
        assert_int_equal(r.r.exec_errno, cases[i].errno_);
        assert_int_equal(r.r.exit_code, -1);
        check_status(&r, cases[i].status);
        done(&r);
    }
}

static void exits(void **state)
{
    static const struct {
        const char *script;
        int exit_code, signal, status, evicted;
    } cases[] = {
        {"kill -SEGV $$", -1, SIGSEGV, 128 + SIGSEGV, 0},
        {"kill -KILL $$", -1, SIGKILL, 128 + SIGKILL, 0},
        {"kill -TERM $$", -1, SIGTERM, 128 + SIGTERM, 0},
        {"kill -TERM $PPID; kill -TERM $$", -1, SIGTERM, 128 + SIGTERM, 1},
        {"exit 1", 1, 0, 1, 0},
        {"exit 127", 127, 0, 127, 0},
        {"exit 255", 255, 0, 255, 0},
        {"exit 0", 0, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct run r;
        run(&r, ARGS(W("sh"), W("-c"), W(cases[i].script)));
        assert_true(r.reported);
        assert_int_equal(r.r.rank, 7);
        assert_int_equal(r.r.exec_errno, 0);
        assert_int_equal(r.r.exit_code, cases[i].exit_code);
        assert_int_equal(r.r.signal, cases[i].signal);
        assert_int_equal(r.r.evicted, cases[i].evicted);
        assert_int_equal(r.r.strays, 0);
        assert_int_equal(r.r.oom, 0);
        assert_true(r.r.max_rss > 1e5 && r.r.max_rss < 1e9);
        check_status(&r, cases[i].status);
        done(&r);
    }
}

/* The number behind a word of /proc/PID/status. */
static unsigned long long field(const char *status, const char *word, int base)
{
    const char *p = strstr(status, word);
    assert_non_null(p);
    return strtoull(p + strlen(word), NULL, base);
}

static void program_begins_clean(void **state)
{
    struct run r;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    run(&r, ARGS(W("cat"), W("/proc/self/status")));
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(r.r.exit_code, 0);
    assert_int_equal(field(r.text.p, "\nSigBlk:", 16), 0);
    /* Two signals are glibc's own: its posix_spawn() makes children ignore them. */
    assert_int_equal(field(r.text.p, "\nSigIgn:", 16) & ~(3ull << 31), 0);
    assert_int_equal(field(r.text.p, "\nNSsid:", 10), field(r.text.p, "\nPid:", 10));
    assert_int_equal(field(r.text.p, "\nPPid:", 10), r.shim);
    done(&r);

    int mine = open("/dev/null", O_RDONLY); /* inherited, were it not closed */
    run(&r, ARGS(W("ls"), W("/proc/self/fd")));
    assert_string_equal(r.text.p, "0\n1\n2\n3\n"); /* 3 is ls's own */
    done(&r);
    if (stays) { /* and keeps nothing for anybody */
        close(mine);
        return;
    }
    struct shim s = {.argv = ARGS(W("ls"), W("/proc/self/fd")), .keep_fds = true};
    start_as(&r, &s);
    finish(&r);
    assert_true(r.reported);
    char number[16];
    snprintf(number, sizeof(number), "\n%d\n", mine);
    assert_non_null(strstr(r.text.p, number));
    done(&r);
    close(mine);
}

static void given_environment(void **state)
{
    struct run r;
    char *envp[] = {W("A=b c"), W("PATH=/nowhere:/bin"), W("OMPI_COMM_WORLD_RANK=3"),
                    NULL};
    struct shim s = {.argv = ARGS(W("sh"), W("-c"), W("echo $A; pwd")),
                     .envp = envp,
                     .workdir = "/proc"};
    (void)state;
    start_as(&r, &s);
    finish(&r);
    assert_string_equal(r.text.p, "b c\n/proc\n");
    assert_int_equal(r.r.rank, 3);
    done(&r);
}

static void cpu_seconds_of_all(void **state)
{
    struct run r;
    (void)state;
    run(&r, ARGS(W("sh"), W("-c"),
                 W("(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); exit 0")));
    assert_true(r.r.cpu_seconds > 0.005);
    done(&r);
}

static void ends_when_asked(void **state)
{
    static const struct {
        const char *what, *how;
        int sig, exit_code, signal;
    } cases[] = {
        {"stay", "deaf", SIGTERM, -1, SIGKILL}, {"stay", "", SIGTERM, -1, SIGTERM},
        {"stay", "", SIGUSR2, -1, SIGTERM},     {"stay", "", SIGINT, -1, SIGTERM},
        {"stay", "", SIGHUP, -1, SIGTERM},      {"handle", "", SIGTERM, 5, 0},
        {"handle", "", SIGUSR1, 6, 0}, /* passed on */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct run r;
        start(&r, ARGS(self, W(cases[i].what), W(cases[i].how)));
        wait_ready(&r);
        kill(r.shim, cases[i].sig);
        finish(&r);
        assert_true(r.reported);
        assert_int_equal(r.r.exit_code, cases[i].exit_code);
        assert_int_equal(r.r.signal, cases[i].signal);
        assert_int_equal(r.r.strays, 0);
        done(&r);
    }
}

/* SIGINT belongs to the terminal's session; an agent that ignores it forks shims that
 * pass it on like any other signal. */
static void ignored_interrupt_is_passed_on(void **state)
{
    struct run r;
    (void)state;
    signal(SIGINT, SIG_IGN);
    start(&r, ARGS(self, W("stay"), W("deaf")));
    signal(SIGINT, SIG_DFL);
    wait_ready(&r);
    kill(r.shim, SIGINT);
    finish(&r);
    assert_int_equal(r.r.signal, SIGINT);
    done(&r);
}

static void strays_are_ended(void **state)
{
    struct run r;
    (void)state;
    double before = clock_mono();
    run(&r, ARGS(self, W("leave"), W("")));
    assert_true(clock_mono() - before >= SHIM_STRAY_SECONDS);
    assert_int_equal(r.r.exit_code, 3);
    assert_int_equal(r.r.strays, 2);
    done(&r);

    run(&r, ARGS(W("sh"), W("-c"), W("sleep 100 & exit 0"))); /* heeds SIGTERM */
    assert_int_equal(r.r.exit_code, 0);
    assert_int_equal(r.r.strays, 1);
    done(&r);
}

/* The whole tree hears SIGTERM at once, and is left the whole time before SIGKILL even
 * when the program itself, a shell say, ends at once. */
static void tree_is_ended(void **state)
{
    struct run r;
    (void)state;
    start(&r, ARGS(self, W("leave"), W("stay")));
    wait_ready(&r);
    kill(r.shim, SIGTERM);
    kill(r.shim, SIGUSR2);
    finish(&r);
    assert_int_equal(r.r.signal, SIGKILL);
    assert_int_equal(r.r.strays, 0);
    done(&r);

    char script[5000];
    snprintf(script, sizeof(script), "'%s' handle; echo $? >&2; exit 9", self);
    struct shim s = {.argv = ARGS(W("sh"), W("-c"), script), .kill_seconds = 60};
    start_as(&r, &s);
    wait_ready(&r);
    kill(r.shim, SIGTERM);
    finish(&r);
    assert_int_equal(r.r.signal, SIGTERM); /* the shell did not survive to say 9 */
    done(&r);
}

/* SIGUSR1 does not end a shell; what that runs may catch it, or it may do so itself. */
static void signals_reach_the_group(void **state)
{
    struct run r;
    char script[5000];
    (void)state;
    snprintf(script, sizeof(script), "'%s' handle; exit $?", self);
    start(&r, ARGS(W("sh"), W("-c"), script));
    wait_ready(&r);
    kill(r.shim, SIGUSR1);
    finish(&r);
    assert_int_equal(r.r.exit_code, 6);
    done(&r);

    snprintf(script, sizeof(script), "trap 'exit 8' USR1; '%s' stay '' & wait", self);
    start(&r, ARGS(W("sh"), W("-c"), script));
    wait_ready(&r);
    kill(r.shim, SIGUSR1);
    finish(&r);
    assert_int_equal(r.r.exit_code, 8);
    done(&r);
}

static bool wait_gone(pid_t pid)
{
    for (double end = clock_mono() + 20; clock_mono() < end; usleep(1000)) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (kill(pid, 0) < 0)
            return true;
    }
    return false;
}

static void program_dies_with_its_shim(void **state)
{
    struct run r;
    pid_t kin[2];
    (void)state;
    start(&r, ARGS(self, W("stay"), W("deaf")));
    wait_ready(&r);
    assert_int_equal(kin_children(r.shim, kin, 2), 1);
    kill(r.shim, SIGKILL);
    finish(&r);
    assert_false(r.reported);
    assert_int_equal(WTERMSIG(r.status), SIGKILL);
    assert_true(wait_gone(kin[0]));
    done(&r);
}

static void shim_ends_all_when_its_parent_dies(void **state)
{
    int out[2];
    pid_t pids[2], parent, kin[2];
    char byte[6];
    (void)state;
    assert_int_equal(pipe(out), 0);
    assert_true((parent = fork()) >= 0);
    if (parent == 0) {
        struct run r;
        start(&r, ARGS(self, W("leave"), W("stay")));
        wait_ready(&r);
        assert_int_equal(kin_children(r.shim, kin, 2), 2); /* one of them the daemon */
        pids[0] = r.shim;
        pids[1] = kin[0];
        assert_int_equal(write(out[1], pids, sizeof(pids)), sizeof(pids));
        for (;;)
            pause();
    }
    close(out[1]);
    assert_int_equal(read(out[0], pids, sizeof(pids)), sizeof(pids));
    kill(parent, SIGKILL);
    assert_true(wait_gone(pids[0]));
    assert_true(wait_gone(pids[1]));
    assert_int_equal(read(out[0], byte, sizeof(byte)), 0);
    close(out[0]);
}

static void late_shim_starts_nothing(void **state)
{
    (void)state;
    pid_t shim = fork();
    assert_true(shim >= 0);
    if (shim == 0) {
        struct shim s = {.argv = ARGS(W("true")),
                         .envp = path_env,
                         .out_fd = -1,
                         .err_fd = -1,
                         .report_fd = -1,
                         .parent = 1};
        _exit(shim_run(&s));
    }
    int status;
    assert_int_equal(waitpid(shim, &status, 0), shim);
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
}

/* One shim, many programs: of what one was given, or left, the next has nothing. */
static void one_after_another(void **state)
{
    char big[100000];
    int ends[2], status;
    pid_t agent = getpid(), shim;
    struct shim_report r;
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    const struct {
        struct shim s;
        int exit_code, exec_errno, strays;
    } orders[] = {
        {{.argv = ARGS(W("sh"), W("-c"), W("test $A = b && test `pwd` = /proc")),
          .envp = ARGS(W("A=b"), path_env[0]),
          .workdir = "/proc"},
         .exit_code = 0},
        {{.argv = ARGS(W("sh"), W("-c"), W("test -z \"$A\" && test `pwd` != /proc"))},
         .exit_code = 0},
        {{.argv = ARGS(W("sh"), W("-c"), W("sleep 100 & exit 3"))},
         .exit_code = 3,
         .strays = 1},
        {{.argv = ARGS(W("/no/such/program"))}, .exit_code = -1, .exec_errno = ENOENT},
        {{.argv = ARGS(W("sh"), W("-c"), W("test ${#1} = 99999"), W("sh"), big, big, big,
                       big)},
         .exit_code = 0},
        {{.argv = ARGS(W("true"))}, .exit_code = 0},
    };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_true((shim = fork()) >= 0);
    if (shim == 0)
        _exit(shim_serve(ends[1], agent));
    close(ends[1]);
    for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
        struct shim s = orders[i].s;
        s.envp = s.envp ? s.envp : path_env;
        s.out_fd = STDERR_FILENO;
        assert_int_equal(order_send(ends[0], &s, NULL), 0);
        assert_int_equal(recv(ends[0], &r, sizeof(r), MSG_WAITALL), sizeof(r));
        assert_int_equal(r.exit_code, orders[i].exit_code);
        assert_int_equal(r.exec_errno, orders[i].exec_errno);
        assert_int_equal(r.strays, orders[i].strays);
    }
    /* a signal behind an order is meant for that program, though it did not begin yet */
    struct shim last = {
        .argv = ARGS(W("sleep"), W("100")), .envp = path_env, .out_fd = STDERR_FILENO};
    assert_int_equal(order_send(ends[0], &last, NULL), 0);
    assert_int_equal(kill(shim, SIGTERM), 0);
    assert_int_equal(recv(ends[0], &r, sizeof(r), MSG_WAITALL), sizeof(r));
    assert_int_equal(r.signal, SIGTERM);
    close(ends[0]);
    assert_int_equal(waitpid(shim, &status, 0), shim);
    assert_int_equal(status, 0);
}

static bool file_put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* Makes a memory cgroup of v1 with little memory, if we may. */
static bool make_cgroup(char path[64], char procs[80])
{
    char limit[96];
    snprintf(path, 64, "/sys/fs/cgroup/memory/rung-shim-test-%ld", (long)getpid());
    snprintf(procs, 80, "%s/cgroup.procs", path);
    snprintf(limit, sizeof(limit), "%s/memory.limit_in_bytes", path);
    if (mkdir(path, 0755) == 0 && file_put(limit, "20000000"))
        return true;
    rmdir(path);
    return false;
}

static void oom_is_told(void **state)
{
    char cgroup[64], procs[80];
    int report[2], status;
    struct shim_report r;
    (void)state;
    if (!make_cgroup(cgroup, procs))
        skip();
    assert_int_equal(pipe(report), 0);
    pid_t shim = fork();
    assert_true(shim >= 0);
    if (shim == 0) {
        struct shim s = {.argv = ARGS(self, W("eat")),
                         .envp = path_env,
                         .out_fd = -1,
                         .err_fd = -1,
                         .report_fd = report[1]};
        file_put(procs, "0");
        _exit(shim_run(&s));
    }
    close(report[1]);
    ssize_t n = read(report[0], &r, sizeof(r));
    close(report[0]);
    assert_int_equal(waitpid(shim, &status, 0), shim);
    assert_int_equal(rmdir(cgroup), 0);
    assert_int_equal(n, sizeof(r));
    assert_int_equal(r.signal, SIGKILL);
    assert_int_equal(r.oom, 1);
    assert_true(r.max_rss > 1e7 && r.max_rss < 1e8);
}

static void thousand_quick_ones(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct run r;
        run(&r, ARGS(W("true")));
        assert_true(r.reported);
        assert_int_equal(r.r.exit_code, 0);
        done(&r);
    }
}

#define TEST(f) cmocka_unit_test_teardown(f, nobody_left)
#define OF_BOTH                                                                          \
    TEST(cannot_execute), TEST(exits), TEST(program_begins_clean),                       \
        TEST(given_environment), TEST(cpu_seconds_of_all), TEST(ends_when_asked),        \
        TEST(ignored_interrupt_is_passed_on), TEST(strays_are_ended),                    \
        TEST(tree_is_ended), TEST(signals_reach_the_group),                              \
        TEST(program_dies_with_its_shim), TEST(shim_ends_all_when_its_parent_dies)

static void staying(void **state)
{
    (void)state;
    stays = true;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        OF_BOTH,
        TEST(late_shim_starts_nothing),
        TEST(oom_is_told),
        TEST(thousand_quick_ones),
        cmocka_unit_test(staying),
        OF_BOTH,
        TEST(one_after_another),
    };
    if (argc > 1)
        return program(argv);
    signal(SIGINT, SIG_DFL); /* a job in the background of a script ignores it */
    signal(SIGHUP, SIG_DFL);
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return 1;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
