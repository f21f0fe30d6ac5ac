/* What `rung run` shows while it serves, and the child that keeps sweep.h5 fresh.
 *
 * On a terminal the screen of launcher/view.h is drawn in place; elsewhere there is a
 * line when something notable happens and one every half minute. sweep.h5 is written by a
 * child, `rung export --hdf5 DIR`, from the durable part of the journal, so that no agent
 * waits for it. */
#ifndef LAUNCHER_VIEWER_H
#define LAUNCHER_VIEWER_H

#include "launcher/controller.h"
#include "launcher/gpu_rows.h"
#include "launcher/loaded.h"

struct viewer;
/* view_seconds: sweep.h5 is written at most that often. *who and *gpus are looked at as
 * they change. */
struct viewer *viewer_new(const struct loaded *l, const struct controller_file *who,
                          const struct gpu_rows *gpus, bool quiet, int32_t epoch,
                          double view_seconds);
void viewer_free(struct viewer *v); /* NULL is fine */
void viewer_event(struct viewer *v, const struct event *ev,
                  const struct verdict *verdict);
void viewer_say(struct viewer *v, const char *text); /* a sentence that stays */
void viewer_tick(struct viewer *v, const struct journal *j, int slots,
                 enum controller_state state);
/* Stops drawing, so that messages can be printed. NULL is fine. */
void viewer_stop(struct viewer *v);
/* Writes sweep.h5 for the last time and waits for it; prints the result, when quiet too:
 * the best trial, or the state as JSON, on stdout; on stderr why the sweep paused and how
 * to go on. */
void viewer_end(struct viewer *v, const struct journal *j, const char *state,
                const char *reason, bool json);

#endif
