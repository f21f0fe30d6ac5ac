/* The reader, with a library of our own in the place of the driver's (tests/nvml.c). */
#include "gpu/nvml.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB 1048576.0

static char path[] = "/tmp/rung-nvml-test-XXXXXX";

/* The machine is such from now on. */
static void machine(const char *lines)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fputs(lines, f);
    assert_int_equal(fclose(f), 0);
}

#define TWO                                                                              \
    "driver 550.54.15 12040\n"                                                           \
    "gpu GPU-aaaa-1 81920 61440 93 412\n"                                                \
    "gpu GPU-aabb-2 40960 1024 7 65 minor=5 exclusive processes=3 ecc=2\n"

static struct nvml *opened(void)
{
    struct nvml *n;
    struct err e = {0};

    if (nvml_open(&n, &e) != 0)
        fail_msg("%s", e.text);
    return n;
}

static struct nvml_gpu *found(const struct nvml *n, const char *name)
{
    struct nvml_gpu *g = NULL;
    struct err e = {0};

    if (nvml_find(n, name, &g, &e) != 0)
        fail_msg("%s", e.text);
    return g;
}

static void not_found(const struct nvml *n, const char *name, int code, const char *text)
{
    struct nvml_gpu *g;
    struct err e = {0};

    assert_int_equal(nvml_find(n, name, &g, &e), code);
    assert_non_null(strstr(e.text, text));
}

/* Before our library is loaded. */
static void test_no_library(void **state)
{
    void *real = dlopen("libnvidia-ml.so.1", RTLD_LAZY);
    struct nvml *n;
    struct err e = {0};

    (void)state;
    if (real) {
        dlclose(real);
        skip();
    }
    assert_int_equal(nvml_open(&n, &e), ERR_NOENT);
    assert_null(n);
    assert_string_equal(e.text, "no libnvidia-ml.so.1: there is no NVIDIA driver");
    nvml_close(n);
}

/* The loader then finds it by its name. */
static void test_load(void **state)
{
    const char *top = getenv("top_builddir");
    char library[4096];

    (void)state;
    snprintf(library, sizeof(library), "%s/tests/nvml/libnvidia-ml.so.1",
             top ? top : ".");
    assert_non_null(dlopen(library, RTLD_NOW));
}

