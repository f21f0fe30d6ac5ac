#include "launcher/forecast.h"
#include "launcher/sweepfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sweepfile *file(const char *schedule, int trials)
{
    struct sweepfile *f = NULL;
    struct str text = STR_INIT, errors = STR_INIT;
    str_addf(&text,
             "command: ./train\nmetric: loss\nspace: {lr: 'uniform(0, 1)'}\n"
             "search: {trials: %d}\nschedule: {%s}\n",
             trials, schedule);
    sweepfile_parse("f", text.p, text.len, &f, &errors);
    assert_string_equal(errors.p, "");
    str_free(&text);
    str_free(&errors);
    return f;
}

/* By hand, with one slot: promote with eta 3 lets exactly a third of a third go on when
 * the best come first; when each is better than all before, all but the first two of a
 * rung. With stop, the first at a rung goes on in any case. */
static void test_by_hand(void **state)
{
    static const struct {
        const char *schedule;
        int trials;
        double best_steps, worst_steps, best_complete, worst_complete;
    } cases[] = {
        {"method: none, max_t: 7", 5, 35, 35, 5, 5},
        {"mode: promote, max_t: 9", 27, 27 + 9 * 2 + 3 * 6, 27 + 25 * 2 + 23 * 6, 3, 23},
        {"mode: stop, max_t: 9", 27, 26 + 9, 27 * 9, 1, 27},
        {"mode: promote, max_t: 1", 4, 4, 4, 4, 4},
        {"mode: promote, max_t: 9, finalists: 2", 2, 2 * 9, 2 * 9, 2, 2},
        {"mode: promote, max_t: 9, finalists: 0", 2, 2, 2, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sweepfile *f = file(cases[i].schedule, cases[i].trials);
        struct forecast fc;
        forecast_make(&fc, &f->spec, 1);
        const struct forecast_level *top = &fc.levels[fc.n - 1];
        assert_int_equal(top->rung, -1);
        assert_true(fc.steps[FORECAST_BEST] == cases[i].best_steps);
        assert_true(fc.steps[FORECAST_WORST] == cases[i].worst_steps);
        assert_true(fc.time[FORECAST_WORST] == cases[i].worst_steps); /* one slot */
        assert_true(top->reached[FORECAST_BEST] == cases[i].best_complete);
        assert_true(top->reached[FORECAST_WORST] == cases[i].worst_complete);
        assert_true(fc.steps[FORECAST_EXPECTED] >= cases[i].best_steps - 1e-9);
        assert_true(fc.steps[FORECAST_EXPECTED] <= cases[i].worst_steps + 1e-9);
        forecast_free(&fc);
        sweepfile_free(f);
    }
}

/* Slots share the work; a restarted trial trains again what it had; millions of trials
 * are told from thousands. */
static void test_slots(void **state)
{
    struct sweepfile *f = file("max_t: 9", 64), *restart = file("max_t: 9", 64),
                     *many = file("max_t: 9", 1000000);
    struct forecast one, four, again, million;
    (void)state;
    forecast_make(&one, &f->spec, 1);
    forecast_make(&four, &f->spec, 4);
    assert_true(four.time[FORECAST_EXPECTED] < one.time[FORECAST_EXPECTED] / 3);
    assert_true(four.time[FORECAST_EXPECTED] >= four.steps[FORECAST_EXPECTED] / 4);
    restart->spec.restart = true;
    restart->spec.in_place = false;
    forecast_make(&again, &restart->spec, 1);
    assert_true(again.steps[FORECAST_BEST] == 64 + 21 * 3 + 7 * 9);
    forecast_make(&million, &many->spec, 50);
    double work = million.steps[FORECAST_EXPECTED] / 50;
    assert_true(million.time[FORECAST_EXPECTED] > work * 0.999);
    assert_true(million.time[FORECAST_EXPECTED] < work * 1.2);
    forecast_free(&million);
    forecast_make(&million, &many->spec, 100000);
    assert_true(million.levels[0].reached[FORECAST_EXPECTED] == 1000000);
    double share = million.levels[1].reached[FORECAST_EXPECTED] / 1000000;
    assert_true(share > 0.33 && share < 0.36);
    forecast_free(&one);
    forecast_free(&four);
    forecast_free(&again);
    forecast_free(&million);
    sweepfile_free(f);
    sweepfile_free(restart);
    sweepfile_free(many);
}

/* Every trial is in some bracket, and starts at that bracket's first level. */
static void test_brackets(void **state)
{
    struct sweepfile *f = file("max_t: 27, brackets: 4", 200);
    struct forecast fc;
    double trials = 0;
    (void)state;
    forecast_make(&fc, &f->spec, 2);
    assert_int_equal(fc.n, 4 + 3 + 2 + 1);
    for (int i = 0; i < fc.n; i++)
        if (i == 0 || fc.levels[i].bracket != fc.levels[i - 1].bracket)
            trials += fc.levels[i].reached[FORECAST_BEST];
    assert_true(trials == 200);
    assert_int_equal(fc.levels[4].milestone, 3);
    forecast_free(&fc);
    sweepfile_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_brackets),
    };
    return cmocka_run_group_tests_name("launcher/forecast", tests, NULL, NULL);
}
