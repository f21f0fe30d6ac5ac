#include "launcher/tidy.h"

#include "base/file.h"
#include "base/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tidy {
    const struct sweep *sw;
    char *trials; /* DIR/trials */
    int keep;
    VEC(int32_t) due;
};

struct tidy *tidy_new(const char *dir, const struct sweep *sw, int keep)
{
    struct tidy *t = mem_alloc(sizeof(*t));

    t->sw = sw;
    t->trials = path_join(dir, "trials");
    t->keep = keep;
    return t;
}

void tidy_free(struct tidy *t)
{
    if (!t)
        return;
    vec_free(&t->due);
    free(t->trials);
    free(t);
}

static bool among_best(const struct tidy *t, int32_t trial)
{
    int32_t *best = mem_alloc(((size_t)t->keep + 1) * sizeof(best[0]));
    int n = sweep_best(t->sw, best, t->keep);
    bool yes = false;

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
    for (int32_t i = 0; i < sweep_trials(t->sw); i++) {
        if (sweep_trial(t->sw, i)->attempts > 0 && !among_best(t, i))
            remove_checkpoints(t, i);
    }
    t->due.n = 0;
}
