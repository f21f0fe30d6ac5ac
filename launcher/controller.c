#include "launcher/controller.h"

#include "launcher/controller_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAUNCH_FAILURES_MAX 3

/* ---- events ---- */

struct verdict controller_happen(struct controller *c, struct event *ev)
{
    struct verdict v;
    struct err e = {0};

    ev->time = c->wall;
    if (sweep_apply(c->sw, ev, &v, &e) != 0) {
        /* A mistake of ours: what is in the journal is right, so end here. */
        c->port.say(c->ctx, e.text);
        abort();
    }
    costs_event(c->c.costs, ev, &v);
    c->port.append(c->ctx, ev, &v);
    c->urgent |= ev->kind != EVENT_REPORT;
    return v;
}

static void why_event(struct controller *c, enum event_kind kind, int32_t trial,
                      const char *reason)
{
    struct event ev = {.kind = kind, .trial = trial};

    ev.why.reason = slice_of(reason);
    controller_happen(c, &ev);
}

/* ---- pausing ---- */

static void tell_all(struct controller *c, enum item_kind kind, const char *text)
{
    for (size_t i = 0; i < c->peers.n; i++) {
        struct peer *p = &c->peers.v[i];
        struct item it = {.kind = kind};

        if (!p->known || p->gone)
            continue;
        it.why.text = slice_of(text);
        controller_send(p, &it);
    }
}

/* trouble: it pauses because something is wrong, not because somebody asked. */
static void pause_sweep(struct controller *c, const char *reason, bool trouble)
{
    const struct sweep_totals *n = sweep_totals(c->sw);

    if (controller_over(c) || n->pausing || n->finishing)
        return;
    why_event(c, EVENT_PAUSE, -1, reason);
    c->state = CONTROLLER_PAUSING;
    c->troubled = trouble;
    c->reason = mem_strdup(reason);
    tell_all(c, ITEM_PAUSE, "");
    c->port.say(c->ctx, reason);
}

/* ---- agents ---- */

struct peer *controller_peer(struct controller *c, uint64_t id)
{
    uint32_t i;

    return map_get(&c->by_id, id, &i) ? &c->peers.v[i] : NULL;
}

struct peer *controller_add_peer(struct controller *c, uint64_t id)
{
    struct peer p = {.id = id, .heard = c->now, .ends = INFINITY, .out = STR_INIT};

    map_put(&c->by_id, id, (uint32_t)c->peers.n);
    vec_push(&c->peers, p);
    return &c->peers.v[c->peers.n - 1];
}

/* Where Slurm cannot start steps now, slots try again, less and less often. What nothing
 * but a person can mend is not to go on for ever. */
static void launch_failed(struct controller *c, const struct end_facts *f)
{
    struct str text = STR_INIT;

    if (!c->port.passes || !c->port.passes(c->ctx, f->note)) {
        c->launch_failures++;
        return;
    }
    if (!c->launch_waits) {
        str_addf(&text, "nothing can be started now, and it is tried again: %.*s",
                 (int)f->note.len, f->note.p);
        c->port.say(c->ctx, text.p);
    }
    c->launch_waits = true;
    str_free(&text);
}

void controller_end_attempt(struct controller *c, int32_t trial,
                            const struct end_facts *f)
{
    struct event ev = {.kind = EVENT_END, .trial = trial};

    ev.attempt = sweep_trial(c->sw, trial)->attempts;
    ev.end.facts = *f;
    ev.end.outcome = sweep_outcome(c->sw, trial, f, &ev.end.saved);
    controller_happen(c, &ev);
    if (ev.end.outcome == OUTCOME_LAUNCH_FAILED)
        launch_failed(c, f);
    else
        c->launch_failures = 0;
    if (outcome_class(ev.end.outcome) == OUTCOME_IS_FAULT &&
        sweep_totals(c->sw)->reports == 0)
        c->barren++;
    if (c->launch_failures >= LAUNCH_FAILURES_MAX) {
        struct str why = STR_INIT;

        str_addf(&why, "the command could not be started %d times in a row: %.*s",
                 c->launch_failures, (int)f->note.len, f->note.p);
        c->launch_failures = 0;
        pause_sweep(c, why.p, true);
        str_free(&why);
    } else if (c->barren >= (c->c.file->slots > 3 ? c->c.file->slots : 3)) {
        struct str why = STR_INIT;

        str_addf(
            &why,
            "the first %d attempts all failed before a report; `rung show %d` tells how "
            "and where the log is",
            c->barren, trial);
        c->barren = 0;
        pause_sweep(c, why.p, true);
        str_free(&why);
    }
}

void controller_known(struct controller *c, const struct event *ev)
{
    struct event known = *ev;

    controller_happen(c, &known);
}

