/* The mistakes of a file: gathered in any order while it is read, printed in the
 * order of their places, each as "fashion.yaml:9:7: <sentence>". */
#ifndef LAUNCHER_MISTAKES_H
#define LAUNCHER_MISTAKES_H

#include "base/str.h"
#include "base/vec.h"

#include <stdbool.h>

#define MISTAKES_KEPT 200 /* the others are dropped, and a last line says so */

struct mistake {
    size_t at;     /* byte of the text */
    size_t number; /* in the order of their finding: ties */
    char *sentence;
};

struct mistakes {
    const char *path; /* borrowed, as text */
    const char *text;
    size_t len;
    VEC(struct mistake) list;
    size_t n; /* found in all */
};

/* No more will be kept: whoever looks for mistakes may stop. */
static inline bool mistakes_full(const struct mistakes *m)
{
    return m->n > MISTAKES_KEPT;
}

void mistake_add(struct mistakes *m, size_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void mistakes_print(struct mistakes *m, struct str *out);
void mistakes_free(struct mistakes *m);

/* Line and column of a byte, both from 1, for a sentence that names a second place;
 * columns count characters, as editors do, without the BOM. (1:1 when the mistakes are
 * full.) */
struct place {
    size_t line, column;
};
struct place place_of(const struct mistakes *m, size_t at);

/* Text of the file as a message can show it: on one line, and cut after 40
 * characters. For arguments of printf: shown(p, n).text */
struct shown {
    char text[200];
};
struct shown shown(const char *p, size_t n);

#endif
