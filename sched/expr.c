/* Expressions: the parser writes code for a stack machine as it goes.
 *
 * Each parse function leaves the code of one operand at the end of the program and
 * returns what is known of it (struct operand). An operation on two constants takes
 * both away again and leaves their result, so constants are folded, and mistakes in
 * them found, on the way. After a mistake the operand is unusable (kinds 0) and
 * silent: whatever it becomes part of is unusable too, without another report.
 *
 * A syntax error skips to the next comma or bracket of the same level and goes on
 * from there, so that it hides as little as possible of what follows. */
#include "sched/expr.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/suggest.h"
#include "base/vec.h"
#include "sched/token.h"

#include <stdlib.h>
#include <string.h>

/* Operands that wait on the stack: at most one for each of comparison, sum, term,
 * power and function call of a level, and the last one. */
#define STACK_MAX (5 * EXPR_DEPTH_MAX + 6)

enum code_op {
    CODE_CONSTANT, /* push value */
    CODE_PARAM,    /* push values[arg] */
    CODE_DRAW,     /* push a value of the distribution */
    CODE_APPLY,    /* arith_op arg on the top one or two */
    CODE_AND,      /* false on top: go to arg, keeping it; else pop */
    CODE_OR,       /* true on top: the same */
};

struct code {
    enum code_op op;
    int arg;
    struct value value;
};

struct expr {
    VEC(struct code) code;
    VEC(int) refs;
    VEC(char *) texts; /* what text constants point to */
    struct arith_type type;
    bool draws;
    struct dist dist;
};

struct operand {
    size_t offset; /* where it begins in the text */
    size_t code;   /* where its code begins */
    struct arith_type type;
    bool constant;
    bool word;          /* a constant that was written as a bare word */
    struct value value; /* if constant */
};

struct parser {
    const struct expr_scope *scope;
    const char *text;
    struct lexer lexer;
    struct token token; /* the next one */
    struct expr *x;
    int depth;
    bool hopeless; /* given up: no more syntax errors */
    int mistakes;
    const struct space_errors *errors; /* the caller's */
    struct space_errors counted;       /* ours, which counts them */
};

typedef struct operand parse_function(struct parser *p);
static parse_function parse_or, parse_unary;

static void count_mistake(void *ctx, size_t offset, const char *text)
{
    struct parser *p = ctx;
    if (p->mistakes++ < MISTAKES_MAX)
        p->errors->report(p->errors->ctx, offset, text);
}

#define MISTAKE(p, offset, ...) mistake_at(&(p)->counted, (offset), __VA_ARGS__)

static void advance(struct parser *p)
{
    p->token = lexer_next(&p->lexer);
}

static bool accept(struct parser *p, enum token_kind kind)
{
    if (p->token.kind != kind)
        return false;
    advance(p);
    return true;
}

/* ---- code ---- */

static void emit(struct parser *p, enum code_op op, int arg, struct value v)
{
    vec_push(&p->x->code, ((struct code){op, arg, v}));
}

static struct operand unusable(const struct parser *p, size_t offset)
{
    return (struct operand){.offset = offset, .code = p->x->code.n};
}

static bool usable(const struct operand *o)
{
    return o->type.kinds != 0;
}

static struct operand constant(struct parser *p, size_t offset, struct value v)
{
    struct value zero = {.kind = VALUE_INT};
    struct operand o = {.offset = offset, .code = p->x->code.n, .constant = true};
    o.value = v;
    o.type.kinds = 1u << v.kind;
    o.type.nonneg = v.kind != VALUE_STR && value_order(v, zero) >= 0 &&
                    value_order(v, zero) != VALUE_UNORDERED;
    emit(p, CODE_CONSTANT, 0, v);
    return o;
}

static struct value own_text(struct expr *x, char *text)
{
    vec_push(&x->texts, text);
    return (struct value){.kind = VALUE_STR, .s = text};
}

/* ---- words ---- */

static struct slice token_slice(const struct parser *p, struct token t)
{
    return (struct slice){p->text + t.offset, t.len};
}

static int find_param(const struct parser *p, struct slice name)
{
    return p->scope->find(p->scope->ctx, name);
}