static void test_init_fails(void **state)
{
    static const struct {
        const char *lines;
        int code;
        const char *text;
    } cases[] = {
        {"init 9\n", ERR_NOENT, "no NVIDIA driver loaded"},
        {"init 18\n", ERR_VERSION, "different releases: after an update, reload it"},
        {"init 4\n", ERR_DENIED, "Insufficient Permissions"},
        {"init 999\n", ERR_IO, "NVML does not start: Unknown Error"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nvml *n;
        struct err e = {0};

        machine(cases[i].lines);
        assert_int_equal(nvml_open(&n, &e), cases[i].code);
        assert_non_null(strstr(e.text, cases[i].text));
    }
}

static void test_find(void **state)
{
    struct nvml *n;

    (void)state;
    machine(TWO);
    n = opened();
    assert_int_equal(nvml_count(n), 2);
    not_found(n, "2", ERR_NOENT, "of 2 that NVML sees");
    not_found(n, "-1", ERR_NOENT, "of 2");
    not_found(n, "", ERR_NOENT, "of 2");
    not_found(n, "GPU-b", ERR_NOENT, "there is no GPU GPU-b");
    not_found(n, "99999999999999999999", ERR_NOENT, "of 2");
    not_found(n, "minor:1", ERR_NOENT, "of 2");
    not_found(n, "minor:", ERR_NOENT, "of 2");
    not_found(n, "MIG-aaaa-1", ERR_UNSUPPORTED, "a part of a GPU (MIG)");
    assert_ptr_equal(found(n, "0"), found(n, "GPU-aaaa-1"));
    assert_ptr_equal(found(n, "1"),
                     found(n, "GPU-aab")); /* as CUDA lets one abbreviate */
    assert_ptr_equal(found(n, "1"), found(n, "minor:5"));
    assert_ptr_equal(found(n, "0"), found(n, "minor:0"));
    assert_ptr_not_equal(found(n, "0"), found(n, "1"));
    nvml_close(n);
}

static void test_read(void **state)
{
    struct nvml *n;
    struct nvml_reading r;
    struct err e = {0};
    double before;

    (void)state;
    machine(TWO);
    n = opened();
    assert_int_equal(nvml_read(n, found(n, "0"), &r, &e), 0);
    assert_true(r.util == 0.93 && r.power == 412);
    assert_true(r.mem_used == 61440 * MIB && r.mem_total == 81920 * MIB);
    assert_true(r.energy > 0);
    before = r.energy;
    usleep(50000);
    assert_int_equal(nvml_read(n, found(n, "0"), &r, &e), 0);
    assert_true(r.energy >= before + 0.05 * 412);
    nvml_close(n);
}

/* What a GPU lacks or hides is NaN, and the rest is read. */
static void test_read_less(void **state)
{
    struct nvml *n;
    struct nvml_reading r;

    (void)state;
    machine("gpu GPU-1 16384 512 50 100 old\ngpu GPU-2 16384 256 50 100 denied\n");
    n = opened();
    assert_int_equal(nvml_read(n, found(n, "0"), &r, NULL), 0);
    assert_true(isnan(r.energy) && r.util == 0.5 && r.power == 100);
    assert_true(r.mem_used == 512 * MIB && r.mem_total == 16384 * MIB);
    assert_int_equal(nvml_read(n, found(n, "1"), &r, NULL), 0);
    assert_true(isnan(r.energy) && isnan(r.util) && isnan(r.power));
    assert_true(r.mem_used == 256 * MIB);
    nvml_close(n);
}

/* It breaks while it is looked at; the other goes on. */
static void test_read_lost(void **state)
{
    struct nvml *n;
    struct nvml_gpu *first, *second;
    struct nvml_reading r;
    struct err e = {0};

    (void)state;
    machine(TWO);
    n = opened();
    first = found(n, "0");
    second = found(n, "1");
    machine("gpu GPU-aaaa-1 81920 61440 93 412 lost\ngpu GPU-aabb-2 40960 1024 7 65\n");
    assert_int_equal(nvml_read(n, first, &r, &e), ERR_IO);
    assert_non_null(strstr(e.text, "fallen off the bus"));
    assert_true(isnan(r.mem_used) && isnan(r.util));
    assert_int_equal(nvml_read(n, second, &r, &e), 0);
    assert_true(r.util == 0.07);
    machine("gpu GPU-aaaa-1 81920 61440 93 412 reset\n");
    assert_int_equal(nvml_read(n, first, &r, &e), ERR_IO);
    assert_non_null(strstr(e.text, "wants a reset"));
    nvml_close(n);
}

static void test_about(void **state)
{
    struct nvml *n;
    struct nvml_driver d;
    struct nvml_about a;

    (void)state;
    machine(TWO "gpu GPU-3 81920 0 0 50 mig prohibited\n"
                "gpu GPU-4 81920 0 0 50 denied old\n"
                "gpu GPU-5 81920 0 0 50 lost\n");
    n = opened();
    nvml_driver(n, &d);
    assert_string_equal(d.version, "550.54.15");
    assert_int_equal(d.cuda, 12040);
    nvml_about(n, found(n, "0"), &a);
    assert_string_equal(a.name, "Fake H000");
    assert_string_equal(a.uuid, "GPU-aaaa-1");
    assert_true(a.memory == 81920 * MIB && a.capability == 90);
    assert_true(!a.mig && !a.exclusive && !a.prohibited);
    assert_true(a.processes == 0 && a.uncorrected == 0);
    nvml_about(n, found(n, "1"), &a);
    assert_true(a.exclusive && a.processes == 3 && a.uncorrected == 2);
    nvml_about(n, found(n, "2"), &a);
    assert_true(a.mig && a.prohibited && !a.exclusive);
    nvml_about(n, found(n, "3"), &a);
    assert_true(!a.mig && a.processes == -1 && isnan(a.uncorrected));
    nvml_about(n, found(n, "4"), &a);
    assert_true(*a.name == '\0' && isnan(a.memory) && a.capability == 0);
    nvml_close(n);
}

static int set_up(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0)
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
        cmocka_unit_test(test_no_library), cmocka_unit_test(test_load),
        cmocka_unit_test(test_init_fails), cmocka_unit_test(test_find),
        cmocka_unit_test(test_read),       cmocka_unit_test(test_read_less),
        cmocka_unit_test(test_read_lost),  cmocka_unit_test(test_about),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
