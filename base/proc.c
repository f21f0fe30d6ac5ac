#include "base/proc.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP_MAX       (1 << 20)
#define KEEP_ASIDE_MAX (1 << 24)

extern char **environ;

/* The child's standard input: a file in memory rather than a pipe, so that a
 * child that does not read it can neither block us nor send us SIGPIPE. */
static int open_input(const char *input, struct err *e)
{
    if (!input) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? err_sys(e, "/dev/null") : fd;
    }
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "memfd_create");
    int rc = file_write_fd(fd, input, strlen(input), e);
    if (!rc && lseek(fd, 0, SEEK_SET) < 0)
        rc = err_sys(e, "lseek");
    if (rc) {
        close(fd);
        return rc;
    }
    return fd;
}

/* Starts argv in a process group of its own with default signals; 0 or errno. */
static int spawn(pid_t *pid, char *const argv[], char *const envp[], int in, int out,
                 int err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int number = posix_spawnp(pid, argv[0], &files, &attr, argv, envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return number;
}

static int ms_until(double deadline)
{
    double left = (deadline - clock_mono()) * 1e3;
    return left <= 0 ? 0 : left > 1e6 ? 1000000 : (int)left + 1;
}

/* Reads once from f into s; closes it at its end. */
static void take(struct pollfd *f, struct str *s)
{
    char buf[65536];
    ssize_t n = read(f->fd, buf, sizeof(buf));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        close(f->fd);
        f->fd = -1;
        return;
    }
    size_t room = KEEP_MAX - s->len;
    str_addn(s, buf, (size_t)n < room ? (size_t)n : room);
}

/* Reads both to their ends; false when the deadline came first. */
static bool collect(struct pollfd f[2], double deadline, struct proc_result *r)
{
    while (f[0].fd >= 0 || f[1].fd >= 0) {
        int ready = poll(f, 2, ms_until(deadline));
        if (ready == 0 && clock_mono() >= deadline)
            return false;
        if (ready <= 0)
            continue;
        if (f[0].revents)
            take(&f[0], &r->out);
        if (f[1].revents)
            take(&f[1], &r->err);
        if (clock_mono() >= deadline)
            return false;
    }
    return true;
}

/* Reaps a child that has closed its outputs, and so as a rule is ending: 1, 0
 * when the deadline came first, -1 with errno. */
static int reap(pid_t pid, double deadline, int *status)
{
    long ns = 100000;
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid)
            return 1;
        if (got < 0 && errno != EINTR)
            return -1;
        if (clock_mono() >= deadline)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        ns = ns < 10000000 ? ns * 2 : ns;
    }
}

static void set_status(struct proc_result *r, int status)
{
    if (WIFSIGNALED(status))
        r->signal = WTERMSIG(status);
    else
        r->exit_code = WEXITSTATUS(status);
}

/* Sees a started child through to its end. */
static int finish(pid_t pid, struct pollfd f[2], double deadline, struct proc_result *r,
                  struct err *e)
{
    int status = 0, got = 0;
    if (collect(f, deadline, r))
        got = reap(pid, deadline, &status);
    if (got == 0) {
        r->timed_out = true;
        kill(-pid, SIGKILL);
        do
            got = waitpid(pid, &status, 0);
        while (got < 0 && errno == EINTR);
    }
    if (got < 0) /* ECHILD: a SIGCHLD that is ignored, or somebody else's wait() */
        return err_sys(e, "the exit status is lost");
    set_status(r, status);
    return 0;
}

static void close_one(int fd)
{
    if (fd >= 0)
        close(fd);
}

static bool runnable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *program_find(const char *name, const char *path)
{
    char *copy = mem_strdup(path ? path : ""), *rest = copy, *dir, *found = NULL;

    while (!found && (dir = strsep(&rest, ":")) != NULL) {
        found = path_join(*dir ? dir : ".", name);
        if (!runnable(found)) {
            free(found);
            found = NULL;
        }
    }
    free(copy);
    return found;
}

void plugin_find(const char *file, const char *variable, const char *directory,
                 struct str *path)
{
    const char *given = getenv(variable);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self));
    size_t begin = path->len;

    if (given) {
        str_add(path, given);
        return;
    }
    while (n > 0 && self[n - 1] != '/')
        n--;
    if (n > 0) {
        str_addn(path, self, (size_t)n);
        str_add(path, file);
        if (access(path->p + begin, R_OK) == 0)
            return;
        str_cut(path, begin);
    }
    str_addf(path, "%s/%s", directory, file);
}

int proc_run(char *const argv[], const char *input, double seconds, struct proc_result *r,
             struct err *e)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid;
    *r = (struct proc_result){.exit_code = -1, .out = STR_INIT, .err = STR_INIT};
    double deadline = clock_mono() + seconds;
    int in = open_input(input, e);
    if (in < 0)
        return in;
    int rc = 0;
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
        rc = err_sys(e, "pipe");
        goto out;
    }
    errno = spawn(&pid, argv, environ, in, out[1], err[1]);
    if (errno) {
        rc = err_sys(e, "%s", argv[0]);
        goto out;
    }
    close(out[1]);
    close(err[1]);
    struct pollfd f[2] = {{.fd = out[0], .events = POLLIN},
                          {.fd = err[0], .events = POLLIN}};
    rc = finish(pid, f, deadline, r, e);
    if (rc)
        err_prefix(e, "%s", argv[0]);
    out[0] = f[0].fd;
    err[0] = f[1].fd;
    out[1] = err[1] = -1;
out:
    close(in);
    close_one(out[0]);
    close_one(out[1]);
    close_one(err[0]);
    close_one(err[1]);
    return rc;
}