static const struct function {
    const char *name, *usage;
    size_t least, most; /* arguments */
    enum arith_op one, two;
} functions[] = {
    {"abs", "abs(x)", 1, 1, ARITH_ABS, ARITH_ABS},
    {"exp", "exp(x)", 1, 1, ARITH_EXP, ARITH_EXP},
    {"int", "int(x)", 1, 1, ARITH_INT, ARITH_INT},
    {"log", "log(x) or log(x, base)", 1, 2, ARITH_LOG, ARITH_LOG_BASE},
    {"max", "max(a, b, ...)", 2, SIZE_MAX, ARITH_MAX, ARITH_MAX},
    {"min", "min(a, b, ...)", 2, SIZE_MAX, ARITH_MIN, ARITH_MIN},
    {"round", "round(x) or round(x, digits)", 1, 2, ARITH_ROUND, ARITH_ROUND_TO},
    {"sqrt", "sqrt(x)", 1, 1, ARITH_SQRT, ARITH_SQRT},
};
#define FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

static const struct function *find_function(struct slice name)
{
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (slice_eq(name, functions[i].name))
            return &functions[i];
    return NULL;
}

/* "uniform(lo, hi)" when word is the name of something that is called, else NULL. */
static const char *usage_of(struct slice word)
{
    const struct dist_type *dist = dist_find(word);
    const struct function *function = find_function(word);
    return dist ? dist_usage(dist) : function ? function->usage : NULL;
}

static void unknown_word(struct parser *p, const struct operand *o)
{
    const char *word = o->value.s, *usage = usage_of(slice_of(word));
    const char *near = suggest(word, p->scope->names, (size_t)p->scope->n);
    if (near)
        MISTAKE(p, o->offset, "unknown parameter '%s' (did you mean '%s'?)", word, near);
    else if (usage)
        MISTAKE(p, o->offset, "'%s' needs its arguments: %s", word, usage);
    else
        MISTAKE(p, o->offset,
                "unknown parameter '%s' (a word may stand only in choice, in grid and "
                "beside == and !=; other text needs quotes)",
                word);
}

/* Whether a word may stand here, where words may: not when it could be a slip. Two
 * different single letters are no slip. */
static bool word_is_meant(struct parser *p, const struct operand *o)
{
    const char *word = o->value.s;
    for (int i = 0; i < p->scope->n; i++) {
        const char *name = p->scope->names[i];
        bool letters = strlen(word) == 1 && strlen(name) == 1;
        if (letters ? edit_distance(word, name) > 0 : !edit_slip(word, name))
            continue;
        MISTAKE(
            p, o->offset,
            "'%s' looks like a slip for the parameter '%s' (if the word is meant, write "
            "\"%s\" in quotes)",
            word, name, word);
        return false;
    }
    return true;
}

/* An operand where a bare word has no place. */
static bool check_word(struct parser *p, const struct operand *o)
{
    if (!usable(o))
        return false;
    if (o->word)
        unknown_word(p, o);
    return !o->word;
}

static bool check_number(struct parser *p, enum arith_op op, const struct operand *o)
{
    if (!check_word(p, o))
        return false;
    if (o->type.kinds & KINDS_NUMBER)
        return true;
    MISTAKE(p, o->offset, "'%s' needs numbers, and this is text", arith_name(op));
    return false;
}

/* The sides of == and !=. */
static bool check_sides(struct parser *p, const struct operand *a,
                        const struct operand *b)
{
    if (!usable(a) || !usable(b))
        return false;
    bool ok = true;
    if (a->constant && b->constant && (a->word || b->word)) {
        unknown_word(p, a->word ? a : b);
        return false;
    }
    if (a->word)
        ok = word_is_meant(p, a);
    if (b->word)
        ok = word_is_meant(p, b) && ok;
    return ok;
}

/* ---- operations ---- */

static struct operand apply(struct parser *p, enum arith_op op, size_t offset,
                            struct operand a, struct operand b)
{
    struct err e;
    struct operand o = {.offset = a.offset, .code = a.code};
    o.type = arith_type(op, a.type, b.type);
    bool folds = a.constant && (b.constant || arith_operands(op) == 1);
    if (!folds) {
        emit(p, CODE_APPLY, (int)op, (struct value){.kind = VALUE_ABSENT});
        return o;
    }
    if (arith_apply(op, a.value, b.value, &o.value, &e) != 0) {
        MISTAKE(p, offset, "%s", e.text);
        return unusable(p, a.offset);
    }
    p->x->code.n = a.code;
    return constant(p, a.offset, o.value);
}

