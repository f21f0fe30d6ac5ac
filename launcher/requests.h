/* What people ask of a sweep from any host that sees its directory: small JSON files in
 * requests/, each written whole by rename, taken by the controller and then removed. */
#ifndef LAUNCHER_REQUESTS_H
#define LAUNCHER_REQUESTS_H

#include "base/err.h"

#include <stdint.h>

enum request_op { REQUEST_STOP, REQUEST_PAUSE, REQUEST_SET, REQUEST_RESUME };

struct request {
    enum request_op op;
    int32_t trial;     /* STOP: -1, the sweep */
    char *key, *value; /* SET */
    char *who;         /* "user@host", for the journal */
};

/* Writes one; *path (free() it) tells which file vanishes when it was taken. */
int request_write(const char *dir, const struct request *r, char **path, struct err *e);

/* Calls fn for each whole request, oldest first, and puts its path on *done (NULL-ended)
 * for requests_remove() once what followed is durable, or else requests_free(). What
 * is none (garbage, too large, a link, a directory, a pipe) is renamed to NAME.bad and
 * said through fn with r NULL. */
int requests_read(const char *dir,
                  void (*fn)(void *ctx, const struct request *r, const char *bad),
                  void *ctx, char ***done, struct err *e);
void requests_remove(char **done); /* the files, and the list */
void requests_free(char **done);   /* the list alone */

#endif
