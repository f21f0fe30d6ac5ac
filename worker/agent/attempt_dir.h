/* trials/TTTTTT/aNN: the directory of a trial's current attempt, which holds checkpoints
 * and logs. Beginning attempt NN renames its predecessor's directory, so that a process
 * of that one, alive perhaps on a node that nobody can reach, writes to files that it
 * holds open and nowhere else. A directory from which others are to begin stays, and the
 * attempt gets a copy. */
#ifndef WORKER_AGENT_ATTEMPT_DIR_H
#define WORKER_AGENT_ATTEMPT_DIR_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The attempt, of this trial or another one, whose directory stays; attempt 0: none. */
struct attempt_source {
    int32_t trial, attempt;
};
/* Renames the trial's newest directory, or makes one; *path becomes it. Where the newest
 * is `source`, or there is none yet and `source` is another trial's, it becomes a copy of
 * all of that but the logs, durably, and only then has the name; a trial's own logs are
 * moved. ERR_FENCED when a later attempt has it already. ERR_NOENT when there is nothing
 * to copy. */
int attempt_dir_take(const char *sweep_dir, int32_t trial, int32_t attempt,
                     struct attempt_source source, struct str *path, struct err *e);
/* Would that copy? It takes as long as the checkpoint is large; another call after it
 * finds the directory, and does not copy. */
bool attempt_dir_copies(const char *sweep_dir, int32_t trial, int32_t attempt,
                        struct attempt_source source);
/* Opens attempt-NN.log there for appending: a descriptor, or an error. It gets all that
 * the program prints to stdout and stderr. */
int attempt_log_open(const char *attempt_dir, int32_t attempt, struct err *e);

/* Appends the last line there that begins so, among its last 4 kB; nothing when there is
 * none. */
void attempt_log_said(const char *attempt_dir, int32_t attempt, const char *beginning,
                      struct str *out);

/* Is there anything but logs? */
bool attempt_dir_keeps(const char *attempt_dir);
/* Makes it durable that the directory has this name (what is in it is the program's). */
int attempt_dir_sync(const char *attempt_dir, struct err *e);

#endif