static struct operand unary(struct parser *p, enum arith_op op, size_t offset,
                            struct operand a)
{
    bool ok = arith_takes_text(op) ? check_word(p, &a) : check_number(p, op, &a);
    a.offset = offset;
    return ok ? apply(p, op, offset, a, a) : unusable(p, offset);
}

static struct operand binary(struct parser *p, enum arith_op op, size_t offset,
                             struct operand a, struct operand b)
{
    bool ok;
    if (arith_takes_text(op)) {
        ok = check_sides(p, &a, &b);
    } else {
        ok = check_number(p, op, &a);
        ok = check_number(p, op, &b) && ok;
    }
    return ok ? apply(p, op, offset, a, b) : unusable(p, a.offset);
}

/* ---- syntax errors ---- */

static void skip_to_delimiter(struct parser *p)
{
    for (int open = 0; p->token.kind != TOKEN_END; advance(p)) {
        if (open == 0 && (p->token.kind == TOKEN_COMMA || p->token.kind == TOKEN_CLOSE))
            return;
        open += p->token.kind == TOKEN_OPEN;
        open -= p->token.kind == TOKEN_CLOSE;
    }
}

/* Reports that the next token is not what was wanted, unless what is wrong with it
 * has been told already. */
static struct operand unexpected(struct parser *p, const char *wanted)
{
    struct token t = p->token;
    bool told = t.mended || p->hopeless || p->lexer.bracket;
    if (!told && t.kind == TOKEN_END)
        MISTAKE(p, t.offset, "%s",
                t.offset == strspn(p->text, " \t\r\n") ? "the expression is empty"
                                                       : wanted);
    else if (!told)
        MISTAKE(p, t.offset, "%s, not '%.*s'", wanted, t.len < 60 ? (int)t.len : 60,
                p->text + t.offset);
    skip_to_delimiter(p);
    return unusable(p, t.offset);
}

/* Parses one level deeper, or gives up. */
static struct operand deeper(struct parser *p, parse_function *parse)
{
    if (p->depth == EXPR_DEPTH_MAX) {
        if (!p->hopeless)
            MISTAKE(p, p->token.offset, "nested deeper than %d levels", EXPR_DEPTH_MAX);
        p->hopeless = true;
        while (p->token.kind != TOKEN_END)
            advance(p);
        return unusable(p, p->token.offset);
    }
    p->depth++;
    struct operand o = parse(p);
    p->depth--;
    return o;
}

/* ---- calls ---- */

struct args {
    VEC(struct operand) v;
};

/* The arguments after '('. Those of min and max are joined as they come, in v[0]; the
 * code of others stays only when `keep`. Returns how many there were. */
static size_t parse_args(struct parser *p, const struct function *fold, bool keep,
                         struct args *args)
{
    struct token open = p->token;
    size_t n = 0;
    advance(p);
    if (accept(p, TOKEN_CLOSE))
        return 0;
    for (;; n++) {
        size_t offset = p->token.offset, code = p->x->code.n;
        struct operand o = deeper(p, parse_or);
        if (p->token.kind != TOKEN_COMMA && p->token.kind != TOKEN_CLOSE &&
            p->token.kind != TOKEN_END)
            o = unexpected(p, "',' or ')' is wanted here");
        if (!keep)
            p->x->code.n = code;
        if (fold && n > 0)
            args->v.v[0] = binary(p, fold->two, offset, args->v.v[0], o);
        else
            vec_push(&args->v, o);
        if (!accept(p, TOKEN_COMMA))
            break;
    }
    if (!accept(p, TOKEN_CLOSE) && !p->hopeless)
        MISTAKE(p, open.offset, "this '(' is never closed");
    return n + 1;
}

