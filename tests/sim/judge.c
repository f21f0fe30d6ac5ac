/* What must hold, whatever happened. The accepted journal is read once more, by rules
 * written from doc/scheduling.md and doc/trial-protocol.md alone: lists and loops,
 * nothing incremental. It is held against
 *   - what was promised: everything that a controller had appended when it sent a packet,
 *     and every decision that a program went on by, is in it;
 *   - what programs said: the reports of an attempt are all there, in order, once, as
 * they were said, up to where its agent was lost;
 *   - the rules: each decision, promotion, outcome and start; never two open attempts of
 * a trial, nor more than `slots` in all;
 *   - the real state machine, replaying it. */
#include "base/hash.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#include <math.h>
#include <stdio.h>

struct said { /* a report, by its program */
    uint64_t nonce;
    uint32_t number;
    int64_t step;
    double value; /* NaN, too */
    bool metric;
    bool went_on;            /* from its milestone */
    enum decision journaled; /* NONE: it is not in the journal */
};

struct saved { /* a checkpoint, by its program */
    uint64_t nonce;
    int64_t step;
};

struct begun { /* an attempt, by its agent */
    uint64_t nonce;
    int32_t trial, attempt;
    int64_t start, until;
    bool journaled;
};

struct trial_rules {
    enum trial_state state;
    int bracket, rung, promoted, failures, attempts, short_ends, lost_ends;
    bool finalist, complete, stop_asked, merging;
    double value; /* turned, at `rung` */
    int64_t last_step, saved, attempt_start, began_until;
    /* of a population */
    int parent, source, place, kept, kept_rung;
    int64_t kept_step;
    enum decision answered;
    uint64_t nonce;
    uint32_t last_number;
    size_t saves; /* index behind the last that was journaled */
};

struct record {
    int bracket, rung, trial;
    double value;
};

struct inherited {
    int place;
    struct record record;
};

struct judge {
    VEC(struct said) said;
    VEC(struct begun) begun;
    VEC(struct saved) saved;
    struct map by_report, by_nonce;
    VEC(int64_t) promised; /* events of each epoch */
    /* the journal by the rules */
    struct world *w;
    VEC(struct trial_rules) trials;
    VEC(struct record) records;
    VEC(struct inherited) inherited;
    int places; /* of a population */
    VEC(int64_t) level;
    int open, planned;
    bool pausing, finishing, finished;
    int32_t epoch;
    VEC(int64_t) lines; /* of each epoch */
};

struct judge *judge_new(void)
{
    return mem_alloc(sizeof(struct judge));
}

void judge_free(struct judge *j)
{
    vec_free(&j->said);
    vec_free(&j->begun);
    vec_free(&j->saved);
    vec_free(&j->promised);
    vec_free(&j->trials);
    vec_free(&j->records);
    vec_free(&j->inherited);
    vec_free(&j->level);
    vec_free(&j->lines);
    map_free(&j->by_report);
    map_free(&j->by_nonce);
    free(j);
}

/* ---- while it happens ---- */

static uint64_t report_key(uint64_t nonce, uint32_t number)
{
    return nonce + number * UINT64_C(0x9E3779B97F4A7C15);
}

static struct said *said_at(struct judge *j, uint64_t nonce, uint32_t number)
{
    uint32_t i;

    return map_get(&j->by_report, report_key(nonce, number), &i) ? &j->said.v[i] : NULL;
}

static struct begun *begun_at(struct judge *j, uint64_t nonce)
{
    uint32_t i;

    return map_get(&j->by_nonce, nonce, &i) ? &j->begun.v[i] : NULL;
}

void judge_sent(struct world *w, const struct process *p)
{
    struct judge *j = w->judge;
    size_t epoch = (size_t)p->ep.who.epoch;

    while (j->promised.n <= epoch)
        vec_push(&j->promised, 0);
    if (j->promised.v[epoch] < p->appended)
        j->promised.v[epoch] = p->appended;
}

void judge_started(struct world *w, const struct machine *m, const struct item *it)
{
    struct judge *j = w->judge;
    struct begun b = {.nonce = it->work.nonce,
                      .trial = it->work.trial,
                      .attempt = it->work.attempt,
                      .start = it->work.start,
                      .until = it->work.until};

    if (begun_at(j, b.nonce))
        broken(w, "attempt %d of trial %d begins twice, now in job %s", b.attempt,
               b.trial, m->job);
    map_put(&j->by_nonce, b.nonce, (uint32_t)j->begun.n);
    vec_push(&j->begun, b);
}

void judge_said(struct world *w, const struct program *p, int64_t step, double value,
                bool metric)
{
    struct judge *j = w->judge;

    map_put(&j->by_report, report_key(p->nonce, p->number), (uint32_t)j->said.n);
    vec_push(&j->said, ((struct said){.nonce = p->nonce,
                                      .number = p->number,
                                      .step = step,
                                      .value = value,
                                      .metric = metric}));
}

void judge_saved(struct world *w, const struct program *p)
{
    vec_push(&w->judge->saved, ((struct saved){p->nonce, p->step}));
}

