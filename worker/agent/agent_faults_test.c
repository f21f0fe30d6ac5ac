/* Agents against a controller as doc/protocol.md describes it, in a world that loses,
 * doubles, delays and reorders packets, crashes controllers between any two steps and
 * agents at any time. Seeded: a seed that fails is a test case; SEED=17 runs it alone,
 * SEEDS=5000 so many of them.
 *
 * The controller here decides by a hash instead of by rungs, and its journal is a copy
 * of its state at the last commit. What must hold, whatever happens:
 *   - the reports of an attempt are accepted in order, each once, none left out, and say
 *     what the program said; its end comes after them;
 *   - an attempt is started once; one that was declined never was;
 *   - no program goes on from a milestone without a durable decision, but alone in a
 *     sweep that stops trials rather than pausing them;
 *   - when the faults end, all trials get done, and all agents leave. */
#include "worker/agent/agent.h"

#include "base/rng.h"
#include "base/vec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRIALS = 20, AGENTS = 3, SLOTS = 3, PEERS = 400, LAST_STEP = 27, STARTS = 8192 };
#define SILENT   120.0  /* the controller gives an agent up */
#define REJOIN   60.0   /* and waits for those of its predecessor */
#define PATIENCE 2000.0 /* all must be done by then when the faults have ended */

/* ---- chance ---- */

static uint64_t seed;
static double now; /* seconds of the world's time */
static uint32_t draws;

/* How bad the world is, drawn for each seed. */
static struct {
    double end; /* of all faults */
    double lost, doubled, late;
    double crash;                /* at each of two places in a commit */
    double uptime;               /* of a controller, at most */
    double death, eviction, cut; /* of an agent, a second */
} fault;

static double chance(void)
{
    return rng_unit(seed, RNG_TEST, draws++, 0, 0);
}

static bool happens(double probability)
{
    return chance() < probability;
}

/* ---- the journal: what was accepted ---- */

enum trial_is { WAITING, RUNNING, DONE };

struct trial {
    enum trial_is is;
    int32_t attempt, slot;
    uint64_t nonce, agent;
    uint32_t ask, last_number;
    int64_t start, until, recorded, last_step, saved;
    enum decision answered;
    bool complete;
};

struct peer {
    uint64_t id, taken;
    bool known, gone;
    double heard;
    int32_t slots;
    uint32_t ask[SLOTS];
    bool parked[SLOTS];
    struct str out;
};

static struct {
    struct trial trial[TRIALS], committed[TRIALS];
    struct peer peer[PEERS];
    int peers;
    int32_t epoch;
    bool up, pausing;
    double next_change; /* when it crashes, or its successor begins */
    double next_pause;
    double expected_until; /* agents of earlier epochs are waited for */
} ctl;

/* ---- the world: processes and packets ---- */

struct program {
    bool runs, waits;
    int32_t trial, attempt;
    int64_t step, until;
    uint32_t number;
    double next; /* when it reports, or ends when `exiting` */
    bool exiting;
    int exit_code;
};

struct process { /* of an agent */
    struct agent *mind;
    uint64_t id;
    bool lives;
    int32_t connected; /* to the controller of this epoch */
    double look;
    double buried; /* when the executor tells of its end */
    double cut;    /* off the network until then */
    struct program program[SLOTS];
};

struct flight {
    double at;
    uint64_t to_agent; /* 0: to the controller */
    int32_t epoch;     /* of the controller that it is meant for */
    char *data;
    size_t n;
};

static bool promote;
static struct process process[PEERS];
static int processes;
static VEC(struct flight) air;
static struct packet *reader;
static uint64_t nonces, counted_reports, starts;

/* What the programs of an attempt said, by nonce. */
static struct {
    int64_t step[64];
    enum decision decided[64]; /* durable, by report number */
    uint32_t n;
    int started;
} said[STARTS];

/* Decisions that are not durable yet. */
static VEC(struct {
    uint64_t nonce;
    uint32_t number;
    enum decision decision;
}) deciding;

static bool faulty(void)
{
    return now < fault.end;
}

#define CHECK(what)                                                                      \
    do {                                                                                 \
        if (!(what))                                                                     \
            fail_msg("seed %d, %.1f s, line %d: %s", (int)seed, now, __LINE__, #what);   \
    } while (0)

static void fly(uint64_t to_agent, int32_t epoch, const char *data, size_t n)
{
    int copies = 1;
    if (faulty())
        copies = happens(fault.lost) ? 0 : happens(fault.doubled) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        double delay = 0.001 + 0.01 * chance();
        if (faulty() && happens(fault.late))
            delay = (happens(0.1) ? 300 : 8) * chance();
        struct flight f = {now + delay, to_agent, epoch, mem_dup(data, n), n};
        vec_push(&air, f);
    }
}

