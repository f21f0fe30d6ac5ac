/* YAML as a tree that remembers where everything stood.
 *
 * A sweep file needs less than YAML offers: maps, lists and scalars. Anchors and
 * aliases, tags, directives, several documents and keys that are not plain words are
 * mistakes here (and with them go the files that expand to gigabytes). No
 * scalar is given a type: `no`, `1e-4` and `4:00:00` are text until a key says what it
 * wants, so YAML's guesses at booleans and sexagesimal numbers cannot happen. */
#ifndef LAUNCHER_YAML_DOC_H
#define LAUNCHER_YAML_DOC_H

#include "launcher/mistakes.h"

#include <stdbool.h>

#define DOC_DEPTH_MAX 16

enum doc_kind {
    DOC_TEXT, /* a scalar */
    DOC_LIST,
    DOC_MAP,
    DOC_BROKEN, /* told of already: users of the tree pass over it in silence */
};

enum doc_style { DOC_PLAIN, DOC_SINGLE, DOC_DOUBLE, DOC_LITERAL, DOC_FOLDED };

struct doc_node {
    enum doc_kind kind;
    enum doc_style style; /* of a scalar */
    bool flow;            /* a list in [ ], a map in { } */
    bool lost;            /* a map that had keys which are no words: they are left out */
    size_t at;            /* byte of the file where it begins */
    char *text;           /* of a scalar, without NUL bytes */
    size_t len;
    VEC(struct doc_pair) items; /* of a list (key NULL) or a map, in file order */
};

struct doc_pair {
    struct doc_node *key, *value;
};

/* Reads the text of m, telling its mistakes to m. NULL when it is no YAML or empty:
 * then there is at least one mistake. Of a key that occurs twice the first stays. */
struct doc_node *doc_read(struct mistakes *m);
void doc_free(struct doc_node *node); /* NULL is fine */

/* Nothing was written, or ~ or null. */
bool doc_empty(const struct doc_node *node);
/* Is it a scalar in quotes? */
bool doc_quoted(const struct doc_node *node);
/* "a map", "a list", "'text'": for messages, after "not". */
struct shown doc_shown(const struct doc_node *node);
/* The value of a key, NULL if there is none. */
struct doc_node *doc_get(const struct doc_node *map, const char *key);

/* The byte of the file that byte `offset` of a scalar's text came from: exact for what
 * is no blank, whatever the style, folding and escapes; a blank or the end is put
 * behind what comes before it. */
size_t doc_place(const struct mistakes *m, const struct doc_node *node, size_t offset);

#endif
