/* The screen is drawn of sweeps that are rehearsed event by event, and compared whole. */
#include "launcher/view.h"

#include "store/rehearsal.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct scene {
    struct sweepfile file;
    struct sweep *sw;
    struct costs *costs;
    struct orders *orders;
    struct view v;
    struct str out;
};

static void emit(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct scene *s = ctx;

    costs_event(s->costs, ev, v);
    orders_event(s->orders, ev, v);
}

/* `trials` trials on 4 slots, after `events` events (-1: none; 0: all, and it is
 * over); served for 100 s. */
static void scene_set(struct scene *s, int64_t trials, int64_t events, bool stop_mode,
                      double trouble)
{
    static char name[] = "fashion";

    *s = (struct scene){.out = STR_INIT};
    rehearsal_spec(&s->file.spec, trials, stop_mode);
    s->file.name = name;
    s->file.resources.nodes = s->file.resources.tasks = 1;
    s->file.resources.cpus = 4;
    s->sw = sweep_new(&s->file.spec);
    s->costs = costs_new(s->sw, &s->file);
    s->orders = orders_new(s->sw);
    struct rehearsal r = {.sw = s->sw,
                          .seed = 1,
                          .slots = 4,
                          .metrics = 2,
                          .trouble = trouble,
                          .clock = 1e9,
                          .emit = emit,
                          .ctx = s,
                          .limit = events};
    if (events >= 0)
        rehearse(&r);
    if (events == 0)
        assert_int_equal(sweep_apply(s->sw,
                                     &(struct event){.kind = EVENT_FINISH, .trial = -1},
                                     NULL, NULL),
                         0);
    s->v = (struct view){.sw = s->sw,
                         .costs = s->costs,
                         .orders = s->orders,
                         .file = &s->file,
                         .dir = "/sweeps/fashion",
                         .state = events ? "running" : "finished",
                         .now = r.clock,
                         .uptime = 100,
                         .slots = 4,
                         .busy = sweep_totals(s->sw)->open,
                         .epoch = 1};
}

static void scene_clear(struct scene *s)
{
    str_free(&s->out);
    costs_free(s->costs);
    orders_free(s->orders);
    sweep_free(s->sw);
    spec_clear(&s->file.spec);
}

static void draws(struct scene *s, int width, const char *want)
{
    str_cut(&s->out, 0);
    view_screen(&s->v, width, false, &s->out);
    assert_string_equal(s->out.p, want);
}

/* ---- whole screens ---- */

static void test_nothing_yet(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, -1, false, 0);
    s.v.slots = 0;
    s.v.note = "waiting for slots";
    draws(&s, 80,
          "fashion  running  1m 40s\n"
          "\n"
          "rung 0   step  1  .......................   0 of 45\n"
          "rung 1   step  3  .......................   0 of 35\n"
          "rung 2   step  9  .......................   0 of 12\n"
          "done     step 27  .......................   0 of  4\n"
          "\n"
          "trials  64 to come\n"
          "note    waiting for slots\n");
    assert_true(isnan(view_left(&s.v)));
    scene_clear(&s);
}

/* What Slurm was called for, and what it says. */
static void test_calls(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, -1, false, 0);
    s.v.who.calls = (struct slurm_calls){.polling = 5, .others = 17, .steps = 120};
    strcpy(s.v.who.note, "sbatch: Slurm job queue full");
    view_screen(&s.v, 80, false, &s.out);
    assert_non_null(strstr(s.out.p, "slurm   5 calls to look after jobs (3.0 a minute), "
                                    "17 others, 120 job steps\n"
                                    "note    sbatch: Slurm job queue full\n"));
    scene_clear(&s);
}

static void test_promoting(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, 150, false, 0.02);
    draws(&s, 80,
          "fashion  running  4 of 4 slots busy  1m 40s\n"
          "\n"
          "rung 0   step  1  #######................  13 of 45  4 promoted     cost  1m "
          "55s\n"
          "rung 1   step  3  #########..............  13 of 35  4 promoted     cost  3m "
          "23s\n"
          "rung 2   step  9  ########...............   4 of 12  1 promoted     cost  1m "
          "57s\n"
          "done     step 27  .......................   0 of  4                 cost   "
          "8.6 s\n"
          "\n"
          "trials  4 running, 20 paused, 40 to come\n"
          "best    val_loss 0.12445  trial 17, step 9\n"
          "        l1 32  lr 0.04649  optimizer sgd  momentum 0.9372  nesterov true\n"
          "        seed 486987089975\n"
          "cost    7m 23s of slots, 29m 32s of CPUs (22m 08s used), 7m 23s of nodes\n"
          "saved   about 1.14 h of slots, 90 % of what 24 trials to step 27 would take\n"
          "left    about 4m 04s\n");
    scene_clear(&s);
}

