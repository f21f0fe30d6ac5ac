#include "launcher/viewer.h"

#include "base/clock.h"
#include "launcher/cli.h"
#include "launcher/export.h"
#include "launcher/view.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DRAW_SECONDS  0.25
#define LINE_SECONDS  30
#define SHARE         0.02 /* of the time, at most, for writing sweep.h5 */
#define EXPORT_FAILED 3    /* in a row: said once, and tried no more before the end */

struct viewer {
    const struct loaded *l;
    const struct controller_file *who;
    const struct gpu_rows *gpus;
    int32_t epoch;
    double view_seconds;
    bool quiet, terminal, colour;
    double began, next_draw, next_line;
    int drawn; /* lines of the screen that stand there */
    int32_t best_said;
    struct score best_score;
    bool notable; /* something worth a line happened */
    /* the child */
    pid_t child; /* 0: none runs */
    double child_began, child_took, next_child;
    int64_t written; /* journal_events() that the child was started for */
    int failures;
};

struct viewer *viewer_new(const struct loaded *l, const struct controller_file *who,
                          const struct gpu_rows *gpus, bool quiet, int32_t epoch,
                          double view_seconds)
{
    struct viewer *v = mem_alloc(sizeof(*v));
    const char *term = getenv("TERM");

    v->l = l;
    v->who = who;
    v->gpus = gpus;
    v->epoch = epoch;
    v->view_seconds = view_seconds;
    v->quiet = quiet;
    v->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    v->colour = v->terminal && !getenv("NO_COLOR");
    v->began = v->next_line = clock_mono();
    v->next_child = v->began + view_seconds; /* the first trials come first */
    v->best_said = -1;
    v->best_score = score_none(OBJECTIVES_MAX);
    v->written = -1;
    return v;
}

void viewer_free(struct viewer *v)
{
    if (!v)
        return;
    if (v->child > 0) {
        kill(v->child, SIGTERM);
        waitpid(v->child, NULL, 0);
    }
    free(v);
}

/* ---- drawing ---- */

static void erase(struct viewer *v)
{
    if (v->drawn > 0)
        fprintf(stderr, "\r\033[%dA\033[J", v->drawn); /* \r: behind a typed ^C */
    v->drawn = 0;
}

void viewer_stop(struct viewer *v)
{
    if (v)
        v->drawn = 0; /* the last screen stays */
}

static const char *word_of(enum controller_state state)
{
    static const char *const words[] = {[CONTROLLER_RUNNING] = "running",
                                        [CONTROLLER_PAUSING] = "pausing",
                                        [CONTROLLER_PAUSED] = "paused",
                                        [CONTROLLER_FINISHED] = "finished"};

    return words[state];
}

static struct view view_of(const struct viewer *v, int slots, const char *state)
{
    double now = clock_wall();

    return (struct view){.sw = v->l->sw,
                         .costs = v->l->costs,
                         .orders = v->l->orders,
                         .file = v->l->file,
                         .dir = v->l->dir,
                         .state = state,
                         .who = *v->who,
                         .gpus = v->gpus,
                         .now = now,
                         .uptime = loaded_uptime(v->l, now),
                         .steps_before = v->l->steps_before,
                         .uptime_before = v->l->uptime,
                         .slots = slots,
                         .busy = sweep_totals(v->l->sw)->open,
                         .epoch = v->epoch};
}

/* What does not fit is left out: the cursor cannot go back above the first line. */
static void draw(struct viewer *v, const struct view *view)
{
    struct winsize size = {.ws_col = 80, .ws_row = 24};
    struct str out = STR_INIT;
    size_t end = 0;

    ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    view_screen(view, size.ws_col >= 40 ? size.ws_col : 80, v->colour, &out);
    erase(v);
    while (end < out.len && (size.ws_row < 3 || v->drawn < size.ws_row - 1))
        v->drawn += out.p[end++] == '\n';
    fwrite(out.p, 1, end, stderr);
    str_free(&out);
}

static void line(struct viewer *v, const struct view *view)
{
    struct str out = STR_INIT;

    view_line(view, &out);
    fprintf(stderr, "%s\n", out.p);
    str_free(&out);
    v->notable = false;
}

void viewer_say(struct viewer *v, const char *text)
{
    erase(v);
    cli_say("%s", text);
    v->next_draw = 0;
}

void viewer_event(struct viewer *v, const struct event *ev, const struct verdict *verdict)
{
    const struct sweep_totals *n = sweep_totals(v->l->sw);

    (void)verdict;
    if (ev->kind != EVENT_REPORT || n->best < 0)
        return;
    if (n->best != v->best_said ||
        score_compare(&sweep_trial(v->l->sw, n->best)->best, &v->best_score) != 0) {
        v->best_said = n->best;
        v->best_score = sweep_trial(v->l->sw, n->best)->best;
        v->notable = true;
    }
}

