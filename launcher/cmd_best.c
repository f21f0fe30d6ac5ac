#include "base/num.h"
#include "launcher/cli.h"
#include "launcher/columns.h"
#include "launcher/commands.h"
#include "launcher/look.h"
#include "sched/state_json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_COUNT, OPT_JSON };
const struct cli_option best_options[] = {
    [OPT_COUNT] = {"count", 'n', "K",
                   "how many (default: 10; with several metrics the Pareto front)"},
    [OPT_JSON] = {"json", 'j', NULL,
                  "as one JSON object: {\"best\":[...],\"cost\":{...}}"},
    {0}};

static void put_row(const struct loaded *l, int32_t trial, int32_t front,
                    struct columns *table)
{
    const struct trial *t = sweep_trial(l->sw, trial);
    const struct spec *spec = &l->file->spec;
    const struct space *space = spec->space;
    int n = space_count(space);
    struct value *values = look_params(l, trial, false);
    struct str text = STR_INIT;

    columns_int(table, trial);
    for (int i = 0; i < spec->objectives; i++)
        columns_num(table, t->best.v[i], 5);
    if (spec->objectives > 1)
        columns_int(table, front);
    columns_int(table, t->best_step);
    columns_cell(table, trial_state_name(t->state));
    for (int p = 0; p < n; p++) {
        str_cut(&text, 0);
        look_value(values[p], &text);
        columns_cell(table, text.p);
    }
    str_free(&text);
    values_free(values, n);
    free(values);
}

static void put_table(const struct loaded *l, const int32_t best[], int n,
                      struct str *out)
{
    const struct spec *spec = &l->file->spec;
    const struct space *space = spec->space;
    int32_t *front = mem_alloc((size_t)sweep_trials(l->sw) * sizeof(*front));
    struct columns table = {0};

    columns_head(&table, "trial");
    for (int i = 0; i < spec->objectives; i++)
        columns_head(&table, spec->objective[i].name);
    if (spec->objectives > 1) {
        columns_head(&table, "front");
        sweep_fronts(l->sw, front);
    }
    columns_head(&table, "step");
    columns_head(&table, "state");
    for (int p = 0; p < space_count(space); p++)
        columns_head(&table, space_name(space, p));
    for (int i = 0; i < n; i++)
        put_row(l, best[i], front[best[i]], &table);
    columns_print(&table, 0, out);
    free(front);
}

/* How many are shown unless it is said. */
static int64_t usual_count(const struct loaded *l)
{
    return l->file->spec.objectives > 1 ? sweep_front(l->sw) : 10;
}

/* What the sweep cost, and of that the best trial. */
static void put_costs(const struct loaded *l, int32_t best, struct str *out)
{
    double now = look_view(l, NULL).now;
    struct cost sweep = costs_total(l->costs, now),
                trial = costs_trial(l->costs, best, now);

    str_add(out, "\ncost  ");
    view_cost(&sweep, out);
    str_addf(out, "\n      of these trial %d: ", best);
    view_cost(&trial, out);
    str_addc(out, '\n');
}

static void put_json(const struct loaded *l, int n, struct str *out)
{
    struct view v = look_view(l, NULL);

    json_put_object(out);
    json_put_key(out, "best");
    sweep_best_json(l->sw, n, out);
    json_put_key(out, "cost");
    view_cost_json(&v, out);
    json_put_close(out, '}');
    str_addc(out, '\n');
}

/* count 0: not said. */
static void print_best(const struct loaded *l, int64_t count, bool json)
{
    int trials = sweep_trials(l->sw);
    int64_t want = count > 0 ? count : usual_count(l);
    int n = want < trials ? (int)want : trials;
    int32_t *best = mem_alloc(((size_t)n + 1) * sizeof(*best));
    struct str out = STR_INIT;

    n = sweep_best(l->sw, best, n);
    if (json) {
        put_json(l, n, &out);
    } else if (n > 0) {
        put_table(l, best, n, &out);
        put_costs(l, best[0], &out);
    } else {
        str_add(&out, "no trial has reported a finite ");
        spec_metrics(&l->file->spec, &out);
        fprintf(stderr, "%s yet\n", out.p);
        str_cut(&out, 0);
    }
    fputs(out.p, stdout);
    str_free(&out);
    free(best);
}

int cmd_best(int argc, char **argv)
{
    const struct cli_command *self = cli_find("best");
    const char *value, *dir = NULL;
    int64_t count = 0;
    bool json = false;
    struct loaded l;
    struct cli c;
    int o, status;

    cli_begin(&c, self, argc, argv);
    while ((o = cli_next(&c, &value)) != CLI_END) {
        switch (o) {
        case OPT_COUNT:
            if (num_parse_int(value, strlen(value), &count) != 0 || count < 1)
                return cli_fail(self, EXIT_USAGE, "--count: no number of trials: '%s'",
                                value);
            break;
        case OPT_JSON: json = true; break;
        case CLI_POSITIONAL:
            if (dir)
                return look_surplus(self, value);
            dir = value;
            break;
        case CLI_HELP: return EXIT_GOOD;
        default: return EXIT_USAGE;
        }
    }
    status = look_open(self, dir, false, NULL, &l);
    if (status == EXIT_GOOD)
        print_best(&l, count, json);
    loaded_close(&l);
    return status;
}
