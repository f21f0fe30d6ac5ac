/* Spaces for tests: made of lines that are free of mistakes. */
#ifndef SCHED_SPACE_MADE_H
#define SCHED_SPACE_MADE_H

#include "sched/space.h"

struct line {                       /* of a sweep file's space: */
    const char *name, *expr, *when; /* when: NULL for none */
};

/* Of lines up to one without a name, 64 at most, and a constraint, NULL for none. A
 * mistake ends the program, and is told. */
struct space *space_made(const struct line lines[], const char *constraint);

#endif