void judge_went_on(struct world *w, const struct program *p)
{
    struct said *s = said_at(w->judge, p->nonce, p->number);

    if (!s)
        broken(w, "a program goes on by a report that it did not make");
    s->went_on = true;
}

static void same(const struct world *w, const char *what, int32_t trial, double a,
                 double b)
{
    if (a != b && !(isnan(a) && isnan(b)))
        broken(w, "%s of trial %d is %.17g, and %.17g by the journal", what, trial, a, b);
}

static void compare(const struct world *w, const struct sweep *a, const struct sweep *b)
{
    const struct sweep_totals *x = sweep_totals(a), *y = sweep_totals(b);

    same(w, "the number", -1, sweep_trials(a), sweep_trials(b));
    same(w, "the number open", -1, x->open, y->open);
    same(w, "the best", -1, x->best, y->best);
    same(w, "the reports", -1, (double)x->reports, (double)y->reports);
    same(w, "pausing", -1, x->pausing, y->pausing);
    same(w, "finishing", -1, x->finishing, y->finishing);
    same(w, "finished", -1, x->finished, y->finished);
    for (int32_t t = 0; t < sweep_trials(a); t++) {
        const struct trial *p = sweep_trial(a, t), *q = sweep_trial(b, t);

        same(w, "the state", t, p->state, q->state);
        same(w, "the attempts", t, p->attempts, q->attempts);
        same(w, "the failures", t, p->failures, q->failures);
        same(w, "the last step", t, (double)p->last_step, (double)q->last_step);
        same(w, "the saved step", t, (double)p->saved, (double)q->saved);
        same(w, "the milestone", t, (double)p->until, (double)q->until);
        same(w, "the rung", t, p->rung, q->rung);
        same(w, "the promotion", t, p->promoted, q->promoted);
        for (int k = 0; k < OBJECTIVES_MAX; k++) {
            same(w, "the value", t, p->value.v[k], q->value.v[k]);
            same(w, "the best", t, p->best.v[k], q->best.v[k]);
        }
        same(w, "the last report", t, p->last_number, q->last_number);
        same(w, "the answer", t, p->answered, q->answered);
        same(w, "what people asked", t, p->stop_asked, q->stop_asked);
    }
}

void judge_state(struct world *w, const struct process *p)
{
    struct process *current = w->current;
    struct loaded l;
    struct err e = {0};

    if (p->dead)
        return;
    for (int i = 1; i < 5; i++) { /* the journal may go on elsewhere */
        char path[64];

        snprintf(path, sizeof(path), SWEEP_DIR "/journal/%06d.jsonl",
                 p->ep.who.epoch + i);
        if (disk_exists(path))
            return;
    }
    w->current = NULL;
    if (loaded_verify(&l, SWEEP_DIR, &e) != 0)
        broken(w, "the journal of a living controller: %s", e.text);
    compare(w, p->ep.sweep.sw, l.sw);
    loaded_close(&l);
    w->current = current;
}

/* ---- the rules ---- */

static void wrong(const struct judge *j, const struct event *ev, const char *why)
{
    broken(j->w, "by the journal of epoch %d, %s of trial %d, attempt %d: %s", j->epoch,
           event_name(ev->kind), ev->trial, ev->attempt, why);
}

static void make_levels(struct judge *j)
{
    const struct world *w = j->w;
    int64_t up = 1, down = 1;

    if (w->method == SCHEDULE_PBT) {
        for (int64_t step = w->interval; step < w->max_t; step += w->interval)
            vec_push(&j->level, step);
        vec_push(&j->level, w->max_t);
        return;
    }
    for (;;) {
        int64_t step = (2 * w->grace * up + down) / (2 * down); /* half up */

        if (step >= w->max_t)
            break;
        if (j->level.n == 0 || step > j->level.v[j->level.n - 1])
            vec_push(&j->level, step);
        up *= w->num;
        down *= w->den;
    }
    if (w->method == SCHEDULE_HYPERBAND && j->level.n > 0 &&
        (2 * w->grace * up + down) / (2 * down) > w->max_t)
        j->level.n--; /* the last that is no product takes the place of one */
    vec_push(&j->level, w->max_t);
}

/* The level that a bracket begins at. */
static int first_of(const struct judge *j, int bracket)
{
    return j->w->method == SCHEDULE_SHA || j->w->method == SCHEDULE_PBT
               ? 0
               : bracket % (int)j->level.n;
}

static int rungs_of(const struct judge *j, int bracket)
{
    return (int)j->level.n - 1 - first_of(j, bracket);
}

static int64_t milestone_of(const struct judge *j, int bracket, int rung)
{
    return j->level.v[first_of(j, bracket) + rung];
}

static int64_t until_of(const struct judge *j, const struct trial_rules *t)
{
    return t->finalist ? j->w->max_t : milestone_of(j, t->bracket, t->rung + 1);
}

static bool closed(const struct trial_rules *t)
{
    return t->state == TRIAL_COMPLETED || t->state == TRIAL_STOPPED ||
           t->state == TRIAL_FAILED;
}

