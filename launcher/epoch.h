/* One epoch of a sweep: its journal with the controller's mind on top, and the order of
 * steps that all promises rest on. The controller's loop (launcher/serve.c) attaches
 * sockets, jobs and people; the simulation (tests/sim/) a world of faults.
 *
 * Beginning: the journal's file is created, then the predecessor's length is read, then
 * all that is accepted is replayed, then the controller is announced. A round: take in
 * what has come, decide, append; write and fsync; look for a successor; only then send.
 */
#ifndef LAUNCHER_EPOCH_H
#define LAUNCHER_EPOCH_H

#include "launcher/controller.h"
#include "launcher/loaded.h"

struct epoch {
    struct loaded sweep;
    struct journal *journal;
    struct controller *controller;
    struct controller_file who; /* what controller.json says; all but the epoch is the
                                   caller's */
    bool news;                  /* of it, to be told at the next look */
    double next_look;           /* when controller.json is read again */
    double commit_due;          /* of what gathers; 0: nothing does */
};

/* Loads the sweep and begins its next epoch, *first as for journal_begin(); its file_hash
 * is set here. *ep is {0} before; epoch_end() after, whatever comes back. */
int epoch_begin(struct epoch *ep, const char *dir, struct event *first,
                int64_t *torn_bytes, struct err *e);

/* The controller of this epoch. Of *c: file, sw, costs, epoch and uptime_before are set
 * here.
 * `resume`: a paused or finished sweep is to go on. */
void epoch_control(struct epoch *ep, const struct controller_config *c, bool resume,
                   const struct controller_port *port, void *ctx, double now,
                   double wall);

/* Keeps controller.json naming this controller, looking every TIMER_CONTROLLER_LOOK: a
 * predecessor that was slow to begin may have written it later than we did, and then
 * agents would look for it for ever. And tells news of it. ERR_FENCED: a newer controller
 * has taken over. */
int epoch_announce(struct epoch *ep, const struct timers *timers, double now,
                   struct err *e);

/* Makes durable what was appended, and sends what waited for that; reports alone, that
 * nobody waits for, gather for TIMER_GATHER first. Errors as journal_commit(): nothing
 * was sent, and nothing may be. */
int epoch_commit(struct epoch *ep, const struct timers *timers, double now,
                 struct err *e);
/* When the next round is due at the latest. */
double epoch_deadline(const struct epoch *ep);

void epoch_end(struct epoch *ep); /* frees; what was not committed is dropped */

#endif
