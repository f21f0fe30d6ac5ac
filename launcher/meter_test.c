/* The meter with its process, and a library of our own in the place of the driver's
 * (tests/nvml.c). It is found as the driver's is: the program starts itself once more,
 * with LD_LIBRARY_PATH set. */
#include "launcher/meter.h"

#include "base/clock.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB      (1024 * 1024 * 1024.0)
#define SECONDS  0.05 /* between readings */
#define PATIENCE 20.0

static char path[] = "/tmp/rung-meter-test-XXXXXX",
            said[] = "/tmp/rung-meter-said-XXXXXX";

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
    assert_int_equal(rename(tmp, path), 0); /* the reader sees one or the other */
}

#define BUSY "gpu GPU-1 81920 61440 90 400\n"
#define IDLE "gpu GPU-2 40960 1024 10 60\n"

static bool like(double a, double b)
{
    return fabs(a - b) < 1e-9 || (isnan(a) && isnan(b));
}

static void shows(const struct gpu_use *u, int gpus, double util, double used,
                  double total, double power)
{
    if (u->gpus != gpus || !like(u->util, util) || !like(u->mem_used, used * GIB) ||
        !like(u->mem_total, total * GIB) || !like(u->power, power))
        fail_msg("%d GPUs, %g, %g of %g GiB, %g W", u->gpus, u->util, u->mem_used / GIB,
                 u->mem_total / GIB, u->power);
}

/* Waits for the first reading. */
static struct gpu_use first(struct meter *m, int slot)
{
    double end = clock_mono() + PATIENCE;
    struct gpu_use use;

    while (!meter_now(m, slot, &use)) {
        if (clock_mono() > end)
            fail_msg("slot %d is not read", slot);
        usleep(1000);
    }
    return use;
}

/* Waits until what is shown of a slot has that utilisation. */
static struct gpu_use until_util(struct meter *m, int slot, double util)
{
    double end = clock_mono() + PATIENCE;
    struct gpu_use use;

    while (!meter_now(m, slot, &use) || !like(use.util, util)) {
        if (clock_mono() > end)
            fail_msg("slot %d never has utilisation %g", slot, util);
        usleep(1000);
    }
    return use;
}

static struct meter *opened(int slots)
{
    struct meter *m = meter_new(slots, SECONDS);

    assert_non_null(m);
    return m;
}

static void nothing(const struct end_facts *f)
{
    assert_true(isnan(f->gpu_util) && isnan(f->gpu_mem_peak) && isnan(f->gpu_energy));
}

