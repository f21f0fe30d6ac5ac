/* Beginning a sweep, for `rung run` and `rung submit`: its file is checked and its
 * directory made. */
#ifndef LAUNCHER_BEGIN_H
#define LAUNCHER_BEGIN_H

#include "launcher/cli.h"
#include "launcher/requests.h"
#include "launcher/sweepfile.h"

struct begun {
    struct sweepfile *file;
    char *made;         /* its directory, as a person would say it */
    char *dir;          /* the same, absolute */
    struct request set; /* of slots, if they were given; key NULL: not */
};

/* dir: NULL for a new one below the current directory, NAME-20261120-171502; slots: NULL
 * for the file's. slurm: it is to run there. EXIT_GOOD, or an exit status after a
 * message, and then there is nothing. begun_free() in both cases. */
int sweep_begin(const struct cli_command *self, const char *path, const char *dir,
                const char *slots, bool slurm, struct begun *b);
void begun_free(struct begun *b);

#endif
