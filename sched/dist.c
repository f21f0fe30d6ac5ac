#include "sched/dist.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

#define ANY_NUMBER SIZE_MAX
#define EXACT      0x1p53 /* up to here every integer is a double */

enum form { FORM_LIST, FORM_NORMAL, FORM_RANGE };

static const struct dist_type {
    const char *name, *usage;
    size_t least, most; /* arguments; the last one of a rounded type is q */
    enum form form;
    enum dim_kind kind;
    bool log, rounded;
} types[] = {
    {"choice", "choice(a, b, ...)", 1, ANY_NUMBER, FORM_LIST, DIM_CHOICE, false, false},
    {"grid", "grid(a, b, ...)", 1, ANY_NUMBER, FORM_LIST, DIM_GRID, false, false},
    {"lograndint", "lograndint(lo, hi)", 2, 2, FORM_RANGE, DIM_INT, true, false},
    {"loguniform", "loguniform(lo, hi)", 2, 2, FORM_RANGE, DIM_REAL, true, false},
    {"qlograndint", "qlograndint(lo, hi, q)", 3, 3, FORM_RANGE, DIM_INT, true, true},
    {"qloguniform", "qloguniform(lo, hi, q)", 3, 3, FORM_RANGE, DIM_REAL, true, true},
    {"qrandint", "qrandint(lo, hi, q)", 3, 3, FORM_RANGE, DIM_INT, false, true},
    {"qrandn", "qrandn(mean, sd, q)", 3, 3, FORM_NORMAL, DIM_NORMAL, false, true},
    {"quniform", "quniform(lo, hi, q)", 3, 3, FORM_RANGE, DIM_REAL, false, true},
    {"randint", "randint(lo, hi)", 2, 2, FORM_RANGE, DIM_INT, false, false},
    {"randn", "randn(mean, sd)", 2, 2, FORM_NORMAL, DIM_NORMAL, false, false},
    {"uniform", "uniform(lo, hi)", 2, 2, FORM_RANGE, DIM_REAL, false, false},
};
#define TYPES (sizeof(types) / sizeof(types[0]))

const char *dist_name(size_t i)
{
    return i < TYPES ? types[i].name : NULL;
}

const struct dist_type *dist_find(struct slice name)
{
    for (size_t i = 0; i < TYPES; i++)
        if (slice_eq(name, types[i].name))
            return &types[i];
    return NULL;
}

const char *dist_usage(const struct dist_type *t)
{
    return t->usage;
}

bool dist_takes_text(const struct dist_type *t)
{
    return t->form == FORM_LIST;
}

/* ---- multiples of q ---- */

/* A q that people write is a short decimal, num / den: its k-th multiple is then the
 * double nearest to the decimal k * q, 0.3 and not 3 * 0.1 = 0.30000000000000004. */
static void quantum_set(struct dist *d, double q)
{
    double den = 1;
    for (int digits = 0; digits <= 22; digits++, den *= 10) {
        double num = rint(q * den);
        if (num >= 1 && num < 1e9 && num / den == q) {
            d->num = num;
            d->den = den;
            return;
        }
    }
    d->num = q;
    d->den = 1;
}

static double multiple(const struct dist *d, double k)
{
    double num = k * d->num;
    if (fabs(num) > EXACT)
        return k * d->dim.q;
    return num / d->den + 0.0; /* not -0.0 */
}

/* ---- making one ---- */

struct maker {
    const struct dist_type *type;
    const struct dist_arg *args;
    size_t n, offset;
    const struct space_errors *errors;
    bool failed;
};

#define FAIL(m, offset, ...)                                                             \
    do {                                                                                 \
        mistake_at((m)->errors, (offset), __VA_ARGS__);                                  \
        (m)->failed = true;                                                              \
    } while (0)

/* Argument i as a finite double, for integer types a whole one; false when it is none. */
static bool number_arg(struct maker *m, size_t i, double *out)
{
    struct value v = m->args[i].value;
    const char *wanted = NULL;
    *out = v.kind == VALUE_INT ? (double)v.i : v.r;
    if (v.kind != VALUE_INT && v.kind != VALUE_REAL)
        wanted = "numbers";
    else if (!isfinite(*out))
        wanted = "finite numbers";
    else if (m->type->kind == DIM_INT && *out != rint(*out))
        wanted = "integers";
    else if (m->type->kind == DIM_INT && fabs(*out) > EXACT)
        wanted = "integers up to 2 ** 53";
    if (wanted)
        FAIL(m, m->args[i].offset, "%s needs %s", m->type->usage, wanted);
    return !wanted;
}

