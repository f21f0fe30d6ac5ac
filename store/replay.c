#include "store/replay.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define DRAW_TOLERANCE                                                                   \
    1e-12 /* what exp() and the like may differ by between machines                      \
           */

static void mismatch(struct replay *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void mismatch(struct replay *r, const char *fmt, ...)
{
    char what[200];
    va_list ap;

    if (r->mismatches++ > 0)
        return;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    snprintf(r->first_mismatch, sizeof(r->first_mismatch), "event %lld: %s",
             (long long)r->pos.events + 1, what);
}

/* ---- before it is applied: would the rules have made this event? ---- */

static void verify_start(struct replay *r, const struct event *ev)
{
    struct work w = sweep_next(r->sw);
    char rules[96] = "hand out nothing";

    if (w.kind == WORK_TRIAL && w.trial == ev->trial && w.start == ev->start.start &&
        w.until == ev->start.until && w.from == ev->start.from &&
        w.final == ev->start.final)
        return;
    if (w.kind == WORK_TRIAL)
        snprintf(rules, sizeof(rules), "start trial %d, %lld to %lld, from rung %d",
                 w.trial, (long long)w.start, (long long)w.until, w.from);
    else if (w.kind == WORK_DRAW)
        snprintf(rules, sizeof(rules), "draw a new trial");
    mismatch(r, "trial %d was started, %lld to %lld, from rung %d; the rules %s",
             ev->trial, (long long)ev->start.start, (long long)ev->start.until,
             ev->start.from, rules);
}

static void verify_bracket(struct replay *r, const struct event *ev, int bracket)
{
    if (bracket != ev->drawn.bracket)
        mismatch(r, "trial %d was drawn into bracket %d; the rules draw %d", ev->trial,
                 ev->drawn.bracket, bracket);
}

/* Models are not fitted again: their draws need only be points of the cube. */
static void verify_model_draw(struct replay *r, const struct event *ev)
{
    bool inside = ev->drawn.u.n == space_dims(sweep_spec(r->sw)->space);

    for (int d = 0; d < ev->drawn.u.n; d++)
        inside &= ev->drawn.u.v[d] >= 0 && ev->drawn.u.v[d] < 1;
    if (ev->drawn.given != GIVEN_NOT || !inside)
        mismatch(r, "trial %d was not drawn by the search", ev->trial);
    verify_bracket(r, ev, sweep_next_bracket(r->sw));
}

static void verify_draw(struct replay *r, const struct event *ev)
{
    struct event own;
    struct err e;

    if (ev->drawn.given == GIVEN_ADDED)
        return;
    if (sweep_next(r->sw).kind != WORK_DRAW) {
        mismatch(r, "trial %d was drawn; the rules draw none here", ev->trial);
        return;
    }
    if (sweep_draws_by_model(r->sw)) {
        verify_model_draw(r, ev);
        return;
    }
    if (sweep_draw(r->sw, &own, &e) != 0) {
        mismatch(r, "trial %d was drawn; it cannot be drawn again: %.120s", ev->trial,
                 e.text);
        return;
    }
    verify_bracket(r, ev, own.drawn.bracket);
    if (own.drawn.parent != ev->drawn.parent || own.drawn.source != ev->drawn.source ||
        own.drawn.start != ev->drawn.start || own.drawn.replaces != ev->drawn.replaces)
        mismatch(
            r,
            "trial %d takes the place of %d, from trial %d's step %lld; by the rules "
            "that of %d, from trial %d's step %lld",
            ev->trial, ev->drawn.replaces, ev->drawn.parent, (long long)ev->drawn.start,
            own.drawn.replaces, own.drawn.parent, (long long)own.drawn.start);
    if (own.drawn.given != ev->drawn.given || own.drawn.u.n != ev->drawn.u.n)
        mismatch(r, "trial %d comes from elsewhere than the rules take it from",
                 ev->trial);
    else
        for (int d = 0; d < own.drawn.u.n; d++)
            if (!(fabs(own.drawn.u.v[d] - ev->drawn.u.v[d]) <= DRAW_TOLERANCE)) {
                mismatch(
                    r,
                    "dimension %d of trial %d was drawn as %.17g; the rules draw %.17g",
                    d, ev->trial, ev->drawn.u.v[d], own.drawn.u.v[d]);
                return;
            }
}

static void verify_report(struct replay *r, const struct event *ev,
                          const struct verdict *v)
{
    if (v->mismatch)
        mismatch(
            r,
            "trial %d was answered '%s' at step %lld, recorded at rung %d; the rules "
            "decide otherwise",
            ev->trial, decision_name(ev->report.decision), (long long)ev->report.step,
            ev->report.rung);
}

/* ---- events ---- */

static int take(void *ctx, const struct event *ev, struct err *e)
{
    struct replay *r = ctx;
    struct verdict v;

    if (r->verify && ev->kind == EVENT_START)
        verify_start(r, ev);
    if (r->verify && ev->kind == EVENT_TRIAL)
        verify_draw(r, ev);
    if (sweep_apply(r->sw, ev, &v, e) != 0)
        return e ? err_set(e, ERR_CORRUPT, "%s", e->text) : ERR_CORRUPT;
    if (r->verify && ev->kind == EVENT_REPORT)
        verify_report(r, ev, &v);
    if (r->history)
        history_add(r->history, ev, &v, r->sw);
    if (r->on_event)
        r->on_event(r->ctx, ev, &v);
    return 0;
}

int replay_run(struct replay *r, const char *dir, const struct journal_pos *limit,
               struct err *e)
{
    return journal_read(dir, &r->pos, limit, take, r, &r->tail, e);
}
