/* The state machine of a sweep.
 *
 * sweep_apply() looks the event up in a table of appliers. Each of them first checks
 * everything that could be wrong with the event, and only then changes the state; so
 * an impossible event changes nothing. Who gets work is decided in sched/work.c, how
 * an attempt ended in sched/outcome.c; what a rung knows is in sched/rung.c, what a
 * searcher knows in sched/seen.c. */
#include "sched/sweep.h"

#include "base/num.h"
#include "sched/sweep_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *trial_state_name(enum trial_state s)
{
    static const char *const names[] = {
#define TRIAL_NAME_(NAME, name) [TRIAL_##NAME] = #name,
        TRIAL_MAP(TRIAL_NAME_)
#undef TRIAL_NAME_
    };

    return s < TRIAL_STATES ? names[s] : "?";
}

/* ---- building ---- */

static void plan(struct sweep *sw, const struct spec *spec)
{
    sw->total = spec_total(spec);
    sw->totals.planned = spec_planned(spec) + sw->children;
}

struct sweep *sweep_new(const struct spec *spec)
{
    struct sweep *sw = mem_alloc(sizeof(*sw));

    sw->spec = spec;
    spec_levels(spec, &sw->levels, NULL); /* the parser has checked them with the same */
    do
        sweep_add_bracket(sw);
    while (spec->schedule == SCHEDULE_ASHA && sweep_brackets(sw) < spec->brackets);
    if (spec->schedule == SCHEDULE_MEDIAN)
        sw->median = median_new(spec->grace_period);
    if (spec->schedule == SCHEDULE_PBT)
        sw->pbt = pbt_new(sweep_rungs(sw, 0));
    sw->totals.best = sw->known_last = -1;
    plan(sw, spec);
    sw->u = mem_alloc((size_t)space_dims(spec->space) * sizeof(sw->u[0]));
    sw->values = mem_alloc((size_t)space_count(spec->space) * sizeof(sw->values[0]));
    sw->params = sw->override = (struct str)STR_INIT;
    if (spec->search == SEARCH_CMAES)
        sw->cmaes = cmaes_new(spec->space, spec->seed);
    else if (search_by_model(spec->search))
        sw->seen = observed_new(spec->space, sw->levels.n, spec->objectives);
    return sw;
}

void sweep_free(struct sweep *sw)
{
    if (!sw)
        return;
    sweep_free_brackets(sw);
    for (size_t i = 0; i < sw->trials.n; i++)
        free((char *)sw->trials.v[i].params);
    vec_free(&sw->trials);
    vec_free(&sw->bettered);
    median_free(sw->median);
    pbt_free(sw->pbt);
    levels_free(&sw->levels);
    queue_free(&sw->again);
    queue_free(&sw->fresh);
    map_free(&sw->slots);
    observed_free(sw->seen);
    cmaes_free(sw->cmaes);
    gp_free(sw->gp);
    free(sw->u);
    free(sw->values);
    str_free(&sw->params);
    str_free(&sw->override);
    free(sw);
}

/* ---- small steps ---- */

static void set_state(struct sweep *sw, struct trial *t, enum trial_state state)
{
    sw->totals.state[t->state]--;
    sw->totals.state[state]++;
    t->state = (uint8_t)state;
    sweep_see_state(sw, t, state);
}

static bool unpromoted(const struct trial *t)
{
    return t->rung >= 0 && t->promoted < t->rung;
}

/* The trial leaves its rung's competition for good: the next best takes its place. */
static void pass_over(struct sweep *sw, struct trial *t)
{
    if (sw->spec->mode == MODE_PROMOTE && unpromoted(t) && score_finite(&t->value))
        rung_pass_over(sweep_rung_of(sw, t, t->rung), &t->value, t->order);
}

static void mark_promoted(struct sweep *sw, struct trial *t, int32_t rung)
{
    t->promoted = rung;
    sweep_rung_of(sw, t, rung)->promoted++;
    sw->brackets.v[t->bracket].closed = true;
    halving_comes(sw, t);
}

static void become_finalist(struct sweep *sw, struct trial *t)
{
    if (t->finalist)
        return;
    t->finalist = true;
    sw->open_finalists++;
    if (t->state == TRIAL_RUNNING)
        sw->open_others--;
}

static bool better(const struct sweep *sw, const struct trial *a, const struct trial *b)
{
    struct score x = sweep_turned(sw, a->best), y = sweep_turned(sw, b->best);
    int order = score_compare(&x, &y);

    if (order)
        return order < 0;
    if (a->best_step != b->best_step)
        return a->best_step > b->best_step;
    return a < b;
}

