/* The expression language: any text is a space or a list of mistakes. What a space draws
 * is drawn alike twice, satisfies its constraints also when these are asked about the
 * values alone, and comes back from its JSON.
 *
 * A line of the input is `NAME=EXPRESSION`, `NAME=EXPRESSION?WHEN` or `!CONSTRAINT`. */
#include "base/vec.h"
#include "sched/expr.h"
#include "sched/search.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS 12
#define POINTS     16

struct text {
    char *name, *expr, *when;
};

struct input {
    VEC(struct text) parameters;
    VEC(char *) constraints;
};

struct told {
    size_t len; /* of the text that mistakes are in */
    int n;
};

static void on_mistake(void *ctx, size_t offset, const char *text)
{
    struct told *told = ctx;

    FUZZ_CHECK(offset <= told->len && *text && !strchr(text, '\n'));
    told->n++;
}

static bool is_name(const char *name)
{
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] == '\0' && *name;
}

static void read_parameter(struct input *in, struct slice line)
{
    char *text = fuzz_text(line), *equals = strchr(text, '='), *when;

    if (equals) {
        struct text t = {.name = mem_strndup(text, (size_t)(equals - text))};

        when = strchr(equals, '?');
        if (when)
            t.when = mem_strdup(when + 1);
        t.expr = mem_strndup(equals + 1,
                             when ? (size_t)(when - equals - 1) : strlen(equals + 1));
        for (size_t i = 0; i < in->parameters.n; i++)
            if (strcmp(in->parameters.v[i].name, t.name) == 0)
                *t.name = '\0';
        if (is_name(t.name) && in->parameters.n < PARAMETERS) {
            vec_push(&in->parameters, t);
        } else {
            free(t.name);
            free(t.expr);
            free(t.when);
        }
    }
    free(text);
}

static void read_input(struct input *in, struct slice rest)
{
    struct slice line;

    while (fuzz_line(&rest, &line)) {
        if (fuzz_word(&line, "!"))
            vec_push(&in->constraints, fuzz_text(line));
        else
            read_parameter(in, line);
    }
}

static void input_free(struct input *in)
{
    for (size_t i = 0; i < in->parameters.n; i++) {
        free(in->parameters.v[i].name);
        free(in->parameters.v[i].expr);
        free(in->parameters.v[i].when);
    }
    for (size_t i = 0; i < in->constraints.n; i++)
        free(in->constraints.v[i]);
    vec_free(&in->parameters);
    vec_free(&in->constraints);
}

static struct space *declare(const struct input *in)
{
    const char *names[PARAMETERS] = {NULL};
    struct space *sp = space_new();

    for (size_t i = 0; i < in->parameters.n; i++)
        names[i] = in->parameters.v[i].name;
    space_declare(sp, names, in->parameters.n);
    return sp;
}

/* The space, and whether there is a mistake in it. */
static struct space *build(const struct input *in, bool *wrong)
{
    struct space *sp = declare(in);

    *wrong = false;
    for (size_t i = 0; i < in->parameters.n; i++) {
        const struct text *t = &in->parameters.v[i];
        struct told expr = {.len = strlen(t->expr)};
        struct told when = {.len = t->when ? strlen(t->when) : 0};
        int rc = space_define(sp, (int)i, t->expr, t->when,
                              &(struct space_errors){on_mistake, &expr},
                              &(struct space_errors){on_mistake, &when});

        FUZZ_CHECK(rc == 0 ? expr.n + when.n == 0 : rc == ERR_SYNTAX);
        *wrong |= rc != 0;
    }
    for (size_t i = 0; i < in->constraints.n; i++) {
        struct told told = {.len = strlen(in->constraints.v[i])};
        int rc = space_constrain(sp, in->constraints.v[i],
                                 &(struct space_errors){on_mistake, &told});

        FUZZ_CHECK(rc == 0 ? told.n == 0 : rc == ERR_SYNTAX);
        *wrong |= rc != 0;
    }
    return sp;
}