static void check_range(struct maker *m, double lo, double hi)
{
    const char *name = m->type->name;
    if (m->type->log && lo <= 0)
        FAIL(m, m->args[0].offset, "the lower bound of %s must be greater than 0", name);
    if (lo >= hi)
        FAIL(m, m->args[1].offset, "the upper bound of %s must be greater than the lower",
             name);
    else if (!isfinite(hi - lo) || (m->type->log && lo > 0 && !isfinite(hi / lo)))
        FAIL(m, m->args[1].offset, "the bounds of %s are too far apart for doubles",
             name);
}

static void set_log(struct dist *d, double from, double to)
{
    d->base = from;
    d->ratio = log(to / from);
}

/* The multiples of q from lo to hi, as dim.n values from d->first on. */
static void round_range(struct maker *m, struct dist *d)
{
    double q = d->dim.q;
    quantum_set(d, q);
    double first = ceil(d->dim.lo / q) - 1, last = floor(d->dim.hi / q) + 1;
    if (fabs(first) > EXACT - 2 || fabs(last) > EXACT - 2 || last - first > EXACT) {
        FAIL(m, m->args[2].offset, "q is too small for these bounds");
        return;
    }
    /* The quotients are rounded, the multiples are not. */
    while (multiple(d, first) < d->dim.lo)
        first++;
    while (multiple(d, last) > d->dim.hi)
        last--;
    if (first > last) {
        FAIL(m, m->args[2].offset, "no multiple of q lies between the bounds");
        return;
    }
    d->first = first + 0.0;
    d->dim.lo = multiple(d, first);
    d->dim.hi = multiple(d, last);
    d->dim.n = (int64_t)(last - first) + 1;
    if (d->dim.log) {
        set_log(d, first - 0.5, last + 0.5);
        d->offset = 0.5;
    }
}

static void make_range(struct maker *m, struct dist *d)
{
    bool low = number_arg(m, 0, &d->dim.lo), high = number_arg(m, 1, &d->dim.hi);
    double lo = d->dim.lo, hi = d->dim.hi;
    if (low && high)
        check_range(m, lo, hi);
    if (m->failed)
        return;
    if (m->type->rounded) {
        round_range(m, d);
        return;
    }
    if (d->dim.log)
        set_log(d, lo, hi);
    if (d->dim.kind != DIM_INT)
        return;
    quantum_set(d, 1);
    d->dim.q = 1;
    d->first = lo;
    d->dim.n = (int64_t)hi - (int64_t)lo;
    d->dim.hi = hi - 1;
    if (d->dim.n > (int64_t)EXACT)
        FAIL(m, m->args[1].offset, "%s can have 2 ** 53 values at most", m->type->name);
}

static void make_normal(struct maker *m, struct dist *d)
{
    number_arg(m, 0, &d->dim.lo);
    if (number_arg(m, 1, &d->dim.hi) && d->dim.hi <= 0)
        FAIL(m, m->args[1].offset, "the standard deviation of %s must be greater than 0",
             m->type->name);
    if (m->type->rounded && !m->failed)
        quantum_set(d, d->dim.q);
}

static void make_list(struct maker *m, struct dist *d)
{
    d->options = mem_resize(NULL, m->n, sizeof(*d->options));
    for (size_t i = 0; i < m->n; i++) {
        d->options[i] = m->args[i].value;
        if (d->options[i].kind == VALUE_REAL && !isfinite(d->options[i].r))
            FAIL(m, m->args[i].offset, "%s needs finite numbers", m->type->name);
    }
    d->dim.n = (int64_t)m->n;
}

static void count_args(struct maker *m)
{
    const struct dist_type *t = m->type;
    if (m->n == 0)
        FAIL(m, m->offset,
             t->form == FORM_LIST ? "%s needs at least one alternative"
                                  : "%s needs its arguments",
             t->usage);
    else if (m->n < t->least || m->n > t->most)
        FAIL(m, m->offset, "%s takes %zu arguments, not %zu", t->usage, t->least, m->n);
}

