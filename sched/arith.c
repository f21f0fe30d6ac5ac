#include "sched/arith.h"

#include "base/mem.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Why there is no result; the operation as text comes before it. */
#define TOO_WIDE  "does not fit in 64 bits"
#define TOO_LARGE "is beyond the range of a double"
#define EXACT     (UINT64_C(1) << 53) /* up to here every integer is a double */
#define BY_ZERO   "divides by zero"
#define UNDEFINED "is not a real number"

static struct value of_int(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .i = i};
}

static struct value of_real(double r)
{
    return (struct value){.kind = VALUE_REAL, .r = r};
}

static struct value of_bool(bool b)
{
    return (struct value){.kind = VALUE_BOOL, .b = b};
}

typedef unsigned __int128 u128;

static int64_t as_int(struct value v)
{
    return v.kind == VALUE_BOOL ? v.b : v.i;
}

static double as_real(struct value v)
{
    return v.kind == VALUE_REAL ? v.r : (double)as_int(v);
}

static bool integers(struct value a, struct value b)
{
    return a.kind != VALUE_REAL && b.kind != VALUE_REAL;
}

bool value_truth(struct value v)
{
    switch (v.kind) {
    case VALUE_ABSENT: return false;
    case VALUE_INT: return v.i != 0;
    case VALUE_REAL: return v.r != 0;
    case VALUE_BOOL: return v.b;
    case VALUE_STR: return v.s[0] != '\0';
    }
    return false;
}

/* ---- the operations: NULL, or why there is no result ---- */

static const char *op_plus(struct value a, struct value b, struct value *out)
{
    (void)b;
    *out = a.kind == VALUE_REAL ? a : of_int(as_int(a));
    return NULL;
}

static const char *op_sub(struct value a, struct value b, struct value *out)
{
    int64_t i = 0;
    if (!integers(a, b)) {
        *out = of_real(as_real(a) - as_real(b));
        return NULL;
    }
    if (__builtin_sub_overflow(as_int(a), as_int(b), &i))
        return TOO_WIDE;
    *out = of_int(i);
    return NULL;
}

static const char *op_minus(struct value a, struct value b, struct value *out)
{
    (void)b;
    if (a.kind != VALUE_REAL)
        return op_sub(of_int(0), a, out);
    *out = of_real(-a.r);
    return NULL;
}

static const char *op_not(struct value a, struct value b, struct value *out)
{
    (void)b;
    *out = of_bool(!value_truth(a));
    return NULL;
}

static const char *op_add(struct value a, struct value b, struct value *out)
{
    int64_t i = 0;
    if (!integers(a, b)) {
        *out = of_real(as_real(a) + as_real(b));
        return NULL;
    }
    if (__builtin_add_overflow(as_int(a), as_int(b), &i))
        return TOO_WIDE;
    *out = of_int(i);
    return NULL;
}

static const char *op_mul(struct value a, struct value b, struct value *out)
{
    int64_t i = 0;
    if (!integers(a, b)) {
        *out = of_real(as_real(a) * as_real(b));
        return NULL;
    }
    if (__builtin_mul_overflow(as_int(a), as_int(b), &i))
        return TOO_WIDE;
    *out = of_int(i);
    return NULL;
}

static uint64_t magnitude(int64_t i)
{
    return i < 0 ? -(uint64_t)i : (uint64_t)i;
}

/* The quotient rounded once, as Python has it. b is not 0. */
static double int_quotient(int64_t a, int64_t b)
{
    uint64_t x = magnitude(a), y = magnitude(b);
    if (x == 0 || (x <= EXACT && y <= EXACT))
        return (double)a / (double)b;
    int shift = 64 + __builtin_clzll(x); /* the quotient has 64 bits at least */
    u128 n = (u128)x << shift, q = n / y;
    double d = ldexp((double)(q | (n % y != 0)), -shift);
    return (a < 0) != (b < 0) ? -d : d;
}

static const char *op_div(struct value a, struct value b, struct value *out)
{
    if (as_real(b) == 0)
        return BY_ZERO;
    *out = of_real(integers(a, b) ? int_quotient(as_int(a), as_int(b))
                                  : as_real(a) / as_real(b));
    return NULL;
}

/* C's remainder has the sign of x, Python's that of y. The quotient of the exact
 * multiple that is left is an integer but for rounding. */