static void show(struct viewer *v, int slots, enum controller_state state)
{
    double now = clock_mono();
    struct view view;

    if (v->quiet || now < v->next_draw)
        return;
    view = view_of(v, slots, word_of(state));
    if (v->terminal) {
        v->next_draw = now + DRAW_SECONDS;
        draw(v, &view);
    } else {
        v->next_draw = now + 1;
        if (v->notable || now >= v->next_line) {
            v->next_line = now + LINE_SECONDS;
            line(v, &view);
        }
    }
}

/* ---- the child that writes sweep.h5 ---- */

static void child_failed(struct viewer *v)
{
    if (++v->failures == EXPORT_FAILED)
        viewer_say(
            v, "sweep.h5 cannot be written (see above); the journal has everything, and "
               "`rung export --hdf5` writes it later");
}

/* Our environment, and whose child it is; free() the array. */
static char **child_environment(char *parent)
{
    VEC(char *) all = {0};

    for (char **var = environ; *var; var++)
        vec_push(&all, *var);
    vec_push(&all, parent);
    vec_push(&all, NULL);
    return all.v;
}

static void start_child(struct viewer *v, const struct journal *j)
{
    char self[] = "/proc/self/exe", name[] = "rung", export[] = "export",
         hdf5[] = "--hdf5";
    char upto[] = "--upto", at[64], parent[64];
    char **envp;
    char *const argv[] = {name, export, hdf5, upto, at, v->l->dir, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;

    snprintf(at, sizeof(at), "%d:%lld", (int)journal_epoch(j),
             (long long)journal_bytes(j));
    snprintf(parent, sizeof(parent), EXPORT_PARENT "=%ld", (long)getpid());
    envp = child_environment(parent);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    if (posix_spawn(&v->child, self, &files, &attr, argv, envp) != 0)
        v->child = 0;
    free(envp);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    v->child_began = clock_mono();
    v->written = journal_events(j);
    if (v->child == 0)
        child_failed(v);
}

static void child_ended(struct viewer *v, int status)
{
    double now = clock_mono();

    v->child = 0;
    v->child_took = now - v->child_began;
    v->next_child = now + fmax(v->view_seconds, v->child_took / SHARE);
    if (status == 0)
        v->failures = 0;
    else
        child_failed(v);
}

static void keep_fresh(struct viewer *v, const struct journal *j)
{
    int status;

    if (v->child > 0 && waitpid(v->child, &status, WNOHANG) == v->child)
        child_ended(v, status);
    if (v->child == 0 && v->failures < EXPORT_FAILED && clock_mono() >= v->next_child &&
        journal_events(j) != v->written)
        start_child(v, j);
}

void viewer_tick(struct viewer *v, const struct journal *j, int slots,
                 enum controller_state state)
{
    keep_fresh(v, j);
    show(v, slots, state);
}

static void await_child(struct viewer *v)
{
    int status = 0;

    if (v->child > 0 && waitpid(v->child, &status, 0) == v->child)
        child_ended(v, status);
}

/* Nobody comes after it who would write what it did not: it is tried until it is there,
 * or it is said that it is not; what was said before is tried once more. */
static void last_child(struct viewer *v, const struct journal *j)
{
    await_child(v);
    if (journal_events(j) == v->written && v->failures == 0)
        return;
    do {
        start_child(v, j);
        await_child(v);
    } while (v->failures > 0 && v->failures < EXPORT_FAILED);
}

/* ---- the end ---- */

void viewer_end(struct viewer *v, const struct journal *j, const char *state,
                const char *reason, bool json)
{
    struct view view = view_of(v, 0, state);
    struct str out = STR_INIT;

    if (v->terminal && !v->quiet)
        draw(v, &view);
    viewer_stop(v);
    last_child(v, j);
    if (!v->quiet && !v->terminal && !json)
        line(v, &view);
    if (json) {
        view_json(&view, &out);
        printf("%s\n", out.p);
    } else if (v->quiet || !v->terminal || !isatty(STDOUT_FILENO)) {
        view_best(&view, &out); /* else the screen has just said it */
        fputs(out.p, stdout);
    }
    if (strcmp(state, "finished") != 0) {
        str_cut(&out, 0);
        cli_quote(&out, v->l->dir);
        cli_say("paused: %s", reason);
        cli_say("go on with: rung resume %s", out.p);
    }
    str_free(&out);
}
