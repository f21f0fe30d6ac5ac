/* A sweep as its directory tells it: sweep.yaml and the journal, replayed. */
#ifndef LAUNCHER_LOADED_H
#define LAUNCHER_LOADED_H

#include "launcher/sweepfile.h"
#include "store/replay.h"
#include "wire/keys.h"

struct loaded {
    char *dir; /* absolute */
    struct sweepfile *file; /* with the changes of `rung resume --set` applied */
    struct sweep *sw;
    struct history history; /* empty unless asked for */
    struct replay replay;
    double uptime; /* seconds that controllers served it, all epochs; the last one up to its
                      last event */
};

/* The newest sweep directory (by name's stamp, else mtime) below the current directory,
 * one level deep, or the current directory itself if it is one; free() it. NULL and *e. */
char *sweep_dir_newest(struct err *e);
/* dir as given (NULL: the newest): an absolute path, checked to hold a sweep. */
char *sweep_dir_find(const char *dir, struct err *e);

/* Prints nothing; *e has the sentence (mistakes of sweep.yaml included). */
int loaded_open(struct loaded *l, const char *dir, bool history, struct err *e);
int loaded_update(struct loaded *l, struct err *e); /* reads on: for `rung watch` */
void loaded_close(struct loaded *l);

/* Is a controller serving the sweep now, as far as can be seen from here? */
enum serving { SERVING_NO, SERVING_HERE, SERVING_ELSEWHERE };
enum serving sweep_served(const char *dir, struct controller_file *f);

#endif
