/* The agent and its side of the protocol (doc/protocol.md).
 *
 * What happens goes in through agent_controller(), agent_packet(), agent_line() and
 * their like, which change the state and call the port for what concerns programs.
 * Packets leave in agent_tick() alone, which also holds all timers. Each timer is one
 * function that says when it is due, asked by agent_tick() and by agent_deadline(), so
 * that the two cannot differ. */
#include "worker/agent/agent_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PACKET_BYTES 65536 /* items go out in packets of about this size */
#define CHOKE_ITEMS  20000 /* unacknowledged */
#define CHOKE_BYTES  8000000

static double timer(const struct agent *a, int which)
{
    return a->c.timers.s[which];
}

/* How long before the end of the job's time checkpoints are asked for. */
static void set_ends(struct agent *a, double ends)
{
    a->c.ends = ends;
    a->save_ahead = fmin(timer(a, TIMER_SAVE), fmax(0, ends - a->began) / 10);
    for (int i = 0; i < a->c.slots; i++)
        slot_time(a, &a->slots[i]);
}

struct agent *agent_new(const struct agent_config *c, const struct agent_port *port,
                        void *ctx, double now)
{
    struct agent *a = mem_alloc(sizeof(*a));
    a->c = *c;
    a->port = *port;
    a->ctx = ctx;
    a->now = a->began = a->heard = a->ticked = now;
    a->due = INFINITY;
    a->dirty = true;
    a->slots = mem_alloc((size_t)c->slots * sizeof(*a->slots));
    for (int i = 0; i < c->slots; i++)
        a->slots[i].line = (struct str)STR_INIT;
    set_ends(a, c->ends);
    a->outbox = outbox_new();
    a->gather_due = INFINITY;
    a->packet = packet_new();
    a->out = a->reply = a->line.names = (struct str)STR_INIT;
    return a;
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    for (int i = 0; i < a->c.slots; i++) {
        vec_free(&a->slots[i].waiting);
        str_free(&a->slots[i].line);
    }
    free(a->slots);
    outbox_free(a->outbox);
    packet_free(a->packet);
    str_free(&a->out);
    str_free(&a->reply);
    trial_line_free(&a->line);
    vec_free(&a->open);
    vec_free(&a->gpus);
    free(a->why);
    free(a);
}

/* ---- looking ---- */

static double silent_due(const struct agent *a)
{
    return a->heard + timer(a, TIMER_CONTROLLER_SILENT);
}

bool agent_lost_controller(const struct agent *a, double now)
{
    return a->epoch == 0 || now >= silent_due(a);
}

bool agent_choked(const struct agent *a)
{
    return outbox_unacked(a->outbox) > CHOKE_ITEMS ||
           outbox_bytes(a->outbox) > CHOKE_BYTES;
}

const struct open_attempt *agent_open(const struct agent *a, int slot)
{
    bool running = slot >= 0 && slot < a->c.slots && a->slots[slot].state == SLOT_RUNNING;
    return running ? &a->slots[slot].at.id : NULL;
}

static bool in_state(const struct agent *a, enum slot_state state)
{
    for (int i = 0; i < a->c.slots; i++)
        if (a->slots[i].state == state)
            return true;
    return false;
}

static bool all_closed(const struct agent *a)
{
    for (int i = 0; i < a->c.slots; i++)
        if (a->slots[i].state != SLOT_CLOSED)
            return false;
    return true;
}

/* ---- the outbox ---- */

uint64_t agent_put(struct agent *a, const struct item *it)
{
    bool waits = it->kind != ITEM_REPORT || it->report.wait;
    a->gather_due = fmin(a->gather_due, a->now + (waits ? 0 : timer(a, TIMER_GATHER)));
    return outbox_put(a->outbox, it);
}

static void send_once_more(struct agent *a)
{
    outbox_rewind(a->outbox);
    a->gather_due = a->now;
}

/* ---- leaving ---- */

static void set_why(struct agent *a, struct slice why)
{
    free(a->why);
    a->why = mem_strndup(why.p, why.len);
}

