/* The agent's hands: ZeroMQ, unix sockets, processes, signals, the clock. */
#ifndef WORKER_AGENT_RUN_H
#define WORKER_AGENT_RUN_H

#include "worker/agent/agent.h"

/* What an attempt runs. Made by the plug below, freed by the agent. */
struct launch {
    char **argv, **envp; /* NULL-terminated, malloc'ed, as are their strings */
    char *workdir;       /* NULL: the agent's */
    /* argv is a launcher (srun) that starts `rung exec -- PROGRAM ...` for each rank, so
     * no shim is forked. RUNG_EXEC_REPORT in the environment tells those where their
     * reports go (worker/agent/ranks.h); to end the attempt the launcher gets SIGUSR2,
     * which it passes on to them. */
    bool shimmed;
};
void launch_free(struct launch *l);

/* Where launcher/ plugs in what the agent must not know: the sweep file. */
struct agent_plug {
    void *ctx;
    /* The command of an attempt. checkpoint_dir exists. 0 or an error, which ends the
     * attempt as launch_failed with its text. RUNG_SOCKET is added by the agent; stdout
     * and stderr go to attempt-NN.log in checkpoint_dir. */
    int (*launch)(void *ctx, const struct item *work, int slot,
                  const char *checkpoint_dir, struct launch *out, struct err *e);
    /* As the `gpus` of struct agent_port; may be NULL. */
    bool (*gpus)(void *ctx, int slot, struct gpu_use *out);
    /* The slot's attempt is over, though it may not have come to launch(): adds what its
     * GPUs did to its facts, which say when it started and ended. Returns a phrase about
     * them for the note, or NULL; it lives until the next call. May be NULL. */
    const char *(*spent)(void *ctx, int slot, struct end_facts *facts);
};

struct agent_setup {
    const char *dir; /* the sweep's directory, absolute */
    struct agent_config config;
    struct agent_plug plug;
    const char *parse;     /* a PCRE2 expression with a group `step`, or NULL */
    int checkpoint_signal; /* 0: none; SIGTERM and SIGUSR2 have their meaning already */
};

/* Runs until the sweep needs this job no more: the controller says so, or nobody says
 * anything for long, or SIGTERM comes, upon which attempts are ended first. Exit status
 * for main(). Few lines about itself go to stderr. Signals, the subreaper flag and the
 * limit of open files are changed for the process. */
int agent_run(const struct agent_setup *setup);

/* Checks a `parse:` expression: it compiles, has a group named step and at least one
 * other named group, none with a name that metrics may not have, and one with that of
 * `metric` (NULL: any will do). ERR_SYNTAX; *offset (may be NULL) says where. */
int parse_check(const char *expression, const char *metric, size_t *offset,
                struct err *e);

#endif
