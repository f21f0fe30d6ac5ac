/* Who gets work: the paper's get_job (Li et al., "A system for massively parallel
 * hyperparameter tuning", MLSys 2020, Algorithm 2), with interrupted trials before it and
 * new trials and finalists behind it. And the events that hand it out. */
#include "base/num.h"
#include "base/rng.h"
#include "sched/sweep_private.h"
#include "sched/tpe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- waiting trials ---- */

static double waiting_rank(const struct sweep *sw, const struct trial *t)
{
    return t->promoted >= 0 ? -(double)sweep_milestone(sw, t->bracket, t->promoted) : 0;
}

void sweep_enqueue(struct sweep *sw, int32_t trial)
{
    const struct trial *t = &sw->trials.v[trial];

    queue_push(t->attempts > 0 ? &sw->again : &sw->fresh,
               (struct queued){waiting_rank(sw, t), (uint32_t)trial, trial});
}

/* The first of the queue that still waits as it did when it was put there; -1. */
static int32_t first_waiting(struct sweep *sw, struct queue *q, bool fresh)
{
    while (q->heap.n > 0) {
        const struct trial *t = &sw->trials.v[q->heap.v[0].trial];

        if (t->state == TRIAL_WAITING && (t->attempts == 0) == fresh &&
            q->heap.v[0].value == waiting_rank(sw, t))
            return q->heap.v[0].trial;
        queue_pop(q);
    }
    return -1;
}

/* ---- paused trials ---- */

static bool still_paused(const struct trial *t, const struct rung *r,
                         const struct queued *q)
{
    return t->state == TRIAL_PAUSED && t->bracket == r->bracket && t->rung == r->index &&
           t->order == q->order && t->promoted < t->rung;
}

/* The best of a rung that is free to go on, the probe included; false: nobody. */
static bool best_paused(struct sweep *sw, struct rung *r, int32_t probe,
                        struct queued *out)
{
    const struct trial *p = probe >= 0 ? &sw->trials.v[probe] : NULL;
    bool any = false;

    while ((any = rung_paused(r, out)) &&
           !still_paused(&sw->trials.v[out->trial], r, out))
        rung_resume(r, out);
    if (p && p->bracket == r->bracket && p->rung == r->index && score_finite(&p->value)) {
        struct queued q = {rung_standing(r, &p->value, p->order), p->order, probe};

        if (!any || queued_before(q, *out))
            *out = q;
        any = true;
    }
    return any;
}

static struct work go_on(const struct sweep *sw, int32_t trial, bool final)
{
    const struct trial *t = &sw->trials.v[trial];

    return (struct work){
        .kind = WORK_TRIAL,
        .trial = trial,
        .start = sw->spec->restart ? 0 : t->saved,
        .until = final ? sw->spec->max_t : sweep_next_milestone(sw, t, t->rung),
        .from = t->rung,
        .final = final,
    };
}

static bool promotable(struct sweep *sw, int32_t probe, struct work *w)
{
    bool waits = spec_synchronous(sw->spec);
    struct queued q;

    if (waits)
        halving_forget_over(sw);
    for (size_t i = 0; i < sw->order.n; i++) {
        struct rung *r = sw->order.v[i];

        if (best_paused(sw, r, probe, &q) && (!waits || halving_due(sw, r)) &&
            rung_in_top(r, q.value, q.order, sweep_seats(sw, r))) {
            *w = go_on(sw, q.trial, false);
            return true;
        }
    }
    return false;
}

/* The best finite paused trial of the highest milestone that has one, in any bracket. */
static bool next_finalist(struct sweep *sw, int32_t probe, struct work *w)
{
    bool probe_runs = probe >= 0 && !sw->trials.v[probe].finalist;
    const struct rung *found = NULL;
    struct queued q, best;

    if (sw->open_others - probe_runs > 0 ||
        sw->at_max + sw->open_finalists >= sw->spec->finalists)
        return false;
    for (size_t s = 0; s < sw->brackets.n; s++) {
        for (int k = 0; k < sweep_rungs(sw, (int)s); k++) {
            struct rung *r = &sw->brackets.v[s].rungs[k];
            int64_t above = found ? found->milestone : 0;

            if (r->milestone >= above && best_paused(sw, r, probe, &q) &&
                (r->milestone > above || queued_before(q, best))) {
                found = r;
                best = q;
            }
        }
    }
    if (found)
        *w = go_on(sw, best.trial, true);
    return found != NULL;
}

