/* Decimal text to a number, correctly rounded, in one pass.
 *
 * num_scan() walks a literal and collects its digits; num_lit_double() and
 * num_lit_int() turn it into a value. Nearly every literal has at most 19
 * significant digits and a power of ten between -27 and 27; then
 * digits * 2^e * 5^e is exact in 128 bits (one division, with its remainder,
 * where e is negative), and rounding it once is rounding it correctly. What is
 * left goes to strtod(), in the C locale.
 *
 * Static inline, as base/json_scan.h is, and for the same reason. */
#ifndef BASE_NUM_SCAN_H
#define BASE_NUM_SCAN_H

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct num_lit {
    const char *digits; /* after the sign */
    size_t whole, part; /* digits before and behind the point */
    uint64_t mantissa;  /* all digits as one integer, modulo 2^64 */
    int64_t power;      /* value = mantissa * 10^power */
    bool negative, point, exponent;
};

static inline const char *num_scan_digits_(const char *p, const char *end,
                                           uint64_t *value)
{
    uint64_t v = *value;
    unsigned digit;
    for (; p < end && (digit = (unsigned)(unsigned char)*p - '0') < 10; p++)
        v = v * 10 + digit;
    *value = v;
    return p;
}

/* "e+05" and the like into lit->power; returns its end, NULL when cut short. */
static inline const char *num_scan_exponent_(const char *p, const char *end,
                                             struct num_lit *lit)
{
    int64_t power = 0;
    bool negative = false;
    lit->exponent = true;
    p++;
    if (p < end && (*p == '+' || *p == '-'))
        negative = *p++ == '-';
    const char *first = p;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (power < INT64_C(100000000000000000)) /* beyond any length of text */
            power = power * 10 + (*p - '0');
    lit->power += negative ? -power : power;
    return p > first ? p : NULL;
}

/* Reads [+-] digits [. digits] [e [+-] digits] from the start of p..end, with at
 * least one digit before or behind the point. Returns the end of what it read,
 * NULL where there is no number. */
static inline const char *num_scan(const char *p, const char *end, struct num_lit *lit)
{
    *lit = (struct num_lit){0};
    if (p < end && (*p == '-' || *p == '+'))
        lit->negative = *p++ == '-';
    lit->digits = p;
    p = num_scan_digits_(p, end, &lit->mantissa);
    lit->whole = (size_t)(p - lit->digits);
    if (p < end && *p == '.') {
        const char *behind = ++p;
        lit->point = true;
        p = num_scan_digits_(p, end, &lit->mantissa);
        lit->part = (size_t)(p - behind);
        lit->power = -(int64_t)lit->part;
    }
    if (lit->whole + lit->part == 0)
        return NULL;
    if (p < end && (*p == 'e' || *p == 'E'))
        p = num_scan_exponent_(p, end, lit);
    return p;
}

/* True when mantissa has not wrapped: at most 19 significant digits. */
static inline bool num_lit_fits_(const struct num_lit *lit)
{
    size_t n = lit->whole + lit->part;
    const char *p = lit->digits;
    for (; n > 19 && (*p == '0' || *p == '.'); p++)
        n -= *p == '0';
    return n <= 19;
}

/* kept * 2^exp2, of which nothing is lost: a normal number. */
static inline double num_shift_(uint64_t kept, int exp2)
{
    uint64_t bits = (uint64_t)(1023 + exp2) << 52;
    double power;
    memcpy(&power, &bits, sizeof(power));
    return (double)kept * power;
}

/* q * 2^exp2, rounded half to even; inexact: a little more than q. q has 55 bits
 * at least when inexact, and the result is a normal number. */
static inline double num_round_(unsigned __int128 q, bool inexact, int exp2)
{
    uint64_t high = (uint64_t)(q >> 64);
    int bits = high ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)q);
    int cut = bits - 53;
    if (cut <= 0)
        return num_shift_((uint64_t)q, exp2);
    uint64_t kept = (uint64_t)(q >> cut);
    unsigned __int128 lost = q & (((unsigned __int128)1 << cut) - 1);
    unsigned __int128 half = (unsigned __int128)1 << (cut - 1);
    if (lost > half || (lost == half && (inexact || (kept & 1))))
        kept++;
    return num_shift_(kept, exp2 + cut);
}

#define NUM_POWER5_MAX 27 /* the last power of five below 2^63 */
static const uint64_t num_power5_[NUM_POWER5_MAX + 1] = {
    UINT64_C(1),
    UINT64_C(5),
    UINT64_C(25),
    UINT64_C(125),
    UINT64_C(625),
    UINT64_C(3125),
    UINT64_C(15625),
    UINT64_C(78125),
    UINT64_C(390625),
    UINT64_C(1953125),
    UINT64_C(9765625),
    UINT64_C(48828125),
    UINT64_C(244140625),
    UINT64_C(1220703125),
    UINT64_C(6103515625),
    UINT64_C(30517578125),
    UINT64_C(152587890625),
    UINT64_C(762939453125),
    UINT64_C(3814697265625),
    UINT64_C(19073486328125),
    UINT64_C(95367431640625),
    UINT64_C(476837158203125),
    UINT64_C(2384185791015625),
    UINT64_C(11920928955078125),
    UINT64_C(59604644775390625),
    UINT64_C(298023223876953125),
    UINT64_C(1490116119384765625),
    UINT64_C(7450580596923828125),
};

