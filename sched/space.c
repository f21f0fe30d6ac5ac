#include "sched/space.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/suggest.h"
#include "base/vec.h"
#include "sched/expr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct param {
    char *source;
    struct expr *expr; /* NULL: not defined, or with mistakes */
    struct expr *when; /* NULL: none */
    int dim;           /* -1: not drawn */
    bool conditional;
    bool varies; /* depends on a dimension that is no grid */
};

struct constraint {
    char *source;
    struct expr *expr;
    bool varies;
};

struct space {
    int n;
    const char **names;
    struct map by_name; /* hash64(name): index of the parameter */
    struct map by_key;  /* the keys of dimensions in use */
    struct param *params;
    struct arith_type *types; /* what each parameter's values can be */
    VEC(struct dim) dims;
    VEC(struct constraint) constraints;
};

struct space *space_new(void)
{
    return mem_alloc(sizeof(struct space));
}

void space_free(struct space *sp)
{
    if (!sp)
        return;
    for (int i = 0; i < sp->n; i++) {
        free(sp->params[i].source);
        expr_free(sp->params[i].expr);
        expr_free(sp->params[i].when);
        free((char *)sp->names[i]);
    }
    for (size_t i = 0; i < sp->constraints.n; i++) {
        free(sp->constraints.v[i].source);
        expr_free(sp->constraints.v[i].expr);
    }
    vec_free(&sp->constraints);
    vec_free(&sp->dims);
    map_free(&sp->by_name);
    map_free(&sp->by_key);
    free(sp->params);
    free(sp->types);
    free(sp->names);
    free(sp);
}

void space_declare(struct space *sp, const char *const names[], size_t n)
{
    sp->n = (int)n;
    sp->names = mem_alloc(n * sizeof(*sp->names));
    sp->params = mem_alloc(n * sizeof(*sp->params));
    sp->types = mem_alloc(n * sizeof(*sp->types));
    for (size_t i = 0; i < n; i++) {
        sp->names[i] = mem_strdup(names[i]);
        map_put(&sp->by_name, hash64(names[i], strlen(names[i])), (uint32_t)i);
        sp->params[i].dim = -1;
    }
}

/* ---- definitions ---- */

static int find_name(const struct space *sp, struct slice name)
{
    uint32_t i;
    if (map_get(&sp->by_name, hash64(name.p, name.len), &i) &&
        slice_eq(name, sp->names[i]))
        return (int)i;
    return -1;
}

static int find_in_scope(void *ctx, struct slice name)
{
    return find_name(ctx, name);
}

static struct expr *parse(struct space *sp, enum expr_role role, int below,
                          const char *text, const struct space_errors *errors)
{
    struct expr_scope scope = {.role = role,
                               .names = sp->names,
                               .types = sp->types,
                               .n = sp->n,
                               .below = below,
                               .find = find_in_scope,
                               .ctx = sp};
    return expr_parse(text, &scope, errors);
}

static void inherit(const struct space *sp, const struct expr *x, bool *conditional,
                    bool *varies)
{
    const int *refs;
    int n = expr_refs(x, &refs);
    for (int i = 0; i < n; i++) {
        *conditional |= sp->params[refs[i]].conditional;
        *varies |= sp->params[refs[i]].varies;
    }
}

static uint32_t new_key(struct space *sp, const char *name)
{
    uint32_t key = (uint32_t)hash64(name, strlen(name)), taken;
    while (map_get(&sp->by_key, key, &taken))
        key++;
    map_put(&sp->by_key, key, 1);
    return key;
}

static void add_dim(struct space *sp, int i, struct dist *dist)
{
    struct param *p = &sp->params[i];
    dist->dim.name = sp->names[i];
    dist->dim.param = i;
    dist->dim.key = new_key(sp, sp->names[i]);
    p->dim = (int)sp->dims.n;
    p->varies |= dist->dim.kind != DIM_GRID;
    vec_push(&sp->dims, dist->dim);
}

