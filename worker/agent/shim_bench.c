/* How many attempts of /bin/true one core carries: by a slot's shim, as the agent uses
 * it, and without it, which is what exec and the dynamic linker cost alone. */
#include "worker/agent/order.h"

#include "base/clock.h"

#include <math.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH   100
#define BATCHES 20

static char *program[] = {(char *)"/bin/true", NULL};
static char *environment[] = {(char *)"PATH=/usr/bin:/bin", NULL};

static int orders; /* of the shim that stays */

static pid_t begin(void)
{
    int ends[2];
    pid_t agent = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(shim_serve(ends[1], agent));
    close(ends[1]);
    orders = ends[0];
    return pid;
}

static int attempt(void)
{
    struct shim_report r;
    const struct shim s = {.argv = program,
                           .envp = environment,
                           .out_fd = STDERR_FILENO,
                           .kill_seconds = 30};
    if (order_send(orders, &s, NULL) != 0)
        return -1;
    return recv(orders, &r, sizeof(r), MSG_WAITALL) == sizeof(r) ? r.exit_code : -1;
}

static int bare(void)
{
    pid_t pid;
    int status;
    if (posix_spawn(&pid, program[0], NULL, NULL, program, environment) != 0)
        return -1;
    return waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : -1;
}

/* Runs a batch; a second, 0 when one failed. */
static double rate(int (*one)(void))
{
    double before = clock_mono();
    for (int i = 0; i < BATCH; i++)
        if (one() != 0)
            return 0;
    return BATCH / (clock_mono() - before);
}

/* By turns, and the best batch of each: neighbours only ever make one slower. */
int main(void)
{
    double with = 0, without = 0;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    pid_t shim = begin();
    for (int i = 0; shim > 0 && i < BATCHES; i++) {
        without = fmax(without, rate(bare));
        with = fmax(with, rate(attempt));
    }
    close(orders);
    waitpid(shim, NULL, 0);
    printf("%.0f/s\t>= 2000/s\tattempts of /bin/true through the shim, one core\n", with);
    printf("%.0f %%\t>= 70 %%\tof what posix_spawn alone does there (%.0f/s)\n",
           100 * with / without, without);
    return with > 0 && without > 0 ? 0 : 1;
}