/* What it printed, since the last time. */
static void printed(const char *want)
{
    char text[1000];
    int fd = open(said, O_RDWR | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    if (*want ? !strstr(text, want) : n > 0)
        fail_msg("it says '%s', not '%s'", text, want);
}

/* ---- tests ---- */

static void test_each_slot_its_own(void **state)
{
    struct meter *m;
    struct end_facts f = {0};
    double began;

    (void)state;
    machine(BUSY IDLE);
    m = opened(2);
    began = clock_mono();
    meter_begin(m, 0, "0");
    meter_begin(m, 1, "GPU-2");
    struct gpu_use use = first(m, 0);
    shows(&use, 1, 0.9, 60, 80, 400);
    use = first(m, 1);
    shows(&use, 1, 0.1, 1, 40, 60);
    usleep(10 * SECONDS * 1e6);
    assert_null(meter_end(m, 0, &f));
    assert_true(like(f.gpu_util, 0.9) && like(f.gpu_mem_peak, 60 * GIB));
    assert_true(f.gpu_energy > 400 * SECONDS);
    assert_true(f.gpu_energy <= 400 * (clock_mono() - began) + 1);
    assert_null(meter_end(m, 1, &f));
    assert_true(like(f.gpu_util, 0.1) && like(f.gpu_mem_peak, 1 * GIB));
    assert_true(f.gpu_energy > 60 * SECONDS);
    assert_false(meter_now(m, 0, &use)); /* nothing runs there */
    meter_free(m);
    printed("");
}

/* Utilisation is their mean, memory that of the fullest, power their sum. */
static void test_several_of_a_slot(void **state)
{
    struct meter *m;
    struct end_facts f;

    (void)state;
    machine(BUSY IDLE);
    m = opened(1);
    meter_begin(m, 0, "1,0");
    struct gpu_use use = first(m, 0);
    shows(&use, 2, 0.5, 60, 80, 460);
    meter_end(m, 0, &f);
    meter_free(m);
}

/* The mean and the peak are of this attempt, and not of what was there when it began. */
static void test_one_after_another(void **state)
{
    struct meter *m;
    struct end_facts f;

    (void)state;
    machine("gpu GPU-1 81920 73728 100 400\n");
    m = opened(1);
    meter_begin(m, 0, "0");
    first(m, 0);
    machine("gpu GPU-1 81920 20480 20 400\n");
    until_util(m, 0, 0.2);
    machine("gpu GPU-1 81920 40960 60 400\n");
    until_util(m, 0, 0.6);
    assert_null(meter_end(m, 0, &f));
    assert_true(f.gpu_util > 0.2 && f.gpu_util < 1);
    meter_begin(m, 0, "0");
    nothing((meter_end(m, 0, &f), &f)); /* over before it was read twice */
    machine("gpu GPU-1 81920 10240 30 400\n");
    meter_begin(m, 0, "0");
    until_util(m, 0, 0.3);
    usleep(4 * SECONDS * 1e6);
    assert_null(meter_end(m, 0, &f));
    assert_true(like(f.gpu_util, 0.3) && like(f.gpu_mem_peak, 10 * GIB));
    meter_free(m);
}

/* A GPU is lost while two attempts run: one is told of, the other goes on. */
static void test_lost(void **state)
{
    struct meter *m;
    struct end_facts f;
    const char *why;

    (void)state;
    machine(BUSY IDLE);
    m = opened(2);
    meter_begin(m, 0, "0");
    meter_begin(m, 1, "1");
    first(m, 0);
    usleep(4 * SECONDS * 1e6);
    machine("gpu GPU-1 81920 61440 90 400 lost\ngpu GPU-2 40960 2048 50 60\n");
    until_util(m, 1, 0.5);
    struct gpu_use use = until_util(m, 0, NAN);
    shows(&use, 1, NAN, NAN, NAN, NAN);
    why = meter_end(m, 0, &f);
    assert_non_null(why);
    assert_non_null(strstr(why, "one of its GPUs: it is lost"));
    assert_true(like(f.gpu_util, 0.9) && isnan(f.gpu_energy)); /* until then */
    assert_null(meter_end(m, 1, &f));
    assert_true(f.gpu_energy > 0);
    machine(BUSY IDLE); /* somebody has mended it */
    meter_begin(m, 0, "0");
    until_util(m, 0, 0.9);
    assert_null(meter_end(m, 0, &f));
    meter_free(m);
}

/* What a GPU does not tell is unknown, and what it tells is shown. */
static void test_tells_less(void **state)
{
    struct meter *m;
    struct end_facts f;

    (void)state;
    machine("gpu GPU-1 16384 8192 90 100 old\ngpu GPU-2 16384 8192 90 100 denied\n");
    m = opened(2);
    meter_begin(m, 0, "0");
    meter_begin(m, 1, "1");
    struct gpu_use use = first(m, 0);
    shows(&use, 1, 0.9, 8, 16, 100);
    use = first(m, 1);
    shows(&use, 1, NAN, 8, 16, NAN);
    usleep(4 * SECONDS * 1e6);
    assert_null(meter_end(m, 0, &f));
    assert_true(like(f.gpu_util, 0.9) && isnan(f.gpu_energy));
    assert_null(meter_end(m, 1, &f));
    assert_true(isnan(f.gpu_util) && like(f.gpu_mem_peak, 8 * GIB));
    meter_free(m);
}

/* Parts of a GPU, and GPUs that are not there: said once, and nothing is shown. */
static void test_cannot_be_read(void **state)
{
    struct gpu_use use;
    struct meter *m;
    struct end_facts f;

    (void)state;
    machine(BUSY);
    m = opened(2);
    for (int i = 0; i < 2; i++) {
        meter_begin(m, 0, "MIG-1234");
        meter_begin(m, 1, "0");
        first(m, 1); /* so it has heard of slot 0, too */
        assert_false(meter_now(m, 0, &use));
        printed(i == 0 ? "MIG-1234 is a part of a GPU (MIG)" : "");
        nothing((meter_end(m, 0, &f), &f));
        meter_end(m, 1, &f);
    }
    meter_begin(m, 0, "7,0");
    use = first(m, 0);
    shows(&use, 1, 0.9, 60, 80, 400);
    printed("there is no GPU 7, of 1");
    meter_free(m);
}

/* A driver that hangs holds nobody up; nothing is shown that is old. */
static void test_hangs(void **state)
{
    struct meter *m;
    struct gpu_use use;
    struct end_facts f;
    double began, end;

    (void)state;
    machine(BUSY);
    m = opened(1);
    meter_begin(m, 0, "0");
    first(m, 0);
    machine("gpu GPU-1 81920 61440 90 400 hang\n");
    end = clock_mono() + PATIENCE;
    while (meter_now(m, 0, &use))
        assert_true(clock_mono() < end && usleep(10000) == 0);
    began = clock_mono();
    meter_end(m, 0, &f);
    for (int i = 0; i < 2000; i++) { /* more orders than wait for it at once */
        meter_begin(m, 0, "0");
        meter_end(m, 0, &f);
    }
    meter_free(m);
    assert_true(clock_mono() - began < 1);
    machine(BUSY); /* it ends */
}

/* Nor does a library that crashes, or none. */
static void test_dies(void **state)
{
    struct meter *m;
    struct gpu_use use;
    struct end_facts f;
    double end = clock_mono() + PATIENCE;

    (void)state;
    machine(BUSY);
    m = opened(1);
    meter_begin(m, 0, "0");
    first(m, 0);
    machine("gpu GPU-1 81920 61440 90 400 crash\n");
    while (meter_now(m, 0, &use))
        assert_true(clock_mono() < end && usleep(1000) == 0);
    meter_end(m, 0, &f);
    meter_begin(m, 0, "0");
    assert_false(meter_now(m, 0, &use));
    nothing((meter_end(m, 0, &f), &f));
    meter_free(m);
    meter_free(NULL);
    meter_begin(NULL, 0, "0");
    assert_false(meter_now(NULL, 0, &use));
    nothing((meter_end(NULL, 0, &f), &f));
}

static void test_no_driver(void **state)
{
    struct meter *m;
    struct gpu_use use;
    struct end_facts f;

    (void)state;
    machine("init 9\n");
    m = opened(1);
    meter_begin(m, 0, "0");
    usleep(2 * SECONDS * 1e6);
    assert_false(meter_now(m, 0, &use));
    nothing((meter_end(m, 0, &f), &f));
    meter_free(m);
    printed(""); /* silently */
    machine("init 18\n");
    m = opened(1);
    meter_begin(m, 0, "0");
    usleep(2 * SECONDS * 1e6);
    assert_false(meter_now(m, 0, &use));
    meter_free(m);
    printed("how GPUs are used is not shown: the driver in the kernel");
}

static int set_up(void **state)
{
    int fd = mkstemp(path), err = mkstemp(said);

    (void)state;
    if (fd < 0 || err < 0 || setenv("FAKE_NVML", path, 1) != 0)
        return -1;
    close(fd);
    fcntl(err, F_SETFL, O_APPEND);
    return dup2(err, STDERR_FILENO) < 0 ? -1 : close(err);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path) | unlink(said);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_slot_its_own),
        cmocka_unit_test(test_several_of_a_slot),
        cmocka_unit_test(test_one_after_another),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_tells_less),
        cmocka_unit_test(test_cannot_be_read),
        cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_dies),
        cmocka_unit_test(test_no_driver),
    };
    const char *top = getenv("top_builddir");
    char library[4096];

    if (argc == 1) {
        char again[] = "again", *const args[] = {argv[0], again, NULL};

        snprintf(library, sizeof(library), "%s/tests/nvml", top ? top : ".");
        setenv("LD_LIBRARY_PATH", library, 1);
        execv("/proc/self/exe", args);
        return 1;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
