#include "launcher/curves.h"

#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rank.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/vec.h"
#include "launcher/loaded.h"
#include "launcher/orders.h"
#include "sched/dist.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CSV_MOST        ((size_t)1 << 30) /* bytes */
#define INVENTED_RANKED 1000
#define NOISE           0.01

struct curves {
    bool invented, maximize;
    uint64_t seed;
    struct str text;
    int64_t rows;
    VEC(int64_t) steps; /* ascending */
    VEC(double) values; /* [rows][steps.n] */
    VEC(double) seconds;
    /* [rows]: the last step that is known; INT64_MAX: diverged, and so for good, or all
     * of the table */
    VEC(int64_t) ends;
    bool chosen; /* of a sweep: others ended early because they were worse */
    const struct space *sp;
    VEC(double) points; /* [rows][space_dims()] of the unit cube, NaN: not known */
    bool located;       /* any of them is */
};

/* Where a row's parameters lie. */
static void take_parameters(struct curves *c, const struct value values[])
{
    int dims = space_dims(c->sp);
    double *u = mem_alloc((size_t)dims * sizeof(*u));

    space_locate(c->sp, values, u);
    for (int d = 0; d < dims; d++) {
        vec_push(&c->points, u[d]);
        c->located |= !isnan(u[d]);
    }
    free(u);
}

/* ---- CSV ---- */

/* The next cell of a line, unquoted in place and without blanks around it, or NULL at its
 * end; *at moves behind it. */
