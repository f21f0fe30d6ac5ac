#include "sched/space.h"

#include "base/hash.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define PARAMS_MAX 16

struct line {
    const char *name, *expr, *when;
};

static void note(void *ctx, size_t offset, const char *text)
{
    str_addf(ctx, "%zu: %s; ", offset, text);
}

static struct space *build(const struct line lines[], const char *const constraints[],
                           struct str *mistakes)
{
    struct space_errors errors = {note, mistakes};
    const char *names[PARAMS_MAX];
    struct space *sp = space_new();
    size_t n = 0;
    for (; lines[n].name; n++)
        names[n] = lines[n].name;
    space_declare(sp, names, n);
    for (size_t i = 0; i < n; i++)
        space_define(sp, (int)i, lines[i].expr, lines[i].when, &errors, &errors);
    for (size_t i = 0; constraints && constraints[i]; i++)
        space_constrain(sp, constraints[i], &errors);
    return sp;
}

static struct space *built(const struct line lines[], const char *const constraints[])
{
    struct str mistakes = STR_INIT;
    struct space *sp = build(lines, constraints, &mistakes);
    assert_string_equal(mistakes.p, "");
    return sp;
}

static char *json_of(const struct space *sp, const struct value values[])
{
    struct str s = STR_INIT;
    space_json(sp, values, &s);
    return str_take(&s);
}

static void assert_json(const struct space *sp, const struct value values[],
                        const char *want)
{
    char *got = json_of(sp, values);
    assert_string_equal(got, want);
    free(got);
}

/* The space of the sweep file in the design. */
static const struct line fashion[] = {
    {"l1", "2 ** randint(2, 9)", NULL},
    {"l2", "2 ** randint(2, 9)", NULL},
    {"lr", "loguniform(1e-4, 1e-1)", NULL},
    {"batch_size", "choice(16, 32, 64, 128)", NULL},
    {"optimizer", "choice(sgd, adam)", NULL},
    {"momentum", "uniform(0.5, 0.99)", "optimizer == \"sgd\""},
    {"warm", "momentum < 1", NULL},
    {NULL, NULL, NULL},
};

static void mistakes_spoil_only_their_own(void **state)
{
    static const struct line lines[] = {
        {"a", "unifrom(0, 1)", NULL}, {"b", "a + 1", NULL}, {"c", "d", NULL},
        {"d", "1 +", "a > 0 and ee"}, {"e", "b * 2", "c"},  {NULL, NULL, NULL},
    };
    static const char *const constraints[] = {"a < b", "e == 3 == 4", NULL};
    struct str mistakes = STR_INIT;
    struct space *sp = build(lines, constraints, &mistakes);
    struct value values[5];
    struct err e;
    double u[1] = {0};
    (void)state;
    assert_string_equal(
        mistakes.p, "0: unknown distribution 'unifrom' (did you mean 'uniform'?); "
                    "0: 'd' is defined below: a parameter can use those above it only; "
                    "3: a value is wanted here; "
                    "10: unknown parameter 'ee' (did you mean 'e'?); "
                    "7: comparisons cannot be chained: write 'a < b and b < c'; ");
    assert_int_equal(space_eval(sp, u, values, &e), SPACE_BROKEN);
    assert_string_equal(e.text, "parameter 'a' has no valid definition");
    assert_int_equal(space_check(sp, 1, &e), ERR_RANGE);
    str_free(&mistakes);
    space_free(sp);
    space_free(NULL);
}

