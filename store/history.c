#include "store/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ---- */

static bool same_text(const char *text, struct slice s)
{
    return strlen(text) == s.len && memcmp(text, s.p, s.len) == 0;
}

/* The number of a text, which is added if it is new. Two that have the same hash are
 * kept apart by going on to the next key. */
static uint32_t texts_number(struct texts *t, struct slice s)
{
    uint32_t i;

    s.len = strnlen(s.p, s.len); /* a NUL ends it in all tables */
    for (uint64_t key = hash64(s.p, s.len);; key++) {
        if (!map_get(&t->index, key, &i)) {
            i = (uint32_t)t->n;
            map_put(&t->index, key, i);
            vec_push(t, mem_strndup(s.p, s.len));
            return i;
        }
        if (same_text(t->v[i], s))
            return i;
    }
}

static void texts_clear(struct texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i]);
    vec_free(t);
    map_free(&t->index);
}

static const char *keep(struct history *h, struct slice s)
{
    if (s.len == 0)
        return "";
    uint32_t i = texts_number(&h->texts, s); /* may move h->texts.v */
    return h->texts.v[i];
}

/* ---- building ---- */

void history_init(struct history *h)
{
    *h = (struct history){.created = NAN, .last = NAN};
    h->host = h->user = h->command = h->git = h->version = "";
}

void history_clear(struct history *h)
{
    texts_clear(&h->names);
    texts_clear(&h->texts);
    vec_free(&h->reports);
    vec_free(&h->cells);
    vec_free(&h->decisions);
    vec_free(&h->attempts);
    map_free(&h->attempt_index);
    history_init(h);
}

static uint64_t attempt_key(int32_t trial, int32_t attempt)
{
    return (uint64_t)(uint32_t)trial << 32 | (uint32_t)attempt;
}

static struct attempt_row *find_attempt(const struct history *h, int32_t trial,
                                        int32_t attempt)
{
    uint32_t i;

    return map_get(&h->attempt_index, attempt_key(trial, attempt), &i) ? &h->attempts.v[i]
                                                                       : NULL;
}

const struct attempt_row *history_attempt(const struct history *h, int32_t trial,
                                          int32_t attempt)
{
    return find_attempt(h, trial, attempt);
}

/* ---- events ---- */

static void add_epoch(struct history *h, const struct event *ev)
{
    if (h->epoch == 0) {
        h->version = keep(h, ev->epoch.version);
        h->host = keep(h, ev->epoch.host);
        h->user = keep(h, ev->epoch.user);
        h->command = keep(h, ev->epoch.command);
        h->git = keep(h, ev->epoch.git);
    }
    h->epoch = ev->epoch.epoch;
}

static void add_decision(struct history *h, const struct event *ev, int32_t trial,
                         const struct verdict *v, int64_t step, int32_t bracket)
{
    struct decision_row row = {
        .time = ev->time,
        .trial = trial,
        .bracket = bracket,
        .rung = v->rung,
        .step = step,
        .value = v->value,
        .rank = v->rank,
        .size = v->size,
        .cutoff = v->cutoff,
        .promote = ev->kind == EVENT_START,
        .decision = v->decision,
    };

    vec_push(&h->decisions, row);
}

static void add_start(struct history *h, const struct event *ev, const struct verdict *v,
                      const struct sweep *sw)
{
    const struct trial *t = sweep_trial(sw, ev->trial);
    struct attempt_row row = {
        .trial = ev->trial,
        .attempt = ev->attempt,
        .first_step = ev->start.start,
        .last_step = -1,
        .started = ev->time,
        .ended = NAN,
        .open = true,
        .exit_code = -1,
        .signal = -1,
        .agent = ev->start.agent,
        .slot = ev->start.slot,
        USAGE_UNKNOWN,
        .override = keep(h, ev->start.override),
    };

    row.slurm_job = row.slurm_step = row.slurm_state = row.node = row.note = "";
    map_put(&h->attempt_index, attempt_key(ev->trial, ev->attempt),
            (uint32_t)h->attempts.n);
    vec_push(&h->attempts, row);
    if (v->rung >= 0)
        add_decision(h, ev, ev->trial, v, t->last_step, t->bracket);
}

/* One trial's beginning is the end of the one that it replaces. */
static void add_replaced(struct history *h, const struct event *ev,
                         const struct verdict *v, const struct sweep *sw)
{
    if (ev->drawn.parent >= 0)
        add_decision(h, ev, ev->drawn.replaces, v,
                     sweep_trial(sw, ev->drawn.replaces)->last_step, ev->drawn.bracket);
}

/* Metrics come in the same order each time: `guess` is the column that stood there in
 * the row before. */
static uint32_t column_of(struct history *h, struct slice name, uint32_t guess)
{
    if (guess < h->names.n && same_text(h->names.v[guess], name))
        return guess;
    return texts_number(&h->names, name);
}

static void set_cell(struct history *h, struct report_row *row, struct metric_cell cell)
{
    for (uint32_t i = 0; i < row->n_cells; i++) {
        if (h->cells.v[row->first_cell + i].column == cell.column) {
            h->cells.v[row->first_cell + i].value = cell.value;
            return;
        }
    }
    vec_push(&h->cells, cell);
    row->n_cells++;
}