void controller_account(struct controller *c, struct event *ev)
{
    controller_happen(c, ev);
}

/* ---- handing out work ---- */

/* Has the port make the next draw, where that takes time. */
static int begin_draft(struct controller *c, struct err *e)
{
    struct draft *d;
    int rc;

    if (!c->port.draft || c->drafting)
        return 0;
    rc = draft_begin(c->sw, &d, e);
    if (d) {
        c->drafting = true;
        c->superseded = false;
        c->port.draft(c->ctx, d);
    }
    return rc;
}

void controller_drafted(struct controller *c, struct draft *d)
{
    c->drafting = false;
    if (c->superseded) {
        draft_free(d);
        return;
    }
    draft_free(c->draft);
    c->draft = d;
}

/* The event of the next trial; *wait: its draw is being made. */
static int draw(struct controller *c, struct event *ev, bool *wait, struct err *e)
{
    int rc;

    *wait = false;
    if (c->draft && sweep_draws_by_model(c->sw)) { /* or it is no model's turn any more */
        rc = draft_use(c->draft, c->sw, ev, e);
        draft_free(c->draft);
        c->draft = NULL;
        c->superseded = true;
        return rc;
    }
    rc = begin_draft(c, e);
    *wait = rc == 0 && c->drafting;
    return rc == 0 && !c->drafting ? sweep_draw(c->sw, ev, e) : rc;
}

/* sweep_next(), drawing when a new trial is due. WORK_DRAW: that is being done. */
static struct work next_work(struct controller *c)
{
    struct work w = sweep_next(c->sw);

    while (w.kind == WORK_DRAW) {
        struct event ev;
        struct err e = {0};
        bool wait;
        int rc = draw(c, &ev, &wait, &e);

        if (rc != 0 && rc != ERR_NOENT) {
            pause_sweep(c, e.text, true);
            return sweep_next(c->sw);
        }
        if (wait)
            return w;
        controller_happen(c, &ev);
        w = sweep_next(c->sw);
    }
    return w;
}

/* While slots are busy: the next draw is made with all that is known. What goes wrong is
 * told when it is wanted. */
static void draw_ahead(struct controller *c, const struct work *next)
{
    if (next->kind == WORK_DRAW && (!c->draft || draft_is_old(c->draft, c->sw)))
        begin_draft(c, NULL);
}

static void hand_out(struct controller *c, struct peer *p, int32_t slot,
                     const struct work *w)
{
    struct {
        uint64_t agent;
        int32_t epoch, trial, attempt, ask;
    } unique = {p->id, c->c.epoch, w->trial, 0, (int32_t)p->slots[slot].ask};
    struct event ev;

    sweep_start_event(c->sw, w, &ev);
    unique.attempt = ev.attempt;
    ev.start.nonce = hash64(&unique, sizeof(unique));
    ev.start.agent = p->id;
    ev.start.slot = slot;
    ev.start.ask = p->slots[slot].ask;
    p->slots[slot].parked = false;
    p->slots[slot].served = p->slots[slot].ask;
    p->slots[slot].step = controller_as_step(c, w);
    p->slots[slot].paced_elapsed = 0;
    controller_happen(c, &ev);
    controller_send_work(c, p, slot, w->trial);
}

void controller_retire(struct controller *c, struct peer *p, int32_t slot)
{
    struct item it = {.kind = ITEM_RETIRE};

    if (!p->slots[slot].retired) {
        p->slots[slot].retired = true;
        p->held--;
        c->slots_held--;
    }
    p->slots[slot].parked = false;
    it.ask.slot = slot;
    it.ask.ask = p->slots[slot].ask;
    controller_send(p, &it);
}

/* Serves parked slots in the order they asked; what is left stays in order. Attempts of
 * agents that were not heard of yet in this epoch count, too: more than `slots` never
 * run. */
static void serve(struct controller *c)
{
    struct work w = {.kind = WORK_TRIAL};
    size_t kept = 0;

    for (size_t i = 0; i < c->parked.n; i++) {
        struct parked at = c->parked.v[i];
        struct peer *p = &c->peers.v[at.peer];
        struct slot *s;

        if (p->gone || at.slot >= p->n_slots || !p->slots[at.slot].parked)
            continue;
        s = &p->slots[at.slot];
        if (c->slots_held > c->c.file->slots) {
            controller_retire(c, p, at.slot);
            continue;
        }
        if (s->not_before > c->now || controller_launch_due(c) > c->now ||
            sweep_totals(c->sw)->open >= c->c.file->slots) {
            c->parked.v[kept++] = at;
            continue;
        }
        if (w.kind == WORK_TRIAL) /* else there is none for anybody */
            w = next_work(c);
        if (w.kind == WORK_TRIAL && controller_fits(c, p, at.slot, &w))
            hand_out(c, p, at.slot, &w);
        else if (w.kind == WORK_TRIAL)
            controller_retire(c, p, at.slot);
        else if (!c->c.keeps_idle && w.kind == WORK_WAIT &&
                 c->now - s->since > c->c.file->idle)
            controller_retire(c, p, at.slot);
        else
            c->parked.v[kept++] = at;
    }
    c->parked.n = kept;
}

