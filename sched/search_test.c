#include "sched/search.h"

#include "base/rng.h"
#include "sched/space_made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MOST     8

/* A draw with memory for any small space. */
struct drawing {
    struct draw d;
    double u[MOST];
    struct value values[MOST];
    struct err e;
};

static void ready(struct drawing *g, int64_t next)
{
    *g = (struct drawing){.d = {.next = next}};
    g->d.u = g->u;
    g->d.values = g->values;
}

static int draw(const struct space *sp, enum search_method method, uint32_t trial,
                int64_t drawn, int64_t repeats, int64_t next, struct drawing *g)
{
    ready(g, next);
    return search_draw(sp, method, 42, trial, drawn, repeats, &g->d, &g->e);
}

static const struct line plain[] = {
    {"a", "uniform(0, 1)", NULL},
    {"b", "randint(0, 1000)", NULL},
    {"c", "choice(p, q, r)", NULL},
    {NULL, NULL, NULL},
};

static void methods_have_names(void **state)
{
    (void)state;
    assert_int_equal(search_method_of("grids"), -1);
    assert_int_equal(search_method_of(""), -1);
    for (int i = 0; search_names[i]; i++)
        assert_int_equal(search_method_of(search_names[i]), i);
    assert_int_equal(search_method_of("sobol"), SEARCH_SOBOL);
}

static void gp_is_best_where_it_can_be(void **state)
{
    struct space *sp = space_made(plain, NULL);
    (void)state;
    assert_int_equal(search_best(sp, 1, true), SEARCH_GP);
    assert_int_equal(search_best(sp, SEARCH_GP_SLOTS, true), SEARCH_GP);
    assert_int_equal(search_best(sp, SEARCH_GP_SLOTS + 1, true), SEARCH_TPE);
    assert_int_equal(search_best(sp, 1, false), SEARCH_TPE);
    space_free(sp);
}

static void nothing_satisfies(void **state)
{
    static const enum search_method methods[] = {SEARCH_GRID, SEARCH_RANDOM,
                                                 SEARCH_SOBOL};
    struct space *sp = space_made(plain, "a > 2");
    (void)state;
    for (size_t m = 0; m < COUNT(methods); m++) {
        struct drawing g;
        assert_int_equal(draw(sp, methods[m], 0, 0, 1, 0, &g), ERR_RANGE);
        assert_string_equal(g.e.text,
                            "none of 10001 draws satisfies the space; the last: "
                            "constraint 'a > 2' is false");
    }
    space_free(sp);
}

static void a_sequence_ends(void **state)
{
    static const struct line lines[] = {{"a", "grid(1, 2, 3)", NULL}, {NULL, NULL, NULL}};
    struct space *sp = space_made(lines, NULL);
    struct drawing g;
    (void)state;
    assert_int_equal(draw(sp, SEARCH_GRID, 0, 3, 1, 0, &g), ERR_RANGE);
    assert_string_equal(g.e.text, "the grid has no point 3");
    assert_int_equal(draw(sp, SEARCH_SOBOL, 0, 0, 1, UINT32_MAX, &g), ERR_RANGE);
    assert_string_equal(g.e.text, "the sobol sequence is used up");
    space_free(sp);
}

static void sobol_has_its_limit(void **state)
{
    enum { MANY = SOBOL_DIMS + 1 };
    char(*text)[16] = calloc(MANY, sizeof(*text));
    const char **names = calloc(MANY, sizeof(*names));
    struct space *sp = space_new();
    struct draw d = {.next = 0};
    struct err e;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof(text[i]), "p%d", i);
        names[i] = text[i];
    }
    space_declare(sp, names, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(space_define(sp, i, "uniform(0, 1)", NULL, NULL, NULL), 0);
    assert_int_equal(search_draw(sp, SEARCH_SOBOL, 1, 0, 0, 1, &d, &e), ERR_RANGE);
    assert_string_equal(e.text, "sobol has 21201 dimensions, and the space 21202");
    space_free(sp);
    free(names);
    free(text);
}

