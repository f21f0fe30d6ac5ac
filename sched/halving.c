/* Brackets, and the rules of those whose rungs wait for all of their trials: successive
 * halving (Jamieson and Talwalkar, AISTATS 2016) and Hyperband (Li et al., "Hyperband: a
 * novel bandit-based approach to hyperparameter optimization", JMLR 18, 2018). */
#include "sched/sweep_private.h"

#include <math.h>
#include <stdlib.h>

/* ---- brackets ---- */

static bool before(const struct rung *x, const struct rung *y)
{
    return x->milestone != y->milestone ? x->milestone > y->milestone
                                        : x->bracket < y->bracket;
}

/* As get_job looks. */
static void put_in_order(struct sweep *sw, struct rung *r)
{
    size_t i = sw->order.n;

    vec_push(&sw->order, r);
    for (; i > 0 && before(r, sw->order.v[i - 1]); i--)
        sw->order.v[i] = sw->order.v[i - 1];
    sw->order.v[i] = r;
}

/* Hyperband's brackets begin at each level in turn, the first at the lowest, and take
 * ceil((s_max + 1) / (s + 1) * eta^s) trials, with s the number of their rungs. */
static int64_t size_of(const struct sweep *sw, int first)
{
    int64_t levels = sw->levels.n, s = levels - 1 - first;

    if (sw->spec->schedule != SCHEDULE_HYPERBAND)
        return INT32_MAX;
    return (eta_times(levels, sw->spec->eta, (int)s) + s) / (s + 1);
}

void sweep_add_bracket(struct sweep *sw)
{
    int s = (int)sw->brackets.n;
    bool stays = sw->spec->schedule == SCHEDULE_SHA;
    struct bracket b = {.first = stays ? 0 : s % sw->levels.n};
    int rungs = sw->levels.n - 1 - b.first;

    b.size = size_of(sw, b.first);
    b.rungs = mem_alloc((size_t)rungs * sizeof(b.rungs[0]));
    for (int k = 0; k < rungs; k++) {
        rung_init(&b.rungs[k], sw->levels.step[b.first + k], s, k, sw->spec->objectives);
        put_in_order(sw, &b.rungs[k]);
    }
    vec_push(&sw->brackets, b);
}

void sweep_free_brackets(struct sweep *sw)
{
    for (size_t s = 0; s < sw->brackets.n; s++) {
        for (int k = 0; k < sweep_rungs(sw, (int)s); k++)
            rung_clear(&sw->brackets.v[s].rungs[k]);
        free(sw->brackets.v[s].rungs);
    }
    vec_free(&sw->brackets);
    vec_free(&sw->order);
}

/* ---- rungs that wait ---- */

int halving_open(const struct sweep *sw)
{
    int last = (int)sw->brackets.n - 1;
    const struct bracket *b = &sw->brackets.v[last];

    return b->closed || b->members >= b->size ? last + 1 : last;
}

uint32_t sweep_seats(const struct sweep *sw, struct rung *r)
{
    int64_t members;

    if (!spec_synchronous(sw->spec))
        return (uint32_t)eta_floor(r->reported, sw->spec->eta);
    members = sw->brackets.v[r->bracket].members;
    if (r->seats == 0 || r->seats_of != members) {
        int64_t n = eta_over(members, sw->spec->eta, r->index + 1);

        r->seats = n > 1 ? (uint32_t)n : 1;
        r->seats_of = members;
    }
    return r->seats;
}

/* Have all gone on from here that are to? */
static bool sent_on(const struct sweep *sw, struct rung *r)
{
    uint32_t seats = sweep_seats(sw, r), candidates = rung_candidates(r);

    /* those that went on are candidates still */
    return r->promoted >= (seats < candidates ? seats : candidates);
}

bool halving_due(const struct sweep *sw, struct rung *r)
{
    const struct bracket *b = &sw->brackets.v[r->bracket];

    if (b->members < b->size && !b->closed && !sweep_search_over(sw))
        return false;
    for (int k = 0; k <= r->index; k++) {
        if (b->rungs[k].coming > 0 || (k < r->index && !sent_on(sw, &b->rungs[k])))
            return false;
    }
    return true;
}

void halving_forget_over(struct sweep *sw)
{
    size_t n = 0;

    for (size_t i = 0; i < sw->order.n; i++) {
        struct rung *r = sw->order.v[i];
        const struct bracket *b = &sw->brackets.v[r->bracket];
        bool full = b->closed || b->members >= b->size;

        if (!full || r->promoted == 0 || !halving_due(sw, r) || !sent_on(sw, r))
            sw->order.v[n++] = r;
    }
    sw->order.n = n;
}

/* ---- what is to be expected ---- */

/* Of a round of Hyperband's brackets, one from each level: the share of their trials that
 * comes to the level. */
static double share_of_round(const struct sweep *sw, int level)
{
    double all = 0, there = 0, eta = eta_value(sw->spec->eta), n = sw->levels.n;

    for (int first = 0; first < sw->levels.n; first++) { /* as size_of(), but quicker */
        double s = n - 1 - first, size = ceil(n / (s + 1) * pow(eta, s) - 1e-9);

        all += size;
        if (first <= level)
            there += floor(size / pow(eta, level - first) + 1e-9);
    }
    return there / all;
}

double sweep_expected(const struct sweep *sw, int level)
{
    const struct levels *lv = &sw->levels;
    double share = 0, eta = eta_value(sw->spec->eta);
    int brackets = sweep_brackets(sw);

    if (sw->spec->schedule == SCHEDULE_HYPERBAND)
        return share_of_round(sw, level) * (double)sw->totals.planned;
    if (sw->pbt) /* each place of the population */
        return (double)(sw->totals.planned - sw->children);
    if (sw->spec->schedule == SCHEDULE_SHA)
        return fmax(1, (double)sw->totals.planned * pow(1 / eta, level));
    for (int s = 0; s < brackets && s <= level; s++)
        share += bracket_probability(lv, brackets, s) * pow(1 / eta, level - s);
    return share * (double)sw->totals.planned;
}

/* ---- who comes ---- */

/* The rung that a trial which may go on is to be recorded at next; NULL: it runs to
 * max_t, or waits at a rung. */
static struct rung *aim_of(struct sweep *sw, const struct trial *t)
{
    if ((t->rung >= 0 && t->promoted < t->rung) ||
        t->rung + 1 >= sweep_rungs(sw, t->bracket))
        return NULL;
    return sweep_rung_of(sw, t, t->rung + 1);
}

void halving_comes(struct sweep *sw, const struct trial *t)
{
    struct rung *r = aim_of(sw, t);

    if (r)
        r->coming++;
}

void halving_leaves(struct sweep *sw, const struct trial *t)
{
    struct rung *r = aim_of(sw, t);

    if (r)
        r->coming--;
}
