#include "launcher/earlier.h"

#include "launcher/loaded.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAME_VALUE                                                                       \
    1e-9 /* relative: of a value and what the point nearest to it makes                  \
          */

/* What is known of one trial of it. */
struct outcome_of_trial {
    bool failed;
    double *values; /* [levels] */
};

/* ---- values ---- */

static void take_value(struct outcome_of_trial *t, int level, double value)
{
    if (level < 0 || !isnan(t->values[level]))
        return;
    t->values[level] = value;
    t->failed |= !isfinite(value);
}

/* The level that a report at this step counts at; -1: it is below the first. */
static int level_of(const struct levels *lv, int64_t step)
{
    int l = lv->n - 1;
    while (l >= 0 && lv->step[l] > step)
        l--;
    return l;
}

/* all[trials]: what each trial reported of the metric. */
static void take_reports(const struct loaded *l, const char *metric,
                         const struct levels *lv, struct outcome_of_trial all[])
{
    for (size_t i = 0; i < l->history.reports.n; i++) {
        const struct report_row *r = &l->history.reports.v[i];
        for (uint32_t k = 0; k < r->n_cells; k++) {
            const struct metric_cell *m = &l->history.cells.v[r->first_cell + k];
            if (strcmp(l->history.names.v[m->column], metric) == 0)
                take_value(&all[r->trial], level_of(lv, r->step), m->value);
        }
    }
}

/* As in the sweep itself, one that came to its own end early has its last value at the
 * last level. */
static void take_end(const struct trial *t, const struct levels *lv, int objective,
                     struct outcome_of_trial *o)
{
    o->failed |= t->state == TRIAL_FAILED;
    if (t->state == TRIAL_COMPLETED && !t->complete && t->heard && objective >= 0)
        take_value(o, lv->n - 1, t->whole.v[objective]);
}

/* ---- parameters ---- */

/* Those that the space could make; false also where there is none that both have. */
static bool inside(const struct space *sp, const struct value given[])
{
    bool any = false;
    for (int i = 0; i < space_count(sp); i++)
        any |= given[i].kind != VALUE_ABSENT;
    return any && space_could(sp, given);
}

/* ---- events ---- */

/* Text and values move while they grow: events get their addresses at the end. */
static void add_known(struct earlier *a, int32_t trial, const struct outcome_of_trial *o,
                      const struct space *sp, const struct value values[], int levels)
{
    struct event ev = {.kind = EVENT_KNOWN, .trial = trial};
    struct str params = STR_INIT;
    space_json(sp, values, &params);
    str_addn(&a->text, params.p, params.len);
    ev.known.params.len = params.len;
    str_free(&params);
    ev.known.failed = o->failed;
    ev.known.values.n = o->failed ? 0 : levels;
    for (int l = 0; l < ev.known.values.n; l++)
        vec_push(&a->values, o->values[l]);
    vec_push(&a->known, ev);
}

static void point_events(struct earlier *a)
{
    const char *text = a->text.p;
    const double *values = a->values.v;
    for (size_t i = 0; i < a->known.n; i++) {
        struct event *ev = &a->known.v[i];
        ev->known.params.p = text;
        ev->known.values.v = values;
        ev->known.more = i + 1 < a->known.n;
        text += ev->known.params.len;
        values += ev->known.values.n;
    }
}

static bool anything(const struct outcome_of_trial *o, int levels)
{
    bool any = o->failed;
    for (int l = 0; l < levels; l++)
        any |= !isnan(o->values[l]);
    return any;
}

static void take_trials(struct earlier *a, const struct loaded *l, const struct spec *s,
                        const struct levels *lv, struct outcome_of_trial all[])
{
    const struct space *sp = s->space;
    int n = space_count(sp);
    int objective =
        l->file->spec.objectives - 1; /* of it, the metric of this one; or -1 */
    struct value *values = mem_alloc((size_t)n * sizeof(*values));
    while (objective >= 0 &&
           strcmp(l->file->spec.objective[objective].name, s->objective[0].name) != 0)
        objective--;
    for (int32_t i = 0; i < a->trials; i++) {
        const struct trial *t = sweep_trial(l->sw, i);
        take_end(t, lv, objective, &all[i]);
        space_scan_shared(sp, t->params, strlen(t->params), values);
        if (!inside(sp, values))
            a->outside++;
        else if (anything(&all[i], lv->n))
            add_known(a, i, &all[i], sp, values, lv->n);
        values_free(values, n);
    }
    point_events(a);
    free(values);
}

static int take(struct earlier *a, const struct loaded *l, const struct sweepfile *f,
                struct err *e)
{
    struct levels lv;
    int rc = spec_levels(&f->spec, &lv, e);
    if (rc != 0)
        return rc;
    a->trials = sweep_trials(l->sw);
    struct outcome_of_trial *all = mem_alloc((size_t)a->trials * sizeof(*all));
    double *values = mem_alloc((size_t)a->trials * (size_t)lv.n * sizeof(*values));
    for (int32_t i = 0; i < a->trials; i++)
        all[i].values = &values[(size_t)i * (size_t)lv.n];
    for (size_t i = 0; i < (size_t)a->trials * (size_t)lv.n; i++)
        values[i] = NAN;
    take_reports(l, f->spec.objective[0].name, &lv, all);
    take_trials(a, l, &f->spec, &lv, all);
    free(values);
    free(all);
    long long first = lv.step[0];
    levels_free(&lv);
    if (a->known.n == 0)
        return err_set(e, ERR_NOENT,
                       "search.from: of the %d trials of %s none is of use here: %d lie "
                       "outside the space, and the others reported no %s at step %lld or "
                       "later",
                       a->trials, f->from, a->outside, f->spec.objective[0].name, first);
    return 0;
}

int earlier_load(struct earlier *a, const struct sweepfile *f, struct err *e)
{
    struct loaded l;
    struct err why = {0};
    *a = (struct earlier){.text = STR_INIT};
    if (!f->from)
        return 0;
    char *dir = sweep_dir_find(f->from, &why);
    if (!dir)
        return err_set(e, why.code, "search.from: %s", why.text);
    int rc = loaded_open(&l, dir, true, &why);
    if (rc != 0)
        err_set(e, rc, "search.from: %s", why.text);
    else
        rc = take(a, &l, f, e);
    loaded_close(&l);
    free(dir);
    return rc;
}

void earlier_free(struct earlier *a)
{
    vec_free(&a->known);
    vec_free(&a->values);
    str_free(&a->text);
}

int earlier_tell(const struct earlier *a, const struct sweep *sw,
                 int (*apply)(void *ctx, const struct event *ev, struct err *e),
                 void *ctx, struct err *e)
{
    int32_t after;
    int rc = 0;
    if (!sweep_wants_known(sw, &after))
        return 0;
    for (size_t i = 0; rc == 0 && i < a->known.n; i++)
        if (a->known.v[i].trial > after)
            rc = apply(ctx, &a->known.v[i], e);
    return rc;
}

void earlier_text(const struct earlier *a, const struct sweepfile *f, struct str *out)
{
    str_addf(out, "the search knows %zu of the %d trials of %s", a->known.n, a->trials,
             f->from);
    if (a->outside > 0)
        str_addf(out, "; %d lie outside the space", a->outside);
}