/* The rest of parameter i, whose expression is x: NULL after reports. */
static int define(struct space *sp, int i, struct expr *x, const char *when,
                  const struct space_errors *when_errors)
{
    struct param *p = &sp->params[i];
    p->conditional = when != NULL;
    if (when)
        p->when = parse(sp, EXPR_WHEN, i, when, when_errors);
    if (!x || (when && !p->when)) {
        expr_free(x);
        return ERR_SYNTAX;
    }
    p->expr = x;
    sp->types[i] = expr_type(x);
    inherit(sp, x, &p->conditional, &p->varies);
    if (p->when)
        inherit(sp, p->when, &p->conditional, &p->varies);
    if (expr_dist(x))
        add_dim(sp, i, expr_dist(x));
    return 0;
}

int space_define(struct space *sp, int i, const char *expr, const char *when,
                 const struct space_errors *expr_errors,
                 const struct space_errors *when_errors)
{
    sp->params[i].source = mem_strdup(expr);
    return define(sp, i, parse(sp, EXPR_SAMPLE, i, expr, expr_errors), when, when_errors);
}

int space_define_constant(struct space *sp, int i, struct value v, const char *when,
                          const struct space_errors *when_errors)
{
    struct str source = STR_INIT;
    value_text(v, &source);
    sp->params[i].source = str_take(&source);
    return define(sp, i, expr_constant(v), when, when_errors);
}

int space_constrain(struct space *sp, const char *expr, const struct space_errors *errors)
{
    bool conditional = false;
    struct constraint c = {.expr = parse(sp, EXPR_CONSTRAINT, sp->n, expr, errors)};
    if (!c.expr)
        return ERR_SYNTAX;
    c.source = mem_strdup(expr);
    inherit(sp, c.expr, &conditional, &c.varies);
    vec_push(&sp->constraints, c);
    return 0;
}

/* ---- looking ---- */

int space_count(const struct space *sp)
{
    return sp->n;
}

const char *space_name(const struct space *sp, int i)
{
    return sp->names[i];
}

int space_find(const struct space *sp, const char *name)
{
    return find_name(sp, slice_of(name));
}

bool space_conditional(const struct space *sp, int i)
{
    return sp->params[i].conditional;
}

const char *space_source(const struct space *sp, int i)
{
    return sp->params[i].source;
}

enum value_kind space_type(const struct space *sp, int i)
{
    switch (sp->types[i].kinds) {
    case KIND_INT: return VALUE_INT;
    case KIND_BOOL: return VALUE_BOOL;
    case KIND_REAL:
    case KIND_REAL | KIND_INT: return VALUE_REAL;
    default: return VALUE_STR;
    }
}

int space_dims(const struct space *sp)
{
    return (int)sp->dims.n;
}

const struct dim *space_dim(const struct space *sp, int d)
{
    return &sp->dims.v[d];
}

void space_cell(const struct space *sp, int d, double u, double cell[2])
{
    dist_cell(expr_dist(sp->params[sp->dims.v[d].param].expr), u, cell);
}

double space_scaled(const struct space *sp, int d, double u, double factor)
{
    return dist_scaled(expr_dist(sp->params[sp->dims.v[d].param].expr), u, factor);
}

int64_t space_grid_points(const struct space *sp)
{
    const int64_t most = INT64_C(1) << 31;
    int64_t points = 1;
    for (size_t d = 0; d < sp->dims.n; d++) {
        if (sp->dims.v[d].kind != DIM_GRID)
            continue;
        if (sp->dims.v[d].n > most / points)
            return ERR_RANGE;
        points *= sp->dims.v[d].n;
    }
    return points;
}

/* ---- evaluation ---- */

void space_point(const struct space *sp, uint64_t seed, uint32_t trial, uint32_t k,
                 double u[])
{
    for (size_t d = 0; d < sp->dims.n; d++)
        u[d] = rng_unit(seed, RNG_SEARCH, trial, sp->dims.v[d].key, k);
}