static void test_stopping(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, 150, true, 0.02);
    draws(&s, 60,
          "fashion  running  2 of 4 slots busy  1m 40s\n"
          "\n"
          "rung 0   step  1  ####.............   9 of 45  5 stopped\n"
          "rung 1   step  3  #####............   9 of 35  5 stopped\n"
          "rung 2   step  9  ######...........   4 of 12  1 stopped\n"
          "done     step 27  #############....   3 of  4\n"
          "\n"
          "trials  2 running, 3 completed, 9 stopped, 50 to come\n"
          "best    val_loss 0.10082  trial 3, step 27\n"
          "        l1 128  lr 0.0004361  optimizer sgd  momentum 0.5579\n"
          "        nesterov true  seed 12923768868\n"
          "cost    8m 25s of slots, 33m 38s of CPUs (27m 01s used), 8m\n"
          "        25s of nodes\n"
          "saved   about 27m 34s of slots, 77 % of what 14 trials to\n"
          "        step 27 would take\n"
          "left    about 2m 08s\n");
    scene_clear(&s);
}

static void test_finished(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, 0, false, 0.02);
    draws(
        &s, 100,
        "fashion  finished  0 of 4 slots busy  1m 40s\n"
        "\n"
        "rung 0   step  1  ########################################  46 of 46  17 "
        "promoted    cost  5m 47s\n"
        "rung 1   step  3  ########################################  35 of 35  11 "
        "promoted    cost  9m 05s\n"
        "rung 2   step  9  ######################################..  11 of 12  4 "
        "promoted     cost  5m 35s\n"
        "done     step 27  #####################...................   2 of  4            "
        "     cost  7m 06s\n"
        "\n"
        "order   rank correlation 1.00 of steps 1 and 3 (17 trials), 0.92 of steps 3 and "
        "9 (11 "
        "trials)\n"
        "trials  60 paused, 2 completed, 2 failed\n"
        "best    val_loss 0.070203  trial 48, step 26\n"
        "        l1 8  lr 0.0001606  optimizer adam  nesterov true  seed 882078508269\n"
        "cost    27m 33s of slots, 1.84 CPU-hours (1.62 h used), 27m 33s of nodes\n"
        "saved   about 2.84 h of slots, 86 % of what 64 trials to step 27 would take\n");
    assert_true(view_left(&s.v) == 0);
    scene_clear(&s);
}

#define GIB (1024 * 1024 * 1024.0)
static struct gpu_row rows[] = {{7, 1, {0, 1, 0.93, 60 * GIB, 80 * GIB, 412}},
                                {12, 2, {0, 4, NAN, 1 * GIB, 80 * GIB, NAN}},
                                {13, 1, {1, 1, NAN, NAN, NAN, NAN}}};
static const struct gpu_rows some_gpus = {rows, 3, 3};

/* Each trial's, as long as they are few; else what they do together. */
static void test_gpus(void **state)
{
    struct gpu_row many[20];
    struct gpu_rows all = {many, 20, 20};
    struct scene s;

    (void)state;
    scene_set(&s, 64, -1, false, 0);
    s.v.gpus = &some_gpus;
    view_screen(&s.v, 80, false, &s.out);
    assert_non_null(strstr(s.out.p, "trials  64 to come\n"
                                    "gpus    trial  7   93 %  60 GiB of 80 GiB  412 W\n"
                                    "        trial 12  4 GPUs  1 GiB of 80 GiB\n"
                                    "        trial 13  they tell nothing\n"));
    for (int i = 0; i < 20; i++)
        many[i] = (struct gpu_row){
            i, 1, {0, 2, i == 3 ? 0.04 : 0.5, i == 5 ? 70 * GIB : GIB, 80 * GIB, 100}};
    many[19].use = (struct gpu_use){0, 2, NAN, NAN, NAN, NAN};
    s.v.gpus = &all;
    str_cut(&s.out, 0);
    view_screen(&s.v, 80, false, &s.out);
    assert_non_null(strstr(
        s.out.p,
        "gpus    40, of 20 trials: 48 % busy, least those of trial 3 (4 %), at most 70\n"
        "        GiB of 80 GiB in use (trial 5), 1.90 kW\n"));
    for (int i = 0; i < 20; i++)
        many[i].use = rows[2].use;
    str_cut(&s.out, 0);
    view_screen(&s.v, 80, false, &s.out);
    assert_non_null(strstr(s.out.p, "gpus    20, of 20 trials\n"));
    scene_clear(&s);
}

