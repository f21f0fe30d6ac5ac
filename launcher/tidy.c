#include "launcher/tidy.h"

#include "base/file.h"
#include "base/num.h"
#include "base/vec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tidy {
    const struct sweep *sw;
    const struct sweepfile *file;
    char *trials; /* DIR/trials */
    /* What the worst of the best had when they were last looked for, smaller is better:
     * who has less to show is none of them now. INFINITY: there were fewer, or there are
     * several metrics. */
    double bar;
    int bar_of; /* so many were kept then */
    VEC(int32_t) due;
};

struct tidy *tidy_new(const char *dir, const struct sweep *sw,
                      const struct sweepfile *file)
{
    struct tidy *t = mem_alloc(sizeof(*t));

    t->sw = sw;
    t->file = file;
    t->trials = path_join(dir, "trials");
    t->bar = INFINITY;
    return t;
}

int tidy_kept(const struct sweepfile *f, int32_t trials)
{
    int keep = f->keep_checkpoints > 0 ? f->keep_checkpoints : 1;

    return keep < trials ? keep : trials;
}

void tidy_free(struct tidy *t)
{
    if (!t)
        return;
    vec_free(&t->due);
    free(t->trials);
    free(t);
}

static double turned_best(const struct tidy *t, int32_t trial)
{
    double best = sweep_trial(t->sw, trial)->best.v[0];

    return sweep_spec(t->sw)->objective[0].maximize ? -best : best;
}

/* The trials whose checkpoints are kept; free() them. */
static int32_t *find_best(struct tidy *t, int *n)
{
    int keep = tidy_kept(t->file, sweep_trials(t->sw));
    int32_t *best = mem_alloc((size_t)keep * sizeof(best[0]));

    *n = sweep_best(t->sw, best, keep);
    t->bar = *n > 0 && *n == keep && sweep_spec(t->sw)->objectives == 1
                 ? turned_best(t, best[*n - 1])
                 : INFINITY;
    t->bar_of = keep;
    return best;
}

static bool among_best(struct tidy *t, int32_t trial)
{
    double value = turned_best(t, trial);
    int32_t *best;
    bool yes = false;
    int n;

    if (isnan(value) ||
        (value > t->bar && t->bar_of == tidy_kept(t->file, sweep_trials(t->sw))))
        return false;
    best = find_best(t, &n);
    for (int i = 0; i < n; i++)
        yes |= best[i] == trial;
    free(best);
    return yes;
}

static bool stopped(const struct tidy *t, int32_t trial)
{
    return sweep_trial(t->sw, trial)->state == TRIAL_STOPPED;
}

void tidy_event(struct tidy *t, const struct event *ev)
{
    const struct trial *trial = ev->trial >= 0 ? sweep_trial(t->sw, ev->trial) : NULL;

    if (ev->kind == EVENT_END && (stopped(t, ev->trial) || trial->kept == ev->attempt))
        vec_push(&t->due, ev->trial);
    else if (ev->kind == EVENT_TRIAL && trial->parent >= 0)
        vec_push(&t->due, ev->drawn.replaces);
    else if (ev->kind == EVENT_REPORT && ev->report.number == 1 && trial->parent >= 0)
        vec_push(&t->due, trial->parent);
}

static bool is_log(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && strcmp(name + n - 4, ".log") == 0;
}

static void remove_but_logs(const char *dir)
{
    char **names;
    size_t n;

    if (dir_list(dir, &names, &n, NULL) != 0)
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(dir, names[i]);

        if (!is_log(names[i]))
            dir_remove(path, NULL);
        free(path);
    }
    free(names);
}

/* 12 of "a12", else -1. */
static int32_t attempt_of(const char *name)
{
    int64_t number;

    if (name[0] != 'a' || num_parse_int(name + 1, strlen(name + 1), &number) != 0 ||
        number < 0 || number > INT32_MAX)
        return -1;
    return (int32_t)number;
}

/* Is it a copy that was cut off, and nobody goes on with? */
static bool is_rest(const struct tidy *t, int32_t trial, const char *name)
{
    const struct trial *of = sweep_trial(t->sw, trial);
    size_t n = strlen(name);

    return n > 4 && strcmp(name + n - 4, ".tmp") == 0 && of->state != TRIAL_RUNNING &&
           of->state != TRIAL_WAITING;
}

/* Of a trial's directories, one of each attempt, all but the newest, which has the logs;
 * and what else is in that, unless it is `kept`. Those from which other attempts may
 * begin stay as they are. */
static void remove_checkpoints(const struct tidy *t, int32_t trial, bool kept)
{
    struct str home = STR_INIT;
    char **names = NULL;
    size_t n = 0;
    int32_t newest = -1;

    str_addf(&home, "%s/%06d", t->trials, trial);
    dir_list(home.p, &names, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        if (attempt_of(names[i]) > newest)
            newest = attempt_of(names[i]);
    }
    for (size_t i = 0; i < n; i++) {
        int32_t attempt = attempt_of(names[i]);
        char *dir = path_join(home.p, names[i]);

        if (is_rest(t, trial, names[i]))
            dir_remove(dir, NULL);
        if (attempt >= 0 && !sweep_keeps(t->sw, trial, attempt)) {
            if (attempt < newest)
                dir_remove(dir, NULL);
            else if (!kept)
                remove_but_logs(dir);
        }
        free(dir);
    }
    free(names);
    str_free(&home);
}

void tidy_some(struct tidy *t)
{
    int32_t trial;

    if (t->due.n == 0)
        return;
    trial = t->due.v[--t->due.n];
    remove_checkpoints(t, trial, !stopped(t, trial) || among_best(t, trial));
}

void tidy_all(struct tidy *t)
{
    int32_t trials = sweep_trials(t->sw);
    bool *kept = mem_alloc((size_t)trials * sizeof(kept[0]));
    int n;
    int32_t *best = find_best(t, &n);

    for (int i = 0; i < n; i++)
        kept[best[i]] = true;
    for (int32_t i = 0; i < trials; i++) {
        if (sweep_trial(t->sw, i)->attempts > 0)
            remove_checkpoints(t, i, kept[i]);
    }
    free(best);
    free(kept);
    t->due.n = 0;
}
