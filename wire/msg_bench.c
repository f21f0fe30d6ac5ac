/* What a report costs on its way: the program's line, its item in the outbox and in a
 * packet, and the item read at the controller. Median of 9 rounds of 200,000. */
#include "base/clock.h"
#include "base/rank.h"
#include "wire/msg.h"
#include "wire/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS  9
#define REPORTS 200000
#define TARGET  0.6 /* microseconds */

static const struct metric metrics[] = {{SLICE("val_loss"), 0.21349857},
                                        {SLICE("accuracy"), 0.9134}};

static struct item report = {.kind = ITEM_REPORT,
                             .report = {.trial = 123,
                                        .attempt = 2,
                                        .nonce = 0x0123456789abcdef,
                                        .number = 1,
                                        .step = 1,
                                        .elapsed = 123.456789,
                                        .metrics = metrics,
                                        .n_metrics = 2}};
static struct str packet = STR_INIT;
static struct packet *reader;
static int64_t sum; /* of what was read: nothing is optimised away */

static void make_packet(void)
{
    const struct packet_head h = {.version = WIRE_VERSION,
                                  .release = SLICE("0.1.0"),
                                  .epoch = 1,
                                  .agent = 1,
                                  .first = 1};
    str_cut(&packet, 0);
    packet_begin(&packet, &h);
}

static void encode(void)
{
    make_packet();
    for (int i = 0; i < REPORTS; i++) {
        report.report.number = (uint32_t)i + 1;
        report.report.step = i;
        item_encode(&report, &packet);
    }
}

static void decode(void)
{
    struct packet_head h;
    struct item it;
    uint64_t number;
    int n = 0;
    make_packet();
    for (int i = 0; i < 100; i++)
        item_encode(&report, &packet);
    while (n < REPORTS) {
        if (packet_open(reader, packet.p, packet.len, &h, NULL) != 0)
            abort();
        for (; packet_next(reader, &it, &number, NULL) == 1; n++)
            sum += it.report.step + it.report.n_metrics;
    }
}

static void queue(void)
{
    struct outbox *o = outbox_new();
    for (int i = 0; i < REPORTS; i++) {
        outbox_put(o, &report);
        if (i % 100 == 99) {
            make_packet();
            outbox_take(o, 1 << 16, &packet);
            outbox_ack(o, outbox_next(o) - 1);
        }
    }
    outbox_free(o);
}

static void read_line(void)
{
    static struct trial_line line = {.names = STR_INIT};
    static const char text[] =
        "{\"step\": 27, \"metrics\": {\"val_loss\": 0.21349857, \"accuracy\": 0.9134}}\n";
    for (int i = 0; i < REPORTS; i++)
        if (trial_line_parse(text, sizeof(text) - 1, &line, NULL) == 0)
            sum += line.step;
}

static void measure(const char *what, void (*run)(void))
{
    double us[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        double start = clock_mono();
        run();
        us[i] = (clock_mono() - start) / REPORTS * 1e6;
    }
    printf("%.3f us\t< %.1f us\t%s, 2 metrics, median of %d x %d\n", median(us, ROUNDS),
           TARGET, what, ROUNDS, REPORTS);
}

int main(void)
{
    reader = packet_new();
    measure("wire: encode a report item", encode);
    measure("wire: decode a report item", decode);
    measure("wire: report through the outbox", queue);
    measure("wire: parse a trial's report line", read_line);
    packet_free(reader);
    str_free(&packet);
    return sum == 0;
}