static void a_space_is_looked_at(void **state)
{
    static const struct line lines[] = {
        {"l1", "2 ** randint(2, 9)", NULL},
        {"l2", "l1 // 2", NULL},
        {"lr", "loguniform(1e-4, 1e-1)", NULL},
        {"optimizer", "choice(sgd, adam)", NULL},
        {"momentum", "quniform(0.5, 0.9, 0.1)", "optimizer == \"sgd\""},
        {"nesterov", "choice(true, false)", "momentum > 0.6"},
        {"wd", "lr * momentum", NULL},
        {"mixed", "choice(0, none)", NULL},
        {"seed", "grid(1, 2, 3)", NULL},
        {"half", "seed / 2 + randn(1, 2)", NULL},
        {NULL, NULL, NULL},
    };
    static const struct {
        enum value_kind type;
        bool conditional;
    } params[] = {
        {VALUE_INT, false}, {VALUE_INT, false},  {VALUE_REAL, false}, {VALUE_STR, false},
        {VALUE_REAL, true}, {VALUE_BOOL, true},  {VALUE_REAL, true},  {VALUE_STR, false},
        {VALUE_INT, false}, {VALUE_REAL, false},
    };
    static const struct dim dims[] = {
        {"l1", 0, 0, DIM_INT, false, 2, 8, 1, 7},
        {"lr", 2, 0, DIM_REAL, true, 1e-4, 1e-1, 0, 0},
        {"optimizer", 3, 0, DIM_CHOICE, false, 0, 0, 0, 2},
        {"momentum", 4, 0, DIM_REAL, false, 0.5, 0.9, 0.1, 5},
        {"nesterov", 5, 0, DIM_CHOICE, false, 0, 0, 0, 2},
        {"mixed", 7, 0, DIM_CHOICE, false, 0, 0, 0, 2},
        {"seed", 8, 0, DIM_GRID, false, 0, 0, 0, 3},
        {"half", 9, 0, DIM_NORMAL, false, 1, 2, 0, 0},
    };
    struct space *sp = built(lines, NULL);
    (void)state;
    assert_int_equal(space_count(sp), COUNT(params));
    assert_int_equal(space_find(sp, "lrr"), -1);
    for (int i = 0; i < space_count(sp); i++) {
        assert_string_equal(space_name(sp, i), lines[i].name);
        assert_string_equal(space_source(sp, i), lines[i].expr);
        assert_int_equal(space_find(sp, lines[i].name), i);
        assert_int_equal(space_type(sp, i), params[i].type);
        assert_int_equal(space_conditional(sp, i), params[i].conditional);
    }
    assert_int_equal(space_dims(sp), COUNT(dims));
    for (int d = 0; d < space_dims(sp); d++) {
        const struct dim *got = space_dim(sp, d), *want = &dims[d];
        assert_string_equal(got->name, want->name);
        assert_int_equal(got->param, want->param);
        assert_int_equal(got->kind, want->kind);
        assert_int_equal(got->log, want->log);
        assert_true(got->lo == want->lo && got->hi == want->hi && got->q == want->q);
        assert_int_equal(got->n, want->n);
    }
    assert_int_equal(space_grid_points(sp), 3);
    space_free(sp);
}

static void keys_follow_names(void **state)
{
    static const struct line one[] = {{"lr", "uniform(0, 1)", NULL}, {NULL, NULL, NULL}};
    static const struct line two[] = {
        {"wd", "uniform(0, 1)", NULL}, {"lr", "uniform(0, 1)", NULL}, {NULL, NULL, NULL}};
    static const struct line same[] = {{"p48300", "uniform(0, 1)", NULL},
                                       {"p59959", "uniform(0, 1)", NULL},
                                       {NULL, NULL, NULL}};
    struct space *a = built(one, NULL), *b = built(two, NULL);
    double u[1], v[2];
    (void)state;
    space_point(a, 7, 3, 0, u);
    space_point(b, 7, 3, 0, v);
    assert_true(u[0] == v[1] && v[0] != v[1]);
    space_point(b, 7, 3, 1, v);
    assert_true(u[0] != v[1]);
    /* These names have the same hash in 32 bits. */
    assert_int_equal((uint32_t)hash64("p48300", 6), (uint32_t)hash64("p59959", 6));
    struct space *c = built(same, NULL);
    assert_int_equal(space_dim(c, 0)->key, (uint32_t)hash64("p48300", 6));
    assert_int_equal(space_dim(c, 1)->key, space_dim(c, 0)->key + 1);
    space_free(c);
    space_free(a);
    space_free(b);
}

