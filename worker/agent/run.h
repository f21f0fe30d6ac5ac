/* The agent's hands: ZeroMQ, unix sockets, processes, signals, the clock. */
#ifndef WORKER_AGENT_RUN_H
#define WORKER_AGENT_RUN_H

#include "worker/agent/agent.h"

/* What an attempt runs. Made by the plug below, freed by the agent. */
struct launch {
    char **argv, **envp; /* NULL-terminated, malloc'ed, as are their strings */
    char *workdir;       /* NULL: the agent's */
    bool shimmed;        /* argv starts the shim itself (srun, mpirun): don't fork one */
};
void launch_free(struct launch *l);

/* Where launcher/ plugs in what the agent must not know: the sweep file. */
struct agent_plug {
    void *ctx;
    /* The command of an attempt. checkpoint_dir exists. 0 or an error, which ends the
     * attempt as launch_failed with its text. RUNG_SOCKET is added by the agent. */
    int (*launch)(void *ctx, const struct item *work, int slot,
                  const char *checkpoint_dir, struct launch *out, struct err *e);
};

struct agent_setup {
    const char *dir; /* the sweep's directory, absolute */
    struct agent_config config;
    struct agent_plug plug;
    const char *parse;     /* a PCRE2 expression with a group `step`, or NULL */
    int checkpoint_signal; /* 0: none */
};

/* Runs until the sweep needs this job no more. Exit status for main(). */
int agent_run(const struct agent_setup *setup);

/* Checks a `parse:` expression: compiles, has a group named step and at least one
 * other named group. ERR_SYNTAX; *offset (may be NULL) says where. */
int parse_check(const char *expression, size_t *offset, struct err *e);

#endif
