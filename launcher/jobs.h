/* Where a sweep's jobs come from: the executor, as its sweep file describes it. */
#ifndef LAUNCHER_JOBS_H
#define LAUNCHER_JOBS_H

#include "launcher/loaded.h"
#include "slurm/executor.h"
#include "wire/timers.h"

struct jobs_setup {
    struct loaded *sweep; /* with the settings that were changed; jobs of it that are
                             found come to be known to it */
    const struct timers *timers;
    const struct executor_news *news;
    void *ctx; /* of news */
};

/* The batch script as of now, to be written anew after each change of settings. */
int jobs_write_script(const struct loaded *l, struct err *e);
/* Slurm, with that script. first: no controller has served the sweep before. */
int jobs_slurm(const struct jobs_setup *s, bool first, struct executor **x,
               struct err *e);
/* This machine. */
int jobs_local(const struct jobs_setup *s, struct executor **x, struct err *e);

#endif
