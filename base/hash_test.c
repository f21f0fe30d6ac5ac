#include "base/hash.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_hash(void **state)
{
    (void)state;
    /* XXH3's own value for no input; a journal's checksums must stay readable. */
    assert_true(hash64("", 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(hash64("journal", 7) != hash64("journa1", 7));
    assert_true(hash64("journal", 7) == hash64("journal!", 7));
}

static void test_hex(void **state)
{
    static const char *const bad[] = {"",
                                      "0123456789abcde",
                                      "0123456789abcdef0",
                                      "0123456789ABCDEF",
                                      "0123456789abcdeg",
                                      "0123456789abcd e",
                                      "-123456789abcdef",
                                      "0x23456789abcdef"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t v = 1;
        assert_false(hash_unhex(bad[i], strlen(bad[i]), &v));
        assert_true(v == 1);
    }
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t v = i ? rng_u64(1, RNG_TEST, i, 0, 0) >> (i % 64) : 0, back;
        char hex[17];
        hash_hex(hex, v);
        assert_int_equal(strlen(hex), 16);
        assert_true(hash_unhex(hex, 16, &back));
        assert_true(v == back);
    }
    char hex[17];
    hash_hex(hex, UINT64_C(0x0123456789abcdef));
    assert_string_equal(hex, "0123456789abcdef");
}

static void test_map_empty(void **state)
{
    (void)state;
    struct map m = {0};
    uint32_t v = 5;
    assert_false(map_get(&m, 0, &v));
    assert_false(map_remove(&m, 0));
    assert_int_equal(v, 5);
    map_put(&m, 0, 9); /* zero is a key as any other */
    assert_true(map_get(&m, 0, &v));
    assert_int_equal(v, 9);
    assert_true(map_remove(&m, 0));
    assert_false(map_get(&m, 0, &v));
    map_free(&m);
    map_free(&m);
    assert_int_equal(m.n, 0);
}

/* Puts and removes at random, beside an array that does the same. */
static void against_array(uint64_t (*key_of)(uint32_t i))
{
    enum { KEYS = 200, STEPS = 50000 };
    bool there[KEYS] = {false};
    uint32_t values[KEYS] = {0};
    size_t n = 0;
    struct map m = {0};
    for (uint32_t step = 0; step < STEPS; step++) {
        uint64_t r = rng_u64(3, RNG_TEST, step, 0, 0);
        /* From nearly empty to nearly full and back. */
        bool add = (r >> 32) % 100 < (step / 5000 % 2 ? 30 : 70);
        uint32_t i = (uint32_t)r % KEYS, v;
        if (add) {
            map_put(&m, key_of(i), step);
            n += !there[i];
            there[i] = true;
            values[i] = step;
        } else {
            assert_int_equal(map_remove(&m, key_of(i)), there[i]);
            n -= there[i];
            there[i] = false;
        }
        assert_int_equal(m.n, n);
        if (step % 100 != 0)
            continue;
        for (i = 0; i < KEYS; i++) {
            v = 0;
            assert_int_equal(map_get(&m, key_of(i), &v), there[i]);
            assert_int_equal(v, there[i] ? values[i] : 0);
        }
    }
    map_free(&m);
}

static uint64_t small_key(uint32_t i)
{
    return i;
}

static uint64_t large_key(uint32_t i)
{
    return ~UINT64_C(0) - i * UINT64_C(0x100000000);
}

/* All want the same slot: the multiplier's inverse modulo 2^64 undoes it. */
static uint64_t crowded_key(uint32_t i)
{
    return i * UINT64_C(0xf1de83e19937733d);
}

static void test_map_random(void **state)
{
    (void)state;
    against_array(small_key);
    against_array(large_key);
    assert_true(UINT64_C(0xf1de83e19937733d) * UINT64_C(0x9e3779b97f4a7c15) == 1);
    against_array(crowded_key);
}

static void test_map_large(void **state)
{
    (void)state;
    struct map m = {0};
    uint32_t v;
    for (uint32_t i = 0; i < 100000; i++)
        map_put(&m, (uint64_t)i << 20, i);
    assert_int_equal(m.n, 100000);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_true(map_get(&m, (uint64_t)i << 20, &v));
        assert_int_equal(v, i);
    }
    assert_false(map_get(&m, 1, &v));
    map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),      cmocka_unit_test(test_hex),
        cmocka_unit_test(test_map_empty), cmocka_unit_test(test_map_random),
        cmocka_unit_test(test_map_large),
    };
    return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
