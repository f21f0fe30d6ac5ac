/* The engine without controller and agents: `rung asktell`, one JSON object a line.
 * The operations and their answers: doc/asktell.md. */
#ifndef SCHED_ASKTELL_H
#define SCHED_ASKTELL_H

#include "sched/sweep.h"

struct asktell;

struct asktell *asktell_new(const struct spec *spec);
/* A KNOWN event, before all lines. ERR_PROTO as sweep_apply(). */
int asktell_known(struct asktell *at, const struct event *ev, struct err *e);
void asktell_free(struct asktell *at);
/* Answers one line (without its newline), appending one line with newline to out. A
 * line that cannot be read gets {"error":...} and changes nothing. */
void asktell_line(struct asktell *at, const char *line, size_t n, struct str *out);

#endif
