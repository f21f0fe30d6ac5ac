/* A process that makes the directory of an attempt that begins with a copy of another
 * one's (attempt_dir_take()): checkpoints may be large and disks slow, and the agent goes
 * on meanwhile. It dies with the thread that forked it, and can be killed at any time:
 * what it has made by then has no name that an attempt would take. */
#ifndef WORKER_AGENT_COPIER_H
#define WORKER_AGENT_COPIER_H

#include "worker/agent/attempt_dir.h"

#include <sys/types.h>

struct copier {
    pid_t pid; /* the caller waits for it */
    int told;  /* says what went wrong */
};

/* 0, or an error. */
int copier_start(struct copier *c, const char *sweep_dir, int32_t trial, int32_t attempt,
                 struct attempt_source source, struct err *e);
/* It has ended, with wait()'s status: 0 where the directory is there, else an error. */
int copier_ended(struct copier *c, int status, struct err *e);

#endif
