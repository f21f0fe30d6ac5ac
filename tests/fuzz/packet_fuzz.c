/* What comes over the wire: any bytes are read or refused; what was read, written again,
 * reads as the same, header and items of every kind. */
#include "base/vec.h"
#include "tests/fuzz/fuzz.h"
#include "wire/msg.h"

#include <stdlib.h>

/* Reads a packet and writes what it held: rc, and how many items. */
static int again(const char *data, size_t n, struct str *out, int *items)
{
    struct packet *p = packet_new();
    struct packet_head h;
    struct item it;
    uint64_t number, last = 0;
    struct err e;
    int rc = packet_open(p, data, n, &h, &e);

    *items = 0;
    if (rc == 0) {
        packet_begin(out, &h);
        while ((rc = packet_next(p, &it, &number, &e)) == 1) {
            FUZZ_CHECK(it.kind > ITEM_NONE && it.kind < ITEM_KINDS);
            FUZZ_CHECK(item_numbered(it.kind) ? number > last : number == 0);
            if (number)
                last = number;
            item_encode(&it, out);
            ++*items;
        }
    }
    FUZZ_CHECK(rc == 0 || (rc == ERR_PROTO && e.code == rc && *e.text));
    packet_free(p);
    return rc;
}

/* What an agent has said and not heard acknowledged: all of it comes, in order. */
static void through_outbox(const struct str *text, int items)
{
    struct packet *p = packet_new();
    struct outbox *o = outbox_new();
    struct str out = STR_INIT;
    struct packet_head h;
    struct item it;
    uint64_t number, next = 1;
    size_t taken = 0, put = 0;

    FUZZ_CHECK(packet_open(p, text->p, text->len, &h, NULL) == 0);
    while (packet_next(p, &it, &number, NULL) == 1) {
        if (!item_numbered(it.kind))
            continue;
        FUZZ_CHECK(outbox_put(o, &it) == next++);
        put++;
    }
    FUZZ_CHECK(put <= (size_t)items && outbox_unsent(o) == put);
    while (outbox_unsent(o) > 0)
        taken += outbox_take(o, 1, &out);
    FUZZ_CHECK(taken == put && outbox_unacked(o) == put && outbox_bytes(o) == out.len);
    FUZZ_CHECK(outbox_ack(o, put / 2) == (put / 2 > 0));
    outbox_rewind(o);
    FUZZ_CHECK(outbox_unsent(o) == put - put / 2 && outbox_oldest(o) == put / 2 + 1);
    str_free(&out);
    outbox_free(o);
    packet_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str once = STR_INIT, twice = STR_INIT;
    int items, same;

    if (again((const char *)data, n, &once, &items) == 0) {
        FUZZ_CHECK(again(once.p, once.len, &twice, &same) == 0 && items == same);
        FUZZ_SAME(&once, &twice);
        through_outbox(&once, items);
    }
    str_free(&once);
    str_free(&twice);
    return 0;
}
