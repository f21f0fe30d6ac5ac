/* The controller's side of the protocol: what agents say, and what they are told. Every
 * answer can be asked for again: it follows from the state, not from memory of what
 * was sent. */
#include "base/mem.h"
#include "base/rng.h"
#include "launcher/controller_private.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METRICS_NAMED 8   /* of a trial that does not report the sweep's */
#define SHOWN_BYTES   200 /* of what a peer says about itself */
/* Who has the sweep's key and makes up agents costs this many peers at most. */
#define STRANGERS_MAX 10000

/* ---- telling ---- */

void controller_send(struct peer *p, const struct item *it)
{
    item_encode(it, &p->out);
    p->owes = true;
}

static void send_why(struct peer *p, enum item_kind kind, const char *text)
{
    struct item it = {.kind = kind};

    it.why.text = slice_of(text);
    controller_send(p, &it);
}

void controller_send_work(struct controller *c, struct peer *p, int32_t slot,
                          int32_t trial)
{
    const struct trial *t = sweep_trial(c->sw, trial);
    struct item it = {.kind = ITEM_WORK};

    str_cut(&c->text, 0);
    sweep_params(c->sw, trial, &c->text);
    it.work.slot = slot;
    it.work.ask = t->ask;
    it.work.trial = trial;
    it.work.attempt = t->attempts;
    it.work.nonce = t->nonce;
    it.work.start = t->attempt_start;
    it.work.until = t->until;
    /* 31 bits: what numpy and the C libraries of trial programs take as a seed */
    it.work.seed =
        rng_u64(sweep_spec(c->sw)->seed, RNG_SEED, (uint32_t)trial, 0, 0) >> 33;
    it.work.step = p->slots[slot].step;
    if (t->kept > 0) {
        it.work.source_trial = trial;
        it.work.source_attempt = t->kept;
    } else if (t->parent >= 0) {
        it.work.source_trial = t->parent;
        it.work.source_attempt = t->source;
    }
    it.work.params = (struct slice){c->text.p, c->text.len};
    controller_send(p, &it);
}

static void send_kill(struct peer *p, int32_t trial, int32_t attempt, uint64_t nonce,
                      enum end_cause cause)
{
    struct item it = {.kind = ITEM_KILL};

    it.kill.trial = trial;
    it.kill.attempt = attempt;
    it.kill.nonce = nonce;
    it.kill.cause = cause;
    controller_send(p, &it);
}

void controller_kill(struct controller *c, int32_t trial, enum end_cause cause)
{
    const struct trial *t = sweep_trial(c->sw, trial);
    struct peer *p = controller_peer(c, t->agent);

    if (p && p->known && !p->gone)
        send_kill(p, trial, t->attempts, t->nonce, cause);
}

static void send_answer(struct peer *p, int32_t trial, int32_t attempt, uint32_t number,
                        enum decision d, int64_t until)
{
    struct item it = {.kind = ITEM_ANSWER};

    it.answer.trial = trial;
    it.answer.attempt = attempt;
    it.answer.number = number;
    it.answer.decision = d;
    it.answer.until = until;
    controller_send(p, &it);
}

/* ---- the open attempts that an agent names ---- */

static bool is_open(const struct controller *c, int32_t trial, int32_t attempt,
                    uint64_t nonce)
{
    const struct trial *t;

    if (trial < 0 || trial >= sweep_trials(c->sw))
        return false;
    t = sweep_trial(c->sw, trial);
    return t->state == TRIAL_RUNNING && t->attempts == attempt && t->nonce == nonce;
}

static bool names(const struct item *it, int32_t trial)
{
    for (int i = 0; i < it->hello.n_open; i++) {
        if (it->hello.open[i].trial == trial)
            return true;
    }
    return false;
}

/* Holds what an agent runs against what it should: the superseded is ended, what was
 * asked to end is asked again, and work that never arrived is sent again. (That which is
 * over there, its end on the way, is recognised by the agent as an old ask.) */
