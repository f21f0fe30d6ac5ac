/* One slot and the attempt in it.
 *
 * Below its milestone a report is answered here and now. At the milestone it is the
 * controller that decides: the asker waits in slot.waiting, and behind it all that
 * comes meanwhile, so that answers keep the order of the lines. The decision on report
 * n is the one in force for all before it; so it is enough to repeat the newest report
 * that waits, and every asker that needs no more than n is answered.
 *
 * Pause and stop are final: once the program was told, it gets the same again, and what
 * the controller may still decide about this attempt is for the next one. */
#include "worker/agent/agent_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 256 /* lines of one attempt that wait at once */

/* ---- asking for work ---- */

/* Is there too little time for another attempt? A first one is always made: else a job
 * whose time is short would leave and be asked for again for ever. */
static bool time_is_short(const struct agent *a, const struct slot *s)
{
    return a->c.ends > 0 && s->made > 0 && a->now >= a->c.ends - a->save_ahead;
}

void slot_close(struct slot *s)
{
    s->retired = false;
    if (s->state != SLOT_RUNNING)
        s->state = SLOT_CLOSED;
}

void slot_ask(struct agent *a, struct slot *s)
{
    if (a->closing || time_is_short(a, s) ||
        (a->c.trials_per_job > 0 && s->made >= a->c.trials_per_job)) {
        slot_close(s);
        return;
    }
    struct item it = {.kind = ITEM_ASK};
    it.ask.slot = slot_index(a, s);
    it.ask.ask = ++s->ask;
    s->state = SLOT_ASKING;
    s->ask_item = agent_put(a, &it);
    s->ask_due = a->now + a->c.timers.s[TIMER_RESEND];
}

double slot_ask_due(const struct agent *a, const struct slot *s)
{
    bool again = s->state == SLOT_ASKING && s->ask_item < outbox_oldest(a->outbox);
    return again ? s->ask_due : INFINITY;
}

/* Work that this slot will not do: what was done for an older ask has said its end before
 * this, and what was never begun must not seem to run here. */
static void decline(struct agent *a, const struct item *it)
{
    struct item no = {.kind = ITEM_END};
    no.end.trial = it->work.trial;
    no.end.attempt = it->work.attempt;
    no.end.nonce = it->work.nonce;
    no.end.facts = (struct end_facts){.exit_code = -1,
                                      .cause = CAUSE_AGENT_GONE,
                                      .started = NAN,
                                      .ended = NAN,
                                      USAGE_UNKNOWN,
                                      .note = SLICE("the slot did not ask for it")};
    agent_put(a, &no);
}

void slot_work(struct agent *a, struct slot *s, const struct item *it)
{
    if (s->state == SLOT_RUNNING && s->at.id.nonce == it->work.nonce)
        return;
    bool free = s->state == SLOT_ASKING || (s->state == SLOT_CLOSED && s->retired);
    if (it->work.ask != s->ask || !free) {
        decline(a, it);
        return;
    }
    s->at = (struct attempt){.id = {.trial = it->work.trial,
                                    .attempt = it->work.attempt,
                                    .slot = slot_index(a, s),
                                    .nonce = it->work.nonce},
                             .began = a->now,
                             .heard = a->now,
                             .until = it->work.until,
                             .checkpoint = -1,
                             .stay_from = INFINITY,
                             .save_step = -1};
    s->state = SLOT_RUNNING;
    slot_time(a, s);
    s->retired = false;
    s->made++;
    s->waiting.n = 0;
    s->at.copying = !a->port.start(a->ctx, slot_index(a, s), it);
}

void slot_started(const struct agent *a, struct slot *s)
{
    s->at.copying = false;
    s->at.heard = a->now;
}

/* ---- ending an attempt ---- */

void slot_end(struct agent *a, struct slot *s, enum end_cause cause)
{
    struct attempt *at = &s->at;
    bool stayed = cause == CAUSE_AFTER_PAUSE || cause == CAUSE_AFTER_STOP;
    if (at->ending)
        return;
    at->ending = true;
    if (!stayed || at->cause == CAUSE_NOTHING) /* told to pause because the sweep does */
        at->cause = cause;
    a->port.end(a->ctx, slot_index(a, s));
}

static enum end_cause after(enum decision d)
{
    return d == DECISION_PAUSE ? CAUSE_AFTER_PAUSE : CAUSE_AFTER_STOP;
}

