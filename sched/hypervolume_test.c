#include "sched/hypervolume.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above */
#include <cmocka.h>

#define MOST  8
#define CELLS 11 /* of a grid, in each objective: values are multiples of a tenth */

/* How many cells of the grid one of the chosen is at least as good as. */
static int volume(const struct score s[], int objectives, const uint32_t chosen[],
                  size_t n)
{
    int count = 0, cells = 1;

    for (int k = 0; k < objectives; k++)
        cells *= CELLS;
    for (int cell = 0; cell < cells; cell++) {
        bool any = false;

        for (size_t i = 0; i < n && !any; i++) {
            int rest = cell;

            any = true;
            for (int k = 0; k < objectives; k++, rest /= CELLS)
                any = any && s[chosen[i]].v[k] * 10 < rest % CELLS + 0.5;
        }
        count += any;
    }
    return count;
}

/* Each is one that adds most, by counting. */
static void test_against_counting(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 40; seed++) {
        int objectives = 2 + (int)(seed % 3);
        struct score s[MOST + 2] = {{{0}}};
        uint32_t chosen[MOST + 2];
        bool taken[MOST + 2] = {false};
        size_t n = MOST + 2;

        for (uint32_t i = 0; i < n; i++)
            for (int k = 0; k < objectives; k++)
                s[i].v[k] =
                    i >= MOST /* so that the extent is from 0 to 1 */
                        ? (double)((int)(i - MOST) == k % 2)
                        : floor(rng_unit(seed, RNG_TEST, i, (uint32_t)k, 0) * 11) / 10;
        hypervolume_choose(s, n, n, chosen);
        for (size_t done = 0; done < n; done++) {
            int got = volume(s, objectives, chosen, done + 1);
            uint32_t other = chosen[done];

            assert_false(taken[other]);
            for (uint32_t i = 0; i < n; i++) {
                if (taken[i])
                    continue;
                chosen[done] = i;
                assert_true(volume(s, objectives, chosen, done + 1) <= got);
            }
            chosen[done] = other;
            taken[other] = true;
        }
    }
}

/* What a score of two objectives adds to some whom it does not dominate nor they it: the
 * rectangle between the neighbours. */
static double between(const struct score s[], uint32_t i, const uint32_t taken[],
                      size_t n)
{
    double right = 1.1, above = 1.1;

    for (size_t k = 0; k < n; k++) {
        const struct score *t = &s[taken[k]];

        if (t->v[0] >= s[i].v[0])
            right = fmin(right, t->v[0]);
        if (t->v[1] >= s[i].v[1])
            above = fmin(above, t->v[1]);
    }
    return (right - s[i].v[0]) * (above - s[i].v[1]);
}

/* Each of a large front's, some of it twice, is one that adds most. */
static void test_against_neighbours(void **state)
{
    enum { FRONT = 300, WANT = 40 };

    (void)state;
    for (uint32_t seed = 0; seed < 9; seed++) {
        struct score s[FRONT] = {{{0, 1}}, {{1, 0}}}; /* so the extent is from 0 to 1 */
        uint32_t chosen[WANT];

        for (uint32_t i = 2; i < FRONT; i++) {
            double u = rng_unit(seed, RNG_TEST, i % 250, 0, 0);

            s[i].v[0] = seed % 3 == 0 ? floor(u * 128) / 128 : u;
            s[i].v[1] = seed % 3 == 1 ? 1 - sqrt(s[i].v[0]) : 1 - s[i].v[0];
        }
        hypervolume_choose(s, FRONT, WANT, chosen);
        for (size_t done = 0; done < WANT; done++)
            for (uint32_t i = 0; i < FRONT; i++)
                assert_true(between(s, i, chosen, done) <=
                            between(s, chosen[done], chosen, done) + 1e-12);
    }
}

/* A knee adds more than the ends, whatever the units; of equal ones the first. */
static void test_by_hand(void **state)
{
    static const struct score scores[] = {
        {{1.7e308, 1}}, {{-1.7e308, 2}}, {{-1.6e308, 1.1}}, {{-1.6e308, 1.1}}};
    uint32_t chosen[4];

    (void)state;
    hypervolume_choose(scores, 4, 4, chosen);
    assert_int_equal(chosen[0], 2);
    assert_int_equal(chosen[3], 3);
    hypervolume_choose(scores, 0, 0, chosen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_counting),
        cmocka_unit_test(test_against_neighbours),
        cmocka_unit_test(test_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
