#include "sched/levels.h"

#include "base/mem.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#define ETA_DIGITS   9
#define PRODUCTS_MAX 4096

int eta_parse(const char *text, struct eta *out, struct err *e)
{
    struct eta eta = {0, 0};
    int digits = 0;
    bool point = false, any = false;
    int64_t one = 1;

    for (const char *p = text; *p; p++) {
        if (*p == '.' && !point) {
            point = true;
            continue;
        }
        if (!isdigit((unsigned char)*p))
            return err_set(e, ERR_SYNTAX, "'%s' is not a plain decimal number", text);
        any = true;
        if (digits > 0 || *p != '0')
            digits++;
        if (digits > ETA_DIGITS)
            return err_set(e, ERR_RANGE, "'%s' has more than %d significant digits", text,
                           ETA_DIGITS);
        eta.digits = eta.digits * 10 + (*p - '0');
        eta.places += point;
    }
    if (!any)
        return err_set(e, ERR_SYNTAX, "'%s' is not a plain decimal number", text);
    while (eta.places > 0 && eta.digits % 10 == 0) {
        eta.digits /= 10;
        eta.places--;
    }
    if (eta.places > ETA_DIGITS)
        return err_set(e, ERR_RANGE, "must be greater than 1, not %s", text);
    for (int i = 0; i < eta.places; i++)
        one *= 10;
    if (eta.digits <= one)
        return err_set(e, ERR_RANGE, "must be greater than 1, not %s", text);
    *out = eta;
    return 0;
}

static int64_t power_of_ten(int places)
{
    int64_t p = 1;

    while (places-- > 0)
        p *= 10;
    return p;
}

double eta_value(struct eta eta)
{
    return (double)eta.digits / (double)power_of_ten(eta.places);
}

int64_t eta_floor(int64_t n, struct eta eta)
{
    int64_t power = power_of_ten(eta.places), scaled;

    if (!__builtin_mul_overflow(n, power, &scaled)) /* nearly always, and far quicker */
        return scaled / eta.digits;
    return (int64_t)((__int128)n * power / eta.digits);
}

/* A product r * eta^k as decimal digits, the least first, `places` of them behind the
 * point. Exact: at most 19 + 9 * PRODUCTS_MAX digits. */
struct product {
    uint8_t *digit;
    size_t n;
    size_t places;
};

static void product_set(struct product *p, int64_t r)
{
    p->n = p->places = 0;
    for (; r > 0; r /= 10)
        p->digit[p->n++] = (uint8_t)(r % 10);
}

static void product_times(struct product *p, struct eta eta)
{
    uint64_t carry = 0;

    for (size_t i = 0; i < p->n; i++) {
        carry += (uint64_t)p->digit[i] * (uint64_t)eta.digits;
        p->digit[i] = (uint8_t)(carry % 10);
        carry /= 10;
    }
    for (; carry > 0; carry /= 10)
        p->digit[p->n++] = (uint8_t)(carry % 10);
    p->places += (size_t)eta.places;
}

/* Rounded half up; `limit` when that or more. */
static int64_t product_round(const struct product *p, int64_t limit)
{
    __int128 v = 0;

    for (size_t i = p->n; i > p->places; i--) {
        v = v * 10 + p->digit[i - 1];
        if (v >= limit)
            return limit;
    }
    if (p->places > 0 && p->places <= p->n && p->digit[p->places - 1] >= 5)
        v++;
    return v < limit ? (int64_t)v : limit;
}

static struct product product_new(void)
{
    return (struct product){.digit = mem_alloc(32 + (size_t)PRODUCTS_MAX * ETA_DIGITS)};
}

#define TIMES_MOST ((int64_t)1 << 31)

int64_t eta_times(int64_t n, struct eta eta, int k)
{
    struct product p = product_new();
    int64_t whole = 0;
    bool rest = false;

    product_set(&p, n);
    while (k-- > 0)
        product_times(&p, eta);
    for (size_t i = 0; i < p.places && i < p.n; i++)
        rest |= p.digit[i] > 0;
    for (size_t i = p.n; i > p.places && whole < TIMES_MOST; i--)
        whole = whole * 10 + p.digit[i - 1];
    free(p.digit);
    return whole + rest < TIMES_MOST ? whole + rest : TIMES_MOST;
}

