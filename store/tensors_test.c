#include "store/tensors.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <hdf5.h>

#define ROOT     "tensors_test.dir"
#define MEGA     ((size_t)1 << 20)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* HDF5 itself loses memory where it meets damage; what of ours stays open is counted at
 * the end instead. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static int setup(void **state)
{
    (void)state;
    return dir_remove(ROOT, NULL) || dir_make(ROOT, 0777, NULL);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    return dir_remove(ROOT, NULL);
}

static const float weights[2][3] = {{1, -2.5f, 3e-20f}, {4, 5, 6}};
static const int32_t steps[] = {1, 2, 7};
static const double losses[] = {0.5, 0.25, 1e300};

static const struct tensor_column table[] = {
    {"step", TENSOR_I32, (void *)(uintptr_t)steps},
    {"loss", TENSOR_F64, (void *)(uintptr_t)losses},
};

/* A file with one of everything. */
static void write_sample(const char *path)
{
    struct tensors *t;

    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    assert_int_equal(tensors_put(t, "/model/dense1/weight", TENSOR_F32, 2,
                                 (const size_t[]){2, 3}, weights, NULL),
                     0);
    assert_int_equal(tensors_put_int(t, "/", "schema", 1, NULL), 0);
    assert_int_equal(tensors_put_num(t, "/model", "lr", 0.1, NULL), 0);
    assert_int_equal(tensors_put_text(t, "/rng", "generator", "philox", NULL), 0);
    assert_int_equal(tensors_put_table(t, "/metrics", 3, COUNT(table), table, NULL), 0);
    assert_int_equal(tensors_save(t, path, NULL), 0);
    tensors_close(t);
}

static struct tensors *open_sample(void)
{
    struct tensors *t = NULL;

    write_sample(ROOT "/sample.h5");
    assert_int_equal(tensors_open(ROOT "/sample.h5", &t, NULL), 0);
    return t;
}

/* ---- bad inputs ---- */

