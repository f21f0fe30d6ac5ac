/* Each table is a list of columns: name, what it begins as, unit, and the expression that
 * gives its value in row i. The list makes both the columns and the function that fills a
 * row, so that they cannot part. */
#include "store/tables.h"

#include "base/vec.h"
#include "store/h5.h"

#include <stdlib.h>
#include <string.h>

#define SINCE "s since 1970-01-01 00:00:00 UTC"

#define COLUMN_(name, type, unit, expression) {#name, unit, COLUMN_##type, NULL, 0, 0},
#define CELL_(name, type, unit, expression)   *cells++ = (expression);
#define COUNT_(name, type, unit, expression)  +1

/* Who is given the tables. */
struct reader {
    int (*fn)(void *ctx, const struct table *t, struct err *e);
    void *ctx;
    struct err *e;
};

void table_row(const struct table *t, size_t i, struct value cells[])
{
    for (size_t c = 0; c < t->n_columns; c++)
        cells[c].kind = VALUE_ABSENT;
    t->row(t->ctx, i, cells);
}

static struct value whole(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .i = i};
}

static struct value real(double r)
{
    return (struct value){.kind = VALUE_REAL, .r = r};
}

static struct value word(const char *s)
{
    return (struct value){.kind = VALUE_STR, .s = s};
}

/* A count from 1, of which 0 means that there is none. */
static struct value from_one(uint32_t n)
{
    return whole(n ? (int64_t)n : -1);
}

/* ---- names ---- */

/* pandas does not show columns with such names: they are its own. */
static bool hidden(const char *name)
{
    return name[0] == '\0' ||
           (name[0] == '_' && strchr("cfgiv", name[1]) && name[1] && name[2] == '_');
}

static bool taken(struct map *names, const char *name)
{
    uint32_t i;

    return map_get(names, hash64(name, strlen(name)), &i);
}

static void take(struct map *names, const char *name)
{
    map_put(names, hash64(name, strlen(name)), 0);
}

/* The name of a column for what was called `original`, another than those taken; it is
 * then taken, too. */
static char *name_column(struct map *names, const char *prefix, const char *original)
{
    struct str name = STR_INIT;

    str_addf(&name, "%s%s", prefix, original);
    for (size_t k = 0; k < name.len; k++)
        if (name.p[k] == '/')
            name.p[k] = '.';
    while (hidden(name.p) || taken(names, name.p)) {
        char *shorter = str_take(&name);
        str_addf(&name, "m_%s", shorter);
        free(shorter);
    }
    take(names, name.p);
    return str_take(&name);
}

/* ---- /trials ---- */

#define TRIAL_COLUMNS(X)                                                                 \
    X(trial, INT, "", whole((int64_t)i))                                                 \
    X(parent, INT, "", whole(t->parent))                                                 \
    X(state, TEXT, "", word(trial_state_name((enum trial_state)t->state)))               \
    X(bracket, INT, "", whole(t->bracket))                                               \
    X(rung, INT, "", whole(t->rung))                                                     \
    X(step, INT, "steps", whole(t->last_step))                                           \
    X(metric, NUM, "", real(t->metric.v[0]))                                             \
    X(best_metric, NUM, "", real(t->best.v[0]))                                          \
    X(best_step, INT, "steps", whole(t->best_step))                                      \
    X(attempts, INT, "", whole(t->attempts))                                             \
    X(created, NUM, SINCE, real(t->created))                                             \
    X(started, NUM, SINCE, real(t->started))                                             \
    X(ended, NUM, SINCE, real(t->ended))                                                 \
    X(seconds, NUM, "s", real(t->seconds))

enum { TRIAL_FIXED = 0 TRIAL_COLUMNS(COUNT_) };

struct trials {
    const struct sweep *sw;
    const struct space *space;
    struct value *values; /* of the parameters of one trial */
    int32_t *front;       /* of each trial; NULL where there is one objective */
};

/* Of several objectives each, and the front. */
static struct value *objective_cells(const struct trials *all, size_t i,
                                     struct value *cells)
{
    const struct trial *t = sweep_trial(all->sw, (int32_t)i);
    int n = sweep_spec(all->sw)->objectives;