static bool all_present(const struct expr *x, const struct value values[])
{
    const int *refs;
    int n = expr_refs(x, &refs);
    for (int i = 0; i < n; i++)
        if (values[refs[i]].kind == VALUE_ABSENT)
            return false;
    return true;
}

static enum space_verdict eval_param(const struct space *sp, int i, const double u[],
                                     struct value values[], struct err *e)
{
    const struct param *p = &sp->params[i];
    struct value v;
    values[i].kind = VALUE_ABSENT;
    if (!p->expr) {
        err_set(e, ERR_INVAL, "parameter '%s' has no valid definition", sp->names[i]);
        return SPACE_BROKEN;
    }
    if (p->when) {
        if (!all_present(p->when, values))
            return SPACE_OK;
        if (expr_eval(p->when, values, 0, &v, e) != 0) {
            err_prefix(e, "'when' of '%s'", sp->names[i]);
            return SPACE_BROKEN;
        }
        if (!value_truth(v))
            return SPACE_OK;
    }
    if (!all_present(p->expr, values))
        return SPACE_OK;
    if (expr_eval(p->expr, values, p->dim >= 0 ? u[p->dim] : 0, &v, e) != 0) {
        err_prefix(e, "parameter '%s'", sp->names[i]);
        return SPACE_BROKEN;
    }
    if (v.kind == VALUE_REAL && !isfinite(v.r)) {
        err_set(e, ERR_RANGE, "parameter '%s' is %s", sp->names[i],
                isnan(v.r) ? "not a number" : "infinite");
        return SPACE_REDRAW;
    }
    values[i] = v;
    return SPACE_OK;
}

static enum space_verdict eval_constraint(const struct constraint *c,
                                          const struct value values[], struct err *e)
{
    struct value v;
    if (!all_present(c->expr, values))
        return SPACE_OK;
    if (expr_eval(c->expr, values, 0, &v, e) != 0) {
        err_prefix(e, "constraint '%s'", c->source);
        return SPACE_BROKEN;
    }
    if (value_truth(v))
        return SPACE_OK;
    err_set(e, ERR_RANGE, "constraint '%s' is false", c->source);
    return SPACE_REDRAW;
}

/* *culprit: the parameter, or n + the constraint, that the verdict is about. */
static enum space_verdict eval_all(const struct space *sp, const double u[],
                                   struct value values[], int *culprit, struct err *e)
{
    enum space_verdict verdict = SPACE_OK;
    for (*culprit = 0; *culprit < sp->n; ++*culprit)
        if ((verdict = eval_param(sp, *culprit, u, values, e)) != SPACE_OK)
            return verdict;
    for (size_t i = 0; i < sp->constraints.n; i++, ++*culprit)
        if ((verdict = eval_constraint(&sp->constraints.v[i], values, e)) != SPACE_OK)
            return verdict;
    return SPACE_OK;
}

enum space_verdict space_eval(const struct space *sp, const double u[],
                              struct value values[], struct err *e)
{
    int culprit;
    return eval_all(sp, u, values, &culprit, e);
}

enum space_verdict space_complete(const struct space *sp, const struct value given[],
                                  const double u[], struct value values[], struct err *e)
{
    for (int i = 0; i < sp->n; i++) {
        if (given[i].kind != VALUE_ABSENT) {
            values[i] = given[i];
            continue;
        }
        enum space_verdict verdict = eval_param(sp, i, u, values, e);
        if (verdict != SPACE_OK)
            return verdict;
    }
    return SPACE_OK;
}

/* ---- the way back ---- */

#define LOCATE_CELLS 4096 /* of a rounded dimension: all of them are tried */
#define LOCATE_STEPS 1024 /* of any other: so many parts of it */

static double number(struct value v)
{
    switch (v.kind) {
    case VALUE_INT: return (double)v.i;
    case VALUE_REAL: return v.r;
    case VALUE_BOOL: return v.b;
    default: return NAN;
    }
}

