#include "base/clock.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static double now(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t); /* fails only for a clock that Linux has not */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double clock_wall(void)
{
    return now(CLOCK_REALTIME);
}

double clock_mono(void)
{
    return now(CLOCK_MONOTONIC);
}

/* False for what has no date. */
static bool local(double wall, struct tm *tm)
{
    if (!(fabs(wall) < 1e11) || wall == 0) /* the year 5138; NaN, too */
        return false;
    time_t t = (time_t)floor(wall);
    return localtime_r(&t, tm) != NULL;
}

const char *clock_format(char buf[32], double wall)
{
    struct tm tm;
    if (!local(wall, &tm) || strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        strcpy(buf, "-");
    return buf;
}

const char *clock_stamp(char buf[32], double wall)
{
    struct tm tm;
    if (!local(wall, &tm) || strftime(buf, 32, "%Y%m%d-%H%M%S", &tm) == 0)
        strcpy(buf, "-");
    return buf;
}