/* Ends what runs and begins nothing any more. */
static void close_all(struct agent *a, enum end_cause cause, struct slice why)
{
    a->closing = true;
    set_why(a, why);
    for (int i = 0; i < a->c.slots; i++) {
        slot_close(&a->slots[i]);
        if (a->slots[i].state == SLOT_RUNNING)
            slot_end(a, &a->slots[i], cause);
    }
}

static void quit(struct agent *a, int status, const char *why)
{
    a->done = true;
    a->port.quit(a->ctx, status, why);
}

static void leave(struct agent *a)
{
    int bound = a->sent_away ? TIMER_RESEND
                : a->evicted ? TIMER_CONTROLLER_SILENT
                             : TIMER_ORPHAN;
    struct item it = {.kind = ITEM_LEAVE};
    if (!a->why)
        set_why(a, SLICE("its slots have nothing more to do"));
    it.why.text = slice_of(a->why);
    it.why.evicted = a->evicted;
    agent_put(a, &it);
    a->leaving = true;
    a->leave_until =
        a->now + (a->epoch > 0 ? timer(a, bound) : 0); /* nobody to hear it */
}

static double orphan_due(const struct agent *a)
{
    return in_state(a, SLOT_RUNNING) ? INFINITY : a->heard + timer(a, TIMER_ORPHAN);
}

static double leave_due(const struct agent *a)
{
    return a->leaving ? a->leave_until : INFINITY;
}

/* Leaves, step by step, when there is nothing more to do. */
static void tick_leaving(struct agent *a)
{
    bool closed = all_closed(a);
    if (closed && !a->leaving && !a->refused)
        leave(a);
    if (closed && a->refused)
        quit(a, 1, a->why);
    else if (a->leaving && (outbox_unacked(a->outbox) == 0 || leave_due(a) <= a->now))
        quit(a, 0, a->why);
    else if (orphan_due(a) <= a->now)
        quit(a, 0, "no controller was heard of any more");
}

/* ---- what the controller says ---- */

static struct slot *find_attempt(struct agent *a, int32_t trial, int32_t attempt)
{
    for (int i = 0; i < a->c.slots; i++) {
        struct slot *s = &a->slots[i];
        if (s->state == SLOT_RUNNING && s->at.id.trial == trial &&
            s->at.id.attempt == attempt)
            return s;
    }
    return NULL;
}

static struct slot *find_slot(struct agent *a, int32_t slot)
{
    return slot >= 0 && slot < a->c.slots ? &a->slots[slot] : NULL;
}

static void hear_who(struct agent *a, const struct item *it)
{
    (void)it;
    a->welcomed = false;
    a->hello_due = a->now;
}

static void hear_welcome(struct agent *a, const struct item *it)
{
    (void)it;
    if (a->welcomed)
        return;
    a->welcomed = true;
    a->beat_due = a->now + timer(a, TIMER_BEAT);
    a->progress_due = a->now + timer(a, TIMER_RESEND);
    send_once_more(a);
    for (int i = 0; i < a->c.slots; i++) /* those that the outbox has not any more */
        slot_welcomed(a, &a->slots[i]);
}

/* Whoever asks Slurm knows better than our script when the job ends. */
static void hear_beat(struct agent *a, const struct item *it)
{
    double ends = a->now + it->hello.left;
    if (it->hello.left > 0 && fabs(ends - a->c.ends) > timer(a, TIMER_BEAT))
        set_ends(a, ends);
}

static void hear_work(struct agent *a, const struct item *it)
{
    struct slot *s = find_slot(a, it->work.slot);
    if (s && !a->leaving && !a->refused)
        slot_work(a, s, it);
}

static void hear_retire(struct agent *a, const struct item *it)
{
    struct slot *s = find_slot(a, it->ask.slot);
    if (!s || s->state != SLOT_ASKING || s->ask != it->ask.ask)
        return;
    slot_close(s);
    s->retired = true;
}

