/* The shim: the parent of a trial's program. It runs the program in a session of its
 * own, adopts whatever that leaves behind (child subreaper), ends all of it when asked
 * or when its agent dies, and says how it went, by rank, which neither srun's exit
 * status nor sacct can be trusted to say.
 *
 * Under srun and mpirun it is `rung exec -- PROGRAM ARG...`, a process for each program.
 * An agent forks one for each of its slots, without exec, which stays and runs the
 * programs of that slot one after another: a fork() for each would cost as much as a
 * small program itself. After fork() in a process with threads only async-signal-safe
 * functions may be called: that is why this code allocates nothing and formats by hand.
 */
#ifndef WORKER_AGENT_SHIM_H
#define WORKER_AGENT_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct shim_report { /* written once, as bytes, to report_fd */
    int32_t rank;    /* SLURM_PROCID, OMPI_COMM_WORLD_RANK, else 0 */
    int32_t
        exec_errno;    /* not 0: the program could not be executed (or workdir entered) */
    int32_t exit_code; /* -1: a signal */
    int32_t signal;
    int32_t oom;     /* the cgroup's oom_kill count rose; other slots may share it */
    int32_t strays;  /* processes left behind that had to be ended */
    int32_t step;    /* SLURM_STEP_ID, -1: none */
    int32_t evicted; /* SIGTERM came, which an agent does not send to a step; not to the
                        program alone */
    double cpu_seconds, max_rss; /* all descendants; bytes of the largest */
};

struct shim {
    char *const *argv, *const *envp; /* argv[0] is looked up on envp's PATH */
    const char *workdir;             /* NULL: unchanged */
    int out_fd, err_fd;  /* the program's stdout and stderr, > 2; -1: inherited */
    int report_fd;       /* where the shim_report goes, > 2; -1: nowhere */
    bool keep_fds;       /* leave other descriptors open, for launchers that hand some to
                            the program (PMI_FD); else all above 2 are closed */
    pid_t parent;        /* the process that forked the shim, which does not start the
                            program when that is gone already; 0: not checked */
    double kill_seconds; /* between SIGTERM and SIGKILL */
};

/* What a program leaves behind when it ends by itself gets SIGTERM, and SIGKILL this many
 * seconds later. */
#define SHIM_STRAY_SECONDS 1.0
/* When SIGTERM ended the program, so much later at most it has come to the shim, too. */
#define SHIM_LATE_SECONDS 0.1

/* Becomes the shim in this process: returns the exit status to _exit() with, the
 * program's own where it has one, 128 + signal otherwise, 127 or 126 when it could not be
 * executed.
 *
 * SIGTERM and SIGUSR2 (srun forwards that one), and SIGINT and SIGHUP unless they were
 * ignored, end the program and all its descendants; so does the death of the thread that
 * forked the shim. Every other signal is passed on to the program's process group; of
 * that, SIGUSR1 reaches only those who catch it. The program begins with default signals
 * (a shell could not trap what was ignored before it), and dies with the shim. */
int shim_run(const struct shim *s);

/* Becomes a shim that stays: runs what order_send() puts into the other end of `orders`,
 * a stream socket, as shim_run() would, and answers each order with a shim_report when
 * nothing is left of that program. A signal that comes between two programs counts for
 * the next: whoever has sent one to a shim takes another for that. Returns, for _exit(),
 * when the agent that forked it is gone. Of the descriptors above 2 it keeps only this
 * one. */
int shim_serve(int orders, pid_t agent);

/* Closes all descriptors from this one on, in a child. */
void shim_close_from(int first);

/* The rank that an environment tells: SLURM_PROCID, OMPI_COMM_WORLD_RANK, else 0. */
int32_t shim_rank(char *const *envp);

#endif
