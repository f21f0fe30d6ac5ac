/* Shortest decimal text of a double, as Python's repr() has it.
 *
 * A double v = m * 2^e is the nearest one to every decimal between v - ulp/2 and
 * v + ulp/2. Scaled by a power of ten that gives v 17 digits before the point,
 * that interval is between 1.1 and 22.3 wide: it holds at most one multiple of
 * 100 (15 digits or fewer), else a multiple of 10, else an integer. For
 * 1e-10 <= v < 2^53 all of it is exact in 128 bits, since 10^k = 2^k * 5^k and
 * 4 * m * 5^27 < 2^118. (The interval's ends need no thought: where v is no integer,
 * they have 18 digits or more.) The rest of the doubles are tried with printf() and
 * strtod(), which is ten times slower and seldom needed. */
#include "base/num.h"

#include "base/err.h"
#include "base/num_scan.h"

typedef unsigned __int128 u128;

struct decimal { /* 0.d1d2d3... * 10^point */
    char digits[20];
    int n, point;
};

/* The digits of v, two at a time, so that they end at `end`; returns where they begin. */
static char *put_digits(char *end, uint64_t v)
{
    static const char pairs[] = "00010203040506070809"
                                "10111213141516171819"
                                "20212223242526272829"
                                "30313233343536373839"
                                "40414243444546474849"
                                "50515253545556575859"
                                "60616263646566676869"
                                "70717273747576777879"
                                "80818283848586878889"
                                "90919293949596979899";
    char *p = end;
    for (; v >= 100; v /= 100)
        memcpy(p -= 2, pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(p -= 2, pairs + v * 2, 2);
    else
        *--p = (char)('0' + v);
    return p;
}

static void decimal_from(struct decimal *d, uint64_t v, int power)
{
    char text[20], *end = text + sizeof(text), *p = put_digits(end, v);
    d->n = (int)(end - p);
    memcpy(d->digits, p, (size_t)d->n);
    d->point = d->n + power;
}

static void decimal_trim(struct decimal *d)
{
    while (d->n > 1 && d->digits[d->n - 1] == '0')
        d->n--;
}

/* An open interval around v, in units of 2^-shift. */
struct around {
    u128 v, above, below;
    int shift;
};

static bool around_has(const struct around *a, uint64_t x, u128 *distance)
{
    u128 at = (u128)x << a->shift;
    *distance = at > a->v ? at - a->v : a->v - at;
    return *distance < (at > a->v ? a->above : a->below);
}

/* Of the two multiples of step next to v, of which low is the lower, the one to take;
 * or 0. */
static uint64_t around_pick(const struct around *a, uint64_t low, uint64_t step)
{
    uint64_t high = low + step;
    u128 to_low, to_high;
    bool low_in = around_has(a, low, &to_low), high_in = around_has(a, high, &to_high);
    if (low_in && high_in) {
        bool even = low / step % 2 == 0;
        return to_low < to_high || (to_low == to_high && even) ? low : high;
    }
    return low_in ? low : high_in ? high : 0;
}

/* 1e-10 <= v < 2^53, not an integer. */
static void shortest_exact(struct decimal *d, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    int e = (int)(bits >> 52) - 1075;
    uint64_t m = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    /* floor(log10(2^(e + 52))), or one less than log10(v)'s. */
    int k = 16 - ((((e + 52) * 1233 + 4096 * 100) >> 12) - 100);
    struct around a;
    uint64_t whole;
    for (;; k--) {
        uint64_t five = num_power5_[k];
        a.v = (u128)(4 * m) * five;
        a.above = (u128)2 * five;
        a.below = m == UINT64_C(1) << 52 ? five : a.above;
        a.shift = 2 - e - k;
        whole = (uint64_t)(a.v >> a.shift);
        if (whole < UINT64_C(100000000000000000))
            break;
    }
    uint64_t best = around_pick(&a, whole - whole % 100, 100);
    if (!best)
        best = around_pick(&a, whole - whole % 10, 10);
    if (!best)
        best = around_pick(&a, whole, 1);
    decimal_from(d, best, -k);
    decimal_trim(d);
}

/* v > 0 with n significant digits, by printf; whatever the locale's point is. */
static void decimal_print(struct decimal *d, double v, int n)
{
    char buf[48];
    snprintf(buf, sizeof(buf), "%.*e", n - 1, v);
    char *p = buf;
    for (d->n = 0; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            d->digits[d->n++] = *p;
    d->point = atoi(p + 1) + 1;
    decimal_trim(d);
}

static uint64_t decimal_digits(const struct decimal *d)
{
    uint64_t v = 0;
    num_scan_digits_(d->digits, d->digits + d->n, &v);
    return v;
}

static double decimal_value(const struct decimal *d)
{
    struct num_lit lit = {.digits = d->digits,
                          .whole = (size_t)d->n,
                          .mantissa = decimal_digits(d),
                          .power = d->point - d->n};
    return num_lit_double(&lit);
}

/* The next decimal of n digits. */
static void decimal_up(struct decimal *d, int n)
{
    uint64_t v = decimal_digits(d);
    for (int i = d->n; i < n; i++)
        v *= 10;
    decimal_from(d, v + 1, d->point - n);
}

static void shortest_tried(struct decimal *d, double v)
{
    /* Normal numbers hold any 15 digits; below them one may be enough. */
    for (int n = v < 0x1p-1022 ? 1 : 15; n < 17; n++) {
        decimal_print(d, v, n);
        if (decimal_value(d) == v)
            return;
    }
    /* At a power of two the interval reaches half as far down as up: the nearest
     * decimal, below v, can be outside, and the next one, above, inside. */
    decimal_up(d, 16);
    if (decimal_value(d) != v)
        decimal_print(d, v, 17);
}

static char *put(char *p, const char *digits, int n)
{
    memcpy(p, digits, (size_t)n);
    return p + n;
}

static char *put_zeros(char *p, int n)
{
    memset(p, '0', (size_t)n);
    return p + n;
}

/* As 123.45, padded with zeros, where the point is at most max digits from the
 * first one, else as 1.2345e+22. real: 123.0 rather than 123. */
static size_t lay_out(char *out, const struct decimal *d, int max, bool real)
{
    char *p = out;
    if (d->point <= -4 || d->point > max) {
        p = put(p, d->digits, 1);
        if (d->n > 1) {
            *p++ = '.';
            p = put(p, d->digits + 1, d->n - 1);
        }
        return (size_t)(p - out) + (size_t)sprintf(p, "e%+03d", d->point - 1);
    }
    if (d->point <= 0) {
        p = put(p, "0.", 2);
        p = put_zeros(p, -d->point);
        p = put(p, d->digits, d->n);
    } else if (d->point < d->n) {
        p = put(p, d->digits, d->point);
        *p++ = '.';
        p = put(p, d->digits + d->point, d->n - d->point);
    } else {
        p = put(p, d->digits, d->n);
        p = put_zeros(p, d->point - d->n);
        if (real)
            p = put(p, ".0", 2);
    }
    *p = '\0';
    return (size_t)(p - out);
}

/* Signs, zeros and what is not finite; true when that was all. */
static bool special(char *buf, double *v, size_t *n, const char *zero)
{
    *n = 0;
    if (isnan(*v)) {
        strcpy(buf, "nan");
        *n = 3;
        return true;
    }
    if (signbit(*v)) {
        buf[(*n)++] = '-';
        *v = -*v;
    }
    if (*v != 0 && !isinf(*v))
        return false;
    const char *text = isinf(*v) ? "inf" : zero;
    strcpy(buf + *n, text);
    *n += strlen(text);
    return true;
}

size_t num_format(char buf[NUM_MAX], double v)
{
    size_t n;
    struct decimal d;
    if (special(buf, &v, &n, "0.0"))
        return n;
    if (v < 0x1p53 && v == (double)(int64_t)v) {
        n += num_format_int(buf + n, (int64_t)v);
        memcpy(buf + n, ".0", 3);
        return n + 2;
    }
    if (v >= 1e-10 && v < 0x1p53)
        shortest_exact(&d, v);
    else
        shortest_tried(&d, v);
    return n + lay_out(buf + n, &d, 16, true);
}

size_t num_format_int(char buf[NUM_MAX], int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char digits[20], *end = digits + sizeof(digits), *p = put_digits(end, u);
    size_t n = 0;
    if (v < 0)
        buf[n++] = '-';
    memcpy(buf + n, p, (size_t)(end - p));
    n += (size_t)(end - p);
    buf[n] = '\0';
    return n;
}

size_t num_format_short(char buf[NUM_MAX], double v, int digits)
{
    size_t n;
    struct decimal d;
    digits = digits < 1 ? 1 : digits > 17 ? 17 : digits;
    if (special(buf, &v, &n, "0"))
        return n;
    decimal_print(&d, v, digits);
    return n + lay_out(buf + n, &d, digits, false);
}

int num_parse(const char *text, size_t n, double *out)
{
    struct num_lit lit;
    if (num_scan(text, text + n, &lit) != text + n)
        return ERR_SYNTAX;
    double v = num_lit_double(&lit);
    if (isinf(v))
        return ERR_RANGE;
    *out = v;
    return 0;
}

int num_parse_int(const char *text, size_t n, int64_t *out)
{
    struct num_lit lit;
    if (num_scan(text, text + n, &lit) != text + n || lit.point || lit.exponent)
        return ERR_SYNTAX;
    return num_lit_int(&lit, out) ? 0 : ERR_RANGE;
}
