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
 * whether a controller serves the sweep. *gpus is filled, and the caller's to free; NULL:
 * they are not wanted. The view points into both. */
struct view look_view(const struct loaded *l, struct gpu_rows *gpus);

struct look_size {
    int width, lines;
};
struct look_size look_size(int fd); /* of a terminal; 80 x 24 when it is none */

/* Is it a terminal that has colours, and the environment has no NO_COLOR? */
bool look_colour(int fd);

/* The screen as fits fd: its width, and colours where it has them. */
void look_screen(const struct loaded *l, int fd, struct str *out);
/* The same on stdout, or the state as JSON. */
void look_print(const struct loaded *l, bool json);

/* The parameters of a trial, as drawn or with the changes that retry.oom made since:
 * [space_count], ABSENT where there is none. values_free() and free() it. */
struct value *look_params(const struct loaded *l, int32_t trial, bool drawn);
/* Appends a value for people: reals to four digits, "-" for an absent one. */
void look_value(struct value v, struct str *out);

/* trials/000012/a03 of the sweep, its newest and, as a rule, only one; NULL when there is
 * none. free() it. */
char *look_trial_dir(const struct loaded *l, int32_t trial);
/* That of one attempt, whether it is there or not. */
char *look_attempt_dir(const struct loaded *l, int32_t trial, int32_t attempt);

/* After a message about an argument too many: EXIT_USAGE. */
int look_surplus(const struct cli_command *self, const char *argument);

#endif
