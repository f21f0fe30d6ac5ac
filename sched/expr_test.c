#include "sched/expr.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { I, N, BIG, R, Z, T, W, WIDTH, BAD, SELF, LATER, PARAMS };

static const char *const names[PARAMS] = {"i", "n",     "big", "r",    "z",    "t",
                                          "w", "width", "bad", "self", "later"};

static const struct arith_type types[PARAMS] = {
    [I] = {KIND_INT, true},  [N] = {KIND_INT, false},    [BIG] = {KIND_INT, true},
    [R] = {KIND_REAL, true}, [Z] = {KIND_REAL, true},    [T] = {KIND_BOOL, true},
    [W] = {KIND_STR, false}, [WIDTH] = {KIND_INT, true},
};

static const struct value values[PARAMS] = {
    [I] = {.kind = VALUE_INT, .i = 7},
    [N] = {.kind = VALUE_INT, .i = -3},
    [BIG] = {.kind = VALUE_INT, .i = INT64_C(1) << 62},
    [R] = {.kind = VALUE_REAL, .r = 2.5},
    [Z] = {.kind = VALUE_REAL, .r = 0},
    [T] = {.kind = VALUE_BOOL, .b = true},
    [W] = {.kind = VALUE_STR, .s = "sgd"},
    [WIDTH] = {.kind = VALUE_INT, .i = 64},
};

static void note(void *ctx, size_t offset, const char *text)
{
    str_addf(ctx, "%zu: %s; ", offset, text);
}

static int find(void *ctx, struct slice name)
{
    (void)ctx;
    for (int i = 0; i < PARAMS; i++)
        if (slice_eq(name, names[i]))
            return i;
    return -1;
}

static struct expr *parse(enum expr_role role, const char *text, struct str *mistakes)
{
    struct expr_scope scope = {
        role, names, types, PARAMS, role == EXPR_CONSTRAINT ? PARAMS : SELF, find, NULL};
    struct space_errors errors = {note, mistakes};
    return expr_parse(text, &scope, &errors);
}

static struct expr *parsed(const char *text)
{
    struct str mistakes = STR_INIT;
    struct expr *x = parse(EXPR_SAMPLE, text, &mistakes);
    assert_string_equal(mistakes.p, "");
    assert_non_null(x);
    return x;
}

struct mistake {
    enum expr_role role;
    const char *text, *mistakes;
};

static void check_mistakes(const struct mistake *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str mistakes = STR_INIT;
        struct expr *x = parse(table[i].role, table[i].text, &mistakes);
        assert_string_equal(mistakes.p, table[i].mistakes);
        assert_null(x);
        str_free(&mistakes);
    }
}

#define S         EXPR_SAMPLE
#define FUNCTIONS "abs, exp, int, log, max, min, round and sqrt"
#define DISTRIBUTIONS                                                                    \
    "distributions are choice, grid, lograndint, loguniform, qlograndint, qloguniform, " \
    "qrandint, qrandn, quniform, randint, randn, uniform"
#define UNKNOWN(word)                                                                    \
    "unknown parameter '" word "' (a word may stand only in choice, in grid and beside " \
    "== and !=; other text needs quotes); "
#define SLIP(word, name)                                                                 \
    "'" word "' looks like a slip for the parameter '" name "' (if the word is meant, "  \
    "write \"" word "\" in quotes); "

