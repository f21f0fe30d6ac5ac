/* The controller's loop: sockets, journal, executor, requests, signals and the view,
 * around the controller's mind. */
#ifndef LAUNCHER_SERVE_H
#define LAUNCHER_SERVE_H

#include "base/err.h"
#include "launcher/requests.h"

#include <stdbool.h>
#include <stddef.h>

/* Where a sweep's jobs run. As before: where its last controller started them. */
enum serve_executor { EXECUTOR_AS_BEFORE, EXECUTOR_LOCAL, EXECUTOR_SLURM };

struct serve_options {
    enum serve_executor executor;
    const struct request *sets; /* `resume --set`: journaled first */
    size_t n_sets;
    const struct request *asks; /* then these: `rung stop` without a controller */
    size_t n_asks;
    const char *name; /* of a new sweep; NULL: its first epoch tells */
    bool submit;      /* start jobs (not for `rung stop`) */
    bool resume;      /* a paused sweep is to go on */
    const char *job;  /* of Slurm, which we are, one of a chain (slurm/succession.h):
                         SIGTERM  leaves the sweep to the next one; NULL: none */
    bool quiet;       /* no progress */
    bool json;        /* at the end, the state as JSON on stdout */
};

/* Begins an epoch of the sweep in dir (absolute) and serves it until it is over, paused,
 * superseded or left to a successor. The process's exit status. */
int serve(const char *dir, const struct serve_options *o);

#endif
