#include "launcher/look.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "launcher/submit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_MIN 40 /* what view_screen() needs */

int look_open(const struct cli_command *self, const char *dir, bool history,
              const struct journal_pos *limit, struct loaded *l)
{
    struct err e = {0};
    char *found = sweep_dir_find(dir, &e);
    int rc;

    *l = (struct loaded){0};
    if (!found)
        return cli_fail(self, EXIT_USAGE, "%s", e.text);
    rc = loaded_file(l, found, &e);
    l->limit = limit;
    if (rc == 0)
        rc = loaded_replay(l, history, &e);
    if (rc == ERR_NOENT && l->sw && submit_has_chain(found)) {
        char *name = submit_chain_name(found);

        err_set(
            &e, rc,
            "%s has not begun: its controller waits in Slurm's queue (squeue --name=%s)",
            found, name);
        free(name);
    }
    free(found);
    return rc == 0 ? EXIT_GOOD : cli_fail(self, EXIT_FAILED, "%s", e.text);
}

struct view look_view(const struct loaded *l, struct gpu_rows *gpus)
{
    const struct sweep_totals *n = sweep_totals(l->sw);
    struct view v = {.sw = l->sw,
                     .costs = l->costs,
                     .orders = l->orders,
                     .file = l->file,
                     .dir = l->dir,
                     .gpus = gpus,
                     .steps_before = l->steps_before,
                     .uptime_before = l->uptime,
                     .busy = n->open,
                     .epoch = l->replay.pos.epoch};
    bool served;

    served = sweep_served(l->dir, &v.who) != SERVING_NO && !n->finished;
    v.now = served ? clock_wall() : l->last_event;
    if (served && gpus)
        gpu_rows_read(l->dir, v.now, gpus);
    if (!served)
        *v.who.note = '\0'; /* that was then */
    v.uptime = loaded_uptime(l, v.now);
    if (n->finished) {
        v.state = "finished";
    } else if (served) {
        v.state = n->pausing ? "pausing" : "running";
        for (size_t i = 0; i < l->agents.n; i++)
            v.slots += l->agents.v[i].slots;
    } else if (n->pausing && n->open == 0) {
        v.state = "paused";
        v.note = l->why_paused;
    } else if (strcmp(v.who.state, "waiting") == 0) {
        v.state = "waiting";
        v.note = "its next controller waits in Slurm's queue";
    } else {
        v.state = "interrupted";
        v.note = "no controller serves this sweep; `rung resume` goes on";
    }
    return v;
}

struct look_size look_size(int fd)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return (struct look_size){80, 24};
    return (struct look_size){size.ws_col, size.ws_row};
}

bool look_colour(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) && term && strcmp(term, "dumb") != 0 && !getenv("NO_COLOR");
}

void look_screen(const struct loaded *l, int fd, struct str *out)
{
    struct gpu_rows gpus = {0};
    struct view v = look_view(l, &gpus);
    int width = look_size(fd).width;

    view_screen(&v, width >= WIDTH_MIN ? width : WIDTH_MIN, look_colour(fd), out);
    gpu_rows_free(&gpus);
}

void look_print(const struct loaded *l, bool json)
{
    struct str out = STR_INIT;

    if (json) {
        struct gpu_rows gpus = {0};
        struct view v = look_view(l, &gpus);

        view_json(&v, &out);
        str_addc(&out, '\n');
        gpu_rows_free(&gpus);
    } else {
        look_screen(l, STDOUT_FILENO, &out);
    }
    fputs(out.p, stdout);
    str_free(&out);
}

struct value *look_params(const struct loaded *l, int32_t trial, bool drawn)
{
    const struct space *space = l->file->spec.space;
    size_t n = (size_t)space_count(space);
    struct value *values = mem_alloc(n * sizeof(*values)); /* zero is ABSENT */
    struct str text = STR_INIT;
    struct json j;

    if (drawn)
        str_add(&text, sweep_trial(l->sw, trial)->params);
    else
        sweep_params(l->sw, trial, &text);
    json_begin(&j, text.p, text.len);
    space_scan(space, &j, values, NULL);
    str_free(&text);
    return values;
}

void look_value(struct value v, struct str *out)
{
    char number[NUM_MAX];

    if (v.kind == VALUE_ABSENT) {
        str_addc(out, '-');
    } else if (v.kind == VALUE_REAL) {
        num_format_short(number, v.r, 4);
        str_add(out, number);
    } else {
        value_text(v, out);
    }
}

char *look_trial_dir(const struct loaded *l, int32_t trial)
{
    struct str home = STR_INIT;
    char **names, *found = NULL;
    int64_t newest = 0, number;
    size_t n;

    str_addf(&home, "%s/trials/%06d", l->dir, trial);
    if (dir_list(home.p, &names, &n, NULL) == 0) {
        for (size_t i = 0; i < n; i++) {
            if (names[i][0] != 'a' ||
                num_parse_int(names[i] + 1, strlen(names[i] + 1), &number) != 0 ||
                number <= newest)
                continue;
            newest = number;
            free(found);
            found = path_join(home.p, names[i]);
        }
        free(names);
    }
    str_free(&home);
    return found;
}

char *look_attempt_dir(const struct loaded *l, int32_t trial, int32_t attempt)
{
    struct str path = STR_INIT;

    str_addf(&path, "%s/trials/%06d/a%02d", l->dir, trial, attempt);
    return str_take(&path);
}

int look_surplus(const struct cli_command *self, const char *argument)
{
    return cli_fail(self, EXIT_USAGE, "one argument too many: '%s'", argument);
}