static char *next_cell(char **at)
{
    char *cell = *at, *to, *from;

    if (!cell)
        return NULL;
    cell += strspn(cell, " \t");
    to = from = cell;
    if (*from == '"')
        for (from++; *from && (*from != '"' || *++from == '"'); from++)
            *to++ = *from;
    while (*from && *from != ',')
        *to++ = *from++;
    *at = *from == ',' ? from + 1 : NULL;
    while (to > cell && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *to = '\0';
    return cell;
}

/* The next line of text, ended by NUL, or NULL. */
static char *next_line(char **at)
{
    char *line = *at, *end = line + strcspn(line, "\r\n");

    if (*line == '\0')
        return NULL;
    *at = end + strspn(end, "\r\n");
    *end = '\0';
    return line;
}

struct header {
    VEC(char *) names;
    VEC(int) parameter; /* of the space, that each column is; -1: none */
    char *prefix;       /* of the columns that are the metric */
    VEC(int64_t) step;  /* of each column; -1: it is none of those */
    int time;           /* the column of seconds, -1: none */
    int64_t time_steps;
};

/* A name that ends in digits: their number, and how long what stands before is. */
static int64_t numbered(const char *name, size_t *length)
{
    size_t n = strlen(name);
    int64_t step = -1;

    while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9')
        n--;
    *length = n;
    return n > 0 && num_parse_int(name + n, strlen(name + n), &step) == 0 ? step : -1;
}

static int columns_like(const struct header *h, const char *name, size_t n)
{
    int count = 0;

    for (size_t i = 0; i < h->names.n; i++) {
        size_t length;

        count += h->parameter.v[i] < 0 && numbered(h->names.v[i], &length) >= 0 &&
                 length == n && strncmp(h->names.v[i], name, n) == 0;
    }
    return count;
}

/* "time50_s" */
static void find_time(struct header *h)
{
    h->time = -1;
    for (size_t i = 0; i < h->names.n; i++) {
        size_t n = strlen(h->names.v[i]);
        int64_t steps;

        if (n > 6 && strncmp(h->names.v[i], "time", 4) == 0 &&
            strcmp(h->names.v[i] + n - 2, "_s") == 0 &&
            num_parse_int(h->names.v[i] + 4, n - 6, &steps) == 0 && steps > 0) {
            h->time = (int)i;
            h->time_steps = steps;
        }
    }
}

/* Is a name's beginning the metric's, or that with something like '_' behind it? */
static bool is_metric(const char *name, size_t n, const char *metric)
{
    size_t length = strlen(metric);

    while (n > length && strchr("_.-@", name[n - 1]))
        n--;
    return n == length && strncmp(name, metric, n) == 0;
}

/* Which columns are the metric: those called like it, else most of a kind. */
static void choose_prefix(struct header *h, const char *metric)
{
    int most = 1; /* one column alone is no curve */
    size_t length;

    for (size_t i = 0; i < h->names.n; i++) {
        int64_t step = h->parameter.v[i] >= 0 ? -1 : numbered(h->names.v[i], &length);
        int count = step < 0 ? 0 : columns_like(h, h->names.v[i], length);

        if (count > 1 && is_metric(h->names.v[i], length, metric))
            count = INT_MAX;
        if (count > most) {
            most = count;
            free(h->prefix);
            h->prefix = mem_strndup(h->names.v[i], length);
        }
    }
}

static int read_header(struct header *h, const struct curves *c, const char *metric,
                       char *line, const char *path, struct err *e)
{
    size_t length;
    char *cell;

    while ((cell = next_cell(&line))) {
        vec_push(&h->names, cell);
        vec_push(&h->parameter, space_find(c->sp, cell));
    }
    choose_prefix(h, metric);
    if (!h->prefix)
        return err_set(e, ERR_SYNTAX,
                       "%s:1: no columns of a metric, such as loss01, loss02, ... for "
                       "steps 1, 2, ...",
                       path);
    for (size_t i = 0; i < h->names.n; i++) {
        int64_t step = numbered(h->names.v[i], &length);

        vec_push(&h->step, h->parameter.v[i] < 0 && length == strlen(h->prefix) &&
                                   strncmp(h->names.v[i], h->prefix, length) == 0
                               ? step
                               : -1);
    }
    find_time(h);
    return 0;
}

static struct value value_of(const char *cell)
{
    struct value v = {.kind = VALUE_STR};

    if (*cell == '\0')
        v.kind = VALUE_ABSENT;
    else if (num_parse_int(cell, strlen(cell), &v.i) == 0)
        v.kind = VALUE_INT;
    else if (num_parse(cell, strlen(cell), &v.r) == 0)
        v.kind = VALUE_REAL;
    else
        v.s = cell;
    return v;
}

static int take_steps(struct curves *c, const struct header *h, const char *path,
                      struct err *e)
{
    const char *last = "";

    for (size_t i = 0; i < h->step.n; i++) {
        if (h->step.v[i] < 0)
            continue;
        if (c->steps.n > 0 && h->step.v[i] <= c->steps.v[c->steps.n - 1])
            return err_set(e, ERR_SYNTAX, "%s:1: the steps of '%s' do not ascend", path,
                           h->prefix);
        if (c->steps.n == 0)
            str_addf(&c->text, "%s to ", h->names.v[i]);
        vec_push(&c->steps, h->step.v[i]);
        last = h->names.v[i];
    }
    str_add(&c->text, last);
    return 0;
}

/* "", "nan", "NA" of R, and "inf" are what a metric is that has diverged. */
static int number_in(const char *cell, double *v)
{
    static const char *const none[] = {"", "nan", "na", "inf", "-inf", "+inf"};

    *v = NAN;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        if (strcasecmp(cell, none[i]) == 0)
            return 0;
    return num_parse(cell, strlen(cell), v);
}

static int take_cells(struct curves *c, const struct header *h, char *line,
                      const char *where, struct value values[], struct err *e)
{
    double seconds = NAN, v;
    size_t i = 0;
    char *cell;

    for (; (cell = next_cell(&line)); i++) {
        if (i >= h->names.n)
            return err_set(e, ERR_SYNTAX, "%s: more cells than the header has", where);
        if (h->parameter.v[i] >= 0)
            values[h->parameter.v[i]] = value_of(cell);
        if (h->step.v[i] < 0 && (int)i != h->time)
            continue;
        if (number_in(cell, &v) != 0)
            return err_set(e, ERR_SYNTAX, "%s: %s is not a number: '%s'", where,
                           h->names.v[i], cell);
        if ((int)i == h->time)
            seconds = v / (double)h->time_steps;
        else
            vec_push(&c->values, v);
    }
    if (i < h->names.n)
        return err_set(e, ERR_SYNTAX, "%s: fewer cells than the header has", where);
    vec_push(&c->seconds, seconds);
    vec_push(&c->ends, INT64_MAX);
    c->rows++;
    return 0;
}

/* `true` and `false`, in any case, which are text for who asks for text. */
static void read_flags(struct value values[], int n)
{
    for (int i = 0; i < n; i++) {
        bool is = values[i].kind == VALUE_STR && strcasecmp(values[i].s, "true") == 0;

        if (is || (values[i].kind == VALUE_STR && strcasecmp(values[i].s, "false") == 0))
            values[i] = (struct value){.kind = VALUE_BOOL, .b = is};
    }
}

/* What is nothing as text may be something as a flag. */
static void take_words(struct curves *c, struct value values[])
{
    size_t dims = (size_t)space_dims(c->sp), at = c->points.n;
    double *u = mem_alloc(dims * sizeof(*u));

    take_parameters(c, values);
    read_flags(values, space_count(c->sp));
    space_locate(c->sp, values, u);
    for (size_t d = 0; d < dims; d++)
        if (isnan(c->points.v[at + d])) {
            c->points.v[at + d] = u[d];
            c->located |= !isnan(u[d]);
        }
    free(u);
}

static int take_row(struct curves *c, const struct header *h, char *line,
                    const char *where, struct err *e)
{
    struct value *values = mem_alloc((size_t)space_count(c->sp) * sizeof(*values));
    int rc = take_cells(c, h, line, where, values, e);

    if (!rc)
        take_words(c, values);
    free(values); /* words lie in the line */
    return rc;
}

static int read_csv(struct curves *c, const char *path, const char *metric, struct err *e)
{
    struct str text = STR_INIT, where = STR_INIT;
    struct header h = {0};
    char *at, *line;
    int rc = file_read_gz(path, CSV_MOST, &text, e);

    at = text.p;
    if (at && strncmp(at, "\xEF\xBB\xBF", 3) == 0) /* what Excel begins UTF-8 with */
        at += 3;
    line = rc == 0 && at ? next_line(&at) : NULL;
    if (!rc)
        rc = line ? read_header(&h, c, metric, line, path, e)
                  : err_set(e, ERR_SYNTAX, "%s is empty", path);
    if (!rc)
        rc = take_steps(c, &h, path, e);
    while (!rc && (line = next_line(&at))) {
        str_cut(&where, 0);
        str_addf(&where, "%s, configuration %lld", path, (long long)c->rows + 1);
        rc = take_row(c, &h, line, where.p, e);
    }
    if (!rc && c->rows == 0)
        rc = err_set(e, ERR_SYNTAX, "%s has no configurations", path);
    if (!rc)
        str_addf(&c->text, " of %lld configurations", (long long)c->rows);
    free(h.prefix);
    vec_free(&h.names);
    vec_free(&h.step);
    vec_free(&h.parameter);
    str_free(&where);
    str_free(&text);
    return rc;
}

/* ---- a sweep ---- */

struct point {
    int32_t trial;
    int64_t step;
    double value;
};

static int by_trial(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    if (x->trial != y->trial)
        return x->trial < y->trial ? -1 : 1;
    return x->step < y->step ? -1 : x->step > y->step;
}

static int by_step(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Each step that any trial reported, once. */
static void unite_steps(struct curves *c, const struct point points[], size_t n)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        vec_push(&c->steps, points[i].step);
    qsort(c->steps.v, c->steps.n, sizeof(c->steps.v[0]), by_step);
    for (size_t i = 0; i < c->steps.n; i++)
        if (k == 0 || c->steps.v[i] != c->steps.v[k - 1])
            c->steps.v[k++] = c->steps.v[i];
    c->steps.n = k;
}

/* points[0 .. n), of one trial: its values at all steps. */
static void add_trial(struct curves *c, const struct point points[], size_t n)
{
    double value = NAN;
    size_t k = 0;

    for (size_t i = 0; i < c->steps.n; i++) {
        for (; k < n && points[k].step <= c->steps.v[i]; k++)
            value = isfinite(points[k].value) ? points[k].value : NAN;
        vec_push(&c->values, value);
    }
    vec_push(&c->ends, isnan(value) ? INT64_MAX : points[n - 1].step);
    c->rows++;
}

/* Of a trial of another sweep: those that this one has, too. */
static void take_json(struct curves *c, const char *params)
{
    int n = space_count(c->sp);
    struct value *values = mem_alloc((size_t)n * sizeof(*values));

    space_scan_shared(c->sp, params, strlen(params), values);
    take_parameters(c, values);
    values_free(values, n);
    free(values);
}

static int read_sweep(struct curves *c, const char *path, const char *metric,
                      struct err *e)
{
    VEC(struct point) points = {0};
    struct loaded l;
    int rc = loaded_open(&l, path, true, e);

    for (size_t i = 0; !rc && i < l.history.reports.n; i++) {
        const struct report_row *r = &l.history.reports.v[i];

        for (uint32_t k = 0; k < r->n_cells; k++) {
            const struct metric_cell *m = &l.history.cells.v[r->first_cell + k];

            if (strcmp(l.history.names.v[m->column], metric) == 0)
                vec_push(&points, ((struct point){r->trial, r->step, m->value}));
        }
    }
    if (!rc && points.n == 0)
        rc = err_set(e, ERR_NOENT, "%s has no reports of %s", path, metric);
    if (!rc) {
        unite_steps(c, points.v, points.n);
        qsort(points.v, points.n, sizeof(points.v[0]), by_trial);
    }
    for (size_t i = 0, from = 0; !rc && i < points.n; i++) {
        int32_t trial = points.v[i].trial;
        const struct trial *t = sweep_trial(l.sw, trial);

        if (i + 1 < points.n && points.v[i + 1].trial == trial)
            continue;
        add_trial(c, &points.v[from], i + 1 - from);
        c->chosen |= t->state == TRIAL_PAUSED || t->state == TRIAL_STOPPED;
        take_json(c, t->params);
        vec_push(&c->seconds, t->last_step > 0 && t->seconds > 0
                                  ? t->seconds / (double)t->last_step
                                  : NAN);
        from = i + 1;
    }
    if (!rc)
        str_addf(&c->text, "%s of %lld trials", metric, (long long)c->rows);
    vec_free(&points);
    loaded_close(&l);
    return rc;
}

int curves_load(struct curves **out, const char *path, const char *metric,
                const struct space *sp, struct err *e)
{
    struct curves *c = mem_alloc(sizeof(*c));
    int rc;

    c->sp = sp;
    c->text = (struct str)STR_INIT;
    rc = sweep_dir_is(path) ? read_sweep(c, path, metric, e)
                            : read_csv(c, path, metric, e);
    if (rc != 0)
        curves_free(c);
    else
        *out = c;
    return rc;
}

/* ---- invented ones ---- */

struct curves *curves_invent(uint64_t seed, bool maximize)
{
    struct curves *c = mem_alloc(sizeof(*c));

    c->invented = true;
    c->maximize = maximize;
    c->seed = seed;
    c->text = (struct str)STR_INIT;
    str_add(&c->text, "invented curves");
    return c;
}

static double invented(const struct curves *c, int64_t row, int64_t step)
{
    uint32_t r = (uint32_t)row;
    double floor = rng_unit(c->seed, RNG_FORECAST, r, 2, 0),
           top = 1 + rng_unit(c->seed, RNG_FORECAST, r, 2, 1),
           power = 0.3 + 0.7 * rng_unit(c->seed, RNG_FORECAST, r, 2, 2),
           chance = rng_unit(c->seed, RNG_FORECAST, r, 3, (uint32_t)step);
    double noise = dist_normal(chance > 0 ? chance : 0x1p-54);
    double v = floor + (top - floor) * pow((double)step + 1, -power) + NOISE * noise;

    return c->maximize ? -v : v;
}

/* ---- looking ---- */

void curves_free(struct curves *c)
{
    if (!c)
        return;
    str_free(&c->text);
    vec_free(&c->steps);
    vec_free(&c->values);
    vec_free(&c->seconds);
    vec_free(&c->ends);
    vec_free(&c->points);
    free(c);
}

const char *curves_text(const struct curves *c)
{
    return c->text.p;
}

int64_t curves_rows(const struct curves *c)
{
    return c->invented ? INT64_MAX : c->rows;
}

int64_t curves_last_step(const struct curves *c)
{
    return c->invented ? INT64_MAX : c->steps.v[c->steps.n - 1];
}

/* How many of the steps are up to this one. */
static size_t steps_up_to(const struct curves *c, int64_t step)
{
    size_t low = 0, high = c->steps.n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (c->steps.v[middle] <= step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t curves_first_step(const struct curves *c)
{
    return c->invented ? 0 : c->steps.v[0];
}

int curves_cover(const struct curves *c, const struct spec *spec, const char *path,
                 struct err *e)
{
    if (spec->max_t > curves_last_step(c))
        return err_set(e, ERR_RANGE,
                       "%s ends at step %lld, and schedule.max_t is %lld: set it to no "
                       "more than that",
                       path, (long long)curves_last_step(c), (long long)spec->max_t);
    if (spec_has_grace(spec) && spec->grace_period < curves_first_step(c))
        return err_set(
            e, ERR_RANGE,
            "%s begins at step %lld, and schedule.grace_period is %lld: set it "
            "to no less than that",
            path, (long long)curves_first_step(c), (long long)spec->grace_period);
    return 0;
}

int64_t curves_next_step(const struct curves *c, int64_t step)
{
    size_t i;

    if (c->invented)
        return step + 1;
    i = steps_up_to(c, step);
    return i < c->steps.n ? c->steps.v[i] : INT64_MAX;
}

double curves_metric(const struct curves *c, int64_t row, int64_t step)
{
    size_t n;

    if (c->invented)
        return invented(c, row, step);
    n = steps_up_to(c, step);
    return n > 0 ? c->values.v[(size_t)row * c->steps.n + n - 1] : NAN;
}

double curves_seconds(const struct curves *c, int64_t row)
{
    return c->invented ? NAN : c->seconds.v[row];
}

static double distance(const double a[], const double b[], int n)
{
    double sum = 0;
    int both = 0;

    for (int d = 0; d < n; d++)
        if (!isnan(a[d]) && !isnan(b[d])) {
            sum += (a[d] - b[d]) * (a[d] - b[d]);
            both++;
        }
    return both > 0 ? sum / both : INFINITY;
}

int64_t curves_nearest(const struct curves *c, const struct value values[],
                       const bool taken[])
{
    double *u, nearest = INFINITY;
    int64_t found = -1;
    int dims;

    if (!c->located)
        return -1;
    dims = space_dims(c->sp);
    u = mem_alloc((size_t)dims * sizeof(*u));
    space_locate(c->sp, values, u);
    for (int64_t i = 0; i < c->rows; i++) {
        if (taken[i])
            continue;
        double d = distance(&c->points.v[i * dims], u, dims);

        if (found < 0 || d < nearest) {
            nearest = d;
            found = i;
        }
    }
    free(u);
    return found;
}

static bool known_at(const struct curves *c, size_t row, int64_t step)
{
    return c->invented || c->ends.v[row] >= step;
}

double curves_correlation(const struct curves *c, int64_t step, int64_t end,
                          bool maximize)
{
    size_t rows = c->invented ? INVENTED_RANKED : (size_t)c->rows, n = 0;
    double *early = mem_alloc(rows * sizeof(*early)),
           *late = mem_alloc(rows * sizeof(*late));
    double sign = maximize ? -1 : 1, r;

    for (size_t i = 0; i < rows; i++) {
        if (!known_at(c, i, end))
            continue;
        early[n] = sign * curves_metric(c, (int64_t)i, step);
        late[n++] = sign * curves_metric(c, (int64_t)i, end);
    }
    r = rank_correlation(early, late, n);
    free(early);
    free(late);
    return r;
}

int64_t curves_grace(const struct curves *c, int64_t end, bool maximize, double *enough)
{
    int64_t step = curves_first_step(c), known = 0;

    for (int64_t i = 0; !c->invented && i < c->rows; i++)
        known += known_at(c, (size_t)i, end);
    *enough = c->chosen ? ORDER_NONE : ORDER_ENOUGH;
    if ((!c->invented && known < c->rows && known < ORDER_TRIALS) ||
        isnan(curves_correlation(c, end, end, maximize)))
        return -1;
    step = step < 1 ? 1 : step;
    while (step < end && !(curves_correlation(c, step, end, maximize) >= *enough))
        step = curves_next_step(c, step);
    return step < end ? step : end;
}

void curves_add_grace(const struct curves *c, int64_t first, int64_t end, bool maximize,
                      struct str *out)
{
    double enough;
    int64_t grace = curves_grace(c, end, maximize, &enough);

    if (grace == end && end > first)
        str_addf(
            out,
            "\ngrace_period %lld is too short to tell who will be good, and so is any "
            "other: the order at\nno step before %lld is like that there (rank "
            "correlation %g or more)\n",
            (long long)first, (long long)end, enough);
    else if (grace > first)
        str_addf(
            out,
            "\ngrace_period %lld is too short to tell who will be good: the order at "
            "step %lld is the\nfirst that is like that at step %lld (rank "
            "correlation %g or more)\n",
            (long long)first, (long long)grace, (long long)end, enough);
}

void curves_put_grace(const struct curves *c, const struct spec *spec, struct str *out)
{
    double enough;
    int64_t grace = -1;

    if (spec_has_grace(spec))
        grace = curves_grace(c, spec->max_t, spec->objective[0].maximize, &enough);
    if (grace > 0)
        json_put_int(out, grace);
    else
        json_put_null(out);
}

double curves_best(const struct curves *c, int64_t end, bool maximize)
{
    double best = NAN;

    for (size_t i = 0; i < c->values.n; i++) {
        double v = c->values.v[i];

        if (c->steps.v[i % c->steps.n] <= end && isfinite(v) &&
            (isnan(best) || (maximize ? v > best : v < best)))
            best = v;
    }
    return best;
}