static void hear_answer(struct agent *a, const struct item *it)
{
    struct slot *s = find_attempt(a, it->answer.trial, it->answer.attempt);
    if (s && it->answer.decision != DECISION_NONE)
        slot_answer(a, s, it);
}

static void hear_kill(struct agent *a, const struct item *it)
{
    struct slot *s = find_attempt(a, it->kill.trial, it->kill.attempt);
    if (s && s->at.id.nonce == it->kill.nonce)
        slot_end(a, s, it->kill.cause);
}

static void hear_pause(struct agent *a, const struct item *it)
{
    (void)it;
    for (int i = 0; i < a->c.slots; i++)
        slot_pause(a, &a->slots[i]);
}

static void hear_bye(struct agent *a, const struct item *it)
{
    if (a->sent_away)
        return;
    a->sent_away = true;
    if (!a->leaving)
        close_all(a, CAUSE_AGENT_GONE, it->why.text);
    else
        a->leave_until = fmin(a->leave_until, a->now + timer(a, TIMER_RESEND));
}

static void hear_refused(struct agent *a, const struct item *it)
{
    a->refused = true;
    a->welcomed = false;
    close_all(a, CAUSE_AGENT_GONE, it->why.text);
}

static void (*const hear[ITEM_KINDS])(struct agent *, const struct item *) = {
    [ITEM_WHO] = hear_who,         [ITEM_WELCOME] = hear_welcome,
    [ITEM_WORK] = hear_work,       [ITEM_RETIRE] = hear_retire,
    [ITEM_ANSWER] = hear_answer,   [ITEM_KILL] = hear_kill,
    [ITEM_PAUSE] = hear_pause,     [ITEM_BYE] = hear_bye,
    [ITEM_REFUSED] = hear_refused, [ITEM_BEAT] = hear_beat,
};

/* ---- packets ---- */

static void packet_start(struct agent *a, uint64_t first)
{
    const struct packet_head h = {.version = WIRE_VERSION,
                                  .release = a->c.release,
                                  .epoch = a->epoch,
                                  .agent = a->c.id,
                                  .first = first};
    str_cut(&a->out, 0);
    packet_begin(&a->out, &h);
}

static void packet_send(struct agent *a)
{
    a->port.send(a->ctx, a->out.p, a->out.len);
}

/* The controller's protocol is another: says so, unless it just did. */
static void other_version(struct agent *a, const struct packet_head *h)
{
    struct item it;
    uint64_t number;
    while (packet_next(a->packet, &it, &number, NULL) == 1)
        if (it.kind == ITEM_REFUSED) {
            hear_refused(a, &it);
            return;
        }
    struct str text = STR_INIT;
    str_addf(&text, "the controller is rung %.*s (protocol %d), ", (int)h->release.len,
             h->release.p, h->version);
    str_addf(&text,
             "this agent is rung %.*s (protocol %d): run the sweep with one release",
             (int)a->c.release.len, a->c.release.p, WIRE_VERSION);
    it = (struct item){.kind = ITEM_REFUSED};
    it.why.text = (struct slice){text.p, text.len};
    packet_start(a, 0);
    item_encode(&it, &a->out);
    packet_send(a);
    hear_refused(a, &it);
    str_free(&text);
}

static void acknowledged(struct agent *a, uint64_t number)
{
    bool choked = agent_choked(a);
    if (!outbox_ack(a->outbox, number))
        return;
    a->progress_due = a->now + timer(a, TIMER_RESEND);
    if (!choked || agent_choked(a))
        return;
    /* Programs were not read for a while: that was no silence of theirs. */
    for (int i = 0; i < a->c.slots; i++)
        a->slots[i].at.heard = a->now;
}

/* Turns to the controller of an epoch, which does not know us yet. */
static void turn_to(struct agent *a, int32_t epoch)
{
    a->epoch = epoch;
    a->welcomed = false;
    a->hello_due = a->now;
}

void agent_controller(struct agent *a, int32_t epoch, double now)
{
    a->now = now;
    a->dirty = true;
    if (!a->done && !a->refused && epoch >= a->epoch && epoch > 0)
        turn_to(a, epoch);
}

