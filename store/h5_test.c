#include "store/h5.h"

#include "base/file.h"
#include "store/h5_keep.h"
#include "store/h5_table.h"
#include "store/rehearsal.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the headers above */
#include <cmocka.h>

/* HDF5 itself loses memory where it meets damage; what of ours stays open is counted
 * after each test. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static char dir[] = "h5_test.XXXXXX";
static char path[64];
static struct spec spec;
static struct sweep *sw;
static struct history history;

static void record(void *ctx, const struct event *ev, const struct verdict *v)
{
    history_add(ctx, ev, v, sw);
}

/* A sweep of `events` events (0: until it is over), and its history. */
static void perform(int64_t trials, int64_t events)
{
    rehearsal_spec(&spec, trials, false);
    sw = sweep_new(&spec);
    history_init(&history);
    struct rehearsal r = {.sw = sw,
                          .seed = 5,
                          .slots = 4,
                          .metrics = 3,
                          .trouble = 0.05,
                          .clock = 1.7e9,
                          .emit = record,
                          .ctx = &history,
                          .limit = events};
    if (trials)
        rehearse(&r);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/sweep.h5", dir);
    perform(20, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sweep_free(sw);
    spec_clear(&spec);
    history_clear(&history);
    assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    return dir_remove(dir, NULL);
}

static int write_at(double now, struct err *e)
{
    static const char yaml[] = "name: test\ncommand: echo \xc3\xa9\n";
    struct h5_input in = {.sw = sw,
                          .history = &history,
                          .name = "test",
                          .yaml = yaml,
                          .yaml_len = sizeof(yaml) - 1,
                          .written = now};

    return h5_write(path, &in, e);
}

static void write_good(double now)
{
    struct err e;

    if (write_at(now, &e) != 0)
        fail_msg("%s", e.text);
}

static int64_t size_of(const char *file)
{
    struct stat st;

    assert_int_equal(stat(file, &st), 0);
    return st.st_size;
}

static void slurp(struct str *out)
{
    assert_int_equal(file_read(path, 1 << 30, out, NULL), 0);
}

static void spill(const char *file, const void *data, size_t n)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* How many names in the directory begin so. */
static int count_files(const char *with)
{
    char **names;
    size_t n;
    int found = 0;

    assert_int_equal(dir_list(dir, &names, &n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        found += strncmp(names[i], with, strlen(with)) == 0;
    free(names);
    return found;
}

/* ---- what is no sweep.h5 ---- */

static void assert_refused(int code, const char *says)
{
    struct h5_info info;
    struct err e = {0};

    assert_int_equal(h5_check(path, &info, &e), code);
    if (!strstr(e.text, path) || !strstr(e.text, says))
        fail_msg("'%s' does not say '%s'", e.text, says);
}

static void test_no_sweep(void **state)
{
    struct h5_bytes bytes;

    (void)state;
    assert_refused(ERR_NOENT, "No such file");
    assert_int_equal(mkdir(path, 0755), 0);
    assert_refused(ERR_INVAL, "not a file");
    assert_int_equal(rmdir(path), 0);
    spill(path, "", 0);
    assert_refused(ERR_CORRUPT, "not a whole HDF5 file");
    spill(path, "trial,step\n1,2\n", 15);
    assert_refused(ERR_CORRUPT, "not a whole HDF5 file");
    for (int schema = 0; schema <= 2; schema++) {
        hid_t file = h5_file_create(&bytes, 0);
        if (schema > 0) {
            assert_int_equal(h5_put_int(file, "schema", schema), 0);
            assert_int_equal(h5_put_int(file, "journal_events", 3), 0);
        }
        assert_int_equal(h5_file_finish(file, &bytes), 0);
        spill(path, bytes.p, bytes.n);
        free(bytes.p);
        if (schema == 0)
            assert_refused(ERR_CORRUPT, "not a sweep");
        else if (schema == 1)
            assert_refused(ERR_CORRUPT, "no table /trials");
        else
            assert_refused(ERR_VERSION, "schema 2");
    }
}

/* Cut anywhere or changed anywhere, it is refused or, where that is beside what is looked
 * at, taken; HDF5 prints nothing of it. */
static void test_damage(void **state)
{
    struct str whole = STR_INIT;
    char *log = path_join(dir, "stderr");
    int saved = dup(2), fd = open(log, O_WRONLY | O_CREAT, 0600);
    int tried = 0, cut = 0, changed = 0, other = 0;
    struct h5_info info;

    (void)state;
    write_good(1e9);
    slurp(&whole);
    assert_true(dup2(fd, 2) == 2);
    for (size_t n = 0; n < whole.len; n += 307, tried++) {
        spill(path, whole.p, n);
        cut += h5_check(path, &info, NULL) == ERR_CORRUPT;
        whole.p[n] ^= 0x55;
        spill(path, whole.p, whole.len);
        int rc = h5_check(path, &info, NULL);
        changed += rc == ERR_CORRUPT;
        other += rc != ERR_CORRUPT && rc != 0;
        whole.p[n] ^= 0x55;
    }
    dup2(saved, 2);
    close(saved);
    close(fd);
    assert_int_equal(cut, tried);
    assert_true(changed > tried / 4);
    assert_int_equal(other, 0);
    assert_int_equal(size_of(log), 0);
    free(log);
    str_free(&whole);
}

/* ---- writing ---- */

static void test_rows(void **state)
{
    struct h5_info info;
    struct err e;

    (void)state;
    write_good(1e9);
    if (h5_check(path, &info, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(info.schema, 1);
    assert_int_equal(info.journal_events, history.events);
    assert_int_equal(info.trials, 20);
    assert_int_equal(info.metrics, history.reports.n);
    assert_int_equal(info.attempts, history.attempts.n);
    assert_int_equal(count_files("sweep.h5.tmp"), 0);
}

static void test_nothing_yet(void **state)
{
    struct h5_info info;

    (void)state;
    sweep_free(sw);
    spec_clear(&spec);
    history_clear(&history);
    perform(0, 0);
    write_good(1e9);
    assert_int_equal(h5_check(path, &info, NULL), 0);
    assert_int_equal(info.trials, 0);
    assert_int_equal(info.metrics, 0);
    assert_int_equal(info.journal_events, 0);
}

static void test_same_bytes(void **state)
{
    struct str one = STR_INIT, two = STR_INIT;

    (void)state;
    write_good(1e9);
    slurp(&one);
    write_good(1e9);
    slurp(&two);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.p, two.p, one.len);
    str_free(&one);
    str_free(&two);
}

static void test_full_disk(void **state)
{
    struct str before = STR_INIT, after = STR_INIT;
    struct rlimit old, tight;
    struct err e = {0};

    (void)state;
    write_good(1e9);
    slurp(&before);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = (struct rlimit){before.len / 2, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    int rc = write_at(1e9 + 1, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, ERR_FULL);
    assert_non_null(strstr(e.text, path));
    slurp(&after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.p, after.p, before.len);
    assert_int_equal(count_files("sweep.h5.tmp"), 0);
    str_free(&before);
    str_free(&after);
}

static void test_no_directory(void **state)
{
    struct err e = {0};

    (void)state;
    snprintf(path, sizeof(path), "%s/none/sweep.h5", dir);
    assert_int_equal(write_at(1e9, &e), ERR_NOENT);
    assert_non_null(strstr(e.text, path));
}

/* ---- versions before ---- */

#define PREV ".sweep.h5.prev-"

static void test_kept_versions(void **state)
{
    struct stat now, kept;
    char *prev = path_join(dir, PREV "1000000100.000000");

    (void)state;
    write_good(1e9);
    assert_int_equal(count_files(PREV), 0);
    assert_int_equal(stat(path, &now), 0);
    write_good(1e9 + 100); /* what was replaced then is this */
    assert_int_equal(count_files(PREV), 1);
    assert_int_equal(stat(prev, &kept), 0);
    assert_int_equal(kept.st_ino, now.st_ino);
    write_good(1e9 + 400);
    write_good(1e9 + 700); /* exactly ten minutes later */
    assert_int_equal(count_files(PREV), 3);
    write_good(1e9 + 701);
    assert_int_equal(count_files(PREV), 3); /* one less, one more */
    assert_int_equal(stat(prev, &kept), -1);
    write_good(1e9 + 5000);
    assert_int_equal(count_files(PREV), 1);
    write_good(10); /* the clock was set */
    assert_int_equal(count_files(PREV), 1);
    free(prev);
}

static void test_kept_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[80];
        snprintf(name, sizeof(name), "%s/" PREV "%d.000000", dir, 1000000000 + i);
        spill(name, "", 0);
        assert_int_equal(truncate(name, 20 << 20), 0);
    }
    versions_tidy(path, 1e9 + 10);
    assert_int_equal(count_files(PREV), 3);
    assert_int_equal(count_files(PREV "1000000002"), 1);
    /* the newest stays, whatever its size */
    char name[80];
    snprintf(name, sizeof(name), "%s/" PREV "1000000009.000000", dir);
    spill(name, "", 0);
    assert_int_equal(truncate(name, 100 << 20), 0);
    versions_tidy(path, 1e9 + 10);
    assert_int_equal(count_files(PREV), 1);
    assert_int_equal(count_files(PREV "1000000009"), 1);
}

static void test_left_over(void **state)
{
    char name[80];
    struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};

    (void)state;
    snprintf(name, sizeof(name), "%s/sweep.h5.tmp-17-0", dir);
    spill(name, "?", 1);
    assert_int_equal(utimensat(AT_FDCWD, name, times, 0), 0);
    snprintf(name, sizeof(name), "%s/sweep.h5.other", dir);
    spill(name, "?", 1);
    assert_int_equal(utimensat(AT_FDCWD, name, times, 0), 0);
    write_good(1e9 + 599); /* its writer may be alive */
    assert_int_equal(count_files("sweep.h5.tmp-"), 1);
    write_good(1e9 + 601);
    assert_int_equal(count_files("sweep.h5.tmp-"), 0);
    assert_int_equal(count_files("sweep.h5.other"), 1);
}

/* ---- names of columns ---- */

static void test_metric_columns(void **state)
{
    static const struct {
        const char *metric, *column;
    } names[] = {
        {"", "m_"},
        {"step", "m_step"},
        {"_v_x", "m__v_x"},
        {"val/loss", "val.loss"},
        {"val.loss", "m_val.loss"},
        {"m_step", "m_m_step"},
        {"a/b/c", "a.b.c"},
        {"_x", "_x"},
        {"val loss", "val loss"},
        {"\xc3\xa9", "\xc3\xa9"},
        {"trial", "m_trial"},
    };
    enum { N = sizeof(names) / sizeof(names[0]) };
    struct metric metrics[N];
    struct event ev = {.kind = EVENT_REPORT, .time = 1, .trial = 0, .attempt = 99};
    struct verdict v = {.rung = -1};
    struct history h;
    char **columns;
    size_t n;

    (void)state;
    for (int i = 0; i < N; i++)
        metrics[i] = (struct metric){slice_of(names[i].metric), i};
    ev.report.metrics = metrics;
    ev.report.n_metrics = N;
    history_init(&h);
    history_add(&h, &ev, &v, sw);
    h5_metric_columns(&h, &columns, &n);
    assert_int_equal(n, N);
    for (int i = 0; i < N; i++) {
        assert_string_equal(columns[i], names[i].column);
        free(columns[i]);
    }
    free(columns);
    history_clear(&h);
}

/* ---- tables ---- */

enum { ROWS = 3 };
#define INT(v)                                                                           \
    {                                                                                    \
        .kind = VALUE_INT, .i = (v)                                                      \
    }
#define REAL(v)                                                                          \
    {                                                                                    \
        .kind = VALUE_REAL, .r = (v)                                                     \
    }
#define WORD(v)                                                                          \
    {                                                                                    \
        .kind = VALUE_STR, .s = (v)                                                      \
    }
#define BOOL(v)                                                                          \
    {                                                                                    \
        .kind = VALUE_BOOL, .b = (v)                                                     \
    }
#define ABSENT                                                                           \
    {                                                                                    \
        .kind = VALUE_ABSENT                                                             \
    }

static const struct {
    enum column_type type;
    struct value v[ROWS];
    H5T_class_t class;
    size_t size;
    const char *reads[ROWS];
} widths[] = {
    {COLUMN_INT,
     {INT(-5), INT(INT32_MAX), INT(INT32_MIN)},
     H5T_INTEGER,
     4,
     {"-5", "2147483647", "-2147483648"}},
    {COLUMN_INT,
     {INT(1), INT(2147483648), INT(3)},
     H5T_FLOAT,
     8,
     {"1", "2147483648", "3"}},
    {COLUMN_INT, {INT(1), REAL(0.5), INT(3)}, H5T_FLOAT, 8, {"1", "0.5", "3"}},
    {COLUMN_INT, {INT(1), ABSENT, INT(3)}, H5T_FLOAT, 8, {"1", "nan", "3"}},
    {COLUMN_INT, {INT(1), WORD("two"), REAL(1.5)}, H5T_STRING, 3, {"1", "two", "1.5"}},
    {COLUMN_INT, {INT(100), BOOL(true), ABSENT}, H5T_STRING, 4, {"100", "true", ""}},
    {COLUMN_NUM, {INT(7), REAL(1e300), ABSENT}, H5T_FLOAT, 8, {"7", "1e+300", "nan"}},
    {COLUMN_NUM, {ABSENT, ABSENT, WORD("auto")}, H5T_STRING, 4, {"", "", "auto"}},
    {COLUMN_TEXT, {WORD(""), WORD(""), ABSENT}, H5T_STRING, 1, {"", "", ""}},
    {COLUMN_TEXT,
     {WORD("adam"), WORD("s"), INT(12345)},
     H5T_STRING,
     5,
     {"adam", "s", "12345"}},
};
enum { WIDTHS = sizeof(widths) / sizeof(widths[0]) };

static void width_row(void *ctx, size_t i, struct value cells[])
{
    (void)ctx;
    for (int c = 0; c < WIDTHS; c++)
        cells[c] = widths[c].v[i];
}

/* One column of a table as texts. */
static void read_column(hid_t file, const char *table, const char *column, size_t rows,
                        H5T_class_t *class, size_t *size, char out[][32])
{
    hid_t set = H5Dopen2(file, table, H5P_DEFAULT);
    assert_true(set >= 0);
    hid_t type = H5Dget_type(set);
    int index = H5Tget_member_index(type, column);
    assert_true(index >= 0);
    hid_t member = H5Tget_member_type(type, (unsigned)index);
    *class = H5Tget_class(member);
    *size = H5Tget_size(member);
    hid_t want = *class == H5T_STRING ? H5Tcopy(member) : H5Tcopy(H5T_NATIVE_DOUBLE);
    size_t width = H5Tget_size(want);
    hid_t only = H5Tcreate(H5T_COMPOUND, width);
    assert_true(H5Tinsert(only, column, 0, want) >= 0);
    char *data = mem_alloc(rows * width);
    assert_true(H5Dread(set, only, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    for (size_t i = 0; i < rows; i++) {
        double v;
        if (*class == H5T_STRING) {
            snprintf(out[i], 32, "%.*s", (int)width, data + i * width);
            continue;
        }
        memcpy(&v, data + i * width, sizeof(v));
        snprintf(out[i], 32, "%.15g", v);
    }
    free(data);
    H5Tclose(only);
    H5Tclose(want);
    H5Tclose(member);
    H5Tclose(type);
    H5Dclose(set);
}

static void test_widening(void **state)
{
    struct h5_bytes bytes;
    hid_t file = h5_file_create(&bytes, 0);
    struct column columns[WIDTHS];
    char names[WIDTHS][16];
    struct table t = {.name = "wide",
                      .columns = columns,
                      .n_columns = WIDTHS,
                      .n_keys = 1,
                      .rows = ROWS,
                      .row = width_row};

    (void)state;
    for (int c = 0; c < WIDTHS; c++) {
        snprintf(names[c], sizeof(names[c]), "c%d", c);
        columns[c] =
            (struct column){.name = names[c], .unit = "", .type = widths[c].type};
    }
    assert_int_equal(table_write(file, &t, NULL), 0);
    for (int c = 0; c < WIDTHS; c++) {
        char texts[ROWS][32];
        H5T_class_t class;
        size_t size;
        read_column(file, "wide", names[c], ROWS, &class, &size, texts);
        assert_int_equal(class, widths[c].class);
        assert_int_equal(size, widths[c].size);
        for (int i = 0; i < ROWS; i++)
            assert_string_equal(texts[i], widths[c].reads[i]);
    }
    h5_file_drop(file, &bytes);
}

struct many {
    size_t columns;
};

static void many_row(void *ctx, size_t i, struct value cells[])
{
    const struct many *m = ctx;

    for (size_t c = 0; c < m->columns; c++)
        cells[c] = (struct value){.kind = VALUE_REAL, .r = (double)(1000 * c + i)};
}

static int members_of(hid_t file, const char *table)
{
    hid_t set = H5Dopen2(file, table, H5P_DEFAULT), type = H5Dget_type(set);
    int n = H5Tget_nmembers(type);

    H5Tclose(type);
    H5Dclose(set);
    return n;
}

/* A table of n columns with names of `len` bytes: nothing is left out, and the parts are
 * as many as was said. */
static void check_many(size_t n, int len, int parts)
{
    struct h5_bytes bytes;
    hid_t file = h5_file_create(&bytes, 0);
    struct column *columns = mem_alloc(n * sizeof(*columns));
    char(*names)[130] = mem_alloc(n * sizeof(*names));
    struct many many = {n};
    struct table t = {.name = "m",
                      .columns = columns,
                      .n_columns = n,
                      .n_keys = 2,
                      .rows = ROWS,
                      .originals = true,
                      .row = many_row,
                      .ctx = &many};
    struct err e;

    for (size_t c = 0; c < n; c++) {
        snprintf(names[c], sizeof(names[c]), "%0*zu", len, c);
        columns[c] = (struct column){.name = names[c], .unit = "", .type = COLUMN_NUM};
    }
    if (table_write(file, &t, &e) != 0)
        fail_msg("%s", e.text);
    size_t seen = 2;
    for (int part = 1; part <= parts; part++) {
        char name[16] = "m", texts[ROWS][32];
        H5T_class_t class;
        size_t size;
        if (part > 1)
            snprintf(name, sizeof(name), "m_%d", part);
        size_t here = (size_t)members_of(file, name) - 2;
        read_column(file, name, names[1], ROWS, &class, &size, texts); /* a key */
        assert_string_equal(texts[2], "1002");
        read_column(file, name, names[seen + here - 1], ROWS, &class, &size, texts);
        assert_int_equal(strtod(texts[1], NULL), 1000 * (seen + here - 1) + 1);
        seen += here;
        assert_int_equal(H5Aexists_by_name(file, name, "continued", H5P_DEFAULT) > 0,
                         part < parts);
    }
    assert_int_equal(seen, n);
    h5_file_drop(file, &bytes);
    free(columns);
    free(names);
}

static void test_many_columns(void **state)
{
    (void)state;
    check_many(1500, 11, 1);
    check_many(2500, 11, 2);
    check_many(1000, 128, 3);
    check_many(5000, 64, 8);
}

static herr_t look_at(hid_t file, const char *name, const H5L_info_t *info, void *ctx)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT), type = H5Dget_type(set);
    int *columns = ctx;

    (void)info;
    for (int m = 0; H5Tget_class(type) == H5T_COMPOUND && m < H5Tget_nmembers(type);
         m++) {
        hid_t member = H5Tget_member_type(type, (unsigned)m);
        H5T_class_t class = H5Tget_class(member);
        assert_true((class == H5T_INTEGER && H5Tget_size(member) == 4) ||
                    (class == H5T_FLOAT && H5Tget_size(member) == 8) ||
                    (class == H5T_STRING && !H5Tis_variable_str(member)));
        H5Tclose(member);
        ++*columns;
    }
    assert_true(H5Aexists(set, "units") > 0);
    H5Tclose(type);
    H5Dclose(set);
    return 0;
}

/* Nothing but int32, float64 and fixed strings, in any table. */
static void test_types(void **state)
{
    hid_t file;
    int columns = 0;

    (void)state;
    write_good(1e9);
    assert_int_equal(h5_file_open(path, &file, NULL), 0);
    assert_true(H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, NULL, look_at, &columns) >=
                0);
    assert_int_equal(columns, 14 + 6 + 6 + 3 + 7 + 10 + 21);
    H5Fclose(file);
}

/* An attribute itself holds less than 64 KiB; a command line may be longer. */
static void test_long_attribute(void **state)
{
    struct h5_bytes bytes;
    hid_t file = h5_file_create(&bytes, 0);
    char *text = mem_alloc(100000), *got;

    (void)state;
    memset(text, 'x', 99999);
    assert_int_equal(h5_put_text(file, "command", text), 0);
    hid_t a = H5Aopen(file, "command", H5P_DEFAULT), type = H5Aget_type(a);
    assert_true(H5Tis_variable_str(type) > 0);
    assert_true(H5Aread(a, type, &got) >= 0);
    assert_string_equal(got, text);
    H5free_memory(got);
    H5Tclose(type);
    H5Aclose(a);
    h5_file_drop(file, &bytes);
    free(text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_sweep),     TEST(test_damage),         TEST(test_rows),
        TEST(test_nothing_yet),  TEST(test_same_bytes),     TEST(test_full_disk),
        TEST(test_no_directory), TEST(test_kept_versions),  TEST(test_kept_bytes),
        TEST(test_left_over),    TEST(test_metric_columns), TEST(test_widening),
        TEST(test_many_columns), TEST(test_types),          TEST(test_long_attribute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
