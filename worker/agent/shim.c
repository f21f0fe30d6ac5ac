#include "worker/agent/shim.h"

#include "base/clock.h"
#include "worker/agent/kin.h"
#include "worker/agent/order.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KIN_MAX 16384 /* descendants ended in one round */
#define KEPT_FD 3     /* where the report goes while everything else above 2 is closed */

/* What a shim is set up with, for all programs that it runs. */
struct setting {
    bool int_ends, hup_ends;
    int oom_fd;
};

struct life {
    const struct setting *set;
    pid_t program;  /* 0 once it has ended */
    int status;     /* of the program, as wait() has it */
    bool told;      /* a signal said that all is to be ended */
    double kill_at; /* INFINITY while nothing is to be ended */
    double again;   /* seconds between two rounds of SIGKILL */
    struct shim_report r;
};

/* ---- out of memory ---- */

/* Reads a small file into buf as a string; false when it cannot be. */
static bool read_text(int fd, char *buf, size_t size)
{
    ssize_t n = fd < 0 ? -1 : pread(fd, buf, size - 1, 0);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Where the path of the memory cgroup begins in a line of /proc/self/cgroup, which is
 * ID:CONTROLLER,...:PATH; NULL when it is another's. v2 has one line, "0::PATH". */
static char *memory_path(char *line, bool *v1)
{
    char *controllers = strchr(line, ':'), *path;
    if (!controllers || !(path = strchr(++controllers, ':')))
        return NULL;
    *path++ = '\0';
    *v1 = *controllers != '\0';
    if (!*v1)
        return path;
    char *memory = strstr(controllers, "memory");
    bool whole = memory && (memory == controllers || memory[-1] == ',') &&
                 (memory[6] == ',' || memory[6] == '\0');
    return whole ? path : NULL;
}

/* Opens the file that counts OOM kills in this process's memory cgroup; -1: none. The
 * memory controller is v1's where one of its hierarchies has it, else v2's. */
static int open_oom(void)
{
    char text[4096], path[4096 + 64];
    const char *found = NULL;
    bool found_v1 = false;
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    bool good = read_text(fd, text, sizeof(text));
    if (fd >= 0)
        close(fd);
    for (char *line = text, *end; good && *line; line = end) {
        bool v1;
        end = strchr(line, '\n');
        end = end ? (*end = '\0', end + 1) : line + strlen(line);
        const char *at = memory_path(line, &v1);
        if (at && !found_v1) {
            found = at;
            found_v1 = v1;
        }
    }
    if (!found)
        return -1;
    strcpy(path, found_v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup");
    strcat(path, found);
    strcat(path, found_v1 ? "/memory.oom_control" : "/memory.events");
    return open(path, O_RDONLY | O_CLOEXEC);
}

static long oom_kills(int fd)
{
    char text[1024];
    if (!read_text(fd, text, sizeof(text)))
        return 0;
    const char *p = text;
    while (p && strncmp(p, "oom_kill ", 9) != 0)
        if ((p = strchr(p, '\n')))
            p++;
    long n = 0;
    if (p)
        for (p += 9; *p >= '0' && *p <= '9'; p++)
            n = n * 10 + (*p - '0');
    return n;
}

/* ---- starting ---- */

static const char *env_get(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (; *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

/* A number in the environment; -1: there is none. */
static int32_t env_number(char *const *envp, const char *name)
{
    const char *text = env_get(envp, name);
    int32_t number = 0;
    if (!text)
        return -1;
    for (; *text >= '0' && *text <= '9' && number < 100000000; text++)
        number = number * 10 + (*text - '0');
    return number;
}

int32_t shim_rank(char *const *envp)
{
    int32_t rank = env_number(envp, "SLURM_PROCID");
    if (rank < 0)
        rank = env_number(envp, "OMPI_COMM_WORLD_RANK");
    return rank < 0 ? 0 : rank;
}

void shim_close_from(int first)
{
    struct rlimit limit;
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0) == 0)
        return;
#endif
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 65536)
        limit.rlim_cur = 65536;
    for (int fd = first; fd < (int)limit.rlim_cur; fd++)
        close(fd);
}

static void put_outputs(const struct shim *s)
{
    if (s->out_fd >= 0)
        dup2(s->out_fd, STDOUT_FILENO);
    if (s->err_fd >= 0)
        dup2(s->err_fd, STDERR_FILENO);
}

/* Closes all descriptors above 2 but `kept`, which gets the number returned. */
static int keep_only(int kept)
{
    if (kept >= 0 && kept != KEPT_FD)
        kept = dup2(kept, KEPT_FD);
    shim_close_from(kept >= 0 ? KEPT_FD + 1 : KEPT_FD);
    return kept;
}

/* Puts the descriptors in place; returns where the report goes. */
static int arrange_fds(const struct shim *s)
{
    int report = s->report_fd;
    put_outputs(s);
    if (!s->keep_fds)
        report = keep_only(report);
    if (report >= 0)
        fcntl(report, F_SETFD, FD_CLOEXEC);
    return report;
}

/* The program's side of vfork(): it has the shim's memory, but signal dispositions (which
 * are the default ones), descriptors and directory of its own. Returns only where it
 * cannot go on. */
static int become_program(const struct shim *s, pid_t shim)
{
    sigset_t none;
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != shim)
        _exit(128 + SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    put_outputs(s);
    if (s->workdir && chdir(s->workdir) < 0)
        return errno;
    execvp(s->argv[0], s->argv);
    return errno;
}

/* vfork(): the shim's pages were copied once, for itself; copying them for a process
 * that is about to exec would cost as much again. 0 when there is no process. */
static pid_t start_program(const struct shim *s, int32_t *exec_errno)
{
    volatile int32_t failed = 0;
    pid_t shim = getpid(), pid = vfork();
    if (pid == 0) {
        failed = become_program(s, shim);
        _exit(127);
    }
    *exec_errno = pid < 0 ? errno : failed;
    return pid < 0 ? 0 : pid;
}

/* ---- ending ---- */

/* Sends a signal to all descendants; how many there were. */
static size_t signal_all(int sig)
{
    static pid_t kin[KIN_MAX]; /* pages that are never touched cost nothing */
    size_t n = kin_descendants(getpid(), kin, KIN_MAX);
    for (size_t i = 0; i < n; i++)
        kill(kin[i], sig);
    return n;
}

/* Passes SIGUSR1 on to those who catch it, which may be a shell or its child: it would
 * end all others, and a program before it has come so far. */
static void signal_catchers(pid_t group)
{
    static pid_t kin[KIN_MAX];
    size_t n = kin_descendants(getpid(), kin, KIN_MAX);
    for (size_t i = 0; i < n; i++)
        if (getpgid(kin[i]) == group && kin_catches(kin[i], SIGUSR1))
            kill(kin[i], SIGUSR1);
}

/* Counts what a process used, its waited-for children included. */
static void account(struct shim_report *r, const struct rusage *ru)
{
    double rss = 1024.0 * (double)ru->ru_maxrss;
    r->cpu_seconds += (double)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) +
                      1e-6 * (double)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec);
    if (rss > r->max_rss)
        r->max_rss = rss;
}