static double real_divmod(double x, double y, double *quotient)
{
    double m = fmod(x, y), q = (x - m) / y;
    if (m == 0) {
        m = copysign(0, y);
    } else if ((m < 0) != (y < 0)) {
        m += y;
        q -= 1;
    }
    *quotient = floor(q);
    if (q - *quotient > 0.5)
        *quotient += 1;
    if (q == 0)
        *quotient = copysign(0, x / y);
    return m;
}

static const char *op_floordiv(struct value a, struct value b, struct value *out)
{
    if (as_real(b) == 0)
        return BY_ZERO;
    if (!integers(a, b)) {
        double quotient = 0;
        real_divmod(as_real(a), as_real(b), &quotient);
        *out = of_real(quotient);
        return NULL;
    }
    int64_t x = as_int(a), y = as_int(b);
    if (y == -1)
        return op_sub(of_int(0), of_int(x), out);
    *out = of_int(x / y - (x % y != 0 && (x < 0) != (y < 0)));
    return NULL;
}

static const char *op_mod(struct value a, struct value b, struct value *out)
{
    if (as_real(b) == 0)
        return BY_ZERO;
    if (!integers(a, b)) {
        double quotient = 0;
        *out = of_real(real_divmod(as_real(a), as_real(b), &quotient));
        return NULL;
    }
    int64_t x = as_int(a), y = as_int(b);
    int64_t m = y == -1 ? 0 : x % y;
    *out = of_int(m != 0 && (m < 0) != (y < 0) ? m + y : m);
    return NULL;
}

static const char *real_pow(double x, double y, struct value *out)
{
    if (x == 0 && y < 0)
        return BY_ZERO;
    if (x < 0 && isfinite(x) && isfinite(y) && y != floor(y))
        return UNDEFINED;
    double r = pow(x, y);
    if (isinf(r) && isfinite(x) && isfinite(y))
        return TOO_LARGE;
    *out = of_real(r);
    return NULL;
}

static const char *op_pow(struct value a, struct value b, struct value *out)
{
    if (!integers(a, b) || as_int(b) < 0)
        return real_pow(as_real(a), as_real(b), out);
    int64_t square = as_int(a), power = 1;
    for (int64_t n = as_int(b); n > 0; n >>= 1) {
        if ((n & 1) && __builtin_mul_overflow(power, square, &power))
            return TOO_WIDE;
        if (n > 1 && __builtin_mul_overflow(square, square, &square))
            return TOO_WIDE;
    }
    *out = of_int(power);
    return NULL;
}

static const char *op_eq(struct value a, struct value b, struct value *out)
{
    *out = of_bool(value_equal(a, b));
    return NULL;
}

static const char *op_ne(struct value a, struct value b, struct value *out)
{
    *out = of_bool(!value_equal(a, b));
    return NULL;
}

static const char *op_lt(struct value a, struct value b, struct value *out)
{
    *out = of_bool(value_order(a, b) == -1);
    return NULL;
}

static const char *op_le(struct value a, struct value b, struct value *out)
{
    *out = of_bool(value_order(a, b) <= 0);
    return NULL;
}

static const char *op_gt(struct value a, struct value b, struct value *out)
{
    *out = of_bool(value_order(a, b) == 1);
    return NULL;
}

static const char *op_ge(struct value a, struct value b, struct value *out)
{
    int order = value_order(a, b);
    *out = of_bool(order == 0 || order == 1);
    return NULL;
}

static const char *op_abs(struct value a, struct value b, struct value *out)
{
    if (a.kind != VALUE_REAL && as_int(a) < 0)
        return op_minus(a, b, out);
    *out = a.kind == VALUE_REAL ? of_real(fabs(a.r)) : of_int(as_int(a));
    return NULL;
}

static const char *op_exp(struct value a, struct value b, struct value *out)
{
    (void)b;
    double r = exp(as_real(a));
    if (isinf(r) && isfinite(as_real(a)))
        return TOO_LARGE;
    *out = of_real(r);
    return NULL;
}

static const char *whole(double r, struct value *out)
{
    if (!(r >= -0x1p63 && r < 0x1p63))
        return TOO_WIDE;
    *out = of_int((int64_t)r);
    return NULL;
}

static const char *op_int(struct value a, struct value b, struct value *out)
{
    return a.kind == VALUE_REAL ? whole(trunc(a.r), out) : op_plus(a, b, out);
}

static const char *op_log(struct value a, struct value b, struct value *out)
{
    (void)b;
    double x = as_real(a);
    if (x <= 0)
        return UNDEFINED;
    *out = of_real(log(x));
    return NULL;
}

