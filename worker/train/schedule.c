#include "worker/train/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* OneCycleLR's div_factor and pct_start. */
#define CYCLE_START (1.0 / 25)
#define CYCLE_RISE  0.3

struct kind {
    double (*share)(const struct schedule *s, double t);
    bool has_length;
    bool ramps; /* over `warmup` steps */
};

/* From `from` to `to` by half a cosine, as x goes from 0 to 1. */
static double anneal(double from, double to, double x)
{
    return to + (from - to) * (1 + cos(M_PI * fmin(x, 1))) / 2;
}

static double constant(const struct schedule *s, double t)
{
    (void)s, (void)t;
    return 1;
}

static double cosine(const struct schedule *s, double t)
{
    double warmup = (double)s->warmup;

    if (t < warmup)
        return 1;
    return anneal(1, s->final, (t - warmup) / ((double)s->steps - warmup));
}

static double step(const struct schedule *s, double t)
{
    return pow(s->factor, floor(t / (double)s->every));
}

static double onecycle(const struct schedule *s, double t)
{
    double rise = s->warmup ? (double)s->warmup : CYCLE_RISE * (double)s->steps;
    double top = rise - 1, end = (double)s->steps - 1;

    if (t < top)
        return anneal(CYCLE_START, 1, t / top);
    return anneal(1, s->final, (t - top) / (end - top));
}

const char *const schedule_kinds[] = {"constant", "cosine", "step", "onecycle", NULL};
static const struct kind kinds[] = {
    {constant, false, true},
    {cosine, true, true},
    {step, false, true},
    {onecycle, true, false},
};

static const struct kind *find_kind(const char *name)
{
    size_t k = 0;

    while (name && schedule_kinds[k] && strcmp(name, schedule_kinds[k]) != 0)
        k++; /* without a name the first, constant */
    return schedule_kinds[k] ? &kinds[k] : NULL;
}

bool schedule_has_length(const char *kind)
{
    const struct kind *k = find_kind(kind);

    return k && k->has_length;
}

int schedule_check(const struct schedule *s, struct err *e)
{
    const struct kind *k = find_kind(s->kind);

    if (!k)
        return err_set(e, ERR_INVAL, "unknown learning-rate schedule '%s'", s->kind);
    if (k->has_length && s->steps < 1)
        return err_set(e, ERR_INVAL,
                       "learning-rate schedule %s: the training's length is not known",
                       s->kind);
    if (k->has_length && s->warmup >= s->steps)
        return err_set(e, ERR_INVAL,
                       "learning-rate schedule %s: a warm-up of %" PRId64
                       " steps leaves nothing of a training of %" PRId64,
                       s->kind, s->warmup, s->steps);
    if (k->share == step && s->every < 1)
        return err_set(e, ERR_INVAL,
                       "learning-rate schedule step: it is not known when to drop");
    return 0;
}

double schedule_share(const struct schedule *s, int64_t at)
{
    const struct kind *k = find_kind(s->kind);
    double t = (double)at, share = k->share(s, t);

    if (k->ramps && at < s->warmup)
        share *= (t + 1) / ((double)s->warmup + 1);
    return share;
}