/* ---- get_job ---- */

/* The turn of a paused trial of a population has come. */
static struct work take_turn(const struct sweep *sw, struct work none)
{
    int32_t trial = pbt_turn(sw);

    if (trial >= 0 && pbt_beaten(sw, trial))
        none.kind = WORK_DRAW;
    else if (trial >= 0)
        return go_on(sw, trial, false);
    return none;
}

static struct work take_up(const struct sweep *sw, int32_t trial)
{
    const struct trial *t = &sw->trials.v[trial];

    return (struct work){.kind = WORK_TRIAL,
                         .trial = trial,
                         .start = sw->spec->restart ? 0 : t->saved,
                         .until = t->until,
                         .from = -1,
                         .final = t->finalist};
}

bool sweep_search_over(const struct sweep *sw)
{
    if (sw->exhausted)
        return true;
    if (sw->spec->search == SEARCH_GRID)
        return sw->starts_used + sw->cursor >= sw->total;
    return (int64_t)sw->trials.n - sw->children >= sw->total;
}

struct work sweep_work(struct sweep *sw, int32_t probe)
{
    bool promote = spec_promotes(sw->spec);
    struct work w = {.trial = -1, .from = -1};
    int32_t trial;

    w.kind = sw->totals.open - (probe >= 0) > 0 ? WORK_WAIT : WORK_DONE;
    if (sw->totals.finishing || sw->totals.pausing || sw->totals.finished)
        return w;
    if ((trial = first_waiting(sw, &sw->again, false)) >= 0)
        return take_up(sw, trial);
    if (promote && !sw->pbt && promotable(sw, probe, &w))
        return w;
    if ((trial = first_waiting(sw, &sw->fresh, true)) >= 0)
        return take_up(sw, trial);
    if (!sweep_search_over(sw)) {
        w.kind = WORK_DRAW;
        return w;
    }
    if (sw->pbt)
        return take_turn(sw, w);
    if (promote)
        next_finalist(sw, probe, &w);
    return w;
}

struct work sweep_next(struct sweep *sw)
{
    return sweep_work(sw, -1);
}

/* ---- overrides by retry.oom ---- */

/* The parameter's value after `times` reductions; false when the trial has no such
 * number. */
static bool lowered(const struct sweep *sw, const struct trial *t, int times, bool *whole,
                    double *v)
{
    const char *name;
    struct slice key;
    struct json j;
    bool found = false;

    if (sw->spec->oom_param < 0)
        return false;
    name = space_name(sw->spec->space, sw->spec->oom_param);
    json_begin(&j, t->params, strlen(t->params));
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, name) && json_peek(&j) == JSON_NUMBER) {
            struct slice raw = json_raw(&j);
            int64_t i;

            *whole = num_parse_int(raw.p, raw.len, &i) == 0;
            found = num_parse(raw.p, raw.len, v) == 0;
        } else {
            json_skip(&j);
        }
    }
    if (j.error || !found)
        return false;
    while (times-- > 0)
        *v *= sw->spec->oom_factor;
    if (*whole)
        *v = floor(*v);
    if (*v < sw->spec->oom_min)
        *v = sw->spec->oom_min;
    return true;
}

bool sweep_oom_lowers(const struct sweep *sw, const struct trial *t)
{
    double now, next;
    bool whole;

    return lowered(sw, t, t->ooms, &whole, &now) &&
           lowered(sw, t, t->ooms + 1, &whole, &next) && next < now;
}

static void put_number(struct str *out, bool whole, double v)
{
    if (whole)
        json_put_int(out, (int64_t)v);
    else
        json_put_num(out, v);
}

