/* A growing byte string. `struct str s = STR_INIT;` is an empty one, needs no
 * call before use, and s.p is always a NUL-terminated string (it may hold NUL
 * bytes inside; s.len counts them). Pieces of s.p die with the next change. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stddef.h>

struct str {
    char *p;
    size_t len, cap; /* cap 0: p is not ours to free */
};

extern char str_empty_[1];
/* clang-format takes the braces for a block's. */
/* clang-format off */
#define STR_INIT {str_empty_, 0, 0}
/* clang-format on */

void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const void *bytes, size_t n);
static inline void str_addc(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Text as it goes onto a terminal or into one line: control characters as \n, \t, \r and
 * \xHH, and what is no UTF-8 as \xHH, too. */
void str_add_visible(struct str *s, const char *text, size_t n);
/* The same for text of several lines: line feeds stay. */
void str_add_visible_lines(struct str *s, const char *text);
void str_reserve(struct str *s, size_t extra); /* room for extra more bytes */
void str_cut(struct str *s, size_t len);       /* shortens to len, keeps memory */
void str_drop(struct str *s, size_t n);        /* removes the first n bytes */
char *str_take(struct str *s);                 /* hands the memory to the caller
                                                  (free()), s is empty again */
void str_free(struct str *s);                  /* empty again; safe twice */

static inline void str_addc(struct str *s, char c)
{
    if (s->cap - s->len < 2)
        str_reserve(s, 1);
    s->p[s->len++] = c;
    s->p[s->len] = '\0';
}

/* Slices: bytes that somebody else owns, without a NUL. */
struct slice {
    const char *p;
    size_t len;
};
#define SLICE(lit) ((struct slice){(lit), sizeof(lit) - 1})
struct slice slice_of(const char *s); /* NULL gives an empty slice */
int slice_eq(struct slice a, const char *s);

#endif