int dist_make(struct dist *d, const struct dist_type *t, const struct dist_arg args[],
              size_t n, size_t offset, const struct space_errors *errors)
{
    struct maker m = {
        .type = t, .args = args, .n = n, .offset = offset, .errors = errors};
    *d = (struct dist){.dim = {.kind = t->kind, .log = t->log}};
    count_args(&m);
    if (m.failed)
        return ERR_SYNTAX;
    if (t->rounded) {
        if (number_arg(&m, n - 1, &d->dim.q) && d->dim.q <= 0)
            FAIL(&m, args[n - 1].offset, "q of %s must be greater than 0", t->name);
    }
    switch (t->form) {
    case FORM_LIST: make_list(&m, d); break;
    case FORM_NORMAL: make_normal(&m, d); break;
    case FORM_RANGE: make_range(&m, d); break;
    }
    if (m.failed)
        dist_clear(d);
    return m.failed ? ERR_SYNTAX : 0;
}

void dist_clear(struct dist *d)
{
    free(d->options);
    d->options = NULL;
}

/* ---- values ---- */

static double horner(const double c[8], double x)
{
    double y = c[7];
    for (int i = 6; i >= 0; i--)
        y = y * x + c[i];
    return y;
}

/* Numerator and denominator around the median, in the shoulders, in the tails. */
static const double normal_a[8] = {
    3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
    1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
    3.3430575583588128105e+4, 2.5090809287301226727e+3,
};
static const double normal_b[8] = {
    1.0,
    4.2313330701600911252e+1,
    6.8718700749205790830e+2,
    5.3941960214247511077e+3,
    2.1213794301586595867e+4,
    3.9307895800092710610e+4,
    2.8729085735721942674e+4,
    5.2264952788528545610e+3,
};
static const double normal_c[8] = {
    1.42343711074968357734e0,  4.63033784615654529590e0,  5.76949722146069140550e0,
    3.64784832476320460504e0,  1.27045825245236838258e0,  2.41780725177450611770e-1,
    2.27238449892691845833e-2, 7.74545014278341407640e-4,
};
static const double normal_d[8] = {
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
};
static const double normal_e[8] = {
    6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
    2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
    2.71155556874348757815e-5, 2.01033439929228813265e-7,
};
static const double normal_f[8] = {
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
};

double dist_normal(double p)
{
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * horner(normal_a, r) / horner(normal_b, r);
    }
    double r = sqrt(-log(q < 0 ? p : 1 - p));
    double x = r <= 5 ? horner(normal_c, r - 1.6) / horner(normal_d, r - 1.6)
                      : horner(normal_e, r - 5) / horner(normal_f, r - 5);
    return q < 0 ? -x : x;
}

/* Which of the dim.n values u stands for. Rounding may step over the end. */
static double index_of(const struct dist *d, double u)
{
    double n = (double)d->dim.n, k;
    if (d->dim.log)
        k = floor(d->base * exp(u * d->ratio) + d->offset) - d->first;
    else
        k = floor(u * n);
    return k < n ? k : n - 1;
}

static double continuous(const struct dist *d, double u)
{
    const struct dim *m = &d->dim;
    double x = m->log ? d->base * exp(u * d->ratio) : m->lo + u * (m->hi - m->lo);
    return x < m->hi ? x : nextafter(m->hi, m->lo);
}

static double normal(const struct dist *d, double u)
{
    /* u has 53 bits; 0 stands for the lower half of its cell. */
    double x = d->dim.lo + d->dim.hi * dist_normal(u > 0 ? u : 0x1p-54);
    return d->dim.q > 0 ? multiple(d, rint(x / d->dim.q)) : x;
}

struct value dist_value(const struct dist *d, double u)
{
    struct value v = {.kind = VALUE_REAL};
    switch (d->dim.kind) {
    case DIM_CHOICE:
    case DIM_GRID: return d->options[(size_t)index_of(d, u)];
    case DIM_INT:
        v.kind = VALUE_INT;
        v.i = (int64_t)multiple(d, d->first + index_of(d, u));
        return v;
    case DIM_REAL:
        v.r = d->dim.n > 0 ? multiple(d, d->first + index_of(d, u)) : continuous(d, u);
        return v;
    case DIM_NORMAL: v.r = normal(d, u); return v;
    }
    return v;
}