/* ---- the controller ---- */

static void tell(struct peer *p, const struct item *it)
{
    item_encode(it, &p->out);
}

static void tell_work(struct peer *p, int t)
{
    const struct trial *tr = &ctl.trial[t];
    struct item it = {.kind = ITEM_WORK};
    it.work.slot = tr->slot;
    it.work.ask = tr->ask;
    it.work.trial = t;
    it.work.attempt = tr->attempt;
    it.work.nonce = tr->nonce;
    it.work.start = tr->start;
    it.work.until = tr->until;
    it.work.params = SLICE("{}");
    tell(p, &it);
}

static void tell_kill(struct peer *p, const struct open_attempt *o)
{
    struct item it = {.kind = ITEM_KILL};
    it.kill.trial = o->trial;
    it.kill.attempt = o->attempt;
    it.kill.nonce = o->nonce;
    it.kill.cause = CAUSE_AGENT_GONE;
    tell(p, &it);
}

static void tell_answer(struct peer *p, const struct item *r, enum decision d,
                        int64_t until)
{
    struct item it = {.kind = ITEM_ANSWER};
    it.answer.trial = r->report.trial;
    it.answer.attempt = r->report.attempt;
    it.answer.number = r->report.number;
    it.answer.decision = d;
    it.answer.until = until;
    tell(p, &it);
}

static bool is_open(int32_t t, int32_t attempt, uint64_t nonce)
{
    return t >= 0 && t < TRIALS && ctl.trial[t].is == RUNNING &&
           ctl.trial[t].attempt == attempt && ctl.trial[t].nonce == nonce;
}

static int in_slot(uint64_t agent, int slot)
{
    for (int t = 0; t < TRIALS; t++)
        if (ctl.trial[t].is == RUNNING && ctl.trial[t].agent == agent &&
            ctl.trial[t].slot == slot)
            return t;
    return -1;
}

static void end_trial(int t)
{
    struct trial *tr = &ctl.trial[t];
    tr->is = tr->complete || tr->answered == DECISION_STOP ? DONE : WAITING;
    tr->start = tr->saved;
}

static void lose(struct peer *p)
{
    for (int t = 0; t < TRIALS; t++)
        if (ctl.trial[t].is == RUNNING && ctl.trial[t].agent == p->id)
            end_trial(t);
    memset(p->parked, 0, sizeof(p->parked));
    p->gone = true;
}

static bool all_done(void)
{
    for (int t = 0; t < TRIALS; t++)
        if (ctl.trial[t].is != DONE)
            return false;
    return true;
}

static void hand_out(struct peer *p, int slot)
{
    for (int t = 0; t < TRIALS && !ctl.pausing; t++) {
        struct trial *tr = &ctl.trial[t];
        if (tr->is != WAITING)
            continue;
        tr->is = RUNNING;
        tr->attempt++;
        tr->nonce = ++nonces; /* unlike an attempt's number, never given again */
        tr->agent = p->id;
        tr->slot = slot;
        tr->ask = p->ask[slot];
        tr->last_number = 0;
        tr->answered = DECISION_NONE;
        CHECK(nonces < STARTS);
        p->parked[slot] = false;
        tell_work(p, t);
        return;
    }
}

static void on_ask(struct peer *p, const struct item *it)
{
    int slot = it->ask.slot, t = in_slot(p->id, slot);
    CHECK(slot >= 0 && slot < p->slots);
    if (it->ask.ask < p->ask[slot] || (t >= 0 && it->ask.ask < ctl.trial[t].ask))
        return;
    if (t >= 0 && ctl.trial[t].ask == it->ask.ask) {
        tell_work(p, t);
        return;
    }
    if (t >= 0)
        end_trial(t);
    p->ask[slot] = it->ask.ask;
    if (happens(0.02)) {
        struct item no = {.kind = ITEM_RETIRE};
        no.ask = it->ask;
        p->parked[slot] = false;
        tell(p, &no);
        return;
    }
    p->parked[slot] = true;
}