static void values_come_from_the_point(void **state)
{
    static const char *const constraints[] = {"l1 >= l2", "momentum < 0.9", NULL};
    static const struct {
        double u[6];
        enum space_verdict verdict;
        const char *result;
    } table[] = {
        {{0, 0.5, 0, 0, 0, 0}, SPACE_REDRAW, "constraint 'l1 >= l2' is false"},
        {{0, 0, 0, 0, 0, 0.99}, SPACE_REDRAW, "constraint 'momentum < 0.9' is false"},
        {{0, 0, 0, 0, 0, 0},
         SPACE_OK,
         "{\"l1\":4,\"l2\":4,\"lr\":0.0001,\"batch_size\":16,\"optimizer\":\"sgd\","
         "\"momentum\":0.5,\"warm\":true}"},
        {{0.99, 0.5, 0, 0.99, 0.5, 0.99},
         SPACE_OK,
         "{\"l1\":256,\"l2\":32,\"lr\":0.0001,\"batch_size\":128,\"optimizer\":"
         "\"adam\"}"},
    };
    struct line lines[COUNT(fashion)];
    (void)state;
    memcpy(lines, fashion, sizeof(lines));
    struct space *sp = built(lines, constraints);
    for (size_t t = 0; t < COUNT(table); t++) {
        struct value values[7];
        struct err e = {0};
        assert_int_equal(space_eval(sp, table[t].u, values, &e), table[t].verdict);
        if (table[t].verdict == SPACE_OK)
            assert_json(sp, values, table[t].result);
        else
            assert_string_equal(e.text, table[t].result);
        assert_int_equal(space_eval(sp, table[t].u, values, NULL), table[t].verdict);
    }
    space_free(sp);
}

static void failures_name_their_place(void **state)
{
    static const struct {
        struct line a, b;
        const char *constraint;
        enum space_verdict verdict;
        const char *text;
    } table[] = {
        {{"a", "2 ** randint(70, 80)", NULL},
         {"b", "1", NULL},
         NULL,
         SPACE_BROKEN,
         "parameter 'a': 2 ** 70 does not fit in 64 bits"},
        {{"a", "choice(0, 1)", NULL},
         {"b", "3", "1 / a > 2"},
         NULL,
         SPACE_BROKEN,
         "'when' of 'b': 1 / 0 divides by zero"},
        {{"a", "choice(0, 1)", NULL},
         {"b", "2", NULL},
         "b % a == 0",
         SPACE_BROKEN,
         "constraint 'b % a == 0': 2 % 0 divides by zero"},
        {{"a", "uniform(1, 2) * 1e308", NULL},
         {"b", "a * 10", NULL},
         NULL,
         SPACE_REDRAW,
         "parameter 'b' is infinite"},
        {{"a", "uniform(1, 2) * 1e308", NULL},
         {"b", "a * 10 - a * 10", NULL},
         NULL,
         SPACE_REDRAW,
         "parameter 'b' is not a number"},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        const struct line lines[] = {table[t].a, table[t].b, {NULL, NULL, NULL}};
        const char *const constraints[] = {table[t].constraint, NULL};
        struct space *sp = built(lines, constraints);
        struct value values[2];
        struct err e = {0};
        double u[1] = {0};
        assert_int_equal(space_eval(sp, u, values, &e), table[t].verdict);
        assert_string_equal(e.text, table[t].text);
        space_free(sp);
    }
}

/* Absence spreads by what an expression names, not by what it comes to compute. */
static void absence_spreads(void **state)
{
    static const struct line lines[] = {
        {"on", "choice(false, true)", NULL},
        {"a", "1", "on"},
        {"b", "a + 1", NULL},
        {"c", "true or b", NULL},
        {"d", "5", "on or c"},
        {"e", "5", "not on"},
        {NULL, NULL, NULL},
    };
    static const char *const constraints[] = {"on or a > 3", "c and not on", NULL};
    struct space *sp = built(lines, NULL), *constrained = built(lines, constraints);
    struct value values[6];
    double off[1] = {0.2}, on[1] = {0.7};
    (void)state;
    assert_int_equal(space_eval(sp, off, values, NULL), SPACE_OK);
    assert_json(sp, values, "{\"on\":false,\"e\":5}");
    assert_int_equal(space_eval(sp, on, values, NULL), SPACE_OK);
    assert_json(sp, values, "{\"on\":true,\"a\":1,\"b\":2,\"c\":true,\"d\":5}");
    assert_int_equal(space_eval(constrained, off, values, NULL), SPACE_OK);
    assert_int_equal(space_eval(constrained, on, values, NULL), SPACE_REDRAW);
    space_free(sp);
    space_free(constrained);
}