    if (!all->front)
        return cells;
    for (int k = 0; k < n; k++)
        *cells++ = real(t->metric.v[k]);
    for (int k = 0; k < n; k++)
        *cells++ = real(t->best.v[k]);
    *cells++ = whole(all->front[i]);
    return cells;
}

static void trial_row(void *ctx, size_t i, struct value cells[])
{
    struct trials *all = ctx;
    const struct trial *t = sweep_trial(all->sw, (int32_t)i);
    int n = space_count(all->space);
    struct json j;

    TRIAL_COLUMNS(CELL_)
    cells = objective_cells(all, i, cells);
    values_free(all->values, n);
    for (int p = 0; p < n; p++)
        all->values[p].kind = VALUE_ABSENT;
    json_begin(&j, t->params, strlen(t->params));
    if (space_scan(all->space, &j, all->values, NULL) != 0)
        return; /* of a sweep file that was since changed by hand */
    for (int p = 0; p < n; p++)
        *cells++ = all->values[p];
}

static enum column_type parameter_type(const struct space *space, int p)
{
    switch (space_type(space, p)) {
    case VALUE_INT: return space_conditional(space, p) ? COLUMN_NUM : COLUMN_INT;
    case VALUE_REAL: return COLUMN_NUM;
    default: return COLUMN_TEXT;
    }
}

/* The columns behind the fixed ones; their names are to be freed. */
static size_t add_columns(const struct spec *spec, struct column columns[])
{
    static const char *const prefixes[] = {"metric_", "best_metric_"};
    const struct space *space = spec->space;
    struct map names = {0};
    size_t n = 0;

    for (size_t p = 0; p < 2 && spec->objectives > 1; p++)
        for (int k = 0; k < spec->objectives; k++)
            columns[n++] = (struct column){
                .name = name_column(&names, prefixes[p], spec->objective[k].name),
                .unit = "",
                .type = COLUMN_NUM};
    if (spec->objectives > 1)
        columns[n++] =
            (struct column){.name = mem_strdup("front"), .unit = "", .type = COLUMN_INT};
    for (int p = 0; p < space_count(space); p++) {
        struct str name = STR_INIT;
        str_addf(&name, "hp_%s", space_name(space, p));
        columns[n++] = (struct column){
            .name = str_take(&name), .unit = "", .type = parameter_type(space, p)};
    }
    map_free(&names);
    return n;
}

static int with_trials(const struct sweep *sw, const struct reader *to)
{
    static const struct column fixed[TRIAL_FIXED] = {TRIAL_COLUMNS(COLUMN_)};
    const struct spec *spec = sweep_spec(sw);
    size_t n = (size_t)space_count(spec->space), rows = (size_t)sweep_trials(sw);
    struct trials all = {sw, spec->space, mem_alloc(n * sizeof(struct value)), NULL};
    struct column *columns =
        mem_alloc((TRIAL_FIXED + 2 * OBJECTIVES_MAX + 1 + n) * sizeof(*columns));

    if (spec->objectives > 1) {
        all.front = mem_alloc(rows * sizeof(*all.front));
        sweep_fronts(sw, all.front);
    }
    memcpy(columns, fixed, sizeof(fixed));
    struct table table = {.name = "trials",
                          .columns = columns,
                          .n_columns =
                              TRIAL_FIXED + add_columns(spec, columns + TRIAL_FIXED),
                          .n_keys = 1,
                          .rows = rows,
                          .row = trial_row,
                          .ctx = &all};
    int rc = to->fn(to->ctx, &table, to->e);
    values_free(all.values, (int)n);
    for (size_t c = TRIAL_FIXED; c < table.n_columns; c++)
        free((char *)columns[c].name);
    free(columns);
    free(all.values);
    free(all.front);
    return rc;
}

/* ---- /metrics ---- */

#define METRIC_COLUMNS(X)                                                                \
    X(trial, INT, "", whole(r->trial))                                                   \
    X(attempt, INT, "", whole(r->attempt))                                               \
    X(step, INT, "steps", whole(r->step))                                                \
    X(rung, INT, "", whole(r->rung))                                                     \
    X(time, NUM, SINCE, real(r->time))                                                   \
    X(elapsed, NUM, "s", real(r->elapsed))

enum { METRIC_FIXED = 0 METRIC_COLUMNS(COUNT_), METRIC_KEYS = 3 };