/* The coordinate at which a rounded value begins: k of its dim.n, the first 0. */
static double edge(const struct dist *d, double k)
{
    if (!d->dim.log)
        return k / (double)d->dim.n;
    return log((d->first + k - d->offset) / d->base) / d->ratio;
}

static double normal_share(const struct dist *d, double x)
{
    return erfc((d->dim.lo - x) / d->dim.hi * M_SQRT1_2) / 2;
}

/* The interval of the k-th of dim.n values. */
static void kth_cell(const struct dist *d, double k, double cell[2])
{
    cell[0] = k > 0 ? edge(d, k) : 0;
    cell[1] = k + 1 < (double)d->dim.n ? edge(d, k + 1) : 1;
}

/* The interval of the k-th multiple of q, of a normal distribution. */
static void normal_cell(const struct dist *d, double k, double cell[2])
{
    cell[0] = normal_share(d, (k - 0.5) * d->dim.q);
    cell[1] = normal_share(d, (k + 0.5) * d->dim.q);
}

static double normal_multiple(const struct dist *d, double u)
{
    return rint((d->dim.lo + d->dim.hi * dist_normal(u > 0 ? u : 0x1p-54)) / d->dim.q);
}

void dist_cell(const struct dist *d, double u, double cell[2])
{
    cell[0] = cell[1] = u;
    if (d->dim.n > 0)
        kth_cell(d, index_of(d, u), cell);
    else if (d->dim.kind == DIM_NORMAL && d->dim.q > 0)
        normal_cell(d, normal_multiple(d, u), cell);
}

/* ---- scaling ---- */

/* The whole number that is nearest to k * factor, but not k. */
static double scaled_multiple(double k, double factor)
{
    double to = rint(k * factor);
    if (to != k)
        return to;
    return k < 0 ? k + (factor < 1 ? 1 : -1) : k + (factor > 1 ? 1 : -1);
}

static double neighbour(const struct dist *d, double u, bool up)
{
    double n = (double)d->dim.n, k = index_of(d, u) + (up ? 1 : -1);
    if (k < 0 || k >= n)
        k = up ? n - 2 : 1;
    return n > 1 ? k : 0;
}

/* The number of the value, of dim.n. */
static double scaled_index(const struct dist *d, double u, double factor)
{
    if (d->dim.kind == DIM_CHOICE || d->dim.kind == DIM_GRID)
        return neighbour(d, u, factor > 1);
    double k = scaled_multiple(d->first + index_of(d, u), factor) - d->first;
    return fmin(fmax(k, 0), (double)d->dim.n - 1);
}

static double scaled_continuous(const struct dist *d, double u, double factor)
{
    const struct dim *m = &d->dim;
    if (m->kind == DIM_NORMAL)
        return normal_share(d, normal(d, u) * factor);
    if (m->log)
        return u + log(factor) / d->ratio;
    return ((m->lo + u * (m->hi - m->lo)) * factor - m->lo) / (m->hi - m->lo);
}

double dist_scaled(const struct dist *d, double u, double factor)
{
    double cell[2];
    if (d->dim.n > 0)
        kth_cell(d, scaled_index(d, u, factor), cell);
    else if (d->dim.kind == DIM_NORMAL && d->dim.q > 0)
        normal_cell(d, scaled_multiple(normal_multiple(d, u), factor), cell);
    else
        cell[0] = cell[1] = scaled_continuous(d, u, factor);
    return fmin(fmax((cell[0] + cell[1]) / 2, 0), 1 - 0x1p-53);
}

struct arith_type dist_result(const struct dist *d)
{
    struct arith_type t = {.kinds = KIND_REAL, .nonneg = d->dim.lo >= 0};
    if (d->dim.kind == DIM_INT)
        t.kinds = KIND_INT;
    if (d->dim.kind == DIM_NORMAL)
        t.nonneg = false;
    if (d->dim.kind != DIM_CHOICE && d->dim.kind != DIM_GRID)
        return t;
    t.kinds = 0;
    for (int64_t i = 0; i < d->dim.n; i++) {
        struct value v = d->options[i], zero = {.kind = VALUE_INT};
        t.kinds |= 1u << v.kind;
        t.nonneg &= v.kind == VALUE_STR || value_order(v, zero) >= 0;
    }
    return t;
}
