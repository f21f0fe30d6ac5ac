/* Expressions of the sweep file: parsed once, evaluated a million times.
 *
 *     or   := and {"or" and}          and  := not {"and" not}
 *     not  := "not" not | cmp         cmp  := sum [("=="|"!="|"<"|"<="|">"|">=") sum]
 *     sum  := term {("+"|"-") term}   term := unary {("*"|"/"|"//"|"%") unary}
 *     unary:= ("+"|"-") unary | pow   pow  := atom ["**" unary]
 *     atom := number | string | true | false | name | name "(" args ")" | "(" or ")"
 *
 * A name is a parameter or a word; a word is text and may stand only in choice, grid
 * and beside == and !=. (For users: doc/space-language.md.) */
#ifndef SCHED_EXPR_H
#define SCHED_EXPR_H

#include "sched/arith.h"
#include "sched/dist.h"

struct expr;

enum expr_role {
    EXPR_SAMPLE, /* a parameter's value: may draw once */
    EXPR_WHEN,   /* must name a parameter, as must a constraint */
    EXPR_CONSTRAINT,
};

/* The parameters as an expression sees them. */
struct expr_scope {
    enum expr_role role;
    const char *const *names; /* [n], all of the space */
    const struct arith_type
        *types; /* [n]; kinds 0: unusable, its own mistakes were told */
    int n;
    int below; /* only those before this one may be used */
    int (*find)(void *ctx, struct slice name); /* the index of a name, or -1 */
    void *ctx;
};

#define EXPR_TEXT_MAX  65536 /* bytes of text */
#define EXPR_DEPTH_MAX 100   /* brackets, signs, powers and nots inside each other */

/* NULL after reporting mistakes. The scope need not outlive the call. */
struct expr *expr_parse(const char *text, const struct expr_scope *scope,
                        const struct space_errors *errors);
struct expr *expr_constant(struct value v); /* copies v's text */
void expr_free(struct expr *x);             /* NULL is fine */

struct arith_type expr_type(const struct expr *x);
/* The distribution in it, or NULL; dim.name, param and key are the caller's to set. */
struct dist *expr_dist(struct expr *x);
/* The parameters it names, each once: returns how many. */
int expr_refs(const struct expr *x, const int **refs);

/* Its value, given those of the parameters it names, none of them absent, and the
 * coordinate of its distribution. ERR_RANGE or ERR_INVAL where Python would raise.
 * Text in *out belongs to x or to values. */
int expr_eval(const struct expr *x, const struct value values[], double u,
              struct value *out, struct err *e);

#endif
