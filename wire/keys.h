/* The keys of a sweep. keys/ is 0700, agent.key (the agents' CURVE secret) 0600,
 * agent.pub 0600, both Z85 text. A controller's own pair is made anew for each epoch and
 * its secret never leaves the process; controller.json carries its public half. */
#ifndef WIRE_KEYS_H
#define WIRE_KEYS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_TEXT 41 /* Z85 text and NUL */

struct key_pair {
    char public_key[KEY_TEXT], secret_key[KEY_TEXT];
};

int key_pair_make(struct key_pair *k, struct err *e);
/* Creates keys/ below the sweep's directory with a new pair; existing: ERR_EXIST. */
int keys_create(const char *dir, struct err *e);
/* Reads it. ERR_DENIED when keys/ or its files are open to others or owned by another
 * user, or everybody may write the sweep's directory (the text says which mode was found
 * and the chmod that mends it). Links are not followed. */
int keys_load(const char *dir, struct key_pair *k, struct err *e);

/* controller.json: who serves the sweep now. */
struct controller_file {
    int epoch;
    char public_key[KEY_TEXT];
    char address[256]; /* "tcp://host:port", several separated by spaces */
    char host[256];
    long pid;
    unsigned long long pid_start; /* base/proc.h's proc_start_time() */
    double since;
    char state[16]; /* "running"; "waiting": for its next controller, which comes by
                       itself; "paused", "finished" */
    char note[600]; /* a sentence: why there are fewer jobs than are wanted; or "" */
    struct slurm_calls {
        int64_t polling, others; /* commands, to look after jobs and else */
        int64_t steps;           /* job steps that were begun */
    } calls;                     /* of all controllers up to now, or a little before */
};
int controller_file_write(const char *dir, const struct controller_file *f,
                          struct err *e);
int controller_file_read(const char *dir, struct controller_file *f, struct err *e);
/* As a JSON object. */
void slurm_calls_json(const struct slurm_calls *calls, struct str *out);
/* Is the sweep over or paused, by that file? */
bool controller_file_over(const struct controller_file *f);

#endif