void slot_ended(struct agent *a, struct slot *s, const struct end_facts *facts)
{
    const struct attempt *at = &s->at;
    struct item it = {.kind = ITEM_END};
    it.end.trial = at->id.trial;
    it.end.attempt = at->id.attempt;
    it.end.nonce = at->id.nonce;
    it.end.facts = *facts;
    if (at->cause != CAUSE_NOTHING)
        it.end.facts.cause = at->cause;
    if (it.end.facts.cause == CAUSE_EVICTED && a->c.ends > 0 &&
        a->now > a->c.ends - a->c.timers.s[TIMER_WALLTIME])
        it.end.facts.slurm_state = SLICE("TIMEOUT");
    /* The kernel counts for all slots of a job together, but for a step alone: where the
     * program ended well, it was another's process that had no memory. */
    if (facts->exit_code == 0 && a->c.slots > 1 && facts->slurm_step.len == 0)
        it.end.facts.oom = false;
    it.end.facts.answered = at->answered;
    /* what it reports after it was told to pause is not where it paused */
    it.end.facts.last_step =
        at->answered == DECISION_PAUSE ? at->final_step : at->last_step;
    it.end.facts.reports = at->reports;
    agent_put(a, &it);
    s->waiting.n = 0;
    s->state = a->closing ? SLOT_CLOSED : SLOT_FREE;
}

/* ---- checkpoints ---- */

void slot_time(const struct agent *a, struct slot *s)
{
    bool bound = a->c.ends > 0 && !a->c.restart;
    s->at.save_due = bound ? fmax(a->now, a->c.ends - a->save_ahead) : INFINITY;
}

static void want_save(struct agent *a, struct slot *s)
{
    if (a->c.restart || s->at.ending || is_final(s->at.answered))
        return;
    s->at.save_wanted = true;
    if (a->port.save)
        a->port.save(a->ctx, slot_index(a, s));
}

void slot_pause(struct agent *a, struct slot *s)
{
    if (s->state != SLOT_RUNNING || s->at.pausing)
        return;
    s->at.pausing = true;
    s->at.save_step = -1;
    if (s->at.copying) /* there is nothing to save */
        slot_end(a, s, CAUSE_PAUSING);
    else if (!a->c.promote)
        want_save(a, s);
}

/* The program is to go on, after a report: is it to save, with that? In a sweep that
 * pauses it goes on only until it has. */
static bool tell_save(struct agent *a, struct slot *s, bool *over)
{
    struct attempt *at = &s->at;
    bool fresh = at->checkpoint >= at->last_step;
    *over = at->pausing && !a->c.promote &&
            (fresh || a->c.printed || a->c.restart || at->save_step >= 0);
    bool save = at->save_wanted && !fresh && !*over;
    at->save_wanted = false;
    if (save && at->pausing) {
        at->save_step = at->last_step;
        at->stay_from = a->now;
    }
    return save;
}

/* ---- telling the program ---- */

/* to: NULL for nobody in particular. */
static void tell(struct agent *a, struct slot *s, const struct asker *to, enum decision d)
{
    struct attempt *at = &s->at;
    bool save = false, over = false, first = !is_final(at->answered);
    if (first && d == DECISION_CONTINUE && to && to->report) {
        if (at->pausing && a->c.promote) {
            d = DECISION_PAUSE;
            at->cause = at->cause == CAUSE_NOTHING ? CAUSE_PAUSING : at->cause;
        } else {
            save = tell_save(a, s, &over);
        }
    }
    at->answered = d;
    at->heard = a->now;
    if (is_final(d) && first) {
        at->late = DECISION_NONE;
        at->final_step = at->last_step;
        at->stay_from = a->now;
    }
    if (to && to->conn) {
        bool known = d == DECISION_CONTINUE && at->until > at->last_step;
        str_cut(&a->reply, 0);
        trial_answer(&a->reply, d, known ? at->until : -1, save);
        a->port.reply(a->ctx, slot_index(a, s), to->conn, a->reply.p, a->reply.len);
    }
    if (over)
        slot_end(a, s, CAUSE_PAUSING);
    else if (is_final(d) && a->c.printed)
        slot_end(a, s, after(d));
}

/* Answers those who wait and need no decision beyond that on report `number`; all of
 * them, once a decision is final. */
static void resolve(struct agent *a, struct slot *s, uint32_t number, enum decision d)
{
    size_t n = 0;
    for (; n < s->waiting.n; n++) {
        enum decision in_force = is_final(s->at.answered) ? s->at.answered : d;
        if (s->waiting.v[n].needs > number && !is_final(in_force))
            break;
        tell(a, s, &s->waiting.v[n], in_force);
    }
    if (n == 0)
        return;
    s->waiting.n -= n;
    memmove(s->waiting.v, s->waiting.v + n, s->waiting.n * sizeof(*s->waiting.v));
}

