#include "worker/train/leak.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB 1048576.0

/* What a process has after epoch i, in MiB. */
typedef double shape(size_t i);

/* Noise in [-1, 1). */
static double noise(size_t i)
{
    return 2 * rng_unit(1, RNG_TEST, (uint32_t)i, 0, 0) - 1;
}

static double flat(size_t i)
{
    (void)i;
    return 200;
}

static double unknown(size_t i)
{
    (void)i;
    return NAN;
}

static double falling(size_t i)
{
    return 2000 - 3 * (double)i;
}

static double uneasy(size_t i)
{
    return 200 + 40 * noise(i);
}

/* Memory that is got bit by bit, and all of it sooner or later. */
static double filling(size_t i)
{
    return 500 - 300 * exp(-(double)i / 6);
}

/* The copy for a checkpoint, then what it takes to write it; both are kept. */
static double steps(size_t i)
{
    return 200 + (i >= 7 ? 150 : 0) + (i >= 23 ? 120 : 0);
}

/* Checkpoints, one in seven epochs: while they are written they hold memory. */
static double saving(size_t i)
{
    return 200 + (i % 7 == 6 ? 150 : 0) + 2 * noise(i);
}

/* A history of epochs. */
static double little(size_t i)
{
    return 200 + 1e-4 * (double)i;
}

static void test_ordinary_runs_do_not_leak(void **state)
{
    (void)state;
    static shape *const shapes[] = {flat,    unknown, falling, uneasy,
                                    filling, steps,   saving,  little};
    enum { MANY = 1000 };
    double *bytes = mem_alloc(MANY * sizeof(*bytes));

    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
        for (size_t n = 0; n < MANY; n++) {
            if (leak_rate(bytes, n) != 0)
                fail_msg("shape %zu leaks after %zu epochs", s, n);
            bytes[n] = shapes[s](n) * MIB;
        }
    free(bytes);
}

static double fast(size_t i)
{
    return 200 + 30 * (double)i;
}

static double slow(size_t i)
{
    return 200 + 0.1 * (double)i + 2 * noise(i);
}

static double leaking_saver(size_t i)
{
    return saving(i) + 5 * (double)(i / 7);
}

static double late(size_t i)
{
    return i < 300 ? 200 : 200 + 8 * (double)(i - 300);
}

static double much(size_t i)
{
    return 50000 + 40 * (double)i;
}

static void test_leaks_are_found_by_and_by(void **state)
{
    (void)state;
    static const struct {
        shape *shape;
        size_t from, to; /* the first number of epochs that it is seen in */
        double rate;     /* MiB an epoch */
    } vectors[] = {
        {fast, 10, 10, 30},  {slow, 160, 640, 0.1}, {leaking_saver, 40, 160, 5.0 / 7},
        {late, 305, 312, 8}, {much, 40, 40, 40},
    };
    enum { MANY = 1000 };
    double *bytes = mem_alloc(MANY * sizeof(*bytes));

    for (size_t v = 0; v < sizeof(vectors) / sizeof(vectors[0]); v++) {
        double found = 0;
        size_t n = 0;
        while (n < MANY && found == 0) {
            bytes[n] = vectors[v].shape(n) * MIB;
            found = leak_rate(bytes, ++n) / MIB;
        }
        if (n < vectors[v].from || n > vectors[v].to ||
            !(fabs(found / vectors[v].rate - 1) < 0.3))
            fail_msg("case %zu: %g MiB an epoch after %zu", v, found, n);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_runs_do_not_leak),
        cmocka_unit_test(test_leaks_are_found_by_and_by),
    };

    return cmocka_run_group_tests_name("leak", tests, NULL, NULL);
}
