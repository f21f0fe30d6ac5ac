#include "sched/mistake.h"

#include <stdarg.h>
#include <stdio.h>

void mistake_at(const struct space_errors *errors, size_t offset, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    errors->report(errors->ctx, offset, text);
}
