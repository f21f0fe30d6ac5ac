/* With a library of our own in the place of the driver's (tests/nvml.c). */
#include "gpu/usage.h"

#include "base/clock.h"

#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB      1048576.0
#define SECONDS  0.02
#define PATIENCE 20.0

static char path[] = "/tmp/rung-usage-test-XXXXXX";

/* The machine is such from now on. */
static void machine(const char *lines)
{
    char tmp[sizeof(path) + 4];
    FILE *f;

    snprintf(tmp, sizeof(tmp), "%s.new", path);
    f = fopen(tmp, "we");
    assert_non_null(f);
    fputs(lines, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(tmp, path), 0); /* a reader sees one or the other */
}

static void unknown(struct usage *u)
{
    struct device_usage now;

    usage_take(u, &now);
    assert_true(isnan(now.util) && isnan(now.power));
    assert_true(isnan(now.mem_used) && isnan(now.mem_peak));
}

/* Waits until so much memory is in use; fills what was taken then. */
static void until_used(struct usage *u, double used, struct device_usage *out)
{
    double end = clock_mono() + PATIENCE;

    do {
        assert_true(clock_mono() < end);
        usleep(1000);
        usage_take(u, out);
    } while (out->mem_used != used);
}

static void test_nothing_known(void **state)
{
    (void)state;
    machine("init 9\n");
    assert_null(usage_begin("GPU-1", SECONDS));
    machine("gpu GPU-1 81920 1000 50 300\n");
    assert_null(usage_begin("GPU-2", SECONDS));
    machine("gpu GPU-1 81920 1000 50 300 lost\n");
    assert_null(usage_begin("GPU-1", SECONDS));
    unknown(NULL);
    usage_end(NULL);
}

static void test_means_and_peak(void **state)
{
    struct device_usage now;
    struct usage *u;

    (void)state;
    machine("gpu GPU-1 81920 1000 50 300\n");
    u = usage_begin("GPU-1", SECONDS);
    assert_non_null(u);
    usage_take(u, &now); /* at once */
    assert_true(now.util == 0.5 && now.power == 300);
    assert_true(now.mem_used == 1000 * MIB && now.mem_peak == 1000 * MIB);
    machine("gpu GPU-1 81920 3000 100 500\n");
    until_used(u, 3000 * MIB, &now);
    usleep(10 * SECONDS * 1e6);
    machine("gpu GPU-1 81920 2000 0 100\n");
    usleep(10 * SECONDS * 1e6);
    usage_take(u, &now);
    assert_true(now.util > 0 && now.util < 1 && now.power > 100 && now.power < 500);
    assert_true(now.mem_used == 2000 * MIB && now.mem_peak == 3000 * MIB);
    usleep(4 * SECONDS * 1e6);
    usage_take(u, &now); /* what was before is over */
    assert_true(now.util == 0 && now.power == 100 && now.mem_peak == 2000 * MIB);
    usage_end(u);
}

/* It is lost, or its driver hangs: nobody waits, and what is not known is not told. */
static void test_breaks(void **state)
{
    struct device_usage now;
    struct usage *u;
    double began, end = clock_mono() + PATIENCE;

    (void)state;
    machine("gpu GPU-1 81920 1000 50 300\n");
    u = usage_begin("GPU-1", SECONDS);
    machine("gpu GPU-1 81920 1000 50 300 lost\n");
    do {
        assert_true(clock_mono() < end);
        usleep(1000);
        usage_take(u, &now);
    } while (!isnan(now.util));
    unknown(u);
    machine("gpu GPU-1 81920 1000 50 300 hang\n");
    usleep(4 * SECONDS * 1e6);
    began = clock_mono();
    usage_take(u, &now);
    usage_end(u);
    assert_true(clock_mono() - began < 1);
    machine("gpu GPU-1 81920 1000 50 300\n");
    usleep(4 * SECONDS * 1e6); /* for the thread to end */
}

static int set_up(void **state)
{
    const char *top = getenv("top_builddir");
    char library[4096];
    int fd = mkstemp(path);

    (void)state;
    snprintf(library, sizeof(library), "%s/tests/nvml/libnvidia-ml.so.1",
             top ? top : ".");
    if (fd < 0 || !dlopen(library, RTLD_NOW)) /* the loader finds it by its name, then */
        return -1;
    close(fd);
    return setenv("FAKE_NVML", path, 1);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_means_and_peak),
        cmocka_unit_test(test_breaks),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