/* Comes a before b among the records of one rung? */
static bool ahead(const struct record *a, const struct record *b)
{
    return a->value < b->value || (a->value == b->value && a < b);
}

/* ---- brackets whose rungs wait for all ---- */

static bool synchronous(const struct judge *j)
{
    return j->w->method == SCHEDULE_HYPERBAND || j->w->method == SCHEDULE_SHA;
}

static int brackets_of(const struct judge *j)
{
    int n = synchronous(j) ? 0 : j->w->brackets;

    for (size_t i = 0; i < j->trials.n; i++)
        if (j->trials.v[i].bracket >= n)
            n = j->trials.v[i].bracket + 1;
    return n;
}

static int64_t members_of(const struct judge *j, int bracket)
{
    int64_t n = 0;

    for (size_t i = 0; i < j->trials.n; i++)
        n += j->trials.v[i].bracket == bracket;
    return n;
}

static bool takes_more(const struct judge *j, int bracket)
{
    int64_t levels = (int64_t)j->level.n, s = rungs_of(j, bracket), up = levels,
            down = s + 1;

    for (int64_t i = 0; i < s; i++) {
        up *= j->w->num;
        down *= j->w->den;
    }
    for (size_t i = 0; i < j->trials.n; i++)
        if (j->trials.v[i].bracket == bracket && j->trials.v[i].promoted >= 0)
            return false;
    return j->w->method == SCHEDULE_SHA ||
           members_of(j, bracket) < (up + down - 1) / down;
}

static int open_bracket(const struct judge *j)
{
    int n = brackets_of(j);

    return n > 0 && takes_more(j, n - 1) ? n - 1 : n;
}

/* How many may go on from a rung: floor(n / eta^(k + 1)) of the bracket, but one. */
static int64_t wanted(const struct judge *j, int bracket, int rung)
{
    int64_t up = members_of(j, bracket), down = 1;

    for (int i = 0; i <= rung; i++) {
        up *= j->w->den;
        down *= j->w->num;
    }
    return up / down > 1 ? up / down : 1;
}

static bool was_recorded(const struct judge *j, int trial, int rung)
{
    for (size_t i = 0; i < j->records.n; i++)
        if (j->records.v[i].trial == trial && j->records.v[i].rung == rung)
            return true;
    return false;
}

/* Have as many gone on from a rung as may? */
static bool sent_on(const struct judge *j, int bracket, int rung)
{
    int64_t candidates = 0, promoted = 0, n = wanted(j, bracket, rung);

    for (size_t i = 0; i < j->records.n; i++) {
        const struct record *o = &j->records.v[i];
        const struct trial_rules *t = &j->trials.v[o->trial];

        if (o->bracket == bracket && o->rung == rung)
            candidates += isfinite(o->value) && !(closed(t) && t->promoted < rung);
    }
    for (size_t i = 0; i < j->trials.n; i++)
        promoted += j->trials.v[i].bracket == bracket &&
                    j->trials.v[i].promoted >= rung && was_recorded(j, (int)i, rung);
    return promoted >= (n < candidates ? n : candidates);
}

/* Have all come to the rung that will? */
static bool is_due(const struct judge *j, int bracket, int rung)
{
    if (takes_more(j, bracket) && (int)j->trials.n < j->planned)
        return false;
    for (size_t i = 0; i < j->trials.n; i++) {
        const struct trial_rules *t = &j->trials.v[i];

        if (t->bracket == bracket && !closed(t) && t->promoted == t->rung &&
            t->rung < rung)
            return false;
    }
    for (int k = 0; k < rung; k++)
        if (!sent_on(j, bracket, k))
            return false;
    return true;
}

/* Is the record among the best of its rung that go on? */
static bool in_top(const struct judge *j, const struct record *r)
{
    int64_t n = 0, better = 0;

    if (synchronous(j) && !is_due(j, r->bracket, r->rung))
        return false;

    for (size_t i = 0; i < j->records.n; i++) {
        const struct record *o = &j->records.v[i];
        const struct trial_rules *t = &j->trials.v[o->trial];

        if (o->bracket != r->bracket || o->rung != r->rung)
            continue;
        n++;
        if (isfinite(o->value) && !(closed(t) && t->promoted < o->rung))
            better += ahead(o, r);
    }
    return better <
           (synchronous(j) ? wanted(j, r->bracket, r->rung) : n * j->w->den / j->w->num);
}

/* The best that pauses at a rung; of those in its top only, if `top`. */
static const struct record *best_paused(const struct judge *j, int bracket, int rung,
                                        bool top)
{
    const struct record *best = NULL;

    for (size_t i = 0; i < j->records.n; i++) {
        const struct record *r = &j->records.v[i];
        const struct trial_rules *t = &j->trials.v[r->trial];

        if (r->bracket == bracket && r->rung == rung && isfinite(r->value) &&
            t->state == TRIAL_PAUSED && t->rung == rung && t->promoted < rung &&
            (!best || ahead(r, best)) && (!top || in_top(j, r)))
            best = r;
    }
    return best;
}

/* ---- a population ---- */