/* A division of 128 bits takes longer than all the rest, so it is first tried with the
 * reciprocal, 2^(63 + bits) / 5^k of 64 bits, cut off: the product's upper half q is too
 * small by 2 at most, which only matters where rounding it depends on that, one time in
 * 500. False then. m has its highest bit set. */
static inline bool num_try_reciprocal_(uint64_t m, int k, int exp2, double *v)
{
#define NUM_BITS_(five) (64 - __builtin_clzll(five))
#define NUM_INVERSE_(five)                                                               \
    (uint64_t)(((unsigned __int128)1 << (63 + NUM_BITS_(five))) / (five))
#define NUM_INVERSES_(five)                                                              \
    NUM_INVERSE_(five), NUM_INVERSE_((five)*5), NUM_INVERSE_((five)*25)
    static const uint64_t inverse[NUM_POWER5_MAX] = {
        NUM_INVERSES_(UINT64_C(5)),
        NUM_INVERSES_(UINT64_C(625)),
        NUM_INVERSES_(UINT64_C(78125)),
        NUM_INVERSES_(UINT64_C(9765625)),
        NUM_INVERSES_(UINT64_C(1220703125)),
        NUM_INVERSES_(UINT64_C(152587890625)),
        NUM_INVERSES_(UINT64_C(19073486328125)),
        NUM_INVERSES_(UINT64_C(2384185791015625)),
        NUM_INVERSES_(UINT64_C(298023223876953125)),
    };
    uint64_t q = (uint64_t)((unsigned __int128)m * inverse[k - 1] >> 64);
    int cut = 11 - __builtin_clzll(q); /* q has 63 bits or 64 */
    uint64_t half = UINT64_C(1) << (cut - 1), lost = q & (2 * half - 1);
    if (lost + 2 >= half && lost <= half)
        return false;
    *v = num_shift_((q >> cut) + (lost > half),
                    exp2 + 1 - NUM_BITS_(num_power5_[k]) + cut);
    return true;
}

/* m * 10^power for |power| <= NUM_POWER5_MAX. */
static inline double num_scale_(uint64_t m, int power)
{
    double v;
    if (m == 0)
        return 0;
    if (power >= 0)
        return num_round_((unsigned __int128)m * num_power5_[power], false, power);
    int up = __builtin_clzll(m);
    if (num_try_reciprocal_(m << up, -power, power - up, &v))
        return v;
    up += 63; /* 127 bits, so that the quotient has 64 or more */
    unsigned __int128 n = (unsigned __int128)m << up;
    uint64_t divisor = num_power5_[-power];
    unsigned __int128 q = n / divisor;
    return num_round_(q, q * divisor != n, power - up);
}

/* Any literal, by strtod. A decision between two doubles needs at most 767
 * digits; of those behind the 800th it only matters whether all are zero. */
static inline double num_slow_(const struct num_lit *lit)
{
    enum { KEEP = 800 };
    char buf[KEEP + 32];
    size_t n = 0, left = lit->whole + lit->part;
    bool more = false;
    const char *p = lit->digits;
    for (; left > 0 && n < KEEP; p++) {
        if (*p == '.')
            continue;
        left--;
        if (n > 0 || *p != '0')
            buf[n++] = *p;
    }
    int64_t power = lit->power + (int64_t)left;
    for (; left > 0; p++) {
        left -= *p != '.';
        more |= *p != '0' && *p != '.';
    }
    if (n == 0)
        return 0;
    if (more) {
        buf[n++] = '1';
        power--;
    }
    snprintf(buf + n, sizeof(buf) - n, "e%lld", (long long)power);
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL); /* glibc: a constant, no allocation */
    double v = strtod_l(buf, NULL, c);
    freelocale(c);
    return v;
}

/* The nearest double, ties to even; infinite where there is none. */
static inline double num_lit_double(const struct num_lit *lit)
{
    double v;
    if (lit->power >= -NUM_POWER5_MAX && lit->power <= NUM_POWER5_MAX &&
        num_lit_fits_(lit))
        v = num_scale_(lit->mantissa, (int)lit->power);
    else
        v = num_slow_(lit);
    return lit->negative ? -v : v;
}

/* False when there is a point or an exponent, or beyond int64. */
static inline bool num_lit_int(const struct num_lit *lit, int64_t *out)
{
    if (lit->point || lit->exponent || !num_lit_fits_(lit) ||
        lit->mantissa > (uint64_t)INT64_MAX + lit->negative)
        return false;
    *out = (int64_t)(lit->negative ? 0 - lit->mantissa : lit->mantissa);
    return true;
}

#endif