static void compare(struct controller *c, struct peer *p, const struct item *it)
{
    for (int i = 0; i < it->hello.n_open; i++) {
        const struct open_attempt *o = &it->hello.open[i];

        if (!is_open(c, o->trial, o->attempt, o->nonce))
            send_kill(p, o->trial, o->attempt, o->nonce, CAUSE_AGENT_GONE);
        else if (sweep_trial(c->sw, o->trial)->stop_asked)
            send_kill(p, o->trial, o->attempt, o->nonce, CAUSE_USER_STOP);
        else if (c->interrupting)
            send_kill(p, o->trial, o->attempt, o->nonce, CAUSE_PAUSING);
    }
    for (int32_t s = 0; s < p->n_slots; s++) {
        int32_t trial = sweep_in_slot(c->sw, p->id, s);

        if (trial >= 0 && !names(it, trial))
            controller_send_work(c, p, s, trial);
    }
    if (controller_over(c))
        send_why(p, ITEM_BYE, c->reason ? c->reason : "the sweep is over");
    else if (sweep_totals(c->sw)->pausing)
        controller_send(p, &(struct item){.kind = ITEM_PAUSE});
}

/* ---- hearing ---- */

/* How long its job lasts: as the executor says, NaN when it does not, and the agent is
 * believed. */
static double hear_left(struct controller *c, struct peer *p, const struct item *it)
{
    double left = c->port.job_left(c->ctx, p->job),
           known = isnan(left) ? it->hello.left : left;

    p->ends = isnan(known) ? INFINITY : c->now + known;
    return left;
}

static void on_hello(struct controller *c, struct peer *p, const struct item *it)
{
    uint64_t oldest = it->hello.oldest > 0 ? it->hello.oldest : 1;

    if (p->gone && p->job_over &&
        !p->left) { /* whatever its node believes: it has no resources */
        send_why(p, ITEM_BYE, "its job is over");
        return;
    }
    if (!p->left && (!p->known || p->gone)) {
        free(p->job);
        free(p->host);
        p->job = mem_strndup(it->hello.job.p, it->hello.job.len);
        p->host = mem_strndup(it->hello.host.p, it->hello.host.len);
        free(p->slots);
        p->n_slots = it->hello.slots;
        p->held = it->hello.closed < p->n_slots ? p->n_slots - it->hello.closed : 0;
        p->slots = mem_alloc((size_t)p->n_slots * sizeof(p->slots[0]));
        controller_joined(c, p);
    }
    /* a hello that comes late must not make what was taken since forgotten */
    if (p->taken < oldest - 1)
        p->taken = oldest - 1;
    hear_left(c, p, it);
    controller_send(p, &(struct item){.kind = ITEM_WELCOME});
    compare(c, p, it);
}

/* It asks for more, so what ran there is over, though its end was never heard. */
static void lose_attempt(struct controller *c, int32_t trial)
{
    struct end_facts lost = {.cause = CAUSE_AGENT_GONE,
                             .exit_code = -1,
                             .started = NAN,
                             .ended = NAN,
                             USAGE_UNKNOWN};

    controller_end_attempt(c, trial, &lost);
}

static void on_ask(struct controller *c, struct peer *p, const struct item *it)
{
    struct slot *s;
    int32_t trial;

    if (it->ask.slot < 0 || it->ask.slot >= p->n_slots)
        return;
    s = &p->slots[it->ask.slot];
    trial = sweep_in_slot(c->sw, p->id, it->ask.slot);
    if (trial >= 0 && sweep_trial(c->sw, trial)->ask == it->ask.ask) {
        controller_send_work(c, p, it->ask.slot, trial);
        return;
    }
    if (it->ask.ask < s->ask || it->ask.ask <= s->served ||
        (trial >= 0 && it->ask.ask < sweep_trial(c->sw, trial)->ask) || s->parked)
        return; /* a repetition */
    if (trial >= 0)
        lose_attempt(c, trial);
    s->ask = it->ask.ask;
    if (s->retired) {
        controller_retire(c, p, it->ask.slot);
        return;
    }
    s->gpu.gpus = 0;
    s->since = c->now;
    s->parked = true;
    vec_push(&c->parked, ((struct parked){(uint32_t)(p - c->peers.v), it->ask.slot}));
}

