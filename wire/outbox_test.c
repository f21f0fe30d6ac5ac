#include "wire/msg.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t put(struct outbox *o, uint32_t ask)
{
    const struct item it = {.kind = ITEM_ASK, .ask = {.slot = 0, .ask = ask}};
    return outbox_put(o, &it);
}

/* Takes items; each one's ask must be its number. How many. */
static size_t take(struct outbox *o, size_t max)
{
    struct str s = STR_INIT;
    uint64_t number = outbox_next(o);
    size_t n = outbox_take(o, max, &s);
    const char *p = s.p;
    for (size_t i = 0; i < n; i++, number++) {
        const char *ask = strstr(p, "\"ask\":");
        assert_non_null(ask);
        assert_int_equal(strtoull(ask + 6, NULL, 10), number);
        p = strchr(p, '\n') + 1;
    }
    assert_ptr_equal(p, s.p + s.len);
    str_free(&s);
    return n;
}

static void test_order(void **state)
{
    struct outbox *o = outbox_new();
    (void)state;
    assert_int_equal(outbox_oldest(o), 1);
    assert_int_equal(outbox_next(o), 1);
    assert_int_equal(take(o, 1000), 0);
    for (uint32_t i = 1; i <= 5; i++)
        assert_int_equal(put(o, i), i);
    assert_int_equal(outbox_unsent(o), 5);
    assert_int_equal(take(o, 1), 1); /* one at least, whatever its size */
    assert_int_equal(take(o, 85), 2);
    assert_int_equal(outbox_unsent(o), 2);
    assert_int_equal(outbox_unacked(o), 5);
    assert_false(outbox_ack(o, 0));
    assert_false(outbox_ack(o, 6)); /* never put */
    assert_true(outbox_ack(o, 2));
    assert_false(outbox_ack(o, 2));
    assert_false(outbox_ack(o, 1)); /* a late one */
    assert_int_equal(outbox_oldest(o), 3);
    outbox_rewind(o);
    assert_int_equal(outbox_next(o), 3);
    assert_int_equal(outbox_unsent(o), 3);
    assert_true(outbox_ack(o, 4)); /* sent before the rewind */
    assert_int_equal(take(o, 1000), 1);
    assert_true(outbox_ack(o, 5));
    assert_int_equal(outbox_unacked(o), 0);
    assert_int_equal(outbox_bytes(o), 0);
    assert_int_equal(outbox_oldest(o), 6);
    assert_int_equal(put(o, 6), 6);
    outbox_free(o);
    outbox_free(NULL);
}

/* Against counters, through all that can happen. */
static void test_random(void **state)
{
    struct outbox *o = outbox_new();
    uint64_t oldest = 1, next = 1, last = 0;
    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t r = rng_u64(7, RNG_TEST, i, 0, 0), span = last - oldest + 1;
        size_t n;
        switch (r % 8) {
        case 0:
            assert_true(outbox_ack(o, oldest + r / 8 % (span + 1)) ==
                        (r / 8 % (span + 1) < span));
            if (r / 8 % (span + 1) < span)
                oldest += r / 8 % (span + 1) + 1;
            next = next < oldest ? oldest : next;
            break;
        case 1:
            outbox_rewind(o);
            next = oldest;
            break;
        case 2:
        case 3:
            n = take(o, r / 8 % 400);
            assert_true(n > 0 || next > last);
            next += n;
            break;
        default: assert_int_equal(put(o, (uint32_t)last + 1), last + 1); last++;
        }
        assert_int_equal(outbox_oldest(o), oldest);
        assert_int_equal(outbox_next(o), next);
        assert_int_equal(outbox_unacked(o), last + 1 - oldest);
        assert_int_equal(outbox_unsent(o), last + 1 - next);
        assert_true(outbox_bytes(o) >= 38 * (last + 1 - oldest));
    }
    outbox_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("wire/outbox", tests, NULL, NULL);
}
