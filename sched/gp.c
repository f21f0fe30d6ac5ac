#include "sched/gp.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/vec.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCATTERED   2048
#define NEAR_BEST   512 /* candidates around so many of the best trials: */
#define BEST_MOST   8
#define CANDIDATES  (SCATTERED + NEAR_BEST)
#define CLIMBS      10
#define ROUNDS_MOST 4  /* of a local search: reals, then the others */
#define STEPS_MOST  32 /* values of a dimension that is searched one by one */
#define EVALUATIONS 60 /* of a fit */
/* The coordinates of a normal distribution that are drawn: up to 3.1 standard deviations.
 * The cube's edges are 8.2 of them. */
#define LEAST_NORMAL 0.001
#define MOST_NORMAL  0.999
/* What is so many times as far below the median as the middle one below it is an outlier.
 */
#define FAR_BELOW 100
/* From how many spreads above the median on values are drawn together: the likelier one.
 */
#define BEND_NEAR 1
#define BEND_FAR  10

struct gp {
    const struct space *space;
    const struct gp_ops *ops;
    struct gp_model *model;
    uint64_t seed;
    int dims, reals, coords;
    double mean;            /* of the values that the model is told */
    double bend;            /* BEND_NEAR or BEND_FAR */
    int *real_of, *word_of; /* [dims]: coordinates; -1: none */
    double *low, *high;     /* [reals]: where they are drawn */
    VEC(int32_t) rows;      /* trials that are points of the model, in its order */
    size_t fitted;          /* told ones there were at the last fit */
};

/* ---- coordinates ---- */

static bool is_choice(const struct dim *d)
{
    return d->kind == DIM_CHOICE || d->kind == DIM_GRID;
}

struct gp *gp_new(const struct space *sp, uint64_t seed, const struct gp_ops *ops)
{
    struct gp *g = mem_alloc(sizeof(*g));
    g->space = sp;
    g->ops = ops;
    g->seed = seed;
    g->dims = space_dims(sp);
    g->mean = -1;
    g->bend = BEND_NEAR;
    g->real_of = mem_alloc((size_t)g->dims * sizeof(int));
    g->word_of = mem_alloc((size_t)g->dims * sizeof(int));
    g->low = mem_alloc((size_t)g->dims * sizeof(double));
    g->high = mem_alloc((size_t)g->dims * sizeof(double));
    for (int d = 0; d < g->dims; d++) {
        const struct dim *dim = space_dim(sp, d);
        bool normal = dim->kind == DIM_NORMAL;
        g->real_of[d] = -1;
        if (is_choice(dim)) {
            g->mean = 0;
            continue;
        }
        g->low[g->reals] = normal ? LEAST_NORMAL : 0;
        g->high[g->reals] = normal ? MOST_NORMAL : 1 - 0x1p-53;
        g->real_of[d] = g->reals++;
    }
    g->coords = g->reals;
    for (int d = 0; d < g->dims; d++) {
        const struct dim *dim = space_dim(sp, d);
        g->word_of[d] =
            is_choice(dim) || space_conditional(sp, dim->param) ? g->coords++ : -1;
    }
    g->model = ops->create(g->reals, g->coords - g->reals);
    return g;
}

void gp_free(struct gp *g)
{
    if (!g)
        return;
    g->ops->destroy(g->model);
    free(g->real_of);
    free(g->word_of);
    free(g->low);
    free(g->high);
    vec_free(&g->rows);
    free(g);
}

/* Of a point that is NaN where it is not active. */
static void to_coordinates(const struct gp *g, const double u[], double x[])
{
    for (int d = 0; d < g->dims; d++) {
        bool active = !isnan(u[d]);
        if (g->real_of[d] >= 0)
            x[g->real_of[d]] = active ? u[d] : 0.5;
        if (g->word_of[d] >= 0)
            x[g->word_of[d]] = !active ? -1 : g->real_of[d] >= 0 ? 0 : u[d];
    }
}

/* ---- what is known ---- */

/* A trial that is modelled. */
struct row {
    int32_t trial;
    bool bad;
    double value;
};

struct data {
    VEC(struct row) told; /* by trial */
    size_t n_told;        /* modelled or not */
    VEC(int32_t) pending; /* by trial */
    double least, most;   /* of the values */
};

static int by_value(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->bad != y->bad)
        return x->bad ? 1 : -1;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->trial < y->trial ? -1 : x->trial > y->trial;
}