static struct operand call_function(struct parser *p, struct token name,
                                    const struct function *f)
{
    struct args args = {0};
    bool folds = f->most == SIZE_MAX;
    size_t code = p->x->code.n;
    size_t n = parse_args(p, folds ? f : NULL, true, &args);
    struct operand o = unusable(p, name.offset);
    if (n < f->least || n > f->most) {
        MISTAKE(p, name.offset, "'%s' is called as %s, not with %zu argument%s", f->name,
                f->usage, n, n == 1 ? "" : "s");
    } else if (folds) {
        o = args.v.v[0];
        o.word = false;
    } else if (n == 1) {
        o = unary(p, f->one, name.offset, args.v.v[0]);
    } else {
        o = binary(p, f->two, name.offset, args.v.v[0], args.v.v[1]);
    }
    o.offset = name.offset;
    o.code = code;
    vec_free(&args.v);
    return o;
}

/* The arguments of a distribution as values; false after reports. */
static bool constants(struct parser *p, const struct dist_type *t,
                      const struct args *args, struct dist_arg out[])
{
    bool ok = true;
    for (size_t i = 0; i < args->v.n; i++) {
        const struct operand *o = &args->v.v[i];
        out[i] = (struct dist_arg){.value = o->value, .offset = o->offset};
        if (!usable(o)) {
            ok = false;
        } else if (!o->constant) {
            MISTAKE(p, o->offset, "the arguments of %s must be constants", dist_usage(t));
            ok = false;
        } else if (o->word) {
            ok = (dist_takes_text(t) ? word_is_meant(p, o) : check_word(p, o)) && ok;
        }
    }
    return ok;
}

static struct operand call_dist(struct parser *p, struct token name,
                                const struct dist_type *t)
{
    struct args args = {0};
    struct dist dist;
    struct operand o = unusable(p, name.offset);
    bool second = p->x->draws;
    size_t n = parse_args(p, NULL, false, &args);
    struct dist_arg *values = mem_resize(NULL, n + 1, sizeof(*values));
    if (p->scope->role != EXPR_SAMPLE) {
        MISTAKE(p, name.offset,
                "a distribution cannot stand in %s: give it a parameter of "
                "its own",
                p->scope->role == EXPR_WHEN ? "'when'" : "a constraint");
    } else if (constants(p, t, &args, values) &&
               dist_make(&dist, t, values, n, name.offset, &p->counted) == 0) {
        if (second) {
            MISTAKE(p, name.offset,
                    "a parameter can have one distribution only: give this "
                    "one a parameter of its own");
            dist_clear(&dist);
        } else {
            p->x->draws = true;
            p->x->dist = dist;
            o.type = dist_result(&dist);
            emit(p, CODE_DRAW, 0, (struct value){.kind = VALUE_ABSENT});
        }
    }
    free(values);
    vec_free(&args.v);
    return o;
}

/* An unknown name that is near to none: all that can be called here. */
static void tell_calls(struct parser *p, struct token name, const char *word)
{
    struct str s = STR_INIT;
    for (size_t i = 0; i < FUNCTIONS; i++)
        str_addf(&s, "%s%s",
                 i == 0              ? ""
                 : i + 1 < FUNCTIONS ? ", "
                                     : " and ",
                 functions[i].name);
    for (size_t i = 0; p->scope->role == EXPR_SAMPLE && dist_name(i); i++)
        str_addf(&s, "%s%s", i ? ", " : "; distributions are ", dist_name(i));
    MISTAKE(p, name.offset, "unknown function '%s' (there are %s)", word, s.p);
    str_free(&s);
}

static void unknown_call(struct parser *p, struct token name)
{
    const char *names[64], *near;
    size_t dists = 0, n;
    while (dist_name(dists)) {
        names[dists] = dist_name(dists);
        dists++;
    }
    for (n = 0; n < FUNCTIONS; n++)
        names[dists + n] = functions[n].name;
    char *word = mem_strndup(p->text + name.offset, name.len);
    if (find_param(p, slice_of(word)) >= 0)
        MISTAKE(p, name.offset, "'%s' is a parameter and takes no arguments", word);
    else if ((near = suggest(word, names, dists)) != NULL)
        MISTAKE(p, name.offset, "unknown distribution '%s' (did you mean '%s'?)", word,
                near);
    else if ((near = suggest(word, names + dists, n)) != NULL)
        MISTAKE(p, name.offset, "unknown function '%s' (did you mean '%s'?)", word, near);
    else
        tell_calls(p, name, word);
    free(word);
}