static void test_open_refuses_what_is_no_whole_file(void **state)
{
    (void)state;
    static const struct {
        const char *path, *bytes;
        size_t n;
        int code;
        const char *text;
    } vectors[] = {
        {ROOT, NULL, 0, ERR_INVAL, "not a file"},
        {ROOT "/absent.h5", NULL, 0, ERR_NOENT, "absent.h5: No such file"},
        {ROOT "/empty.h5", "", 0, ERR_CORRUPT, "empty.h5: not a whole HDF5 file"},
        {ROOT "/text.h5", "epoch,loss\n1,0.5\n", 17, ERR_CORRUPT,
         "not a whole HDF5 file"},
        {ROOT "/magic.h5", "\x89HDF\r\n\x1a\n", 8, ERR_CORRUPT, "not a whole HDF5 file"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct tensors *t = NULL;
        struct err e = {0};
        if (vectors[i].bytes)
            assert_int_equal(
                file_write(vectors[i].path, vectors[i].bytes, vectors[i].n, 0666, NULL),
                0);
        assert_int_equal(tensors_open(vectors[i].path, &t, &e), vectors[i].code);
        assert_int_equal(e.code, vectors[i].code);
        assert_non_null(strstr(e.text, vectors[i].text));
        assert_null(t);
    }
}

static void test_get_refuses_what_is_not_there_or_not_so(void **state)
{
    (void)state;
    struct tensors *t = open_sample();
    struct tensor_info info;
    struct err e = {0};
    float out[8];
    int64_t v;
    char *text = NULL;

    assert_int_equal(tensors_get(t, "/model/dense2/weight", TENSOR_F32, 6, out, &e),
                     ERR_NOENT);
    assert_non_null(strstr(e.text, "sample.h5: there is no /model/dense2/weight"));
    assert_int_equal(tensors_get(t, "/model/dense1/weight", TENSOR_F32, 5, out, &e),
                     ERR_INVAL);
    assert_non_null(strstr(e.text, "has 6 elements, not 5"));
    assert_int_equal(tensors_get(t, "/metrics", TENSOR_F32, 3, out, &e), ERR_INVAL);
    assert_int_equal(tensors_info(t, "/model", &info, &e), ERR_CORRUPT); /* a group */
    assert_int_equal(tensors_get_int(t, "/", "version", &v, &e), ERR_NOENT);
    assert_non_null(strstr(e.text, "has no attribute 'version'"));
    assert_int_equal(tensors_get_int(t, "/nowhere", "schema", &v, &e), ERR_NOENT);
    assert_int_equal(tensors_get_int(t, "/model", "lr", &v, &e), ERR_INVAL);
    assert_int_equal(tensors_get_text(t, "/", "schema", &text, &e), ERR_INVAL);
    assert_null(text);
    tensors_close(t);
}

static void test_tables_refuse_other_columns_and_rows(void **state)
{
    (void)state;
    struct tensors *t = open_sample();
    double v[3] = {7, 7, 7};
    struct tensor_column absent = {"accuracy", TENSOR_F64, v},
                         loss = {"loss", TENSOR_F64, v};
    struct err e = {0};

    assert_int_equal(tensors_get_table(t, "/metrics", 3, 1, &absent, &e), ERR_NOENT);
    assert_non_null(strstr(e.text, "no column 'accuracy'"));
    assert_int_equal(tensors_get_table(t, "/metrics", 2, 1, &loss, &e), ERR_INVAL);
    assert_int_equal(tensors_get_table(t, "/model/dense1/weight", 6, 1, &loss, &e),
                     ERR_INVAL);
    assert_true(v[0] == 7 && v[1] == 7 && v[2] == 7);
    tensors_close(t);
}

static void test_put_refuses_a_path_twice_and_too_many_dimensions(void **state)
{
    (void)state;
    const size_t dims[TENSOR_DIMS + 1] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    float one = 1;
    struct tensors *t;

    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    assert_int_equal(tensors_put(t, "/a", TENSOR_F32, 1, dims, &one, NULL), 0);
    assert_int_equal(tensors_put(t, "/a", TENSOR_F32, 1, dims, &one, NULL), ERR_IO);
    assert_int_equal(tensors_put(t, "/b", TENSOR_F32, TENSOR_DIMS + 1, dims, &one, NULL),
                     ERR_INVAL);
    assert_int_equal(tensors_put(t, "/a/below", TENSOR_F32, 1, dims, &one, NULL), ERR_IO);
    tensors_close(t);
}

/* ---- damage ---- */

/* Whether the file gives back exactly what write_sample() wrote. */
static bool reads_the_same(const char *path)
{
    struct tensors *t;
    float w[2][3];
    int32_t s[3];
    double l[3], lr = 0;
    struct tensor_column columns[] = {{"step", TENSOR_I32, s}, {"loss", TENSOR_F64, l}};
    int64_t schema = 0;
    char *generator = NULL;

    if (tensors_open(path, &t, NULL) < 0)
        return false;
    bool all = tensors_get(t, "/model/dense1/weight", TENSOR_F32, 6, w, NULL) == 0 &&
               tensors_get_table(t, "/metrics", 3, 2, columns, NULL) == 0 &&
               tensors_get_int(t, "/", "schema", &schema, NULL) == 0 &&
               tensors_get_num(t, "/model", "lr", &lr, NULL) == 0 &&
               tensors_get_text(t, "/rng", "generator", &generator, NULL) == 0;
    tensors_close(t);
    if (all) { /* then it must be right: a failure to see damage */
        assert_memory_equal(w, weights, sizeof(w));
        assert_memory_equal(s, steps, sizeof(s));
        assert_memory_equal(l, losses, sizeof(l));
        assert_int_equal(schema, 1);
        assert_true(lr == 0.1);
        assert_string_equal(generator, "philox");
    }
    free(generator);
    return all;
}

static void test_a_flipped_byte_anywhere_is_found(void **state)
{
    (void)state;
    struct str whole = STR_INIT;
    size_t found = 0;

    write_sample(ROOT "/sample.h5");
    assert_int_equal(file_read(ROOT "/sample.h5", MEGA, &whole, NULL), 0);
    for (size_t i = 0; i < whole.len; i++) {
        FILE *f = fopen(ROOT "/flipped.h5", "wb");
        whole.p[i] ^= 0x20;
        assert_int_equal(fwrite(whole.p, 1, whole.len, f), whole.len);
        assert_int_equal(fclose(f), 0);
        whole.p[i] ^= 0x20;
        found += !reads_the_same(ROOT "/flipped.h5");
    }
    assert_int_equal(found, whole.len);
    str_free(&whole);
}

static void test_a_truncated_file_is_refused(void **state)
{
    (void)state;
    struct str whole = STR_INIT;

    write_sample(ROOT "/sample.h5");
    assert_int_equal(file_read(ROOT "/sample.h5", MEGA, &whole, NULL), 0);
    for (size_t n = 0; n < whole.len; n += 7) {
        assert_int_equal(truncate(ROOT "/sample.h5", (off_t)(whole.len - 1 - n)), 0);
        assert_false(reads_the_same(ROOT "/sample.h5"));
    }
    str_free(&whole);
}

/* ---- what should work ---- */

static void test_everything_comes_back(void **state)
{
    (void)state;
    struct tensors *t = open_sample();
    struct tensor_info info;

    assert_int_equal(tensors_info(t, "/model/dense1/weight", &info, NULL), 0);
    assert_int_equal(info.type, TENSOR_F32);
    assert_int_equal(info.ndim, 2);
    assert_int_equal(info.dim[0], 2);
    assert_int_equal(info.dim[1], 3);
    assert_int_equal(info.count, 6);
    assert_int_equal(tensors_info(t, "/metrics", &info, NULL), 0);
    assert_int_equal(info.type, TENSOR_TABLE);
    assert_int_equal(info.count, 3);
    tensors_close(t);
    assert_true(reads_the_same(ROOT "/sample.h5"));
}

static void test_types_are_converted(void **state)
{
    (void)state;
    static const int64_t wide[] = {-1, 255, (int64_t)1 << 40};
    int32_t narrow[3];
    float real[3];
    struct tensors *t;

    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    assert_int_equal(tensors_put(t, "/y", TENSOR_I64, 1, (const size_t[]){3}, wide, NULL),
                     0);
    assert_int_equal(tensors_get(t, "/y", TENSOR_I32, 3, narrow, NULL), 0);
    assert_int_equal(narrow[0], -1);
    assert_int_equal(narrow[1], 255);
    assert_int_equal(narrow[2], INT32_MAX);
    assert_int_equal(tensors_get(t, "/y", TENSOR_F32, 3, real, NULL), 0);
    assert_true(real[2] == 0x1p40f);
    tensors_close(t);
}

static void test_empty_arrays_scalars_and_tables(void **state)
{
    (void)state;
    struct tensor_info info;
    struct tensors *t;
    double one = 1.5, back = 0;

    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    assert_int_equal(
        tensors_put(t, "/none", TENSOR_F32, 2, (const size_t[]){0, 5}, NULL, NULL), 0);
    assert_int_equal(tensors_put(t, "/one", TENSOR_F64, 0, NULL, &one, NULL), 0);
    assert_int_equal(tensors_put_table(t, "/rows", 0, COUNT(table), table, NULL), 0);
    assert_int_equal(tensors_save(t, ROOT "/empty.h5", NULL), 0);
    tensors_close(t);
    assert_int_equal(tensors_open(ROOT "/empty.h5", &t, NULL), 0);
    assert_int_equal(tensors_info(t, "/none", &info, NULL), 0);
    assert_int_equal(info.count, 0);
    assert_int_equal(tensors_get(t, "/none", TENSOR_F32, 0, NULL, NULL), 0);
    assert_int_equal(tensors_get(t, "/one", TENSOR_F64, 1, &back, NULL), 0);
    assert_true(back == one);
    assert_int_equal(tensors_get_table(t, "/rows", 0, COUNT(table), table, NULL), 0);
    tensors_close(t);
}

static void test_the_same_content_gives_the_same_bytes(void **state)
{
    (void)state;
    struct str a = STR_INIT, b = STR_INIT;

    write_sample(ROOT "/a.h5");
    sleep(1); /* HDF5's times count seconds */
    write_sample(ROOT "/b.h5");
    assert_int_equal(file_read(ROOT "/a.h5", MEGA, &a, NULL), 0);
    assert_int_equal(file_read(ROOT "/b.h5", MEGA, &b, NULL), 0);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.p, b.p, a.len);
    str_free(&a);
    str_free(&b);
}

