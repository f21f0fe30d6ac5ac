#include "worker/agent/kin.c"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

static pid_t fork_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static bool has(const pid_t *v, size_t n, pid_t pid)
{
    while (n > 0)
        if (v[--n] == pid)
            return true;
    return false;
}

static void formats_numbers(void **state)
{
    char buf[32];
    const char *p = buf;
    (void)state;
    assert_ptr_equal(put_pid(put_text(buf, "/proc/"), 4194304), buf + 13);
    assert_string_equal(buf, "/proc/4194304");
    put_pid(buf, 0);
    assert_string_equal(buf, "0");
    put_text(buf, "120 ");
    assert_int_equal(take_number(&p, buf + 4), 120);
    assert_ptr_equal(p, buf + 3);
    assert_int_equal(take_number(&p, buf + 4), 0);
}

static void none(void **state)
{
    pid_t kin[4];
    (void)state;
    assert_int_equal(kin_children(getpid(), kin, 4), 0);
    assert_int_equal(kin_descendants(getpid(), kin, 4), 0);
    pid_t gone = fork_sleeper();
    end(gone);
    assert_int_equal(kin_children(gone, kin, 4), 0);
}

struct door {
    int ready[2], leave[2];
};

static void *fork_in_thread(void *arg)
{
    struct door *d = arg;
    char byte;
    pid_t pid = fork_sleeper();
    if (write(d->ready[1], &pid, sizeof(pid)) != sizeof(pid) ||
        read(d->leave[0], &byte, 1) != 1)
        abort();
    return NULL;
}

/* A child that a second thread has forked, found by list and by search. */
static void of_any_thread(void **state)
{
    struct door d;
    pid_t kin[4], pid;
    struct list found = {kin, 0, 4};
    pthread_t thread;
    (void)state;
    assert_int_equal(pipe(d.ready), 0);
    assert_int_equal(pipe(d.leave), 0);
    assert_int_equal(pthread_create(&thread, NULL, fork_in_thread, &d), 0);
    assert_int_equal(read(d.ready[0], &pid, sizeof(pid)), sizeof(pid));
    assert_int_equal(kin_children(getpid(), kin, 4), 1);
    assert_int_equal(kin[0], pid);
    kin[0] = 0;
    scan_children(getpid(), &found);
    assert_int_equal(found.n, 1);
    assert_int_equal(kin[0], pid);
    end(pid);
    assert_int_equal(write(d.leave[1], "", 1), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        close(d.ready[i]);
        close(d.leave[i]);
    }
}

/* More children than one read() returns, and more than there is room for. */
static void many(void **state)
{
    enum { N = 700 };
    static pid_t children[N], kin[N + 1];
    (void)state;
    for (int i = 0; i < N; i++)
        assert_true((children[i] = fork_sleeper()) > 0);
    assert_int_equal(kin_children(getpid(), kin, N + 1), N);
    for (int i = 0; i < N; i++)
        assert_true(has(kin, N, children[i]));
    assert_int_equal(kin_children(getpid(), kin, 10), 10);
    assert_int_equal(kin_descendants(getpid(), kin, N + 1), N);
    for (int i = 0; i < N; i++)
        end(children[i]);
}

/* A chain of processes, each the parent of the next; the last closes the pipe's end. */
static void parents_first(void **state)
{
    int chain[2];
    pid_t kin[8], pid, said[5];
    (void)state;
    assert_int_equal(pipe(chain), 0);
    assert_true((pid = fork()) >= 0);
    if (pid == 0) {
        for (int depth = 1; depth < 5 && fork() == 0; depth++)
            ;
        pid_t me = getpid();
        if (write(chain[1], &me, sizeof(me)) != sizeof(me))
            _exit(1);
        for (;;)
            pause();
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(read(chain[0], &said[i], sizeof(pid_t)), sizeof(pid_t));
    assert_int_equal(kin_descendants(getpid(), kin, 8), 5);
    assert_int_equal(kin[0], pid);
    for (int i = 0; i < 5; i++)
        assert_true(has(kin, 5, said[i]));
    for (int i = 1; i < 5; i++) {
        pid_t only[2];
        assert_int_equal(kin_children(kin[i - 1], only, 2), 1);
        assert_int_equal(only[0], kin[i]);
    }
    for (int i = 4; i > 0; i--)
        kill(kin[i], SIGKILL);
    end(kin[0]);
    close(chain[0]);
    close(chain[1]);
}

static void on_signal(int sig)
{
    (void)sig;
}

static void catches(void **state)
{
    (void)state;
    assert_false(kin_catches(getpid(), SIGUSR1));
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGRTMAX, on_signal);
    assert_true(kin_catches(getpid(), SIGUSR1));
    assert_false(kin_catches(getpid(), SIGUSR2));
    assert_true(kin_catches(getpid(), SIGRTMAX));
    assert_false(kin_catches(getpid(), SIGHUP));
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    assert_false(kin_catches(getpid(), SIGUSR1));
    pid_t gone = fork_sleeper();
    end(gone);
    assert_false(kin_catches(gone, SIGUSR1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_numbers), cmocka_unit_test(none),
        cmocka_unit_test(of_any_thread),   cmocka_unit_test(many),
        cmocka_unit_test(parents_first),   cmocka_unit_test(catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
