#include "launcher/look.h"

#include "base/clock.h"

#include <stdlib.h>

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
    free(found);
    return rc == 0 ? EXIT_GOOD : cli_fail(self, EXIT_FAILED, "%s", e.text);
}

struct view look_view(const struct loaded *l)
{
    const struct sweep_totals *n = sweep_totals(l->sw);
    struct controller_file f;
    bool served = !n->finished && sweep_served(l->dir, &f) != SERVING_NO;
    struct view v = {.sw = l->sw,
                     .file = l->file,
                     .dir = l->dir,
                     .now = served ? clock_wall() : l->last_event,
                     .steps_before = l->steps_before,
                     .uptime_before = l->uptime,
                     .busy = n->open,
                     .epoch = l->replay.pos.epoch};

    v.uptime = loaded_uptime(l, v.now);
    if (n->finished) {
        v.state = "finished";
    } else if (served) {
        v.state = n->pausing ? "pausing" : "running";
        for (size_t i = 0; i < l->agents.n; i++)
            v.slots += l->agents.v[i].slots;
    } else if (n->pausing && n->open == 0) {
        v.state = "paused";
        v.note = "`rung resume` goes on";
    } else {
        v.state = "interrupted";
        v.note = "no controller serves this sweep; `rung resume` goes on";
    }
    return v;
}

int look_surplus(const struct cli_command *self, const char *argument)
{
    return cli_fail(self, EXIT_USAGE, "one argument too many: '%s'", argument);
}
