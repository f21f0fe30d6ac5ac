/* What must hold between the keys of a sweep file, whether they come from the file or
 * from `rung resume --set`. */
#include "launcher/sweepfile_read.h"
#include "sched/cmaes.h"
#include "sched/gp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void whole_nodes(const struct sweepfile *f, struct str *why)
{
    if (f->slots_per_job > 1 && f->resources.nodes != 1)
        str_addf(why,
                 "slots_per_job (%d) needs resources.nodes 1, and it is %d: several "
                 "slots can share a node, not several nodes",
                 f->slots_per_job, f->resources.nodes);
}

static void slots_in_job(const struct sweepfile *f, struct str *why)
{
    if (f->slots_per_job > f->slots)
        str_addf(why,
                 "slots_per_job (%d) is more than slots (%d): one job would exceed what "
                 "may run at once",
                 f->slots_per_job, f->slots);
}

static void tasks_on_nodes(const struct sweepfile *f, struct str *why)
{
    if (f->resources.tasks < f->resources.nodes)
        str_addf(why,
                 "resources.tasks (%d) is less than resources.nodes (%d): each node "
                 "needs a task",
                 f->resources.tasks, f->resources.nodes);
}

static void room_for_rungs(const struct sweepfile *f, struct str *why)
{
    if (f->spec.schedule != SCHEDULE_NONE && f->spec.schedule != SCHEDULE_PBT &&
        f->spec.max_t < f->spec.grace_period)
        str_addf(why, "schedule.max_t (%lld) is below schedule.grace_period (%lld)",
                 (long long)f->spec.max_t, (long long)f->spec.grace_period);
}

static void levels_exist(const struct sweepfile *f, struct str *why)
{
    const struct spec *s = &f->spec;
    struct levels lv;
    struct err e;
    if (!spec_has_rungs(s) || s->schedule == SCHEDULE_PBT || s->max_t < s->grace_period)
        return;
    if (spec_levels(s, &lv, &e) != 0)
        str_add(why, e.text);
    else
        levels_free(&lv);
}

static void brackets_fit(const struct sweepfile *f, struct str *why)
{
    const struct spec *s = &f->spec;
    struct levels lv;
    if (s->schedule != SCHEDULE_ASHA || spec_levels(s, &lv, NULL) != 0)
        return;
    if (s->brackets > lv.n) {
        str_addf(why, "schedule.brackets (%d) is more than the levels there are (%d:",
                 s->brackets, lv.n);
        for (int i = 0; i < lv.n && i < 8; i++)
            str_addf(why, "%s %lld", i ? "," : "", (long long)lv.step[i]);
        str_add(why, lv.n > 8 ? ", ...)" : ")");
    }
    levels_free(&lv);
}

static void interval_fits(const struct sweepfile *f, struct str *why)
{
    struct levels lv;
    struct err e;
    if (f->spec.schedule != SCHEDULE_PBT)
        return;
    if (f->spec.interval == 0)
        str_add(why, "schedule.method pbt needs schedule.interval: the steps after which "
                     "a trial is compared with the others");
    else if (spec_levels(&f->spec, &lv, &e) != 0)
        str_add(why, e.text);
    else
        levels_free(&lv);
}

static void population_has_quarters(const struct sweepfile *f, struct str *why)
{
    if (f->spec.schedule == SCHEDULE_PBT && spec_planned(&f->spec) < 4)
        str_addf(why,
                 "with schedule.method pbt the trials of the search (%lld) are its "
                 "population: at least 4, so that it has a best and a worst quarter",
                 (long long)spec_planned(&f->spec));
}

static void checkpoints_exist(const struct sweepfile *f, struct str *why)
{
    if (f->spec.schedule == SCHEDULE_PBT && f->parse)
        str_add(why, "schedule.method pbt begins trials from the checkpoints of others, "
                     "and with parse there are none: let the program report and save (or "
                     "use asha, whose mode stop needs no checkpoints)");
    else if (f->spec.schedule == SCHEDULE_PBT && f->spec.restart)
        str_add(why,
                "schedule.method pbt begins trials from the checkpoints of others, "
                "and `restart: true` says that there are none (asha can do without)");
}

static int grids(const struct sweepfile *f)
{
    int n = 0;
    for (int d = 0; d < space_dims(f->spec.space); d++)
        n += space_dim(f->spec.space, d)->kind == DIM_GRID;
    return n;
}

static void grid_exists(const struct sweepfile *f, struct str *why)
{
    if (f->spec.search == SEARCH_GRID && grids(f) == 0)
        str_add(why,
                "search.method grid needs a parameter with grid(...), which lists the "
                "values to try");
}