/* The first of the sweep's metrics that is not in a report; NULL: all are. */
static const char *missing(const struct spec *spec, const struct item *it)
{
    for (int k = 0; k < spec->objectives; k++) {
        int i = 0;

        while (i < it->report.n_metrics &&
               !slice_eq(it->report.metrics[i].name, spec->objective[k].name))
            i++;
        if (i == it->report.n_metrics)
            return spec->objective[k].name;
    }
    return NULL;
}

/* Where nobody reports the sweep's metric, nothing is decided and trials run on for ever:
 * says so once a trial is past its milestone. */
static void miss_metric(struct controller *c, const struct trial *t,
                        const struct item *it)
{
    const char *metric = missing(sweep_spec(c->sw), it);

    if (!metric || c->missed || sweep_totals(c->sw)->best >= 0 ||
        it->report.step <= t->until)
        return;
    str_cut(&c->text, 0);
    for (int i = 0; i < it->report.n_metrics; i++) {
        struct slice name = it->report.metrics[i].name;

        if (i < METRICS_NAMED)
            str_addf(&c->text, "%s '%.*s'", i > 0 ? "," : "", (int)name.len, name.p);
    }
    c->missed = true;
    char *names = mem_strndup(c->text.p, c->text.len);
    str_cut(&c->text, 0);
    str_addf(&c->text, "trial %ld is at step %lld and has not reported '%s', the metric",
             (long)it->report.trial, (long long)it->report.step, metric);
    str_addf(&c->text, " that decides: it reports%s", *names ? names : " none");
    c->port.say(c->ctx, c->text.p);
    free(names);
}

static void on_report(struct controller *c, struct peer *p, const struct item *it)
{
    struct event ev = {.kind = EVENT_REPORT, .trial = it->report.trial};
    const struct trial *t;
    struct verdict v;

    if (!is_open(c, it->report.trial, it->report.attempt, it->report.nonce)) {
        /* superseded, or a repetition after its end: stop is right for both */
        send_answer(p, it->report.trial, it->report.attempt, it->report.number,
                    DECISION_STOP, -1);
        return;
    }
    t = sweep_trial(c->sw, it->report.trial);
    if (it->report.number <= t->last_number) {
        enum decision d = t->answered == DECISION_NONE ? DECISION_CONTINUE : t->answered;

        send_answer(p, it->report.trial, it->report.attempt, it->report.number, d,
                    t->until);
        return;
    }
    ev.attempt = it->report.attempt;
    ev.report.number = it->report.number;
    ev.report.step = it->report.step;
    ev.report.elapsed = it->report.elapsed;
    ev.report.metrics = it->report.metrics;
    ev.report.n_metrics = it->report.n_metrics;
    if (t->slot >= 0 && t->slot < p->n_slots)
        controller_pace(c, &p->slots[t->slot], t->last_step, it->report.step,
                        it->report.elapsed);
    v = controller_happen(c, &ev);
    c->launch_failures = 0;
    miss_metric(c, t, it);
    if (it->report.wait || v.decision != DECISION_CONTINUE)
        send_answer(p, it->report.trial, it->report.attempt, it->report.number,
                    v.decision, v.until);
}

static void on_saved(struct controller *c, struct peer *p, const struct item *it)
{
    struct event ev = {.kind = EVENT_SAVED, .trial = it->saved.trial};

    const struct trial *t;

    (void)p;
    if (!is_open(c, it->saved.trial, it->saved.attempt, it->saved.nonce))
        return;
    /* the last said counts, not the highest: who repeats steps saves over later ones */
    t = sweep_trial(c->sw, it->saved.trial);
    if (it->saved.number <= t->last_save || it->saved.step == t->saved)
        return;
    ev.attempt = it->saved.attempt;
    ev.saved.number = it->saved.number;
    ev.saved.step = it->saved.step;
    controller_saved(c, t, it->saved.step);
    controller_happen(c, &ev);
}

