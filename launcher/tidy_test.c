#include "launcher/tidy.h"

#include "base/file.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above */
#include <cmocka.h>

/* ---- a sweep in mode stop with one rung at step 1, and its directory ---- */

struct play {
    struct sweepfile file;
    struct sweep *sw;
    struct tidy *tidy;
    char dir[32];
};

static char *checkpoint(const struct play *p, int32_t trial, const char *name)
{
    struct str path = STR_INIT;

    str_addf(&path, "%s/trials/%06d/a01%s%s", p->dir, trial, *name ? "/" : "", name);
    return str_take(&path);
}

static void put_file(const struct play *p, int32_t trial, const char *name)
{
    char *path = checkpoint(p, trial, name);

    assert_int_equal(file_write(path, "x", 1, 0644, NULL), 0);
    free(path);
}

static bool has(const struct play *p, int32_t trial, const char *name)
{
    char *path = checkpoint(p, trial, name);
    bool yes = file_exists(path);

    free(path);
    return yes;
}

static void play_begin(struct play *p, int keep, bool maximize)
{
    static const char *const names[] = {"x"};
    struct spec *s = &p->file.spec;

    *p = (struct play){.dir = "/tmp/rung-tidy-XXXXXX"};
    assert_non_null(mkdtemp(p->dir));
    p->file.keep_checkpoints = keep;
    spec_init(s);
    s->objective[0].name = mem_strdup("loss");
    s->space = space_new();
    space_declare(s->space, names, 1);
    assert_int_equal(space_define(s->space, 0, "uniform(0, 1)", NULL, NULL, NULL), 0);
    s->trials = 100;
    s->mode = MODE_STOP;
    s->max_t = 2;
    s->objective[0].maximize = maximize;
    p->sw = sweep_new(s);
    p->tidy = tidy_new(p->dir, p->sw, &p->file);
}

static void play_end(struct play *p)
{
    tidy_free(p->tidy);
    sweep_free(p->sw);
    spec_clear(&p->file.spec);
    dir_remove(p->dir, NULL);
}

static void happen(struct play *p, struct event *ev)
{
    assert_int_equal(sweep_apply(p->sw, ev, NULL, NULL), 0);
    tidy_event(p->tidy, ev);
}

/* A trial that reports step 1, or 2 too if it is let, saves, and ends. */
static void run_trial(struct play *p, double loss)
{
    int32_t trial = sweep_trials(p->sw);
    struct event ev;
    struct metric m = {SLICE("loss"), loss};
    char *dir = checkpoint(p, trial, "");
    struct work w;

    assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
    happen(p, &ev);
    w = sweep_next(p->sw);
    sweep_start_event(p->sw, &w, &ev);
    happen(p, &ev);
    assert_int_equal(dir_make(dir, 0755, NULL), 0);
    put_file(p, trial, "model.h5");
    put_file(p, trial, "attempt-01.log");
    for (uint32_t k = 1; k <= 2; k++) {
        ev = (struct event){.kind = EVENT_REPORT, .trial = trial, .attempt = 1};
        ev.report.number = k;
        ev.report.step = k;
        ev.report.metrics = &m;
        ev.report.n_metrics = 1;
        happen(p, &ev);
    }
    ev = (struct event){.kind = EVENT_END, .trial = trial, .attempt = 1};
    ev.end.outcome = sweep_outcome(p->sw, trial, &ev.end.facts, &ev.end.saved);
    happen(p, &ev);
    free(dir);
}

static int left(const struct play *p)
{
    int n = 0;

    for (int32_t i = 0; i < sweep_trials(p->sw); i++)
        n += has(p, i, "model.h5");
    return n;
}

/* ---- tests ---- */

static void test_kept(void **state)
{
    static const struct {
        int keep, trials, kept;
    } cases[] = {{0, 0, 0}, {0, 5, 1}, {1, 5, 1}, {3, 2, 2}, {2147483647, 5, 5}};
    struct sweepfile f = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f.keep_checkpoints = cases[i].keep;
        assert_int_equal(tidy_kept(&f, cases[i].trials), cases[i].kept);
    }
}

/* Trial after trial is worse, then better, then none at all; those of the best two stay.
 */
static void test_stopped(void **state)
{
    (void)state;
    for (int maximize = 0; maximize < 2; maximize++) {
        static const double losses[] = {1, 2, 3, 4, 0.5, NAN, 5};
        struct play p;

        play_begin(&p, 2, maximize);
        for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
            run_trial(&p, maximize ? -losses[i] : losses[i]);
            tidy_some(p.tidy);
            assert_true(has(&p, (int32_t)i, "attempt-01.log"));
        }
        assert_true(has(&p, 0, "model.h5") && has(&p, 1, "model.h5"));
        assert_true(has(&p, 4, "model.h5"));
        assert_int_equal(left(&p), 3); /* trial 1 was among the best when it ended */
        struct str rest = STR_INIT;    /* a copy that was cut off */
        str_addf(&rest, "%s/trials/000001/a02.tmp", p.dir);
        assert_int_equal(dir_make(rest.p, 0700, NULL), 0);
        tidy_all(p.tidy);
        assert_false(file_exists(rest.p));
        str_free(&rest);
        assert_true(has(&p, 0, "model.h5") && has(&p, 4, "model.h5"));
        assert_int_equal(left(&p), 2);
        play_end(&p);
    }
}