void agent_packet(struct agent *a, const char *data, size_t n, double now)
{
    struct packet_head h;
    struct item it;
    uint64_t number;
    a->now = now;
    a->dirty = true;
    if (a->done || a->refused || packet_open(a->packet, data, n, &h, NULL) != 0)
        return;
    if (h.agent != a->c.id || h.epoch < a->epoch)
        return;
    if (h.version != WIRE_VERSION) {
        other_version(a, &h);
        return;
    }
    if (h.epoch > a->epoch)
        turn_to(a, h.epoch);
    a->heard = now;
    acknowledged(a, h.ack);
    while (!a->refused && packet_next(a->packet, &it, &number, NULL) == 1)
        if (hear[it.kind])
            hear[it.kind](a, &it);
}

/* ---- sending ---- */

static void look_at_gpus(struct agent *a, struct item *it)
{
    struct gpu_use use;
    a->gpus.n = 0;
    for (int i = 0; a->port.gpus && i < a->c.slots; i++)
        if (a->slots[i].state == SLOT_RUNNING && a->port.gpus(a->ctx, i, &use)) {
            use.slot = i;
            vec_push(&a->gpus, use);
        }
    it->hello.gpus = a->gpus.v;
    it->hello.n_gpus = (int)a->gpus.n;
}

static void put_presence(struct agent *a, enum item_kind kind)
{
    struct item it = {.kind = kind};
    a->open.n = 0;
    for (int i = 0; i < a->c.slots; i++) {
        if (a->slots[i].state == SLOT_RUNNING)
            vec_push(&a->open, a->slots[i].at.id);
        it.hello.closed += a->slots[i].state == SLOT_CLOSED;
    }
    it.hello.open = a->open.v;
    it.hello.n_open = (int)a->open.n;
    if (kind == ITEM_BEAT)
        look_at_gpus(a, &it);
    it.hello.oldest = outbox_oldest(a->outbox);
    it.hello.slots = a->c.slots;
    it.hello.host = a->c.host;
    it.hello.job = a->c.job;
    it.hello.pid = a->c.pid;
    it.hello.left = a->c.ends > 0 ? fmax(0, a->c.ends - a->now) : NAN;
    item_encode(&it, &a->out);
}

static bool items_are_out(const struct agent *a)
{
    return outbox_unacked(a->outbox) > outbox_unsent(a->outbox);
}

bool agent_wants_controller(const struct agent *a, double now)
{
    return agent_lost_controller(a, now) ||
           (items_are_out(a) && now >= a->heard + timer(a, TIMER_RESEND));
}

static double resend_due(const struct agent *a)
{
    return items_are_out(a) ? a->progress_due : INFINITY;
}

/* Items that are not acknowledged, and a beat when one is due. */
static void send_items(struct agent *a)
{
    if (resend_due(a) <= a->now)
        send_once_more(a);
    if (!items_are_out(a))
        a->progress_due = a->now + timer(a, TIMER_RESEND);
    bool beat = a->beat_due <= a->now;
    if (!beat && a->gather_due > a->now)
        return;
    a->gather_due = INFINITY;
    while (beat || outbox_unsent(a->outbox) > 0) {
        packet_start(a, outbox_unsent(a->outbox) > 0 ? outbox_next(a->outbox) : 0);
        if (beat) {
            put_presence(a, ITEM_BEAT);
            a->beat_due = a->now + timer(a, TIMER_BEAT);
            beat = false;
        }
        outbox_take(a->outbox, PACKET_BYTES, &a->out);
        packet_send(a);
    }
}

/* What was acknowledged and still waits for its answer, each alone in a packet. */
static void send_again(struct agent *a, struct slot *s)
{
    if (slot_ask_due(a, s) <= a->now) {
        struct item it = {.kind = ITEM_ASK};
        it.ask.slot = slot_index(a, s);
        it.ask.ask = s->ask;
        packet_start(a, s->ask_item);
        item_encode(&it, &a->out);
        packet_send(a);
        s->ask_due = a->now + timer(a, TIMER_RESEND);
    }
    if (slot_line_due(a, s) <= a->now) {
        packet_start(a, s->line_item);
        str_addn(&a->out, s->line.p, s->line.len);
        packet_send(a);
        s->line_due = a->now + timer(a, TIMER_RESEND);
    }
}

