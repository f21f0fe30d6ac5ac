#include "base/units.h"

#include "base/num.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SECONDS_MAX 1e11 /* three thousand years */

/* n * scale, for "1.5" and 3600; negative when it is no number. */
static double scaled(const char *text, size_t n, double scale)
{
    double v;
    if (n == 0 || text[0] == '+' || text[0] == '-' || num_parse(text, n, &v) != 0)
        return -1;
    return v * scale;
}

/* Digits at *p, at most max; -1 when there are none or too many. */
static double field(const char **p, double max)
{
    size_t n = strspn(*p, "0123456789");
    double v = scaled(*p, n, 1);
    *p += n;
    return v <= max ? v : -1;
}

/* Slurm's [D-]H:M:S, [D-]H:M with days, D-H, and M:S. */
static double parse_clock(const char *text)
{
    static const double unit[] = {3600, 60, 1};
    const char *p = text;
    double total = 0;
    bool days = strchr(text, '-') != NULL;
    if (days) {
        double d = field(&p, 1e6);
        if (d < 0 || *p++ != '-')
            return -1;
        total = d * 86400;
    }
    int colons = 0;
    for (const char *q = p; *q; q++)
        colons += *q == ':';
    if (colons > 2 || (!days && colons == 0))
        return -1;
    int first = days || colons == 2 ? 0 : 1;
    for (int i = first; i <= first + colons; i++) {
        double max = i > first ? 59 : days ? 23 : 1e6;
        double v = field(&p, max);
        if (v < 0)
            return -1;
        total += v * unit[i];
        if (i < first + colons && *p++ != ':')
            return -1;
    }
    return *p ? -1 : total;
}

int duration_parse(const char *text, double *seconds, struct err *e)
{
    size_t n = strlen(text);
    double v = -1;
    if (n > 0 && text[0] != '-' && strpbrk(text, ":-") && !strpbrk(text, "eE")) {
        v = parse_clock(text);
    } else if (n > 0) {
        switch (text[n - 1]) {
        case 's': v = scaled(text, n - 1, 1); break;
        case 'm': v = scaled(text, n - 1, 60); break;
        case 'h': v = scaled(text, n - 1, 3600); break;
        case 'd': v = scaled(text, n - 1, 86400); break;
        default: v = scaled(text, n, 1); break;
        }
    }
    if (v < 0)
        return err_set(e, ERR_SYNTAX,
                       "'%s' is no duration (like 4:00:00, 1-12:00:00, 90s, 15m or 2h)",
                       text);
    if (v == 0 || v > SECONDS_MAX)
        return err_set(e, ERR_RANGE, "the duration '%s' is %s", text,
                       v == 0 ? "zero" : "too long");
    *seconds = v;
    return 0;
}

int size_parse(const char *text, int64_t *bytes, struct err *e)
{
    size_t n = strlen(text);
    double scale = 1;
    const char *letters = "KMGTPkmgtp";
    const char *letter = n ? strchr(letters, text[n - 1]) : NULL;
    if (letter) {
        scale = ldexp(1, 10 * ((int)(letter - letters) % 5 + 1));
        n--;
    }
    double v = scaled(text, n, scale);
    if (v < 0)
        return err_set(e, ERR_SYNTAX, "'%s' is no size (like 512M, 2G or 1.5T)", text);
    v = round(v);
    if (v < 1 || v >= 0x1p63)
        return err_set(e, ERR_RANGE, "the size '%s' is %s", text,
                       v < 1 ? "zero" : "too large");
    *bytes = (int64_t)v;
    return 0;
}

const char *duration_format(char buf[UNITS_MAX], double seconds)
{
    if (!(seconds >= 0 && seconds <= SECONDS_MAX)) {
        strcpy(buf, "-");
        return buf;
    }
    /* Rounded in the last unit shown before the form is chosen: 59.97 s is 1m 00s. */
    long long tenths = llround(seconds * 10), s = llround(seconds);
    long long m = (s + 30) / 60, h = (s + 1800) / 3600;
    if (tenths < 600)
        snprintf(buf, UNITS_MAX, "%lld.%lld s", tenths / 10, tenths % 10);
    else if (s < 3600)
        snprintf(buf, UNITS_MAX, "%lldm %02llds", s / 60, s % 60);
    else if (m < 24 * 60)
        snprintf(buf, UNITS_MAX, "%lldh %02lldm", m / 60, m % 60);
    else
        snprintf(buf, UNITS_MAX, "%lldd %02lldh", h / 24, h % 24);
    return buf;
}

const char *size_format(char buf[UNITS_MAX], double bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int i = 0;
    if (!(bytes >= 0 && bytes < 0x1p70)) {
        strcpy(buf, "-");
        return buf;
    }
    while (bytes >= 1023.5 && i < 6) { /* 1023.5 would show as 1024 */
        bytes /= 1024;
        i++;
    }
    long long tenths = llround(bytes * 10);
    if (i == 0 || tenths >= 1000 || tenths % 10 == 0)
        snprintf(buf, UNITS_MAX, "%lld %s", llround(bytes), names[i]);
    else
        snprintf(buf, UNITS_MAX, "%lld.%lld %s", tenths / 10, tenths % 10, names[i]);
    return buf;
}

const char *duration_slurm(char buf[UNITS_MAX], double seconds)
{
    /* 1.1 h is 3960 s and a little by binary fractions; that little is no second. */
    double up = ceil(seconds - 1e-6);
    long long s = !(up > 0)          ? 0
                  : up > SECONDS_MAX ? (long long)SECONDS_MAX
                                     : (long long)up;
    snprintf(buf, UNITS_MAX, "%lld-%02lld:%02lld:%02lld", s / 86400, s / 3600 % 24,
             s / 60 % 60, s % 60);
    return buf;
}
