/* A sweep without programs, for tests and benchmarks: slots that train by arithmetic, in
 * the order and with the clock that a seed gives. The state machine is the real one. */
#ifndef STORE_REHEARSAL_H
#define STORE_REHEARSAL_H

#include "sched/sweep.h"

struct rehearsal {
    struct sweep *sw;
    uint64_t seed;
    int slots;
    int metrics;    /* a report has so many, the sweep's own first */
    double trouble; /* the chance of a step to end its attempt in failure */
    double clock;   /* wall time; moves on by a second or so with each event */
    void (*emit)(void *ctx, const struct event *ev, const struct verdict *v);
    void *ctx;
    int64_t limit; /* stop after so many events; 0: at the end of the sweep */
};

/* Parameters of every kind, ASHA to 27 steps, `trials` trials. spec_clear() it. */
void rehearsal_spec(struct spec *spec, int64_t trials, bool stop_mode);

/* Runs the sweep, each event applied and then told to emit. How many there were. */
int64_t rehearse(struct rehearsal *r);

#endif