/* Is a score better than each of the best, in an objective by more than what counts? Then
 * it takes the place of those that it is as good as in all. */
static bool betters(struct sweep *sw, const struct score *s)
{
    size_t n = 0;

    for (size_t i = 0; i < sw->bettered.n; i++) {
        const struct score *best = &sw->bettered.v[i];
        bool better = false;

        for (int k = 0; k < OBJECTIVES_MAX; k++)
            better |= s->v[k] < best->v[k] - sw->spec->improvement;
        if (!better)
            return false;
    }
    for (size_t i = 0; i < sw->bettered.n; i++)
        if (!score_dominates(s, &sw->bettered.v[i]))
            sw->bettered.v[n++] = sw->bettered.v[i];
    sw->bettered.n = n;
    vec_push(&sw->bettered, *s);
    return true;
}

/* With several objectives the best trial can become worse in the first. */
static void find_best(struct sweep *sw, struct trial *t)
{
    struct trial *best = sw->totals.best >= 0 ? &sw->trials.v[sw->totals.best] : NULL;

    if (best == t) {
        for (size_t i = 0; sw->spec->objectives > 1 && i < sw->trials.n; i++)
            if (sw->trials.v[i].best_step >= 0 && better(sw, &sw->trials.v[i], best))
                best = &sw->trials.v[i];
    } else if (!best || better(sw, t, best)) {
        best = t;
    }
    sw->totals.best = sweep_number(sw, best);
}

/* Of t->metric, reported at `step`. */
static void note_best(struct sweep *sw, struct trial *t, int64_t step)
{
    struct score now = sweep_turned(sw, t->metric), best = sweep_turned(sw, t->best);

    sw->totals.plateau += !t->heard;
    t->heard = true;
    if (!score_finite(&now))
        return;
    if (betters(sw, &now))
        sw->totals.plateau = 0;
    if (t->best_step < 0 || !score_dominates(&best, &now)) {
        t->best = t->metric;
        t->best_step = step;
    }
    find_best(sw, t);
}

static struct trial *trial_at(struct sweep *sw, int32_t trial)
{
    return trial >= 0 && (size_t)trial < sw->trials.n ? &sw->trials.v[trial] : NULL;
}

int sweep_impossible(struct err *e, const struct event *ev, const char *why)
{
    return err_set(e, ERR_PROTO, "%s of trial %d, attempt %d: %s", event_name(ev->kind),
                   ev->trial, ev->attempt, why);
}

/* ---- trial, start ---- */

static void close_trial(struct sweep *sw, struct trial *t, enum trial_state state);

/* Why a trial cannot begin from another's checkpoint and take a third one's place; NULL:
 * it can. */
static const char *bad_parent(struct sweep *sw, const struct event *ev)
{
    const struct trial *parent = trial_at(sw, ev->drawn.parent),
                       *t = trial_at(sw, ev->drawn.replaces);

    if (!sw->pbt)
        return "only pbt goes on from another trial's checkpoint";
    if (!parent || parent->kept == 0 || parent->kept != ev->drawn.source ||
        parent->kept_step != ev->drawn.start)
        return "its parent has no such checkpoint";
    if (!t || t->state != TRIAL_PAUSED || t == parent)
        return "who it replaces is not paused";
    return NULL;
}

/* What becomes of who is replaced. */
static void judge_replaced(struct sweep *sw, const struct event *ev, struct verdict *v)
{
    v->rung = trial_at(sw, ev->drawn.replaces)->rung;
    v->decision = DECISION_STOP;
    pbt_stand(sw, ev->drawn.replaces, v);
}

/* It begins where its parent was, at no rung of its own; who had its place is stopped. */
static void take_place(struct sweep *sw, struct trial *t, const struct event *ev)
{
    const struct trial *parent = trial_at(sw, ev->drawn.parent);
    struct trial *other = trial_at(sw, ev->drawn.replaces);

    t->source = ev->drawn.source;
    t->born = t->saved = t->last_step = ev->drawn.start;
    t->rung = t->promoted = parent->kept_rung;
    t->until = sweep_next_milestone(sw, t, t->rung);
    sweep_rung_of(sw, other, other->rung)->stopped++;
    close_trial(sw, other, TRIAL_STOPPED);
    other->replaced = ev->trial;
    sw->children++;
    sw->totals.planned++;
}

