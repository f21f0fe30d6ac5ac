/* The command of the sweep file: cut into words and placeholders when the file is
 * read, put together for each attempt. Words are split before anything is replaced, so
 * no value can become a second word. (Rules: doc/sweep-file.md, The command.) */
#ifndef LAUNCHER_COMMAND_LINE_H
#define LAUNCHER_COMMAND_LINE_H

#include "launcher/sweepfile.h"

/* Fills f->command and f->command_has_until from f->command_text, f->shell and the
 * space. Mistakes are told with the byte of command_text where they are; unknown
 * parameters only if all are known. */
void command_parse(struct sweepfile *f, bool names_known,
                   const struct space_errors *errors);
void command_clear(struct sweepfile *f);

/* Is it the name of a placeholder that is no parameter: "trial", "seed", ...? */
bool command_reserved(const char *name);

#endif
