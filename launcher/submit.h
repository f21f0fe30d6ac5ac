/* The chain of a sweep's controllers as jobs (slurm/succession.h), from outside of them.
 */
#ifndef LAUNCHER_SUBMIT_H
#define LAUNCHER_SUBMIT_H

#include "launcher/begin.h"

/* Does the sweep have one? Else its controllers run where people start them. */
bool submit_has_chain(const char *dir);
/* What its jobs are called, as their script says; free() it. */
char *submit_chain_name(const char *dir);

/* Submits a new sweep's first controller and the one behind it; *job is the first. On
 * failure, after a message, its directory is removed again. An exit status. */
int submit_new(const struct cli_command *self, const struct begun *b, struct str *job);

/* Sees to it that a controller serves an old one: takes the requests along, and submits
 * one unless one waits, or one runs that takes them. An exit status after a message. */
int submit_again(const struct cli_command *self, const char *dir,
                 const struct request sets[], size_t n);

/* Ends one that has not begun: its controllers, which wait, are cancelled, and one that
 * begins just now finds a request to stop. An exit status after a message. */
int submit_withdraw(const struct cli_command *self, const char *dir);

/* Tells how to watch it and how to end it. */
void submit_tell(const char *dir);

#endif
