/* A parameter's value. */
#ifndef SCHED_VALUE_H
#define SCHED_VALUE_H

#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum value_kind {
    VALUE_ABSENT, /* its `when` is false, or something it is computed from is absent */
    VALUE_INT,
    VALUE_REAL,
    VALUE_BOOL,
    VALUE_STR, /* a word or a string of the sweep file */
};

struct value {
    enum value_kind kind;
    union {
        int64_t i;
        double r;
        bool b;
        const char *s; /* owned by the space (or the arena that the values came from) */
    };
};

bool value_equal(struct value a,
                 struct value b); /* 1 == 1.0 and true == 1, as in Python */
/* Of two numbers (integers, reals, booleans): -1, 0 or 1 as a is below, equal to or
 * above b, exactly, also where an integer has no double; VALUE_UNORDERED beside NaN. */
#define VALUE_UNORDERED 2
int value_order(struct value a, struct value b);
/* As a word of the command and in RUNG_PARAM_: 16, 0.001, true, sgd. */
void value_text(struct value v, struct str *out);
/* As JSON; VALUE_ABSENT must be left out by the caller. */
void value_json(struct value v, struct str *out);
/* Reads one JSON value (number, string or boolean); strings are duplicated with
 * malloc. Else the scanner fails. */
struct value value_scan(struct json *j);

#endif