static void random_is_a_function_of_seed_and_trial(void **state)
{
    struct space *sp = space_made(plain, NULL);
    struct drawing g, h;
    (void)state;
    for (uint32_t trial = 0; trial < 50; trial++) {
        assert_int_equal(draw(sp, SEARCH_RANDOM, trial, 0, 1, 0, &g), 0);
        assert_int_equal(draw(sp, SEARCH_RANDOM, trial, 99, 7, 5, &h), 0);
        assert_int_equal(g.d.tries, 0);
        assert_int_equal(h.d.next, 0);
        for (int d = 0; d < 3; d++) {
            uint32_t key = space_dim(sp, d)->key;
            assert_true(g.u[d] == h.u[d]);
            assert_true(g.u[d] == rng_unit(42, RNG_SEARCH, trial, key, 0));
            assert_true(value_equal(g.values[d], h.values[d]));
        }
    }
    space_free(sp);
}

static void redraws_are_counted(void **state)
{
    struct space *sp = space_made(plain, "a < 0.1");
    uint32_t tries = 0;
    struct drawing g;
    (void)state;
    for (uint32_t trial = 0; trial < 200; trial++) {
        assert_int_equal(draw(sp, SEARCH_RANDOM, trial, 0, 1, 0, &g), 0);
        assert_true(g.values[0].r < 0.1);
        assert_true(g.u[0] ==
                    rng_unit(42, RNG_SEARCH, trial, space_dim(sp, 0)->key, g.d.tries));
        tries += g.d.tries;
    }
    assert_in_range(tries, 1400, 2200); /* 9 a trial are expected */
    space_free(sp);
}

static void sobol_goes_on_where_it_was(void **state)
{
    struct space *sp = space_made(plain, "a < 0.5");
    int64_t next = 0;
    struct drawing g;
    (void)state;
    for (uint32_t trial = 0; trial < 128; trial++) {
        assert_int_equal(draw(sp, SEARCH_SOBOL, trial, 0, 1, next, &g), 0);
        assert_int_equal(g.d.next, next + g.d.tries + 1);
        for (uint32_t d = 0; d < 3; d++)
            assert_true(g.u[d] == sobol_unit(42, d, (uint32_t)g.d.next - 1));
        next = g.d.next;
    }
    /* Half of every block of points lies below 0.5. */
    assert_in_range(next, 253, 256);
    space_free(sp);
}

/* The rows of a grid search as text, "-" where a point is skipped. */
static char *grid_rows(const struct space *sp, int64_t repeats)
{
    struct str rows = STR_INIT;
    int64_t points = space_grid_points(sp);
    for (int64_t i = 0; i < points * repeats; i++) {
        struct drawing g;
        if (draw(sp, SEARCH_GRID, (uint32_t)i, i, repeats, 0, &g) != 0)
            str_addc(&rows, '-');
        for (int p = 0; g.e.code == 0 && p < space_count(sp); p++) {
            value_text(g.values[p], &rows);
            str_addc(&rows, p + 1 < space_count(sp) ? ',' : ' ');
        }
    }
    return str_take(&rows);
}

static void grids_are_products(void **state)
{
    static const struct {
        struct line lines[5];
        const char *constraint;
        int64_t repeats;
        const char *rows;
    } table[] = {
        {{{"a", "grid(1, 2)", NULL}, {"b", "grid(x, y, z)", NULL}, {NULL, NULL, NULL}},
         NULL,
         1,
         "1,x 1,y 1,z 2,x 2,y 2,z "},
        {{{"a", "grid(1, 2) * 10", NULL}, {NULL, NULL, NULL}}, NULL, 2, "10 10 20 20 "},
        {{{"a", "grid(1, 2, 3)", NULL}, {"b", "grid(1, 2)", NULL}, {NULL, NULL, NULL}},
         "a != b",
         1,
         "-1,2 2,1 -3,1 3,2 "},
        {{{"o", "grid(sgd, adam)", NULL},
          {"m", "grid(0.5, 0.9)", "o == sgd"},
          {"k", "grid(1, 2)", NULL},
          {NULL, NULL, NULL}},
         NULL,
         1,
         "sgd,0.5,1 sgd,0.5,2 sgd,0.9,1 sgd,0.9,2 adam,,1 adam,,2 --"},
        {{{"a", "grid(0, 2)", NULL},
          {"b", "6 // a", NULL},
          {"c", "uniform(0, 1) < 2", NULL},
          {NULL, NULL, NULL}},
         NULL,
         1,
         "-2,3,true "},
        {{{"x", "uniform(0, 1) < 2", NULL},
          {"g", "grid(1, 2)", NULL},
          {"k", "grid(3, 4)", "x and g == 1"},
          {NULL, NULL, NULL}},
         NULL,
         1,
         "true,1,3 true,1,4 true,2, -"},
        {{{"c", "3", NULL}, {NULL, NULL, NULL}}, NULL, 2, "3 3 "},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        struct space *sp = space_made(table[t].lines, table[t].constraint);
        char *rows = grid_rows(sp, table[t].repeats);
        assert_string_equal(rows, table[t].rows);
        free(rows);
        space_free(sp);
    }
}

