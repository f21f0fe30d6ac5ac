#include "sched/spec.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

const char *const schedule_names[] = {"asha", "hyperband", "sha", "median",
                                      "pbt",  "none",      NULL};
const char *const mode_names[] = {"promote", "stop", NULL};

void spec_init(struct spec *s)
{
    *s = (struct spec){
        .objectives = 1,
        .search = SEARCH_RANDOM,
        .trials = 1,
        .multivariate = true,
        .schedule = SCHEDULE_ASHA,
        .mode = MODE_PROMOTE,
        .grace_period = 1,
        .max_t = 1,
        .eta = {3, 0},
        .brackets = 1,
        .finalists = 1,
        .min_trials = 3,
        .in_place = true,
        .retry_failures = 2,
        .oom_param = -1,
        .oom_factor = 0.5,
        .oom_min = 1,
    };
}

void spec_clear(struct spec *s)
{
    for (int i = 0; i < s->n_start; i++) {
        values_free(s->start[i], space_count(s->space));
        free(s->start[i]);
    }
    free(s->start);
    for (int i = 0; i < s->objectives; i++)
        free(s->objective[i].name);
    space_free(s->space);
    spec_init(s);
}

bool spec_has_rungs(const struct spec *s)
{
    return s->schedule == SCHEDULE_ASHA || s->schedule == SCHEDULE_PBT ||
           spec_synchronous(s);
}

bool spec_has_grace(const struct spec *s)
{
    return s->schedule != SCHEDULE_NONE && s->schedule != SCHEDULE_PBT;
}

bool spec_synchronous(const struct spec *s)
{
    return s->schedule == SCHEDULE_HYPERBAND || s->schedule == SCHEDULE_SHA;
}

int spec_levels(const struct spec *s, struct levels *lv, struct err *e)
{
    int64_t r = spec_has_rungs(s) ? s->grace_period : s->max_t;
    int rc = s->schedule == SCHEDULE_PBT ? levels_every(lv, s->interval, s->max_t, e)
                                         : levels_make(lv, r, s->eta, s->max_t, e);

    if (!rc && s->schedule == SCHEDULE_HYPERBAND)
        levels_merge_last(lv);
    return rc;
}

bool spec_promotes(const struct spec *s)
{
    return spec_has_rungs(s) && s->mode == MODE_PROMOTE;
}

void spec_metrics(const struct spec *s, struct str *out)
{
    for (int i = 0; i < s->objectives; i++)
        str_addf(out, "%s%s",
                 i == 0                  ? ""
                 : i + 1 < s->objectives ? ", "
                                         : " and ",
                 s->objective[i].name);
}

void spec_metrics_json(const struct spec *s, struct str *out)
{
    json_put_key(out, "metrics");
    json_put_object(out);
    for (int i = 0; i < s->objectives; i++) {
        json_put_key(out, s->objective[i].name);
        json_put_str(out, objective_mode(&s->objective[i]));
    }
    json_put_close(out, '}');
}

static int64_t total(const struct spec *s, int64_t points)
{
    int64_t all;
    if (s->search != SEARCH_GRID)
        return s->trials;
    if (points < 0 || __builtin_mul_overflow(points, s->trials, &all) ||
        __builtin_add_overflow(all, (int64_t)s->n_start, &all))
        return INT64_MAX;
    return all;
}

int64_t spec_total(const struct spec *s)
{
    return total(s, s->search == SEARCH_GRID ? space_grid_points(s->space) : 0);
}

int64_t spec_planned(const struct spec *s)
{
    return total(s, s->search == SEARCH_GRID ? search_grid_points(s->space) : 0);
}
