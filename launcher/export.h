/* A sweep in other formats than sweep.h5. Each writes whole files into the directory
 * `to`, which exists; a loaded sweep with its history. */
#ifndef LAUNCHER_EXPORT_H
#define LAUNCHER_EXPORT_H

#include "launcher/loaded.h"

/* In the environment of `rung export` that a controller has started: its process, without
 * which the export ends, or it might replace what the next controller has written. */
#define EXPORT_PARENT "RUNG_EXPORT_PARENT"

/* The tables of sweep.h5 (doc/sweep-h5.md) as TABLE.csv and TABLE.jsonl: trials, metrics,
 * rungs, decisions, attempts. In CSV (quoted as in RFC 4180, lines end in \n) NaN is an
 * empty cell and an infinity Inf or -Inf; in JSON lines they are the strings "NaN",
 * "Infinity" and "-Infinity", and absent values are left out. */
int export_csv(const struct loaded *l, const char *to, struct err *e);
int export_jsonl(const struct loaded *l, const char *to, struct err *e);

/* tensorboard/000012/events.out.tfevents.TIME.rung for each trial that reported:
 * its metrics as scalars, under the names they were reported with. Files that are there
 * are replaced. */
int export_tensorboard(const struct loaded *l, const char *to, struct err *e);

#endif
