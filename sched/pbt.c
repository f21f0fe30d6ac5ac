/* Population based training (Jaderberg et al., "Population based training of neural
 * networks", arXiv:1711.09846, 2017), with truncation selection by quarters.
 *
 * The population has as many places as the search makes trials. A trial's turn to go on
 * comes when it has paused at a milestone, and fewer than a quarter of the places are
 * still on their way there; if its place is in the worst quarter then, or its value is
 * not finite, it ends instead, and a new trial takes its place, whose parent is drawn
 * from the best quarter. Each place counts with the value of the last milestone up to
 * this one that it has come to: who is further by now has no advantage by that. A parent
 * must have paused at this milestone or a later one: so no place ever falls back, and the
 * sweep ends. */
#include "base/rank.h"
#include "base/rng.h"
#include "sched/sweep_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUARTER  4
#define RESAMPLE 0.25 /* the chance that a parameter is drawn anew */
#define UP       1.2
#define DOWN     0.8

struct record {
    int32_t trial; /* -1: none */
    double value;  /* INFINITY where it was not finite */
};

struct pbt {
    int rungs;
    VEC(int32_t) holders;       /* [places]: the trial that has it now */
    VEC(struct record) records; /* [places][rungs] */
    VEC(int32_t) places;        /* [trials] */
    VEC(double) points;         /* [trials][dims] */
};

struct pbt *pbt_new(int rungs)
{
    struct pbt *p = mem_alloc(sizeof(*p));

    p->rungs = rungs;
    return p;
}

void pbt_free(struct pbt *p)
{
    if (!p)
        return;
    vec_free(&p->holders);
    vec_free(&p->records);
    vec_free(&p->places);
    vec_free(&p->points);
    free(p);
}

/* ---- the population ---- */

static struct record *record_of(const struct pbt *p, int32_t place, int32_t rung)
{
    return &p->records.v[(size_t)place * (size_t)p->rungs + (size_t)rung];
}

/* The place of the replaced is the new trial's. At milestones that it jumps over so, it
 * has what its parent had there. */
static int32_t hand_over(struct sweep *sw, const struct event *ev)
{
    struct pbt *p = sw->pbt;
    int32_t place = p->places.v[ev->drawn.replaces], from = p->places.v[ev->drawn.parent];

    p->holders.v[place] = ev->trial;
    for (int32_t k = sw->trials.v[ev->drawn.replaces].rung + 1;
         k <= sw->trials.v[ev->drawn.parent].kept_rung; k++)
        *record_of(p, place, k) = *record_of(p, from, k);
    return place;
}

void pbt_add(struct sweep *sw, const struct event *ev, const double u[],
             const struct value values[])
{
    const struct space *sp = sw->spec->space;
    struct pbt *p = sw->pbt;
    int32_t place = (int32_t)p->holders.n;

    for (int d = 0; d < space_dims(sp); d++) {
        bool absent = values[space_dim(sp, d)->param].kind == VALUE_ABSENT;

        vec_push(&p->points, absent ? NAN : u[d]);
    }
    if (ev->drawn.parent >= 0) {
        place = hand_over(sw, ev);
    } else {
        vec_push(&p->holders, ev->trial);
        for (int k = 0; k < p->rungs; k++)
            vec_push(&p->records, ((struct record){-1, NAN}));
    }
    vec_push(&p->places, place);
}

void pbt_recorded(struct sweep *sw, int32_t trial)
{
    const struct trial *t = &sw->trials.v[trial];

    *record_of(sw->pbt, sw->pbt->places.v[trial], t->rung) =
        (struct record){trial, score_finite(&t->value) ? t->value.v[0] : INFINITY};
}

/* What a place counts with at a rung; NULL: it does not. Who failed, was stopped by a
 * person or is not recorded yet leaves it empty. */
static const struct record *counts(const struct sweep *sw, int32_t place, int32_t rung)
{
    const struct trial *holder = &sw->trials.v[sw->pbt->holders.v[place]];
    const struct record *r = record_of(sw->pbt, place, rung);

    if (holder->state == TRIAL_FAILED || holder->state == TRIAL_STOPPED)
        return NULL;
    while (rung > 0 && r->trial < 0) {
        rung--;
        r--;
    }
    return r->trial >= 0 ? r : NULL;
}