static void given_values_are_completed(void **state)
{
    static const struct line lines[] = {
        {"n", "randint(1, 5)", NULL},
        {"twice", "n * 2", NULL},
        {"opt", "choice(sgd, adam)", NULL},
        {"mom", "uniform(0, 1)", "opt == sgd"},
        {NULL, NULL, NULL},
    };
    static const char *const constraints[] = {"n < 3", NULL};
    struct space *sp = built(lines, constraints);
    struct value given[4] = {{0}}, values[4];
    double u[3] = {0.99, 0.99, 0.5};
    struct err e;
    (void)state;
    assert_int_equal(space_complete(sp, given, u, values, &e), SPACE_OK);
    assert_json(sp, values, "{\"n\":4,\"twice\":8,\"opt\":\"adam\"}");
    given[0] = (struct value){.kind = VALUE_REAL, .r = 1000.5};
    given[3] = (struct value){.kind = VALUE_INT, .i = 7};
    assert_int_equal(space_complete(sp, given, u, values, &e), SPACE_OK);
    assert_json(sp, values, "{\"n\":1000.5,\"twice\":2001.0,\"opt\":\"adam\",\"mom\":7}");
    given[0] = (struct value){.kind = VALUE_STR, .s = "many"};
    assert_int_equal(space_complete(sp, given, u, values, &e), SPACE_BROKEN);
    assert_string_equal(e.text,
                        "parameter 'twice': '*' needs numbers, not the text \"many\"");
    space_free(sp);
}

static void constants_are_values(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    char text[] = "two words";
    struct space *sp = space_new();
    struct value values[3];
    (void)state;
    space_declare(sp, names, 3);
    space_define_constant(sp, 0, (struct value){.kind = VALUE_STR, .s = text}, NULL,
                          NULL);
    space_define_constant(sp, 1, (struct value){.kind = VALUE_REAL, .r = 0.1}, NULL,
                          NULL);
    space_define_constant(sp, 2, (struct value){.kind = VALUE_BOOL, .b = true}, NULL,
                          NULL);
    memset(text, 'x', sizeof(text) - 1);
    assert_int_equal(space_eval(sp, NULL, values, NULL), SPACE_OK);
    assert_json(sp, values, "{\"a\":\"two words\",\"b\":0.1,\"c\":true}");
    assert_string_equal(space_source(sp, 0), "two words");
    assert_string_equal(space_source(sp, 1), "0.1");
    assert_int_equal(space_type(sp, 0), VALUE_STR);
    assert_int_equal(space_type(sp, 1), VALUE_REAL);
    assert_int_equal(space_type(sp, 2), VALUE_BOOL);
    assert_int_equal(space_dims(sp), 0);
    assert_int_equal(space_grid_points(sp), 1);
    assert_int_equal(space_check(sp, 0, NULL), 0);
    space_free(sp);
}

static void constants_are_absent(void **state)
{
    static const char *const names[] = {"a", "b"};
    struct str mistakes = STR_INIT;
    const struct space_errors errors = {note, &mistakes};
    const struct value word = {.kind = VALUE_STR, .s = (char *)"two words"};
    struct space *sp = space_new();
    struct value values[2];
    double u[1] = {0.25};
    (void)state;
    space_declare(sp, names, 2);
    assert_int_equal(space_define(sp, 0, "choice(0, 1)", NULL, &errors, &errors), 0);
    assert_int_equal(space_define_constant(sp, 1, word, "a == 1", &errors), 0);
    assert_true(space_conditional(sp, 1));
    assert_int_equal(space_eval(sp, u, values, NULL), SPACE_OK);
    assert_json(sp, values, "{\"a\":0}");
    u[0] = 0.75;
    assert_int_equal(space_eval(sp, u, values, NULL), SPACE_OK);
    assert_json(sp, values, "{\"a\":1,\"b\":\"two words\"}");
    assert_string_equal(mistakes.p, "");
    str_free(&mistakes);
    space_free(sp);
}

