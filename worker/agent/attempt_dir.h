/* trials/TTTTTT/aNN: the directory of a trial's current attempt, which holds checkpoints
 * and logs. Beginning attempt NN renames its predecessor's directory, so that a process
 * of that one, alive perhaps on a node that nobody can reach, writes to files that it
 * holds open and nowhere else. */
#ifndef WORKER_AGENT_ATTEMPT_DIR_H
#define WORKER_AGENT_ATTEMPT_DIR_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Renames the trial's newest directory, or makes one; *path becomes it. ERR_FENCED when a
 * later attempt has it already. */
int attempt_dir_take(const char *sweep_dir, int32_t trial, int32_t attempt,
                     struct str *path, struct err *e);
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