/* Takes the ends of children; false when there are none left, and so, all orphans being
 * ours, no descendants either. */
static bool reap(struct life *l)
{
    struct rusage ru;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
        account(&l->r, &ru);
        if (pid == l->program) {
            l->program = 0;
            l->status = status;
        }
    }
    return pid == 0;
}

static void take_signal(struct life *l, int sig, double kill_seconds)
{
    if (sig == SIGCHLD)
        return;
    if (sig == SIGTERM || sig == SIGUSR2 || (sig == SIGINT && l->set->int_ends) ||
        (sig == SIGHUP && l->set->hup_ends)) {
        l->told = true;
        l->r.evicted |= sig == SIGTERM;
        if (isinf(l->kill_at)) {
            signal_all(SIGTERM);
            l->kill_at = clock_mono() + kill_seconds;
        }
    } else if (l->program && sig == SIGUSR1) {
        signal_catchers(l->program);
    } else if (l->program) {
        kill(-l->program, sig);
    }
}

/* The next signal, 0 when there was none before `until`. */
static int wait_signal(double until)
{
    sigset_t all;
    sigfillset(&all);
    if (isinf(until))
        return sigtimedwait(&all, NULL, NULL);
    double left = until - clock_mono();
    if (left < 0)
        left = 0;
    struct timespec t = {.tv_sec = (time_t)left,
                         .tv_nsec = (long)(1e9 * fmod(left, 1.0))};
    return sigtimedwait(&all, NULL, &t);
}