static void grids_are_counted(void **state)
{
    struct line lines[] = {
        {"a", "grid(1, 2, 3)", NULL},
        {"b", "uniform(0, 1)", NULL},
        {"c", "grid(x, y)", NULL},
        {NULL, NULL, NULL},
    };
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    struct str wide = STR_INIT;
    struct space_errors errors = {note, &wide};
    struct space *sp = built(lines, NULL);
    (void)state;
    assert_int_equal(space_grid_points(sp), 6);
    const struct value absent[3] = {{0}};
    const struct value present[3] = {{.kind = VALUE_INT}, {0}, {.kind = VALUE_INT}};
    assert_false(space_repeats(sp, (double[]){0.17, 0.9, 0.25}, absent));
    assert_true(space_repeats(sp, (double[]){0.5, 0.9, 0.25}, absent));
    assert_true(space_repeats(sp, (double[]){0.17, 0.9, 0.75}, absent));
    assert_true(space_repeats(sp, (double[]){0.17, 0.9, 0.5}, absent));
    assert_false(space_repeats(sp, (double[]){0.5, 0.9, 0.75}, present));
    space_free(sp);
    str_add(&wide, "grid(0");
    for (int i = 1; i < 64; i++)
        str_addf(&wide, ", %d", i);
    str_add(&wide, ")");
    sp = space_new();
    space_declare(sp, names, 6);
    for (int i = 0; i < 5; i++)
        assert_int_equal(space_define(sp, i, wide.p, NULL, &errors, NULL), 0);
    assert_int_equal(space_grid_points(sp), 1 << 30);
    assert_int_equal(space_define(sp, 5, "grid(1, 2, 3)", NULL, &errors, NULL), 0);
    assert_int_equal(space_grid_points(sp), ERR_RANGE);
    space_free(sp);
    str_free(&wide);
}

static void impossible_spaces_are_found(void **state)
{
    static const struct line lines[] = {
        {"n", "randint(0, 4)", NULL}, {"m", "12 // n", NULL}, {NULL, NULL, NULL}};
    static const struct {
        const char *constraint;
        int rc;
        const char *text;
    } table[] = {
        {"n > m * 100", ERR_RANGE, "constraint 'n > m * 100' is false"},
        {"n == 7 or n < 0", ERR_RANGE, "constraint 'n == 7 or n < 0' is false"},
        {"n == 3", 0, ""},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        const char *const constraints[] = {table[t].constraint, NULL};
        struct space *sp = built(lines, constraints);
        struct err e = {0};
        assert_int_equal(space_check(sp, 1, &e), table[t].rc);
        if (table[t].rc != 0) {
            assert_memory_equal(e.text, "none of 10000 draws satisfies the space; in 7",
                                45);
            assert_non_null(strstr(e.text, table[t].text));
        }
        space_free(sp);
    }
    struct line broken[COUNT(lines)];
    struct err e;
    memcpy(broken, lines, sizeof(broken));
    broken[0].expr = "2 ** randint(64, 70)";
    struct space *sp = built(broken, NULL);
    assert_int_equal(space_check(sp, 1, &e), ERR_RANGE);
    assert_non_null(
        strstr(e.text, "in 10000 of them the reason was: parameter 'n': 2 ** 6"));
    space_free(sp);
}

