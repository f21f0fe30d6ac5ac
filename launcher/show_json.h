/* Everything about one trial, for `rung show --json`. */
#ifndef LAUNCHER_SHOW_JSON_H
#define LAUNCHER_SHOW_JSON_H

#include "launcher/loaded.h"

/* One object: the columns of /trials by their names, "params" and "drawn" (with and
 * without what retry.oom changed), and as arrays of objects with the columns of these
 * tables (doc/sweep-h5.md) the trial's "reports", "decisions" and "attempts". */
void show_json(const struct loaded *l, int32_t trial, struct str *out);

#endif