static const char *op_log_base(struct value a, struct value b, struct value *out)
{
    if (as_real(a) <= 0 || as_real(b) <= 0)
        return UNDEFINED;
    if (as_real(b) == 1)
        return BY_ZERO;
    *out = of_real(log(as_real(a)) / log(as_real(b)));
    return NULL;
}

static const char *op_max(struct value a, struct value b, struct value *out)
{
    *out = value_order(b, a) == 1 ? b : a;
    return NULL;
}

static const char *op_min(struct value a, struct value b, struct value *out)
{
    *out = value_order(b, a) == -1 ? b : a;
    return NULL;
}

static const char *op_round(struct value a, struct value b, struct value *out)
{
    return a.kind == VALUE_REAL ? whole(rint(a.r), out) : op_plus(a, b, out);
}

/* The double next to the decimal that x is nearest to. The product is rounded, so
 * one that shows as a half may be a little less or more: its error, which fma gives
 * exactly, decides. */
static double round_decimal(double x, int digits)
{
    double scale = 1;
    while (digits-- > 0)
        scale *= 10;
    double p = x * scale;
    if (!(fabs(p) < 0x1p53))
        return x;
    double r = rint(p), rest = fma(x, scale, -p);
    if (fabs(p - r) == 0.5 && rest != 0)
        r = rest > 0 ? ceil(p) : floor(p);
    return copysign(r / scale, x);
}

static const char *op_round_to(struct value a, struct value b, struct value *out)
{
    if (b.kind == VALUE_REAL || as_int(b) < 0 || as_int(b) > 22)
        return "needs a whole number of digits from 0 to 22";
    if (a.kind != VALUE_REAL)
        return op_plus(a, b, out);
    *out = of_real(round_decimal(a.r, (int)as_int(b)));
    return NULL;
}

static const char *op_sqrt(struct value a, struct value b, struct value *out)
{
    (void)b;
    if (as_real(a) < 0)
        return UNDEFINED;
    *out = of_real(sqrt(as_real(a)));
    return NULL;
}

/* ---- what is known of a result ---- */

static unsigned kinds_bool(unsigned a, unsigned b)
{
    (void)a, (void)b;
    return KIND_BOOL;
}

static unsigned kinds_int(unsigned a, unsigned b)
{
    (void)a, (void)b;
    return KIND_INT;
}

static unsigned kinds_real(unsigned a, unsigned b)
{
    (void)a, (void)b;
    return KIND_REAL;
}

static unsigned kinds_either(unsigned a, unsigned b)
{
    return (a | b) & KINDS_NUMBER;
}

static unsigned kinds_left(unsigned a, unsigned b)
{
    (void)b;
    return (a & KIND_REAL) | (a & (KIND_INT | KIND_BOOL) ? KIND_INT : 0);
}

static unsigned kinds_sum(unsigned a, unsigned b)
{
    unsigned real = (a | b) & KIND_REAL, whole = KIND_INT | KIND_BOOL;
    return real | ((a & whole) && (b & whole) ? KIND_INT : 0);
}

enum sign { ANY_SIGN, NEVER_NEGATIVE, AS_LEFT, AS_RIGHT, IF_BOTH, IF_ONE };

