#include "launcher/mistakes.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_CHARS 40

static bool continues(char c) /* a byte of UTF-8 after the first of its character */
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

void mistake_add(struct mistakes *m, size_t at, const char *fmt, ...)
{
    if (m->n++ >= MISTAKES_KEPT)
        return;
    char sentence[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    struct mistake one = {at < m->len ? at : m->len, m->n, mem_strdup(sentence)};
    vec_push(&m->list, one);
}

/* Goes on to `at` from a place that was reached before. */
static void walk(const struct mistakes *m, size_t *from, size_t at, struct place *place)
{
    for (; *from < at; ++*from) {
        char c = m->text[*from];
        bool crlf = c == '\r' && *from + 1 < m->len && m->text[*from + 1] == '\n';
        if (c == '\n' || (c == '\r' && !crlf)) {
            place->line++;
            place->column = 1;
        } else if (!continues(c)) {
            place->column++;
        }
    }
}

static size_t after_bom(const struct mistakes *m)
{
    return m->len >= 3 && memcmp(m->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

struct place place_of(const struct mistakes *m, size_t at)
{
    struct place place = {1, 1};
    size_t from = after_bom(m);
    if (!mistakes_full(m))
        walk(m, &from, at < m->len ? at : m->len, &place);
    return place;
}

static int by_place(const void *a, const void *b)
{
    const struct mistake *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void mistakes_print(struct mistakes *m, struct str *out)
{
    struct place place = {1, 1};
    size_t from = after_bom(m);
    if (m->list.n)
        qsort(m->list.v, m->list.n, sizeof(*m->list.v), by_place);
    for (size_t i = 0; i < m->list.n; i++) {
        walk(m, &from, m->list.v[i].at, &place);
        str_add_visible(out, m->path, strlen(m->path));
        str_addf(out, ":%zu:%zu: ", place.line, place.column);
        str_add_visible(out, m->list.v[i].sentence, strlen(m->list.v[i].sentence));
        str_addc(out, '\n');
    }
    if (mistakes_full(m)) {
        str_add_visible(out, m->path, strlen(m->path));
        str_addf(out, ": and more: these are the first %d that were found\n",
                 MISTAKES_KEPT);
    }
}

void mistakes_free(struct mistakes *m)
{
    for (size_t i = 0; i < m->list.n; i++)
        free(m->list.v[i].sentence);
    vec_free(&m->list);
}

struct shown shown(const char *p, size_t n)
{
    struct shown s;
    size_t len = 0, chars = 0, tail = 0;
    bool blank = false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        bool c1 = c == 0xc2 && i + 1 < n && (p[i + 1] & 0xe0) == 0x80;
        if (c <= ' ' || c == 0x7f || c1) { /* a run of blanks and controls is one blank */
            blank = len > 0;
            i += c1;
            continue;
        }
        /* A character has 4 bytes at most; what is no UTF-8 may go on and on. */
        if (!continues(p[i]) || ++tail > 3) {
            tail = 0;
            chars += blank ? 2 : 1;
        }
        if (chars > SHOWN_CHARS) {
            memcpy(s.text + len, "...", 4);
            return s;
        }
        if (blank)
            s.text[len++] = ' ';
        blank = false;
        s.text[len++] = p[i];
    }
    s.text[len] = '\0';
    return s;
}