static int apply_trial(struct sweep *sw, const struct event *ev, struct verdict *v,
                       struct err *e)
{
    struct trial t = {.state = TRIAL_WAITING,
                      .replaced = -1,
                      .rung = -1,
                      .promoted = -1,
                      .best_step = -1};
    const char *bad = ev->drawn.parent >= 0 ? bad_parent(sw, ev) : NULL;

    if (bad)
        return sweep_impossible(e, ev, bad);
    if (ev->trial != (int32_t)sw->trials.n)
        return sweep_impossible(e, ev, "trials are numbered in the order they are drawn");
    if (ev->drawn.bracket < 0 ||
        (spec_synchronous(sw->spec) ? ev->drawn.bracket != halving_open(sw)
                                    : ev->drawn.bracket >= sweep_brackets(sw)))
        return sweep_impossible(e, ev, "no such bracket, or it takes no more trials");
    if (ev->drawn.parent >= 0)
        judge_replaced(sw, ev, v);
    if (sweep_see_trial(sw, ev, e) != 0)
        return ERR_PROTO;
    if (ev->drawn.bracket >= sweep_brackets(sw))
        sweep_add_bracket(sw);
    t.given = ev->drawn.given != GIVEN_NOT;
    t.parent = ev->drawn.parent;
    t.bracket = ev->drawn.bracket;
    t.until = sw->median ? sw->spec->grace_period : sweep_milestone(sw, t.bracket, 0);
    t.metric = t.whole = t.best = t.value = score_none(sw->spec->objectives);
    t.started = t.ended = t.attempt_started = NAN;
    t.created = ev->time;
    t.params = mem_strndup(ev->drawn.params.p, ev->drawn.params.len);
    if (t.parent >= 0)
        take_place(sw, &t, ev);
    vec_push(&sw->trials, t);
    sw->brackets.v[t.bracket].members++;
    halving_comes(sw, &t);
    sw->totals.state[TRIAL_WAITING]++;
    sw->cursor = ev->drawn.cursor;
    if (ev->drawn.given == GIVEN_START)
        sw->starts_used++;
    sweep_enqueue(sw, ev->trial);
    return 0;
}

static int apply_start(struct sweep *sw, const struct event *ev, struct verdict *v,
                       struct err *e)
{
    struct trial *t = trial_at(sw, ev->trial);
    struct rung *r;

    if (!t)
        return sweep_impossible(e, ev, "no such trial");
    if (t->state != TRIAL_WAITING && t->state != TRIAL_PAUSED)
        return sweep_impossible(e, ev, "it is not waiting and not paused");
    if (ev->attempt != t->attempts + 1)
        return sweep_impossible(e, ev, "attempts count up by one");
    if (ev->start.from >= 0 && (ev->start.from != t->rung || !unpromoted(t)))
        return sweep_impossible(e, ev, "it cannot be promoted out of that rung");
    set_state(sw, t, TRIAL_RUNNING);
    t->attempts = ev->attempt;
    t->answered = DECISION_NONE;
    t->merging = false;
    t->nonce = ev->start.nonce;
    t->agent = ev->start.agent;
    t->slot = ev->start.slot;
    t->ask = ev->start.ask;
    t->last_number = t->last_save = 0;
    t->saved = t->attempt_start = ev->start.start;
    t->until = ev->start.until;
    t->began_until = spec_promotes(sw->spec) ? ev->start.until : sw->spec->max_t;
    t->attempt_started = ev->time;
    if (isnan(t->started))
        t->started = ev->time;
    t->ended = NAN;
    sw->totals.open++;
    sw->totals.attempts++;
    if (!t->finalist)
        sw->open_others++;
    map_put(&sw->slots, sweep_slot_key(t->agent, t->slot), (uint32_t)ev->trial);
    v->until = t->until;
    if (ev->start.from < 0)
        return 0;
    mark_promoted(sw, t, ev->start.from);
    if (ev->start.final)
        become_finalist(sw, t);
    r = sweep_rung_of(sw, t, ev->start.from);
    v->rung = ev->start.from;
    if (sw->pbt) {
        pbt_stand(sw, ev->trial, v);
        return 0;
    }
    v->value = sweep_turn(sw, t->value.v[0]);
    v->rank = rung_rank(r, &t->value, t->order);
    v->size = r->reported;
    v->cutoff = sweep_turn(sw, rung_top_cutoff(r, sweep_seats(sw, r)));
    return 0;
}

/* ---- report ---- */

