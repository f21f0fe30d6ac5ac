/* What searchers and the population come to know of a sweep, by its events. */
#include "sched/sweep_private.h"

#include <math.h>
#include <stdlib.h>

/* The next point that the searcher knows: the one drawn, or the nearest to what was given
 * or is known. */
static int see_point(struct sweep *sw, const struct event *ev, struct slice params,
                     const double *drawn, struct err *e)
{
    const struct space *sp = sw->spec->space;
    struct value *values = mem_alloc((size_t)space_count(sp) * sizeof(*values));
    struct json j;
    int rc;

    json_begin(&j, params.p, params.len);
    rc = space_scan(sp, &j, values, NULL);
    if (rc != 0) {
        rc = sweep_impossible(e, ev, "its parameters are not those of the space");
    } else {
        if (!drawn)
            space_locate(sp, values, sw->u);
        if (sw->seen)
            observed_add(sw->seen, drawn ? drawn : sw->u, values);
        if (sw->pbt && ev->kind == EVENT_TRIAL)
            pbt_add(sw, ev, drawn ? drawn : sw->u, values);
        values_free(values, space_count(sp));
    }
    free(values);
    return rc;
}

int sweep_see_trial(struct sweep *sw, const struct event *ev, struct err *e)
{
    const struct numbers *u = &ev->drawn.u;
    const double *drawn = u->n > 0 && u->n == space_dims(sw->spec->space) ? u->v : NULL;

    if (sw->cmaes)
        cmaes_add(sw->cmaes, drawn, ev->drawn.cursor);
    return sw->seen || sw->pbt ? see_point(sw, ev, ev->drawn.params, drawn, e) : 0;
}

static int32_t seen_as(const struct sweep *sw, const struct trial *t)
{
    return sw->known + sweep_number(sw, t);
}

void sweep_see_value(struct sweep *sw, const struct trial *t, int64_t step,
                     const struct score *turned)
{
    for (int l = 0; l < sw->levels.n; l++) {
        if (sw->levels.step[l] != step)
            continue;
        if (sw->cmaes)
            cmaes_value(sw->cmaes, sweep_number(sw, t), l, turned->v[0]);
        if (sw->seen)
            observed_score(sw->seen, seen_as(sw, t), l, turned);
    }
}

void sweep_see_state(struct sweep *sw, const struct trial *t, enum trial_state state)
{
    if (sw->seen && (state == TRIAL_PAUSED || state == TRIAL_RUNNING))
        observed_rest(sw->seen, seen_as(sw, t), state == TRIAL_PAUSED);
}

void sweep_see_end(struct sweep *sw, const struct trial *t, enum trial_state state,
                   bool by_person)
{
    if (sw->cmaes && state == TRIAL_FAILED)
        cmaes_worst(sw->cmaes, sweep_number(sw, t));
    if (state == TRIAL_COMPLETED && !t->complete) {
        struct score last = sweep_turned(sw, t->whole);

        sweep_see_value(sw, t, sw->spec->max_t, &last);
    }
    if (!sw->seen)
        return;
    if (state == TRIAL_FAILED)
        observed_worst(sw->seen, seen_as(sw, t));
    else
        observed_over(sw->seen, seen_as(sw, t), !by_person);
}

int sweep_apply_known(struct sweep *sw, const struct event *ev, struct verdict *v,
                      struct err *e)
{
    const struct numbers *values = &ev->known.values;

    (void)v;
    if (!search_by_model(sw->spec->search))
        return sweep_impossible(e, ev, "the search makes no use of it");
    if (sw->trials.n > 0 || sw->known_all || ev->trial <= sw->known_last)
        return sweep_impossible(e, ev,
                                "what is known comes in its order, before all trials");
    if (values->n != (ev->known.failed ? 0 : sw->levels.n))
        return sweep_impossible(e, ev, "the levels are others");
    if (see_point(sw, ev, ev->known.params, NULL, e) != 0)
        return ERR_PROTO;
    for (int l = 0; l < values->n; l++) {
        if (isnan(values->v[l]))
            continue;
        if (sw->cmaes)
            cmaes_known(sw->cmaes, sw->u, l, sweep_turn(sw, values->v[l]));
        if (sw->seen)
            observed_value(sw->seen, sw->known, l, sweep_turn(sw, values->v[l]));
    }
    if (sw->seen && ev->known.failed)
        observed_worst(sw->seen, sw->known);
    if (sw->seen)
        observed_rest(sw->seen, sw->known, true);
    sw->known++;
    sw->known_last = ev->trial;
    sw->known_all = !ev->known.more;
    return 0;
}