static void watch(struct life *l, double kill_seconds)
{
    while (reap(l)) {
        double now = clock_mono();
        if (!l->program && isinf(l->kill_at)) {
            l->r.strays = (int32_t)signal_all(SIGTERM);
            l->kill_at = now + SHIM_STRAY_SECONDS;
        } else if (now >= l->kill_at) {
            signal_all(SIGKILL);
            l->kill_at = now + l->again;
            l->again = fmin(2 * l->again, 1.0); /* what hangs in the kernel takes time */
        }
        int sig = wait_signal(l->kill_at);
        if (sig > 0)
            take_signal(l, sig, kill_seconds);
    }
}

/* Slurm sends SIGTERM to all processes of a step, and the program may be the first. One
 * that gets it alone has itself to thank for it. */
static void hear_late(struct life *l)
{
    struct timespec late = {.tv_nsec = (long)(1e9 * SHIM_LATE_SECONDS)};
    sigset_t term;
    if (l->told || !WIFSIGNALED(l->status) || WTERMSIG(l->status) != SIGTERM)
        return;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    l->r.evicted = sigtimedwait(&term, NULL, &late) == SIGTERM;
}

static bool ignored(int sig)
{
    struct sigaction act;
    return sigaction(sig, NULL, &act) == 0 && act.sa_handler == SIG_IGN;
}

/* All signals wait for sigtimedwait(), so none is handled or ignored here. */
static void arrange_signals(struct setting *set)
{
    struct sigaction act = {.sa_handler = SIG_DFL};
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    set->int_ends = !ignored(SIGINT);
    set->hup_ends = !ignored(SIGHUP);
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &act, NULL);
}

/* ---- programs ---- */

/* The program's whole life; returns the exit status that tells of it. */
static int run_program(const struct setting *set, const struct shim *s,
                       struct shim_report *r)
{
    struct life l = {.set = set, .kill_at = INFINITY, .again = 0.01};
    long oom_before = oom_kills(set->oom_fd);
    environ = (char **)s->envp; /* execvp() looks for PATH there */
    l.r.rank = shim_rank(s->envp);
    l.r.step = env_number(s->envp, "SLURM_STEP_ID");
    l.program = start_program(s, &l.r.exec_errno);
    watch(&l, s->kill_seconds);
    hear_late(&l);

    l.r.exit_code = WIFEXITED(l.status) && !l.r.exec_errno ? WEXITSTATUS(l.status) : -1;
    l.r.signal = WIFSIGNALED(l.status) ? WTERMSIG(l.status) : 0;
    l.r.oom = oom_kills(set->oom_fd) > oom_before;
    *r = l.r;
    if (r->exec_errno)
        return r->exec_errno == ENOENT ? 127 : 126;
    return r->signal ? 128 + r->signal : r->exit_code;
}

/* Is the parent still there? It may have died before the signal was asked for. */
static bool arrange_life(struct setting *set, pid_t parent)
{
    set->oom_fd = open_oom();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    return !parent || getppid() == parent;
}

int shim_run(const struct shim *s)
{
    struct setting set;
    struct shim_report r;
    struct shim program = *s;
    arrange_signals(&set);
    program.report_fd = arrange_fds(s);
    program.out_fd = program.err_fd = -1; /* they are in place */
    if (!arrange_life(&set, s->parent))
        return 128 + SIGTERM;
    int status = run_program(&set, &program, &r);
    if (program.report_fd >= 0 && write(program.report_fd, &r, sizeof(r)) < 0)
        return status; /* nobody listens any more: the status is all there is */
    return status;
}

int shim_serve(int orders, pid_t agent)
{
    struct setting set;
    struct order o = {.room = NULL};
    struct shim_report r;
    arrange_signals(&set);
    orders = keep_only(orders);
    fcntl(orders, F_SETFD, FD_CLOEXEC);
    arrange_life(&set, agent);
    while (order_receive(orders, &o)) {
        if (getppid() != agent)
            break;
        run_program(&set, &o.shim, &r);
        if (o.shim.out_fd >= 0)
            close(o.shim.out_fd);
        if (send(orders, &r, sizeof(r), MSG_NOSIGNAL) < 0)
            break;
    }
    return 0;
}