/* The trial that has a place: the last that was given it. */
static const struct trial_rules *holder_of(const struct judge *j, int place)
{
    const struct trial_rules *holder = NULL;

    for (size_t i = 0; i < j->trials.n; i++)
        if (j->trials.v[i].place == place)
            holder = &j->trials.v[i];
    return holder;
}

/* What a place has at a rung or, if it never came there, at the last before it; what a
 * new trial jumped over by its parent's checkpoint it has as that. NULL: nothing. */
static const struct record *counts_with(const struct judge *j, int place, int rung)
{
    for (int k = rung; k >= 0; k--) {
        const struct record *found = NULL;

        for (size_t i = 0; i < j->inherited.n; i++)
            if (j->inherited.v[i].place == place && j->inherited.v[i].record.rung == k)
                found = &j->inherited.v[i].record;
        for (size_t i = 0; i < j->records.n; i++)
            if (j->trials.v[j->records.v[i].trial].place == place &&
                j->records.v[i].rung == k)
                found = &j->records.v[i];
        if (found)
            return found;
    }
    return NULL;
}

static double worst_if_not_finite(double v)
{
    return isfinite(v) ? v : INFINITY;
}

/* How many places count at the trial's rung; *rank, from 1, of a record at a place. */
static int stand(const struct judge *j, int rung, double value, int place, int *rank)
{
    int n = 0;

    *rank = 1;
    for (int i = 0; i < j->places; i++) {
        const struct trial_rules *holder = holder_of(j, i);
        const struct record *r = counts_with(j, i, rung);
        double v = r ? worst_if_not_finite(r->value) : 0;

        if (!r || holder->state == TRIAL_FAILED || holder->state == TRIAL_STOPPED)
            continue;
        n++;
        *rank += v < value || (v == value && i < place);
    }
    return n;
}

/* May the trial that has a record at a place be the parent of who replaces t? */
static bool may_be_parent(const struct judge *j, const struct trial_rules *t, int place,
                          int *parent)
{
    const struct record *r = counts_with(j, place, t->rung);
    const struct trial_rules *holder = holder_of(j, place), *p;
    int rank, n;

    if (!r || !isfinite(r->value) || holder->state == TRIAL_FAILED ||
        holder->state == TRIAL_STOPPED)
        return false;
    n = stand(j, t->rung, r->value, -1, &rank); /* rank of the first of equal ones */
    p = &j->trials.v[r->trial];
    *parent = r->trial;
    return rank <= n / 4 && p != t && !closed(p) && p->kept > 0 &&
           p->kept_rung >= t->rung;
}

static bool to_be_replaced(const struct judge *j, const struct trial_rules *t)
{
    int rank, parent,
        n = stand(j, t->rung, worst_if_not_finite(t->value), t->place, &rank);

    if (n < 4 || (isfinite(t->value) && rank <= n - n / 4))
        return false;
    for (int i = 0; i < j->places; i++)
        if (may_be_parent(j, t, i, &parent))
            return true;
    return false;
}

/* Are fewer than a quarter of the places still on their way there? */
static bool most_have_come(const struct judge *j, int rung)
{
    int away = 0, places = 0;

    for (int i = 0; i < j->places; i++) {
        const struct trial_rules *t = holder_of(j, i);

        if (t->state == TRIAL_FAILED || t->state == TRIAL_STOPPED)
            continue;
        places++;
        if (t->state == TRIAL_RUNNING || t->state == TRIAL_WAITING)
            away += t->rung < rung;
    }
    return places < 4 || away < places / 4;
}

/* The paused one with the fewest steps, of equal ones the first that was recorded, when
 * most have come as far. */
static int in_turn(const struct judge *j)
{
    int first = -1;

    for (size_t i = 0; i < j->records.n; i++) {
        int trial = j->records.v[i].trial;
        const struct trial_rules *t = &j->trials.v[trial];

        if (t->state == TRIAL_PAUSED && t->rung == j->records.v[i].rung &&
            (first < 0 || t->rung < j->trials.v[first].rung))
            first = trial;
    }
    return first >= 0 && most_have_come(j, j->trials.v[first].rung) ? first : -1;
}

struct job {
    enum { JOB_NONE, JOB_AGAIN, JOB_PROMOTE, JOB_FRESH, JOB_DRAW, JOB_FINAL } kind;
    int trial;
};

static int waiting(const struct judge *j, bool again)
{
    int64_t best_at = -1;
    int best = -1;

    for (size_t i = 0; i < j->trials.n; i++) {
        const struct trial_rules *t = &j->trials.v[i];
        int64_t at = t->promoted >= 0 ? milestone_of(j, t->bracket, t->promoted) : 0;

        if (t->state == TRIAL_WAITING && (t->attempts > 0) == again && at > best_at) {
            best = (int)i;
            best_at = at;
        }
    }
    return best;
}

/* The rungs by milestone, the highest first; of equal ones the lower bracket. */
static struct job by_rung(const struct judge *j, bool final)
{
    for (int k = (int)j->level.n - 2; k >= 0; k--) {
        const struct record *best = NULL;

        for (int s = 0; s < brackets_of(j); s++) {
            int rung = k - first_of(j, s);
            const struct record *r = rung >= 0 ? best_paused(j, s, rung, !final) : NULL;

            if (r && !final)
                return (struct job){JOB_PROMOTE, r->trial};
            if (r && (!best || ahead(r, best)))
                best = r;
        }
        if (best)
            return (struct job){JOB_FINAL, best->trial};
    }
    return (struct job){JOB_NONE, -1};
}

