/* What an earlier sweep came to, for the searcher of another one: search.from. */
#ifndef LAUNCHER_EARLIER_H
#define LAUNCHER_EARLIER_H

#include "base/vec.h"
#include "launcher/sweepfile.h"
#include "sched/sweep.h"

struct earlier {
    VEC(struct event) known; /* KNOWN events, time 0, in the order of the trials */
    int32_t trials;          /* it has */
    int32_t outside;         /* of these lie outside the space */
    struct str text;         /* all parameters: the events point into it */
    VEC(double) values;      /* and into this */
};

/* Reads the sweep in f->from, which may still run, for a sweep of *f; nothing where that
 * is NULL. A trial is known if it failed, or if it reported the metric at a level of *f
 * or above, below the next one; the first such report counts there. It is outside if one
 * of the parameters that both sweeps have has a value that the space of *f cannot make.
 * ERR_NOENT when there is no such sweep, or nothing in it is known, and others of reading
 * it, all naming search.from. earlier_free() in any case. */
int earlier_load(struct earlier *a, const struct sweepfile *f, struct err *e);
void earlier_free(struct earlier *a);

/* Tells a sweep without trials what it was not told yet: apply(ctx, event). Stops at, and
 * returns, what is not 0. */
int earlier_tell(const struct earlier *a, const struct sweep *sw,
                 int (*apply)(void *ctx, const struct event *ev, struct err *e),
                 void *ctx, struct err *e);

/* "the search knows 57 of the 64 trials of DIR; 7 lie outside the space", for people. */
void earlier_text(const struct earlier *a, const struct sweepfile *f, struct str *out);

#endif