static void wrong_parameters_are_refused(void **state)
{
    static const struct {
        const char *json;
        int rc;
        const char *text;
    } table[] = {
        {"{\"optimiser\":1}", ERR_NOENT,
         "unknown parameter 'optimiser' (did you mean 'optimizer'?)"},
        {"{\"zzz\":1}", ERR_NOENT, "unknown parameter 'zzz'"},
        {"{\"lr\":1,\"lr\":2}", ERR_EXIST, "parameter 'lr' is given twice"},
        {"{\"lr\":null}", ERR_SYNTAX,
         "parameter 'lr': a parameter is a number, a text, true or false"},
        {"{\"optimizer\":\"sgd\",\"lr\":[1]}", ERR_SYNTAX,
         "parameter 'lr': a parameter is a number, a text, true or false"},
        {"{\"l1\":null}", ERR_SYNTAX,
         "parameter 'l1': a parameter is a number, a text, true or false"},
        {"{\"lr\":1e999}", ERR_SYNTAX, NULL},
        {"{\"lr\":1", ERR_SYNTAX, NULL},
        {"[1]", ERR_SYNTAX, "parameters: an object is wanted"},
        {"", ERR_SYNTAX, NULL},
    };
    struct line lines[COUNT(fashion)];
    (void)state;
    memcpy(lines, fashion, sizeof(lines));
    lines[6].expr = "1";
    struct space *sp = built(lines, NULL);
    for (size_t t = 0; t < COUNT(table); t++) {
        struct value values[7];
        struct json j;
        struct err e = {0};
        memset(values, 1, sizeof(values)); /* what was there does not matter */
        json_begin(&j, table[t].json, strlen(table[t].json));
        assert_int_equal(space_scan(sp, &j, values, &e), table[t].rc);
        if (table[t].text)
            assert_string_equal(e.text, table[t].text);
        for (int i = 0; i < 7; i++)
            assert_int_equal(values[i].kind, VALUE_ABSENT);
    }
    space_free(sp);
}

static void json_round_trip(void **state)
{
    struct line lines[COUNT(fashion)];
    uint32_t present = 0;
    (void)state;
    memcpy(lines, fashion, sizeof(lines));
    lines[6].expr = "choice(\"a \\\"b\\\"\\n\", gr_n, 1, 2.5, 1e300, true, '\xc3\xa4')";
    struct space *sp = built(lines, NULL);
    for (uint32_t trial = 0; trial < 2000; trial++) {
        struct value values[7], back[7];
        double u[7];
        struct json j;
        space_point(sp, 3, trial, 0, u);
        assert_int_equal(space_eval(sp, u, values, NULL), SPACE_OK);
        char *text = json_of(sp, values);
        json_begin(&j, text, strlen(text));
        assert_int_equal(space_scan(sp, &j, back, NULL), 0);
        json_end(&j);
        assert_null(j.error);
        for (int i = 0; i < 7; i++) {
            assert_int_equal(back[i].kind, values[i].kind);
            assert_true(value_equal(back[i], values[i]));
            present += back[i].kind != VALUE_ABSENT;
        }
        values_free(back, 7);
        free(text);
    }
    assert_true(present > 2000 * 6 && present < 2000 * 7);
    struct value values[7];
    struct json j;
    json_begin(&j, "{}", 2);
    assert_int_equal(space_scan(sp, &j, values, NULL), 0);
    assert_json(sp, values, "{}");
    space_free(sp);
}

static void what_two_spaces_share(void **state)
{
    static const char text[] =
        "{\"other\":[1,{\"lr\":2}],\"lr\":0.5,\"optimizer\":\"a\\nb\","
        "\"lr\":0.7,\"l1\":null}";
    struct space *sp = built(fashion, NULL);
    struct value values[COUNT(fashion)];
    int lr = space_find(sp, "lr"), optimizer = space_find(sp, "optimizer");
    (void)state;
    memset(values, 1, sizeof(values));
    space_scan_shared(sp, text, sizeof(text) - 1, values);
    for (int i = 0; i < space_count(sp); i++)
        if (i != lr && i != optimizer)
            assert_int_equal(values[i].kind, VALUE_ABSENT);
    assert_int_equal(values[lr].kind, VALUE_REAL);
    assert_true(values[lr].r == 0.5);
    assert_int_equal(values[optimizer].kind, VALUE_STR);
    assert_string_equal(values[optimizer].s, "a\nb");
    values_free(values, space_count(sp));
    space_free(sp);
}