static enum decision decide(struct trial *tr, int t, int64_t step)
{
    int64_t milestone = 1;
    while (milestone * 3 <= step)
        milestone *= 3;
    if (step <= tr->last_step)
        return DECISION_CONTINUE;
    tr->last_step = step;
    if (step < milestone || milestone <= tr->recorded)
        return DECISION_CONTINUE;
    tr->recorded = milestone;
    tr->until = milestone * 3;
    tr->complete = step >= LAST_STEP;
    double u = rng_unit(seed, RNG_TEST, UINT32_MAX, (uint32_t)t, (uint32_t)milestone);
    if (tr->complete || u < 0.1)
        return DECISION_STOP;
    return promote && u < 0.6 ? DECISION_PAUSE : DECISION_CONTINUE;
}

static void on_report(struct peer *p, const struct item *it)
{
    struct trial *tr = &ctl.trial[it->report.trial];
    if (!is_open(it->report.trial, it->report.attempt, it->report.nonce)) {
        tell_answer(p, it, DECISION_STOP, -1);
        return;
    }
    if (it->report.number > tr->last_number) {
        CHECK(it->report.number == tr->last_number + 1);
        CHECK(it->report.number <= said[tr->nonce].n);
        CHECK(it->report.step == said[tr->nonce].step[it->report.number]);
        tr->last_number = it->report.number;
        if (tr->answered != DECISION_PAUSE && tr->answered != DECISION_STOP)
            tr->answered = decide(tr, it->report.trial, it->report.step);
        counted_reports++;
        vec_reserve(&deciding, deciding.n + 1);
        deciding.v[deciding.n].nonce = tr->nonce;
        deciding.v[deciding.n].number = it->report.number;
        deciding.v[deciding.n++].decision = tr->answered;
    }
    if (it->report.wait || tr->answered != DECISION_CONTINUE)
        tell_answer(p, it, tr->answered, tr->until);
}

static void on_end(const struct item *it)
{
    struct trial *tr = &ctl.trial[it->end.trial];
    const struct end_facts *f = &it->end.facts;
    if (!is_open(it->end.trial, it->end.attempt, it->end.nonce))
        return;
    CHECK(f->reports == tr->last_number);
    CHECK(said[tr->nonce].started == (f->cause != CAUSE_AGENT_GONE)); /* else declined */
    if (f->answered == DECISION_PAUSE && f->exit_code == 0 && f->last_step > tr->saved)
        tr->saved = f->last_step;
    end_trial(it->end.trial);
}

static void on_presence(struct peer *p, const struct item *it)
{
    bool named[TRIALS] = {0};
    if (p->taken < it->hello.oldest - 1)
        p->taken = it->hello.oldest - 1;
    for (int i = 0; i < it->hello.n_open; i++) {
        const struct open_attempt *o = &it->hello.open[i];
        if (!is_open(o->trial, o->attempt, o->nonce))
            tell_kill(p, o);
        else
            named[o->trial] = true;
    }
    for (int s = 0; s < p->slots; s++) {
        int t = in_slot(p->id, s);
        if (t >= 0 && !named[t])
            tell_work(p, t);
    }
    if (all_done())
        tell(p, &(struct item){.kind = ITEM_BYE});
    else if (ctl.pausing)
        tell(p, &(struct item){.kind = ITEM_PAUSE});
    tell(p, &(struct item){.kind = ITEM_BEAT});
}

static void on_hello(struct peer *p, const struct item *it)
{
    CHECK(it->hello.slots <= SLOTS);
    p->slots = it->hello.slots;
    p->known = true;
    p->gone = false;
    tell(p, &(struct item){.kind = ITEM_WELCOME});
    on_presence(p, it);
}

static void on_item(struct peer *p, const struct item *it)
{
    struct trial *tr;
    switch (it->kind) {
    case ITEM_HELLO: on_hello(p, it); break;
    case ITEM_BEAT: on_presence(p, it); break;
    case ITEM_ASK: on_ask(p, it); break;
    case ITEM_REPORT: on_report(p, it); break;
    case ITEM_SAVED:
        tr = &ctl.trial[it->saved.trial];
        if (is_open(it->saved.trial, it->saved.attempt, it->saved.nonce) &&
            it->saved.step > tr->saved)
            tr->saved = it->saved.step;
        break;
    case ITEM_END: on_end(it); break;
    case ITEM_LEAVE: lose(p); break;
    default: CHECK(!"an item that agents do not say");
    }
}

static struct peer *find_peer(uint64_t id)
{
    for (int i = 0; i < ctl.peers; i++)
        if (ctl.peer[i].id == id)
            return &ctl.peer[i];
    CHECK(ctl.peers < PEERS);
    struct peer *p = &ctl.peer[ctl.peers++];
    *p = (struct peer){.id = id, .out = STR_INIT, .heard = now};
    return p;
}

