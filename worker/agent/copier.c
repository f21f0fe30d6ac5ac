#include "worker/agent/copier.h"

#include "worker/agent/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOLD_FD 3

/* The child's side. ZeroMQ's threads are not here, and their locks do not matter:
 * malloc() alone has one that is shared, and the C library keeps that usable after
 * fork(). Of the agent's descriptors none stays open: whoever is at their other ends
 * would take it for the agent. */
static _Noreturn void become_copier(int told, pid_t agent, const char *sweep_dir,
                                    int32_t trial, int32_t attempt,
                                    struct attempt_source source)
{
    struct str path = STR_INIT;
    struct err e = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != agent)
        _exit(1);
    if (told != TOLD_FD)
        dup2(told, TOLD_FD);
    shim_close_from(TOLD_FD + 1);
    if (attempt_dir_take(sweep_dir, trial, attempt, source, &path, &e) == 0)
        _exit(0);
    if (write(TOLD_FD, e.text, strlen(e.text)) < 0)
        _exit(2);
    _exit(1);
}

int copier_start(struct copier *c, const char *sweep_dir, int32_t trial, int32_t attempt,
                 struct attempt_source source, struct err *e)
{
    pid_t agent = getpid();
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(e, "pipe");
    c->pid = fork();
    if (c->pid == 0)
        become_copier(ends[1], agent, sweep_dir, trial, attempt, source);
    close(ends[1]);
    c->told = ends[0];
    if (c->pid > 0)
        return 0;
    err_sys(e, "fork");
    close(c->told);
    return e->code;
}

int copier_ended(struct copier *c, int status, struct err *e)
{
    char text[sizeof(e->text)];
    ssize_t n = read(c->told, text, sizeof(text) - 1);
    close(c->told);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (n > 0)
        return err_set(e, ERR_IO, "%.*s", (int)n, text);
    return err_set(e, ERR_IO, "what copied its checkpoint was killed by signal %d",
                   WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}