static struct operand parse_call(struct parser *p, struct token name)
{
    const struct dist_type *dist = dist_find(token_slice(p, name));
    const struct function *function = find_function(token_slice(p, name));
    if (dist)
        return call_dist(p, name, dist);
    if (function)
        return call_function(p, name, function);
    unknown_call(p, name);
    struct args args = {0};
    parse_args(p, NULL, false, &args);
    vec_free(&args.v);
    return unusable(p, name.offset);
}

/* ---- names ---- */

static struct operand parse_param(struct parser *p, struct token name, int param)
{
    struct operand o = {.offset = name.offset, .code = p->x->code.n};
    const char *text = p->scope->names[param];
    if (param == p->scope->below) {
        MISTAKE(p, name.offset, "'%s' cannot depend on itself", text);
        return o;
    }
    if (param > p->scope->below) {
        MISTAKE(p, name.offset,
                "'%s' is defined below: a parameter can use those above it "
                "only",
                text);
        return o;
    }
    bool known = false;
    for (size_t i = 0; i < p->x->refs.n; i++)
        known |= p->x->refs.v[i] == param;
    if (!known)
        vec_push(&p->x->refs, param);
    o.type = p->scope->types[param];
    emit(p, CODE_PARAM, param, (struct value){.kind = VALUE_ABSENT});
    return o;
}

static bool is_boolean_in_python_or_yaml(struct slice name)
{
    static const char *const spellings[] = {"True", "False", "TRUE", "FALSE"};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
        if (slice_eq(name, spellings[i]))
            return true;
    return false;
}

static struct operand parse_name(struct parser *p, struct token name)
{
    struct slice text = token_slice(p, name);
    if (p->token.kind == TOKEN_OPEN)
        return parse_call(p, name);
    int param = find_param(p, text);
    if (param >= 0)
        return parse_param(p, name, param);
    if (is_boolean_in_python_or_yaml(text)) {
        MISTAKE(p, name.offset, "booleans are written 'true' and 'false'");
        return unusable(p, name.offset);
    }
    struct operand o =
        constant(p, name.offset, own_text(p->x, mem_strndup(text.p, text.len)));
    o.word = true;
    return o;
}

/* ---- the grammar ---- */

static struct operand parse_brackets(struct parser *p, struct token open)
{
    struct operand o = deeper(p, parse_or);
    if (p->token.kind == TOKEN_COMMA)
        o = unexpected(p, "')' is wanted here");
    while (p->token.kind == TOKEN_COMMA) {
        advance(p);
        skip_to_delimiter(p);
    }
    if (p->token.kind != TOKEN_CLOSE && p->token.kind != TOKEN_END)
        o = unexpected(p, "an operator or ')' is wanted here");
    if (!accept(p, TOKEN_CLOSE) && !p->hopeless)
        MISTAKE(p, open.offset, "this '(' is never closed");
    return o;
}

static struct operand parse_atom(struct parser *p)
{
    struct token t = p->token;
    struct str text = STR_INIT;
    switch (t.kind) {
    case TOKEN_BAD: advance(p); return unusable(p, t.offset);
    case TOKEN_NUMBER: advance(p); return constant(p, t.offset, t.number);
    case TOKEN_STRING:
        advance(p);
        token_text(p->text, t, &text);
        return constant(p, t.offset, own_text(p->x, str_take(&text)));
    case TOKEN_TRUE:
    case TOKEN_FALSE:
        advance(p);
        return constant(p, t.offset,
                        (struct value){.kind = VALUE_BOOL, .b = t.kind == TOKEN_TRUE});
    case TOKEN_NAME: advance(p); return parse_name(p, t);
    case TOKEN_OPEN: advance(p); return parse_brackets(p, t);
    default: return unexpected(p, "a value is wanted here");
    }
}

static struct operand parse_pow(struct parser *p)
{
    struct operand o = parse_atom(p);
    size_t offset = p->token.offset;
    if (accept(p, TOKEN_POWER))
        o = binary(p, ARITH_POW, offset, o, deeper(p, parse_unary));
    return o;
}

