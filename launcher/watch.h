/* Looking on while jobs work: `rung watch`, and `rung run` under Slurm. */
#ifndef LAUNCHER_WATCH_H
#define LAUNCHER_WATCH_H

#include "launcher/cli.h"

#include <stdbool.h>

/* Shows a sweep whose controller is a job of Slurm until it is over or paused: live on a
 * terminal, else by a line now and then; at the end prints the result as `rung run` does.
 * Ctrl-C: EXIT_INTERRUPTED, and nothing has changed. EXIT_FAILED also when its
 * controllers are gone from Slurm. */
int watch_to_end(const struct cli_command *self, const char *dir, bool quiet, bool json);

#endif
