#include "sched/space_made.h"

#include <stdio.h>
#include <stdlib.h>

#define LINES_MOST 64

static void refuse(void *ctx, size_t offset, const char *text)
{
    (void)ctx;
    fprintf(stderr, "a space in a test, at %zu: %s\n", offset, text);
    abort();
}

struct space *space_made(const struct line lines[], const char *constraint)
{
    static const struct space_errors errors = {refuse, NULL};
    const char *names[LINES_MOST];
    struct space *sp = space_new();
    size_t n = 0;
    for (; lines[n].name; n++) {
        if (n == LINES_MOST)
            refuse(NULL, n, "too many lines");
        names[n] = lines[n].name;
    }
    space_declare(sp, names, n);
    for (size_t i = 0; i < n; i++)
        space_define(sp, (int)i, lines[i].expr, lines[i].when, &errors, &errors);
    if (constraint)
        space_constrain(sp, constraint, &errors);
    return sp;
}