static struct operand parse_unary(struct parser *p)
{
    size_t offset = p->token.offset;
    if (accept(p, TOKEN_MINUS))
        return unary(p, ARITH_MINUS, offset, deeper(p, parse_unary));
    if (accept(p, TOKEN_PLUS))
        return unary(p, ARITH_PLUS, offset, deeper(p, parse_unary));
    return parse_pow(p);
}

enum level { LEVEL_COMPARISON, LEVEL_SUM, LEVEL_TERM };

static const struct {
    enum token_kind token;
    enum level level;
    enum arith_op op;
} infix[] = {
    {TOKEN_EQ, LEVEL_COMPARISON, ARITH_EQ},      {TOKEN_NE, LEVEL_COMPARISON, ARITH_NE},
    {TOKEN_LT, LEVEL_COMPARISON, ARITH_LT},      {TOKEN_LE, LEVEL_COMPARISON, ARITH_LE},
    {TOKEN_GT, LEVEL_COMPARISON, ARITH_GT},      {TOKEN_GE, LEVEL_COMPARISON, ARITH_GE},
    {TOKEN_PLUS, LEVEL_SUM, ARITH_ADD},          {TOKEN_MINUS, LEVEL_SUM, ARITH_SUB},
    {TOKEN_STAR, LEVEL_TERM, ARITH_MUL},         {TOKEN_SLASH, LEVEL_TERM, ARITH_DIV},
    {TOKEN_SLASHES, LEVEL_TERM, ARITH_FLOORDIV}, {TOKEN_PERCENT, LEVEL_TERM, ARITH_MOD},
};

/* The operator of this level that comes next, read; false when there is none. */
static bool accept_infix(struct parser *p, enum level level, enum arith_op *op)
{
    for (size_t i = 0; i < sizeof(infix) / sizeof(infix[0]); i++)
        if (infix[i].level == level && accept(p, infix[i].token)) {
            *op = infix[i].op;
            return true;
        }
    return false;
}

static struct operand parse_chain(struct parser *p, enum level level,
                                  parse_function *parse)
{
    enum arith_op op;
    struct operand o = parse(p);
    for (;;) {
        size_t offset = p->token.offset;
        if (!accept_infix(p, level, &op))
            return o;
        o = binary(p, op, offset, o, parse(p));
    }
}

static struct operand parse_term(struct parser *p)
{
    return parse_chain(p, LEVEL_TERM, parse_unary);
}

static struct operand parse_sum(struct parser *p)
{
    return parse_chain(p, LEVEL_SUM, parse_term);
}

static struct operand parse_cmp(struct parser *p)
{
    enum arith_op op;
    struct operand o = parse_sum(p);
    size_t offset = p->token.offset;
    if (!accept_infix(p, LEVEL_COMPARISON, &op))
        return o;
    o = binary(p, op, offset, o, parse_sum(p));
    offset = p->token.offset;
    for (bool told = false; accept_infix(p, LEVEL_COMPARISON, &op); told = true) {
        if (!told)
            MISTAKE(p, offset, "comparisons cannot be chained: write 'a < b and b < c'");
        parse_sum(p);
        o = unusable(p, o.offset);
    }
    return o;
}

static struct operand parse_not(struct parser *p)
{
    size_t offset = p->token.offset;
    if (accept(p, TOKEN_NOT))
        return unary(p, ARITH_NOT, offset, deeper(p, parse_not));
    return parse_cmp(p);
}

/* and, or: the left operand, if it decides; else the right one. */
static struct operand parse_logic(struct parser *p, enum token_kind token,
                                  enum code_op op, parse_function *parse)
{
    struct operand a = parse(p);
    while (accept(p, token)) {
        size_t jump = p->x->code.n;
        bool ok = check_word(p, &a);
        emit(p, op, 0, (struct value){.kind = VALUE_ABSENT});
        struct operand b = parse(p);
        ok = check_word(p, &b) && ok;
        p->x->code.v[jump].arg = (int)p->x->code.n;
        struct operand o = {.offset = a.offset, .code = a.code};
        o.type.kinds = ok ? a.type.kinds | b.type.kinds : 0;
        o.type.nonneg = a.type.nonneg && b.type.nonneg;
        if (ok && a.constant && b.constant) {
            p->x->code.n = a.code;
            o = constant(p, a.offset,
                         value_truth(a.value) == (op == CODE_OR) ? a.value : b.value);
        }
        a = o;
    }
    return a;
}