/* The row's cells again, at the end of the array, where more can be added. */
static void move_cells(struct history *h, struct report_row *row)
{
    uint32_t from = row->first_cell;

    row->first_cell = (uint32_t)h->cells.n;
    for (uint32_t i = 0; i < row->n_cells; i++) {
        struct metric_cell cell = h->cells.v[from + i];
        vec_push(&h->cells, cell);
    }
}

static void add_metrics(struct history *h, struct report_row *row, const struct event *ev)
{
    const struct report_row *before =
        h->reports.n ? &h->reports.v[h->reports.n - 1] : NULL;

    for (int i = 0; i < ev->report.n_metrics; i++) {
        const struct metric *m = &ev->report.metrics[i];
        uint32_t guess = UINT32_MAX;
        if (before && (uint32_t)i < before->n_cells)
            guess = h->cells.v[before->first_cell + (uint32_t)i].column;
        set_cell(h, row, (struct metric_cell){column_of(h, m->name, guess), m->value});
    }
}

static void add_report(struct history *h, const struct event *ev, const struct verdict *v,
                       const struct sweep *sw)
{
    struct attempt_row *a = find_attempt(h, ev->trial, ev->attempt);
    struct report_row row = {.trial = ev->trial,
                             .attempt = ev->attempt,
                             .step = ev->report.step,
                             .first_cell = (uint32_t)h->cells.n};
    uint32_t at = a && a->last_report ? a->last_report - 1 : 0;
    bool merge = a && a->last_report && !v->stale && h->reports.v[at].step == row.step;

    if (merge) {
        row = h->reports.v[at];
        move_cells(h, &row);
    }
    row.rung = v->rung;
    row.time = ev->time;
    row.elapsed = ev->report.elapsed;
    add_metrics(h, &row, ev);
    if (merge) {
        h->reports.v[at] = row;
    } else {
        vec_push(&h->reports, row);
        at = (uint32_t)h->reports.n - 1;
    }
    if (a) {
        a->last_report = at + 1;
        if (row.step > a->last_step)
            a->last_step = row.step;
    }
    if (v->rung >= 0 || !isnan(v->cutoff)) /* compared at a rung, or without rungs */
        add_decision(h, ev, ev->trial, v, row.step, sweep_trial(sw, ev->trial)->bracket);
}

static void add_end(struct history *h, const struct event *ev)
{
    const struct end_facts *f = &ev->end.facts;
    struct attempt_row *a = find_attempt(h, ev->trial, ev->attempt);

    if (!a)
        return;
    a->open = false;
    a->outcome = ev->end.outcome;
    a->cause = f->cause;
    a->exit_code = f->exit_code;
    a->signal = f->signal;
    if (f->started > 0)
        a->started = f->started;
    a->ended = f->ended > 0 ? f->ended : ev->time;
    if (f->reports > 0 && f->last_step > a->last_step)
        a->last_step = f->last_step;
    a->cpu_seconds = f->cpu_seconds;
    a->max_rss = f->max_rss;
    a->gpu_seconds = f->gpu_seconds;
    a->gpu_util = f->gpu_util;
    a->gpu_mem_peak = f->gpu_mem_peak;
    a->gpu_energy = f->gpu_energy;
    a->energy = f->energy;
    a->node = keep(h, f->node);
    a->slurm_job = keep(h, f->slurm_job);
    a->slurm_step = keep(h, f->slurm_step);
    a->slurm_state = keep(h, f->slurm_state);
    a->note = keep(h, f->note);
}

/* What the shim reported stands; Slurm's numbers are for what it could not. */
static void add_account(struct history *h, const struct event *ev)
{
    struct attempt_row *a = find_attempt(h, ev->trial, ev->attempt);

    if (!a)
        return;
    if (!*a->slurm_job)
        a->slurm_job = keep(h, ev->account.job);
    if (!*a->slurm_step)
        a->slurm_step = keep(h, ev->account.step);
    if (!*a->node)
        a->node = keep(h, ev->account.node);
    if (ev->account.state.len > 0)
        a->slurm_state = keep(h, ev->account.state);
    if (isnan(a->cpu_seconds))
        a->cpu_seconds = ev->account.cpu_seconds;
    if (isnan(a->max_rss))
        a->max_rss = ev->account.max_rss;
    if (isnan(a->energy))
        a->energy = ev->account.energy;
}

void history_add(struct history *h, const struct event *ev, const struct verdict *v,
                 const struct sweep *sw)
{
    if (h->events++ == 0)
        h->created = ev->time;
    h->last = ev->time;
    switch (ev->kind) {
    case EVENT_EPOCH: add_epoch(h, ev); break;
    case EVENT_TRIAL: add_replaced(h, ev, v, sw); break;
    case EVENT_START: add_start(h, ev, v, sw); break;
    case EVENT_REPORT: add_report(h, ev, v, sw); break;
    case EVENT_END: add_end(h, ev); break;
    case EVENT_ACCOUNT: add_account(h, ev); break;
    default: break;
    }
}
