#include "sched/draft.h"

#include "base/mem.h"
#include "sched/sweep_private.h"

#include <stdlib.h>
#include <string.h>

struct draft {
    struct learner learner;
    struct observed *seen;
    uint32_t trial;
    struct draw d;
    int rc;
    struct err e;
};

int draft_begin(struct sweep *sw, struct draft **out, struct err *e)
{
    const struct space *sp = sw->spec->space;
    struct draft *d;
    int rc;

    *out = NULL;
    if (!sw->seen || !sweep_draws_by_model(sw))
        return 0;
    rc = sweep_model(sw, e);
    if (rc != 0)
        return rc;
    d = mem_alloc(sizeof(*d));
    d->learner = sweep_learner(sw);
    d->seen = observed_copy(sw->seen);
    d->trial = (uint32_t)sw->trials.n;
    d->d.u = mem_alloc((size_t)space_dims(sp) * sizeof(d->d.u[0]));
    d->d.values = mem_alloc((size_t)space_count(sp) * sizeof(d->d.values[0]));
    d->d.next = sw->cursor;
    *out = d;
    return 0;
}

void draft_make(struct draft *d)
{
    d->rc = learner_draw(&d->learner, d->seen, d->trial, &d->d, &d->e);
}

bool draft_is_old(const struct draft *d, const struct sweep *sw)
{
    return observed_changes(d->seen) != observed_changes(sw->seen);
}

int draft_use(struct draft *d, struct sweep *sw, struct event *ev, struct err *e)
{
    const struct space *sp = d->learner.space;

    if (d->rc != 0)
        return err_set(e, d->rc, "%s", d->e.text);
    memcpy(sw->u, d->d.u, (size_t)space_dims(sp) * sizeof(sw->u[0]));
    memcpy(sw->values, d->d.values, (size_t)space_count(sp) * sizeof(sw->values[0]));
    sweep_drawn_event(sw, &d->d, -1, ev);
    return 0;
}

void draft_free(struct draft *d)
{
    if (!d)
        return;
    observed_free(d->seen);
    free(d->d.u);
    free(d->d.values);
    free(d);
}
