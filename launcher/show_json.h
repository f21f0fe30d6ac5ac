/* Everything about one trial, for `rung show --json`. */
#ifndef LAUNCHER_SHOW_JSON_H
#define LAUNCHER_SHOW_JSON_H

#include "launcher/loaded.h"

/* One object: the columns of /trials (doc/sweep-h5.md) but the parameters', which are in
 * "params" and "drawn", with and without what retry.oom changed; and the trial's rows of
 * /metrics, /decisions and /attempts, as arrays of objects: "reports", "decisions",
 * "attempts". */
void show_json(const struct loaded *l, int32_t trial, struct str *out);

#endif
