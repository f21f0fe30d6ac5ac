/* What the commands share that only look at a sweep: status, watch, best, show, export.
 */
#ifndef LAUNCHER_LOOK_H
#define LAUNCHER_LOOK_H

#include "launcher/cli.h"
#include "launcher/loaded.h"
#include "launcher/view.h"

/* Finds the sweep (dir NULL: the newest) and loads it; `limit` (may be NULL): as the
 * journal stood there. EXIT_GOOD, or an exit status after a message; loaded_close() in
 * both cases. */
int look_open(const struct cli_command *self, const char *dir, bool history,
              const struct journal_pos *limit, struct loaded *l);

/* How things stand now, for the renderer: its state follows from the journal and from
 * whether a controller serves the sweep. Points into l. */
struct view look_view(const struct loaded *l);

/* After a message about an argument too many: EXIT_USAGE. */
int look_surplus(const struct cli_command *self, const char *argument);

#endif