static void crash(void)
{
    ctl.up = false;
    memcpy(ctl.trial, ctl.committed, sizeof(ctl.trial));
    deciding.n = 0;
    for (int i = 0; i < ctl.peers; i++)
        str_free(&ctl.peer[i].out);
    ctl.peers = 0;
    ctl.next_change = now + (happens(0.3) ? 200 : 5) * chance();
}

/* Makes it durable, and only then says it; a crash may come before and after. */
static void commit(struct peer *p)
{
    const struct packet_head h = {.version = WIRE_VERSION,
                                  .release = SLICE("1"),
                                  .epoch = ctl.epoch,
                                  .agent = p->id,
                                  .ack = p->taken};
    if (faulty() && happens(fault.crash)) {
        crash();
        return;
    }
    memcpy(ctl.committed, ctl.trial, sizeof(ctl.trial));
    for (size_t i = 0; i < deciding.n; i++)
        said[deciding.v[i].nonce].decided[deciding.v[i].number] = deciding.v[i].decision;
    deciding.n = 0;
    if (faulty() && happens(fault.crash)) {
        crash();
        return;
    }
    struct str s = STR_INIT;
    packet_begin(&s, &h);
    str_addn(&s, p->out.p, p->out.len);
    str_cut(&p->out, 0);
    fly(p->id, 0, s.p, s.len);
    str_free(&s);
}

static void controller_hears(const char *data, size_t n)
{
    struct packet_head h;
    struct item it;
    uint64_t number;
    int rc;
    CHECK(packet_open(reader, data, n, &h, NULL) == 0);
    if (h.epoch > ctl.epoch)
        return;
    struct peer *p = find_peer(h.agent);
    p->heard = now;
    while ((rc = packet_next(reader, &it, &number, NULL)) == 1) {
        if (it.kind != ITEM_HELLO && (!p->known || (p->gone && it.kind != ITEM_LEAVE))) {
            tell(p, &(struct item){.kind = ITEM_WHO});
            break;
        }
        bool again = number > 0 && number <= p->taken;
        if (number > p->taken + 1)
            break;
        if (number == p->taken + 1)
            p->taken = number;
        if (!again || it.kind == ITEM_ASK || it.kind == ITEM_REPORT)
            on_item(p, &it);
    }
    CHECK(rc >= 0);
    for (int s = 0; s < p->slots; s++)
        if (p->parked[s] && p->known && !p->gone)
            hand_out(p, s);
    commit(p);
}

/* Gives up who was silent for too long: by the executor's word, or by its own patience.
 */
static void controller_looks(void)
{
    for (int i = 0; i < ctl.peers; i++)
        if (!ctl.peer[i].gone && now - ctl.peer[i].heard > SILENT)
            lose(&ctl.peer[i]);
    for (int t = 0; t < TRIALS && now > ctl.expected_until; t++) {
        bool known = false;
        for (int i = 0; i < ctl.peers; i++)
            known |= ctl.peer[i].id == ctl.trial[t].agent && !ctl.peer[i].gone;
        if (ctl.trial[t].is == RUNNING && !known)
            end_trial(t);
    }
    for (int i = 0; i < ctl.peers; i++)
        for (int s = 0; s < ctl.peer[i].slots; s++)
            if (ctl.peer[i].parked[s] && !ctl.peer[i].gone && ctl.up) {
                hand_out(&ctl.peer[i], s);
                if (ctl.peer[i].out.len)
                    commit(&ctl.peer[i]);
            }
}

static void controller_changes(void)
{
    if (ctl.up) {
        crash();
        return;
    }
    ctl.up = true;
    ctl.epoch++;
    ctl.expected_until = now + REJOIN;
    ctl.next_change = faulty() ? now + fault.uptime * chance() : INFINITY;
}

/* ---- agents and their programs ---- */

static void do_send(void *ctx, const char *packet, size_t n)
{
    const struct process *p = ctx;
    if (p->cut <= now)
        fly(0, p->connected, packet, n);
}

static void do_start(void *ctx, int slot, const struct item *work)
{
    struct program *g = &((struct process *)ctx)->program[slot];
    CHECK(!g->runs);
    CHECK(work->work.nonce <= nonces);
    CHECK(++said[work->work.nonce].started == 1);
    starts++;
    *g = (struct program){.runs = true,
                          .trial = work->work.trial,
                          .attempt = work->work.attempt,
                          .step = work->work.start,
                          .until = work->work.until,
                          .next = now + 3 * chance()};
}

