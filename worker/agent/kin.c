/* Since Linux 3.5 /proc/PID/task/TID/children lists the children of a thread; where the
 * kernel was built without it (CONFIG_PROC_CHILDREN) all of /proc is searched for
 * processes with that parent. opendir() and snprintf() are not async-signal-safe, hence
 * getdents64 and formatting by hand. */
#include "worker/agent/kin.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_ROOM 64 /* "/proc/", two pids, and words */

struct list {
    pid_t *v;
    size_t n, max;
};

static void add(struct list *l, long pid)
{
    if (pid > 0 && l->n < l->max)
        l->v[l->n++] = (pid_t)pid;
}

static char *put_text(char *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n + 1);
    return p + n;
}

static char *put_pid(char *p, pid_t pid)
{
    char digits[16];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + pid % 10);
    while ((pid /= 10) > 0);
    while (n > 0)
        *p++ = digits[--n];
    *p = '\0';
    return p;
}

/* Reads digits; 0 where there are none. */
static long take_number(const char **p, const char *end)
{
    long v = 0;
    while (*p < end && **p >= '0' && **p <= '9')
        v = v * 10 + (*(*p)++ - '0');
    return v;
}

/* Calls each(arg, pid, list) for every entry of a directory that is a number. */
static void each_number(const char *dir, void (*each)(pid_t, pid_t, struct list *),
                        pid_t arg, struct list *out)
{
    _Alignas(struct dirent64) char buf[8192];
    long n;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
        for (long at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(void *)(buf + at);
            const char *name = d->d_name;
            long number = take_number(&name, name + strlen(name));
            if (number > 0 && !*name)
                each(arg, (pid_t)number, out);
            at += d->d_reclen;
        }
    close(fd);
}

static int open_children(pid_t of, pid_t thread)
{
    char path[PATH_ROOM], *p = put_pid(put_text(path, "/proc/"), of);
    put_text(put_pid(put_text(p, "/task/"), thread), "/children");
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* "12 345 ": a number may be cut in two by the end of a read. */
static void add_children(pid_t of, pid_t thread, struct list *out)
{
    char buf[4096];
    long pid = 0;
    ssize_t n;
    int fd = open_children(of, thread);
    if (fd < 0)
        return;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] >= '0' && buf[i] <= '9') {
                pid = pid * 10 + (buf[i] - '0');
            } else {
                add(out, pid);
                pid = 0;
            }
        }
    add(out, pid);
    close(fd);
}

/* Adds a process if its parent is `of`: the second word behind the name in its stat,
 * which is in parentheses and may hold anything. */
static void add_if_child(pid_t of, pid_t pid, struct list *out)
{
    char buf[512];
    put_text(put_pid(put_text(buf, "/proc/"), pid), "/stat");
    int fd = open(buf, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, buf, sizeof(buf));
    close(fd);
    const char *p = n > 0 ? memrchr(buf, ')', (size_t)n) : NULL;
    if (!p || buf + n - p < 5)
        return;
    p += 4; /* ") S " */
    if (take_number(&p, buf + n) == of)
        add(out, pid);
}

static void scan_children(pid_t of, struct list *out)
{
    each_number("/proc", add_if_child, of, out);
}

static bool can_list(void)
{
    int fd = open_children(getpid(), (pid_t)syscall(SYS_gettid));
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void find_children(pid_t of, bool listed, struct list *out)
{
    char path[PATH_ROOM];
    put_text(put_pid(put_text(path, "/proc/"), of), "/task");
    if (listed)
        each_number(path, add_children, of, out);
    else
        scan_children(of, out);
}

size_t kin_children(pid_t of, pid_t out[], size_t max)
{
    struct list l = {out, 0, max};
    find_children(of, can_list(), &l);
    return l.n;
}

size_t kin_descendants(pid_t of, pid_t out[], size_t max)
{
    struct list l = {out, 0, max};
    bool listed = can_list();
    find_children(of, listed, &l);
    for (size_t i = 0; i < l.n; i++)
        find_children(l.v[i], listed, &l);
    return l.n;
}

/* The mask of caught signals is in hexadecimal digits behind this word in its status. */
bool kin_catches(pid_t pid, int sig)
{
    static const char word[] = "\nSigCgt:\t";
    char buf[4096];
    put_text(put_pid(put_text(buf, "/proc/"), pid), "/status");
    int fd = open(buf, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, sizeof(buf));
    close(fd);
    const char *p = n > 0 ? memmem(buf, (size_t)n, word, sizeof(word) - 1) : NULL;
    uint64_t mask = 0;
    for (p = p ? p + sizeof(word) - 1 : buf + n; p < buf + n && *p != '\n'; p++)
        mask = mask << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    return mask >> (sig - 1) & 1;
}
