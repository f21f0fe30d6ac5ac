/* Where each agent is answered: on the connection that it was heard on last.
 *
 * An agent that comes up says the same on one connection to each address of the
 * controller's host, and stays with the first that is answered. The copies on the others,
 * which may come later than what it says next, are not to turn its answers there. */
#ifndef LAUNCHER_ROUTES_H
#define LAUNCHER_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct routes;

/* again: no agent says the same once more before so many seconds have passed. */
struct routes *routes_new(double again);
void routes_free(struct routes *r); /* NULL is fine */

/* A packet of the agent came on the connection `peer`. now: never goes back. */
void routes_heard(struct routes *r, uint64_t agent, uint64_t peer, const char *packet,
                  size_t n, double now);
/* False: it was not heard yet. */
bool routes_find(const struct routes *r, uint64_t agent, uint64_t *peer);

#endif