void sweep_override(const struct sweep *sw, const struct trial *t, struct str *out)
{
    double v;
    bool whole;

    if (t->ooms == 0 || !lowered(sw, t, t->ooms, &whole, &v))
        return;
    json_put_object(out);
    json_put_key(out, space_name(sw->spec->space, sw->spec->oom_param));
    put_number(out, whole, v);
    json_put_close(out, '}');
}

void sweep_params(const struct sweep *sw, int32_t trial, struct str *out)
{
    const struct trial *t = &sw->trials.v[trial];
    const char *name;
    struct slice key;
    struct json j;
    double v;
    bool whole;

    if (t->ooms == 0 || !lowered(sw, t, t->ooms, &whole, &v)) {
        str_add(out, t->params);
        return;
    }
    name = space_name(sw->spec->space, sw->spec->oom_param);
    json_begin(&j, t->params, strlen(t->params));
    json_object(&j);
    json_put_object(out);
    while (json_key(&j, &key)) {
        struct slice raw = json_raw(&j);

        json_put_keyn(out, key);
        if (json_is(key, name))
            put_number(out, whole, v);
        else
            json_put_raw(out, raw);
    }
    json_put_close(out, '}');
}

/* ---- events that hand work out ---- */

void sweep_start_event(struct sweep *sw, const struct work *w, struct event *ev)
{
    const struct trial *t = &sw->trials.v[w->trial];

    *ev = (struct event){
        .kind = EVENT_START, .trial = w->trial, .attempt = t->attempts + 1};
    ev->start.start = w->start;
    ev->start.until = w->until;
    ev->start.from = w->from;
    ev->start.final = w->final;
    str_cut(&sw->override, 0);
    sweep_override(sw, t, &sw->override);
    ev->start.override = (struct slice){sw->override.p, sw->override.len};
}

int sweep_next_bracket(const struct sweep *sw)
{
    if (spec_synchronous(sw->spec))
        return halving_open(sw);
    return bracket_draw(
        &sw->levels, sweep_brackets(sw),
        rng_unit(sw->spec->seed, RNG_BRACKET, (uint32_t)sw->trials.n, 0, 0));
}

bool sweep_draws_by_model(const struct sweep *sw)
{
    return search_by_model(sw->spec->search) && sw->starts_used >= sw->spec->n_start &&
           !sweep_search_over(sw);
}

static void trial_event(struct sweep *sw, struct event *ev, int bracket)
{
    *ev = (struct event){.kind = EVENT_TRIAL, .trial = (int32_t)sw->trials.n};
    ev->drawn.parent = ev->drawn.replaces = -1;
    ev->drawn.bracket = bracket >= 0 ? bracket : sweep_next_bracket(sw);
    ev->drawn.cursor = sw->cursor;
    str_cut(&sw->params, 0);
    space_json(sw->spec->space, sw->values, &sw->params);
    ev->drawn.params = (struct slice){sw->params.p, sw->params.len};
}

int sweep_model(struct sweep *sw, struct err *e)
{
    if (sw->spec->search != SEARCH_GP || sw->gp)
        return 0;
    const struct gp_ops *ops = gp_open(e);
    if (!ops)
        return ERR_UNSUPPORTED;
    sw->gp = gp_new(sw->spec->space, sw->spec->seed, ops);
    return 0;
}

struct learner sweep_learner(const struct sweep *sw)
{
    const struct spec *spec = sw->spec;
    return (struct learner){.space = spec->space,
                            .seed = spec->seed,
                            .gp = spec->search == SEARCH_GP ? sw->gp : NULL,
                            .rule = {spec->multivariate, spec->search == SEARCH_BOHB}};
}

int learner_draw(const struct learner *l, const struct observed *seen, uint32_t trial,
                 struct draw *d, struct err *e)
{
    if (l->gp)
        return gp_draw(l->gp, seen, trial, d, e);
    return tpe_draw(l->space, seen, l->seed, trial, l->rule, d, e);
}

