/* Python's arithmetic on values: what the operators and functions of the
 * expression language do. Integers have 64 bits and overflow is an error, a
 * boolean in arithmetic is 0 or 1, / is real, // and % round towards minus
 * infinity, round() goes half to even. */
#ifndef SCHED_ARITH_H
#define SCHED_ARITH_H

#include "base/err.h"
#include "sched/value.h"

enum arith_op {
    ARITH_PLUS,
    ARITH_MINUS,
    ARITH_NOT,
    ARITH_ADD,
    ARITH_SUB,
    ARITH_MUL,
    ARITH_DIV,
    ARITH_FLOORDIV,
    ARITH_MOD,
    ARITH_POW,
    ARITH_EQ,
    ARITH_NE,
    ARITH_LT,
    ARITH_LE,
    ARITH_GT,
    ARITH_GE,
    ARITH_ABS,
    ARITH_EXP,
    ARITH_INT,
    ARITH_LOG,
    ARITH_LOG_BASE, /* log(x, base) */
    ARITH_MAX,
    ARITH_MIN,
    ARITH_ROUND,
    ARITH_ROUND_TO, /* round(x, digits), 0 to 22 digits */
    ARITH_SQRT,
};

/* Sets of value kinds, for what can be said of a result before it is computed. */
#define KIND_INT     (1u << VALUE_INT)
#define KIND_REAL    (1u << VALUE_REAL)
#define KIND_BOOL    (1u << VALUE_BOOL)
#define KIND_STR     (1u << VALUE_STR)
#define KINDS_NUMBER (KIND_INT | KIND_REAL | KIND_BOOL)

/* What is known of an operand: the kinds it can have, and whether it is a number
 * that is surely not negative. */
struct arith_type {
    unsigned kinds;
    bool nonneg;
};

const char *arith_name(enum arith_op op); /* "+", "min" */
int arith_operands(enum arith_op op);     /* 1 or 2 */
bool arith_takes_text(enum arith_op op);  /* or numbers only? */

/* out = a op b (b is ignored where there is one operand). ERR_RANGE with a sentence
 * such as "2 ** 70 does not fit in 64 bits"; ERR_INVAL for a text where a number is
 * needed. Real results may be infinite or NaN as in Python. */
int arith_apply(enum arith_op op, struct value a, struct value b, struct value *out,
                struct err *e);
struct arith_type arith_type(enum arith_op op, struct arith_type a, struct arith_type b);

bool value_truth(struct value v); /* Python's: 0, 0.0, false and "" are false */

#endif