static int by_trial(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->trial < y->trial ? -1 : x->trial > y->trial;
}

static int newest_first(const void *a, const void *b)
{
    return by_trial(b, a);
}

/* Half of those that are modelled are the best, half the newest of the others. */
static void choose(struct data *data)
{
    enum { BEST = GP_MODELLED / 2 };
    if (data->told.n > GP_MODELLED) {
        qsort(data->told.v, data->told.n, sizeof(data->told.v[0]), by_value);
        qsort(data->told.v + BEST, data->told.n - BEST, sizeof(data->told.v[0]),
              newest_first);
        data->told.n = GP_MODELLED;
        qsort(data->told.v, data->told.n, sizeof(data->told.v[0]), by_trial);
    }
    if (data->pending.n > GP_PENDING_MOST) {
        memmove(data->pending.v, &data->pending.v[data->pending.n - GP_PENDING_MOST],
                GP_PENDING_MOST * sizeof(data->pending.v[0]));
        data->pending.n = GP_PENDING_MOST;
    }
}

/* false: there is too little to go by. */
static bool look(const struct gp *g, const struct observed *o, struct data *data)
{
    int enough = g->dims + 1 > GP_STARTS ? g->dims + 1 : GP_STARTS;
    int level = observed_level(o, enough);
    *data = (struct data){.least = INFINITY, .most = -INFINITY};
    if (level < 0)
        return false;
    for (int32_t t = 0; t < observed_trials(o); t++) {
        struct standing_rank rank;
        enum standing s = observed_standing(o, level, t, &rank);
        bool finite = s == STANDING_FINITE && rank.below == 0;
        bool below = s == STANDING_FINITE && rank.below > 0;
        if (s == STANDING_PENDING || (below && !observed_rests(o, t)))
            vec_push(&data->pending, t);
        else if (s != STANDING_NONE)
            vec_push(&data->told, ((struct row){t, !finite, finite ? rank.value : 0}));
        if (finite) {
            data->least = fmin(data->least, rank.value);
            data->most = fmax(data->most, rank.value);
        }
    }
    data->n_told = data->told.n;
    return data->n_told >= GP_STARTS;
}

