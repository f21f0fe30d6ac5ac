/* The search space: parameters in the order of the file, each an expression
 * with at most one distribution, an optional `when`, and constraints over all.
 * (The language: doc/space-language.md.)
 *
 * A distribution call is one dimension of the unit cube. A configuration is a
 * function of a point u in [0, 1)^dims and nothing else, so drawing is: make a
 * point (sched/search.h), evaluate it here, redraw when the answer says so.
 *
 * A space is built by a parser and never changes afterwards. */
#ifndef SCHED_SPACE_H
#define SCHED_SPACE_H

#include "base/err.h"
#include "sched/dim.h"
#include "sched/mistake.h"
#include "sched/value.h"

struct space;

struct space *space_new(void);
void space_free(struct space *sp); /* NULL is fine */

/* Declares all names first (in file order): a reference to a later one is told
 * from a misspelt word. Names are C identifiers, checked by the caller. */
void space_declare(struct space *sp, const char *const names[], size_t n);

/* Defines parameter i (0..n-1, in order). `when` may be NULL. The expression may
 * use parameters below i. Returns 0 or ERR_SYNTAX after reports; the parameter
 * then exists as an unusable one, so that later references to it make no
 * further errors. */
int space_define(struct space *sp, int i, const char *expr, const char *when,
                 const struct space_errors *expr_errors,
                 const struct space_errors *when_errors);
/* The same with a constant in the place of the expression: text, which is none. */
int space_define_constant(struct space *sp, int i, struct value v, const char *when,
                          const struct space_errors *when_errors);
int space_constrain(struct space *sp, const char *expr,
                    const struct space_errors *errors);

/* ---- parameters ---- */

int space_count(const struct space *sp);
const char *space_name(const struct space *sp, int i);
int space_find(const struct space *sp, const char *name); /* index or -1 */
bool space_conditional(const struct space *sp, int i);    /* may be absent */
const char *space_source(const struct space *sp, int i);  /* the expression's text */

/* What all values of the parameter are, by its expression: VALUE_INT, VALUE_REAL,
 * VALUE_BOOL or VALUE_STR (a mixture of numbers and words is VALUE_STR; of ints and
 * reals, VALUE_REAL). For the type of the hp_ column. */
enum value_kind space_type(const struct space *sp, int i);

/* ---- dimensions ---- */

int space_dims(const struct space *sp);
const struct dim *space_dim(const struct space *sp, int d);
/* The interval of coordinates of dimension d that give the same draw as u, or twice u:
 * dist_cell(). */
void space_cell(const struct space *sp, int d, double u, double cell[2]);
/* The coordinate of the value times `factor`: dist_scaled(). */
double space_scaled(const struct space *sp, int d, double u, double factor);
/* The product of all grid sizes: 1 without any, ERR_RANGE (-1) above 2^31. */
int64_t space_grid_points(const struct space *sp);

/* ---- configurations ---- */

/* For all but SPACE_OK *e, if given, says what about which parameter or constraint. */
enum space_verdict {
    SPACE_OK,
    SPACE_REDRAW, /* a value is not finite, or a constraint is false */
    SPACE_BROKEN, /* evaluation failed: integer overflow, division by zero, ... Counts as
                     a redraw too. */
};

/* A random point of the unit cube, the one of redraw k of a trial: dimension by dimension
 * rng_unit(seed, RNG_SEARCH, trial, key, k), the key being space_dim()->key, so that a
 * parameter keeps its draws when others come and go. */
void space_point(const struct space *sp, uint64_t seed, uint32_t trial, uint32_t k,
                 double u[]);

/* values[space_count] of the point u[space_dims]. For a grid dimension u is
 * (index + 0.5) / n. Strings in values belong to the space. */
enum space_verdict space_eval(const struct space *sp, const double u[],
                              struct value values[], struct err *e);

/* The same with some parameters given (given[i].kind != VALUE_ABSENT): those are
 * as given, present whatever their `when`, neither checked against their
 * distribution nor drawn; the others are computed from u and from the given
 * values. Constraints are not applied: given values run as given. */
enum space_verdict space_complete(const struct space *sp, const struct value given[],
                                  const double u[], struct value values[], struct err *e);

/* The way back: the point that comes nearest to given values, each dimension for itself.
 * NaN for dimensions whose parameter is absent, or text that is none of the alternatives.
 * Rounded dimensions get the middle of the value's interval. */
void space_locate(const struct space *sp, const struct value values[], double u[]);

/* Could the space make a configuration with these values, whatever those come to that are
 * absent? Each present one is held against its own expression and `when`, and against the
 * constraints, as far as these refer to present ones alone. Reals to 1e-9. */
bool space_could(const struct space *sp, const struct value given[]);

/* Grids. A grid parameter that is absent takes part in the product with its first
 * alternative only: true when u has another one of an absent parameter, and so is a
 * repetition. */
bool space_repeats(const struct space *sp, const double u[], const struct value values[]);
/* Whether the grid dimensions of u can be used with some draw of the others, as far as
 * that does not depend on those: no constraint that is settled by them alone is false,
 * nor is it a repetition. values[space_count] is working space. 0 or ERR_RANGE. */
int space_check_grid(const struct space *sp, const double u[], struct value values[],
                     struct err *e);

/* Tries 10,000 points, those of trial 0 and its redraws by space_point(); ERR_RANGE
 * when none satisfies the space, with the constraint or parameter that failed most
 * often in the text. The space must be free of mistakes, as for space_eval(). */
int space_check(const struct space *sp, uint64_t seed, struct err *e);

/* {"lr":0.01,"l1":64}: present parameters in file order. */
void space_json(const struct space *sp, const struct value values[], struct str *out);
/* The reverse, for journals, start: and asktell's add: reads an object at the
 * scanner. Unknown names: ERR_NOENT, with the nearest. Parameters left out are
 * VALUE_ABSENT. Strings are malloc'ed: free with values_free(). */
int space_scan(const struct space *sp, struct json *j, struct value values[],
               struct err *e);
/* The same of a whole object of another space, text[n]: names that this one lacks are
 * passed over, and what cannot be read is absent. */
void space_scan_shared(const struct space *sp, const char *text, size_t n,
                       struct value values[]);
void values_free(struct value values[], int n);

#endif