static struct operand parse_and(struct parser *p)
{
    return parse_logic(p, TOKEN_AND, CODE_AND, parse_not);
}

static struct operand parse_or(struct parser *p)
{
    return parse_logic(p, TOKEN_OR, CODE_OR, parse_and);
}

/* ---- whole expressions ---- */

static void check_role(struct parser *p, const struct operand *o)
{
    const char *what = p->scope->role == EXPR_WHEN ? "'when'" : "a constraint";
    if (p->scope->role == EXPR_SAMPLE)
        return;
    if (p->x->refs.n == 0)
        MISTAKE(p, o->offset, "%s must name a parameter", what);
    else if (!(o->type.kinds & KINDS_NUMBER))
        MISTAKE(p, o->offset,
                "%s needs a condition, and this is text: compare it with ==", what);
}

static void parse_all(struct parser *p)
{
    advance(p);
    struct operand o = parse_or(p);
    if (p->token.kind == TOKEN_CLOSE && !p->hopeless)
        MISTAKE(p, p->token.offset, "this ')' closes nothing");
    else if (p->token.kind != TOKEN_END)
        unexpected(p, "an operator or the end is wanted here");
    if (check_word(p, &o) && p->mistakes == 0)
        check_role(p, &o);
    p->x->type = o.type;
}

struct expr *expr_parse(const char *text, const struct expr_scope *scope,
                        const struct space_errors *errors)
{
    struct parser p = {.scope = scope, .text = text, .errors = errors};
    p.counted = (struct space_errors){count_mistake, &p};
    p.lexer = (struct lexer){.text = text, .p = text, .errors = &p.counted};
    if (strnlen(text, EXPR_TEXT_MAX + 1) > EXPR_TEXT_MAX) {
        MISTAKE(&p, 0, "the expression is longer than %d bytes", EXPR_TEXT_MAX);
        return NULL;
    }
    p.x = mem_alloc(sizeof(*p.x));
    parse_all(&p);
    if (p.mistakes == 0)
        return p.x;
    expr_free(p.x);
    return NULL;
}

struct expr *expr_constant(struct value v)
{
    struct expr *x = mem_alloc(sizeof(*x));
    struct parser p = {.x = x};
    if (v.kind == VALUE_STR)
        v = own_text(x, mem_strdup(v.s));
    x->type = constant(&p, 0, v).type;
    return x;
}

void expr_free(struct expr *x)
{
    if (!x)
        return;
    for (size_t i = 0; i < x->texts.n; i++)
        free(x->texts.v[i]);
    if (x->draws)
        dist_clear(&x->dist);
    vec_free(&x->texts);
    vec_free(&x->refs);
    vec_free(&x->code);
    free(x);
}

struct arith_type expr_type(const struct expr *x)
{
    return x->type;
}

struct dist *expr_dist(struct expr *x)
{
    return x->draws ? &x->dist : NULL;
}

int expr_refs(const struct expr *x, const int **refs)
{
    *refs = x->refs.v;
    return (int)x->refs.n;
}

int expr_eval(const struct expr *x, const struct value values[], double u,
              struct value *out, struct err *e)
{
    struct value stack[STACK_MAX];
    size_t n = 0;
    const struct code *code = x->code.v, *end = code + x->code.n;
    for (const struct code *c = code; c < end; c++) {
        enum arith_op op = (enum arith_op)c->arg;
        int rc = 0;
        switch (c->op) {
        case CODE_CONSTANT: stack[n++] = c->value; break;
        case CODE_PARAM: stack[n++] = values[c->arg]; break;
        case CODE_DRAW: stack[n++] = dist_value(&x->dist, u); break;
        case CODE_APPLY:
            n -= (size_t)arith_operands(op) - 1;
            rc = arith_apply(op, stack[n - 1], stack[n - 2 + (size_t)arith_operands(op)],
                             &stack[n - 1], e);
            break;
        case CODE_AND:
        case CODE_OR:
            if (value_truth(stack[n - 1]) == (c->op == CODE_OR))
                c = code + c->arg - 1;
            else
                n--;
            break;
        }
        if (rc != 0)
            return rc;
    }
    *out = stack[0];
    return 0;
}
