/* The state of a sweep from its journal. */
#ifndef STORE_REPLAY_H
#define STORE_REPLAY_H

#include "store/history.h"
#include "store/journal.h"

struct replay {
    struct sweep *sw;        /* the caller's; events are applied to it */
    struct history *history; /* may be NULL */
    bool verify;             /* compare each decision, promotion and draw */
    /* told after each event, may be NULL */
    void (*on_event)(void *ctx, const struct event *ev, const struct verdict *v);
    void *ctx;
    /* results */
    struct journal_pos pos;
    struct journal_tail tail;
    int64_t mismatches;       /* verify: how many differ */
    char first_mismatch[256]; /* a sentence with event number and what differs */
    /* Verify compares: each report's decision exactly; each start with what sweep_next()
     * gives at that point; each draw's point to 1e-12 and its bracket exactly. */
};

/* Reads on from r->pos. Errors as journal_read(), and ERR_CORRUPT when an event cannot
 * follow on the state. */
int replay_run(struct replay *r, const char *dir, const struct journal_pos *limit,
               struct err *e);

#endif