static double distance(struct value a, struct value b)
{
    double d = number(a) - number(b);
    if (value_equal(a, b))
        return 0;
    return isnan(d) ? INFINITY : fabs(d);
}

/* How far parameter i at coordinate u is from its value. */
static double miss(const struct space *sp, int i, const struct value values[], double u)
{
    struct value v;
    if (expr_eval(sp->params[i].expr, values, u, &v, NULL) != 0)
        return INFINITY;
    return distance(v, values[i]);
}

/* The same with a sign; NaN where one of them is no number. */
static double off(const struct space *sp, int i, const struct value values[], double u)
{
    struct value v;
    if (expr_eval(sp->params[i].expr, values, u, &v, NULL) != 0)
        return NAN;
    return value_equal(v, values[i]) ? 0 : number(v) - number(values[i]);
}

static double locate_rounded(const struct space *sp, int d, const struct value values[])
{
    double best = INFINITY, found = NAN, cell[2] = {0, 0};
    for (int64_t k = 0; k < sp->dims.v[d].n && cell[1] < 1; k++) {
        /* the next one, whatever rounding makes of the edge between them */
        space_cell(sp, d, fmin(cell[1] + 1e-9, 1 - 0x1p-53), cell);
        double u = (cell[0] + cell[1]) / 2, m = miss(sp, sp->dims.v[d].param, values, u);
        if (m < best) {
            best = m;
            found = u;
        }
    }
    return found;
}

/* Where the parameter passes its value between lo and hi, by bisection, which steps do
 * not mislead; NaN: it does not. */
static double locate_crossing(const struct space *sp, int i, const struct value values[],
                              double lo, double hi)
{
    double a = off(sp, i, values, lo), b = off(sp, i, values, hi);
    if (a == 0 || b == 0)
        return a == 0 ? lo : hi;
    if (!(a < 0 ? b > 0 : a > 0 && b < 0))
        return NAN;
    for (;;) {
        double middle = (lo + hi) / 2, m = off(sp, i, values, middle);
        if (m == 0)
            return middle;
        if (isnan(m) || middle <= lo || middle >= hi)
            return fabs(a) <= fabs(b) ? lo : hi;
        if ((m < 0) == (a < 0)) {
            lo = middle;
            a = m;
        } else {
            hi = middle;
            b = m;
        }
    }
}

/* The best of LOCATE_STEPS points, then what lies between its neighbours: where the value
 * is passed there, or else by golden sections. */
static double locate_continuous(const struct space *sp, int d,
                                const struct value values[])
{
    const double golden = 0.6180339887498949;
    int i = sp->dims.v[d].param;
    double best = INFINITY, found = NAN;
    for (int k = 0; k < LOCATE_STEPS; k++) {
        double u = (k + 0.5) / LOCATE_STEPS, m = miss(sp, i, values, u);
        if (m < best) {
            best = m;
            found = u;
        }
    }
    double lo = fmax(found - 1.0 / LOCATE_STEPS, 0),
           hi = fmin(found + 1.0 / LOCATE_STEPS, 1 - 0x1p-53);
    double crossing = isnan(found) ? NAN : locate_crossing(sp, i, values, lo, hi);
    if (!isnan(crossing))
        return crossing;
    while (hi - lo > 1e-13) {
        double left = hi - golden * (hi - lo), right = lo + golden * (hi - lo);
        if (miss(sp, i, values, left) <= miss(sp, i, values, right))
            hi = right;
        else
            lo = left;
    }
    return isnan(found) ? NAN : (lo + hi) / 2;
}

static double locate(const struct space *sp, int d, const struct value values[])
{
    const struct dim *dim = &sp->dims.v[d];
    double u, cell[2];
    if (values[dim->param].kind == VALUE_ABSENT ||
        !all_present(sp->params[dim->param].expr, values))
        return NAN;
    if (dim->n > 0 && dim->n <= LOCATE_CELLS)
        return locate_rounded(sp, d, values);
    u = locate_continuous(sp, d, values);
    if (isnan(u))
        return NAN;
    space_cell(sp, d, u, cell);
    return (cell[0] + cell[1]) / 2;
}

