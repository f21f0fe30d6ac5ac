/* What is to be known before an attempt begins: how long it will take, whether the job
 * lasts as long, whether it shall be a job step. Steps cost their agents some 60 ms and
 * slurmctld a few; hundreds at once leave slots idle for want of them. Two cores that are
 * slurmctld and all nodes stand 26 to 44 steps a second, at their limit. */
#include "launcher/controller_private.h"

#include <math.h>

#define LAUNCHES_A_SECOND 20.0 /* of job steps, of the whole sweep */
#define LAUNCHES_AT_ONCE  20.0
#define LAUNCH_APART      0.025 /* seconds */
#define SHORT_SECONDS     10.0 /* attempts shorter than this are none, if they may choose */

/* ---- how long attempts take ---- */

void controller_pace(struct controller *c, struct slot *s, int64_t last, int64_t step,
                     double elapsed)
{
    if (step <= last)
        return; /* a repetition of what was trained before */
    c->paced_steps += step - last;
    c->paced_seconds += elapsed - s->paced_elapsed;
    s->paced_elapsed = elapsed;
}

double controller_estimate(const struct controller *c, int32_t trial, int64_t start,
                           int64_t until)
{
    const struct trial *t = sweep_trial(c->sw, trial);
    const struct sweep_totals *n = sweep_totals(c->sw);
    double steps = (double)(until - start);

    if (t->seconds > 0 && t->last_step > t->born)
        return steps * t->seconds / (double)(t->last_step - t->born);
    if (c->paced_steps > 0)
        return steps * c->paced_seconds / (double)c->paced_steps;
    return n->steps > 0 ? steps * n->seconds / (double)n->steps : NAN;
}

void controller_saved(struct controller *c, const struct trial *t, int64_t step)
{
    int64_t last = t->saved > t->attempt_start ? t->saved : t->attempt_start;

    if (step > last && step < t->until &&
        !(c->save_gap > 0 && c->save_gap <= step - last))
        c->save_gap = step - last;
}

bool controller_fits(const struct controller *c, const struct peer *p, int32_t slot,
                     const struct work *w)
{
    int64_t until = w->until;

    if (p->slots[slot].ask <= 1)
        return true;
    if (c->save_gap > 0 && w->start + c->save_gap < until)
        until = w->start + c->save_gap;
    return !(controller_estimate(c, w->trial, w->start, until) > p->ends - c->now);
}

/* ---- job steps ---- */

static double launches(const struct controller *c)
{
    double n = c->launches + (c->now - c->launches_at) * LAUNCHES_A_SECOND;

    return fmin(n, LAUNCHES_AT_ONCE);
}

double controller_launch_due(const struct controller *c)
{
    double missing = 1 - launches(c);

    if (c->c.steps != STEPS_YES)
        return c->now;
    /* Slots that begin together want their next steps together, too, again and again. */
    return fmax(c->launches_at + LAUNCH_APART,
                c->now + fmax(0, missing) / LAUNCHES_A_SECOND);
}

bool controller_as_step(struct controller *c, const struct work *w)
{
    double seconds = controller_estimate(c, w->trial, w->start, w->until),
           n = launches(c);

    if (c->c.steps == STEPS_NO ||
        (c->c.steps == STEPS_AUTO && (n < 1 || seconds < SHORT_SECONDS)))
        return false;
    c->launches = n - 1;
    c->launches_at = c->now;
    c->steps_begun++;
    return true;
}
