/* What must hold of a sweep's directory:
 *
 *   journal      every accepted line is whole, and each event follows on the state; then
 *                nothing that ever was acted on is lost
 *   sweep.h5     whole, and no further than the journal: it can be made anew
 *   checkpoints  of each trial that may still go on and of the best, at the step that the
 *                journal says was saved: such a trial would begin again
 */
#include "base/file.h"
#include "base/vec.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/look.h"
#include "launcher/tidy.h"
#include "store/h5.h"
#include "store/tensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option fsck_options[] = {{0}};

/* One line behind the name of what was checked, which is said once. */
static void say(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const char *name, const char *fmt, ...)
{
    struct str out = STR_INIT;
    char *text;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) >= 0) {
        str_add_visible(&out, text, strlen(text));
        free(text);
    }
    va_end(ap);
    printf("%-12s %s\n", name, out.p);
    str_free(&out);
}

static const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

/* ---- the journal ---- */

static bool check_journal(const struct loaded *l, int rc, const struct err *e,
                          bool served)
{
    const struct journal_tail *tail = &l->replay.tail;
    long long events = (long long)l->replay.pos.events;

    if (rc != 0) {
        say("journal", "%s", e->text);
        if (rc == ERR_CORRUPT)
            say("", "lost: what came after event %lld", events);
        return false;
    }
    say("journal", "whole: %lld events, %d epoch%s", events, l->replay.pos.epoch,
        plural(l->replay.pos.epoch));
    if (tail->torn_bytes > 0)
        say("", "%lld byte%s behind: %s", (long long)tail->torn_bytes,
            plural(tail->torn_bytes),
            served ? "being written now"
                   : "of a commit that a crash cut off, on which nobody acted");
    if (tail->ignored_bytes > 0)
        say("", "%lld byte%s of earlier epochs, written after they were over: ignored",
            (long long)tail->ignored_bytes, plural(tail->ignored_bytes));
    if (tail->void_files > 0)
        say("", "%d file%s of epochs that never began: ignored", tail->void_files,
            plural(tail->void_files));
    return true;
}

/* ---- sweep.h5 ---- */

static bool compare_h5(const struct loaded *l, const struct h5_info *info)
{
    long long reflects = (long long)info->journal_events;
    long long events = (long long)l->replay.pos.events;

    if (reflects > events) {
        say("sweep.h5", "whole, but reflects %lld events: the journal has only %lld",
            reflects, events);
        return false;
    }
    if (reflects == events && (info->trials != sweep_trials(l->sw) ||
                               info->attempts != sweep_totals(l->sw)->attempts)) {
        say("sweep.h5",
            "damaged: it has %lld trials and %lld attempts, the journal %d and %d; `rung "
            "export --hdf5` makes it anew",
            (long long)info->trials, (long long)info->attempts, sweep_trials(l->sw),
            sweep_totals(l->sw)->attempts);
        return false;
    }
    say("sweep.h5", "whole: reflects %lld of %lld events%s", reflects, events,
        reflects < events ? "; `rung export --hdf5` adds the others" : "");
    return true;
}

static bool check_h5(const struct loaded *l)
{
    char *path = path_join(l->dir, "sweep.h5");
    struct h5_info info;
    struct err e = {0};
    int rc = h5_check(path, &info, &e);
    bool good = rc == 0 || rc == ERR_NOENT;

    if (rc == ERR_NOENT)
        say("sweep.h5", "not written yet: `rung export --hdf5` makes it");
    else if (rc != 0)
        say("sweep.h5", "%s; `rung export --hdf5` makes it anew", e.text);
    else
        good = compare_h5(l, &info);
    free(path);
    return good;
}

/* ---- checkpoints ---- */

struct checkpoints {
    int wanted, files, empty;
    struct str lost; /* lines */
    int n_lost;
};

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n > k && strcmp(name + n - k, end) == 0;
}

/* Opens one. step: what it holds if it is of rung-train's kind, else -1. */
static int check_file(const char *path, int64_t *step, struct err *e)
{
    struct tensors *t = NULL;
    int rc = tensors_open(path, &t, e);

    if (rc != 0 || tensors_get_int(t, "/progress", "step", step, NULL) != 0)
        *step = -1;
    tensors_close(t);
    return rc;
}

/* All files must be whole. The newest of rung-train's must be of the saved step; the one
 * before it, which it keeps, is older. */
static int check_dir(const char *dir, int64_t saved, struct checkpoints *c, struct err *e)
{
    char **names;
    size_t n;
    bool any = false;
    int64_t newest = -1, step;
    int rc = dir_list(dir, &names, &n, e);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *path = path_join(dir, names[i]);

        if (ends_in(names[i], ".h5") || ends_in(names[i], ".hdf5")) {
            c->files++;
            rc = check_file(path, &step, e);
            newest = step > newest ? step : newest;
        }
        any |= !ends_in(names[i], ".log");
        free(path);
    }
    if (rc == 0 && newest >= 0 && newest < saved)
        rc = err_set(e, ERR_CORRUPT, "%s: of step %lld", dir, (long long)newest);
    c->empty += !any;
    free(names);
    return rc;
}

