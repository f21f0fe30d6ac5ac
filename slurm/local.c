/* The local executor: a job is a session of its own on this machine, started from here
 * and known for ever by host, pid and start time. Being in its own session, Ctrl-C in the
 * terminal reaches the controller alone, which then asks its agents to save. */
#include "base/mem.h"
#include "base/proc.h"
#include "base/vec.h"
#include "slurm/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    char *job;
};

struct local {
    struct executor x;
    struct executor_ops ops;
    char **argv;
    char *log_dir;
    char host[256];
    int started;
    VEC(struct child) children;
};

static int spawn_agent(struct local *l, const char *log, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    int rc;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    posix_spawn_file_actions_addclosefrom_np(&files, 3);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn(pid, l->argv[0], &files, &attr, l->argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return rc;
}

void local_job_name(struct str *out, const char *host, long pid)
{
    str_addf(out, "local:%s:%ld:%llu", host, pid,
             (unsigned long long)proc_start_time((pid_t)pid));
}

static void local_submit(struct executor *x, int n)
{
    struct local *l = (struct local *)x;

    for (int i = 0; i < n; i++) {
        struct str log = STR_INIT, job = STR_INIT;
        pid_t pid;
        int rc;

        str_addf(&log, "%s/agent-%d.%ld.log", l->log_dir, ++l->started, (long)getpid());
        rc = spawn_agent(l, log.p, &pid);
        str_free(&log);
        if (rc != 0) {
            struct err e;

            errno = rc;
            err_sys(&e, "cannot start an agent (%s)", l->argv[0]);
            x->news->refused(x->ctx, n - i, e.text, false);
            return;
        }
        local_job_name(&job, l->host, (long)pid);
        vec_push(&l->children, ((struct child){pid, mem_strdup(job.p)}));
        x->news->submitted(x->ctx, job.p);
        str_free(&job);
    }
}

/* "local:HOST:PID:START" of this host; false for anything else. */
static bool read_job(const struct local *l, const char *job, long *pid,
                     unsigned long long *start)
{
    size_t n = strlen(l->host);

    return strncmp(job, "local:", 6) == 0 && strncmp(job + 6, l->host, n) == 0 &&
           sscanf(job + 6 + n, ":%ld:%llu", pid, start) == 2;
}

static enum job_state local_state(struct executor *x, const char *job)
{
    unsigned long long start;
    long pid;

    if (!read_job((struct local *)x, job, &pid, &start))
        return JOB_UNKNOWN;
    return proc_start_time((pid_t)pid) == start ? JOB_RUNNING : JOB_GONE;
}

static void local_cancel(struct executor *x, const char *job)
{
    unsigned long long start;
    long pid;

    if (read_job((struct local *)x, job, &pid, &start) &&
        proc_start_time((pid_t)pid) == start)
        kill((pid_t)pid, SIGTERM);
}

static void local_poll(struct executor *x)
{
    struct local *l = (struct local *)x;

    for (size_t i = 0; i < l->children.n;) {
        struct child c = l->children.v[i];
        char why[64];
        int status;

        if (waitpid(c.pid, &status, WNOHANG) != c.pid) {
            i++;
            continue;
        }
        vec_remove(&l->children, i);
        if (WIFEXITED(status))
            snprintf(why, sizeof(why), "it exited with status %d", WEXITSTATUS(status));
        else
            snprintf(why, sizeof(why), "it was ended by signal %d", WTERMSIG(status));
        x->news->gone(x->ctx, c.job, &(struct job_end){"", "", why});
        free(c.job);
    }
}

static void local_free(struct executor *x)
{
    struct local *l = (struct local *)x;

    for (size_t i = 0; i < l->children.n; i++)
        free(l->children.v[i].job);
    vec_free(&l->children);
    for (char **a = l->argv; *a; a++)
        free(*a);
    free(l->argv);
    free(l->log_dir);
    free(l);
}

struct executor *executor_local(char *const argv[], const char *log_dir,
                                int slots_per_job, const struct executor_news *news,
                                void *ctx)
{
    struct local *l = mem_alloc(sizeof(*l));
    size_t n = 0;

    while (argv[n])
        n++;
    l->argv = mem_alloc((n + 1) * sizeof(l->argv[0]));
    for (size_t i = 0; i < n; i++)
        l->argv[i] = mem_strdup(argv[i]);
    l->log_dir = mem_strdup(log_dir);
    gethostname(l->host, sizeof(l->host) - 1);
    l->ops = (struct executor_ops){.name = "local",
                                   .slots_per_job = slots_per_job,
                                   .keeps_idle = true,
                                   .submit = local_submit,
                                   .state = local_state,
                                   .cancel = local_cancel,
                                   .poll = local_poll,
                                   .free = local_free};
    l->x = (struct executor){.ops = &l->ops, .news = news, .ctx = ctx};
    return &l->x;
}