/* Takes what a report says of the objectives; false: nothing, or not of all of them, also
 * with what was reported at this step before. */
static bool take_metrics(const struct sweep *sw, struct trial *t, const struct event *ev)
{
    bool any = false;

    for (int k = 0; k < sw->spec->objectives; k++) {
        int i = 0;

        while (i < ev->report.n_metrics &&
               !slice_eq(ev->report.metrics[i].name, sw->spec->objective[k].name))
            i++;
        if (i == ev->report.n_metrics)
            continue;
        t->metric.v[k] = ev->report.metrics[i].value;
        t->reported |= (uint8_t)(1 << k);
        any = true;
    }
    return any && t->reported == (1 << sw->spec->objectives) - 1;
}

/* The highest rung at or below `step` above all that the trial is recorded at; -1. */
static int32_t rung_reached(const struct sweep *sw, const struct trial *t, int64_t step)
{
    int32_t k = sweep_rungs(sw, t->bracket) - 1;

    while (k > t->rung && sweep_rung_of(sw, t, k)->milestone > step)
        k--;
    return k > t->rung ? k : -1;
}

/* mode promote, after the record: the decision, and whether it goes on as a finalist. */
static enum decision decide_promote(struct sweep *sw, struct trial *t, bool *final)
{
    struct work w;

    *final = false;
    if (t->finalist)
        return DECISION_CONTINUE;
    if (!sw->spec->in_place)
        return DECISION_PAUSE;
    w = sweep_work(sw, sweep_number(sw, t));
    *final = w.final;
    return w.kind == WORK_TRIAL && w.trial == sweep_number(sw, t) ? DECISION_CONTINUE
                                                                  : DECISION_PAUSE;
}

static enum decision decide_stop(double value, double cutoff)
{
    if (!isfinite(value))
        return DECISION_STOP;
    if (isnan(cutoff)) /* the first at its rung */
        return DECISION_CONTINUE;
    return -value < cutoff ? DECISION_STOP : DECISION_CONTINUE;
}

/* Records the trial at rung k and fills v with what follows. `forced`: the decision that
 * a journal already has, or NONE. */
static void reach_rung(struct sweep *sw, struct trial *t, int32_t k,
                       const struct score *turned, enum decision forced,
                       struct verdict *v)
{
    struct rung *r = sweep_rung_of(sw, t, k);
    bool promote = sw->spec->mode == MODE_PROMOTE, final = false;
    double cutoff = promote ? NAN : rung_stop_cutoff(r, sw->spec->eta);
    enum decision d;

    halving_leaves(sw, t);
    t->rung = k;
    t->order = sw->records++;
    t->value = score_finite(turned) ? *turned : score_none(sw->spec->objectives);
    sweep_see_value(sw, t, r->milestone, &t->value);
    v->rung = k;
    v->rank = rung_record(r, &t->value, t->order);
    v->size = r->reported;
    if (sw->pbt) {
        d = DECISION_PAUSE; /* whose turn it is then, and whether it goes on, follows */
        pbt_recorded(sw, sweep_number(sw, t));
        pbt_stand(sw, sweep_number(sw, t), v);
    } else if (promote) {
        d = decide_promote(sw, t, &final);
        cutoff = rung_top_cutoff(r, sweep_seats(sw, r));
        v->cutoff = sweep_turn(sw, cutoff);
    } else {
        d = decide_stop(t->value.v[0], cutoff);
        v->cutoff = sweep_turn(sw, -cutoff);
    }
    if (forced != DECISION_NONE && forced != d) {
        v->mismatch = true;
        d = forced;
    }
    v->decision = d;
    if (d == DECISION_CONTINUE) {
        v->in_place = promote && !t->finalist;
        mark_promoted(sw, t, k);
        if (final)
            become_finalist(sw, t);
        t->until = t->finalist ? sw->spec->max_t : sweep_next_milestone(sw, t, k);
    } else if (d == DECISION_STOP) {
        r->stopped++;
    }
}

/* Against the others that have come so far; every report from the grace period on is, and
 * the next is to be, too. */
static void reach_median(struct sweep *sw, struct trial *t, int64_t step, double turned,
                         struct verdict *v)
{
    double median, best = t->best_step < 0 ? INFINITY : sweep_turn(sw, t->best.v[0]);

