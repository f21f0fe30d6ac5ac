#include "launcher/loaded.h"

#include "base/file.h"
#include "base/proc.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BARREN_SECONDS 600.0

/* ---- finding ---- */

bool sweep_dir_is(const char *dir)
{
    char *yaml = path_join(dir, "sweep.yaml"), *journal = path_join(dir, "journal");
    bool yes = access(yaml, F_OK) == 0 && access(journal, F_OK) == 0;

    free(yaml);
    free(journal);
    return yes;
}

/* When its last epoch began or wrote last: the time of journal/, then of controller.json.
 */
static double last_touched(const char *dir)
{
    static const char *const files[] = {"journal", "controller.json", "sweep.yaml"};
    double newest = 0;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = path_join(dir, files[i]);
        struct stat st;

        if (stat(path, &st) == 0) {
            double t = (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9;

            newest = t > newest ? t : newest;
        }
        free(path);
    }
    return newest;
}

int sweep_dirs(const char *below, char ***dirs, size_t *n, struct err *e)
{
    char **names = NULL;
    VEC(char *) found = {0};
    size_t count = 0;
    int rc = dir_list(below, &names, &count, e);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        char *path =
            strcmp(below, ".") == 0 ? mem_strdup(names[i]) : path_join(below, names[i]);

        if (sweep_dir_is(path))
            vec_push(&found, path);
        else
            free(path);
    }
    *n = found.n;
    vec_push(&found, NULL);
    *dirs = found.v;
    free(names);
    return rc;
}

char *sweep_dir_newest(struct err *e)
{
    char **dirs, *best = NULL;
    double newest = -1;
    size_t n;

    if (sweep_dir_is("."))
        return mem_strdup(".");
    if (sweep_dirs(".", &dirs, &n, e) != 0)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        double t = last_touched(dirs[i]);

        if (t > newest) {
            newest = t;
            free(best);
            best = dirs[i];
        } else {
            free(dirs[i]);
        }
    }
    free(dirs);
    if (!best)
        err_set(e, ERR_NOENT,
                "there is no sweep below the current directory; name its "
                "directory, or begin one with `rung run FILE`");
    return best;
}

char *sweep_dir_find(const char *dir, struct err *e)
{
    char *found = dir ? mem_strdup(dir) : sweep_dir_newest(e), *path;

    if (!found)
        return NULL;
    if (!sweep_dir_is(found)) {
        err_set(e, ERR_NOENT, "%s is not the directory of a sweep%s", found,
                access(found, F_OK) != 0 ? ": it does not exist"
                                         : ": it holds no sweep.yaml and journal/");
        free(found);
        return NULL;
    }
    path = realpath(found, NULL);
    if (!path)
        err_sys(e, "%s", found);
    free(found);
    return path;
}

/* ---- loading ---- */

static void close_epoch(struct loaded *l)
{
    if (!isnan(l->epoch_began) && l->last_event > l->epoch_began)
        l->uptime += l->last_event - l->epoch_began;
}

static void note_agent(struct loaded *l, const struct event *ev)
{
    struct known_agent a = {.id = ev->job.agent, .slots = ev->job.slots};

    for (size_t i = 0; i < l->agents.n; i++) {
        if (l->agents.v[i].id == ev->job.agent) {
            free(l->agents.v[i].job);
            free(l->agents.v[i].host);
            vec_remove(&l->agents, i);
            break;
        }
    }
    if (!slice_eq(ev->job.change, "joined"))
        return;
    a.job = mem_strndup(ev->job.job.p, ev->job.job.len);
    a.host = mem_strndup(ev->job.host.p, ev->job.host.len);
    vec_push(&l->agents, a);
}

/* A job is pending from its submission until its agent joins, or it ends without one. */
static void note_job(struct loaded *l, const struct event *ev)
{
    for (size_t i = 0; i < l->jobs.n; i++) {
        if (slice_eq(ev->job.job, l->jobs.v[i])) {
            free(l->jobs.v[i]);
            vec_remove(&l->jobs, i);
            break;
        }
    }
    if (slice_eq(ev->job.change, "submitted"))
        vec_push(&l->jobs, mem_strndup(ev->job.job.p, ev->job.job.len));
}

/* Settings that `rung resume --set` changed are part of the sweep from then on. */
static void note_setting(struct loaded *l, const struct event *ev)
{
    char *key = mem_strndup(ev->set.key.p, ev->set.key.len);
    char *value = mem_strndup(ev->set.value.p, ev->set.value.len);
    struct str text = STR_INIT;

    if (sweepfile_set(l->file, key, value, NULL) == 0) { /* not search.exhausted */
        str_addf(&text, "%s=%s", key, value);
        vec_push(&l->settings, str_take(&text));
    }
    free(key);
    free(value);
}

/* The file is called sweep.yaml here, so what it was called first gives the name. */
static void note_beginning(struct loaded *l, const struct event *ev)
{
    l->created_hash = ev->epoch.file_hash;
    if (ev->epoch.name.len == 0)
        return;
    free(l->file->name);
    l->file->name = mem_strndup(ev->epoch.name.p, ev->epoch.name.len);
}