static void slips_in_words(void **state)
{
    static const struct mistake table[] = {
        {S, "", "0: the expression is empty; "},
        {S, " \t ", "3: the expression is empty; "},
        {S, "i $ 2", "2: '$' has no meaning here (text needs quotes); "},
        {S, "$$$", "0: '$' has no meaning here (text needs quotes); "},
        {S, "\x01", "0: an unprintable character; "},
        {S, "gr\xc3\xb6sse + 1", "2: what is not ASCII may stand only in quotes; "},
        {S, "\xc3\x80", "0: what is not ASCII may stand only in quotes; "},
        {S, "1 'a\\x'",
         "4: a backslash in quotes stands before \\, ', \", n or t only; "},
        {S, "\xff\xfe", "0: what is not ASCII may stand only in quotes; "},
        {S, "2x", "0: this is neither a number nor a word (text needs quotes); "},
        {S, "1.2.3", "0: this is neither a number nor a word (text needs quotes); "},
        {S, "0x10", "0: this is neither a number nor a word (text needs quotes); "},
        {S, "1_000", "0: this is neither a number nor a word (text needs quotes); "},
        {S, "1e", "0: this is neither a number nor a word (text needs quotes); "},
        {S, "007", "0: an integer cannot begin with 0; "},
        {S, "1e999", "0: this number is beyond the range of a double; "},
        {S, "9223372036854775808", "0: this integer does not fit in 64 bits; "},
        {S, "\"abc", "0: the quote that begins here is never closed; "},
        {S, "'a\\",
         "2: a backslash in quotes stands before \\, ', \", n or t only; "
         "0: the quote that begins here is never closed; "},
        {S, "'\\x'", "1: a backslash in quotes stands before \\, ', \", n or t only; "},
        {S, "i = 7", "2: '=' is not an operator: write '==' to compare; "},
        {S, "i && !t",
         "2: '&&' is not an operator: write 'and'; "
         "5: '!' is not an operator: write 'not'; "},
        {S, "i || n | t & i",
         "2: '||' is not an operator: write 'or'; "
         "7: '|' is not an operator: write 'or'; "
         "11: '&' is not an operator: write 'and'; "},
        {S, "2 ^ i", "2: '^' is not an operator: write '**' for a power; "},
        {S, "i <> 2", "2: '<>' is not an operator: write '!='; "},
        {S, "i => 2", "2: '=>' is not an operator: write '>='; "},
        {S, "i =< 2", "2: '=<' is not an operator: write '<='; "},
        {S, "choice([1, 2])", "7: a list is written without brackets: choice(a, b); "},
        {S, "[1, 2]", "0: a list is written without brackets: choice(a, b); "},
        {S, "i]", "1: ']' has no meaning here (text needs quotes); "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

static void slips_in_syntax(void **state)
{
    static const struct mistake table[] = {
        {S, "1 +", "3: a value is wanted here; "},
        {S, "* 2", "0: a value is wanted here, not '*'; "},
        {S, "1 2x", "2: this is neither a number nor a word (text needs quotes); "},
        {S, "1 2", "2: an operator or the end is wanted here, not '2'; "},
        {S, "i if t else n", "2: an operator or the end is wanted here, not 'if'; "},
        {S, "1, 2", "1: an operator or the end is wanted here, not ','; "},
        {S, "(1 + 2", "0: this '(' is never closed; "},
        {S, "((1)", "0: this '(' is never closed; "},
        {S, "(1 2)", "3: an operator or ')' is wanted here, not '2'; "},
        {S, "(1, 2, (3, 4))", "2: ')' is wanted here, not ','; "},
        {S, "1 + 2)", "5: this ')' closes nothing; "},
        {S, "()", "1: a value is wanted here, not ')'; "},
        {S, "min(1, 2", "3: this '(' is never closed; "},
        {S, "choice(1 2)", "9: ',' or ')' is wanted here, not '2'; "},
        {S, "i == not t", "5: a value is wanted here, not 'not'; "},
        {S, "1 < i < 3", "6: comparisons cannot be chained: write 'a < b and b < c'; "},
        {S, "1 < i < 3 <= n",
         "6: comparisons cannot be chained: write 'a < b and b < c'; "},
        {S, "i == n == r", "7: comparisons cannot be chained: write 'a < b and b < c'; "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

static void slips_in_names(void **state)
{
    static const struct mistake table[] = {
        {S, "widht + 1", "0: unknown parameter 'widht' (did you mean 'width'?); "},
        {S, "depth + 1", "0: " UNKNOWN("depth")},
        {S, "adam", "0: " UNKNOWN("adam")},
        {S, "(adam)", "1: " UNKNOWN("adam")},
        {S, "w == sgd or adam", "12: " UNKNOWN("adam")},
        {S, "not adam", "4: " UNKNOWN("adam")},
        {S, "adam and i", "0: " UNKNOWN("adam")},
        {S, "min(adam, 1)", "4: " UNKNOWN("adam")},
        {S, "choice(cosine-step)", "7: " UNKNOWN("cosine") "14: " UNKNOWN("step")},
        {S, "sgd == adam", "0: " UNKNOWN("sgd")},
        {S, "optim == \"sgd\"", "0: " UNKNOWN("optim")},
        {S, "i == 7 and adam == 3", "11: " UNKNOWN("adam")},
        {S, "w == widt", "5: " SLIP("widt", "width")},
        {S, "choice(Width, wdith, sgd)",
         "7: " SLIP("Width", "width") "14: " SLIP("wdith", "width")},
        {S, "choice(I, x, ix)", "7: " SLIP("I", "i") "13: " SLIP("ix", "i")},
        {S, "self + 1", "0: 'self' cannot depend on itself; "},
        {S, "i + later",
         "4: 'later' is defined below: a parameter can use those above it "
         "only; "},
        {S, "i(3)", "0: 'i' is a parameter and takes no arguments; "},
        {S, "log + 1", "0: 'log' needs its arguments: log(x) or log(x, base); "},
        {S, "uniform", "0: 'uniform' needs its arguments: uniform(lo, hi); "},
        {S, "True", "0: booleans are written 'true' and 'false'; "},
        {S, "choice(True, FALSE)",
         "7: booleans are written 'true' and 'false'; "
         "13: booleans are written 'true' and 'false'; "},
        {S, "logunifrom(1e-4, 1e-1)",
         "0: unknown distribution 'logunifrom' (did you mean 'loguniform'?); "},
        {S, "chioce(sgd, adam)",
         "0: unknown distribution 'chioce' (did you mean 'choice'?); "},
        {S, "rount(i)", "0: unknown function 'rount' (did you mean 'round'?); "},
        {S, "floor(i)",
         "0: unknown function 'floor' (there are " FUNCTIONS "; " DISTRIBUTIONS "); "},
        {EXPR_WHEN, "floor(i) > 1",
         "0: unknown function 'floor' (there are " FUNCTIONS "); "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

static void slips_in_types_and_calls(void **state)
{
    static const struct mistake table[] = {
        {S, "w + 1", "0: '+' needs numbers, and this is text; "},
        {S, "-w", "1: '-' needs numbers, and this is text; "},
        {S, "w < 3", "0: '<' needs numbers, and this is text; "},
        {S, "1 + \"a\" * w",
         "4: '*' needs numbers, and this is text; "
         "10: '*' needs numbers, and this is text; "},
        {S, "w <= 1", "0: '<=' needs numbers, and this is text; "},
        {S, "w > 1", "0: '>' needs numbers, and this is text; "},
        {S, "w >= 1", "0: '>=' needs numbers, and this is text; "},
        {S, "w - 1", "0: '-' needs numbers, and this is text; "},
        {S, "w / 1", "0: '/' needs numbers, and this is text; "},
        {S, "w // 1", "0: '//' needs numbers, and this is text; "},
        {S, "w % 1", "0: '%' needs numbers, and this is text; "},
        {S, "w ** 1", "0: '**' needs numbers, and this is text; "},
        {S, "+w", "1: '+' needs numbers, and this is text; "},
        {S, "min(w, 1)", "4: 'min' needs numbers, and this is text; "},
        {S, "abs(w) + exp(w)",
         "4: 'abs' needs numbers, and this is text; "
         "13: 'exp' needs numbers, and this is text; "},
        {S, "int(w) + log(w)",
         "4: 'int' needs numbers, and this is text; "
         "13: 'log' needs numbers, and this is text; "},
        {S, "log(w, 2)", "4: 'log' needs numbers, and this is text; "},
        {S, "round(w) + sqrt(w)",
         "6: 'round' needs numbers, and this is text; "
         "16: 'sqrt' needs numbers, and this is text; "},
        {S, "round(w, 1)", "6: 'round' needs numbers, and this is text; "},
        {S, "max(i, w)", "7: 'max' needs numbers, and this is text; "},
        {S, "choice(sgd, adam) + 1", "0: '+' needs numbers, and this is text; "},
        {S, "abs()", "0: 'abs' is called as abs(x), not with 0 arguments; "},
        {S, "min(1)", "0: 'min' is called as min(a, b, ...), not with 1 argument; "},
        {S, "sqrt(1, 2)", "0: 'sqrt' is called as sqrt(x), not with 2 arguments; "},
        {S, "round(1, 2, 3)",
         "0: 'round' is called as round(x) or round(x, digits), not with 3 arguments; "},
        {S, "1 / 0", "2: 1 / 0 divides by zero; "},
        {S, "1 % 0", "2: 1 % 0 divides by zero; "},
        {S, "0 ** -1", "2: 0 ** -1 divides by zero; "},
        {S, "2 ** 63", "2: 2 ** 63 does not fit in 64 bits; "},
        {S, "9223372036854775807 + 1",
         "20: 9223372036854775807 + 1 does not fit in 64 bits; "},
        {S, "i + (3 - 4) ** 0.5", "12: (-1) ** 0.5 is not a real number; "},
        {S, "10.0 ** 400", "5: 10.0 ** 400 is beyond the range of a double; "},
        {S, "exp(1000)", "0: exp(1000) is beyond the range of a double; "},
        {S, "log(0)", "0: log(0) is not a real number; "},
        {S, "sqrt(-1)", "0: sqrt(-1) is not a real number; "},
        {S, "log(2, 0)", "0: log(2, 0) is not a real number; "},
        {S, "log(2, 1)", "0: log(2, 1) divides by zero; "},
        {S, "int(1e19)", "0: int(1e+19) does not fit in 64 bits; "},
        {S, "round(2.5, -1)",
         "0: round(2.5, -1) needs a whole number of digits from 0 to 22; "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

static void slips_in_distributions(void **state)
{
    static const struct mistake table[] = {
        {S, "uniform(1)", "0: uniform(lo, hi) takes 2 arguments, not 1; "},
        {S, "i + uniform(2, 1)",
         "15: the upper bound of uniform must be greater than the "
         "lower; "},
        {S, "choice()", "0: choice(a, b, ...) needs at least one alternative; "},
        {S, "uniform(0, i)", "11: the arguments of uniform(lo, hi) must be constants; "},
        {S, "choice(1, i)", "10: the arguments of choice(a, b, ...) must be constants; "},
        {S, "uniform(choice(1, 2), 3)",
         "8: the arguments of uniform(lo, hi) must be constants; "},
        {S, "uniform(sgd, 1)", "8: " UNKNOWN("sgd")},
        {S, "uniform(0, 1) + uniform(0, 1)",
         "16: a parameter can have one distribution only: give this one a parameter of "
         "its "
         "own; "},
        {EXPR_WHEN, "uniform(0, 1) > 0.5",
         "0: a distribution cannot stand in 'when': give it a parameter of its own; "},
        {EXPR_CONSTRAINT, "i < randint(1, 9)",
         "4: a distribution cannot stand in a constraint: give it a parameter of its "
         "own; "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

static void conditions_must_say_something(void **state)
{
    static const struct mistake table[] = {
        {EXPR_WHEN, "true", "0: 'when' must name a parameter; "},
        {EXPR_CONSTRAINT, "1 < 2", "0: a constraint must name a parameter; "},
        {EXPR_WHEN, "w",
         "0: 'when' needs a condition, and this is text: compare it with "
         "==; "},
        {EXPR_WHEN, "later == 1",
         "0: 'later' is defined below: a parameter can use those "
         "above it only; "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

/* What is told of one slip must not hide the next, nor make up another. */
static void all_mistakes_are_told(void **state)
{
    static const struct mistake table[] = {
        {S, "choice(1, , 2) + logunifrom(1, 2)",
         "10: a value is wanted here, not ','; "
         "17: unknown distribution 'logunifrom' (did you mean 'loguniform'?); "},
        {S, "(1 + ) * widht",
         "5: a value is wanted here, not ')'; "
         "9: unknown parameter 'widht' (did you mean 'width'?); "},
        {S, "min(1 2, widht) + 1 / 0",
         "6: ',' or ')' is wanted here, not '2'; "
         "9: unknown parameter 'widht' (did you mean 'width'?); "
         "20: 1 / 0 divides by zero; "},
        {S, "foo(widht + 1) + bad / 0 + bar(1)",
         "0: unknown function 'foo' (there are " FUNCTIONS "; " DISTRIBUTIONS "); "
         "4: unknown parameter 'widht' (did you mean 'width'?); "
         "27: unknown function 'bar' (there are " FUNCTIONS "; " DISTRIBUTIONS "); "},
        {S, "quniform(1, 0, -1) = 2x",
         "19: '=' is not an operator: write '==' to compare; "
         "15: q of quniform must be greater than 0; "
         "12: the upper bound of quniform must be greater than "
         "the lower; "
         "21: this is neither a number nor a word (text needs "
         "quotes); "},
    };
    (void)state;
    check_mistakes(table, COUNT(table));
}

static void count(void *ctx, size_t offset, const char *text)
{
    (void)offset, (void)text;
    ++*(int *)ctx;
}

static int mistakes_in(const char *text)
{
    int n = 0;
    struct expr_scope scope = {EXPR_SAMPLE, names, types, PARAMS, SELF, find, NULL};
    struct space_errors errors = {count, &n};
    struct expr *x = expr_parse(text, &scope, &errors);
    struct value v;
    assert_int_equal(x == NULL, n > 0);
    if (x) /* the stack must hold it, whatever comes out */
        expr_eval(x, values, 0, &v, NULL);
    expr_free(x);
    return n;
}

static char *repeated(const char *a, int times, const char *b, const char *c)
{
    struct str s = STR_INIT;
    for (int i = 0; i < times; i++)
        str_add(&s, a);
    str_add(&s, b);
    for (int i = 0; i < times; i++)
        str_add(&s, c);
    return str_take(&s);
}

static void limits(void **state)
{
    static const struct {
        const char *open, *middle, *close;
        int times, mistakes;
    } table[] = {
        {"(", "i", ")", 100, 0},
        {"(", "i", ")", 101, 1},
        {"-", "i", "", 100, 0},
        {"-", "i", "", 101, 1},
        {"not ", "i", "", 101, 1},
        {"2**", "i", "", 100, 0},
        {"2**", "i", "", 101, 1},
        {"abs(", "i", ")", 101, 1},
        {"(", "i", "", 30000, 1},
        {"1+", "i", "", 32767, 0},
        {"1+", "i ", "", 32767, 0},
        {"1+", "i", "", 32768, 1},
        {"1/0+", "1", "", 1000, MISTAKES_MAX},
        {"1 or ", "i", "", 5000, 0},
        {"i==1+1*log(2,", "i", ")", 100, 0},
        {"i==1+1*2**log(2,", "i", ")", 50, 0},
        {"$", "$", "\n", 30000, 1},
        {"$ ", "$", "\n", 20000, MISTAKES_MAX},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        char *text =
            repeated(table[t].open, table[t].times, table[t].middle, table[t].close);
        assert_int_equal(mistakes_in(text), table[t].mistakes);
        free(text);
    }
}

/* Computed by Python 3.11. */
static const struct {
    const char *text, *value;
} pythons[] = {
    {"i + 1", "8"},
    {"i + r", "9.5"},
    {"i - t", "6"},
    {"i * n", "-21"},
    {"t + t", "2"},
    {"i / 2", "3.5"},
    {"9007199254740993 / 7", "1286742750677284.8"},
    {"9223372036854775807 / 9007199254740993", "1023.9999999999999"},
    {"-9223372036854775807 / 3", "-3.0744573456182584e+18"},
    {"1 / 9223372036854775807", "1.0842021724855044e-19"},
    {"0 / 9223372036854775807", "0.0"},
    {"64 / -9007199254740993", "-7.105427357601001e-15"},
    {"9007199254740993 / 9007199254740993", "1.0"},
    {"(-9223372036854775807 - 1) / 10", "-9.223372036854776e+17"},
    {"6 / 3", "2.0"},
    {"i // 2", "3"},
    {"n // 2", "-2"},
    {"i // n", "-3"},
    {"-i // 2", "-4"},
    {"n % 2", "1"},
    {"i % n", "-2"},
    {"i % -1", "0"},
    {"-i % 5", "3"},
    {"r // 1", "2.0"},
    {"-r // 1", "-3.0"},
    {"-r % 2", "1.5"},
    {"r % -2", "-1.5"},
    {"-z // 1", "-0.0"},
    {"-z % 1", "0.0"},
    {"r % 2.5", "0.0"},
    {"r % -2.5", "-0.0"},
    {"z // -1", "-0.0"},
    {"i // 2.0", "3.0"},
    {"2544586099346080.0 // 5.459983480655616", "466042820158960.0"},
    {"5 % -0.3", "-0.09999999999999981"},
    {"2 ** i", "128"},
    {"2 ** n", "0.125"},
    {"n ** 3", "-27"},
    {"n ** 0", "1"},
    {"z ** r", "0.0"},
    {"0 ** 0", "1"},
    {"2 ** -1", "0.5"},
    {"r ** 2", "6.25"},
    {"4 ** 0.5", "2.0"},
    {"-2 ** 2", "-4"},
    {"(-2) ** 2", "4"},
    {"2 ** 3 ** 2", "512"},
    {"2 ** -t", "0.5"},
    {"--i", "7"},
    {"+t", "1"},
    {"-t", "-1"},
    {"not i", "false"},
    {"not z", "true"},
    {"not w", "false"},
    {"not not r", "true"},
    {"i == 7.0", "true"},
    {"t == 1", "true"},
    {"w == sgd", "true"},
    {"w == \"adam\"", "false"},
    {"w != 'sgd'", "false"},
    {"w == 1", "false"},
    {"sgd == w", "true"},
    {"i < r", "false"},
    {"n <= -3", "true"},
    {"big > 4.6e18", "true"},
    {"big == 4611686018427387904.0", "true"},
    {"big + 1 == 4611686018427387904.0", "false"},
    {"i >= 8", "false"},
    {"i >= 7", "true"},
    {"r >= 2", "true"},
    {"i <= 6", "false"},
    {"i <= 7", "true"},
    {"i > 7", "false"},
    {"i > 6", "true"},
    {"i < 7", "false"},
    {"n < r", "true"},
    {"i and r", "2.5"},
    {"z and i", "0.0"},
    {"z or i", "7"},
    {"i or 1 / 0.5", "7"},
    {"t and not z and w == sgd", "true"},
    {"z or false or n", "-3"},
    {"1 and 2", "2"},
    {"0 and 3", "0"},
    {"2 or 3", "2"},
    {"0 or 3", "3"},
    {"n + 3 or 5", "5"},
    {"i - 6 and 2", "2"},
    {"not i == 7", "false"},
    {"abs(n)", "3"},
    {"abs(-r)", "2.5"},
    {"abs(t)", "1"},
    {"min(3, 1, 2)", "1"},
    {"min(1, 1.0)", "1"},
    {"min(1.0, 1)", "1.0"},
    {"max(t, 1)", "true"},
    {"max(i, r, n)", "7"},
    {"round(r)", "2"},
    {"round(3.5)", "4"},
    {"round(-r)", "-2"},
    {"round(t)", "1"},
    {"round(2.675, 2)", "2.67"},
    {"round(0.125, 2)", "0.12"},
    {"round(1e22, 3)", "1e+22"},
    {"round(r, 0)", "2.0"},
    {"round(i, 1)", "7"},
    {"round(-0.04, 1)", "-0.0"},
    {"round(5.015, 2)", "5.01"},
    {"int(r)", "2"},
    {"int(-9223372036854775808.0)", "-9223372036854775808"},
    {"int(-r)", "-2"},
    {"int(t)", "1"},
    {"int(-0.5)", "0"},
    {"log(1)", "0.0"},
    {"log(8, 2)", "3.0"},
    {"log(i)", "1.9459101490553132"},
    {"exp(0)", "1.0"},
    {"exp(1)", "2.718281828459045"},
    {"sqrt(i + 2)", "3.0"},
    {"sqrt(0.25)", "0.5"},
    {"sqrt(2)", "1.4142135623730951"},
    {"i + 2 * 3 - 4", "9"},
    {"(i + 2) * 3", "27"},
    {"100 - 10 - 1", "89"},
    {"100 / 10 / 2", "5.0"},
    {"2 * 3 % 4", "2"},
    {"1.5e3", "1500.0"},
    {".5 + 5.", "5.5"},
    {"9223372036854775807", "9223372036854775807"},
    {"-9223372036854775807 - 1", "-9223372036854775808"},
    {"big + (big - 1)", "9223372036854775807"},
    {"i == 7 and w == sgd or false", "true"},
    {"\"a\\\"b\\\\\" == 'a\"b\\\\'", "true"},
};

static void values_are_pythons(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(pythons); t++) {
        struct expr *x = parsed(pythons[t].text);
        struct str text = STR_INIT;
        struct value v;
        struct err e = {0};
        assert_int_equal(expr_eval(x, values, 0, &v, &e), 0);
        value_text(v, &text);
        assert_string_equal(text.p, pythons[t].value);
        assert_true(expr_type(x).kinds >> v.kind & 1);
        assert_false(expr_type(x).nonneg && text.p[0] == '-' && v.kind == VALUE_INT);
        str_free(&text);
        expr_free(x);
    }
}

static void failures_are_told(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *why;
    } table[] = {
        {"big + big", ERR_RANGE,
         "4611686018427387904 + 4611686018427387904 does not fit in 64 bits"},
        {"big * n", ERR_RANGE, "4611686018427387904 * -3 does not fit in 64 bits"},
        {"n - big - big", ERR_RANGE,
         "-4611686018427387907 - 4611686018427387904 does not fit in 64 bits"},
        {"-(-big - big)", ERR_RANGE, "-(-9223372036854775808) does not fit in 64 bits"},
        {"abs(-big - big)", ERR_RANGE,
         "abs(-9223372036854775808) does not fit in 64 bits"},
        {"(-big - big) // -1", ERR_RANGE,
         "-9223372036854775808 // -1 does not fit in 64 bits"},
        {"i ** width", ERR_RANGE, "7 ** 64 does not fit in 64 bits"},
        {"i // z", ERR_RANGE, "7 // 0.0 divides by zero"},
        {"i % (n + 3)", ERR_RANGE, "7 % 0 divides by zero"},
        {"z ** n", ERR_RANGE, "0.0 ** -3 divides by zero"},
        {"n ** r", ERR_RANGE, "(-3) ** 2.5 is not a real number"},
        {"log(n)", ERR_RANGE, "log(-3) is not a real number"},
        {"int(1e300 * r)", ERR_RANGE, "int(2.5e+300) does not fit in 64 bits"},
        {"round((1e308 * 10 * r) * 0)", ERR_RANGE, "round(nan) does not fit in 64 bits"},
        {"round(r, width)", ERR_RANGE,
         "round(2.5, 64) needs a whole number of digits from 0 to 22"},
        {"(i or w) + (choice(sgd, 1) or 2)", ERR_INVAL,
         "'+' needs numbers, not the text \"sgd\""},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        struct expr *x = parsed(table[t].text);
        struct value v;
        struct err e = {0};
        assert_int_equal(expr_eval(x, values, 0, &v, &e), table[t].code);
        assert_string_equal(e.text, table[t].why);
        assert_int_equal(expr_eval(x, values, 0, &v, NULL), table[t].code);
        expr_free(x);
    }
}

static void types_are_inferred(void **state)
{
    static const struct {
        const char *text;
        unsigned kinds;
        bool nonneg;
    } table[] = {
        {"2 ** randint(2, 9)", KIND_INT, true},
        {"2 ** (randint(0, 3) * 2 + 1)", KIND_INT, true},
        {"2 ** randint(-1, 9)", KIND_INT | KIND_REAL, true},
        {"2 ** -i", KIND_INT | KIND_REAL, true},
        {"2 ** (i % 3)", KIND_INT, true},
        {"n ** max(n, 0)", KIND_INT, false},
        {"2 ** min(i, n)", KIND_INT | KIND_REAL, true},
        {"10 ** uniform(-4, -1)", KIND_REAL, true},
        {"choice(16, 32)", KIND_INT, true},
        {"choice(1, 2.5)", KIND_INT | KIND_REAL, true},
        {"choice(1, sgd)", KIND_INT | KIND_STR, true},
        {"choice(sgd, adam)", KIND_STR, true},
        {"choice(true, false)", KIND_BOOL, true},
        {"choice(true, false) + 1", KIND_INT, true},
        {"choice(sgd, adam) == sgd", KIND_BOOL, true},
        {"qrandint(0, 8, 2) / 2", KIND_REAL, true},
        {"qrandint(0, 8, 2) // 2", KIND_INT, true},
        {"round(uniform(0, 1), 2)", KIND_REAL, true},
        {"round(uniform(0, 1) * 9)", KIND_INT, true},
        {"int(randn(0, 1))", KIND_INT, false},
        {"i or r", KIND_INT | KIND_REAL, true},
        {"i - r", KIND_REAL, false},
        {"-i", KIND_INT, false},
        {"bad + 1", 0, false},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        struct expr *x = parsed(table[t].text);
        assert_int_equal(expr_type(x).kinds, table[t].kinds);
        if (expr_type(x).kinds & KINDS_NUMBER)
            assert_int_equal(expr_type(x).nonneg, table[t].nonneg);
        expr_free(x);
    }
}

static void draws_and_references(void **state)
{
    struct expr *x = parsed("i + 2 ** randint(2, 9) * i + width");
    const int *refs;
    struct value v;
    (void)state;
    assert_non_null(expr_dist(x));
    assert_int_equal(expr_dist(x)->dim.n, 7);
    assert_int_equal(expr_refs(x, &refs), 2);
    assert_int_equal(refs[0], I);
    assert_int_equal(refs[1], WIDTH);
    for (int k = 2; k < 9; k++) {
        assert_int_equal(expr_eval(x, values, (k - 1.5) / 7, &v, NULL), 0);
        assert_int_equal(v.kind, VALUE_INT);
        assert_int_equal(v.i, 7 + (1 << k) * 7 + 64);
    }
    expr_free(x);
    x = parsed("2 + 3");
    assert_null(expr_dist(x));
    assert_int_equal(expr_refs(x, &refs), 0);
    expr_free(x);
}

static void constants(void **state)
{
    char text[] = "sgd";
    struct expr *x = expr_constant((struct value){.kind = VALUE_STR, .s = text});
    struct value v;
    (void)state;
    text[0] = '\0';
    assert_int_equal(expr_eval(x, NULL, 0, &v, NULL), 0);
    assert_string_equal(v.s, "sgd");
    assert_int_equal(expr_type(x).kinds, KIND_STR);
    expr_free(x);
    expr_free(NULL);
}

static void texts_mean_what_is_written(void **state)
{
    static const struct {
        const char *text, *value;
    } table[] = {
        {"''", ""},
        {"\"a 'b'\"", "a 'b'"},
        {"'\\n\\t\\\\\\'\\\"'", "\n\t\\'\""},
        {"'gr\xc3\xb6\xc3\x9f'", "gr\xc3\xb6\xc3\x9f"},
        {"choice(Zulu, aZ_9)", "Zulu"},
        {"choice(azAZ_09)", "azAZ_09"},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        struct expr *x = parsed(table[t].text);
        struct value v;
        assert_int_equal(expr_eval(x, values, 0, &v, NULL), 0);
        assert_int_equal(v.kind, VALUE_STR);
        assert_string_equal(v.s, table[t].value);
        expr_free(x);
    }
}

/* ---- whatever the text is, it is parsed or refused ---- */

static uint32_t dice(uint32_t *n, uint32_t sides)
{
    return (uint32_t)(rng_u64(1, RNG_TEST, ++*n, 0, 0) % sides);
}

static void try_text(const char *text)
{
    struct str mistakes = STR_INIT;
    struct expr *x = parse(EXPR_SAMPLE, text, &mistakes);
    struct value v;
    struct err e;
    assert_int_equal(x == NULL, mistakes.len > 0);
    if (x && expr_type(x).kinds != 0 && expr_eval(x, values, 0.3, &v, &e) == 0)
        assert_true(expr_type(x).kinds >> v.kind & 1);
    expr_free(x);
    str_free(&mistakes);
}

static void garbage_is_refused(void **state)
{
    uint32_t n = 0;
    char text[64];
    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint32_t len = dice(&n, sizeof(text));
        for (uint32_t i = 0; i < len; i++)
            text[i] = (char)(1 + dice(&n, 255));
        text[len] = '\0';
        try_text(text);
    }
}

static void mixed_words_are_parsed_or_refused(void **state)
{
    static const char *const words[] = {
        "i",        "n",        "r",       "w",    "width", "bad",    "self",    "later",
        "sgd",      "1",        "0",       "2.5",  "1e9",   "'a'",    "(",       "(",
        ")",        ")",        ",",       "+",    "-",     "*",      "/",       "//",
        "%",        "**",       "==",      "!=",   "<",     ">=",     "and",     "or",
        "not",      "true",     "min(",    "max(", "log(",  "round(", "choice(", "grid(",
        "uniform(", "randint(", "qrandn(", "abs(", "=",     "[",      "\"",      "$",
    };
    uint32_t n = 0;
    (void)state;
    for (int round = 0; round < 30000; round++) {
        struct str text = STR_INIT;
        for (uint32_t k = dice(&n, 16) + 1; k > 0; k--) {
            str_add(&text, words[dice(&n, COUNT(words))]);
            str_addc(&text, ' ');
        }
        try_text(text.p);
        str_free(&text);
    }
}

static void mutations_are_parsed_or_refused(void **state)
{
    static const char *const valid[] = {
        "2 ** randint(2, 9) + i // 3 % (n - 1)",
        "choice(sgd, \"adam w\", 'x\\n', 1.5, true) == w and not (r > 1e-3 or i <= n)",
        "min(qloguniform(1e-4, 1e-1, 5e-4) * 10, max(r, 2, 3), round(r * 100, 2))",
        "log(i + 1, 2) * -width ** 2 / sqrt(abs(n)) + exp(-r) - int(2.5)",
    };
    uint32_t n = 0;
    (void)state;
    for (int round = 0; round < 40000; round++) {
        char text[128];
        strcpy(text, valid[dice(&n, COUNT(valid))]);
        for (uint32_t k = dice(&n, 4) + 1; k > 0; k--) {
            size_t len = strlen(text), at = dice(&n, (uint32_t)len);
            if (dice(&n, 2) && len > 1)
                memmove(text + at, text + at + 1, len - at);
            else
                text[at] = (char)(1 + dice(&n, 127));
        }
        try_text(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slips_in_words),
        cmocka_unit_test(slips_in_syntax),
        cmocka_unit_test(slips_in_names),
        cmocka_unit_test(slips_in_types_and_calls),
        cmocka_unit_test(slips_in_distributions),
        cmocka_unit_test(conditions_must_say_something),
        cmocka_unit_test(all_mistakes_are_told),
        cmocka_unit_test(limits),
        cmocka_unit_test(values_are_pythons),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(types_are_inferred),
        cmocka_unit_test(draws_and_references),
        cmocka_unit_test(constants),
        cmocka_unit_test(texts_mean_what_is_written),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(mixed_words_are_parsed_or_refused),
        cmocka_unit_test(mutations_are_parsed_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
