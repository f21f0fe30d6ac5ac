/* Who descends from a process. Only async-signal-safe calls: the shim, which is a fork
 * of a process with threads, uses it too. */
#ifndef WORKER_AGENT_KIN_H
#define WORKER_AGENT_KIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Fills out with the children of a process, ended ones that nobody has waited for yet
 * included; at most max. How many. Where processes come and go meanwhile some may be
 * missed: who wants to end all of them looks again until there are none. */
size_t kin_children(pid_t of, pid_t out[], size_t max);

/* The children, their children and so on: parents stand before their children. */
size_t kin_descendants(pid_t of, pid_t out[], size_t max);

/* Whether a process has a handler for that signal. */
bool kin_catches(pid_t pid, int sig);

#endif
