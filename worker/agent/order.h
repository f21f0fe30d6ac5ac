/* What an agent tells a shim that stays: which program to run next. An order goes over a
 * stream socket, the program's output along with it as a descriptor; the shim_report
 * comes back the same way. */
#ifndef WORKER_AGENT_ORDER_H
#define WORKER_AGENT_ORDER_H

#include "base/err.h"
#include "worker/agent/shim.h"

/* Sends what counts in an order: argv, envp, workdir, out_fd (for both outputs; it stays
 * the caller's) and kill_seconds. */
int order_send(int fd, const struct shim *s, struct err *e);

/* The shim's side, which allocates with mmap() alone: see worker/agent/shim.h. */
struct order {
    struct shim shim; /* its words live until the next order; out_fd is the shim's */
    char *room;
    size_t size; /* bytes mapped at room */
};

/* Waits for an order; false when there will be none: the agent is gone. */
bool order_receive(int fd, struct order *o);

#endif