/* A space of nothing but these values, with the same constraints, is content too. */
static void check_constraints(const struct input *in, const struct value values[])
{
    struct space *sp = declare(in);
    struct value again[PARAMETERS];
    struct told told = {.len = SIZE_MAX};
    bool all = true;
    struct err e;

    for (size_t i = 0; i < in->parameters.n; i++) {
        all &= values[i].kind != VALUE_ABSENT;
        if (all)
            FUZZ_CHECK(space_define_constant(sp, (int)i, values[i], NULL, NULL) == 0);
    }
    for (size_t i = 0; all && i < in->constraints.n; i++)
        all = space_constrain(sp, in->constraints.v[i],
                              &(struct space_errors){on_mistake, &told}) == 0;
    if (all)
        FUZZ_CHECK(space_eval(sp, NULL, again, &e) == SPACE_OK);
    space_free(sp);
}

static void check_json(const struct space *sp, const struct value values[])
{
    struct value back[PARAMETERS];
    struct str text = STR_INIT, again = STR_INIT;
    int n = space_count(sp);
    struct json j;

    space_json(sp, values, &text);
    json_begin(&j, text.p, text.len);
    FUZZ_CHECK(space_scan(sp, &j, back, NULL) == 0);
    for (int i = 0; i < n; i++)
        FUZZ_CHECK(values[i].kind == VALUE_ABSENT ? back[i].kind == VALUE_ABSENT
                                                  : value_equal(values[i], back[i]));
    space_json(sp, back, &again);
    FUZZ_SAME(&text, &again);
    values_free(back, n);
    str_free(&text);
    str_free(&again);
}

static void check_value(const struct space *sp, int i, struct value v)
{
    enum value_kind type = space_type(sp, i);

    if (v.kind == VALUE_ABSENT) {
        FUZZ_CHECK(space_conditional(sp, i));
        return;
    }
    if (v.kind == VALUE_REAL)
        FUZZ_CHECK(isfinite(v.r));
    FUZZ_CHECK(v.kind == type || type == VALUE_STR ||
               (type == VALUE_REAL && v.kind == VALUE_INT) ||
               (v.kind == VALUE_BOOL && type != VALUE_STR));
}

static void draw(const struct input *in, const struct space *sp, uint32_t k)
{
    struct value values[PARAMETERS], again[PARAMETERS];
    double u[PARAMETERS];
    struct str once = STR_INIT, twice = STR_INIT;
    struct err e = {0};
    enum space_verdict verdict;

    FUZZ_CHECK(space_dims(sp) <= PARAMETERS);
    space_point(sp, 7, k, 0, u);
    verdict = space_eval(sp, u, values, &e);
    FUZZ_CHECK(space_eval(sp, u, again, NULL) == verdict);
    if (verdict != SPACE_OK) {
        FUZZ_CHECK(*e.text);
        return;
    }
    space_json(sp, values, &once);
    space_json(sp, again, &twice);
    FUZZ_SAME(&once, &twice);
    for (int i = 0; i < space_count(sp); i++)
        check_value(sp, i, values[i]);
    check_json(sp, values);
    check_constraints(in, values);
    space_repeats(sp, u, values);
    FUZZ_CHECK(space_complete(sp, values, u, again, &e) == SPACE_OK);
    str_cut(&twice, 0);
    space_json(sp, again, &twice);
    FUZZ_SAME(&once, &twice);
    str_free(&once);
    str_free(&twice);
}

/* As all of a sweep file is: what is not is replaced in JSON. */
static bool is_utf8(struct slice text)
{
    struct str quoted = STR_INIT, same = STR_INIT;
    bool yes;

    json_put_strn(&quoted, text);
    json_unescape((struct slice){quoted.p + 1, quoted.len - 2}, &same);
    yes = same.len == text.len && memcmp(same.p, text.p, text.len) == 0;
    str_free(&quoted);
    str_free(&same);
    return yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {0};
    struct space *sp;
    bool wrong;

    if (!is_utf8((struct slice){(const char *)data, n}))
        return 0;
    read_input(&in, (struct slice){(const char *)data, n});
    sp = build(&in, &wrong);
    if (!wrong && in.parameters.n > 0) {
        FUZZ_CHECK(space_grid_points(sp) != 0);
        for (uint32_t k = 0; k < POINTS; k++)
            draw(&in, sp, k);
    }
    space_free(sp);
    input_free(&in);
    return 0;
}
