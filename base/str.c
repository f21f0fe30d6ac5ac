#include "base/str.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char str_empty_[1] = "";

void str_reserve(struct str *s, size_t extra)
{
    if (extra < s->cap - s->len) /* cap 0 means len 0, and 1 byte is for the NUL */
        return;
    size_t need, cap = s->cap + s->cap / 2;
    if (__builtin_add_overflow(s->len + 1, extra, &need))
        need = (size_t)-1; /* mem_resize() will say so */
    if (cap < need)
        cap = need < 32 ? 32 : need;
    char *p = mem_resize(s->cap ? s->p : NULL, cap, 1);
    p[s->len] = '\0';
    s->p = p;
    s->cap = cap;
}

void str_addn(struct str *s, const void *bytes, size_t n)
{
    if (n == 0)
        return;
    str_reserve(s, n);
    memcpy(s->p + s->len, bytes, n);
    s->len += n;
    s->p[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
    str_addn(s, text, strlen(text));
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    str_reserve(s, 64);
    for (;;) {
        size_t room = s->cap - s->len;
        va_start(ap, fmt);
        int n = vsnprintf(s->p + s->len, room, fmt, ap);
        va_end(ap);
        if (n < 0) { /* a wide character that the locale has not: keep what was */
            s->p[s->len] = '\0';
            return;
        }
        if ((size_t)n < room) {
            s->len += (size_t)n;
            return;
        }
        str_reserve(s, (size_t)n);
    }
}

void str_add_visible(struct str *s, const char *text, size_t n)
{
    const char *end = text + n;
    for (size_t len; text < end; text += len) {
        unsigned char c = (unsigned char)*text;
        len = json_utf8_(text, end);
        if (c == '\n' || c == '\t' || c == '\r')
            str_addf(s, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < ' ' || c == 0x7f || len == 0)
            str_addf(s, "\\x%02x", c);
        else if (c == 0xC2 &&
                 (unsigned char)text[1] < 0xA0) /* the second set of controls */
            str_addf(s, "\\x%02x", (unsigned char)text[1]);
        else
            str_addn(s, text, len);
        len += len == 0;
    }
}

void str_add_visible_lines(struct str *s, const char *text)
{
    for (size_t n; *text; text += n) {
        n = strcspn(text, "\n");
        str_add_visible(s, text, n);
        for (; text[n] == '\n'; n++)
            str_addc(s, '\n');
    }
}

void str_cut(struct str *s, size_t len)
{
    if (len >= s->len)
        return;
    s->len = len;
    s->p[len] = '\0';
}

void str_drop(struct str *s, size_t n)
{
    if (n == 0)
        return;
    if (n >= s->len) {
        str_cut(s, 0);
        return;
    }
    s->len -= n;
    memmove(s->p, s->p + n, s->len + 1);
}

char *str_take(struct str *s)
{
    char *p = s->cap ? s->p : mem_strdup("");
    *s = (struct str)STR_INIT;
    return p;
}

void str_free(struct str *s)
{
    if (s->cap)
        free(s->p);
    *s = (struct str)STR_INIT;
}

struct slice slice_of(const char *s)
{
    return s ? (struct slice){s, strlen(s)} : SLICE("");
}

int slice_eq(struct slice a, const char *s)
{
    return strlen(s) == a.len && (a.len == 0 || memcmp(a.p, s, a.len) == 0);
}