static void countable(const struct sweepfile *f, struct str *why)
{
    if (f->spec.search == SEARCH_GRID && spec_total(&f->spec) > INT32_MAX)
        str_addf(why, "the grid, its draws and start are more than %d trials", INT32_MAX);
}

static void sobol_fits(const struct sweepfile *f, struct str *why)
{
    bool sobol = f->spec.search == SEARCH_SOBOL || f->spec.search == SEARCH_GP;
    if (sobol && space_dims(f->spec.space) > SOBOL_DIMS)
        str_addf(why, "search.method %s has %d dimensions at most, and the space has %d",
                 search_names[f->spec.search], SOBOL_DIMS, space_dims(f->spec.space));
}

static void cmaes_moves(const struct sweepfile *f, struct str *why)
{
    if (f->spec.search == SEARCH_CMAES && cmaes_axes(f->spec.space) == 0)
        str_add(why, "search.method cmaes needs a parameter that is drawn from numbers");
}

static void learns_from(const struct sweepfile *f, struct str *why)
{
    if (f->from && !search_by_model(f->spec.search))
        str_addf(why,
                 "search.from is for a search that learns, such as tpe, and %s does not",
                 search_names[f->spec.search]);
}

static void search_ranks(const struct sweepfile *f, struct str *why)
{
    if (f->spec.objectives > 1 && !search_of_several(f->spec.search))
        str_addf(
            why,
            "search.method %s models one metric, and metrics has %d: tpe learns from "
            "several, and random, sobol and grid need none",
            search_names[f->spec.search], f->spec.objectives);
}

static void learns_of_one(const struct sweepfile *f, struct str *why)
{
    if (f->spec.objectives > 1 && f->from)
        str_addf(why, "search.from tells of one metric, and metrics has %d: leave it out",
                 f->spec.objectives);
}

static void schedule_ranks(const struct sweepfile *f, struct str *why)
{
    const struct spec *s = &f->spec;
    bool ranks = spec_promotes(s) && s->schedule != SCHEDULE_PBT;
    if (s->objectives == 1 || s->schedule == SCHEDULE_NONE || ranks)
        return;
    str_addf(why, "schedule.%s %s compares values of one metric, and metrics has %d: ",
             s->schedule == SCHEDULE_ASHA ? "mode" : "method",
             s->schedule == SCHEDULE_ASHA ? "stop" : schedule_names[s->schedule],
             s->objectives);
    str_add(why, "asha's mode promote, hyperband and sha rank by several (promote with "
                 "parse needs `restart: true`), and none runs every trial to max_t");
}

static void stops_at_value(const struct sweepfile *f, struct str *why)
{
    if (f->spec.objectives > 1 && !isnan(f->stop.metric))
        str_addf(why,
                 "stop.metric is a value of one metric, and metrics has %d: stop.plateau "
                 "ends a sweep whose Pareto front grows no more",
                 f->spec.objectives);
}

static void improves_by(const struct sweepfile *f, struct str *why)
{
    if (f->spec.objectives > 1 && f->spec.improvement > 0)
        str_addf(why,
                 "stop.plateau.improvement is in the unit of one metric, and metrics has "
                 "%d: leave it out, and whatever betters the Pareto front counts",
                 f->spec.objectives);
}

static void starts_count(const struct sweepfile *f, struct str *why)
{
    if (f->spec.search != SEARCH_GRID && f->spec.n_start > f->spec.trials)
        str_addf(
            why,
            "start has %d entries, more than search.trials (%lld), which counts them in",
            f->spec.n_start, (long long)f->spec.trials);
}

void rules_derive(struct sweepfile *f)
{
    f->spec.chosen |= f->spec.search == SEARCH_AUTO;
    if (f->spec.chosen)
        f->spec.search =
            search_best(f->spec.space, f->slots, gp_present() && f->spec.objectives == 1);
    if (f->spec.search == SEARCH_GRID && grids(f) == space_dims(f->spec.space))
        f->spec.trials = 1; /* a second draw of the same point would be the same */
    f->spec.in_place = f->trials_per_job != 1 && !f->command_has_until &&
                       f->spec.schedule != SCHEDULE_PBT;
    f->stop.has_metric = !isnan(f->stop.metric);
    if (isnan(f->spec.improvement)) /* "none" */
        f->spec.improvement = 0;
}