static const struct column metric_fixed[METRIC_FIXED] = {METRIC_COLUMNS(COLUMN_)};

static void metric_row(void *ctx, size_t i, struct value cells[])
{
    const struct history *h = ctx;
    const struct report_row *r = &h->reports.v[i];

    METRIC_COLUMNS(CELL_)
    for (uint32_t k = 0; k < r->n_cells; k++) {
        const struct metric_cell *cell = &h->cells.v[r->first_cell + k];
        cells[cell->column] = real(cell->value);
    }
}

void h5_metric_columns(const struct history *h, char ***columns, size_t *n)
{
    char **list = mem_alloc((h->names.n + 1) * sizeof(*list));
    struct map names = {0};

    for (size_t c = 0; c < METRIC_FIXED; c++)
        take(&names, metric_fixed[c].name);
    for (size_t c = 0; c < h->names.n; c++)
        list[c] = name_column(&names, "", h->names.v[c]);
    map_free(&names);
    *columns = list;
    *n = h->names.n;
}

static int with_metrics(const struct history *h, const struct reader *to)
{
    char **names;
    size_t n;

    h5_metric_columns(h, &names, &n);
    struct column *columns = mem_alloc((METRIC_FIXED + n) * sizeof(*columns));
    memcpy(columns, metric_fixed, sizeof(metric_fixed));
    for (size_t c = 0; c < n; c++)
        columns[METRIC_FIXED + c] = (struct column){
            .name = names[c], .unit = "", .type = COLUMN_NUM, .original = h->names.v[c]};
    struct table table = {.name = "metrics",
                          .columns = columns,
                          .n_columns = METRIC_FIXED + n,
                          .n_keys = METRIC_KEYS,
                          .rows = h->reports.n,
                          .originals = true,
                          .row = metric_row,
                          .ctx = (void *)h};
    int rc = to->fn(to->ctx, &table, to->e);
    for (size_t c = 0; c < n; c++)
        free(names[c]);
    free(names);
    free(columns);
    return rc;
}

/* ---- /rungs ---- */

#define RUNG_COLUMNS(X)                                                                  \
    X(bracket, INT, "", whole(all->v[i].bracket))                                        \
    X(rung, INT, "", whole(all->v[i].rung))                                              \
    X(milestone, INT, "steps", whole(info.milestone))                                    \
    X(reported, INT, "", whole(info.reported))                                           \
    X(promoted, INT, "", whole(info.promoted))                                           \
    X(stopped, INT, "", whole(info.stopped))                                             \
    X(cutoff, NUM, "", real(info.cutoff))

enum { RUNG_FIXED = 0 RUNG_COLUMNS(COUNT_) };

struct rungs {
    const struct sweep *sw;
    struct rung_place {
        int bracket, rung;
    } * v;
    size_t n;
};

static void rung_row(void *ctx, size_t i, struct value cells[])
{
    const struct rungs *all = ctx;
    struct rung_info info = sweep_rung(all->sw, all->v[i].bracket, all->v[i].rung);

    RUNG_COLUMNS(CELL_)
}

static int with_rungs(const struct sweep *sw, const struct reader *to)
{
    struct column columns[RUNG_FIXED] = {RUNG_COLUMNS(COLUMN_)};
    struct rungs all = {.sw = sw};

    for (int s = 0; s < sweep_brackets(sw); s++)
        all.n += (size_t)sweep_rungs(sw, s);
    all.v = mem_alloc(all.n * sizeof(*all.v));
    size_t i = 0;
    for (int s = 0; s < sweep_brackets(sw); s++)
        for (int k = 0; k < sweep_rungs(sw, s); k++)
            all.v[i++] = (struct rung_place){s, k};
    struct table table = {.name = "rungs",
                          .columns = columns,
                          .n_columns = RUNG_FIXED,
                          .n_keys = 2,
                          .rows = all.n,
                          .row = rung_row,
                          .ctx = &all};
    int rc = to->fn(to->ctx, &table, to->e);
    free(all.v);
    return rc;
}

/* ---- /decisions ---- */

