#include "launcher/doctor.h"

#include "base/clock.h"
#include "slurm/command.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE 1.0 /* seconds for what was killed to be gone */

void doctor_say(struct doctor *d, enum doctor_mark mark, const char *what,
                const char *next, const char *fmt, ...)
{
    struct doctor_check c = {d->group, what, mark, NULL, mem_strdup(next)};
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&c.finding, fmt, ap) < 0)
        abort();
    va_end(ap);
    vec_push(&d->checks, c);
}

void doctor_free(struct doctor *d)
{
    for (size_t i = 0; i < d->checks.n; i++) {
        free(d->checks.v[i].finding);
        free(d->checks.v[i].next);
    }
    vec_free(&d->checks);
    for (int i = 0; i < ASK_COUNT; i++)
        proc_result_free(&d->answer[i]);
    site_free(&d->site);
}

/* ---- commands, and what is done apart ---- */

static void moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

bool doctor_start(const struct doctor *d, struct proc *p, char *const argv[])
{
    if (command_start(p, argv, d->patience, NULL) == 0)
        return true;
    p->pid = 0;
    return false;
}

bool doctor_answer(struct proc *p, struct proc_result *r)
{
    *r = (struct proc_result){.exit_code = -1, .out = STR_INIT, .err = STR_INIT};
    if (p->pid == 0)
        return false;
    while (!proc_poll(p, r)) {
        if (clock_mono() > p->deadline + GRACE) {
            r->timed_out = true;
            return false;
        }
        moment();
    }
    return r->exit_code == 0 && !r->timed_out;
}

void *doctor_facts(size_t size)
{
    void *facts =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (facts == MAP_FAILED)
        abort();
    return facts;
}

void doctor_facts_free(void *facts, size_t size)
{
    munmap(facts, size);
}

bool doctor_apart(const struct doctor *d, void (*fn)(void *facts), void *facts)
{
    double deadline = clock_mono() + d->patience;
    int status = 0;
    pid_t pid, got = 0;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        fn(facts);
        _exit(0);
    }
    while (pid > 0 && (got = waitpid(pid, &status, WNOHANG)) == 0 &&
           clock_mono() < deadline)
        moment();
    if (pid > 0 && got == 0)
        kill(pid, SIGKILL); /* whether or not it can die now */
    return pid > 0 && got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
