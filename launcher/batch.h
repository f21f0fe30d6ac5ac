/* The batch script of a sweep's jobs, from its sweep file (slurm/script.h). */
#ifndef LAUNCHER_BATCH_H
#define LAUNCHER_BATCH_H

#include "launcher/sweepfile.h"

/* Our own program's path, as a job has to name it; free() it. NULL and *e. */
char *own_program(struct err *e);

/* May the sweep run under Slurm? ERR_UNSUPPORTED for what this release cannot do there.
 */
int batch_check(const struct sweepfile *f, struct err *e);

/* Checks that, and appends the script of a job that runs trials in workdir for the sweep
 * in dir, both absolute. settings: "KEY=VALUE", for its agent; those that change f are
 * applied to it already. */
int batch_script(const struct sweepfile *f, const char *dir, const char *workdir,
                 char *const settings[], size_t n_settings, struct str *out,
                 struct err *e);

#endif