#define DECISION_COLUMNS(X)                                                              \
    X(time, NUM, SINCE, real(d->time))                                                   \
    X(trial, INT, "", whole(d->trial))                                                   \
    X(bracket, INT, "", whole(d->bracket))                                               \
    X(rung, INT, "", whole(d->rung))                                                     \
    X(step, INT, "steps", whole(d->step))                                                \
    X(value, NUM, "", real(d->value))                                                    \
    X(rank, INT, "", from_one(d->rank))                                                  \
    X(size, INT, "", from_one(d->size))                                                  \
    X(cutoff, NUM, "", real(d->cutoff))                                                  \
    X(decision, TEXT, "", word(d->promote ? "promote" : decision_name(d->decision)))

enum { DECISION_FIXED = 0 DECISION_COLUMNS(COUNT_) };

static void decision_row(void *ctx, size_t i, struct value cells[])
{
    const struct history *h = ctx;
    const struct decision_row *d = &h->decisions.v[i];

    DECISION_COLUMNS(CELL_)
}

static int with_decisions(const struct history *h, const struct reader *to)
{
    struct column columns[DECISION_FIXED] = {DECISION_COLUMNS(COLUMN_)};
    struct table table = {.name = "decisions",
                          .columns = columns,
                          .n_columns = DECISION_FIXED,
                          .n_keys = 2,
                          .rows = h->decisions.n,
                          .row = decision_row,
                          .ctx = (void *)h};

    return to->fn(to->ctx, &table, to->e);
}

/* ---- /attempts ---- */

#define ATTEMPT_COLUMNS(X)                                                               \
    X(trial, INT, "", whole(a->trial))                                                   \
    X(attempt, INT, "", whole(a->attempt))                                               \
    X(first_step, INT, "steps", whole(a->first_step))                                    \
    X(last_step, INT, "steps", whole(a->last_step))                                      \
    X(started, NUM, SINCE, real(a->started))                                             \
    X(ended, NUM, SINCE, real(a->ended))                                                 \
    X(outcome, TEXT, "", word(a->open ? "" : outcome_name(a->outcome)))                  \
    X(exit_code, INT, "", whole(a->exit_code))                                           \
    X(signal, INT, "", whole(a->signal))                                                 \
    X(override, TEXT, "JSON", word(a->override))                                         \
    X(slurm_job, TEXT, "", word(a->slurm_job))                                           \
    X(slurm_step, TEXT, "", word(a->slurm_step))                                         \
    X(slurm_state, TEXT, "", word(a->slurm_state))                                       \
    X(node, TEXT, "", word(a->node))                                                     \
    X(cpu_seconds, NUM, "s", real(a->cpu_seconds))                                       \
    X(max_rss, NUM, "bytes", real(a->max_rss))                                           \
    X(gpu_seconds, NUM, "s", real(a->gpu_seconds))                                       \
    X(gpu_util, NUM, "", real(a->gpu_util))                                              \
    X(gpu_mem_peak, NUM, "bytes", real(a->gpu_mem_peak))                                 \
    X(gpu_energy_joules, NUM, "J", real(a->gpu_energy))                                  \
    X(energy_joules, NUM, "J", real(a->energy))

enum { ATTEMPT_FIXED = 0 ATTEMPT_COLUMNS(COUNT_) };

static void attempt_row(void *ctx, size_t i, struct value cells[])
{
    const struct history *h = ctx;
    const struct attempt_row *a = &h->attempts.v[i];

    ATTEMPT_COLUMNS(CELL_)
}

static int with_attempts(const struct history *h, const struct reader *to)
{
    struct column columns[ATTEMPT_FIXED] = {ATTEMPT_COLUMNS(COLUMN_)};
    struct table table = {.name = "attempts",
                          .columns = columns,
                          .n_columns = ATTEMPT_FIXED,
                          .n_keys = 2,
                          .rows = h->attempts.n,
                          .row = attempt_row,
                          .ctx = (void *)h};

    return to->fn(to->ctx, &table, to->e);
}

int tables_each(const struct sweep *sw, const struct history *h,
                int (*fn)(void *ctx, const struct table *t, struct err *e), void *ctx,
                struct err *e)
{
    const struct reader to = {fn, ctx, e};
    int rc = with_trials(sw, &to);

    if (!rc)
        rc = with_metrics(h, &to);
    if (!rc)
        rc = with_rungs(sw, &to);
    if (!rc)
        rc = with_decisions(h, &to);
    if (!rc)
        rc = with_attempts(h, &to);
    return rc;
}