    t->merging = false;
    t->until = step + 1;
    v->size = median_of_others(sw->median, sweep_number(sw, t), step, &median);
    if (!isfinite(turned)) {
        v->decision = DECISION_STOP;
    } else if (v->size >= (uint32_t)sw->spec->min_trials) {
        v->value = t->best.v[0];
        v->cutoff = sweep_turn(sw, median);
        v->decision = best > median ? DECISION_STOP : DECISION_CONTINUE;
    }
}

/* All objectives of the step are reported: t->metric. */
static void apply_metrics(struct sweep *sw, struct trial *t, const struct event *ev,
                          struct verdict *v)
{
    struct score turned = sweep_turned(sw, t->metric);
    int32_t k;

    t->whole = t->metric;
    note_best(sw, t, ev->report.step);
    if (sw->median)
        median_report(sw->median, sweep_number(sw, t), ev->report.step, turned.v[0]);
    if (ev->report.step >= sw->spec->max_t) {
        t->complete = true;
        t->merging = false;
        sweep_see_value(sw, t, sw->spec->max_t, &turned);
        v->decision = DECISION_STOP;
        return;
    }
    if (sw->median && ev->report.step >= sw->spec->grace_period)
        reach_median(sw, t, ev->report.step, turned.v[0], v);
    k = rung_reached(sw, t, ev->report.step);
    if (k < 0)
        return;
    t->merging = false;
    reach_rung(sw, t, k, &turned, t->stop_asked ? DECISION_NONE : ev->report.decision, v);
    v->value = sweep_turn(sw, t->value.v[0]);
}

/* A program may report any step; the sum of wild ones stays at the largest number. */
static void take_steps(struct sweep *sw, int64_t more)
{
    if (__builtin_add_overflow(sw->totals.steps, more, &sw->totals.steps))
        sw->totals.steps = INT64_MAX;
}

static int apply_report(struct sweep *sw, const struct event *ev, struct verdict *v,
                        struct err *e)
{
    struct trial *t = trial_at(sw, ev->trial);

    if (!t)
        return sweep_impossible(e, ev, "no such trial");
    if (t->state != TRIAL_RUNNING || ev->attempt != t->attempts)
        return sweep_impossible(e, ev, "that attempt is not the open one");
    if (ev->report.number <= t->last_number)
        return sweep_impossible(e, ev, "reports of an attempt count up");
    t->last_number = ev->report.number;
    sw->totals.reports++;
    v->decision = DECISION_CONTINUE;
    if (t->answered == DECISION_PAUSE || t->answered == DECISION_STOP) {
        v->stale = true;
        v->decision = t->answered;
    } else if (ev->report.step < t->last_step ||
               (ev->report.step == t->last_step && !t->merging)) {
        v->stale = true;
    } else {
        if (ev->report.step > t->last_step)
            t->reported = 0;
        take_steps(sw, ev->report.step - t->last_step);
        t->last_step = ev->report.step;
        t->merging = true;
        if (take_metrics(sw, t, ev))
            apply_metrics(sw, t, ev, v);
    }
    if (t->stop_asked)
        v->decision = DECISION_STOP;
    if (ev->report.decision != DECISION_NONE && ev->report.decision != v->decision) {
        v->mismatch = true;
        v->decision = ev->report.decision;
    }
    if (ev->report.decision != DECISION_NONE && ev->report.rung != v->rung)
        v->mismatch = true;
    t->answered = (uint8_t)v->decision;
    v->until = t->until;
    return 0;
}

static int apply_saved(struct sweep *sw, const struct event *ev, struct verdict *v,
                       struct err *e)
{
    struct trial *t = trial_at(sw, ev->trial);

    (void)v;
    if (!t)
        return sweep_impossible(e, ev, "no such trial");
    if (t->state != TRIAL_RUNNING || ev->attempt != t->attempts)
        return sweep_impossible(e, ev, "that attempt is not the open one");
    if (ev->saved.number <= t->last_save)
        return sweep_impossible(e, ev, "what an attempt saves counts up");
    t->last_save = ev->saved.number;
    t->saved = ev->saved.step;
    return 0;
}

/* ---- end ---- */

static bool out_of_retries(struct sweep *sw, struct trial *t, const struct event *ev)
{
    if (ev->end.outcome == OUTCOME_OOM && sweep_oom_lowers(sw, t)) {
        t->ooms++;
        return false;
    }
    return ++t->failures > sw->spec->retry_failures;
}