static void forget(struct data *data)
{
    vec_free(&data->told);
    vec_free(&data->pending);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* s log(1 + x / s), finite even where x / s is not. */
static double drawn_together(double x, double s)
{
    return s * log1p(fmin(x / s, DBL_MAX));
}

/* Makes them deviations from the median, divided by the largest. Those above it are drawn
 * together from about `bend` spreads on, and so are those far below. Returns the sum of
 * the logarithms of the derivatives, of what depends on the bend. */
static double compress(double y[], size_t n, double bend)
{
    double logs = 0, largest = 0, *sorted = mem_dup(y, n * sizeof(double));
    size_t below = 0, above = n / 2, least = 0;
    qsort(sorted, n, sizeof(double), by_size);
    double median = sorted[n / 2];
    while (sorted[below] < median)
        below++;
    while (above < n && sorted[above] == median)
        above++;
    double middle = median - sorted[below / 2], far = FAR_BELOW * middle;
    while (median - sorted[least] > far)
        least++;
    double spread = median - sorted[least];
    if (below == 0 && above < n)
        spread = sorted[above] - median;
    spread = fmin(bend * spread, DBL_MAX);
    for (size_t i = 0; i < n; i++) {
        y[i] -= median;
        if (y[i] > 0) {
            logs -= log1p(fmin(y[i] / spread, DBL_MAX));
            y[i] = drawn_together(y[i], spread);
        } else if (-y[i] > far) {
            y[i] = -far - drawn_together(-y[i] - far, middle);
        }
        largest = fmax(largest, fabs(y[i]));
    }
    for (size_t i = 0; i < n && largest > 0; i++)
        y[i] /= largest;
    free(sorted);
    return largest > 0 ? logs - (double)n * log(largest) : 0;
}

/* The values of told ones as the model is told them; the least of them. *logs as
 * compress(). (Differences of quarters do not overflow.) */
static double standardize(const struct gp *g, const struct data *data, double bend,
                          double y[], double *logs)
{
    double mean = 0, square = 0, least = INFINITY;
    size_t n = data->told.n;
    for (size_t i = 0; i < n; i++)
        y[i] = (data->told.v[i].bad ? data->most : data->told.v[i].value) / 4;
    *logs = compress(y, n, bend);
    for (size_t i = 0; i < n; i++)
        mean += y[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        square += (y[i] - mean) * (y[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++) {
        y[i] = g->mean + (square > 0 ? (y[i] - mean) / sqrt(square) : 0);
        least = fmin(least, y[i]);
    }
    *logs -= square > 0 ? (double)n / 2 * log(square) : 0;
    return least;
}

/* ---- the model of it ---- */

static void add_trials(struct gp *g, const struct observed *o, const int32_t trials[],
                       size_t n)
{
    double *points = mem_alloc(n * (size_t)g->coords * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        to_coordinates(g, observed_point(o, trials[i]), &points[i * (size_t)g->coords]);
        vec_push(&g->rows, trials[i]);
    }
    if (n > 0)
        g->ops->add(g->model, (int)n, points);
    free(points);
}

/* Rows that it has, from the first one on, stay; the factor's are as well. */
static void model_told(struct gp *g, const struct observed *o, const struct data *data)
{
    size_t same = 0, n = data->told.n;
    int32_t *trials = mem_alloc(n * sizeof(*trials));
    while (same < g->rows.n && same < n && g->rows.v[same] == data->told.v[same].trial)
        same++;
    g->ops->cut(g->model, (int)same);
    g->rows.n = same;
    for (size_t i = same; i < n; i++)
        trials[i] = data->told.v[i].trial;
    add_trials(g, o, trials + same, n - same);
    free(trials);
}

/* Fits it to the values with either bend and keeps the one with which those that came are
 * likelier: their density is the one of what the model is told times the derivatives. */
static double fit(struct gp *g, const struct data *data, double y[])
{
    double bends[] = {BEND_NEAR + BEND_FAR - g->bend, g->bend}, loss[2], best, logs;
    for (int i = 0; i < 2; i++) {
        best = standardize(g, data, bends[i], y, &logs);
        loss[i] = g->ops->fit(g->model, y, EVALUATIONS) - logs;
    }
    if (loss[0] < loss[1]) {
        g->bend = bends[0];
        best = standardize(g, data, g->bend, y, &logs);
        g->ops->fit(g->model, y, EVALUATIONS);
    }
    g->fitted = data->n_told;
    return best;
}

/* Returns the value to improve on. */
static double model(struct gp *g, const struct observed *o, struct data *data)
{
    size_t n = data->told.n;
    double *y = mem_alloc((n + data->pending.n) * sizeof(double));
    double *x = mem_alloc((size_t)g->coords * sizeof(double));
    double best, logs;
    bool due = data->n_told > g->fitted + g->fitted / 20 || data->n_told < g->fitted;
    model_told(g, o, data);
    if (due) {
        best = fit(g, data, y);
    } else {
        best = standardize(g, data, g->bend, y, &logs);
        g->ops->tell(g->model, y);
    }
    for (size_t i = 0; i < data->pending.n; i++) {
        double variance;
        to_coordinates(g, observed_point(o, data->pending.v[i]), x);
        g->ops->predict(g->model, 1, x, &y[n + i], &variance);
        y[n + i] = fmax(y[n + i], best);
        add_trials(g, o, &data->pending.v[i], 1);
        g->ops->tell(g->model, y);
    }
    free(x);
    free(y);
    return best;
}

/* ---- candidates ---- */

struct candidates {
    struct gp *g;
    struct value *values; /* working space, as for space_eval() */
    double best;          /* to improve on */
    int n;
    double *u;       /* [CANDIDATES][dims] */
    double *x;       /* [CANDIDATES][coords] */
    double *promise; /* [CANDIDATES] */
    double *seen;    /* [dims]: working space */
};

static double within(const struct gp *g, int d, double u)
{
    int k = g->real_of[d];
    return k < 0 ? u : fmin(fmax(u, g->low[k]), g->high[k]);
}

/* Coordinates to where they are drawn, rounded ones to the middle of their value's
 * interval; false: the space does not allow the point. */
static bool place(struct candidates *c, double u[], double x[])
{
    const struct gp *g = c->g;
    for (int d = 0; d < g->dims; d++) {
        double cell[2];
        space_cell(g->space, d, within(g, d, u[d]), cell);
        u[d] = within(g, d, (cell[0] + cell[1]) / 2);
    }
    if (space_eval(g->space, u, c->values, NULL) != SPACE_OK)
        return false;
    for (int d = 0; d < g->dims; d++) {
        bool here = c->values[space_dim(g->space, d)->param].kind != VALUE_ABSENT;
        c->seen[d] = here ? u[d] : NAN;
    }
    to_coordinates(g, c->seen, x);
    return true;
}

static double *u_of(const struct candidates *c, int i)
{
    return &c->u[(size_t)i * (size_t)c->g->dims];
}

static double *x_of(const struct candidates *c, int i)
{
    return &c->x[(size_t)i * (size_t)c->g->coords];
}

static void keep(struct candidates *c)
{
    c->n += place(c, u_of(c, c->n), x_of(c, c->n));
}

static void scatter(struct candidates *c, uint32_t trial)
{
    for (uint32_t k = 0; k < SCATTERED; k++) {
        double *u = u_of(c, c->n);
        for (int d = 0; d < c->g->dims; d++)
            u[d] = sobol_unit(c->g->seed + 1, (uint32_t)d, trial * SCATTERED + k);
        keep(c);
    }
}

/* Around the best trials, at distances of half the cube down to a thousandth of that;
 * half of the choices are those of the trial. */
static void gather(struct candidates *c, const struct observed *o, struct data *data,
                   uint32_t trial)
{
    const struct gp *g = c->g;
    size_t best = data->told.n < BEST_MOST ? data->told.n : BEST_MOST;
    qsort(data->told.v, data->told.n, sizeof(data->told.v[0]), by_value);
    for (uint32_t k = 0; k < NEAR_BEST; k++) {
        const double *at = observed_point(o, data->told.v[k % best].trial);
        double *u = u_of(c, c->n);
        double reach = pow(10, -3 * rng_unit(g->seed, RNG_MODEL, trial, k, 0));
        for (int d = 0; d < g->dims; d++) {
            double r = rng_unit(g->seed, RNG_MODEL, trial, k, (uint32_t)d + 1);
            double from = isnan(at[d]) ? 0.5 : at[d];
            if (g->real_of[d] >= 0)
                u[d] = from + reach * (r - 0.5);
            else
                u[d] = r < 0.5 ? from : 2 * r - 1;
        }
        keep(c);
    }
}

/* ---- local search ---- */

struct spot {
    double *u, *x; /* [dims], [coords] */
    double promise;
};

static void copy(const struct gp *g, struct spot *to, const struct spot *from)
{
    memcpy(to->u, from->u, (size_t)g->dims * sizeof(double));
    memcpy(to->x, from->x, (size_t)g->coords * sizeof(double));
    to->promise = from->promise;
}

static bool by_gradient(const struct gp *g, int d)
{
    int64_t n = space_dim(g->space, d)->n;
    return g->real_of[d] >= 0 && (n == 0 || n > STEPS_MOST);
}

static bool active(const struct gp *g, const struct spot *s, int d)
{
    return g->word_of[d] < 0 || s->x[g->word_of[d]] >= 0;
}

/* Takes *to as *s if it is better there. */
static bool take(struct candidates *c, struct spot *s, struct spot *to)
{
    if (!place(c, to->u, to->x))
        return false;
    c->g->ops->promise(c->g->model, 1, to->x, c->best, &to->promise);
    if (!(to->promise > s->promise + 1e-6))
        return false;
    copy(c->g, s, to);
    return true;
}

static bool climb_reals(struct candidates *c, struct spot *s, struct spot *tried,
                        bool free_ones[])
{
    const struct gp *g = c->g;
    bool any = false;
    for (int d = 0; d < g->dims; d++)
        if (g->real_of[d] >= 0) {
            free_ones[g->real_of[d]] = by_gradient(g, d) && active(g, s, d);
            any |= free_ones[g->real_of[d]];
        }
    if (!any)
        return false;
    copy(g, tried, s);
    g->ops->climb(g->model, free_ones, g->low, g->high, c->best, tried->x);
    for (int d = 0; d < g->dims; d++)
        if (g->real_of[d] >= 0 && free_ones[g->real_of[d]])
            tried->u[d] = tried->x[g->real_of[d]];
    return take(c, s, tried);
}

/* Goes to the best value of a dimension: of all, or of some at random where a choice has
 * very many. */
static bool step(struct candidates *c, struct spot *s, struct spot *tried, int d,
                 uint32_t trial)
{
    struct gp *g = c->g;
    int64_t values = space_dim(g->space, d)->n;
    size_t dims = (size_t)g->dims, coords = (size_t)g->coords;
    double *x = mem_alloc(STEPS_MOST * (coords + 2) * sizeof(double));
    double *promise = x + STEPS_MOST * coords, *u = promise + STEPS_MOST;
    int n = 0, best = 0;
    memcpy(tried->u, s->u, dims * sizeof(double));
    for (int64_t k = 0; k < (values < STEPS_MOST ? values : STEPS_MOST); k++) {
        tried->u[d] = values > STEPS_MOST
                          ? rng_unit(g->seed, RNG_MODEL, trial, (uint32_t)d, (uint32_t)k)
                          : ((double)k + 0.5) / (double)values;
        u[n] = tried->u[d];
        n += place(c, tried->u, &x[(size_t)n * coords]);
    }
    g->ops->promise(g->model, n, x, c->best, promise);
    for (int k = 1; k < n; k++)
        best = promise[k] > promise[best] ? k : best;
    tried->u[d] = n > 0 ? u[best] : s->u[d];
    free(x);
    return take(c, s, tried);
}

static void improve(struct candidates *c, struct spot *s, struct spot *tried,
                    bool free_ones[], uint32_t trial)
{
    for (int round = 0; round < ROUNDS_MOST; round++) {
        bool moved = climb_reals(c, s, tried, free_ones), stepped = false;
        for (int d = 0; d < c->g->dims; d++)
            if (!by_gradient(c->g, d) && active(c->g, s, d))
                stepped |= step(c, s, tried, d, trial);
        if (!stepped || !(moved || round == 0))
            break;
    }
}

/* The index of the best that was not taken yet. */
static int next_best(struct candidates *c)
{
    int at = 0;
    for (int i = 1; i < c->n; i++)
        if (c->promise[i] > c->promise[at] || isnan(c->promise[at]))
            at = i;
    return at;
}

/* false: the model promises nothing. */
static bool search(struct candidates *c, uint32_t trial, double u[])
{
    struct gp *g = c->g;
    size_t dims = (size_t)g->dims, coords = (size_t)g->coords;
    double *space = mem_alloc(3 * (dims + coords) * sizeof(double));
    bool *free_ones = mem_alloc((size_t)g->reals * sizeof(bool));
    struct spot top = {.u = space, .x = space + dims, .promise = -INFINITY};
    struct spot s = {.u = top.x + coords}, tried;
    s.x = s.u + dims;
    tried = (struct spot){.u = s.x + coords};
    tried.x = tried.u + dims;
    g->ops->promise(g->model, c->n, c->x, c->best, c->promise);
    for (int i = 0; i < CLIMBS && i < c->n; i++) {
        int k = next_best(c);
        if (!(c->promise[k] > -INFINITY))
            break;
        copy(g, &s, &(struct spot){u_of(c, k), x_of(c, k), c->promise[k]});
        c->promise[k] = -INFINITY;
        improve(c, &s, &tried, free_ones, trial);
        if (s.promise > top.promise)
            copy(g, &top, &s);
    }
    bool found = top.promise > -INFINITY;
    if (found)
        memcpy(u, top.u, dims * sizeof(double));
    free(free_ones);
    free(space);
    return found;
}

static bool draw_by_model(struct gp *g, const struct observed *o, struct data *data,
                          uint32_t trial, struct draw *d)
{
    size_t dims = (size_t)g->dims, coords = (size_t)g->coords;
    struct candidates c = {.g = g, .values = d->values, .best = model(g, o, data)};
    c.u = mem_alloc((CANDIDATES * (dims + coords + 1) + dims) * sizeof(double));
    c.x = c.u + CANDIDATES * dims;
    c.promise = c.x + CANDIDATES * coords;
    c.seen = c.promise + CANDIDATES;
    scatter(&c, trial);
    gather(&c, o, data, trial);
    bool found = c.n > 0 && search(&c, trial, d->u);
    free(c.u);
    return found && space_eval(g->space, d->u, d->values, NULL) == SPACE_OK;
}

int gp_draw(struct gp *g, const struct observed *o, uint32_t trial, struct draw *d,
            struct err *e)
{
    struct data data;
    bool found = false;
    if (look(g, o, &data)) {
        choose(&data);
        found = draw_by_model(g, o, &data, trial, d);
    }
    forget(&data);
    d->tries = 0;
    return found ? 0 : search_draw(g->space, SEARCH_SOBOL, g->seed, trial, 0, 1, d, e);
}
