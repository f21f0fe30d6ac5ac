/* Errors: a negative code says what kind, an optional struct err carries the
 * sentence for the person.
 *
 * A function that can fail returns 0 or a negative code and takes a
 * `struct err *e` last; e may be NULL. A failed call leaves nothing changed
 * unless its header says otherwise. Text names the thing, what is wrong and,
 * where there is one, what to do next; no trailing newline or full stop. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#define ERR_MAP(X)                                                                       \
    X(INVAL, "invalid input")                                                            \
    X(SYNTAX, "syntax error")                                                            \
    X(RANGE, "out of range")                                                             \
    X(NOENT, "not found")                                                                \
    X(EXIST, "already exists")                                                           \
    X(DENIED, "permission denied")                                                       \
    X(IO, "input/output error")                                                          \
    X(FULL, "no space left")                                                             \
    X(CORRUPT, "damaged data")                                                           \
    X(FENCED, "superseded by a newer controller")                                        \
    X(PROTO, "protocol error")                                                           \
    X(VERSION, "incompatible version")                                                   \
    X(TIMEOUT, "timed out")                                                              \
    X(UNSUPPORTED, "not supported by this build")

enum err_code {
    ERR_OK = 0,
    ERR_BEFORE_FIRST_ = -1000,
#define ERR_ENUM_(name, text) ERR_##name,
    ERR_MAP(ERR_ENUM_)
#undef ERR_ENUM_
};

struct err {
    int code; /* 0, or one of enum err_code */
    char text[1000];
};

/* Sets *e (when not NULL) and returns code, so that a failing function can end
 * in `return err_set(e, ERR_INVAL, "...")`. Over-long text is cut. */
int err_set(struct err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: the code follows from errno, and
 * ": <strerror>" is appended to the text. errno is kept. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<fmt>: " before the text that e already has; returns e->code
 * (ERR_INVAL when e is NULL). */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "INVAL", and "invalid input"; "OK"/"success" for 0. */
const char *err_name(int code);
const char *err_text(int code);

#endif
