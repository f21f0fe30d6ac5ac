/* Other programs, and what the kernel knows of processes. */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_result {
    int exit_code;       /* -1 when a signal ended it */
    int signal;          /* 0 when it exited */
    bool timed_out;      /* it had not ended and closed its outputs by then */
    struct str out, err; /* at most 1 MiB of each, the rest is read and dropped */
};

/* The file that is started for a name without a slash; path: directories between colons,
 * as in PATH, or NULL. NULL: there is none. free() it. */
char *program_find(const char *name, const char *path);

/* Where a plug-in of ours lies: where that environment variable says, or beside the
 * program, as in a build tree, or in the directory. Appends its path. */
void plugin_find(const char *file, const char *variable, const char *directory,
                 struct str *path);

/* Runs argv (argv[0] looked up on PATH) in a process group of its own, standard
 * input from /dev/null or the given text, until it has ended and its outputs are
 * closed, for at most `seconds` (INFINITY: no limit), then SIGKILL to the group.
 * 0 when the program ran, whatever it returned; ERR_NOENT when there is none.
 * proc_result_free() in both cases. SIGCHLD must not be ignored. */
int proc_run(char *const argv[], const char *input, double seconds, struct proc_result *r,
             struct err *e);
void proc_result_free(struct proc_result *r);

/* The same for who must not wait: its outputs go into memory meanwhile. */
struct proc {
    pid_t pid; /* 0: none runs */
    int out, err;
    double began, deadline; /* on clock_mono() */
    bool timed_out;
};
/* Starts argv, with that environment (NULL: ours) and nothing on standard input; after
 * `seconds` proc_poll() kills its group. ERR_NOENT when there is no such program. */
int proc_start(struct proc *p, char *const argv[], char *const envp[], double seconds,
               struct err *e);
/* True when it has ended, with *r as from proc_run(), at most 16 MiB of each output;
 * false, with *r untouched, while it runs. */
bool proc_poll(struct proc *p, struct proc_result *r);
/* Waits until it has ended, or its time is over. */
void proc_wait(struct proc *p, struct proc_result *r);

/* Start time of a process in clock ticks since boot, 0 when there is no such
 * process, or none but a zombie: (pid, start) names a process for ever, a pid alone is
 * reused. */
uint64_t proc_start_time(pid_t pid);

/* CPUs that this process may use, as cpusets and taskset have it; at least 1. */
int proc_cpus(void);
/* Bytes of this process in memory; NaN where there is no /proc. */
double proc_resident(void);

/* Splits by the shell's quoting rules (POSIX 2.2: blanks, '', "", \), without
 * expansions. NULL-terminated, one allocation: free(*words). ERR_SYNTAX names
 * the unclosed quote; *offset (may be NULL) then tells where. */
int shell_split(const char *text, char ***words, size_t *n, size_t *offset,
                struct err *e);
/* Appends word to s, quoted so that sh reads it back as one word. */
void shell_quote(struct str *s, const char *word);

#endif