static void exits(struct program *g, int code)
{
    if (g->exiting)
        return;
    g->exiting = true;
    g->exit_code = code;
    g->next = now + (happens(0.1) ? 30 : 1) * chance();
}

static void do_end(void *ctx, int slot)
{
    struct program *g = &((struct process *)ctx)->program[slot];
    CHECK(g->runs);
    exits(g, 143);
}

static void do_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    struct process *p = ctx;
    struct program *g = &p->program[slot];
    uint64_t nonce = agent_open(p->mind, slot)->nonce;
    const char *until = strstr(line, "\"until\":");
    (void)n;
    CHECK(!strstr(line, "error"));
    if (conn != 1) /* of a saved */
        return;
    CHECK(g->runs && g->waits);
    g->waits = false;
    if (strstr(line, "\"continue\"")) {
        if (promote && g->step >= g->until)
            CHECK(said[nonce].decided[g->number] == DECISION_CONTINUE);
        g->next = now + 3 * chance();
    } else {
        exits(g, 0);
    }
    if (until)
        g->until = strtoll(until + 8, NULL, 10);
}

static void do_quit(void *ctx, int status, const char *why)
{
    struct process *p = ctx;
    (void)why;
    CHECK(status == 0);
    for (int s = 0; s < SLOTS; s++)
        CHECK(!p->program[s].runs);
    p->lives = false;
    p->buried = now;
}

static void spawn(void)
{
    static const struct agent_port port = {do_send, do_start, do_end,
                                           NULL,    do_reply, do_quit};
    struct process *p = &process[processes];
    struct agent_config c = {.id = (uint64_t)processes + 1,
                             .slots = 1 + (int)(chance() * SLOTS),
                             .host = SLICE("n"),
                             .release = SLICE("1"),
                             .promote = promote,
                             .timeout = happens(0.5) ? 400 : 0};
    CHECK(processes < PEERS);
    processes++;
    timers_default(&c.timers);
    *p = (struct process){.id = c.id, .lives = true};
    p->mind = agent_new(&c, &port, p, now);
}

static void ends(struct process *p, int slot)
{
    struct end_facts f = {.exit_code = p->program[slot].exit_code};
    p->program[slot].runs = false;
    agent_ended(p->mind, slot, &f, now);
}

static void reports(struct process *p, int slot)
{
    struct program *g = &p->program[slot];
    uint64_t nonce = agent_open(p->mind, slot)->nonce;
    char line[64];
    int n;
    if (g->step >= LAST_STEP || happens(0.02)) { /* at its own end, or a bug */
        exits(g, g->step < LAST_STEP);
        return;
    }
    g->step++;
    g->number++;
    g->waits = true;
    CHECK(g->number < 64);
    said[nonce].n = g->number;
    said[nonce].step[g->number] = g->step;
    n = snprintf(line, sizeof(line), "{\"step\":%d}\n", (int)g->step);
    agent_line(p->mind, slot, 1, line, (size_t)n, now);
    if (!happens(0.4))
        return;
    n = snprintf(line, sizeof(line), "{\"saved\":%d}\n", (int)g->step);
    agent_line(p->mind, slot, 2, line, (size_t)n, now);
}

static double agent_due(const struct process *p)
{
    double due = fmin(agent_deadline(p->mind), p->look);
    for (int s = 0; s < SLOTS; s++)
        if (p->program[s].runs && (!p->program[s].waits || p->program[s].exiting))
            due = fmin(due, p->program[s].next);
    return due;
}

static void agent_acts(struct process *p)
{
    for (int s = 0; s < SLOTS; s++) {
        struct program *g = &p->program[s];
        if (!g->runs || g->next > now)
            continue;
        if (g->exiting)
            ends(p, s);
        else if (!g->waits)
            reports(p, s);
    }
    if (agent_lost_controller(p->mind, now) && ctl.up && p->connected < ctl.epoch) {
        p->connected = ctl.epoch;
        agent_controller(p->mind, ctl.epoch, now);
    }
    p->look = now + 1;
    agent_tick(p->mind, now);
    CHECK(!p->lives || agent_deadline(p->mind) > now);
}

/* SIGKILL, or a node that fails: its programs are gone with it. */
static void dies(struct process *p)
{
    p->lives = false;
    p->buried = now + 70 * chance();
}

/* ---- the world's clock ---- */

