#include "slurm/sacct.h"

#include "base/num.h"
#include "slurm/command.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum {
    FIELD_JOB,
    FIELD_STATE,
    FIELD_START,
    FIELD_END,
    FIELD_ELAPSED,
    FIELD_CPU,
    FIELD_RSS,
    FIELD_ENERGY,
    FIELD_NODES,
    FIELD_NAME,
    FIELDS
};

/* Where nothing measures energy, some releases say nothing, some 0, some the largest
 * number there is. */
#define ENERGY_MAX 1e15

static bool split(struct slice line, struct slice field[FIELDS])
{
    for (int i = 0; i < FIELDS - 1; i++) {
        const char *bar = memchr(line.p, '|', line.len);

        if (!bar)
            return false;
        field[i] = (struct slice){line.p, (size_t)(bar - line.p)};
        line.len -= field[i].len + 1;
        line.p = bar + 1;
    }
    field[FIELDS - 1] = line;
    return true;
}

static double number(struct slice s)
{
    double v;

    return num_parse(s.p, s.len, &v) == 0 && isfinite(v) && v >= 0 ? v : NAN;
}

/* "2026-11-20T17:15:02", where we are; "Unknown" and "None" are NaN. */
static double moment(struct slice s)
{
    struct tm tm = {.tm_isdst = -1};
    char text[32];
    time_t t;

    if (s.len >= sizeof(text))
        return NAN;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return NAN;
    t = mktime(&tm);
    return t == (time_t)-1 ? NAN : (double)t;
}

/* "01:02.345", "01:02:03", "1-02:03:04". */
static double cpu_time(struct slice s)
{
    const char *dash = memchr(s.p, '-', s.len);
    double days = 0, sum = 0;

    if (dash) {
        days = number((struct slice){s.p, (size_t)(dash - s.p)});
        s.len -= (size_t)(dash + 1 - s.p);
        s.p = dash + 1;
    }
    for (int parts = 0;; parts++) {
        const char *colon = s.len ? memchr(s.p, ':', s.len) : NULL;
        size_t n = colon ? (size_t)(colon - s.p) : s.len;

        sum = sum * 60 + number((struct slice){s.p, n});
        if (!colon)
            return parts > 0 && parts < 3 ? days * 86400 + sum : NAN;
        s.p += n + 1;
        s.len -= n + 1;
    }
}

/* "3164K"; the number of bytes. */
static double size(struct slice s)
{
    static const char letters[] = "KMGTPE";
    const char *letter = s.len ? strchr(letters, s.p[s.len - 1]) : NULL;

    if (s.len == 0)
        return NAN;
    if (!letter)
        return number(s);
    s.len--;
    return ldexp(number(s), 10 * (int)(letter - letters + 1));
}

bool sacct_next(struct slice *rest, struct account *r)
{
    struct slice line, field[FIELDS];

    while (command_next_line(rest, &line)) {
        const char *dot, *blank;

        if (!split(line, field))
            continue;
        *r = (struct account){.job = field[FIELD_JOB],
                              .name = field[FIELD_NAME],
                              .state = field[FIELD_STATE],
                              .nodes = field[FIELD_NODES],
                              .started = moment(field[FIELD_START]),
                              .ended = moment(field[FIELD_END]),
                              .elapsed = number(field[FIELD_ELAPSED]),
                              .cpu_seconds = cpu_time(field[FIELD_CPU]),
                              .max_rss = size(field[FIELD_RSS]),
                              .energy = number(field[FIELD_ENERGY])};
        dot = memchr(r->job.p, '.', r->job.len);
        if (dot) {
            r->step = (struct slice){dot + 1, r->job.len - (size_t)(dot + 1 - r->job.p)};
            r->job.len = (size_t)(dot - r->job.p);
        }
        blank = memchr(r->state.p, ' ', r->state.len); /* "CANCELLED by 1000" */
        if (blank)
            r->state.len = (size_t)(blank - r->state.p);
        if (!(r->energy > 0 && r->energy < ENERGY_MAX))
            r->energy = NAN;
        if (slice_eq(r->nodes, "None assigned"))
            r->nodes.len = 0;
        /* REQUEUED is how this run ended, whatever another does */
        r->is = isnan(r->ended) ? slurm_state_of(r->state) : JOB_GONE;
        if (slurm_is_job(r->job) && r->state.len > 0)
            return true;
    }
    return false;
}