void space_locate(const struct space *sp, const struct value values[], double u[])
{
    for (int d = 0; d < space_dims(sp); d++)
        u[d] = locate(sp, d, values);
}

/* ---- values of another space ---- */

#define SAME                                                                             \
    1e-9 /* of a value, or of what it changes by in the next part of a dimension */

/* Is the value that a parameter with all that it refers to has one that it could have? */
static bool could_be(const struct space *sp, int i, const struct value given[])
{
    const struct param *p = &sp->params[i];
    double u = p->dim >= 0 ? locate(sp, p->dim, given) : 0, least, span = 0;
    if (isnan(u))
        return false;
    least = miss(sp, i, given, u);
    if (p->dim >= 0 && sp->dims.v[p->dim].n == 0 && sp->dims.v[p->dim].q == 0)
        span = fabs(off(sp, i, given, fmax(u - 1.0 / LOCATE_STEPS, 0)) -
                    off(sp, i, given, fmin(u + 1.0 / LOCATE_STEPS, 1 - 0x1p-53)));
    return least <= SAME * fabs(number(given[i])) || least == 0 ||
           (isfinite(span) && least <= SAME * span);
}

bool space_could(const struct space *sp, const struct value given[])
{
    for (int i = 0; i < sp->n; i++) {
        const struct param *p = &sp->params[i];
        struct value v;
        if (given[i].kind == VALUE_ABSENT)
            continue;
        if (p->when && all_present(p->when, given) &&
            (expr_eval(p->when, given, 0, &v, NULL) != 0 || !value_truth(v)))
            return false;
        if (all_present(p->expr, given) && !could_be(sp, i, given))
            return false;
    }
    for (size_t i = 0; i < sp->constraints.n; i++)
        if (eval_constraint(&sp->constraints.v[i], given, NULL) != SPACE_OK)
            return false;
    return true;
}

/* ---- grids ---- */

bool space_repeats(const struct space *sp, const double u[], const struct value values[])
{
    for (size_t d = 0; d < sp->dims.n; d++) {
        const struct dim *dim = &sp->dims.v[d];
        if (dim->kind == DIM_GRID && values[dim->param].kind == VALUE_ABSENT &&
            u[d] * (double)dim->n >= 1)
            return true;
    }
    return false;
}

int space_check_grid(const struct space *sp, const double u[], struct value values[],
                     struct err *e)
{
    for (int i = 0; i < sp->n; i++) {
        const struct param *p = &sp->params[i];
        values[i].kind = VALUE_ABSENT;
        if (p->varies)
            continue;
        if (eval_param(sp, i, u, values, e) != SPACE_OK)
            return ERR_RANGE;
        if (values[i].kind == VALUE_ABSENT && p->dim >= 0 &&
            u[p->dim] * (double)sp->dims.v[p->dim].n >= 1)
            return err_set(e, ERR_RANGE, "the grid point repeats another: '%s' is absent",
                           sp->names[i]);
    }
    for (size_t i = 0; i < sp->constraints.n; i++)
        if (!sp->constraints.v[i].varies &&
            eval_constraint(&sp->constraints.v[i], values, e) != SPACE_OK)
            return ERR_RANGE;
    return 0;
}

/* ---- checking ---- */

#define CHECK_POINTS 10000

struct blame {
    uint32_t times, first; /* how often, and the first point it happened at */
};

static int check_failed(const struct space *sp, uint64_t seed, const struct blame blame[],
                        double u[], struct value values[], struct err *e)
{
    int worst = 0, culprit;
    struct err why;
    for (int i = 1; i < sp->n + (int)sp->constraints.n; i++)
        if (blame[i].times > blame[worst].times)
            worst = i;
    space_point(sp, seed, 0, blame[worst].first, u);
    eval_all(sp, u, values, &culprit, &why);
    return err_set(
        e, ERR_RANGE,
        "none of %d draws satisfies the space; in %u of them the reason was: %s",
        CHECK_POINTS, blame[worst].times, why.text);
}