static bool may_go_on(const struct trial *t)
{
    return t->state == TRIAL_PAUSED || t->state == TRIAL_RUNNING ||
           t->state == TRIAL_WAITING;
}

/* How a trial stands at its milestone. */
struct stand {
    size_t size, rank; /* from 1; of equal ones the lower place is the better */
    size_t quarter;    /* so many are the best, and the worst */
    double best;       /* the last of the best quarter has this value; NAN: none */
    double cutoff;     /* who is worse is in the worst quarter; NAN: none */
};

static struct stand stand_of(const struct sweep *sw, int32_t trial)
{
    const struct trial *t = &sw->trials.v[trial];
    int32_t places = (int32_t)sw->pbt->holders.n, own = sw->pbt->places.v[trial];
    double mine = score_finite(&t->value) ? t->value.v[0] : INFINITY;
    double *values = mem_alloc((size_t)places * sizeof(*values));
    struct stand s = {.rank = 1, .best = NAN, .cutoff = NAN};

    for (int32_t i = 0; i < places; i++) {
        const struct record *r = counts(sw, i, t->rung);

        if (!r)
            continue;
        values[s.size++] = r->value;
        s.rank += r->value < mine || (r->value == mine && i < own);
    }
    s.quarter = s.size / QUARTER;
    if (s.quarter > 0) {
        numbers_sort(values, s.size);
        s.best = values[s.quarter - 1];
        s.cutoff = values[s.size - s.quarter - 1];
    }
    free(values);
    return s;
}

void pbt_stand(const struct sweep *sw, int32_t trial, struct verdict *v)
{
    struct stand s = stand_of(sw, trial);

    v->value = sweep_turn(sw, sw->trials.v[trial].value.v[0]);
    v->rank = (uint32_t)s.rank;
    v->size = (uint32_t)s.size;
    v->cutoff = sweep_turn(sw, s.cutoff);
}

/* ---- who goes on, and who is replaced ---- */

/* Are fewer than a quarter of the places still on their way to a milestone? Values get
 * better with time: those that are would else be all of the worst quarter, with what they
 * had an interval ago, and who comes first would stay however bad it is. */
static bool is_due(const struct sweep *sw, int32_t rung)
{
    size_t away = 0, places = 0;

    for (size_t i = 0; i < sw->pbt->holders.n; i++) {
        const struct trial *t = &sw->trials.v[sw->pbt->holders.v[i]];

        if (t->state == TRIAL_FAILED || t->state == TRIAL_STOPPED)
            continue;
        away += t->rung < rung && t->state != TRIAL_COMPLETED;
        places++;
    }
    return away < places / QUARTER || places < QUARTER;
}

int32_t pbt_turn(const struct sweep *sw)
{
    const struct trial *first = NULL;

    for (size_t i = 0; i < sw->pbt->holders.n; i++) {
        const struct trial *t = &sw->trials.v[sw->pbt->holders.v[i]];

        if (t->state == TRIAL_PAUSED &&
            (!first || t->rung < first->rung ||
             (t->rung == first->rung && t->order < first->order)))
            first = t;
    }
    return first && is_due(sw, first->rung) ? (int32_t)(first - sw->trials.v) : -1;
}

/* Once, in however many places its values count. */
static void add_parent(int32_t parents[], int32_t *n, int32_t trial)
{
    for (int32_t i = 0; i < *n; i++)
        if (parents[i] == trial)
            return;
    parents[(*n)++] = trial;
}

/* The trials that may be the parent of who takes this one's place; how many. */
static int32_t parents_for(const struct sweep *sw, int32_t trial, const struct stand *s,
                           int32_t parents[])
{
    int32_t rung = sw->trials.v[trial].rung, n = 0;

    for (int32_t i = 0; i < (int32_t)sw->pbt->holders.n; i++) {
        const struct record *r = counts(sw, i, rung);
        const struct trial *t = r ? &sw->trials.v[r->trial] : NULL;

        if (t && r->trial != trial && isfinite(r->value) && r->value <= s->best &&
            t->kept > 0 && t->kept_rung >= rung && may_go_on(t))
            add_parent(parents, &n, r->trial);
    }
    return n;
}

