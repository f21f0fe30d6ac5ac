/* librung: what a trial program in C or C++ links to take part in a sweep.
 *
 *     struct rung *r = rung_open();
 *     double lr = atof(rung_param(r, "lr"));
 *     for (long step = rung_start(r) + 1;; step++) {
 *         struct rung_metric m = {"val_loss", train_one_epoch(lr)};
 *         int d = rung_report(r, step, 1, &m);
 *         if (d & RUNG_SAVE || d == RUNG_PAUSE) { save(...); rung_saved(r, step); }
 *         if ((d & ~RUNG_SAVE) != RUNG_CONTINUE) break;
 *     }
 *     rung_close(r);
 *
 * Outside a sweep the same program runs by itself: reports are printed to stdout and
 * answered "continue". With several ranks only rank 0 calls rung_report(), and the
 * decision is broadcast before any rank acts on it. Not thread-safe. */
#ifndef RUNG_H
#define RUNG_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What rung_report() answers. RUNG_SAVE may be or'ed to RUNG_CONTINUE: write a
 * checkpoint soon, then call rung_saved(), and go on. */
enum {
    RUNG_CONTINUE = 0,
    RUNG_PAUSE = 1, /* save a checkpoint, then exit 0: the trial may go on later */
    RUNG_STOP = 2,  /* exit 0: the trial is over */
    RUNG_SAVE = 4
};

/* Negative answers. rung_error() has a sentence. */
enum {
    RUNG_ERR_AGENT = -1,   /* the agent is gone or cannot be reached */
    RUNG_ERR_REFUSED = -2, /* it refused the report (a bad metric name, ...) */
    RUNG_ERR_INVAL = -3    /* wrong arguments */
};

struct rung;

struct rung_metric {
    const char *name; /* not trial, attempt, step, rung, time, elapsed */
    double value;     /* NaN and infinities may be reported */
};

/* Connects to the agent named by the environment (RUNG_SOCKET). Never NULL: without an
 * environment the handle works outside a sweep; with one that cannot be reached,
 * rung_error() says so and reports return RUNG_ERR_AGENT. */
struct rung *rung_open(void);
void rung_close(struct rung *r); /* NULL is fine */

int rung_active(const struct rung *r); /* 1 inside a sweep, 0 by hand */

/* A parameter's value as text; NULL when this trial has no such parameter. Lives as
 * long as r. */
const char *rung_param(const struct rung *r, const char *name);

long rung_trial(const struct rung *r);   /* -1 outside a sweep */
long rung_attempt(const struct rung *r); /* from 1; 0 outside a sweep */
long rung_start(const struct rung *r);   /* the step its checkpoint holds; 0: none */
long rung_until(const struct rung *r);   /* the next milestone, as last heard; LONG_MAX
                                            outside a sweep */
unsigned long long rung_seed(const struct rung *r);    /* 0 outside a sweep */
const char *rung_checkpoint_dir(const struct rung *r); /* "." outside a sweep */

/* Reports n metrics at a step (1, 2, ...) and waits for the answer. */
int rung_report(struct rung *r, long step, size_t n, const struct rung_metric metrics[]);
/* The checkpoint directory now holds `step`, durably. 0 or negative. */
int rung_saved(struct rung *r, long step);
const char *rung_error(const struct rung *r); /* "" when nothing failed */

#ifdef __cplusplus
}
#endif

#endif
