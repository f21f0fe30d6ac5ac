/* The agent's mind against a controller and programs that say anything, in any order. It
 * goes on, asks of its hands only what they can do, and what it says can be read.
 *
 * The input is text. A line `{"rung":...` begins a packet, as it is; lines `{"item":...`
 * are added to it, or to one of the controller that the agent obeys. Other lines:
 *
 *     SC{...}  the program in slot S says this on connection C
 *     pS STEP  it printed a metric           eS CODE  it ended      kS SIGNAL  so
 *     cN       controller.json names epoch N
 *     +N       N tenths of a second go by    v        the job is taken away */
#include "base/mem.h"
#include "base/vec.h"
#include "tests/fuzz/fuzz.h"
#include "wire/trial.h"
#include "worker/agent/agent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS     3
#define LINES_MAX 300
#define CONNS     10

struct hand {
    bool runs, ending;
    int waits[CONNS]; /* lines of each connection without their answer */
};

struct world {
    struct agent *a;
    struct packet *reader;
    struct hand slot[SLOTS];
    struct str packet;
    bool raw, quit;
    bool printed; /* `parse:` */
    int32_t epoch;
    uint64_t said; /* the highest number of its items */
    double now;
};

/* ---- what the agent does ---- */

static void on_send(void *ctx, const char *packet, size_t n)
{
    struct world *w = ctx;
    struct packet_head h;
    struct item it;
    uint64_t number;
    int rc;

    FUZZ_CHECK(!w->quit && n <= WIRE_PACKET_MAX);
    FUZZ_CHECK(packet_open(w->reader, packet, n, &h, NULL) == 0);
    FUZZ_CHECK(h.agent == 1 && h.version == WIRE_VERSION);
    FUZZ_CHECK(h.epoch >= w->epoch);
    w->epoch = h.epoch;
    while ((rc = packet_next(w->reader, &it, &number, NULL)) == 1) {
        FUZZ_CHECK(item_numbered(it.kind) == (number > 0));
        FUZZ_CHECK(number <= w->said + 1);
        w->said = number > w->said ? number : w->said;
        FUZZ_CHECK(it.kind <= ITEM_LEAVE || it.kind == ITEM_REFUSED);
    }
    FUZZ_CHECK(rc == 0);
}

static bool on_start(void *ctx, int slot, const struct item *work)
{
    struct world *w = ctx;

    FUZZ_CHECK(!w->quit && slot >= 0 && slot < SLOTS && !w->slot[slot].runs);
    FUZZ_CHECK(work->kind == ITEM_WORK && work->work.slot == slot);
    FUZZ_CHECK(agent_open(w->a, slot) == NULL ||
               agent_open(w->a, slot)->nonce == work->work.nonce);
    w->slot[slot] = (struct hand){.runs = true};
    return true;
}

static void on_end(void *ctx, int slot)
{
    struct world *w = ctx;

    FUZZ_CHECK(!w->quit && w->slot[slot].runs && !w->slot[slot].ending);
    w->slot[slot].ending = true;
}

static void on_save(void *ctx, int slot)
{
    struct world *w = ctx;

    FUZZ_CHECK(!w->quit && w->slot[slot].runs);
}

static void on_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    struct world *w = ctx;

    FUZZ_CHECK(!w->quit && w->slot[slot].runs);
    FUZZ_CHECK(conn < CONNS && w->slot[slot].waits[conn]-- > 0);
    FUZZ_CHECK(memchr(line, '\n', n) == line + n - 1);
}

static void on_quit(void *ctx, int status, const char *why)
{
    struct world *w = ctx;

    FUZZ_CHECK(!w->quit && status >= 0 && why);
    w->quit = true;
}

/* ---- what happens to it ---- */

static void send_packet(struct world *w)
{
    struct packet_head h = {.version = WIRE_VERSION, .release = SLICE("t"), .agent = 1};
    struct str whole = STR_INIT;

    if (w->packet.len == 0)
        return;
    if (!w->raw) {
        h.epoch = w->epoch > 0 ? w->epoch : 1;
        h.ack = w->said;
        packet_begin(&whole, &h);
    }
    str_addn(&whole, w->packet.p, w->packet.len);
    agent_packet(w->a, whole.p, whole.len, w->now);
    str_cut(&w->packet, 0);
    str_free(&whole);
    w->raw = false;
}