static struct job get_job(const struct judge *j)
{
    struct job job = {JOB_NONE, -1};
    int others = 0, top = 0;

    if (j->pausing || j->finishing || j->finished)
        return job;
    if ((job.trial = waiting(j, true)) >= 0) {
        job.kind = JOB_AGAIN;
        return job;
    }
    if (j->w->promote && j->w->method != SCHEDULE_PBT &&
        (job = by_rung(j, false)).kind != JOB_NONE)
        return job;
    if ((job.trial = waiting(j, false)) >= 0) {
        job.kind = JOB_FRESH;
        return job;
    }
    if (j->places < j->planned) {
        job.kind = JOB_DRAW;
        return job;
    }
    if (j->w->method == SCHEDULE_PBT) {
        job.trial = in_turn(j);
        if (job.trial >= 0)
            job.kind =
                to_be_replaced(j, &j->trials.v[job.trial]) ? JOB_DRAW : JOB_PROMOTE;
        return job;
    }
    for (size_t i = 0; i < j->trials.n; i++) {
        const struct trial_rules *t = &j->trials.v[i];

        others += t->state == TRIAL_RUNNING && !t->finalist;
        top += (t->state == TRIAL_COMPLETED && t->complete) ||
               (t->finalist && (t->state == TRIAL_RUNNING || t->state == TRIAL_WAITING));
    }
    if (j->w->promote && others == 0 && top < j->w->finalists)
        return by_rung(j, true);
    return job;
}

/* ---- each event ---- */

static void replace(struct judge *j, const struct event *ev)
{
    struct trial_rules *t = &j->trials.v[ev->drawn.replaces];
    const struct trial_rules *p = &j->trials.v[ev->drawn.parent];
    bool good = false;
    int parent;

    for (int i = 0; i < j->places; i++)
        good |= may_be_parent(j, t, i, &parent) && parent == ev->drawn.parent;
    if (ev->drawn.replaces != in_turn(j))
        wrong(j, ev, "it was another's turn");
    if (!good || p->kept != ev->drawn.source || p->kept_step != ev->drawn.start)
        wrong(j, ev, "that cannot be its parent");
    t->state = TRIAL_STOPPED;
    for (int k = t->rung + 1; k <= p->kept_rung; k++) {
        const struct record *r = counts_with(j, p->place, k);
        struct inherited one = {t->place, *r}; /* what is pushed to may move */

        if (r->rung == k)
            vec_push(&j->inherited, one);
    }
    struct trial_rules born = {.state = TRIAL_WAITING,
                               .place = t->place,
                               .parent = ev->drawn.parent,
                               .source = ev->drawn.source,
                               .saved = p->kept_step,
                               .last_step = p->kept_step,
                               .rung = p->kept_rung,
                               .promoted = p->kept_rung};

    vec_push(&j->trials, born);
}

static void on_trial(struct judge *j, const struct event *ev, struct trial_rules *none)
{
    (void)none;
    if (ev->trial != (int32_t)j->trials.n || get_job(j).kind != JOB_DRAW)
        wrong(j, ev, "no trial is to be drawn");
    if (synchronous(j) && ev->drawn.bracket != open_bracket(j))
        wrong(j, ev, "another bracket takes trials");
    if ((ev->drawn.parent >= 0) != (j->places == j->planned))
        wrong(j, ev, "it has a parent, or has none");
    if (ev->drawn.parent >= 0) {
        replace(j, ev);
        return;
    }
    vec_push(&j->trials, ((struct trial_rules){.state = TRIAL_WAITING,
                                               .bracket = ev->drawn.bracket,
                                               .place = j->places++,
                                               .parent = -1,
                                               .rung = -1,
                                               .promoted = -1}));
}

