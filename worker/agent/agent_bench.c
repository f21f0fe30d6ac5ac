/* How many reports go through one agent's mind a second, on one core: read, put in the
 * outbox, answered, sent, acknowledged. Batches of 32 lines a tick over 8 slots, as a
 * busy node has them. */
#include "base/clock.h"
#include "base/rank.h"
#include "worker/agent/agent.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 9
#define LINES  100000
#define SLOTS  8
#define BATCH  32

static struct agent *a;
static uint64_t replies, bytes;

static void do_send(void *ctx, const char *packet, size_t n)
{
    (void)ctx;
    (void)packet;
    bytes += n;
}

static bool do_start(void *ctx, int slot, const struct item *work)
{
    (void)ctx;
    (void)slot;
    (void)work;
    return true;
}

static void do_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    (void)ctx;
    (void)slot;
    (void)conn;
    (void)line;
    replies += n > 0;
}

static void hears(uint64_t ack, const struct item *it)
{
    const struct packet_head h = {.version = WIRE_VERSION,
                                  .release = SLICE("0.1.0"),
                                  .epoch = 1,
                                  .agent = 1,
                                  .ack = ack};
    struct str s = STR_INIT;
    packet_begin(&s, &h);
    item_encode(it, &s);
    agent_packet(a, s.p, s.len, 0);
    str_free(&s);
}

static double round_seconds(uint64_t *items)
{
    static const char line[] =
        "{\"step\": 27, \"metrics\": {\"val_loss\": 0.21349857, \"accuracy\": 0.9134}}\n";
    double start = clock_mono();
    for (int i = 0; i < LINES; i++) {
        agent_line(a, i % SLOTS, 1, line, sizeof(line) - 1, 0);
        if (i % BATCH == BATCH - 1) {
            *items += BATCH;
            agent_tick(a, 0);
            hears(*items, &(struct item){.kind = ITEM_BEAT});
        }
    }
    return clock_mono() - start;
}

int main(void)
{
    static const struct agent_port port = {
        .send = do_send, .start = do_start, .reply = do_reply};
    struct agent_config c = {.id = 1, .slots = SLOTS, .release = SLICE("0.1.0")};
    uint64_t items = SLOTS;
    double s[ROUNDS];
    timers_default(&c.timers);
    a = agent_new(&c, &port, NULL, 0);
    agent_controller(a, 1, 0);
    agent_tick(a, 0);
    hears(0, &(struct item){.kind = ITEM_WELCOME});
    agent_tick(a, 0);
    for (int i = 0; i < SLOTS; i++) {
        struct item work = {.kind = ITEM_WORK};
        work.work.slot = work.work.trial = i;
        work.work.ask = 1;
        work.work.until = 1000;
        work.work.params = SLICE("{}");
        hears(SLOTS, &work);
    }
    for (int i = 0; i < ROUNDS; i++)
        s[i] = round_seconds(&items);
    printf(
        "%.0f /s\t> 50000 /s\tagent: reports through one agent on a core, 2 metrics, %d "
        "slots, median of %d x %d\n",
        LINES / median(s, ROUNDS), SLOTS, ROUNDS, LINES);
    agent_free(a);
    return replies != (uint64_t)ROUNDS * LINES || bytes == 0;
}
