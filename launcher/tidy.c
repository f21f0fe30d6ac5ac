#include "launcher/tidy.h"

#include "base/file.h"
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
     * who has less to show is none of them now. INFINITY: there were fewer. */
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
    double best = sweep_trial(t->sw, trial)->best;

    return sweep_spec(t->sw)->maximize ? -best : best;
}

/* The trials whose checkpoints are kept; free() them. */
static int32_t *find_best(struct tidy *t, int *n)
{
    int keep = tidy_kept(t->file, sweep_trials(t->sw));
    int32_t *best = mem_alloc((size_t)keep * sizeof(best[0]));

    *n = sweep_best(t->sw, best, keep);
    t->bar = *n > 0 && *n == keep ? turned_best(t, best[*n - 1]) : INFINITY;
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

void tidy_event(struct tidy *t, const struct event *ev)
{
    if (ev->kind == EVENT_END && sweep_trial(t->sw, ev->trial)->state == TRIAL_STOPPED)
        vec_push(&t->due, ev->trial);
}

static bool is_log(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && strcmp(name + n - 4, ".log") == 0;
}

/* Everything but the logs, of all of the trial's directories (there is one, aNN). */
static void remove_checkpoints(const struct tidy *t, int32_t trial)
{
    struct str home = STR_INIT;
    char **attempts = NULL, **names = NULL;
    size_t n_attempts = 0, n = 0;

    str_addf(&home, "%s/%06d", t->trials, trial);
    if (dir_list(home.p, &attempts, &n_attempts, NULL) == 0) {
        for (size_t i = 0; i < n_attempts; i++) {
            char *dir = path_join(home.p, attempts[i]);

            if (dir_list(dir, &names, &n, NULL) == 0) {
                for (size_t k = 0; k < n; k++) {
                    char *path = path_join(dir, names[k]);

                    if (!is_log(names[k]))
                        dir_remove(path, NULL);
                    free(path);
                }
                free(names);
            }
            free(dir);
        }
        free(attempts);
    }
    str_free(&home);
}

void tidy_some(struct tidy *t)
{
    int32_t trial;

    if (t->due.n == 0)
        return;
    trial = t->due.v[--t->due.n];
    if (!among_best(t, trial))
        remove_checkpoints(t, trial);
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
        if (sweep_trial(t->sw, i)->attempts > 0 && !kept[i])
            remove_checkpoints(t, i);
    }
    free(best);
    free(kept);
    t->due.n = 0;
}