int space_check(const struct space *sp, uint64_t seed, struct err *e)
{
    double *u = mem_alloc(sp->dims.n * sizeof(*u));
    struct value *values = mem_alloc((size_t)sp->n * sizeof(*values));
    struct blame *blame = mem_alloc(((size_t)sp->n + sp->constraints.n) * sizeof(*blame));
    int rc = ERR_RANGE;
    for (uint32_t k = 0; k < CHECK_POINTS && rc != 0; k++) {
        int culprit;
        space_point(sp, seed, 0, k, u);
        if (eval_all(sp, u, values, &culprit, NULL) == SPACE_OK)
            rc = 0;
        else if (blame[culprit].times++ == 0)
            blame[culprit].first = k;
    }
    if (rc != 0)
        rc = check_failed(sp, seed, blame, u, values, e);
    free(blame);
    free(values);
    free(u);
    return rc;
}

/* ---- text ---- */

void space_json(const struct space *sp, const struct value values[], struct str *out)
{
    json_put_object(out);
    for (int i = 0; i < sp->n; i++)
        if (values[i].kind != VALUE_ABSENT) {
            json_put_key(out, sp->names[i]);
            value_json(values[i], out);
        }
    json_put_close(out, '}');
}

/* The parameter of a key; keys mostly come in the order of the file. */
static int find_key(const struct space *sp, struct slice key, int expected)
{
    if (expected < sp->n && slice_eq(key, sp->names[expected]))
        return expected;
    return find_name(sp, key);
}

static int unknown_key(const struct space *sp, struct slice key, struct err *e)
{
    char *name = mem_strndup(key.p, key.len);
    const char *near = suggest(name, sp->names, (size_t)sp->n);
    int rc = near ? err_set(e, ERR_NOENT, "unknown parameter '%s' (did you mean '%s'?)",
                            name, near)
                  : err_set(e, ERR_NOENT, "unknown parameter '%s'", name);
    free(name);
    return rc;
}

int space_scan(const struct space *sp, struct json *j, struct value values[],
               struct err *e)
{
    struct slice key;
    int rc = 0;
    for (int i = 0; i < sp->n; i++)
        values[i].kind = VALUE_ABSENT;
    json_object(j);
    for (int next = 0; rc == 0 && json_key(j, &key); next++) {
        int i = find_key(sp, key, next);
        if (i < 0)
            rc = unknown_key(sp, key, e);
        else if (values[i].kind != VALUE_ABSENT)
            rc = err_set(e, ERR_EXIST, "parameter '%s' is given twice", sp->names[i]);
        else
            values[i] = value_scan(j);
        if (i >= 0 && rc == 0 && j->error)
            rc = err_set(e, ERR_SYNTAX, "parameter '%s': %s", sp->names[i], j->error);
    }
    if (rc == 0 && j->error)
        rc = err_set(e, ERR_SYNTAX, "parameters: %s", j->error);
    if (rc != 0)
        values_free(values, sp->n);
    return rc;
}

void space_scan_shared(const struct space *sp, const char *text, size_t n,
                       struct value values[])
{
    struct slice key;
    struct json j;
    for (int i = 0; i < sp->n; i++)
        values[i].kind = VALUE_ABSENT;
    json_begin(&j, text, n);
    json_object(&j);
    for (int next = 0; json_key(&j, &key); next++) {
        int i = find_key(sp, key, next);
        if (i >= 0 && values[i].kind == VALUE_ABSENT)
            values[i] = value_scan(&j);
        else
            json_skip(&j);
    }
}

void values_free(struct value values[], int n)
{
    for (int i = 0; i < n; i++) {
        if (values[i].kind == VALUE_STR)
            free((char *)values[i].s);
        values[i].kind = VALUE_ABSENT;
    }
}
