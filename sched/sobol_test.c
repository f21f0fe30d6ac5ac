#include "sched/search.h"

#include "base/hash.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* From scipy.stats.qmc.Sobol(21201, scramble=False, bits=32) of SciPy 1.17. */
static void bits_are_those_of_scipy(void **state)
{
    static const uint32_t indices[] = {7, 4095, 1234567, 0xaaaaaa};
    static const struct {
        uint32_t dim, bits[COUNT(indices)];
    } table[] = {
        {0, {0x20000000, 0x00100000, 0x23bdd800, 0xffffff00}},
        {1, {0xa0000000, 0xf0f00000, 0xa66b3800, 0x01010100}},
        {2, {0x60000000, 0x55900000, 0x31693800, 0x00004f00}},
        {3, {0x20000000, 0xe6d00000, 0xdd257800, 0x72ffff00}},
        {6, {0xa0000000, 0xf3100000, 0x20c84800, 0x9dad1100}},
        {12, {0xa0000000, 0x5e700000, 0x1b985800, 0xa5000b00}},
        {18, {0xa0000000, 0xd0300000, 0x6182a800, 0xcc160100}},
        {36, {0x60000000, 0x94900000, 0x35a99800, 0x7df34700}},
        {52, {0x60000000, 0xae300000, 0xbf26e800, 0xfc3cef00}},
        {100, {0x60000000, 0x58500000, 0x76348800, 0x25401f00}},
        {160, {0x20000000, 0xb0300000, 0x46407800, 0x89000500}},
        {336, {0xa0000000, 0x81b00000, 0xfe94d800, 0xc6400100}},
        {480, {0x20000000, 0xe6700000, 0x0f096800, 0x4b3ee700}},
        {1110, {0xa0000000, 0x56b00000, 0x84447800, 0x5ff19300}},
        {1111, {0xa0000000, 0x19d00000, 0x9c467800, 0xb6d81900}},
        {1866, {0xe0000000, 0x11300000, 0x511c8800, 0x4eede500}},
        {3666, {0x60000000, 0x07900000, 0x54e3a800, 0xb5c17700}},
        {5714, {0xa0000000, 0xdfd00000, 0xa6269800, 0xe850db00}},
        {9999, {0xe0000000, 0x11b00000, 0x4eae6800, 0x79b69b00}},
        {13424, {0x60000000, 0xd4d00000, 0xfd125800, 0xa5e05f00}},
        {13425, {0xa0000000, 0xfa300000, 0xd27ed800, 0x5640f900}},
        {21200, {0xe0000000, 0xe6100000, 0x072fd800, 0x7dc00700}},
    };
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++)
        for (size_t i = 0; i < COUNT(indices); i++)
            assert_int_equal(sobol_bits(table[t].dim, indices[i]), table[t].bits[i]);
}

/* The same for three points in all dimensions; the Gray code of the first has all 32
 * bits set, so every number of the table matters. */
static void no_number_of_the_table_is_wrong(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t hash;
    } table[] = {{0xaaaaaaaa, 0x745d5945887768ec},
                 {0x00aaaaaa, 0xe3b7b9d0b04172ae},
                 {0x005b2c91, 0x612b4c18804cc986}};
    uint32_t *bits = calloc(SOBOL_DIMS, sizeof(*bits));
    (void)state;
    for (size_t t = 0; t < COUNT(table); t++) {
        for (uint32_t d = 0; d < SOBOL_DIMS; d++)
            bits[d] = sobol_bits(d, table[t].index);
        assert_int_equal(hash64(bits, SOBOL_DIMS * sizeof(*bits)), table[t].hash);
    }
    free(bits);
}

/* What makes it a Sobol sequence, scrambled or not: of each aligned block of 2^k
 * points, each of 2^k equal intervals holds one, in every dimension. */