/* ---- without waiting ---- */

int proc_start(struct proc *p, char *const argv[], char *const envp[], double seconds,
               struct err *e)
{
    int rc = 0, in = open_input(NULL, e);

    *p = (struct proc){.began = clock_mono()};
    p->deadline = p->began + seconds;
    if (in < 0)
        return in;
    p->out = memfd_create("output", MFD_CLOEXEC);
    p->err = memfd_create("errors", MFD_CLOEXEC);
    if (p->out < 0 || p->err < 0) {
        rc = err_sys(e, "memfd_create");
    } else if ((errno =
                    spawn(&p->pid, argv, envp ? envp : environ, in, p->out, p->err))) {
        rc = err_sys(e, "%s", argv[0]);
        p->pid = 0;
    }
    close(in);
    if (rc != 0) {
        close_one(p->out);
        close_one(p->err);
    }
    return rc;
}

/* What was written to it, from its beginning; and closes it. */
static void read_back(int fd, struct str *s)
{
    char buf[65536];
    ssize_t n;

    while ((n = pread(fd, buf, sizeof(buf), (off_t)s->len)) > 0 &&
           s->len + (size_t)n <= KEEP_ASIDE_MAX)
        str_addn(s, buf, (size_t)n);
    close(fd);
}

bool proc_poll(struct proc *p, struct proc_result *r)
{
    int status = 0;
    pid_t got = waitpid(p->pid, &status, WNOHANG);

    if (got == 0 || (got < 0 && errno == EINTR)) {
        if (clock_mono() >= p->deadline) {
            p->timed_out =
                true; /* and reaped in a later call: it may hang in the kernel */
            kill(-p->pid, SIGKILL);
        }
        return false;
    }
    *r = (struct proc_result){.exit_code = -1, .out = STR_INIT, .err = STR_INIT};
    r->timed_out = p->timed_out;
    if (got == p->pid)
        set_status(r, status);
    read_back(p->out, &r->out);
    read_back(p->err, &r->err);
    p->pid = 0;
    return true;
}

void proc_wait(struct proc *p, struct proc_result *r)
{
    long ns = 1000000;

    while (!proc_poll(p, r)) {
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        ns = ns < 50000000 ? ns * 2 : ns;
    }
}

void proc_result_free(struct proc_result *r)
{
    str_free(&r->out);
    str_free(&r->err);
}

uint64_t proc_start_time(pid_t pid)
{
    char path[64];
    unsigned long long start = 0;
    struct str s = STR_INIT;
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    if (file_read(path, 4096, &s, NULL) == 0) {
        /* Field 2 is the program's name in parentheses and may hold anything;
         * field 22 is the start time (proc(5)). Field 3 is Z once it has ended: it
         * may be reaped much later, or never in a container without an init. */
        char *p = strrchr(s.p, ')');
        if (p && strncmp(p, ") Z", 3) == 0)
            p = NULL;
        for (int field = 2; p && field < 22; field++)
            p = strchr(p + 1, ' ');
        if (p)
            start = strtoull(p, NULL, 10);
    }
    str_free(&s);
    return start;
}

int proc_cpus(void)
{
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                          : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : (int)n;
}

double proc_resident(void)
{
    long all, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    bool read = file && fscanf(file, "%ld %ld", &all, &resident) == 2;

    if (file)
        fclose(file);
    return read ? (double)resident * (double)sysconf(_SC_PAGESIZE) : NAN;
}

/* ---- words ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* Copies one word from *from to *to; NULL, or what is wrong at *from. */
static const char *split_word(const char **from, char **to)
{
    const char *p = *from;
    char *out = *to, quote = '\0';
    for (; *p && (quote || !is_blank(*p)); p++) {
        if (quote && *p == quote) {
            quote = '\0';
        } else if (!quote && (*p == '\'' || *p == '"')) {
            quote = *p;
            *from = p; /* where to point at if it is never closed */
        } else if (*p == '\\' && quote != '\'') {
            if (!p[1] && !quote) {
                *from = p;
                return "a backslash at the end";
            }
            bool special = p[1] && (!quote || strchr("$`\"\\\n", p[1]));
            if (special)
                p++;
            if (!special || *p != '\n') /* a backslash and a newline are nothing */
                *out++ = *p;
        } else {
            *out++ = *p;
        }
    }
    if (quote)
        return quote == '"' ? "a \" that is not closed" : "a ' that is not closed";
    *from = p;
    *to = out;
    return NULL;
}

int shell_split(const char *text, char ***words, size_t *n, size_t *offset, struct err *e)
{
    size_t len = strlen(text), most = len / 2 + 1; /* words */
    size_t table = (most + 1) * sizeof(char *);
    char **list = mem_alloc(table + len + most);
    char *out = (char *)list + table;
    const char *p = text;
    size_t count = 0;
    for (;;) {
        while (is_blank(*p) || (p[0] == '\\' && p[1] == '\n'))
            p += is_blank(*p) ? 1 : 2;
        if (!*p)
            break;
        list[count] = out;
        const char *wrong = split_word(&p, &out);
        if (wrong) {
            if (offset)
                *offset = (size_t)(p - text);
            free(list);
            return err_set(e, ERR_SYNTAX, "%s", wrong);
        }
        *out++ = '\0';
        count++;
    }
    *words = list;
    *n = count;
    return 0;
}

void shell_quote(struct str *s, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_@%+=:,./-";
    if (*word && word[strspn(word, plain)] == '\0') {
        str_add(s, word);
        return;
    }
    str_addc(s, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            str_add(s, "'\\''");
        else
            str_addc(s, *word);
    }
    str_addc(s, '\'');
}