static void check_trial(const struct loaded *l, int32_t trial, struct checkpoints *c)
{
    const struct trial *t = sweep_trial(l->sw, trial);
    char *dir = look_trial_dir(l, trial);
    struct err e = {0};
    int rc;

    if (!dir && t->parent >= 0) /* it is to begin from there */
        dir = look_attempt_dir(l, t->parent, t->source);
    rc = dir ? check_dir(dir, t->saved, c, &e)
             : err_set(&e, ERR_NOENT, "%s/trials/%06d is gone", l->dir, trial);

    c->wanted++;
    if (rc != 0) {
        c->n_lost++;
        str_addf(&c->lost, "%-12s lost: trial %d at step %lld: %s\n", "", trial,
                 (long long)t->saved, e.text);
    }
    free(dir);
}

/* Marks the trials whose checkpoints somebody may want: those that wait or are paused,
 * until the sweep is over, and the best. */
static void mark_wanted(const struct loaded *l, bool wanted[])
{
    int trials = sweep_trials(l->sw);
    int32_t *best = mem_alloc(((size_t)trials + 1) * sizeof(*best));
    int n = sweep_best(l->sw, best, tidy_kept(l->file, trials));

    for (int i = 0; i < n; i++)
        wanted[best[i]] = true;
    for (int i = 0; i < trials; i++) {
        const struct trial *t = sweep_trial(l->sw, i);

        wanted[i] |= !sweep_totals(l->sw)->finished &&
                     (t->state == TRIAL_PAUSED || t->state == TRIAL_WAITING);
        wanted[i] &= t->saved > 0 && t->state != TRIAL_RUNNING;
    }
    free(best);
}

static void find_lost(const struct loaded *l, struct checkpoints *c)
{
    bool *wanted = mem_alloc((size_t)sweep_trials(l->sw) * sizeof(*wanted));

    *c = (struct checkpoints){.lost = STR_INIT};
    if (!l->file->spec.restart)
        mark_wanted(l, wanted);
    for (int32_t i = 0; i < sweep_trials(l->sw); i++) {
        if (wanted[i])
            check_trial(l, i, c);
    }
    free(wanted);
}

/* A served sweep goes on meanwhile: what seems lost is looked for again, by the journal
 * as it is then. */
static bool check_checkpoints(struct loaded *l, bool served)
{
    struct checkpoints c;
    struct err e = {0};
    bool good;

    find_lost(l, &c);
    if (c.n_lost > 0 && served && loaded_update(l, &e) == 0) {
        str_free(&c.lost);
        find_lost(l, &c);
    }
    good = c.n_lost == 0;
    say("checkpoints", "%d of %d that may be wanted; %d HDF5 file%s in them",
        c.wanted - c.n_lost, c.wanted, c.files, plural(c.files));
    fputs(c.lost.p, stdout);
    if (c.empty > 0)
        say("", "%d with nothing but logs: the program keeps nothing there", c.empty);
    str_free(&c.lost);
    return good;
}

/* ---- the command ---- */

static int check(const char *dir)
{
    struct controller_file f;
    struct loaded l;
    struct err e = {0};
    bool served = sweep_served(dir, &f) != SERVING_NO, good = true;
    int rc = loaded_open(&l, dir, false, &e);

    if (!l.sw) { /* not even the sweep file can be read */
        say("sweep.yaml", "%s", e.text);
        loaded_close(&l);
        return EXIT_FAILED;
    }
    if (rc == ERR_INVAL) { /* the journal was read */
        say("sweep.yaml", "%s", e.text);
        rc = 0;
        good = false;
    }
    good &= check_journal(&l, rc, &e, served);
    good &= check_h5(&l);
    if (rc == 0)
        good &= check_checkpoints(&l, served);
    loaded_close(&l);
    if (good)
        printf("nothing is lost\n");
    return good ? EXIT_GOOD : EXIT_FAILED;
}

int cmd_fsck(int argc, char **argv)
{
    const struct cli_command *self = cli_find("fsck");
    const char *value, *dir = NULL;
    struct err e = {0};
    struct cli c;
    char *found;
    int o, status;

    cli_begin(&c, self, argc, argv);
    while ((o = cli_next(&c, &value)) != CLI_END) {
        switch (o) {
        case CLI_POSITIONAL:
            if (dir)
                return look_surplus(self, value);
            dir = value;
            break;
        case CLI_HELP: return EXIT_GOOD;
        default: return EXIT_USAGE;
        }
    }
    found = sweep_dir_find(dir, &e);
    if (!found)
        return cli_fail(self, EXIT_USAGE, "%s", e.text);
    status = check(found);
    free(found);
    return status;
}