/* What could have been drawn here, of a sweep that had other parameters. */
static void what_could_be(void **state)
{
    static const struct line lines[] = {
        {"new", "log(uniform(-1, 1))", NULL},
        {"opt", "choice(sgd, adam)", NULL},
        {"n", "randint(0, 100000)", NULL},
        {"q", "quniform(0, 1, 0.0001)", NULL},
        {"x", "uniform(0, 1)", "opt == \"sgd\""},
        {"y", "-loguniform(1e-9, 1) * 2", NULL},
        {"twice", "n * 2", NULL},
        {NULL, NULL, NULL},
    };
    static const struct {
        const char *json;
        bool could;
    } table[] = {
        {"{}", true},
        {"{\"n\":0}", true},
        {"{\"n\":77777}", true},
        {"{\"n\":99999}", true},
        {"{\"n\":100000}", false},
        {"{\"n\":-1}", false},
        {"{\"n\":5.5}", false},
        {"{\"n\":5,\"twice\":10}", true},
        {"{\"n\":5,\"twice\":11}", false},
        {"{\"twice\":11}", true},
        {"{\"q\":0.1234}", true},
        {"{\"q\":0.12345}", false},
        {"{\"x\":0}", true},
        {"{\"x\":1e-14}", true},
        {"{\"x\":-1e-6}", false},
        {"{\"x\":0.25,\"opt\":\"sgd\"}", true},
        {"{\"x\":0.25,\"opt\":\"adam\"}", false},
        {"{\"opt\":\"lion\"}", false},
        {"{\"y\":-3e-9}", true},
        {"{\"y\":-1e-9}", false},
        {"{\"x\":0.75,\"q\":0.5}", true},
        {"{\"x\":0.25,\"q\":0.5}", false},
    };
    struct space *sp = built(lines, (const char *const[]){"x > q or q == 0", NULL});
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct value given[COUNT(lines)];
        space_scan_shared(sp, table[i].json, strlen(table[i].json), given);
        if (space_could(sp, given) != table[i].could)
            fail_msg("%s", table[i].json);
        values_free(given, space_count(sp));
    }
    /* and all that is drawn */
    for (uint32_t trial = 0; trial < 300; trial++) {
        struct value values[COUNT(lines)];
        double u[COUNT(lines)];
        space_point(sp, 1, trial, 0, u);
        if (space_eval(sp, u, values, NULL) == SPACE_OK)
            assert_true(space_could(sp, values));
    }
    space_free(sp);
}

/* Every coordinate gives the value that its interval stands for, and no other does. */
static void cells_are_what_gives_the_same(void **state)
{
    static const struct line lines[] = {
        {"a", "randint(3, 8)", NULL},        {"b", "lograndint(1, 100)", NULL},
        {"c", "quniform(0, 1, 0.25)", NULL}, {"d", "qloguniform(0.1, 10, 0.1)", NULL},
        {"e", "qrandn(1, 2, 0.5)", NULL},    {"f", "choice(p, q, r)", NULL},
        {"g", "grid(1, 2)", NULL},           {NULL, NULL, NULL},
    };
    enum { N = COUNT(lines) - 1 };
    static const int want[N] = {5, 99, 5, 100, 0, 3, 2}; /* 0: it has no first one */
    struct space *sp = built(lines, NULL);
    (void)state;
    for (int d = 0; d < N; d++) {
        double cell[2] = {0, 0};
        int cells = 0;
        while (cell[1] < 1 - 1e-9 && cells++ < 100) {
            double from = cell[1], u[N];
            struct value inside[N], outside[N];
            for (int k = 0; k < N; k++)
                u[k] = from + 1e-9;
            assert_int_equal(space_eval(sp, u, inside, NULL), SPACE_OK);
            space_cell(sp, d, u[d], cell);
            assert_true(cell[1] > cell[0]);
            if (want[d] || cells > 1)
                assert_true(fabs(cell[0] - from) < 1e-12);
            u[d] = fmax(cell[1] - 1e-9, (cell[0] + cell[1]) / 2);
            assert_int_equal(space_eval(sp, u, outside, NULL), SPACE_OK);
            assert_true(value_equal(inside[d], outside[d]));
            u[d] = cell[1] + 1e-9;
            if (u[d] >= 1)
                break;
            assert_int_equal(space_eval(sp, u, outside, NULL), SPACE_OK);
            assert_false(value_equal(inside[d], outside[d]));
        }
        if (want[d])
            assert_int_equal(cells, want[d]);
        else
            assert_in_range(cells, 20, 60); /* a tail of 1e-9 has its end somewhere */
    }
    space_free(sp);
}

