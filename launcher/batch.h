/* The batch script of a sweep's jobs, from its sweep file (slurm/script.h). */
#ifndef LAUNCHER_BATCH_H
#define LAUNCHER_BATCH_H

#include "launcher/sweepfile.h"
#include "slurm/script.h"

/* Our own program's path, as a job has to name it; free() it. NULL and *e. */
char *own_program(struct err *e);

/* A program of that name in the same directory; free() it. NULL if there is none. */
char *program_beside(const char *name);

/* May the sweep run under Slurm? ERR_INVAL for what cannot be. */
int batch_check(const struct sweepfile *f, struct err *e);

/* Are its attempts job steps? AUTO: those that are not very short. */
enum steps_mode batch_steps(const struct sweepfile *f);

/* The options of a list in the sweep file, as slurm/ takes them: free() it. */
struct script_option *batch_options(const struct option options[], size_t n);

/* Checks that, and appends the script of a job that runs trials in workdir for the sweep
 * in dir, both absolute. settings: "KEY=VALUE", for its agent; those that change f are
 * applied to it already. */
int batch_script(const struct sweepfile *f, const char *dir, const char *workdir,
                 char *const settings[], size_t n_settings, struct str *out,
                 struct err *e);

/* The same of the job of a controller that runs in workdir. */
int batch_controller(const struct sweepfile *f, const char *dir, const char *workdir,
                     struct str *out, struct err *e);

#endif