static void close_attempt(struct sweep *sw, struct trial *t, const struct event *ev)
{
    const struct end_facts *f = &ev->end.facts;

    bool lost = f->cause == CAUSE_AGENT_GONE && t->last_number == 0 &&
                (ev->end.outcome == OUTCOME_LOST || ev->end.outcome == OUTCOME_FAILED);

    t->lost_ends = lost ? t->lost_ends + 1 : 0;
    if (ev->end.saved >= 0)
        t->saved = ev->end.saved;
    t->seconds += ev->time > t->attempt_started ? ev->time - t->attempt_started : 0;
    t->ended = ev->time;
    sw->totals.open--;
    if (!t->finalist)
        sw->open_others--;
    if (!isnan(f->cpu_seconds))
        sw->totals.cpu_seconds += f->cpu_seconds;
    if (!isnan(f->gpu_seconds))
        sw->totals.gpu_seconds += f->gpu_seconds;
    sw->totals.seconds +=
        ev->time > t->attempt_started ? ev->time - t->attempt_started : 0;
}

/* Where a trial goes that may go on: to its rung's competition, or to the queue. */
static void keep_trial(struct sweep *sw, struct trial *t)
{
    struct rung *r;

    if (!unpromoted(t)) {
        set_state(sw, t, TRIAL_WAITING);
        sweep_enqueue(sw, sweep_number(sw, t));
        return;
    }
    set_state(sw, t, TRIAL_PAUSED);
    r = sweep_rung_of(sw, t, t->rung);
    if (sw->pbt)
        return;
    if (score_finite(&t->value))
        rung_pause(r, &t->value, t->order, sweep_number(sw, t));
}

static void close_trial(struct sweep *sw, struct trial *t, enum trial_state state)
{
    pass_over(sw, t);
    halving_leaves(sw, t);
    sweep_see_end(sw, t, state, t->stop_asked || t->state != TRIAL_RUNNING);
    set_state(sw, t, state);
    if (t->finalist) {
        sw->open_finalists--;
        sw->at_max += state == TRIAL_COMPLETED && t->complete;
    } else if (t->complete) {
        sw->at_max++;
    }
}

static bool time_too_short(struct trial *t, const struct event *ev)
{
    if (ev->end.outcome != OUTCOME_TIMEOUT || t->saved > t->attempt_start) {
        t->short_ends = 0;
        return false;
    }
    return ++t->short_ends >= 2;
}

static int apply_end(struct sweep *sw, const struct event *ev, struct verdict *v,
                     struct err *e)
{
    struct trial *t = trial_at(sw, ev->trial);
    enum outcome o = ev->end.outcome;

    (void)v;
    if (!t)
        return sweep_impossible(e, ev, "no such trial");
    if (t->state != TRIAL_RUNNING || ev->attempt != t->attempts)
        return sweep_impossible(e, ev, "that attempt is not the open one");
    close_attempt(sw, t, ev);
    if (t->complete)
        close_trial(sw, t, TRIAL_COMPLETED);
    else if (t->stop_asked || t->answered == DECISION_STOP || o == OUTCOME_STOPPED)
        close_trial(sw, t, TRIAL_STOPPED);
    else if (o == OUTCOME_COMPLETED)
        close_trial(sw, t, TRIAL_COMPLETED);
    else if (outcome_class(o) == OUTCOME_IS_FAULT && out_of_retries(sw, t, ev))
        close_trial(sw, t, TRIAL_FAILED);
    else if (time_too_short(t, ev))
        close_trial(sw, t, TRIAL_FAILED);
    else
        keep_trial(sw, t);
    if (sw->pbt && o == OUTCOME_PAUSED && t->state == TRIAL_PAUSED && t->saved > 0) {
        t->kept = ev->attempt;
        t->kept_rung = t->rung;
        t->kept_step = t->saved;
    }
    return 0;
}

/* ---- what people ask ---- */

static int apply_stop(struct sweep *sw, const struct event *ev, struct verdict *v,
                      struct err *e)
{
    struct trial *t = trial_at(sw, ev->trial);

    (void)v;
    if (ev->trial < 0) {
        sw->totals.finishing = true;
        for (size_t i = 0; i < sw->trials.n; i++) {
            if (sw->trials.v[i].state == TRIAL_RUNNING)
                sw->trials.v[i].stop_asked = true;
        }
        return 0;
    }
    if (!t)
        return sweep_impossible(e, ev, "no such trial");
    if (t->state == TRIAL_RUNNING)
        t->stop_asked = true;
    else if (t->state == TRIAL_WAITING || t->state == TRIAL_PAUSED)
        close_trial(sw, t, TRIAL_STOPPED);
    return 0;
}