static void on_end(struct controller *c, struct peer *p, const struct item *it)
{
    const struct trial *t;

    if (!is_open(c, it->end.trial, it->end.attempt, it->end.nonce))
        return;
    t = sweep_trial(c->sw, it->end.trial);
    if (t->slot >= 0 && t->slot < p->n_slots) {
        struct slot *s = &p->slots[t->slot];

        if (it->end.facts.cause == CAUSE_NO_LAUNCH) {
            double wait = c->c.timers.s[TIMER_LAUNCH_RETRY] * (1 << s->launch_failures);

            p->doubtful = true;
            s->not_before = c->now + (wait < 60 ? wait : 60);
            s->launch_failures += s->launch_failures < 5;
        } else {
            c->launch_waits &= s->launch_failures == 0;
            p->doubtful = false;
            s->launch_failures = 0;
        }
    }
    controller_end_attempt(c, it->end.trial, &it->end.facts);
}

static void on_leave(struct controller *c, struct peer *p, const struct item *it)
{
    char *why = mem_strndup(it->why.text.p, it->why.text.len);

    if (it->why.evicted && !p->gone) {
        p->evicted_at = c->now;
        c->unexplained++;
    }
    controller_lose(c, p, why);
    p->left = true;
    free(why);
}

static void hear_gpus(struct peer *p, const struct item *it)
{
    for (int32_t s = 0; s < p->n_slots; s++)
        p->slots[s].gpu.gpus = 0;
    for (int i = 0; i < it->hello.n_gpus; i++) {
        const struct gpu_use *use = &it->hello.gpus[i];

        if (use->slot < p->n_slots)
            p->slots[use->slot].gpu = *use;
    }
}

static int by_trial(const void *a, const void *b)
{
    const struct gpu_row *x = a, *y = b;

    return (x->trial > y->trial) - (x->trial < y->trial);
}

void controller_gpus(const struct controller *c, struct gpu_rows *out)
{
    double silent = 3 * c->c.timers.s[TIMER_BEAT];

    out->n = 0;
    for (size_t i = 0; i < c->peers.n; i++) {
        const struct peer *p = &c->peers.v[i];

        if (!p->known || p->gone || c->now > p->heard + silent)
            continue;
        for (int32_t s = 0; s < p->n_slots; s++) {
            const struct gpu_use *use = &p->slots[s].gpu;
            int32_t trial = use->gpus > 0 ? sweep_in_slot(c->sw, p->id, s) : -1;

            if (trial >= 0)
                vec_push(out, ((struct gpu_row){
                                  trial, sweep_trial(c->sw, trial)->attempts, *use}));
        }
    }
    if (out->n > 1)
        qsort(out->v, out->n, sizeof(out->v[0]), by_trial);
}

static void on_beat(struct controller *c, struct peer *p, const struct item *it)
{
    struct item answer = {.kind = ITEM_BEAT};

    if (it->hello.oldest > 0 && p->taken < it->hello.oldest - 1)
        p->taken = it->hello.oldest - 1;
    answer.hello.left = hear_left(c, p, it);
    hear_gpus(p, it);
    compare(c, p, it);
    controller_send(p, &answer);
}

static int shown_bytes(size_t n)
{
    return n < SHOWN_BYTES ? (int)n : SHOWN_BYTES;
}

