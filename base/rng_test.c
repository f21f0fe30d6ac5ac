#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The known answers of Random123 1.14 for philox4x32, 10 rounds (tests/kat_vectors);
 * rng_u64() takes the first two of the four words. */
static void test_known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint32_t *c = cases[i].counter;
        uint64_t seed = cases[i].key[0] | (uint64_t)cases[i].key[1] << 32;
        uint64_t want = cases[i].want[0] | (uint64_t)cases[i].want[1] << 32;
        assert_int_equal(rng_u64(seed, (enum rng_stream)c[3], c[0], c[1], c[2]), want);
        uint64_t all[2];
        rng_u128(seed, (enum rng_stream)c[3], c[0], c[1], c[2], all);
        assert_int_equal(all[0], want);
        assert_int_equal(all[1], cases[i].want[2] | (uint64_t)cases[i].want[3] << 32);
    }
}

/* Every argument counts, and none stands in for another. */
static void test_keyed(void **state)
{
    (void)state;
    uint64_t draws[] = {
        rng_u64(1, RNG_SEARCH, 2, 3, 4),          rng_u64(2, RNG_SEARCH, 2, 3, 4),
        rng_u64(1ull << 32, RNG_SEARCH, 2, 3, 4), rng_u64(1, RNG_BRACKET, 2, 3, 4),
        rng_u64(1, RNG_SEARCH, 3, 2, 4),          rng_u64(1, RNG_SEARCH, 2, 4, 3),
        rng_u64(1, RNG_SEARCH, 2, 3, 5),
    };
    size_t n = sizeof(draws) / sizeof(draws[0]);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(draws[i] != draws[k]);
    assert_true(draws[0] == rng_u64(1, RNG_SEARCH, 2, 3, 4));
}

static void test_unit(void **state)
{
    enum { N = 100000, BINS = 64 };
    int bins[BINS] = {0};
    double sum = 0;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        double u = rng_unit(7, RNG_TEST, i, 0, 0);
        assert_true(u >= 0 && u < 1);
        assert_true(u == (double)(rng_u64(7, RNG_TEST, i, 0, 0) >> 11) / 0x1p53);
        bins[(int)(u * BINS)]++;
        sum += u;
    }
    /* Chi-square with 63 degrees of freedom: 103.4 is the quantile of 1 - 1e-3. */
    double chi2 = 0, want = (double)N / BINS;
    for (int b = 0; b < BINS; b++)
        chi2 += (bins[b] - want) * (bins[b] - want) / want;
    assert_true(chi2 < 103.4);
    assert_true(sum / N > 0.497 && sum / N < 0.503);
}

static void test_secret(void **state)
{
    unsigned char a[1000], b[1000], guard[2] = {0xaa, 0xaa}, zeros[16] = {0};
    (void)state;
    rng_secret(guard, 0);
    assert_int_equal(guard[0], 0xaa);
    memset(a, 0, sizeof(a));
    rng_secret(a, sizeof(a));
    rng_secret(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + sizeof(a) - 16, zeros, 16); /* filled to the end */
    guard[0] = 0;
    for (int i = 0; i < 100 && guard[0] == 0; i++)
        rng_secret(guard, 1);
    assert_int_not_equal(guard[0], 0);
    assert_int_equal(guard[1], 0xaa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_keyed),
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests_name("base/rng", tests, NULL, NULL);
}