static int apply_pause(struct sweep *sw, const struct event *ev, struct verdict *v,
                       struct err *e)
{
    (void)v, (void)e;
    sw->totals.pausing = ev->kind == EVENT_PAUSE;
    if (ev->kind == EVENT_RESUME)
        sw->totals.finished = sw->totals.finishing = false;
    return 0;
}

static int apply_set(struct sweep *sw, const struct event *ev, struct verdict *v,
                     struct err *e)
{
    struct spec changed = *sw->spec;
    int64_t n;

    (void)v;
    if (slice_eq(ev->set.key, "search.exhausted")) {
        sw->exhausted = true;
        sw->totals.planned = (int64_t)sw->trials.n;
        return 0;
    }
    if (!slice_eq(ev->set.key, "search.trials"))
        return 0;
    if (num_parse_int(ev->set.value.p, ev->set.value.len, &n) != 0 || n < 0)
        return sweep_impossible(e, ev, "search.trials is not a number");
    changed.trials = n;
    plan(sw, &changed);
    return 0;
}

static int apply_job(struct sweep *sw, const struct event *ev, struct verdict *v,
                     struct err *e)
{
    (void)sw, (void)v;
    if (ev->job.slots < 0 || ev->job.slots > EVENT_SLOTS_MAX)
        return sweep_impossible(e, ev, "no agent has so many slots");
    return 0;
}

/* Of any attempt that was made: nothing is decided by it. */
static int apply_account(struct sweep *sw, const struct event *ev, struct verdict *v,
                         struct err *e)
{
    const struct trial *t = trial_at(sw, ev->trial);

    (void)v;
    if (!t || ev->attempt < 1 || ev->attempt > t->attempts)
        return sweep_impossible(e, ev, "no such attempt");
    return 0;
}

static int apply_finish(struct sweep *sw, const struct event *ev, struct verdict *v,
                        struct err *e)
{
    (void)ev, (void)v, (void)e;
    sw->totals.finished = true;
    return 0;
}

static int apply_nothing(struct sweep *sw, const struct event *ev, struct verdict *v,
                         struct err *e)
{
    (void)sw, (void)ev, (void)v, (void)e;
    return 0;
}

int sweep_apply(struct sweep *sw, const struct event *ev, struct verdict *v,
                struct err *e)
{
    static int (*const appliers[EVENT_KINDS])(struct sweep *, const struct event *,
                                              struct verdict *, struct err *) = {
        [EVENT_EPOCH] = apply_nothing,   [EVENT_TRIAL] = apply_trial,
        [EVENT_START] = apply_start,     [EVENT_REPORT] = apply_report,
        [EVENT_SAVED] = apply_saved,     [EVENT_END] = apply_end,
        [EVENT_STOP] = apply_stop,       [EVENT_PAUSE] = apply_pause,
        [EVENT_RESUME] = apply_pause,    [EVENT_SET] = apply_set,
        [EVENT_JOB] = apply_job,         [EVENT_FINISH] = apply_finish,
        [EVENT_ACCOUNT] = apply_account, [EVENT_KNOWN] = sweep_apply_known,
    };
    struct verdict mine;

    if (!v)
        v = &mine;
    *v = (struct verdict){.rung = -1, .value = NAN, .cutoff = NAN};
    if (ev->kind <= EVENT_NONE || ev->kind >= EVENT_KINDS)
        return err_set(e, ERR_PROTO, "an event of no kind");
    return appliers[ev->kind](sw, ev, v, e);
}

/* ---- looking ---- */

int32_t sweep_trials(const struct sweep *sw)
{
    return (int32_t)sw->trials.n;
}

const struct trial *sweep_trial(const struct sweep *sw, int32_t trial)
{
    return &sw->trials.v[trial];
}

bool sweep_wants_known(const struct sweep *sw, int32_t *after)
{
    *after = sw->known_last;
    return sw->trials.n == 0 && !sw->known_all;
}

const struct spec *sweep_spec(const struct sweep *sw)
{
    return sw->spec;
}

const struct levels *sweep_levels(const struct sweep *sw)
{
    return &sw->levels;
}

int sweep_brackets(const struct sweep *sw)
{
    return (int)sw->brackets.n;
}

int sweep_first_level(const struct sweep *sw, int s)
{
    return sw->brackets.v[s].first;
}

int sweep_rungs(const struct sweep *sw, int s)
{
    return sw->levels.n - 1 - sweep_first_level(sw, s);
}

int64_t sweep_milestone(const struct sweep *sw, int s, int k)
{
    return sw->levels.step[sweep_first_level(sw, s) + k];
}