static const struct arith {
    const char *name;
    int operands;
    bool text; /* takes text too */
    enum sign nonneg;
    unsigned (*kinds)(unsigned a, unsigned b);
    const char *(*apply)(struct value a, struct value b, struct value *out);
} table[] = {
    [ARITH_PLUS] = {"+", 1, false, AS_LEFT, kinds_left, op_plus},
    [ARITH_MINUS] = {"-", 1, false, ANY_SIGN, kinds_left, op_minus},
    [ARITH_NOT] = {"not", 1, true, NEVER_NEGATIVE, kinds_bool, op_not},
    [ARITH_ADD] = {"+", 2, false, IF_BOTH, kinds_sum, op_add},
    [ARITH_SUB] = {"-", 2, false, ANY_SIGN, kinds_sum, op_sub},
    [ARITH_MUL] = {"*", 2, false, IF_BOTH, kinds_sum, op_mul},
    [ARITH_DIV] = {"/", 2, false, IF_BOTH, kinds_real, op_div},
    [ARITH_FLOORDIV] = {"//", 2, false, IF_BOTH, kinds_sum, op_floordiv},
    [ARITH_MOD] = {"%", 2, false, AS_RIGHT, kinds_sum, op_mod},
    [ARITH_POW] = {"**", 2, false, AS_LEFT, kinds_sum, op_pow},
    [ARITH_EQ] = {"==", 2, true, NEVER_NEGATIVE, kinds_bool, op_eq},
    [ARITH_NE] = {"!=", 2, true, NEVER_NEGATIVE, kinds_bool, op_ne},
    [ARITH_LT] = {"<", 2, false, NEVER_NEGATIVE, kinds_bool, op_lt},
    [ARITH_LE] = {"<=", 2, false, NEVER_NEGATIVE, kinds_bool, op_le},
    [ARITH_GT] = {">", 2, false, NEVER_NEGATIVE, kinds_bool, op_gt},
    [ARITH_GE] = {">=", 2, false, NEVER_NEGATIVE, kinds_bool, op_ge},
    [ARITH_ABS] = {"abs", 1, false, NEVER_NEGATIVE, kinds_left, op_abs},
    [ARITH_EXP] = {"exp", 1, false, NEVER_NEGATIVE, kinds_real, op_exp},
    [ARITH_INT] = {"int", 1, false, AS_LEFT, kinds_int, op_int},
    [ARITH_LOG] = {"log", 1, false, ANY_SIGN, kinds_real, op_log},
    [ARITH_LOG_BASE] = {"log", 2, false, ANY_SIGN, kinds_real, op_log_base},
    [ARITH_MAX] = {"max", 2, false, IF_ONE, kinds_either, op_max},
    [ARITH_MIN] = {"min", 2, false, IF_BOTH, kinds_either, op_min},
    [ARITH_ROUND] = {"round", 1, false, AS_LEFT, kinds_int, op_round},
    [ARITH_ROUND_TO] = {"round", 2, false, AS_LEFT, kinds_left, op_round_to},
    [ARITH_SQRT] = {"sqrt", 1, false, NEVER_NEGATIVE, kinds_real, op_sqrt},
};

struct arith_type arith_type(enum arith_op op, struct arith_type a, struct arith_type b)
{
    struct arith_type t = {.kinds = table[op].kinds(a.kinds, b.kinds)};
    if (op == ARITH_POW && !b.nonneg)
        t.kinds |= KIND_REAL; /* 2 ** -1 is 0.5 */
    switch (table[op].nonneg) {
    case ANY_SIGN: break;
    case NEVER_NEGATIVE: t.nonneg = true; break;
    case AS_LEFT: t.nonneg = a.nonneg; break;
    case AS_RIGHT: t.nonneg = b.nonneg; break;
    case IF_BOTH: t.nonneg = a.nonneg && b.nonneg; break;
    case IF_ONE: t.nonneg = a.nonneg || b.nonneg; break;
    }
    return t;
}

const char *arith_name(enum arith_op op)
{
    return table[op].name;
}

int arith_operands(enum arith_op op)
{
    return table[op].operands;
}

bool arith_takes_text(enum arith_op op)
{
    return table[op].text;
}

static void show_operand(struct value v, bool brackets, struct str *out)
{
    size_t start = out->len;
    value_text(v, out);
    if (!brackets || out->p[start] != '-')
        return;
    char *text = mem_strdup(out->p + start);
    str_cut(out, start);
    str_addf(out, "(%s)", text);
    free(text);
}

/* "2 ** 70", "-(-5)", "log(0, 2)" */
static void show(enum arith_op op, struct value a, struct value b, struct str *out)
{
    const char *name = table[op].name;
    bool call = isalpha((unsigned char)name[0]), two = table[op].operands == 2;
    if (call || !two)
        str_addf(out, call ? "%s(" : "%s", name);
    show_operand(a, op == ARITH_POW || op == ARITH_MINUS, out);
    if (two) {
        str_addf(out, call ? ", " : " %s ", name);
        show_operand(b, false, out);
    }
    if (call)
        str_addc(out, ')');
}

static int no_result(enum arith_op op, struct value a, struct value b, const char *why,
                     struct err *e)
{
    if (!e)
        return ERR_RANGE;
    struct str text = STR_INIT;
    show(op, a, b, &text);
    int rc = err_set(e, ERR_RANGE, "%s %s", text.p, why);
    str_free(&text);
    return rc;
}

int arith_apply(enum arith_op op, struct value a, struct value b, struct value *out,
                struct err *e)
{
    const struct arith *t = &table[op];
    if (t->operands == 1)
        b = (struct value){.kind = VALUE_ABSENT};
    if (!t->text && (a.kind == VALUE_STR || b.kind == VALUE_STR))
        return err_set(e, ERR_INVAL, "'%s' needs numbers, not the text \"%s\"", t->name,
                       a.kind == VALUE_STR ? a.s : b.s);
    const char *why = t->apply(a, b, out);
    return why ? no_result(op, a, b, why, e) : 0;
}
