/* The words of an expression. The lexer mends what it can tell (&& is 'and') and
 * reports it, so that one slip does not hide the next. */
#ifndef SCHED_TOKEN_H
#define SCHED_TOKEN_H

#include "sched/mistake.h"
#include "sched/value.h"

enum token_kind {
    TOKEN_END,
    TOKEN_BAD, /* meant as a value but none; reported */
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_NAME,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_OR,
    TOKEN_AND,
    TOKEN_NOT,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_STAR,
    TOKEN_SLASH,
    TOKEN_SLASHES,
    TOKEN_PERCENT,
    TOKEN_POWER,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_GT,
    TOKEN_GE,
};

struct token {
    enum token_kind kind;
    size_t offset, len;  /* where it stands in the text */
    struct value number; /* of TOKEN_NUMBER */
    bool mended;         /* something in it or right before it was reported */
};

struct lexer {
    const char *text, *p;
    const struct space_errors *errors;
    bool bracket; /* a '[' was reported: its ']' is no second mistake */
};

struct token lexer_next(struct lexer *l);

/* Appends the text that a string token means: without quotes, escapes decoded. */
void token_text(const char *text, struct token t, struct str *out);

#endif