static double world_next(void)
{
    double next = fmin(ctl.next_change, now + 5);
    for (size_t i = 0; i < air.n; i++)
        next = fmin(next, air.v[i].at);
    for (int i = 0; i < processes; i++)
        if (process[i].lives)
            next = fmin(next, agent_due(&process[i]));
    return fmax(next, now);
}

static void deliver(struct flight f)
{
    if (f.to_agent == 0) {
        /* One for an earlier controller can still reach this one. */
        if (ctl.up && (f.epoch == ctl.epoch || happens(0.3)))
            controller_hears(f.data, f.n);
    } else {
        struct process *p = &process[f.to_agent - 1];
        if (p->lives && p->cut <= now)
            agent_packet(p->mind, f.data, f.n, now);
    }
    free(f.data);
}

static int living(void)
{
    int n = 0;
    for (int i = 0; i < processes; i++)
        n += process[i].lives;
    return n;
}

static void world_step(void)
{
    double passed = -now;
    now = world_next();
    passed += now;
    for (size_t i = 0; i < air.n;)
        if (air.v[i].at <= now) {
            struct flight f = air.v[i];
            vec_remove(&air, i);
            deliver(f);
        } else {
            i++;
        }
    if (ctl.next_change <= now)
        controller_changes();
    if (faulty() && ctl.next_pause <= now) {
        ctl.pausing = !ctl.pausing;
        ctl.next_pause = now + (ctl.pausing ? 60 : 300) * chance();
    } else if (!faulty()) {
        ctl.pausing = false;
    }
    if (ctl.up)
        controller_looks();
    for (int i = 0; i < processes; i++) {
        struct process *p = &process[i];
        if (p->lives && faulty() && happens(fault.death * passed))
            dies(p);
        if (p->lives && faulty() && happens(fault.eviction * passed))
            agent_evict(p->mind, "preempted", now);
        if (p->lives && faulty() && happens(fault.cut * passed))
            p->cut = now + 400 * chance();
        if (p->lives)
            agent_acts(p);
        for (int k = 0; !p->lives && p->buried <= now && ctl.up && k < ctl.peers; k++)
            if (ctl.peer[k].id == p->id && !ctl.peer[k].gone)
                lose(&ctl.peer[k]);
    }
    while (living() < AGENTS && !all_done())
        spawn();
}

static void world_begin(uint64_t s)
{
    seed = s;
    draws = 0;
    now = 0;
    nonces = starts = counted_reports = 0;
    processes = 0;
    memset(said, 0, sizeof(said));
    memset(&ctl, 0, sizeof(ctl));
    promote = happens(0.5);
    fault.end = 50 + 600 * chance();
    fault.lost = 0.3 * chance();
    fault.doubled = 0.3 * chance();
    fault.late = 0.5 * chance();
    fault.crash = happens(0.5) ? 0 : 0.02 * chance();
    fault.uptime = happens(0.3) ? INFINITY : 600;
    fault.death = happens(0.5) ? 0 : 0.002;
    fault.eviction = happens(0.5) ? 0 : 0.002;
    fault.cut = happens(0.5) ? 0 : 0.003;
    ctl.next_pause = happens(0.5) ? INFINITY : 100;
    for (int t = 0; t < TRIALS; t++)
        ctl.trial[t].until = 1;
    memcpy(ctl.committed, ctl.trial, sizeof(ctl.trial));
}

static void world_end(void)
{
    for (int i = 0; i < processes; i++)
        agent_free(process[i].mind);
    for (int i = 0; i < ctl.peers; i++)
        str_free(&ctl.peer[i].out);
    for (size_t i = 0; i < air.n; i++)
        free(air.v[i].data);
    air.n = 0;
}

static void test_faults(void **state)
{
    const char *only = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t last = only ? first : many ? strtoull(many, NULL, 10) : 200;
    uint64_t all_starts = 0, all_reports = 0;
    double all_time = 0;
    (void)state;
    reader = packet_new();
    for (uint64_t s = first; s <= last; s++) {
        world_begin(s);
        while (!(all_done() && living() == 0)) {
            world_step();
            CHECK(now < fault.end + PATIENCE);
        }
        all_time += now;
        all_starts += starts;
        all_reports += counted_reports;
        world_end();
    }
    print_message("%d seeds, %d attempts, %d reports, %.0f h of the world's time\n",
                  (int)(last - first + 1), (int)all_starts, (int)all_reports,
                  all_time / 3600);
    vec_free(&air);
    packet_free(reader);
    vec_free(&deciding);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests_name("worker/agent/agent_faults", tests, NULL, NULL);
}