/* No bars any more; a note is broken, not cut. */
static void test_narrow(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, 150, false, 0.02);
    s.v.state = "interrupted";
    s.v.slots = 0;
    s.v.note = "no controller serves this sweep; `rung resume` goes on";
    draws(&s, 40,
          "fashion  interrupted  1m 40s\n"
          "\n"
          "rung 0   step  1    13 of 45  4 promoted\n"
          "rung 1   step  3    13 of 35  4 promoted\n"
          "rung 2   step  9     4 of 12  1 promoted\n"
          "done     step 27     0 of  4\n"
          "\n"
          "trials  4 running, 20 paused, 40 to come\n"
          "best    val_loss 0.12445  trial 17, step\n"
          "        l1 32  lr 0.04649  optimizer sgd\n"
          "        momentum 0.9372  nesterov true\n"
          "        seed 486987089975\n"
          "cost    7m 23s of slots, 29m 32s of CPUs\n"
          "        (22m 08s used), 7m 23s of nodes\n"
          "saved   about 1.14 h of slots, 90 % of\n"
          "        what 24 trials to step 27 would\n"
          "        take\n"
          "note    no controller serves this sweep;\n"
          "        `rung resume` goes on\n");
    scene_clear(&s);
}

/* ---- properties ---- */

/* Its columns on a terminal: characters of UTF-8, without escape sequences. */
static int columns_of(const char *line, size_t n)
{
    int columns = 0;

    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\033')
            while (line[i] != 'm')
                i++;
        else
            columns += (line[i] & 0xC0) != 0x80;
    }
    return columns;
}

static void strip(const struct str *in, struct str *out)
{
    for (size_t i = 0; i < in->len; i++) {
        if (in->p[i] == '\033')
            while (in->p[i] != 'm')
                i++;
        else
            str_addc(out, in->p[i]);
    }
}

static void test_widths_and_colours(void **state)
{
    struct scene s;
    struct str coloured = STR_INIT, stripped = STR_INIT;

    (void)state;
    scene_set(&s, 64, 150, false, 0.02);
    s.v.gpus = &some_gpus;
    s.v.note = "a note that is far longer than any of the terminals that it is shown on";
    for (int utf8 = 0; utf8 < 2; utf8++) {
        assert_non_null(setlocale(LC_CTYPE, utf8 ? "C.UTF-8" : "C"));
        for (int width = 40; width < 130; width++) {
            str_cut(&s.out, 0);
            str_cut(&coloured, 0);
            str_cut(&stripped, 0);
            view_screen(&s.v, width, false, &s.out);
            view_screen(&s.v, width, true, &coloured);
            for (const char *p = coloured.p; *p; p += strcspn(p, "\n") + 1)
                assert_true(columns_of(p, strcspn(p, "\n")) <= width);
            strip(&coloured, &stripped);
            assert_string_equal(stripped.p, s.out.p);
            assert_true(coloured.len > s.out.len);
            if (width >= 80)
                assert_non_null(strstr(s.out.p, utf8 ? "█" : "#"));
            if (!utf8)
                assert_int_equal(columns_of(s.out.p, s.out.len), s.out.len);
        }
    }
    setlocale(LC_CTYPE, "C");
    str_free(&coloured);
    str_free(&stripped);
    scene_clear(&s);
}