/* Says something about a peer that it could make happen for ever: once. */
static void say_once(struct controller *c, bool *said, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say_once(struct controller *c, bool *said, const char *fmt, ...)
{
    va_list ap;
    char text[1000];

    if (*said)
        return;
    *said = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->port.say(c->ctx, text);
}

static void on_refused(struct controller *c, struct peer *p, const struct item *it)
{
    say_once(c, &p->garbled, "agent %016llx refuses this controller: %.*s",
             (unsigned long long)p->id, shown_bytes(it->why.text.len), it->why.text.p);
}

/* A peer that came up by itself; NULL when there are too many that never said hello. */
static struct peer *meet(struct controller *c, uint64_t id)
{
    struct peer *p;

    if (c->strangers >= STRANGERS_MAX) {
        say_once(c, &c->garbled,
                 "%d agents were heard of that never said hello: no more are listened to",
                 STRANGERS_MAX);
        return NULL;
    }
    p = controller_add_peer(c, id);
    p->stranger = true;
    c->strangers++;
    return p;
}

/* An agent of another protocol: both sides say so, once. */
static void refuse(struct controller *c, const struct packet_head *h)
{
    struct peer *p = controller_peer(c, h->agent);

    if (p || !(p = meet(c, h->agent)))
        return;
    p->gone = true;
    str_cut(&c->text, 0);
    str_addf(&c->text,
             "agent %016llx is rung %.*s, which speaks protocol %d; this controller is "
             "rung %s "
             "and speaks %d: use one release for a sweep",
             (unsigned long long)h->agent, shown_bytes(h->release.len), h->release.p,
             h->version, c->c.release, WIRE_VERSION);
    c->port.say(c->ctx, c->text.p);
    send_why(p, ITEM_REFUSED, c->text.p);
}

uint64_t controller_packet(struct controller *c, const char *data, size_t n)
{
    static void (*const hear[ITEM_KINDS])(struct controller *, struct peer *,
                                          const struct item *) = {
        [ITEM_HELLO] = on_hello,   [ITEM_BEAT] = on_beat,       [ITEM_ASK] = on_ask,
        [ITEM_REPORT] = on_report, [ITEM_SAVED] = on_saved,     [ITEM_END] = on_end,
        [ITEM_LEAVE] = on_leave,   [ITEM_REFUSED] = on_refused,
    };
    struct packet_head h;
    struct peer *p;
    struct item it;
    struct err e;
    uint64_t number;
    int got;

    if (packet_open(c->packet, data, n, &h, &e) != 0) {
        say_once(c, &c->garbled, "a packet was dropped: %s", e.text);
        return 0;
    }
    if (h.version != WIRE_VERSION) {
        refuse(c, &h);
        return controller_peer(c, h.agent) ? h.agent : 0;
    }
    p = controller_peer(c, h.agent);
    if (h.epoch > c->c.epoch) /* it obeys a successor: the next commit tells us, too */
        return p ? h.agent : 0;
    if (!p && !(p = meet(c, h.agent)))
        return 0;
    p->heard = c->now;
    p->owes = true;
    if (h.epoch < c->c.epoch) { /* meant for a predecessor */
        controller_send(p, &(struct item){.kind = ITEM_WHO});
        return h.agent;
    }
    while ((got = packet_next(c->packet, &it, &number, &e)) == 1) {
        if (it.kind != ITEM_HELLO && it.kind != ITEM_REFUSED && (!p->known || p->gone)) {
            /* its LEAVE may only be repeated for want of an acknowledgement */
            if (it.kind != ITEM_LEAVE || !p->known)
                controller_send(p, &(struct item){.kind = ITEM_WHO});
            else if (number == p->taken + 1)
                p->taken = number;
            break;
        }
        if (item_numbered(it.kind)) {
            if (number > p->taken + 1)
                break; /* something before it was lost: it will come again */
            /* an ask and a report that still want their answer come again */
            if (number <= p->taken && it.kind != ITEM_ASK && it.kind != ITEM_REPORT)
                continue;
            if (number > p->taken)
                p->taken = number;
        }
        if (hear[it.kind])
            hear[it.kind](c, p, &it);
    }
    if (got < 0)
        say_once(c, &p->garbled, "agent %016llx says what cannot be read: %s",
                 (unsigned long long)p->id, e.text);
    return h.agent;
}

void controller_flush(struct controller *c)
{
    c->urgent = false;
    for (size_t i = 0; i < c->peers.n; i++) {
        struct peer *p = &c->peers.v[i];
        struct packet_head h = {.version = WIRE_VERSION,
                                .release = slice_of(c->c.release)};
        struct str out = STR_INIT;

        if (!p->owes)
            continue;
        h.epoch = c->c.epoch;
        h.agent = p->id;
        h.ack = p->taken;
        packet_begin(&out, &h);
        str_addn(&out, p->out.p, p->out.len);
        c->port.send(c->ctx, p->id, out.p, out.len);
        str_free(&out);
        str_cut(&p->out, 0);
        p->owes = false;
    }
}