static void real_cells_are_empty(void **state)
{
    static const struct line lines[] = {
        {"a", "uniform(0, 1)", NULL}, {"b", "randn(0, 1)", NULL}, {NULL, NULL, NULL}};
    struct space *sp = built(lines, NULL);
    double cell[2];
    (void)state;
    for (int d = 0; d < 2; d++) {
        space_cell(sp, d, 0.3, cell);
        assert_true(cell[0] == 0.3 && cell[1] == 0.3);
    }
    space_free(sp);
}

static void points_are_found_again(void **state)
{
    struct space *sp = built(fashion, NULL);
    int n = space_count(sp), dims = space_dims(sp), absent = 0;
    (void)state;
    for (uint32_t trial = 0; trial < 200; trial++) {
        struct value values[PARAMS_MAX], back[PARAMS_MAX];
        double u[PARAMS_MAX], found[PARAMS_MAX];
        space_point(sp, 5, trial, 0, u);
        assert_int_equal(space_eval(sp, u, values, NULL), SPACE_OK);
        space_locate(sp, values, found);
        for (int d = 0; d < dims; d++) {
            bool here = values[space_dim(sp, d)->param].kind != VALUE_ABSENT;
            assert_int_equal(here, !isnan(found[d]));
            absent += !here;
            if (!here)
                found[d] = 0;
        }
        assert_int_equal(space_eval(sp, found, back, NULL), SPACE_OK);
        for (int i = 0; i < n; i++) {
            assert_int_equal(back[i].kind, values[i].kind);
            if (values[i].kind == VALUE_REAL)
                assert_true(fabs(back[i].r - values[i].r) <= 1e-9 * fabs(values[i].r));
            else if (values[i].kind != VALUE_ABSENT)
                assert_true(value_equal(back[i], values[i]));
        }
    }
    assert_true(absent > 50);
    space_free(sp);
}

/* What the space cannot produce: the nearest that it can. */
static void given_values_have_a_nearest_point(void **state)
{
    static const struct line lines[] = {
        {"a", "2 ** randint(2, 9)", NULL}, {"b", "loguniform(1e-4, 1e-1)", NULL},
        {"c", "choice(p, q)", NULL},       {"d", "randint(0, 1000000)", NULL},
        {"e", "choice(10, 20)", NULL},     {NULL, NULL, NULL},
    };
    struct space *sp = built(lines, NULL);
    struct value values[] = {{.kind = VALUE_INT, .i = 60},
                             {.kind = VALUE_REAL, .r = 5},
                             {.kind = VALUE_STR, .s = "other"},
                             {.kind = VALUE_REAL, .r = 3.5e5},
                             {.kind = VALUE_INT, .i = 17}};
    struct value back[5];
    double u[5];
    (void)state;
    space_locate(sp, values, u);
    assert_true(isnan(u[2]));
    u[2] = 0;
    assert_int_equal(space_eval(sp, u, back, NULL), SPACE_OK);
    assert_int_equal(back[0].i, 64);
    assert_true(fabs(u[0] - 4.5 / 7) < 1e-15);
    assert_true(back[1].r > 0.0999);
    assert_int_equal(back[3].i, 350000);
    assert_int_equal(back[4].i, 20);
    space_free(sp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_spoil_only_their_own),
        cmocka_unit_test(a_space_is_looked_at),
        cmocka_unit_test(keys_follow_names),
        cmocka_unit_test(values_come_from_the_point),
        cmocka_unit_test(failures_name_their_place),
        cmocka_unit_test(absence_spreads),
        cmocka_unit_test(given_values_are_completed),
        cmocka_unit_test(constants_are_values),
        cmocka_unit_test(constants_are_absent),
        cmocka_unit_test(grids_are_counted),
        cmocka_unit_test(impossible_spaces_are_found),
        cmocka_unit_test(wrong_parameters_are_refused),
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(what_two_spaces_share),
        cmocka_unit_test(what_could_be),
        cmocka_unit_test(cells_are_what_gives_the_same),
        cmocka_unit_test(real_cells_are_empty),
        cmocka_unit_test(points_are_found_again),
        cmocka_unit_test(given_values_have_a_nearest_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