/* Steps that are expected, less those taken, at the rate of this epoch. */
static void test_left(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, 150, false, 0.02);
    double left = view_left(&s.v);
    s.v.uptime = 200; /* half as fast */
    assert_true(fabs(view_left(&s.v) - 2 * left) < 1e-9);
    s.v.uptime_before = 100; /* 37 of the 73 steps in 100 s, the others before */
    s.v.steps_before = 36;
    assert_true(fabs(view_left(&s.v) - left * 73 / 37) < 1e-9);
    s.v.steps_before = 73; /* none yet */
    assert_true(isnan(view_left(&s.v)));
    scene_clear(&s);
}

static void test_line(void **state)
{
    struct scene s;

    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    scene_set(&s, 64, 150, false, 0.02);
    view_line(&s.v, &s.out);
    assert_string_equal(s.out.p, "01:49:07  running  trials 24 of 64, 4 running  best "
                                 "0.12445 (trial 17, step 9)  about 4m 04s left");
    scene_clear(&s);
    scene_set(&s, 64, 0, false, 0.02);
    view_line(&s.v, &s.out);
    assert_string_equal(s.out.p, "01:55:47  finished  trials 64 of 64, 2 failed  best "
                                 "0.070203 (trial 48, step 26)");
    scene_clear(&s);
}

static void test_best(void **state)
{
    struct scene s;

    (void)state;
    scene_set(&s, 64, -1, false, 0);
    view_best(&s.v, &s.out);
    assert_string_equal(s.out.p, "no trial has reported a finite val_loss\n");
    scene_clear(&s);
    scene_set(&s, 64, 150, false, 0.02);
    view_best(&s.v, &s.out);
    assert_string_equal(
        s.out.p,
        "best    val_loss 0.12445  trial 17, step 9\n"
        "        l1 32  lr 0.04649  optimizer sgd  momentum 0.9372  nesterov true\n"
        "        seed 486987089975\n");
    scene_clear(&s);
}

static void test_json(void **state)
{
    struct scene s;
    struct slice key;
    struct json j;
    int members = 0;

    (void)state;
    scene_set(&s, 64, 150, false, 0.02);
    s.v.gpus = &some_gpus;
    view_json(&s.v, &s.out);
    json_begin(&j, s.out.p, s.out.len);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "name"))
            assert_true(slice_eq(json_string(&j), "fashion"));
        else if (json_is(key, "busy"))
            assert_int_equal(json_int(&j), sweep_totals(s.sw)->open);
        else if (json_is(key, "steps"))
            assert_int_equal(json_int(&j), 73);
        else if (json_is(key, "gpus"))
            assert_true(slice_eq(
                json_raw(&j),
                "[{\"trial\":7,\"attempt\":1,\"gpus\":1,\"util\":0.93,\"mem_used\":"
                "64424509440.0,\"mem_total\":85899345920.0,\"power\":412.0},"
                "{\"trial\":12,\"attempt\":2,\"gpus\":4,\"util\":\"NaN\",\"mem_used\":"
                "1073741824.0,\"mem_total\":85899345920.0,\"power\":\"NaN\"},"
                "{\"trial\":13,\"attempt\":1,\"gpus\":1,\"util\":\"NaN\",\"mem_used\":"
                "\"NaN\",\"mem_total\":\"NaN\",\"power\":\"NaN\"}]"));
        else if (json_is(key, "orders"))
            assert_true(slice_eq(
                json_raw(&j),
                "[{\"step\":1,\"next\":3,\"trials\":4,\"rank_correlation\":1.0},"
                "{\"step\":3,\"next\":9,\"trials\":4,\"rank_correlation\":1.0},"
                "{\"step\":9,\"next\":27,\"trials\":0,\"rank_correlation\":\"NaN\"}]"));
        else if (json_is(key, "left"))
            assert_true(json_num(&j) == view_left(&s.v));
        else
            json_skip(&j);
        members++;
    }
    json_end(&j);
    assert_null(j.error);
    assert_int_equal(members, 23);
    scene_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_yet), cmocka_unit_test(test_calls),
        cmocka_unit_test(test_promoting),   cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_gpus),        cmocka_unit_test(test_finished),
        cmocka_unit_test(test_narrow),      cmocka_unit_test(test_widths_and_colours),
        cmocka_unit_test(test_left),        cmocka_unit_test(test_line),
        cmocka_unit_test(test_best),        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
