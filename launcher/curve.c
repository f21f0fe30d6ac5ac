#include "launcher/curve.h"

#include "base/units.h"
#include "launcher/columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_ALL    20 /* as many reports are all shown */
#define ROWS_FIRST  3
#define ROWS_LAST   8
#define METRICS_MAX 6 /* columns */

static double cell_of(const struct history *h, const struct report_row *r, size_t column)
{
    for (uint32_t i = 0; i < r->n_cells; i++) {
        if (h->cells.v[r->first_cell + i].column == column)
            return h->cells.v[r->first_cell + i].value;
    }
    return NAN;
}

/* The number of an objective among the history's names; names.n: never reported. */
static size_t metric_column(const struct loaded *l, int objective)
{
    size_t i = 0;

    while (i < l->history.names.n &&
           strcmp(l->history.names.v[i], l->file->spec.objective[objective].name) != 0)
        i++;
    return i;
}

/* ---- the line ---- */

struct point {
    int64_t step;
    double value;
};

struct points {
    VEC(struct point) v;
};

/* Steps grow, but for those that an attempt takes again: they cut the curve back. */
static void take_points(const struct loaded *l, int32_t trial, struct points *p)
{
    const struct history *h = &l->history;
    size_t metric = metric_column(l, 0);

    for (size_t i = 0; i < h->reports.n; i++) {
        const struct report_row *r = &h->reports.v[i];
        struct point point = {r->step, cell_of(h, r, metric)};

        if (r->trial != trial)
            continue;
        while (p->v.n > 0 && p->v.v[p->v.n - 1].step >= point.step)
            p->v.n--;
        vec_push(&p->v, point);
    }
}

void curve_spark(const struct loaded *l, int32_t trial, int width, struct str *out)
{
    static const char *const eighths[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    struct points p = {0};
    double least = INFINITY, most = -INFINITY;
    size_t finite = 0, shown;

    take_points(l, trial, &p);
    for (size_t i = 0; i < p.v.n; i++) {
        if (!isfinite(p.v.v[i].value))
            continue;
        finite++;
        least = fmin(least, p.v.v[i].value);
        most = fmax(most, p.v.v[i].value);
    }
    shown = finite < 2 ? 0 : p.v.n < (size_t)width ? p.v.n : (size_t)width;
    for (size_t k = 0; k < shown; k++) { /* the last point of each share */
        double v = p.v.v[(k + 1) * p.v.n / shown - 1].value;
        double share = most > least ? v / (most - least) - least / (most - least) : 0.5;

        str_add(out, isfinite(v) ? eighths[(int)fmin(share * 8, 7)] : " ");
    }
    vec_free(&p.v);
}

/* ---- the table ---- */

struct rows {
    VEC(const struct report_row *) v;
    size_t best;
    size_t metrics[METRICS_MAX]; /* columns of the history */
    size_t n_metrics;
    bool again; /* more than one attempt */
};

static void take_metrics(const struct loaded *l, struct rows *rows)
{
    const struct history *h = &l->history;

    for (int k = 0; k < l->file->spec.objectives; k++)
        if (metric_column(l, k) < h->names.n)
            rows->metrics[rows->n_metrics++] = metric_column(l, k);
    for (size_t c = 0; c < h->names.n && rows->n_metrics < METRICS_MAX; c++) {
        bool wanted = false;

        for (size_t i = 0; i < rows->v.n && !wanted; i++)
            wanted = !isnan(cell_of(h, rows->v.v[i], c));
        for (int k = 0; k < l->file->spec.objectives; k++)
            wanted = wanted && c != metric_column(l, k);
        if (wanted)
            rows->metrics[rows->n_metrics++] = c;
    }
}

static void take_rows(const struct loaded *l, int32_t trial, struct rows *rows)
{
    const struct trial *t = sweep_trial(l->sw, trial);
    const struct history *h = &l->history;
    size_t metric = metric_column(l, 0);

    rows->best = SIZE_MAX;
    rows->again = t->attempts > 1;
    for (size_t i = 0; i < h->reports.n; i++) {
        const struct report_row *r = &h->reports.v[i];

        if (r->trial != trial)
            continue;
        if (r->step == t->best_step && cell_of(h, r, metric) == t->best.v[0])
            rows->best = rows->v.n;
        vec_push(&rows->v, r);
    }
    take_metrics(l, rows);
}

static bool is_shown(const struct rows *rows, size_t i)
{
    return rows->v.n <= ROWS_ALL || i < ROWS_FIRST || i + ROWS_LAST >= rows->v.n ||
           i == rows->best || rows->v.v[i]->rung >= 0;
}

static void put_heads(const struct loaded *l, const struct rows *rows,
                      struct columns *table)
{
    columns_head(table, "step");
    for (size_t m = 0; m < rows->n_metrics; m++)
        columns_head(table, l->history.names.v[rows->metrics[m]]);
    columns_head(table, "rung");
    columns_head(table, "elapsed");
    if (rows->again)
        columns_head(table, "attempt");
}

static void put_row(const struct loaded *l, const struct rows *rows, size_t i,
                    struct columns *table)
{
    const struct report_row *r = rows->v.v[i];
    char time[UNITS_MAX];

    columns_int(table, r->step);
    for (size_t m = 0; m < rows->n_metrics; m++)
        columns_num(table, cell_of(&l->history, r, rows->metrics[m]), 5);
    if (r->rung >= 0)
        columns_int(table, r->rung);
    else
        columns_cell(table, "-");
    columns_cell(table, duration_format(time, r->elapsed));
    if (rows->again)
        columns_int(table, r->attempt);
}

static void put_gap(struct columns *table)
{
    columns_cell(table, "...");
    for (size_t c = 1; c < table->n; c++)
        columns_cell(table, "");
}

void curve_table(const struct loaded *l, int32_t trial, int indent, struct str *out)
{
    struct columns table = {0};
    struct rows rows = {0};
    bool gap = false;

    take_rows(l, trial, &rows);
    put_heads(l, &rows, &table);
    for (size_t i = 0; i < rows.v.n; i++) {
        if (is_shown(&rows, i))
            put_row(l, &rows, i, &table);
        else if (!gap)
            put_gap(&table);
        gap = !is_shown(&rows, i);
    }
    columns_print(&table, indent, out);
    vec_free(&rows.v);
}
