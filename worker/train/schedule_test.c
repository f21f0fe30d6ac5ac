/* Schedules at their known points, and step by step against the formulas that PyTorch's
 * documentation has, computed in another way. */
#include "worker/train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void assert_share(const struct schedule *s, int64_t step, double want)
{
    double got = schedule_share(s, step);

    if (!(fabs(got - want) < 1e-12))
        fail_msg("%s, step %lld: %.17g is not %.17g", s->kind, (long long)step, got,
                 want);
}

static void test_what_makes_no_schedule_is_named(void **state)
{
    (void)state;
    static const struct {
        struct schedule s;
        const char *text;
    } vectors[] = {
        {{.kind = "cosin", .steps = 10}, "unknown learning-rate schedule 'cosin'"},
        {{.kind = "cosine"}, "schedule cosine: the training's length is not known"},
        {{.kind = "onecycle"}, "schedule onecycle: the training's length is not known"},
        {{.kind = "cosine", .steps = 10, .warmup = 10},
         "a warm-up of 10 steps leaves nothing of a training of 10"},
        {{.kind = "onecycle", .steps = 10, .warmup = 11},
         "a warm-up of 11 steps leaves nothing of a training of 10"},
        {{.kind = "step", .factor = 0.1}, "it is not known when to drop"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct err e = {0};
        assert_int_equal(schedule_check(&vectors[i].s, &e), ERR_INVAL);
        if (!strstr(e.text, vectors[i].text))
            fail_msg("'%s' is not in '%s'", vectors[i].text, e.text);
    }
}

static void test_who_has_a_length(void **state)
{
    (void)state;
    assert_true(schedule_has_length("cosine") && schedule_has_length("onecycle"));
    assert_false(schedule_has_length("constant") || schedule_has_length("step"));
}

static void test_known_points(void **state)
{
    (void)state;
    static const struct schedule constant = {.kind = "constant"}, none = {0},
                                 cosine = {.kind = "cosine", .steps = 100, .final = 0.2},
                                 step = {.kind = "step", .every = 30, .factor = 0.1},
                                 cycle = {.kind = "onecycle", .steps = 100};
    static const struct {
        const struct schedule *s;
        int64_t step;
        double share;
    } vectors[] = {
        {&constant, 0, 1},   {&constant, 1000000, 1}, {&none, 0, 1},
        {&none, 7, 1},       {&cosine, 0, 1},         {&cosine, 50, 0.6},
        {&cosine, 100, 0.2}, {&cosine, 1000, 0.2},    {&step, 0, 1},
        {&step, 29, 1},      {&step, 30, 0.1},        {&step, 59, 0.1},
        {&step, 60, 0.01},   {&step, 90, 0.001},      {&cycle, 0, 0.04},
        {&cycle, 29, 1},     {&cycle, 64, 0.5},       {&cycle, 99, 0},
        {&cycle, 1000, 0},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        assert_int_equal(schedule_check(vectors[i].s, NULL), 0);
        assert_share(vectors[i].s, vectors[i].step, vectors[i].share);
    }
    /* To the bit: a training without a schedule is what it was before there were any. */
    assert_true(schedule_share(&constant, 5) == 1 && schedule_share(&none, 5) == 1);
}

/* From 1/(W+1) up in equal parts; then what the kind says, which for cosine begins there,
 * and for step has begun already. */
static void test_warm_up(void **state)
{
    (void)state;
    static const struct schedule constant = {.kind = "constant", .warmup = 4},
                                 cosine = {.kind = "cosine", .steps = 24, .warmup = 4},
                                 step = {.kind = "step",
                                         .every = 2,
                                         .factor = 0.5,
                                         .warmup = 4};

    for (int t = 0; t < 4; t++) {
        double ramp = 0.2 * (t + 1);
        assert_share(&constant, t, ramp);
        assert_share(&cosine, t, ramp);
        assert_share(&step, t, t < 2 ? ramp : ramp / 2);
    }
    assert_share(&constant, 4, 1);
    assert_share(&cosine, 4, 1);
    assert_share(&cosine, 14, 0.5);
    assert_share(&cosine, 24, 0);
    assert_share(&step, 4, 0.25);
}

/* CosineAnnealingLR by its recurrence, as PyTorch steps it. */
static void test_cosine_by_recurrence(void **state)
{
    (void)state;
    static const struct schedule s = {.kind = "cosine", .steps = 37, .final = 0.05};
    double share = 1;

    for (int t = 0; t < 37; t++) {
        assert_share(&s, t, share);
        share =
            (1 + cos(M_PI * (t + 1) / 37)) / (1 + cos(M_PI * t / 37)) * (share - 0.05) +
            0.05;
    }
}

/* A rise of a share of the whole that is no whole number of steps, a given one, and one
 * of a single step. */
static void test_onecycle_rises_and_falls(void **state)
{
    (void)state;
    static const struct {
        int64_t steps, warmup;
        double top; /* the step at which it is highest */
    } vectors[] = {{37, 0, 10.1}, {37, 20, 19}, {37, 1, 0}, {2, 0, -0.4}};

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct schedule s = {.kind = "onecycle",
                             .steps = vectors[i].steps,
                             .warmup = vectors[i].warmup,
                             .final = 0.01};
        double top = vectors[i].top, end = (double)s.steps - 1;
        assert_int_equal(schedule_check(&s, NULL), 0);
        for (int t = 0; t < s.steps; t++) {
            double up = t < top ? sin(M_PI / 2 * t / top) : 1;
            double down = t < top ? 0 : sin(M_PI / 2 * (t - top) / (end - top));
            double want = t < top ? 0.04 + 0.96 * up * up : 1 - 0.99 * down * down;
            assert_share(&s, t, want);
        }
        assert_share(&s, s.steps - 1, 0.01);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_makes_no_schedule_is_named),
        cmocka_unit_test(test_who_has_a_length),
        cmocka_unit_test(test_known_points),
        cmocka_unit_test(test_warm_up),
        cmocka_unit_test(test_cosine_by_recurrence),
        cmocka_unit_test(test_onecycle_rises_and_falls),
    };

    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