/* What the grid alone rules out is found without a redraw, and said so. */
static void grid_points_are_ruled_out_at_once(void **state)
{
    static const struct line lines[] = {
        {"o", "grid(sgd, adam)", NULL},
        {"m", "grid(0.5, 0.9)", "o == sgd"},
        {"lr", "uniform(0, 1)", NULL},
        {NULL, NULL, NULL},
    };
    struct space *sp = space_made(lines, "m < 0.8");
    struct drawing g;
    (void)state;
    assert_int_equal(draw(sp, SEARCH_GRID, 0, 1, 1, 0, &g), ERR_RANGE);
    assert_string_equal(g.e.text, "constraint 'm < 0.8' is false");
    assert_int_equal(draw(sp, SEARCH_GRID, 0, 3, 1, 0, &g), ERR_RANGE);
    assert_string_equal(g.e.text, "the grid point repeats another: 'm' is absent");
    assert_int_equal(draw(sp, SEARCH_GRID, 5, 2, 1, 0, &g), 0);
    assert_true(g.u[2] == rng_unit(42, RNG_SEARCH, 5, space_dim(sp, 2)->key, 0));
    space_free(sp);
}

/* Where a draw decides whether a grid parameter is there, its first alternative stands
 * for both, and the others are drawn until it is. */
static void grid_points_may_hang_on_draws(void **state)
{
    static const struct line lines[] = {
        {"on", "choice(false, true)", NULL},
        {"k", "grid(1, 2)", "on"},
        {NULL, NULL, NULL},
    };
    struct space *sp = space_made(lines, NULL);
    int absent = 0;
    (void)state;
    for (uint32_t trial = 0; trial < 100; trial++) {
        struct drawing g;
        assert_int_equal(draw(sp, SEARCH_GRID, trial, trial % 2, 1, 0, &g), 0);
        absent += g.values[1].kind == VALUE_ABSENT;
        if (trial % 2)
            assert_int_equal(g.values[1].i, 2);
    }
    assert_in_range(absent, 10, 40);
    space_free(sp);
}

/* Searched at random, a grid is a choice. */
static void grids_are_drawn_by_the_others(void **state)
{
    static const struct line lines[] = {
        {"a", "grid(1, 2, 3)", NULL},
        {"b", "grid(1, 2)", "a == 1"},
        {NULL, NULL, NULL},
    };
    static const enum search_method methods[] = {SEARCH_RANDOM, SEARCH_SOBOL};
    struct space *sp = space_made(lines, NULL);
    (void)state;
    for (size_t m = 0; m < COUNT(methods); m++) {
        int count[4] = {0}, present = 0;
        for (uint32_t trial = 0; trial < 600; trial++) {
            struct drawing g;
            assert_int_equal(draw(sp, methods[m], trial, 0, 1, trial, &g), 0);
            count[g.values[0].i]++;
            present += g.values[1].kind != VALUE_ABSENT;
        }
        for (int a = 1; a <= 3; a++)
            assert_in_range(count[a], 150, 250);
        assert_int_equal(present, count[1]);
    }
    space_free(sp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_have_names),
        cmocka_unit_test(gp_is_best_where_it_can_be),
        cmocka_unit_test(nothing_satisfies),
        cmocka_unit_test(a_sequence_ends),
        cmocka_unit_test(sobol_has_its_limit),
        cmocka_unit_test(random_is_a_function_of_seed_and_trial),
        cmocka_unit_test(redraws_are_counted),
        cmocka_unit_test(sobol_goes_on_where_it_was),
        cmocka_unit_test(grids_are_products),
        cmocka_unit_test(grid_points_are_ruled_out_at_once),
        cmocka_unit_test(grid_points_may_hang_on_draws),
        cmocka_unit_test(grids_are_drawn_by_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
