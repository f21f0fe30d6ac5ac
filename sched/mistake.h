/* Mistakes in the text of an expression, told to whoever knows file and line. */
#ifndef SCHED_MISTAKE_H
#define SCHED_MISTAKE_H

#include <stddef.h>

/* Told each mistake: `text` is one sentence without position, `offset` the byte
 * in the expression where it is. All mistakes of an expression that can be told
 * apart are reported, not only the first, up to MISTAKES_MAX; not always in the
 * order of their offsets. */
struct space_errors {
    void (*report)(void *ctx, size_t offset, const char *text);
    void *ctx;
};

#define MISTAKES_MAX 20

void mistake_at(const struct space_errors *errors, size_t offset, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
