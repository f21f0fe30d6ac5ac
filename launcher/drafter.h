/* The thread in which draws are made ahead (sched/draft.h). */
#ifndef LAUNCHER_DRAFTER_H
#define LAUNCHER_DRAFTER_H

#include "sched/draft.h"

struct drafter;

/* The thread blocks all signals. NULL and *e when there can be none. */
struct drafter *drafter_new(struct err *e);
/* Waits for the draw that is being made, and frees it. NULL is fine. */
void drafter_free(struct drafter *d);

/* Makes one, which is the thread's until drafter_take() gives it back. One at a time. */
void drafter_make(struct drafter *d, struct draft *draft);
/* Readable when one is made. */
int drafter_fd(const struct drafter *d);
struct draft *drafter_take(struct drafter *d); /* NULL: none is made */

#endif
