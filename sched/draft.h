/* A draw that is made ahead, beside a sweep that goes on: of searchers whose draws take
 * time. It has a copy of what was known when it was begun, so that draft_make() may be
 * called in any thread; the rest of this, and the sweep, belong to one. */
#ifndef SCHED_DRAFT_H
#define SCHED_DRAFT_H

#include "sched/sweep.h"

struct draft;

/* The sweep's next draw: *out; NULL when that takes no time, sweep_draw() does it. There
 * may be one of a sweep at a time that is not made yet, and draft_free() comes before
 * sweep_free(). Fails as sweep_draw(). */
int draft_begin(struct sweep *sw, struct draft **out, struct err *e);
void draft_make(struct draft *d);
/* Has the sweep come to know more since it was begun? It can be used all the same. */
bool draft_is_old(const struct draft *d, const struct sweep *sw);
/* sweep_draw() with a draft that was made. It can be used once. */
int draft_use(struct draft *d, struct sweep *sw, struct event *ev, struct err *e);
void draft_free(struct draft *d); /* NULL is fine */

#endif
