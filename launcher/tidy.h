/* Removes checkpoints that nobody needs any more: a stopped trial's at once, unless it is
 * among the best `keep`; when the sweep finishes, all but those of the best. A paused
 * trial's stay, and logs always do; and so does what another trial is to begin from
 * (sweep_keeps()). */
#ifndef LAUNCHER_TIDY_H
#define LAUNCHER_TIDY_H

#include "launcher/sweepfile.h"
#include "sched/sweep.h"

struct tidy;
/* How many of so many trials keep theirs: keep.checkpoints, but the best one always does.
 */
int tidy_kept(const struct sweepfile *f, int32_t trials);

/* keep.checkpoints may change meanwhile. */
struct tidy *tidy_new(const char *dir, const struct sweep *sw,
                      const struct sweepfile *file);
void tidy_free(struct tidy *t);
void tidy_event(struct tidy *t, const struct event *ev); /* after it was applied */
void tidy_some(
    struct tidy *t); /* removes at most one trial's: call it when there is time */
void tidy_all(struct tidy *t); /* the sweep is finished */

#endif