int64_t sweep_next_milestone(const struct sweep *sw, const struct trial *t, int32_t k)
{
    return sweep_milestone(sw, t->bracket, k + 1);
}

struct rung_info sweep_rung(const struct sweep *sw, int s, int k)
{
    struct rung *r = &sw->brackets.v[s].rungs[k];
    double cutoff = sw->pbt ? NAN
                    : sw->spec->mode == MODE_PROMOTE
                        ? rung_top_cutoff(r, sweep_seats(sw, r))
                        : -rung_stop_cutoff(r, sw->spec->eta);

    return (struct rung_info){r->milestone, r->reported, r->promoted, r->stopped,
                              sweep_turn(sw, cutoff)};
}

const struct sweep_totals *sweep_totals(const struct sweep *sw)
{
    return &sw->totals;
}

uint64_t sweep_slot_key(uint64_t agent, int32_t slot)
{
    return agent ^ ((uint64_t)(uint32_t)slot + 1) * 0x9E3779B97F4A7C15u;
}

int32_t sweep_in_slot(const struct sweep *sw, uint64_t agent, int32_t slot)
{
    uint32_t trial;
    const struct trial *t;

    if (!map_get(&sw->slots, sweep_slot_key(agent, slot), &trial))
        return -1;
    t = &sw->trials.v[trial];
    return t->state == TRIAL_RUNNING && t->agent == agent && t->slot == slot
               ? (int32_t)trial
               : -1;
}

/* Of each trial with a best its front and its place among all; 0 of the others. */
static void find_fronts(const struct sweep *sw, uint32_t front[], uint32_t place[])
{
    struct score *scores = mem_alloc(sw->trials.n * sizeof(scores[0]));
    uint32_t *places = mem_alloc(sw->trials.n * sizeof(places[0]));
    uint32_t *fronts = mem_alloc(sw->trials.n * sizeof(fronts[0]));
    size_t n = 0;

    for (size_t i = 0; i < sw->trials.n; i++)
        if (sw->trials.v[i].best_step >= 0)
            scores[n++] = sweep_turned(sw, sw->trials.v[i].best);
    fronts_sort(scores, n, places, fronts);
    n = 0;
    for (size_t i = 0; i < sw->trials.n; i++) {
        bool any = sw->trials.v[i].best_step >= 0;

        front[i] = any ? fronts[n] : 0;
        place[i] = any ? places[n] : 0;
        n += any;
    }
    free(scores);
    free(places);
    free(fronts);
}

void sweep_fronts(const struct sweep *sw, int32_t front[])
{
    uint32_t *fronts = mem_alloc(sw->trials.n * sizeof(fronts[0]));
    uint32_t *places = mem_alloc(sw->trials.n * sizeof(places[0]));

    find_fronts(sw, fronts, places);
    for (size_t i = 0; i < sw->trials.n; i++)
        front[i] = fronts[i] ? (int32_t)fronts[i] : -1;
    free(fronts);
    free(places);
}

int sweep_front(const struct sweep *sw)
{
    int32_t *front = mem_alloc(sw->trials.n * sizeof(front[0]));
    int n = 0;

    sweep_fronts(sw, front);
    for (size_t i = 0; i < sw->trials.n; i++)
        n += front[i] == 1;
    free(front);
    return n;
}

int sweep_best(const struct sweep *sw, int32_t out[], int n)
{
    /* zeros: of one objective each value is a front of its own, and better() tells all */
    uint32_t *front = mem_alloc(sw->trials.n * sizeof(front[0]));
    uint32_t *place = mem_alloc(sw->trials.n * sizeof(place[0]));
    int found = 0;

    if (sw->spec->objectives > 1)
        find_fronts(sw, front, place);
    for (size_t i = 0; i < sw->trials.n; i++) {
        const struct trial *t = &sw->trials.v[i];
        int at = found;

        if (t->best_step < 0 || place[i] >= (uint32_t)n)
            continue;
        while (at > 0 && (front[i] < front[out[at - 1]] ||
                          (front[i] == front[out[at - 1]] &&
                           better(sw, t, &sw->trials.v[out[at - 1]]))))
            at--;
        if (at >= n)
            continue;
        if (found < n)
            found++;
        memmove(&out[at + 1], &out[at], (size_t)(found - 1 - at) * sizeof(out[0]));
        out[at] = (int32_t)i;
    }
    free(front);
    free(place);
    return found;
}
