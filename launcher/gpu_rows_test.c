#include "launcher/gpu_rows.h"

#include "base/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/rung-gpu-rows-XXXXXX";
static char *path;

static struct gpu_row some[] = {{7, 1, {2, 4, 0.93, 1e9, 8e10, 412.5}},
                                {12, 3, {0, 1, NAN, NAN, NAN, NAN}}};

static void write_some(void)
{
    const struct gpu_rows rows = {some, 2, 2};

    assert_int_equal(gpu_rows_write(dir, 1000, &rows, NULL), 0);
}

static size_t reads(double now)
{
    struct gpu_rows rows = {0};
    size_t n;

    gpu_rows_read(dir, now, &rows);
    n = rows.n;
    gpu_rows_free(&rows);
    return n;
}

/* What was written before, and what anybody may have put there. */
static void test_bad(void **state)
{
    static const char *const texts[] = {
        "",
        "garbage",
        "{}",
        "{\"gpus\":[{\"trial\":1}]}",
        "{\"time\":1000,\"gpus\":[{\"trial\":-1}]}",
        "{\"time\":1000,\"gpus\":[{\"trial\":1,\"gpus\":1e30}]}",
        "{\"time\":1000,\"gpus\":[{\"trial\":1,\"util\":\"much\"}]}",
        "{\"time\":1000,\"gpus\":[1]}",
        "{\"time\":1000,\"gpus\":[{\"trial\":1}]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(file_write(path, texts[i], strlen(texts[i]), 0644, NULL), 0);
        if (reads(1000) != 0)
            fail_msg("%s is read", texts[i]);
    }
    unlink(path);
    assert_int_equal(reads(1000), 0);
    assert_int_equal(mkfifo(path, 0644), 0); /* nobody waits on it */
    assert_int_equal(reads(1000), 0);
    unlink(path);
    write_some();
    assert_int_equal(reads(1061), 0); /* old */
    assert_int_equal(reads(1059), 2);
}

static void test_there_and_back(void **state)
{
    struct gpu_rows rows = {0};

    (void)state;
    write_some();
    gpu_rows_read(dir, 1001, &rows);
    assert_int_equal(rows.n, 2);
    assert_true(rows.v[0].trial == 7 && rows.v[0].attempt == 1);
    assert_true(rows.v[0].use.gpus == 4 && rows.v[0].use.util == 0.93);
    assert_true(rows.v[0].use.mem_used == 1e9 && rows.v[0].use.mem_total == 8e10);
    assert_true(rows.v[0].use.power == 412.5);
    assert_true(rows.v[1].trial == 12 && rows.v[1].attempt == 3);
    assert_true(isnan(rows.v[1].use.util) && isnan(rows.v[1].use.power));
    /* newer releases may say more */
    const char *more = "{\"time\":1000,\"x\":[1],\"gpus\":[{\"y\":{},\"trial\":3}]}\n";
    assert_int_equal(file_write(path, more, strlen(more), 0644, NULL), 0);
    gpu_rows_read(dir, 1001, &rows);
    assert_true(rows.n == 1 && rows.v[0].trial == 3 && isnan(rows.v[0].use.util));
    rows.n = 0;
    assert_int_equal(gpu_rows_write(dir, 1000, &rows, NULL), 0);
    assert_false(file_exists(path));
    gpu_rows_free(&rows);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    path = path_join(dir, "gpus.json");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(path);
    return dir_remove(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_there_and_back),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