/* A disk that is full after 1 kB, by the limit on a file's size. */
static void test_a_failed_save_leaves_the_old_file(void **state)
{
    (void)state;
    struct rlimit kept, small;
    struct tensors *t;
    struct err e = {0};

    write_sample(ROOT "/sample.h5");
    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    small = kept;
    small.rlim_cur = 1024;
    float *zeros = mem_alloc(MEGA);
    assert_int_equal(
        tensors_put(t, "/zeros", TENSOR_U8, 1, (const size_t[]){MEGA}, zeros, NULL), 0);
    free(zeros);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = tensors_save(t, ROOT "/sample.h5", &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    assert_true(rc < 0);
    assert_non_null(strstr(e.text, "sample.h5"));
    assert_true(reads_the_same(ROOT "/sample.h5"));
    /* The same content can be saved when there is room again. */
    assert_int_equal(tensors_save(t, ROOT "/later.h5", NULL), 0);
    tensors_close(t);

    char **names;
    size_t n;
    assert_int_equal(dir_list(ROOT, &names, &n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        assert_null(strstr(names[i], ".tmp"));
    free(names);
}

static void test_close_takes_null(void **state)
{
    (void)state;
    tensors_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_refuses_what_is_no_whole_file),
        cmocka_unit_test(test_get_refuses_what_is_not_there_or_not_so),
        cmocka_unit_test(test_tables_refuse_other_columns_and_rows),
        cmocka_unit_test(test_put_refuses_a_path_twice_and_too_many_dimensions),
        cmocka_unit_test(test_a_flipped_byte_anywhere_is_found),
        cmocka_unit_test(test_a_truncated_file_is_refused),
        cmocka_unit_test(test_everything_comes_back),
        cmocka_unit_test(test_types_are_converted),
        cmocka_unit_test(test_empty_arrays_scalars_and_tables),
        cmocka_unit_test(test_the_same_content_gives_the_same_bytes),
        cmocka_unit_test(test_a_failed_save_leaves_the_old_file),
        cmocka_unit_test(test_close_takes_null),
    };

    return cmocka_run_group_tests_name("tensors", tests, setup, teardown);
}