static void on_start(struct judge *j, const struct event *ev, struct trial_rules *t)
{
    struct job job = get_job(j);
    int from = job.kind == JOB_PROMOTE || job.kind == JOB_FINAL ? t->rung : -1;
    struct begun *b = begun_at(j, ev->start.nonce);

    if (job.kind == JOB_NONE || job.kind == JOB_DRAW || job.trial != ev->trial)
        wrong(j, ev, "another is to be started");
    if (t->state == TRIAL_RUNNING || ev->attempt != t->attempts + 1)
        wrong(j, ev, "it has an open attempt");
    if (++j->open > j->w->slots)
        wrong(j, ev, "more run than there are slots");
    if (from != ev->start.from)
        wrong(j, ev, "it is promoted out of another rung");
    if (from >= 0)
        t->promoted = from;
    t->finalist |= job.kind == JOB_FINAL;
    if (ev->start.start != (j->w->restart ? 0 : t->saved))
        wrong(j, ev, "it starts from another step than it has saved");
    if (ev->start.until != until_of(j, t))
        wrong(j, ev, "it is to run to another milestone");
    if (b && (b->trial != ev->trial || b->attempt != ev->attempt ||
              b->start != ev->start.start))
        wrong(j, ev, "its agent was told otherwise");
    if (b)
        b->journaled = true;
    t->state = TRIAL_RUNNING;
    t->attempts = ev->attempt;
    t->saved = t->attempt_start = ev->start.start;
    t->began_until = j->w->promote ? ev->start.until : j->w->max_t;
    t->answered = DECISION_NONE;
    t->merging = false;
    t->nonce = ev->start.nonce;
    t->last_number = 0;
    t->saves = 0;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Ray Tune's rule, with numpy's percentile, against those before the newest record. */
static enum decision decide_stop(const struct judge *j, int bracket, int rung,
                                 double value)
{
    VEC(double) y = {0};
    double q = (1 - 1 / ((double)j->w->num / j->w->den)) * 100, v, a, b, part, cutoff;
    size_t at;

    for (size_t i = 0; i + 1 < j->records.n; i++) {
        const struct record *r = &j->records.v[i];

        if (r->bracket == bracket && r->rung == rung && isfinite(r->value))
            vec_push(&y, -r->value);
    }
    if (!isfinite(value) || y.n == 0) {
        vec_free(&y);
        return isfinite(value) ? DECISION_CONTINUE : DECISION_STOP;
    }
    qsort(y.v, y.n, sizeof(y.v[0]), compare_double);
    v = (double)(y.n - 1) * (q / 100);
    at = (size_t)v;
    a = y.v[at];
    b = y.v[at + 1 < y.n ? at + 1 : at];
    part = v - (double)at;
    cutoff = part < 0.5 ? a + (b - a) * part : b - (b - a) * (1 - part);
    vec_free(&y);
    return -value < cutoff ? DECISION_STOP : DECISION_CONTINUE;
}

static enum decision at_rung(struct judge *j, struct trial_rules *t, int trial, int rung,
                             double value)
{
    enum decision d = DECISION_CONTINUE;
    struct job job;

    t->rung = rung;
    t->value = value;
    vec_push(&j->records, ((struct record){t->bracket, rung, trial, value}));
    if (!j->w->promote) {
        d = decide_stop(j, t->bracket, rung, value);
    } else if (!t->finalist) {
        t->state = TRIAL_PAUSED; /* would its own slot take it? */
        job = get_job(j);
        t->state = TRIAL_RUNNING;
        if (!j->w->in_place || job.kind == JOB_DRAW || job.trial != trial)
            d = DECISION_PAUSE;
        else
            t->finalist = job.kind == JOB_FINAL;
    }
    if (d == DECISION_CONTINUE)
        t->promoted = rung;
    return d;
}

static enum decision decide(struct judge *j, const struct event *ev,
                            struct trial_rules *t, int *rung)
{
    int64_t step = ev->report.step;
    double value = NAN;
    int k;

    *rung = -1;
    if (t->answered == DECISION_PAUSE || t->answered == DECISION_STOP)
        return t->answered;
    if (step < t->last_step || (step == t->last_step && !t->merging))
        return DECISION_CONTINUE;
    t->last_step = step;
    t->merging = true;
    if (ev->report.n_metrics == 0)
        return DECISION_CONTINUE;
    value = ev->report.metrics[0].value;
    if (step >= j->w->max_t) {
        t->complete = true;
        t->merging = false;
        return DECISION_STOP;
    }
    for (k = rungs_of(j, t->bracket) - 1; k > t->rung; k--)
        if (milestone_of(j, t->bracket, k) <= step)
            break;
    if (k <= t->rung)
        return DECISION_CONTINUE;
    *rung = k;
    t->merging = false;
    return at_rung(j, t, ev->trial, k, j->w->c.seed % 2 ? value : -value);
}

static void on_report(struct judge *j, const struct event *ev, struct trial_rules *t)
{
    struct said *s = said_at(j, t->nonce, ev->report.number);
    enum decision d;
    int rung;

    if (t->state != TRIAL_RUNNING || ev->attempt != t->attempts)
        wrong(j, ev, "that attempt is not open");
    if (ev->report.number != t->last_number + 1)
        wrong(j, ev, "a report before it is missing, or it is there twice");
    t->last_number++;
    if (!s || s->step != ev->report.step || s->metric != (ev->report.n_metrics == 1))
        wrong(j, ev, "its program said otherwise");
    if (s->metric && s->value != ev->report.metrics[0].value &&
        !(isnan(s->value) && isnan(ev->report.metrics[0].value)))
        wrong(j, ev, "its program said another value");
    d = decide(j, ev, t, &rung);
    if (t->stop_asked)
        d = DECISION_STOP;
    if (d != ev->report.decision || rung != ev->report.rung)
        wrong(j, ev, "the rules decide otherwise");
    t->answered = d;
    s->journaled = d;
}

static void on_saved(struct judge *j, const struct event *ev, struct trial_rules *t)
{
    size_t i = t->saves;

    if (t->state != TRIAL_RUNNING || ev->attempt != t->attempts)
        wrong(j, ev, "that attempt is not open");
    while (i < j->saved.n &&
           (j->saved.v[i].nonce != t->nonce || j->saved.v[i].step != ev->saved.step))
        i++;
    if (i == j->saved.n)
        wrong(j, ev, "its program did not say so, or said so before something else");
    t->saves = i + 1;
    t->saved = ev->saved.step;
}

/* Section "ends" of doc/trial-protocol.md. *saved: what an exit with 0 tells. */
static enum outcome outcome_by_rules(const struct judge *j, const struct trial_rules *t,
                                     const struct end_facts *f, int64_t *saved)
{
    bool competes = t->rung >= 0 && t->promoted < t->rung; /* for a promotion */

    *saved = -1;
    if (t->complete)
        return OUTCOME_COMPLETED;
    if (t->stop_asked || t->answered == DECISION_STOP || f->cause == CAUSE_USER_STOP)
        return OUTCOME_STOPPED;
    if (f->cause == CAUSE_NO_LAUNCH)
        return OUTCOME_LAUNCH_FAILED;
    if (f->cause == CAUSE_AGENT_GONE) /* from the third in a row on a failure */
        return t->last_number == 0 && t->lost_ends >= 2 ? OUTCOME_FAILED : OUTCOME_LOST;
    if (f->cause == CAUSE_EVICTED) /* in this world without Slurm, or by its walltime */
        return f->slurm_state.len > 0 ? OUTCOME_TIMEOUT : OUTCOME_PREEMPTED;
    if (f->cause == CAUSE_HANG)
        return OUTCOME_HUNG;
    if (f->exit_code == 0 && f->answered == DECISION_PAUSE)
        *saved = f->last_step;
    if (f->cause == CAUSE_PAUSING)
        return OUTCOME_INTERRUPTED;
    if (f->answered == DECISION_PAUSE) {
        bool ended =
            f->cause == CAUSE_AFTER_PAUSE && (j->w->restart || t->saved >= f->last_step);

        if (f->exit_code != 0 && !ended)
            return OUTCOME_FAILED;
        return competes ? OUTCOME_PAUSED : OUTCOME_INTERRUPTED;
    }
    if (f->exit_code != 0 || f->reports == 0)
        return OUTCOME_FAILED;
    if (f->last_step >= j->w->max_t || f->last_step < t->began_until || t->rung < 0 ||
        milestone_of(j, t->bracket, t->rung) < t->began_until)
        return OUTCOME_COMPLETED;
    *saved = f->last_step;
    return competes ? OUTCOME_PAUSED : OUTCOME_INTERRUPTED;
}

static void on_end(struct judge *j, const struct event *ev, struct trial_rules *t)
{
    const struct end_facts *f = &ev->end.facts;
    int64_t saved;
    enum outcome o = outcome_by_rules(j, t, f, &saved);
    bool fault = o == OUTCOME_FAILED || o == OUTCOME_HUNG;

    if (t->state != TRIAL_RUNNING || ev->attempt != t->attempts)
        wrong(j, ev, "that attempt is not open");
    if (o != ev->end.outcome || saved != ev->end.saved)
        broken(j->w,
               "by the journal of epoch %d, trial %d, attempt %d ended as %s, saved "
               "%lld; by "
               "the rules as %s, saved %lld (exit %d, %s, answered %s, last step %lld)",
               j->epoch, ev->trial, ev->attempt, outcome_name(ev->end.outcome),
               (long long)ev->end.saved, outcome_name(o), (long long)saved, f->exit_code,
               cause_name(f->cause), decision_name(f->answered), (long long)f->last_step);
    if (f->cause != CAUSE_AGENT_GONE && f->reports != t->last_number)
        wrong(j, ev, "reports before it are missing");
    if (o == OUTCOME_LOST && j->w->only_network)
        wrong(j, ev, "it is lost, and nothing was but packets");
    t->lost_ends =
        f->cause == CAUSE_AGENT_GONE && t->last_number == 0 ? t->lost_ends + 1 : 0;
    if (saved >= 0)
        t->saved = saved;
    /* walltimes that were over before anything was gained, one after another */
    t->short_ends =
        o == OUTCOME_TIMEOUT && t->saved <= t->attempt_start ? t->short_ends + 1 : 0;
    j->open--;
    if (t->complete)
        t->state = TRIAL_COMPLETED;
    else if (o == OUTCOME_STOPPED)
        t->state = TRIAL_STOPPED;
    else if (o == OUTCOME_COMPLETED)
        t->state = TRIAL_COMPLETED;
    else if ((fault && ++t->failures > j->w->retries) || t->short_ends == 2)
        t->state = TRIAL_FAILED;
    else
        t->state = t->rung >= 0 && t->promoted < t->rung ? TRIAL_PAUSED : TRIAL_WAITING;
    if (j->w->method == SCHEDULE_PBT && o == OUTCOME_PAUSED) {
        t->kept = ev->attempt;
        t->kept_rung = t->rung;
        t->kept_step = t->saved;
    }
}

static void on_stop(struct judge *j, const struct event *ev, struct trial_rules *t)
{
    if (ev->trial < 0)
        wrong(j, ev, "nobody stopped the sweep");
    if (t->state == TRIAL_RUNNING)
        t->stop_asked = true;
    else if (!closed(t))
        t->state = TRIAL_STOPPED;
}

static void on_pause(struct judge *j, const struct event *ev, struct trial_rules *none)
{
    (void)none;
    j->pausing = ev->kind == EVENT_PAUSE;
    if (!j->pausing)
        j->finished = false;
}

static void on_set(struct judge *j, const struct event *ev, struct trial_rules *none)
{
    (void)none;
    if (!slice_eq(ev->set.key, "search.trials"))
        wrong(j, ev, "nobody set that");
    j->planned = atoi(ev->set.value.p); /* a quote ends it */
}

static void on_finish(struct judge *j, const struct event *ev, struct trial_rules *none)
{
    (void)none;
    if (j->open > 0 || j->pausing || get_job(j).kind != JOB_NONE)
        wrong(j, ev, "there is something left to do");
    j->finished = true;
}

static void on_epoch(struct judge *j, const struct event *ev, struct trial_rules *none)
{
    (void)none;
    j->epoch = ev->epoch.epoch;
    while (j->lines.n <= (size_t)j->epoch)
        vec_push(&j->lines, 0);
}

static int on_event(void *ctx, const struct event *ev, struct err *e)
{
    static void (*const on[EVENT_KINDS])(struct judge *, const struct event *,
                                         struct trial_rules *) = {
        [EVENT_EPOCH] = on_epoch,   [EVENT_TRIAL] = on_trial, [EVENT_START] = on_start,
        [EVENT_REPORT] = on_report, [EVENT_SAVED] = on_saved, [EVENT_END] = on_end,
        [EVENT_STOP] = on_stop,     [EVENT_PAUSE] = on_pause, [EVENT_RESUME] = on_pause,
        [EVENT_FINISH] = on_finish, [EVENT_SET] = on_set,
    };
    struct judge *j = ctx;
    bool known = ev->trial >= 0 && (size_t)ev->trial < j->trials.n;

    (void)e;
    if (ev->trial >= 0 && !known && ev->kind != EVENT_TRIAL)
        wrong(j, ev, "no such trial");
    if (on[ev->kind])
        on[ev->kind](j, ev, known ? &j->trials.v[ev->trial] : NULL);
    j->lines.v[j->epoch]++;
    return 0;
}

/* ---- the end ---- */

static void check_promises(const struct judge *j)
{
    const struct world *w = j->w;

    for (size_t i = 0; i < j->promised.n; i++)
        if (j->promised.v[i] > (i < j->lines.n ? j->lines.v[i] : 0))
            broken(w, "of epoch %zu, %lld events were acted on, and %lld are accepted", i,
                   (long long)j->promised.v[i],
                   (long long)(i < j->lines.n ? j->lines.v[i] : 0));
    for (size_t i = 0; i < j->begun.n; i++)
        if (!j->begun.v[i].journaled)
            broken(w, "attempt %d of trial %d was begun, and is not in the journal",
                   j->begun.v[i].attempt, j->begun.v[i].trial);
    for (size_t i = 0; i < j->said.n; i++) {
        const struct said *s = &j->said.v[i];

        if (s->went_on && s->journaled != DECISION_CONTINUE)
            broken(w, "a program went on from step %lld, and the journal has '%s'",
                   (long long)s->step, decision_name(s->journaled));
    }
}

static void check_machine(struct judge *j)
{
    const struct world *w = j->w;
    struct loaded l;
    struct err e = {0};

    if (loaded_verify(&l, SWEEP_DIR, &e) != 0)
        broken(w, "the journal at the end: %s", e.text);
    if (l.replay.mismatches > 0)
        broken(w, "replay: %s", l.replay.first_mismatch);
    same(w, "the number", -1, sweep_trials(l.sw), (double)j->trials.n);
    for (int32_t i = 0; i < sweep_trials(l.sw); i++) {
        const struct trial *t = sweep_trial(l.sw, i);
        const struct trial_rules *r = &j->trials.v[i];

        same(w, "the state by the rules", i, r->state, t->state);
        same(w, "the rung by the rules", i, r->rung, t->rung);
        same(w, "the promotion by the rules", i, r->promoted, t->promoted);
        same(w, "the failures by the rules", i, r->failures, t->failures);
        same(w, "the last step by the rules", i, (double)r->last_step,
             (double)t->last_step);
        same(w, "the saved step by the rules", i, (double)r->saved, (double)t->saved);
    }
    if (!sweep_totals(l.sw)->finished)
        broken(w, "it is over, and not finished");
    loaded_close(&l);
}

void judge_end(struct world *w)
{
    struct judge *j = w->judge;
    struct journal_pos pos = {0};
    struct err e = {0};

    j->w = w;
    j->planned = w->trials;
    make_levels(j);
    if (journal_read(SWEEP_DIR, &pos, NULL, on_event, j, NULL, &e) != 0)
        broken(w, "the journal at the end: %s", e.text);
    check_promises(j);
    check_machine(j);
}