static void blocks_are_stratified(void **state)
{
    static const uint32_t dims[] = {0, 1, 2, 5, 17, 63, 1000, 21200};
    bool seen[1024];
    (void)state;
    for (size_t d = 0; d < COUNT(dims); d++)
        for (uint32_t n = 1; n <= 1024; n *= 2)
            for (uint32_t block = 0; block < 3; block++) {
                memset(seen, 0, sizeof(seen));
                for (uint32_t i = 0; i < n; i++) {
                    double u = sobol_unit(7, dims[d], block * n + i);
                    assert_true(u > 0 && u < 1);
                    assert_false(seen[(size_t)(u * n)]);
                    seen[(size_t)(u * n)] = true;
                }
            }
}

/* Journals hold these, and a replay compares: they can never change. */
static void points_stay_what_they_are(void **state)
{
    (void)state;
    assert_true(sobol_unit(1, 0, 0) == 0x1.cdd495ebp-1);
    assert_true(sobol_unit(1, 0, 5) == 0x1.26efebe6p-2);
    assert_true(sobol_unit(1, 9, 1234) == 0x1.811855c4p-3);
    assert_true(sobol_unit(0xdeadbeefcafe, 21200, 77) == 0x1.68d73043p-1);
}

static void key_depends_on_seed_and_dimension(void **state)
{
    (void)state;
    assert_true(sobol_unit(1, 0, 0) == sobol_unit(1, 0, 0));
    assert_true(sobol_unit(1, 0, 0) != sobol_unit(2, 0, 0));
    assert_true(sobol_unit(1, 0, 0) != sobol_unit(1, 1, 0));
    assert_true(sobol_unit(1, 0, 0) != sobol_unit(UINT64_C(1) << 40 | 1, 0, 0));
}

#define POINTS 256
#define DIMS   4

/* The square of the L2 star discrepancy by Warnock's formula. */
static double discrepancy(double u[POINTS][DIMS])
{
    double one = 1, two = 0, three = 0;
    for (int i = 0; i < POINTS; i++) {
        double product = 1;
        for (int d = 0; d < DIMS; d++)
            product *= (1 - u[i][d] * u[i][d]) / 2;
        two += product;
        for (int j = 0; j < POINTS; j++) {
            product = 1;
            for (int d = 0; d < DIMS; d++)
                product *= 1 - (u[i][d] > u[j][d] ? u[i][d] : u[j][d]);
            three += product;
        }
    }
    for (int d = 0; d < DIMS; d++)
        one /= 3;
    return one - 2 * two / POINTS + three / (POINTS * POINTS);
}

static void points_are_spread_better_than_random_ones(void **state)
{
    static double sobol[POINTS][DIMS], random[POINTS][DIMS];
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        for (uint32_t i = 0; i < POINTS; i++)
            for (uint32_t d = 0; d < DIMS; d++) {
                sobol[i][d] = sobol_unit(seed, d, i);
                random[i][d] = rng_unit(seed, RNG_TEST, i, d, 0);
            }
        assert_true(discrepancy(sobol) < discrepancy(random) / 4);
    }
}

/* Over the seeds each point is uniform: Kolmogorov's statistic at 0.1%. */
static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void scrambling_is_uniform_over_seeds(void **state)
{
    enum { SEEDS = 4000 };
    static double u[SEEDS];
    (void)state;
    for (uint32_t index = 0; index < 4; index++) {
        double worst = 0;
        for (int i = 0; i < SEEDS; i++)
            u[i] = sobol_unit((uint64_t)i, 3, index);
        qsort(u, SEEDS, sizeof(u[0]), by_size);
        for (int i = 0; i < SEEDS; i++) {
            double above = (i + 1.0) / SEEDS - u[i], below = u[i] - (double)i / SEEDS;
            worst = above > worst ? above : worst;
            worst = below > worst ? below : worst;
        }
        assert_true(worst < 1.95 / 63.2); /* 1.95 / sqrt(4000) */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_those_of_scipy),
        cmocka_unit_test(no_number_of_the_table_is_wrong),
        cmocka_unit_test(blocks_are_stratified),
        cmocka_unit_test(points_stay_what_they_are),
        cmocka_unit_test(key_depends_on_seed_and_dimension),
        cmocka_unit_test(points_are_spread_better_than_random_ones),
        cmocka_unit_test(scrambling_is_uniform_over_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