int64_t eta_over(int64_t n, struct eta eta, int k)
{
    int64_t m = (int64_t)((double)n / pow(eta_value(eta), k)); /* or one beside it */

    while (m > 0 && eta_times(m, eta, k) > n)
        m--;
    while (eta_times(m + 1, eta, k) <= n)
        m++;
    return m;
}

int levels_make(struct levels *lv, int64_t r, struct eta eta, int64_t max_t,
                struct err *e)
{
    struct product p;
    int64_t step[LEVELS_MAX];
    int n = 0, rc = 0;

    if (r < 1 || max_t < r)
        return err_set(
            e, ERR_RANGE,
            "max_t (%lld) must not be below grace_period (%lld), which must be "
            "at least 1",
            (long long)max_t, (long long)r);
    p = product_new();
    product_set(&p, r);
    for (int k = 0;; k++) {
        int64_t milestone = product_round(&p, max_t);

        if (milestone >= max_t)
            break;
        if (n == LEVELS_MAX - 1 || k == PRODUCTS_MAX - 1) {
            rc = err_set(
                e, ERR_RANGE,
                "reduction_factor is so near to 1 that there are more than %d rungs",
                n == LEVELS_MAX - 1 ? LEVELS_MAX - 1 : n);
            goto out;
        }
        if (n == 0 || milestone > step[n - 1])
            step[n++] = milestone;
        product_times(&p, eta);
    }
    step[n++] = max_t;
    lv->even = max_t < INT64_MAX && product_round(&p, max_t + 1) == max_t;
    lv->n = n;
    lv->step = mem_dup(step, (size_t)n * sizeof(step[0]));
out:
    free(p.digit);
    return rc;
}

int levels_every(struct levels *lv, int64_t interval, int64_t max_t, struct err *e)
{
    int64_t below;

    if (interval < 1 || max_t <= interval)
        return err_set(e, ERR_RANGE,
                       "interval (%lld) must be at least 1 and below max_t (%lld)",
                       (long long)interval, (long long)max_t);
    below = (max_t - 1) / interval;
    if (below >= LEVELS_MAX)
        return err_set(e, ERR_RANGE,
                       "interval (%lld) is so short that there are %lld until max_t "
                       "(%lld), and %d are the most",
                       (long long)interval, (long long)below, (long long)max_t,
                       LEVELS_MAX - 1);
    lv->n = (int)below + 1;
    lv->even = max_t % interval == 0;
    lv->step = mem_alloc((size_t)lv->n * sizeof(lv->step[0]));
    for (int i = 0; i < lv->n - 1; i++)
        lv->step[i] = (i + 1) * interval;
    lv->step[lv->n - 1] = max_t;
    return 0;
}

void levels_merge_last(struct levels *lv)
{
    if (lv->even || lv->n < 2)
        return;
    lv->n--;
    lv->step[lv->n - 1] = lv->step[lv->n];
    lv->even = true;
}

void levels_free(struct levels *lv)
{
    free(lv->step);
    lv->step = NULL;
    lv->n = 0;
}

static double bracket_weight(const struct levels *lv, int s)
{
    return (double)lv->n / ((double)(lv->n - s) * (double)lv->step[s]);
}

static double bracket_weights(const struct levels *lv, int brackets)
{
    double sum = 0;

    for (int s = 0; s < brackets; s++)
        sum += bracket_weight(lv, s);
    return sum;
}

double bracket_probability(const struct levels *lv, int brackets, int s)
{
    return bracket_weight(lv, s) / bracket_weights(lv, brackets);
}

int bracket_draw(const struct levels *lv, int brackets, double u)
{
    double left = u * bracket_weights(lv, brackets);

    for (int s = 0; s < brackets - 1; s++) {
        left -= bracket_weight(lv, s);
        if (left < 0)
            return s;
    }
    return brackets - 1;
}
