#include "worker/agent/private_dir.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void put_socket(const char *dir)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s/0123456789abcdef", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    close(fd);
}

static void grow_old(const char *path)
{
    struct timespec old[2] = {{.tv_sec = time(NULL) - 3600},
                              {.tv_sec = time(NULL) - 3600}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

/* What an agent leaves that was killed: nobody holds the lock any more. */
static void leave_one(char path[32])
{
    struct private_dir d;
    assert_int_equal(private_dir_make(&d, NULL), 0);
    put_socket(d.path);
    strcpy(path, d.path);
    close(d.fd);
}

static void ours_alone(void **state)
{
    struct private_dir d;
    struct stat st;
    (void)state;
    assert_int_equal(private_dir_make(&d, NULL), 0);
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(strlen(d.path) + strlen("/0123456789abcdef") < 108);
    put_socket(d.path);
    char path[32];
    strcpy(path, d.path);
    private_dir_remove(&d);
    assert_false(there(path));
    private_dir_remove(&d);
}

static void left_over(void **state)
{
    struct private_dir d;
    char path[32];
    (void)state;
    leave_one(path);
    grow_old(path);
    assert_int_equal(private_dir_make(&d, NULL), 0);
    assert_false(there(path));
    private_dir_remove(&d);
}

static void young_or_alive_or_in_use(void **state)
{
    struct private_dir alive, d;
    char young[32], used[32], file[64];
    (void)state;
    assert_int_equal(private_dir_make(&alive, NULL), 0);
    grow_old(alive.path);
    leave_one(young);
    leave_one(used);
    snprintf(file, sizeof(file), "%s/file", used);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    grow_old(used);
    assert_int_equal(private_dir_make(&d, NULL), 0);
    assert_true(there(alive.path));
    assert_true(there(young));
    assert_true(there(file)); /* not of an agent's making */
    private_dir_remove(&d);
    private_dir_remove(&alive);
    unlink(file);
    grow_old(used);
    grow_old(young);
    assert_int_equal(private_dir_make(&d, NULL), 0);
    assert_false(there(used));
    assert_false(there(young));
    private_dir_remove(&d);
}

/* A child that has closed its descriptors, as shims do, does not keep the lock. */
static void lock_dies_with_its_holder(void **state)
{
    struct private_dir d;
    int name[2], hold[2];
    char path[32], byte;
    (void)state;
    assert_int_equal(pipe(name), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t agent = fork();
    assert_true(agent >= 0);
    if (agent == 0) {
        private_dir_make(&d, NULL);
        if (fork() == 0) {
            close(d.fd);
            close(hold[1]);
            if (write(name[1], d.path, sizeof(path)) != sizeof(path))
                _exit(1);
            _exit(read(hold[0], &byte, 1) != 0);
        }
        _exit(0);
    }
    assert_int_equal(read(name[0], path, sizeof(path)), sizeof(path));
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    grow_old(path);
    assert_int_equal(private_dir_make(&d, NULL), 0);
    assert_false(there(path));
    private_dir_remove(&d);
    for (int i = 0; i < 2; i++) {
        close(name[i]);
        close(hold[i]);
    }
}

/* Another user's directories and links of that name are left alone, and opening a pipe
 * waits for nobody. */
static void of_others(void **state)
{
    struct private_dir d;
    char path[] = "/tmp/rung-agent-others-XXXXXX", link[64], fifo[64], file[64];
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(path));
    snprintf(link, sizeof(link), "%s-link", path);
    snprintf(fifo, sizeof(fifo), "%s-fifo", path);
    snprintf(file, sizeof(file), "%s/0123456789abcdef", path);
    put_socket(path);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(mkfifo(fifo, 0666), 0);
    assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
    grow_old(path);
    assert_int_equal(private_dir_make(&d, NULL), 0);
    assert_true(there(file) && there(link) && there(fifo));
    private_dir_remove(&d);
    unlink(fifo);
    unlink(link);
    unlink(file);
    rmdir(path);
}

/* In a /tmp where everybody may rename everything, no program's socket is safe. It takes
 * a /tmp of one's own to see it. */
static void not_sticky(void **state)
{
    struct private_dir d;
    struct err e;
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 ||
            mount("", "/", "", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", "/tmp", "tmpfs", 0, NULL) < 0 || chmod("/tmp", 0777) < 0)
            _exit(77);
        bool good = private_dir_make(&d, &e) == ERR_DENIED &&
                    strstr(e.text, "chmod +t /tmp/") && d.path[0] == '\0';
        chmod("/tmp", 0755);
        good = good && private_dir_make(&d, NULL) == 0;
        private_dir_remove(&d);
        _exit(!good);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_alone),
        cmocka_unit_test(left_over),
        cmocka_unit_test(young_or_alive_or_in_use),
        cmocka_unit_test(lock_dies_with_its_holder),
        cmocka_unit_test(of_others),
        cmocka_unit_test(not_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