void slot_answer(struct agent *a, struct slot *s, const struct item *it)
{
    struct attempt *at = &s->at;
    uint32_t number = it->answer.number;
    if (number <= at->decided || number > at->reports)
        return;
    at->decided = number;
    if (is_final(at->answered))
        return;
    if (it->answer.decision == DECISION_CONTINUE)
        at->until = it->answer.until;
    else
        at->late = it->answer.decision;
    resolve(a, s, number, it->answer.decision);
    if (is_final(at->late) && a->c.printed)
        tell(a, s, NULL, at->late);
}

/* ---- lines of the program ---- */

static void refuse_line(struct agent *a, struct slot *s, uint64_t conn, const char *why)
{
    str_cut(&a->reply, 0);
    trial_answer_error(&a->reply, why);
    a->port.reply(a->ctx, slot_index(a, s), conn, a->reply.p, a->reply.len);
}

/* Sends a report on its way; true when it is the controller's to answer. */
static bool put_report(struct agent *a, struct slot *s, int64_t step,
                       const struct metric metrics[], int n)
{
    struct attempt *at = &s->at;
    bool asks = step >= at->until && !is_final(at->answered) && !is_final(at->late);
    struct item it = {.kind = ITEM_REPORT};
    it.report.trial = at->id.trial;
    it.report.attempt = at->id.attempt;
    it.report.nonce = at->id.nonce;
    it.report.number = ++at->reports;
    it.report.step = step;
    it.report.elapsed = a->now - at->began;
    it.report.wait = asks;
    it.report.metrics = metrics;
    it.report.n_metrics = n;
    uint64_t number = agent_put(a, &it);
    if (step > at->last_step)
        at->last_step = step;
    if (asks) {
        at->asked = at->reports;
        str_cut(&s->line, 0);
        item_encode(&it, &s->line);
        s->line_item = number;
        s->line_due = a->now + a->c.timers.s[TIMER_RESEND];
    }
    return asks;
}

double slot_line_due(const struct agent *a, const struct slot *s)
{
    const struct attempt *at = &s->at;
    bool again = s->state == SLOT_RUNNING && at->asked > at->decided &&
                 !is_final(at->answered) && s->line_item < outbox_oldest(a->outbox);
    return again ? s->line_due : INFINITY;
}

static void put_saved(struct agent *a, struct slot *s, int64_t step)
{
    struct attempt *at = &s->at;
    struct item it = {.kind = ITEM_SAVED};
    it.saved.trial = at->id.trial;
    it.saved.attempt = at->id.attempt;
    it.saved.nonce = at->id.nonce;
    it.saved.number = ++at->saves;
    it.saved.step = step;
    if (a->port.saved)
        a->port.saved(a->ctx, slot_index(a, s));
    agent_put(a, &it);
    if (step > at->checkpoint)
        at->checkpoint = step;
}

static void wait_for_decision(struct agent *a, struct slot *s, struct asker to)
{
    to.needs = s->at.asked;
    to.since = a->now;
    struct asker *last = s->waiting.n > 0 ? &s->waiting.v[s->waiting.n - 1] : NULL;
    if (!to.conn && last && !last->conn)
        last->needs = to.needs; /* nobody is told: the newest stands for all */
    else
        vec_push(&s->waiting, to);
}

/* What a controller would say at max_t is known, and no other. */
static enum decision decide_alone(const struct agent *a, const struct attempt *at)
{
    if (a->c.max_t > 0 && at->last_step >= a->c.max_t)
        return DECISION_STOP;
    return a->c.promote ? DECISION_PAUSE : DECISION_CONTINUE;
}

/* What was said is on its way; the program wants to know what to do. step: of a report,
 * else -1. */
static void respond(struct agent *a, struct slot *s, struct asker to, int64_t step,
                    bool asks)
{
    struct attempt *at = &s->at;
    bool stays = is_final(at->answered) && step > at->final_step;
    if (at->alone && !agent_lost_controller(a, a->now))
        at->alone = false;
    if (is_final(at->answered))
        tell(a, s, &to, at->answered);
    else if (is_final(at->late))
        tell(a, s, &to, at->late);
    else if (s->waiting.n > 0 || (asks && !at->alone))
        wait_for_decision(a, s, to);
    else
        tell(a, s, &to, at->alone ? decide_alone(a, at) : DECISION_CONTINUE);
    if (stays)
        slot_end(a, s, after(at->answered));
}

/* A sweep that pauses has waited for this checkpoint. */
static void end_if_saved(struct agent *a, struct slot *s)
{
    const struct attempt *at = &s->at;
    int64_t wanted = at->save_step >= 0 ? at->save_step : at->last_step;
    if (at->pausing && !a->c.promote && !is_final(at->answered) &&
        at->checkpoint >= wanted)
        slot_end(a, s, CAUSE_PAUSING);
}