static void tick(struct world *w)
{
    agent_tick(w->a, w->now);
    FUZZ_CHECK(w->quit || agent_deadline(w->a) > w->now);
}

static void pass(struct world *w, double seconds)
{
    double until = w->now + seconds;

    for (int i = 0; i < 50 && !w->quit && agent_deadline(w->a) < until; i++) {
        w->now = agent_deadline(w->a);
        tick(w);
    }
    w->now = until;
}

static void ended(struct world *w, int slot, int code, int signal)
{
    struct end_facts f = {
        .exit_code = signal ? -1 : code, .signal = signal, USAGE_UNKNOWN};

    if (!w->slot[slot].runs)
        return;
    w->slot[slot].runs = false;
    agent_ended(w->a, slot, &f, w->now);
}

static void says(struct world *w, int slot, struct slice line)
{
    int64_t conn = line.len > 0 && *line.p >= '0' && *line.p <= '9' ? *line.p - '0' : -1;

    if (conn < 0 || !w->slot[slot].runs)
        return;
    w->slot[slot].waits[conn]++;
    agent_line(w->a, slot, (uint64_t)conn, line.p + 1, line.len - 1, w->now);
}

static void printed(struct world *w, int slot, int64_t step)
{
    struct metric m = {SLICE("loss"), 1.0 / ((double)step + 1)};

    if (w->slot[slot].runs && w->printed)
        agent_printed(w->a, slot, step, &m, 1, w->now);
}

static void happens(struct world *w, struct slice line)
{
    char op = line.len > 0 ? *line.p : '\0';
    int slot;

    line.p += op != '\0';
    line.len -= op != '\0';
    if (op >= '0' && op < '0' + SLOTS) {
        says(w, op - '0', line);
        return;
    }
    switch (op) {
    case 'c': agent_controller(w->a, (int32_t)fuzz_number(&line, 1000), w->now); return;
    case '+': pass(w, (double)fuzz_number(&line, 1000000) / 10); return;
    case 'v': agent_evict(w->a, "the job's time is over", w->now); return;
    default: break;
    }
    slot = (int)fuzz_number(&line, SLOTS - 1);
    switch (op) {
    case 'p': printed(w, slot, fuzz_number(&line, INT64_C(1) << 53)); break;
    case 'e': ended(w, slot, (int)fuzz_number(&line, 255), 0); break;
    case 'k': ended(w, slot, 0, (int)fuzz_number(&line, 64)); break;
    default: break;
    }
}

static struct agent *begin(struct world *w, size_t flags)
{
    static const struct agent_port port = {.send = on_send,
                                           .start = on_start,
                                           .end = on_end,
                                           .save = on_save,
                                           .reply = on_reply,
                                           .quit = on_quit};
    struct agent_config c = {.id = 1,
                             .slots = SLOTS,
                             .host = SLICE("h"),
                             .job = SLICE("j"),
                             .release = SLICE("t"),
                             .max_t = 9};

    c.promote = flags & 1;
    c.printed = w->printed = flags & 2;
    c.restart = flags & 4;
    c.timeout = flags & 8 ? 30 : 0;
    c.trials_per_job = flags & 16 ? 2 : 0;
    c.ends = flags & 32 ? w->now + 1000 : 0;
    timers_default(&c.timers);
    return agent_new(&c, &port, w, w->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = {(const char *)data, n}, line;
    struct world w = {.reader = packet_new(), .packet = STR_INIT, .now = 1000};

    w.a = begin(&w, n);
    for (int i = 0; i < LINES_MAX && !w.quit && fuzz_line(&rest, &line); i++) {
        if (line.len > 0 && *line.p == '{') {
            if (line.len > 2 && line.p[2] == 'r') {
                send_packet(&w);
                w.raw = true;
            }
            str_addn(&w.packet, line.p, line.len);
            str_addc(&w.packet, '\n');
            continue;
        }
        send_packet(&w);
        if (!w.quit)
            happens(&w, line);
        if (!w.quit)
            tick(&w);
    }
    if (!w.quit)
        send_packet(&w);
    for (int s = 0; s < SLOTS && !w.quit; s++)
        ended(&w, s, 0, 15);
    if (!w.quit)
        pass(&w, 10);
    agent_free(w.a);
    packet_free(w.reader);
    str_free(&w.packet);
    return 0;
}
