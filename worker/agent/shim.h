/* The shim: the parent of a trial's program. It runs the program in a session of its
 * own, adopts whatever that leaves behind (child subreaper), ends all of it when asked
 * or when its agent dies, and says how it went, by rank, which neither srun's exit
 * status nor sacct can be trusted to say.
 *
 * Local attempts get one by fork() alone, without exec, because that is far cheaper
 * than starting `rung`; under srun and mpirun `rung exec -- PROGRAM ARG...` is the same
 * code. After fork() in a process with threads only async-signal-safe functions may
 * be called: that is why this code allocates nothing and formats by hand. */
#ifndef WORKER_AGENT_SHIM_H
#define WORKER_AGENT_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct shim_report {    /* written once, as bytes, to report_fd */
    int32_t rank;       /* SLURM_PROCID, OMPI_COMM_WORLD_RANK, else 0 */
    int32_t exec_errno; /* not 0: the program could not be executed */
    int32_t exit_code;  /* -1: a signal */
    int32_t signal;
    int32_t oom;        /* the cgroup's oom_kill count rose */
    int32_t strays;     /* processes left behind that had to be ended */
    double cpu_seconds, max_rss; /* all descendants; bytes of the largest */
};

struct shim {
    char *const *argv, *const *envp;
    const char *workdir; /* NULL: unchanged */
    int out_fd, err_fd;  /* the program's stdout and stderr; -1: inherited */
    int report_fd;       /* where the shim_report goes; -1: nowhere */
    double kill_seconds; /* between SIGTERM and SIGKILL */
};

/* Becomes the shim in this process: returns the exit status to _exit() with, the
 * program's own where it has one, 128 + signal otherwise, 127 or 126 when it could not be
 * executed. SIGTERM and SIGUSR2 (srun forwards that one) end the program; SIGUSR1 is
 * ignored in the program. */
int shim_run(const struct shim *s);

#endif
