/* The state of a sweep as JSON, for `rung status --json` and asktell's "state". */
#ifndef SCHED_STATE_JSON_H
#define SCHED_STATE_JSON_H

#include "sched/sweep.h"

/* Appends the members (no braces): "trials":{"planned":64,"waiting":0,...},
 * "reports":N,"steps":N,"rungs":[{"bracket":0,"rung":0,"milestone":1,"reported":9,
 * "promoted":3,"stopped":0,"cutoff":0.31},...],"best":{...} or null; with several
 * objectives "front":[...], all of the first front. */
void sweep_state_json(const struct sweep *sw, struct str *out);
/* The n best trials, as sweep_best() lists them: [{"trial":4,"metric":0.1,"step":27,
 * "params":{...}},...]. With several objectives "metric" is the first, and
 * "metrics":{"val_loss":0.1,"latency":3},"front":1 follow it. */
void sweep_best_json(const struct sweep *sw, int n, struct str *out);

#endif
