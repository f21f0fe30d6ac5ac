/* How many attempts an agent carries: 8 slots, a program that reports once and exits
 * (examples/trial.c, told to stop at its first report), a controller on the same machine
 * that hands out the next trial at once. All of it shares the machine's cores. */
#include "worker/agent/run.h"

#include "base/clock.h"
#include "worker/agent/play.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS    8
#define ATTEMPTS 2000
#define PROGRAM  "examples/trial" /* from the build directory */

static char *concat(const char *a, const char *b)
{
    struct str s = STR_INIT;
    str_add(&s, a);
    str_add(&s, b);
    return str_take(&s);
}

static int launch(void *ctx, const struct item *work, int slot,
                  const char *checkpoint_dir, struct launch *out, struct err *e)
{
    (void)work, (void)slot, (void)e;
    out->argv = mem_alloc(2 * sizeof(char *));
    out->envp = mem_alloc(4 * sizeof(char *));
    out->argv[0] = concat(ctx, "/" PROGRAM);
    out->envp[0] = concat("PATH=", "/usr/bin:/bin");
    out->envp[1] = concat("RUNG_CHECKPOINT_DIR=", checkpoint_dir);
    out->envp[2] = concat("RUNG_UNTIL=", "1");
    return 0;
}

static bool left(const struct play *p)
{
    return p->left;
}

static pid_t start_agent(const struct play *p, char *cwd)
{
    struct agent_setup s = {.dir = p->dir, .plug = {.ctx = cwd, .launch = launch}};
    s.config = (struct agent_config){.id = 1, .slots = SLOTS, .promote = true};
    timers_default(&s.config.timers);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    _exit(agent_run(&s));
}

static int count_good(const struct play *p)
{
    int good = 0;
    for (size_t i = 0; i < p->ends.n; i++)
        good += p->ends.v[i].facts.exit_code == 0 && p->ends.v[i].facts.reports == 1;
    return good;
}

int main(void)
{
    struct play p;
    struct rusage ru;
    struct err e;
    char cwd[4096];
    /* Not on a disk: what its file system takes for new directories is not ours. */
    const char *below = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    int status = 1;
    if (!getcwd(cwd, sizeof(cwd)) || play_open(&p, below, &e) < 0)
        return 1;
    p.trials = ATTEMPTS;
    pid_t agent = start_agent(&p, cwd);
    double before = clock_mono();
    bool done = play_serve(&p, 1, &e) == 0 && play_run(&p, left, 120);
    double seconds = clock_mono() - before;
    wait4(agent, &status, 0, &ru);
    printf(
        "%.0f/s\t>= 1000/s\tattempts that report once, 8 slots, agent and controller on "
        "%ld cores\n",
        ATTEMPTS / seconds, sysconf(_SC_NPROCESSORS_ONLN));
    double cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
                 1e-6 * (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
    printf("%.2f ms\t< 2 ms\tCPU time of one of them: agent, shim and program\n",
           1e3 * cpu / ATTEMPTS);
    printf("%ld kB\t< 20000 kB\tlargest resident memory of that agent\n", ru.ru_maxrss);
    int good = count_good(&p);
    play_close(&p);
    return done && status == 0 && good == ATTEMPTS ? 0 : 1;
}