/* The first of `needs` is the key to blame. */
static const struct {
    void (*check)(const struct sweepfile *f, struct str *why);
    enum key_id needs[4];
    int n;
} rules[] = {
    {whole_nodes, {KEY_SLOTS_PER_JOB, KEY_NODES}, 2},
    {slots_in_job, {KEY_SLOTS_PER_JOB, KEY_SLOTS}, 2},
    {tasks_on_nodes, {KEY_TASKS, KEY_NODES}, 2},
    {room_for_rungs, {KEY_MAX_T, KEY_GRACE_PERIOD, KEY_SCHEDULE_METHOD}, 3},
    {levels_exist, {KEY_REDUCTION_FACTOR, KEY_MAX_T, KEY_GRACE_PERIOD}, 3},
    {brackets_fit, {KEY_BRACKETS, KEY_MAX_T, KEY_GRACE_PERIOD, KEY_REDUCTION_FACTOR}, 4},
    {interval_fits, {KEY_SCHEDULE_METHOD, KEY_INTERVAL, KEY_MAX_T}, 3},
    {population_has_quarters, {KEY_SEARCH_TRIALS, KEY_SCHEDULE_METHOD, KEY_SPACE}, 3},
    {checkpoints_exist, {KEY_SCHEDULE_METHOD, KEY_RESTART, KEY_PARSE}, 3},
    {grid_exists, {KEY_SEARCH_METHOD, KEY_SPACE}, 2},
    {countable, {KEY_SEARCH_TRIALS, KEY_SEARCH_METHOD, KEY_SPACE}, 3},
    {sobol_fits, {KEY_SEARCH_METHOD, KEY_SPACE}, 2},
    {cmaes_moves, {KEY_SEARCH_METHOD, KEY_SPACE}, 2},
    {learns_from, {KEY_SEARCH_FROM, KEY_SEARCH_METHOD}, 2},
    {starts_count, {KEY_SEARCH_TRIALS, KEY_SEARCH_METHOD}, 2},
    {search_ranks, {KEY_SEARCH_METHOD, KEY_METRICS}, 2},
    {learns_of_one, {KEY_SEARCH_FROM, KEY_METRICS}, 2},
    {schedule_ranks, {KEY_SCHEDULE_METHOD, KEY_SCHEDULE_MODE, KEY_METRICS}, 3},
    {stops_at_value, {KEY_STOP_METRIC, KEY_METRICS}, 2},
    {improves_by, {KEY_PLATEAU_IMPROVEMENT, KEY_METRICS}, 2},
};

void rules_check(const struct sweepfile *f, const bool bad[],
                 void (*tell)(void *ctx, enum key_id key, const char *sentence),
                 void *ctx)
{
    struct str why = STR_INIT;
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        bool usable = true;
        for (int k = 0; bad && k < rules[i].n; k++)
            usable &= !bad[rules[i].needs[k]];
        str_cut(&why, 0);
        if (usable)
            rules[i].check(f, &why);
        if (why.len)
            tell(ctx, rules[i].needs[0], why.p);
    }
    str_free(&why);
}

/* ---- rung resume --set ---- */

static void tell_err(void *ctx, enum key_id key, const char *sentence)
{
    struct err *e = ctx;
    (void)key;
    if (!e->code)
        err_set(e, ERR_INVAL, "%s", sentence);
}

static int not_settable(const char *name, struct err *e)
{
    struct str s = STR_INIT;
    const char *names[KEYS];
    size_t n = 0;
    for (int i = 0; i < KEYS; i++)
        if (keys[i].settable)
            names[n++] = keys[i].path;
    str_addf(&s, "'%s' %s", shown(name, strlen(name)).text,
             key_find(name) < 0 ? "is no key" : "cannot be changed");
    if (key_find(name) < 0)
        add_suggestion(&s, name, names, n);
    str_add(&s, "; these can:");
    for (size_t i = 0; i < n; i++)
        str_addf(&s, "%s %s", i ? "," : "", names[i]);
    int rc = err_set(e, ERR_INVAL, "%s", s.p);
    str_free(&s);
    return rc;
}

int sweepfile_set(struct sweepfile *f, const char *key, const char *value, struct err *e)
{
    int id = key_find(key);
    if (id < 0 || !keys[id].settable)
        return not_settable(key, e);
    char before[sizeof(double)];
    char *field = (char *)f + keys[id].offset;
    struct err why = {0};
    memcpy(before, field, keys[id].size);
    if (key_read(&keys[id], value, f, &why) == 0)
        rules_check(f, NULL, tell_err, &why);
    if (why.code) {
        memcpy(field, before, keys[id].size);
        return err_set(e, why.code, "%s", why.text);
    }
    rules_derive(f);
    return 0;
}