/* keep.checkpoints may grow while the sweep runs. */
static void test_keep_grows(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p, 0, false);
    for (int i = 0; i < 4; i++) {
        run_trial(&p, i);
        tidy_some(p.tidy);
    }
    assert_int_equal(left(&p), 1);
    assert_true(has(&p, 0, "model.h5"));
    p.file.keep_checkpoints = 3;
    run_trial(&p, 1.5);
    tidy_some(p.tidy);
    assert_true(has(&p, 4, "model.h5"));
    play_end(&p);
}

/* ---- a population ---- */

static void put_attempt(const struct play *p, int32_t trial, int attempt)
{
    struct str path = STR_INIT;

    str_addf(&path, "%s/trials/%06d/a%02d", p->dir, trial, attempt);
    assert_int_equal(dir_make(path.p, 0755, NULL), 0);
    str_add(&path, "/model.h5");
    assert_int_equal(file_write(path.p, "x", 1, 0644, NULL), 0);
    str_free(&path);
}

static bool has_attempt(const struct play *p, int32_t trial, int attempt)
{
    struct str path = STR_INIT;
    bool yes;

    str_addf(&path, "%s/trials/%06d/a%02d/model.h5", p->dir, trial, attempt);
    yes = file_exists(path.p);
    str_free(&path);
    return yes;
}

static int32_t start_next(struct play *p)
{
    struct work w = sweep_next(p->sw);
    struct event ev;

    if (w.kind == WORK_DRAW) {
        assert_int_equal(sweep_draw(p->sw, &ev, NULL), 0);
        happen(p, &ev);
        w = sweep_next(p->sw);
    }
    assert_int_equal(w.kind, WORK_TRIAL);
    sweep_start_event(p->sw, &w, &ev);
    happen(p, &ev);
    put_attempt(p, w.trial, ev.attempt); /* as a copy: the one before it stays */
    return w.trial;
}

static void report_at(struct play *p, int32_t trial, int64_t step, double loss)
{
    const struct trial *t = sweep_trial(p->sw, trial);
    struct event ev = {.kind = EVENT_REPORT, .trial = trial, .attempt = t->attempts};
    struct metric m = {SLICE("loss"), loss};

    ev.report.number = 1;
    ev.report.step = step;
    ev.report.metrics = &m;
    ev.report.n_metrics = 1;
    happen(p, &ev);
    ev = (struct event){.kind = EVENT_END, .trial = trial, .attempt = t->attempts};
    ev.end.facts.answered = DECISION_PAUSE;
    ev.end.facts.last_step = step;
    ev.end.outcome = sweep_outcome(p->sw, trial, &ev.end.facts, &ev.end.saved);
    happen(p, &ev);
}

static void test_population(void **state)
{
    struct play p;

    (void)state;
    play_begin(&p, 1, false);
    sweep_free(p.sw);
    tidy_free(p.tidy);
    p.file.spec.schedule = SCHEDULE_PBT;
    p.file.spec.mode = MODE_PROMOTE;
    p.file.spec.interval = 1;
    p.file.spec.max_t = 4;
    p.file.spec.trials = 4;
    p.sw = sweep_new(&p.file.spec);
    p.tidy = tidy_new(p.dir, p.sw, &p.file);
    for (int32_t i = 0; i < 4; i++)
        assert_int_equal(start_next(&p), i);
    for (int32_t i = 0; i < 4; i++)
        report_at(&p, i, 1, i);
    for (int32_t i = 0; i < 3; i++)
        assert_int_equal(start_next(&p), i);
    for (int i = 0; i < 9; i++)
        tidy_some(p.tidy);
    assert_true(has_attempt(&p, 0, 1) && has_attempt(&p, 0, 2));
    assert_true(has_attempt(&p, 3, 1));
    assert_int_equal(start_next(&p), 4); /* a copy of 0's first, in the place of 3 */
    report_at(&p, 0, 2, 0);
    report_at(&p, 1, 2, 1);
    for (int i = 0; i < 9; i++)
        tidy_some(p.tidy);
    assert_true(has_attempt(&p, 0, 1) && has_attempt(&p, 0, 2));
    assert_false(has_attempt(&p, 1, 1) || has_attempt(&p, 3, 1));
    assert_true(has_attempt(&p, 1, 2));
    report_at(&p, 4, 2, 5); /* so it has begun */
    for (int i = 0; i < 9; i++)
        tidy_some(p.tidy);
    assert_false(has_attempt(&p, 0, 1));
    assert_true(has_attempt(&p, 0, 2) && has_attempt(&p, 4, 1));
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_keep_grows),
        cmocka_unit_test(test_population),
    };

    return cmocka_run_group_tests_name("tidy", tests, NULL, NULL);
}
