/* Calls that add to a log when they are run, alone or by a recording. */
#include "gpu/tape.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct call {
    char what;
    char value; /* not fixed */
};

struct recording {
    size_t n;
    char what[64];
};

static struct str log_;
static int recordings;
static bool refuses;
static struct tape *tape;
static char forgets; /* running this, recordings are forgotten */

static void run(void *arg, const void *call)
{
    const struct call *c = call;

    (void)arg;
    if (c->what == forgets)
        tape_forget(tape);
    str_addf(&log_, "%c%c", c->what, c->value);
}

static void *record(void *arg, const void *calls, size_t n)
{
    const struct call *c = calls;
    struct recording *r = mem_alloc(sizeof(*r));

    (void)arg;
    str_add(&log_, "(record)");
    if (refuses) {
        free(r);
        return NULL;
    }
    recordings++;
    r->n = n;
    for (size_t i = 0; i < n; i++)
        r->what[i] = c[i].what;
    return r;
}

static void launch(void *arg, void *recording, const void *calls, size_t n)
{
    const struct recording *r = recording;
    const struct call *c = calls;

    (void)arg;
    assert_int_equal(n, r->n);
    str_add(&log_, "[");
    for (size_t i = 0; i < n; i++)
        str_addf(&log_, "%c%c", r->what[i], c[i].value);
    str_add(&log_, "]");
}

static void destroy(void *arg, void *recording)
{
    (void)arg;
    recordings--;
    free(recording);
}

static int setup(void **state)
{
    (void)state;
    tape = tape_open(&(struct tape_ops){sizeof(struct call), offsetof(struct call, value),
                                        run, record, launch, destroy, NULL});
    refuses = false;
    forgets = 0;
    str_cut(&log_, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tape_close(tape);
    assert_int_equal(recordings, 0);
    str_free(&log_);
    return 0;
}

static void call(const char *all, char value)
{
    for (; *all; all++)
        tape_call(tape, &(struct call){*all, value});
}

/* What was run since the last time. */
static void assert_ran(const char *want)
{
    assert_string_equal(log_.p, want);
    str_cut(&log_, 0);
}

static void step(const char *all, char value, const char *want)
{
    call(all, value);
    tape_end(tape);
    assert_ran(want);
}

static void test_a_step_is_launched_when_it_comes_again(void **state)
{
    (void)state;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    call("abcdefgh", '2');
    assert_ran(""); /* it waits */
    tape_end(tape);
    assert_ran("(record)[a2b2c2d2e2f2g2h2]");
    step("abcdefgh", '3', "[a3b3c3d3e3f3g3h3]");
    assert_int_equal(recordings, 1);
}

static void test_steps_take_turns(void **state)
{
    (void)state;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    step("abcdefgX", '1', "a1b1c1d1e1f1g1X1");
    step("abcdefghi", '1', "a1b1c1d1e1f1g1h1i1");
    step("abcdefgX", '2', "(record)[a2b2c2d2e2f2g2X2]");
    step("abcdefghi", '2', "(record)[a2b2c2d2e2f2g2h2i2]");
    step("abcdefgh", '2', "(record)[a2b2c2d2e2f2g2h2]");
    step("abcdefghi", '3', "[a3b3c3d3e3f3g3h3i3]");
    step("abcdefgh", '3', "[a3b3c3d3e3f3g3h3]");
}

static void test_what_is_other_is_run(void **state)
{
    (void)state;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    call("abc", '2');
    assert_ran("");
    call("X", '3'); /* not known */
    assert_ran("a2b2c2X3");
    call("defgh", '4');
    assert_ran("d4e4f4g4h4");
    tape_end(tape);
    assert_ran("");
    step("abcd", '5', "a5b5c5d5"); /* it ends early */
    step("abcdefgh", '6', "(record)[a6b6c6d6e6f6g6h6]");
}

static void test_a_flush_runs_what_waits(void **state)
{
    (void)state;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    call("abcd", '2');
    tape_flush(tape);
    assert_ran("a2b2c2d2");
    tape_flush(tape);
    call("efgh", '2');
    tape_end(tape);
    assert_ran("e2f2g2h2"); /* the rest is no step that is known */
    step("abcdefgh", '3', "(record)[a3b3c3d3e3f3g3h3]");
    call("abc", '4');
    tape_close(tape);
    assert_ran("a4b4c4");
    setup(state);
}

static void test_what_cannot_be_recorded_is_run_and_not_tried_again(void **state)
{
    (void)state;
    refuses = true;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    step("abcdefgh", '2', "(record)a2b2c2d2e2f2g2h2");
    refuses = false;
    call("abcd", '3');
    assert_ran("a3b3c3d3"); /* it does not even wait */
    call("efgh", '3');
    tape_end(tape);
    assert_ran("e3f3g3h3");
    step("abcdefgh", '4', "a4b4c4d4e4f4g4h4");
    step("abcdefgX", '1', "a1b1c1d1e1f1g1X1");
    step("abcdefgX", '2', "(record)[a2b2c2d2e2f2g2X2]");
}

static void test_recordings_are_forgotten_and_made_anew(void **state)
{
    (void)state;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    step("abcdefgh", '2', "(record)[a2b2c2d2e2f2g2h2]");
    tape_forget(tape);
    assert_int_equal(recordings, 0);
    step("abcdefgh", '3', "a3b3c3d3e3f3g3h3"); /* it may need what was given up */
    step("abcdefgh", '4', "(record)[a4b4c4d4e4f4g4h4]");
    forgets = 'Y';
    call("abcY", '5'); /* while it runs what waited */
    assert_int_equal(recordings, 0);
    tape_flush(tape);
    assert_ran("a5b5c5Y5");
    step("abcdefgh", '6', "a6b6c6d6e6f6g6h6");
    step("abcdefgh", '7', "(record)[a7b7c7d7e7f7g7h7]");
}

static void test_a_step_that_forgets_is_known_as_a_whole(void **state)
{
    (void)state;
    forgets = 'd';
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    forgets = 0;
    step("abcdefgh", '2', "(record)[a2b2c2d2e2f2g2h2]");
}

static void test_what_could_not_be_recorded_is_tried_anew_when_all_is_forgotten(
    void **state)
{
    (void)state;
    refuses = true;
    step("abcdefgh", '1', "a1b1c1d1e1f1g1h1");
    step("abcdefgh", '2', "(record)a2b2c2d2e2f2g2h2");
    refuses = false;
    step("abcdefgh", '3', "a3b3c3d3e3f3g3h3");
    tape_forget(tape);
    step("abcdefgh", '4', "a4b4c4d4e4f4g4h4");
    step("abcdefgh", '5', "(record)[a5b5c5d5e5f5g5h5]");
}

static void test_few_calls_are_no_step(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        step("abcdefg", '1', "a1b1c1d1e1f1g1");
    step("", '1', "");
}

static void test_many_calls_are_no_step(void **state)
{
    (void)state;
    enum { MANY = 10000 };

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            call("a", '1');
        tape_end(tape);
        assert_int_equal(log_.len, 2 * MANY);
        str_cut(&log_, 0);
    }
}