/* ---- what people ask ---- */

static void kill_all(struct controller *c, enum end_cause cause)
{
    for (int32_t t = 0; t < sweep_trials(c->sw); t++) {
        if (sweep_trial(c->sw, t)->state == TRIAL_RUNNING)
            controller_kill(c, t, cause);
    }
}

void controller_stop(struct controller *c, int32_t trial, const char *reason)
{
    if (controller_over(c) || (trial >= 0 && trial >= sweep_trials(c->sw)))
        return;
    why_event(c, EVENT_STOP, trial, reason);
    if (trial < 0)
        kill_all(c, CAUSE_USER_STOP);
    else if (sweep_trial(c->sw, trial)->state == TRIAL_RUNNING)
        controller_kill(c, trial, CAUSE_USER_STOP);
}

void controller_pause(struct controller *c, const char *reason)
{
    pause_sweep(c, reason, false);
}

void controller_trouble(struct controller *c, const char *reason)
{
    pause_sweep(c, reason, true);
}

void controller_interrupt(struct controller *c)
{
    c->interrupting = true;
    kill_all(c, CAUSE_PAUSING);
}

void controller_resume(struct controller *c, const char *reason)
{
    why_event(c, EVENT_RESUME, -1, reason);
    c->state = CONTROLLER_RUNNING;
    c->troubled = c->interrupting = false;
    free(c->reason);
    c->reason = NULL;
}

int controller_set(struct controller *c, const char *key, const char *value,
                   struct err *e)
{
    struct event ev = {.kind = EVENT_SET, .trial = -1};
    int rc = sweepfile_set(c->c.file, key, value, e);

    if (rc != 0)
        return rc;
    ev.set.key = slice_of(key);
    ev.set.value = slice_of(value);
    controller_happen(c, &ev);
    return 0;
}

/* ---- stop: conditions ---- */

static bool reached(bool set, bool met, struct str *why, const char *name, double limit)
{
    if (!set || !met)
        return false;
    str_addf(why, "stop.%s (%g) is reached; go on with `rung resume --set stop.%s=...`",
             name, limit, name);
    return true;
}

static void check_stop_rules(struct controller *c)
{
    const struct stop_rules *s = &c->c.file->stop;
    const struct sweep_totals *n = sweep_totals(c->sw);
    int64_t over =
        n->state[TRIAL_COMPLETED] + n->state[TRIAL_STOPPED] + n->state[TRIAL_FAILED];
    double best = n->best >= 0 ? sweep_trial(c->sw, n->best)->best.v[0] : NAN;
    bool good =
        sweep_spec(c->sw)->objective[0].maximize ? best >= s->metric : best <= s->metric;
    struct str why = STR_INIT;

    if (c->state == CONTROLLER_RUNNING && !n->finishing &&
        (reached(s->time > 0, c->c.uptime_before + c->now - c->began >= s->time, &why,
                 "time", s->time) ||
         reached(s->trials > 0, over >= s->trials, &why, "trials", (double)s->trials) ||
         reached(s->has_metric, good, &why, "metric", s->metric) ||
         reached(s->cpu_hours > 0, c->spent.cpus / 3600 >= s->cpu_hours, &why,
                 "cpu_hours", s->cpu_hours) ||
         reached(s->gpu_hours > 0, c->spent.gpus / 3600 >= s->gpu_hours, &why,
                 "gpu_hours", s->gpu_hours) ||
         reached(s->node_hours > 0, c->spent.nodes / 3600 >= s->node_hours, &why,
                 "node_hours", s->node_hours) ||
         reached(s->plateau > 0, n->plateau >= s->plateau, &why, "plateau.trials",
                 (double)s->plateau)))
        controller_pause(c, why.p);
    str_free(&why);
}

/* ---- the end ---- */

bool controller_over(const struct controller *c)
{
    return c->state == CONTROLLER_PAUSED || c->state == CONTROLLER_FINISHED;
}