/* Draws a parent for who takes the trial's place; -1: nobody shall. */
static int32_t draw_parent(const struct sweep *sw, int32_t trial)
{
    const struct trial *t = &sw->trials.v[trial];
    struct stand s = stand_of(sw, trial);
    int32_t *parents, n, parent = -1;
    double u;

    if (s.quarter == 0 || (score_finite(&t->value) && s.rank <= s.size - s.quarter))
        return -1;
    parents = mem_alloc(sw->pbt->holders.n * sizeof(*parents));
    n = parents_for(sw, trial, &s, parents);
    u = rng_unit(sw->spec->seed, RNG_PARENT, (uint32_t)sw->trials.n, 0, 0);
    if (n > 0)
        parent = parents[(int32_t)(u * n)];
    free(parents);
    return parent;
}

bool pbt_beaten(const struct sweep *sw, int32_t trial)
{
    return draw_parent(sw, trial) >= 0;
}

void sweep_draw_parent(struct sweep *sw, struct event *ev)
{
    int32_t trial = sw->pbt && sweep_search_over(sw) ? pbt_turn(sw) : -1;

    ev->drawn.parent = trial >= 0 ? draw_parent(sw, trial) : -1;
    ev->drawn.replaces = ev->drawn.parent >= 0 ? trial : -1;
    if (ev->drawn.parent < 0)
        return;
    ev->drawn.source = sw->trials.v[ev->drawn.parent].kept;
    ev->drawn.start = sw->trials.v[ev->drawn.parent].kept_step;
}

bool sweep_keeps(const struct sweep *sw, int32_t trial, int32_t attempt)
{
    const struct trial *t = &sw->trials.v[trial];

    if (attempt == t->kept && may_go_on(t))
        return true;
    for (size_t i = (size_t)trial + 1; i < sw->trials.n; i++) {
        const struct trial *child = &sw->trials.v[i];

        if (child->parent == trial && child->source == attempt && may_go_on(child) &&
            child->last_step == child->born)
            return true;
    }
    return false;
}

/* ---- exploring ---- */

/* Where d->u is drawn anew, unless it is made from what the parent has, which it is not
 * any more when no change of that was good. */
static void explore(const struct sweep *sw, const double from[], uint32_t redraw,
                    double u[])
{
    const struct space *sp = sw->spec->space;
    uint32_t trial = (uint32_t)sw->trials.n;

    space_point(sp, sw->spec->seed, trial, redraw, u);
    for (int d = 0; d < space_dims(sp); d++) {
        double coin =
            rng_unit(sw->spec->seed, RNG_EXPLORE, trial, space_dim(sp, d)->key, redraw);
        double factor = coin < (1 + RESAMPLE) / 2 ? UP : DOWN;

        if (coin >= RESAMPLE && !isnan(from[d]) && redraw <= SEARCH_REDRAWS)
            u[d] = space_scaled(sp, d, from[d], factor);
    }
}

int pbt_draw(struct sweep *sw, struct draw *d, struct err *e)
{
    const struct space *sp = sw->spec->space;
    const double *from;
    struct event ev;
    struct err why = {0};

    sweep_draw_parent(sw, &ev);
    from = &sw->pbt->points.v[(size_t)ev.drawn.parent * (size_t)space_dims(sp)];
    for (d->tries = 0; d->tries <= 2 * SEARCH_REDRAWS; d->tries++) {
        explore(sw, from, d->tries, d->u);
        if (space_eval(sp, d->u, d->values, &why) == SPACE_OK)
            return 0;
    }
    return err_set(
        e, ERR_RANGE,
        "none of %d changes of trial %d's parameters satisfies the space, nor of "
        "%d draws; the last: %s",
        SEARCH_REDRAWS + 1, ev.drawn.parent, SEARCH_REDRAWS, why.text);
}