/* Only so many steps are known: those that were seen last. */
static void test_the_oldest_step_makes_room(void **state)
{
    (void)state;
    char all[] = "abcdefg?";

    for (char last = 'A'; last < 'A' + 17; last++) {
        step("abcdefgh", '1',
             last == 'A'   ? "a1b1c1d1e1f1g1h1"
             : last == 'B' ? "(record)[a1b1c1d1e1f1g1h1]"
                           : "[a1b1c1d1e1f1g1h1]");
        all[7] = last;
        call(all, '1');
        tape_end(tape);
        str_cut(&log_, 0);
    }
    all[7] = 'A'; /* gone */
    step(all, '2', "a2b2c2d2e2f2g2A2");
    all[7] = 'Q'; /* still there */
    step(all, '2', "(record)[a2b2c2d2e2f2g2Q2]");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_step_is_launched_when_it_comes_again),
        TEST(test_steps_take_turns),
        TEST(test_what_is_other_is_run),
        TEST(test_a_flush_runs_what_waits),
        TEST(test_what_cannot_be_recorded_is_run_and_not_tried_again),
        TEST(test_recordings_are_forgotten_and_made_anew),
        TEST(test_a_step_that_forgets_is_known_as_a_whole),
        TEST(test_what_could_not_be_recorded_is_tried_anew_when_all_is_forgotten),
        TEST(test_few_calls_are_no_step),
        TEST(test_many_calls_are_no_step),
        TEST(test_the_oldest_step_makes_room),
    };

    tape_close(NULL);
    return cmocka_run_group_tests_name("tape", tests, NULL, NULL);
}
