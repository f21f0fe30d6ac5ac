/* Where an agent has its sockets: /tmp/rung-agent-XXXXXX, open to its own user only. */
#ifndef WORKER_AGENT_PRIVATE_DIR_H
#define WORKER_AGENT_PRIVATE_DIR_H

#include "base/err.h"

struct private_dir {
    char path[32]; /* "": none */
    int fd;        /* holds a lock, by which others see that the agent lives */
};

/* Makes one; and removes those of agents of this user that were killed and could not.
 * ERR_DENIED where /tmp is open to all and not sticky. */
int private_dir_make(struct private_dir *d, struct err *e);
void private_dir_remove(struct private_dir *d); /* and the sockets in it; safe twice */

#endif