void slot_line(struct agent *a, struct slot *s, uint64_t conn, const char *text, size_t n)
{
    struct trial_line *line = &a->line;
    struct err e;
    if (trial_line_parse(text, n, line, &e) != 0) {
        refuse_line(a, s, conn, e.text);
        return;
    }
    if (s->state != SLOT_RUNNING) {
        refuse_line(a, s, conn, "no attempt runs in this slot");
        return;
    }
    if (s->waiting.n >= WAITING_MAX) {
        refuse_line(a, s, conn, "too many lines wait for a decision");
        return;
    }
    bool asks = false;
    s->at.heard = a->now;
    if (line->report)
        asks = put_report(a, s, line->step, line->metrics.v, (int)line->metrics.n);
    if (line->saved)
        put_saved(a, s, line->saved_step);
    respond(a, s, (struct asker){.conn = conn, .report = line->report},
            line->report ? line->step : -1, asks);
    if (line->saved && s->waiting.n == 0)
        end_if_saved(a, s);
}

void slot_printed(struct agent *a, struct slot *s, int64_t step,
                  const struct metric metrics[], int n)
{
    if (s->state != SLOT_RUNNING)
        return;
    s->at.heard = a->now;
    bool asks = put_report(a, s, step, metrics, n);
    respond(a, s, (struct asker){.report = true}, step, asks);
}

/* ---- timers ---- */

static double stay(const struct agent *a)
{
    return a->c.timeout > 0 ? a->c.timeout : a->c.timers.s[TIMER_STAY];
}

static double hang_due(const struct agent *a, const struct slot *s)
{
    const struct attempt *at = &s->at;
    bool bound = a->c.timeout > 0 && !at->copying && !at->ending &&
                 !is_final(at->answered) && s->waiting.n == 0 && !agent_choked(a);
    return bound ? at->heard + a->c.timeout : INFINITY;
}

static double stay_due(const struct agent *a, const struct slot *s)
{
    return s->at.ending ? INFINITY : s->at.stay_from + stay(a);
}

/* When whoever waits waits no longer: only without a controller. */
static double decision_due(const struct agent *a, const struct slot *s)
{
    if (s->waiting.n == 0)
        return INFINITY;
    return fmax(s->waiting.v[0].since + a->c.timers.s[TIMER_DECISION],
                a->heard + a->c.timers.s[TIMER_CONTROLLER_SILENT]);
}

static double save_due(const struct slot *s)
{
    return s->at.ending || is_final(s->at.answered) ? INFINITY : s->at.save_due;
}

double slot_deadline(const struct agent *a, const struct slot *s)
{
    double due = a->welcomed ? fmin(slot_ask_due(a, s), slot_line_due(a, s)) : INFINITY;
    if (s->state != SLOT_RUNNING)
        return due;
    due = fmin(due, fmin(hang_due(a, s), stay_due(a, s)));
    return fmin(due, fmin(decision_due(a, s), save_due(s)));
}

void slot_welcomed(struct agent *a, struct slot *s)
{
    uint64_t oldest = outbox_oldest(a->outbox);
    double later = a->now + a->c.timers.s[TIMER_RESEND];
    s->ask_due = s->ask_item < oldest ? a->now : later;
    s->line_due = s->line_item < oldest ? a->now : later;
}

void slot_slept(struct agent *a, struct slot *s, double seconds)
{
    s->at.heard = fmin(a->now, s->at.heard + seconds);
    s->at.stay_from += seconds; /* INFINITY stays what it is */
    for (size_t i = 0; i < s->waiting.n; i++)
        s->waiting.v[i].since = fmin(a->now, s->waiting.v[i].since + seconds);
}

void slot_tick(struct agent *a, struct slot *s)
{
    struct attempt *at = &s->at;
    if (s->state == SLOT_FREE)
        slot_ask(a, s);
    else if (s->state == SLOT_ASKING && time_is_short(a, s))
        slot_close(s);
    if (s->state != SLOT_RUNNING)
        return;
    if (decision_due(a, s) <= a->now) {
        at->alone = !a->c.promote;
        resolve(a, s, UINT32_MAX, decide_alone(a, at));
    }
    if (save_due(s) <= a->now) {
        double left = a->c.ends - a->now;
        at->save_due = left > 1 ? a->now + left / 2 : INFINITY;
        want_save(a, s);
    }
    if (hang_due(a, s) <= a->now)
        slot_end(a, s, CAUSE_HANG);
    if (stay_due(a, s) <= a->now)
        slot_end(a, s, is_final(at->answered) ? after(at->answered) : CAUSE_PAUSING);
}