static void check_end(struct controller *c, const struct work *next)
{
    const struct sweep_totals *n = sweep_totals(c->sw);

    if (controller_over(c) || next->kind != WORK_DONE || n->open > 0)
        return;
    if (n->pausing && !n->finishing) {
        c->state = CONTROLLER_PAUSED;
    } else {
        c->state = CONTROLLER_FINISHED;
        if (!n->finished)
            why_event(c, EVENT_FINISH, -1,
                      n->finishing ? "stopped" : "all trials are done");
    }
    c->over_since = c->now;
    tell_all(c, ITEM_BYE, c->reason ? c->reason : "the sweep is over");
}

bool controller_done(const struct controller *c)
{
    if (!controller_over(c))
        return false;
    if (c->now - c->over_since > c->c.timers.s[TIMER_FAREWELL])
        return true;
    for (size_t i = 0; i < c->peers.n; i++) {
        if (c->peers.v[i].known && !c->peers.v[i].gone)
            return false;
    }
    return true;
}

/* ---- the whole ---- */

static void expect_orphans(struct controller *c)
{
    for (int32_t i = 0; i < sweep_trials(c->sw); i++) {
        const struct trial *t = sweep_trial(c->sw, i);

        if (t->state == TRIAL_RUNNING && !controller_peer(c, t->agent))
            controller_expect(c, t->agent, "", "", t->slot + 1);
    }
}

struct controller *controller_new(const struct controller_config *config,
                                  const struct controller_port *port, void *ctx,
                                  double now)
{
    struct controller *c = mem_alloc(sizeof(*c));

    c->c = *config;
    c->port = *port;
    c->ctx = ctx;
    c->now = c->began = now;
    c->sw = config->sw;
    c->packet = packet_new();
    c->text = (struct str)STR_INIT;
    c->launches_at = -INFINITY;
    if (sweep_totals(c->sw)->pausing)
        c->state = CONTROLLER_PAUSING;
    return c;
}

void controller_free(struct controller *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->peers.n; i++) {
        free(c->peers.v[i].job);
        free(c->peers.v[i].host);
        free(c->peers.v[i].slots);
        str_free(&c->peers.v[i].out);
    }
    for (size_t i = 0; i < c->pending.n; i++)
        free(c->pending.v[i].job);
    vec_free(&c->peers);
    vec_free(&c->parked);
    vec_free(&c->pending);
    for (size_t i = 0; i < c->bad_nodes.n; i++)
        free(c->bad_nodes.v[i].name);
    vec_free(&c->bad_nodes);
    map_free(&c->by_id);
    packet_free(c->packet);
    draft_free(c->draft);
    str_free(&c->text);
    free(c->refusal);
    free(c->reason);
    free(c);
}

void controller_clock(struct controller *c, double now, double wall)
{
    c->now = now;
    c->wall = wall;
}

void controller_tick(struct controller *c)
{
    struct work next;

    if (c->next_check == 0)
        expect_orphans(c);
    if (c->now >= c->next_check) {
        c->next_check = c->now + c->c.timers.s[TIMER_LOOK];
        controller_look(c);
        c->spent = costs_total(c->c.costs, c->wall);
    }
    check_stop_rules(c);
    serve(c);
    next = sweep_next(c->sw);
    check_end(c, &next);
    if (!controller_over(c))
        controller_want_jobs(c, &next);
    draw_ahead(c, &next);
}

double controller_deadline(const struct controller *c)
{
    double at = c->next_check;

    for (size_t i = 0; i < c->parked.n; i++) {
        const struct parked *k = &c->parked.v[i];
        double t =
            fmax(c->peers.v[k->peer].slots[k->slot].not_before, controller_launch_due(c));

        if (t > c->now && t < at)
            at = t;
    }
    return at;
}

bool controller_urgent(const struct controller *c)
{
    for (size_t i = 0; i < c->peers.n; i++) {
        if (c->peers.v[i].out.len > 0)
            return true;
    }
    return c->urgent;
}

enum controller_state controller_state(const struct controller *c)
{
    return c->state;
}

const char *controller_reason(const struct controller *c)
{
    return c->reason ? c->reason : "";
}

bool controller_troubled(const struct controller *c)
{
    return c->troubled;
}

int64_t controller_steps(const struct controller *c)
{
    return c->steps_begun;
}

const char *controller_refusal(const struct controller *c)
{
    return c->refusals > 0 ? c->refusal : "";
}

int controller_slots(const struct controller *c)
{
    return c->slots_held;
}

void controller_jobs(const struct controller *c, void (*fn)(void *ctx, const char *job),
                     void *ctx)
{
    for (size_t i = 0; i < c->peers.n; i++) {
        if (!c->peers.v[i].gone && c->peers.v[i].job)
            fn(ctx, c->peers.v[i].job);
    }
    for (size_t i = 0; i < c->pending.n; i++)
        fn(ctx, c->pending.v[i].job);
}
