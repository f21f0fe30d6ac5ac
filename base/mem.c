#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Noreturn static void give_up(void)
{
    static const char text[] = "rung: out of memory\n";
    ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)n; /* nothing is left to be done about it */
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        give_up();
    return p;
}

void *mem_resize(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        give_up();
    p = realloc(p, bytes ? bytes : 1);
    if (!p)
        give_up();
    return p;
}

void *mem_huge(size_t bytes)
{
    size_t whole = (bytes + MEM_HUGE - 1) / MEM_HUGE * MEM_HUGE;
    void *p = whole < bytes ? NULL : aligned_alloc(MEM_HUGE, whole);
    if (!p)
        give_up();
    madvise(p, whole, MADV_HUGEPAGE); /* refused: it is only slower */
    return p;
}

char *mem_strdup(const char *s)
{
    return s ? mem_dup(s, strlen(s) + 1) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = mem_resize(NULL, n + 1, 1);
    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void *mem_dup(const void *p, size_t size)
{
    void *copy = mem_resize(NULL, size, 1);
    if (size)
        memcpy(copy, p, size);
    return copy;
}