/* d->next becomes the cursor after it. */
static int draw_point(struct sweep *sw, struct draw *d, struct err *e)
{
    const struct spec *spec = sw->spec;
    uint32_t trial = (uint32_t)sw->trials.n;
    int64_t cursor = sw->cursor;
    int rc;

    if (sw->cmaes)
        return cmaes_draw(sw->cmaes, trial, d, e);
    if (sw->seen) {
        struct learner learner;
        rc = sweep_model(sw, e);
        learner = sweep_learner(sw);
        return rc ? rc : learner_draw(&learner, sw->seen, trial, d, e);
    }
    for (;;) {
        rc = search_draw(spec->space, spec->search, spec->seed, trial, cursor,
                         spec->trials > 0 ? spec->trials : 1, d, e);
        if (spec->search != SEARCH_GRID)
            return rc;
        d->next = ++cursor;
        if (rc == 0)
            return 0;
        if (sw->starts_used + cursor >= sw->total)
            return err_set(e, ERR_NOENT, "the rest of the grid breaks the constraints");
    }
}

void sweep_drawn_event(struct sweep *sw, const struct draw *d, int bracket,
                       struct event *ev)
{
    trial_event(sw, ev, bracket);
    ev->drawn.tries = d->tries;
    ev->drawn.cursor = d->next;
    ev->drawn.u = (struct numbers){sw->u, space_dims(sw->spec->space)};
}

static int draw_new(struct sweep *sw, int bracket, struct event *ev, struct err *e)
{
    struct draw d = {.u = sw->u, .values = sw->values, .next = sw->cursor};
    int rc = draw_point(sw, &d, e);

    if (rc == ERR_NOENT) {
        *ev = (struct event){.kind = EVENT_SET, .trial = -1};
        ev->set.key = SLICE("search.exhausted");
        ev->set.value = SLICE("1");
    }
    if (rc != 0)
        return rc;
    sweep_drawn_event(sw, &d, bracket, ev);
    return 0;
}

static int draw_given(struct sweep *sw, const struct value given[], int bracket,
                      enum given kind, struct event *ev, struct err *e)
{
    const struct spec *spec = sw->spec;
    enum space_verdict verdict = SPACE_REDRAW;

    for (uint32_t k = 0; k < SEARCH_REDRAWS && verdict != SPACE_OK; k++) {
        space_point(spec->space, spec->seed, (uint32_t)sw->trials.n, k, sw->u);
        verdict = space_complete(spec->space, given, sw->u, sw->values, e);
    }
    if (verdict == SPACE_REDRAW)
        return err_set(e, ERR_RANGE,
                       "the parameters left out of a given configuration cannot "
                       "be drawn: a value is never finite");
    if (verdict != SPACE_OK)
        return ERR_RANGE;
    trial_event(sw, ev, bracket);
    ev->drawn.given = kind;
    return 0;
}

/* The trial that takes another's place. */
static int draw_child(struct sweep *sw, struct event *ev, struct err *e)
{
    struct draw d = {.u = sw->u, .values = sw->values};
    int rc = pbt_draw(sw, &d, e);

    if (rc != 0)
        return rc;
    trial_event(sw, ev, 0);
    sweep_draw_parent(sw, ev);
    ev->drawn.tries = d.tries;
    ev->drawn.u = (struct numbers){sw->u, space_dims(sw->spec->space)};
    return 0;
}

int sweep_draw(struct sweep *sw, struct event *ev, struct err *e)
{
    if (sw->pbt && sweep_search_over(sw))
        return draw_child(sw, ev, e);
    if (sw->starts_used < sw->spec->n_start)
        return draw_given(sw, sw->spec->start[sw->starts_used], -1, GIVEN_START, ev, e);
    return draw_new(sw, -1, ev, e);
}

int sweep_draw_given(struct sweep *sw, const struct value given[], int bracket,
                     struct event *ev, struct err *e)
{
    for (int i = 0; i < space_count(sw->spec->space); i++) {
        if (given[i].kind != VALUE_ABSENT)
            return draw_given(sw, given, bracket, GIVEN_ADDED, ev, e);
    }
    return draw_new(sw, bracket, ev, e);
}