static void send_all(struct agent *a)
{
    if (a->epoch == 0 || a->refused)
        return;
    if (a->welcomed) {
        send_items(a);
        for (int i = 0; i < a->c.slots; i++)
            send_again(a, &a->slots[i]);
    } else if (a->hello_due <= a->now) {
        packet_start(a, 0);
        put_presence(a, ITEM_HELLO);
        packet_send(a);
        a->hello_due = a->now + timer(a, TIMER_RESEND);
    }
}

/* ---- programs ---- */

/* The slot that something happened in, or NULL for one that is none. */
static struct slot *slot_at(struct agent *a, int slot, double now)
{
    a->now = now;
    a->dirty = true;
    return a->done ? NULL : find_slot(a, slot);
}

void agent_started(struct agent *a, int slot, double now)
{
    struct slot *s = slot_at(a, slot, now);
    if (s)
        slot_started(a, s);
}

void agent_line(struct agent *a, int slot, uint64_t conn, const char *line, size_t n,
                double now)
{
    struct slot *s = slot_at(a, slot, now);
    if (s)
        slot_line(a, s, conn, line, n);
}

void agent_printed(struct agent *a, int slot, int64_t step, const struct metric metrics[],
                   int n, double now)
{
    struct slot *s = slot_at(a, slot, now);
    if (s)
        slot_printed(a, s, step, metrics, n);
}

void agent_ended(struct agent *a, int slot, const struct end_facts *facts, double now)
{
    struct slot *s = slot_at(a, slot, now);
    bool evicted = facts->cause == CAUSE_EVICTED;
    if (s && s->state == SLOT_RUNNING)
        slot_ended(a, s, facts);
    if (evicted) /* one step was told first; the job's own signal comes later, if at all
                  */
        agent_evict(a, "Slurm ended an attempt: its job is being taken away", now);
}

void agent_evict(struct agent *a, const char *why, double now)
{
    a->now = now;
    a->dirty = true;
    if (a->done || a->evicted)
        return;
    a->evicted = true;
    if (!a->leaving && !a->refused)
        close_all(a, CAUSE_EVICTED, slice_of(why));
    else
        a->leave_until = fmin(a->leave_until, now + timer(a, TIMER_CONTROLLER_SILENT));
}

/* ---- timers ---- */

/* The job was suspended, and everything in it: that was nobody's silence. */
static void wake(struct agent *a)
{
    double slept = a->now - a->ticked;
    if (a->now < a->due + timer(a, TIMER_BEAT))
        return;
    a->heard = fmin(a->now, a->heard + slept);
    for (int i = 0; i < a->c.slots; i++)
        slot_slept(a, &a->slots[i], slept);
}

void agent_tick(struct agent *a, double now)
{
    a->now = now;
    a->dirty = false;
    if (a->done)
        return;
    wake(a);
    for (int i = 0; i < a->c.slots; i++)
        slot_tick(a, &a->slots[i]);
    tick_leaving(a);
    if (!a->done)
        send_all(a);
    a->ticked = now;
    a->due = agent_deadline(a);
}

double agent_deadline(const struct agent *a)
{
    double due = INFINITY;
    if (a->done)
        return due;
    if (a->dirty)
        return a->now;
    if (a->epoch > 0 && !a->refused)
        due = a->welcomed ? fmin(a->beat_due, fmin(a->gather_due, resend_due(a)))
                          : a->hello_due;
    if (!agent_lost_controller(a, a->now))
        due = fmin(due, silent_due(a));
    due = fmin(due, fmin(orphan_due(a), leave_due(a)));
    for (int i = 0; i < a->c.slots; i++)
        due = fmin(due, slot_deadline(a, &a->slots[i]));
    return due;
}