/* A crash that repeats itself, say. */
static void note_progress(struct loaded *l, const struct event *ev)
{
    int64_t reports = sweep_totals(l->sw)->reports;
    bool barren =
        reports == l->reports_before && ev->time - l->epoch_began < BARREN_SECONDS;

    l->barren_epochs = barren ? l->barren_epochs + 1 : 0;
    l->reports_before = reports;
}

static void on_event(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct loaded *l = ctx;

    costs_event(l->costs, ev, v);
    orders_event(l->orders, ev, v);
    if (l->accounts)
        accounts_event(l->accounts, ev, l->sw);
    if (ev->kind == EVENT_EPOCH) {
        close_epoch(l);
        note_progress(l, ev);
        l->epoch_began = ev->time;
        l->steps_before = sweep_totals(l->sw)->steps;
        if (ev->epoch.after == 0) /* not always 1: one that never began is void */
            note_beginning(l, ev);
    } else if (ev->kind == EVENT_JOB) {
        note_job(l, ev);
        if (slice_eq(ev->job.change, "evicted"))
            l->last_evicted = ev->time;
        if (ev->job.agent != 0)
            note_agent(l, ev);
    } else if (ev->kind == EVENT_SET) {
        note_setting(l, ev);
    } else if (ev->kind == EVENT_RESUME) {
        l->barren_epochs = 0;
    } else if (ev->kind == EVENT_PAUSE) {
        free(l->why_paused);
        l->why_paused = mem_strndup(ev->why.reason.p, ev->why.reason.len);
    }
    l->last_event = ev->time;
}

int loaded_file(struct loaded *l, const char *dir, struct err *e)
{
    struct str errors = STR_INIT;
    char *yaml;
    int rc;

    *l = (struct loaded){.dir = mem_strdup(dir), .epoch_began = NAN};
    yaml = path_join(dir, "sweep.yaml");
    rc = sweepfile_load(yaml, &l->file, &errors);
    if (rc != 0)
        err_set(e, rc, "%s", errors.p);
    str_free(&errors);
    free(yaml);
    return rc;
}

static int replay(struct loaded *l, bool history, bool verify, struct err *e)
{
    int rc;

    l->sw = sweep_new(&l->file->spec);
    l->costs = costs_new(l->sw, l->file);
    l->orders = orders_new(l->sw);
    history_init(&l->history);
    l->replay = (struct replay){.sw = l->sw,
                                .history = history ? &l->history : NULL,
                                .verify = verify,
                                .on_event = on_event,
                                .ctx = l};
    rc = replay_run(&l->replay, l->dir, l->limit, e);
    if (rc == 0 && l->created_hash != hash64(l->file->text.p, l->file->text.len))
        rc = err_set(
            e, ERR_INVAL,
            "%s/sweep.yaml was changed after the sweep began; put the original back, "
            "and change settings with `rung resume --set KEY=VALUE`",
            l->dir);
    return rc;
}

int loaded_replay(struct loaded *l, bool history, struct err *e)
{
    return replay(l, history, false, e);
}

int loaded_verify(struct loaded *l, const char *dir, struct err *e)
{
    int rc = loaded_file(l, dir, e);

    return rc == 0 ? replay(l, false, true, e) : rc;
}

int loaded_open(struct loaded *l, const char *dir, bool history, struct err *e)
{
    int rc = loaded_file(l, dir, e);

    return rc == 0 ? loaded_replay(l, history, e) : rc;
}

int loaded_update(struct loaded *l, struct err *e)
{
    bool history = l->replay.history != NULL;
    int rc = replay_run(&l->replay, l->dir, NULL, e);

    if (rc == ERR_FENCED) { /* its successor cut what we had read: from the beginning */
        char *dir = mem_strdup(l->dir);

        loaded_close(l);
        rc = loaded_open(l, dir, history, e);
        free(dir);
    }
    return rc;
}

double loaded_uptime(const struct loaded *l, double now)
{
    double open = isnan(l->epoch_began) ? 0 : now - l->epoch_began;

    return l->uptime + (open > 0 ? open : 0);
}

void loaded_close(struct loaded *l)
{
    for (size_t i = 0; i < l->agents.n; i++) {
        free(l->agents.v[i].job);
        free(l->agents.v[i].host);
    }
    vec_free(&l->agents);
    for (size_t i = 0; i < l->jobs.n; i++)
        free(l->jobs.v[i]);
    vec_free(&l->jobs);
    for (size_t i = 0; i < l->settings.n; i++)
        free(l->settings.v[i]);
    vec_free(&l->settings);
    if (l->sw)
        history_clear(&l->history);
    accounts_free(l->accounts);
    costs_free(l->costs);
    orders_free(l->orders);
    sweep_free(l->sw);
    sweepfile_free(l->file);
    free(l->why_paused);
    free(l->dir);
    *l = (struct loaded){0};
}

enum serving sweep_served(const char *dir, struct controller_file *f)
{
    char host[256] = "";

    if (controller_file_read(dir, f, NULL) != 0 || strcmp(f->state, "running") != 0)
        return SERVING_NO;
    gethostname(host, sizeof(host) - 1);
    if (strcmp(host, f->host) != 0)
        return SERVING_ELSEWHERE;
    return proc_start_time((pid_t)f->pid) == f->pid_start ? SERVING_HERE : SERVING_NO;
}
