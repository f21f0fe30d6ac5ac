#include "worker/train/data.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/proc.h"
#include "store/tensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT     "data_test.dir"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int setup(void **state)
{
    (void)state;
    return dir_remove(ROOT, NULL) || dir_make(ROOT, 0777, NULL);
}

static int teardown(void **state)
{
    (void)state;
    return dir_remove(ROOT, NULL);
}

static void put_file(const char *path, const void *bytes, size_t n)
{
    assert_int_equal(file_write(path, bytes, n, 0666, NULL), 0);
}

static void assert_text(const struct err *e, const char *part)
{
    if (!strstr(e->text, part))
        fail_msg("'%s' is not in '%s'", part, e->text);
}

/* ---- idx ---- */

/* Two images of 2x3 and their labels. */
#define IMAGES                                                                           \
    "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03"                                         \
    "\1\2\3\4\5\6"                                                                       \
    "\7\x08\x09\x0a\x0b\xff"
#define LABELS                                                                           \
    "\0\0\x08\x01\0\0\0\x02"                                                             \
    "\1\0"

#define BYTES(literal) literal, sizeof(literal) - 1

static void test_idx_refuses_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *images;
        size_t n_images;
        const char *labels;
        size_t n_labels;
        const char *text;
    } vectors[] = {
        {BYTES(""), BYTES(LABELS), "images: empty"},
        {BYTES("\0"), BYTES(LABELS), "images: not an idx file"},
        {BYTES("PNG image"), BYTES(LABELS), "images: not an idx file"},
        {BYTES("\0\0\x0d\x03"), BYTES(LABELS), "images: idx type 0x0d"},
        {BYTES("\0\0\x08\x01\0\0\0\x02"
               "ab"),
         BYTES(LABELS), "images: 1 dimension, which"},
        {BYTES("\0\0\x08\x09"), BYTES(LABELS), "images: 9 dimensions"},
        {BYTES("\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0"), BYTES(LABELS),
         "images: cut short in its header"},
        {BYTES("\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
         BYTES(LABELS), "images: its dimensions give an impossible size"},
        {BYTES("\0\0\x08\x04\x80\0\0\0\x80\0\0\0\0\0\0\4\0\0\0\0"), BYTES(LABELS),
         "images: its dimensions give an impossible size"},
        {BYTES("\0\0\x08\x03\0\0\0\0\0\0\0\x02\0\0\0\x03"), BYTES(LABELS),
         "images: no samples"},
        {IMAGES, sizeof(IMAGES) - 2, BYTES(LABELS), "images: cut short: 11 bytes of 12"},
        {BYTES(IMAGES "x"), BYTES(LABELS), "images: 1 bytes too many"},
        {BYTES(IMAGES), BYTES(""), "labels: empty"},
        {BYTES(IMAGES), BYTES(IMAGES), "labels: 3 dimensions, which cannot be labels"},
        {BYTES(IMAGES),
         BYTES("\0\0\x08\x01\0\0\0\x02"
               "\1"),
         "labels: cut short"},
        {BYTES(IMAGES),
         BYTES("\0\0\x08\x01\0\0\0\x03"
               "\1\0\1"),
         "3 labels for the 2 images"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct samples s;
        struct err e = {0};
        put_file(ROOT "/images", vectors[i].images, vectors[i].n_images);
        put_file(ROOT "/labels", vectors[i].labels, vectors[i].n_labels);
        assert_int_equal(samples_read_idx(ROOT "/images", ROOT "/labels", &s, &e),
                         ERR_CORRUPT);
        assert_text(&e, vectors[i].text);
        assert_null(s.name);
    }
    struct samples s;
    assert_int_equal(samples_read_idx(ROOT "/absent", ROOT "/labels", &s, NULL),
                     ERR_NOENT);
}

static void assert_is_the_idx_sample(const struct samples *s)
{
    assert_int_equal(s->n, 2);
    assert_int_equal(s->ndim, 2);
    assert_int_equal(s->dim[0], 2);
    assert_int_equal(s->dim[1], 3);
    assert_int_equal(s->features, 6);
    assert_int_equal(s->type, SAMPLE_U8);
    assert_int_equal(s->y[0], 1);
    assert_int_equal(s->y[1], 0);
    assert_memory_equal((const char *)s->x + s->stride, "\7\x08\x09\x0a\x0b\xff", 6);
}

static void test_idx_reads_plain_and_gzipped_files(void **state)
{
    (void)state;
    char *const gzip[] = {(char[]){"gzip"}, (char[]){"-f"}, (char[]){ROOT "/images"},
                          NULL};
    struct proc_result r;
    struct samples s;

    put_file(ROOT "/images", BYTES(IMAGES));
    put_file(ROOT "/labels", BYTES(LABELS));
    assert_int_equal(samples_read_idx(ROOT "/images", ROOT "/labels", &s, NULL), 0);
    assert_is_the_idx_sample(&s);
    samples_free(&s);

    assert_int_equal(proc_run(gzip, NULL, 60, &r, NULL), 0);
    proc_result_free(&r);
    assert_int_equal(samples_read_idx(ROOT "/images.gz", ROOT "/labels", &s, NULL), 0);
    assert_is_the_idx_sample(&s);
    samples_free(&s);
    struct err e = {0};
    assert_int_equal(truncate(ROOT "/images.gz", 30), 0);
    assert_int_equal(samples_read_idx(ROOT "/images.gz", ROOT "/labels", &s, &e),
                     ERR_CORRUPT);
    assert_text(&e, "images.gz");
}

/* ---- CIFAR ---- */

#define PIXELS       3072
#define RECORD(kind) (PIXELS + 1 + ((kind) == CIFAR_100))

/* n records; record i has pixels of i and the label i % 10; with CIFAR-100 the coarse
 * label i % 20 and the fine label i % 100. */
static char *cifar(enum cifar kind, size_t n)
{
    char *bytes = mem_alloc(n * RECORD(kind)), *p = bytes;

    for (size_t i = 0; i < n; i++) {
        if (kind == CIFAR_100)
            *p++ = (char)(i % 20);
        *p++ = (char)(i % (kind == CIFAR_100 ? 100 : 10));
        memset(p, (int)i, PIXELS);
        p += PIXELS;
    }
    return bytes;
}

static void test_cifar_refuses_bad_files(void **state)
{
    (void)state;
    static const struct {
        enum cifar kind;
        size_t n;  /* bytes of a good file */
        size_t at; /* change the one at */
        char to;
        const char *text;
    } vectors[] = {
        {CIFAR_10, 0, 0, 0, "bad.bin: empty"},
        {CIFAR_10, 3072, 0, 0, "bad.bin: 3072 bytes are no whole number of CIFAR-10's"},
        {CIFAR_10, 3 * 3073 + 1, 0, 0, "no whole number of CIFAR-10's records of 3073"},
        {CIFAR_10, 3 * 3073, 3073, 10, "bad.bin: sample 1 has label 10, not 0 to 9"},
        {CIFAR_10, 3 * 3073, 0, (char)0xff, "bad.bin: sample 0 has label 255"},
        {CIFAR_100, 0, 0, 0, "bad.bin: empty"},
        {CIFAR_100, 3 * 3074 - 1, 0, 0, "no whole number of CIFAR-100's records of 3074"},
        {CIFAR_100, 3073, 0, 0, "bad.bin: 3073 bytes are no whole number"},
        {CIFAR_100, 3 * 3074, 2 * 3074, 20, "sample 2 has coarse label 20, not 0 to 19"},
        {CIFAR_100, 3 * 3074, 3075, 100, "sample 1 has fine label 100, not 0 to 99"},
    };
    char good[] = ROOT "/good.bin", bad[] = ROOT "/bad.bin";
    char *const paths[] = {good, bad};

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct samples s;
        struct err e = {0};
        char *bytes = cifar(vectors[i].kind, 4);
        put_file(good, bytes, 2 * RECORD(vectors[i].kind));
        bytes[vectors[i].at] = vectors[i].to;
        put_file(bad, bytes, vectors[i].n);
        free(bytes);
        assert_int_equal(samples_read_cifar(vectors[i].kind, paths, 2, &s, &e),
                         ERR_CORRUPT);
        assert_text(&e, vectors[i].text);
        assert_null(s.name);
    }
}

/* Sample i has pixels of i. */
static void assert_pixels(const struct samples *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const unsigned char *x = (const unsigned char *)s->x + i * s->stride;
        assert_int_equal(x[0], i);
        assert_int_equal(x[PIXELS - 1], i);
    }
}

static void test_cifar_directory_joins_batches_in_order(void **state)
{
    (void)state;
    char *bytes = cifar(CIFAR_10, 12);

    assert_int_equal(dir_make(ROOT "/cifar", 0777, NULL), 0);
    put_file(ROOT "/cifar/data_batch_2.bin", bytes + 4 * 3073, 8 * 3073);
    put_file(ROOT "/cifar/data_batch_1.bin", bytes, 4 * 3073);
    put_file(ROOT "/cifar/test_batch.bin", bytes, 3 * 3073);
    put_file(ROOT "/cifar/readme.html", "x", 1);
    struct data *d = data_open(&(struct data_config){ROOT "/cifar", 0, NAN}, NULL);
    assert_non_null(d);
    assert_int_equal(d->train.n, 12);
    assert_int_equal(d->training.n, 12);
    assert_int_equal(d->validation.n, 3);
    assert_int_equal(d->classes, 10);
    assert_pixels(&d->train);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(d->train.y[i], i % 10);
    data_close(d);
    free(bytes);
}

/* Of a hundred classes, whichever occur; the fine label is the class. */
static void test_cifar_100_is_told_by_the_names_of_its_files(void **state)
{
    (void)state;
    char *bytes = cifar(CIFAR_100, 42);
    struct err e = {0};

    assert_int_equal(dir_make(ROOT "/cifar100", 0777, NULL), 0);
    put_file(ROOT "/cifar100/test.bin", bytes, 30 * 3074);
    assert_null(data_open(&(struct data_config){ROOT "/cifar100", 0, NAN}, &e));
    assert_text(&e, "CIFAR-100: train.bin");
    put_file(ROOT "/cifar100/train.bin", bytes, 42 * 3074);
    put_file(ROOT "/cifar100/fine_label_names.txt", "apple\n", 6);
    struct data *d = data_open(&(struct data_config){ROOT "/cifar100", 0, NAN}, NULL);
    assert_non_null(d);
    assert_int_equal(d->training.n, 42);
    assert_int_equal(d->validation.n, 30);
    assert_int_equal(d->classes, 100);
    assert_pixels(&d->train);
    assert_pixels(&d->test);
    for (size_t i = 0; i < 42; i++)
        assert_int_equal(d->train.y[i], i);
    data_close(d);
    free(bytes);
}

/* ---- HDF5 ---- */

struct h5_case {
    enum tensor_type type_x;
    int ndim_x;
    size_t dim_x[4];
    const void *x;
    enum tensor_type type_y;
    int ndim_y;
    size_t dim_y[2];
    const void *y;
    const char *text; /* NULL: is fine */
};

static int read_h5(const struct h5_case *c, struct samples *s, struct err *e)
{
    struct tensors *t;

    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    if (c->x)
        assert_int_equal(tensors_put(t, "/X", c->type_x, c->ndim_x, c->dim_x, c->x, NULL),
                         0);
    if (c->y)
        assert_int_equal(tensors_put(t, "/y", c->type_y, c->ndim_y, c->dim_y, c->y, NULL),
                         0);
    assert_int_equal(tensors_save(t, ROOT "/file.h5", NULL), 0);
    tensors_close(t);
    struct samples none;
    int rc = samples_read_hdf5(ROOT "/file.h5", s, &none, e);
    assert_int_equal(none.n, 0);
    assert_null(none.name);
    return rc;
}

static void test_hdf5_refuses_bad_files(void **state)
{
    (void)state;
    static const float x[] = {1, 2, 3, 4, 5, 6}, nan_x[] = {1, 2, 3, NAN, 5, 6};
    static const double huge_x[] = {1, 2, 3, 4, 1e60, 6};
    static const int32_t y[] = {0, 1, 2}, bad_y[] = {0, -1, 2};
    static const int64_t huge_y[] = {0, 1, (int64_t)1 << 40};
    static const struct h5_case cases[] = {
        {0, 0, {0}, NULL, TENSOR_I32, 1, {3}, y, "there is no /X"},
        {TENSOR_F32, 2, {3, 2}, x, 0, 0, {0}, NULL, "there is no /y"},
        {TENSOR_F32,
         1,
         {6},
         x,
         TENSOR_I32,
         1,
         {3},
         y,
         "X must be numbers of two or more"},
        {TENSOR_F32, 2, {3, 0}, x, TENSOR_I32, 1, {3}, y, "X is empty"},
        {TENSOR_F32,
         2,
         {3, 2},
         nan_x,
         TENSOR_I32,
         1,
         {3},
         y,
         "sample 1 of X holds a NaN"},
        {TENSOR_F64,
         2,
         {3, 2},
         huge_x,
         TENSOR_I32,
         1,
         {3},
         y,
         "sample 2 of X holds what"},
        {TENSOR_F32, 2, {3, 2}, x, TENSOR_F32, 1, {3}, x, "y must hold whole numbers"},
        {TENSOR_F32, 2, {3, 2}, x, TENSOR_I32, 1, {2}, y, "one label for each of X's 3"},
        {TENSOR_F32,
         2,
         {2, 3},
         x,
         TENSOR_I32,
         2,
         {1, 2},
         y,
         "one label for each of X's 2"},
        {TENSOR_F32, 2, {3, 2}, x, TENSOR_I32, 1, {3}, bad_y, "label -1 of sample 1"},
        {TENSOR_F32,
         2,
         {3, 2},
         x,
         TENSOR_I64,
         1,
         {3},
         huge_y,
         "of sample 2 in y is not from 0"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct samples s;
        struct err e = {0};
        assert_true(read_h5(&cases[i], &s, &e) < 0);
        assert_text(&e, cases[i].text);
        assert_text(&e, "file.h5");
        assert_null(s.name);
    }
}

static void test_hdf5_keeps_bytes_and_turns_the_rest_to_floats(void **state)
{
    (void)state;
    static const uint8_t bytes[2][2][3] = {{{1, 2, 3}, {4, 5, 6}},
                                           {{7, 8, 9}, {10, 11, 255}}};
    static const int32_t whole[] = {-5, 6, 7, 8}, y[] = {3, 0};
    static const uint8_t narrow_y[] = {3, 0};
    struct samples s;

    assert_int_equal(read_h5(
                         &(struct h5_case){
                             TENSOR_U8, 3, {2, 2, 3}, bytes, TENSOR_I32, 1, {2}, y, NULL},
                         &s, NULL),
                     0);
    assert_int_equal(s.type, SAMPLE_U8);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.features, 6);
    assert_int_equal(s.ndim, 2);
    assert_memory_equal((const char *)s.x + s.stride, bytes[1], 6);
    assert_int_equal(s.y[0], 3);
    samples_free(&s);

    assert_int_equal(
        read_h5(
            &(struct h5_case){
                TENSOR_I32, 2, {2, 2}, whole, TENSOR_U8, 2, {2, 1}, narrow_y, NULL},
            &s, NULL),
        0);
    assert_int_equal(s.type, SAMPLE_F32);
    assert_true(((const float *)s.x)[0] == -5);
    assert_true(((const float *)(const void *)((const char *)s.x + s.stride))[1] == 8);
    assert_int_equal(s.y[0], 3);
    samples_free(&s);
}

/* ---- data sets ---- */

/* What a test part of 2 samples is like. */
struct test_case {
    const char *x, *y; /* their names; NULL: left out */
    enum tensor_type type;
    int ndim;
    size_t dim[3];
    int32_t label;
    const char *text; /* NULL: it is fine */
};

static struct data *open_with_test(const struct test_case *c, struct err *e)
{
    static const float x[] = {1, 2, 3, 4, 5, 6, 7, 8}, bad_x[] = {1, NAN, 3, 4};
    static const int32_t y[] = {0, 1, 0, 2};
    static const uint8_t bytes[] = {1, 2, 3, 4};
    const int32_t test_y[] = {1, c->label};
    const void *test_x = c->type == TENSOR_U8    ? (const void *)bytes
                         : c->label == INT32_MAX ? (const void *)bad_x
                                                 : (const void *)x;
    struct tensors *t;

    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    assert_int_equal(tensors_put(t, "/X", TENSOR_F32, 2, (const size_t[]){4, 2}, x, NULL),
                     0);
    assert_int_equal(tensors_put(t, "/y", TENSOR_I32, 1, (const size_t[]){4}, y, NULL),
                     0);
    if (c->x)
        assert_int_equal(tensors_put(t, c->x, c->type, c->ndim, c->dim, test_x, NULL), 0);
    if (c->y)
        assert_int_equal(
            tensors_put(t, c->y, TENSOR_I32, 1, (const size_t[]){2}, test_y, NULL), 0);
    assert_int_equal(tensors_save(t, ROOT "/parts.h5", NULL), 0);
    tensors_close(t);
    return data_open(&(struct data_config){ROOT "/parts.h5", 0, NAN}, e);
}

static void test_hdf5_may_have_a_test_part(void **state)
{
    (void)state;
    static const struct test_case cases[] = {
        {"/X_test", NULL, TENSOR_F32, 2, {2, 2}, 0, "parts.h5: there is no /y_test"},
        {NULL, "/y_test", TENSOR_F32, 2, {2, 2}, 0, "parts.h5: there is no /X_test"},
        {"/X_test",
         "/y_test",
         TENSOR_F32,
         2,
         {1, 2},
         0,
         "y_test must have one label for"},
        {"/X_test",
         "/y_test",
         TENSOR_F32,
         2,
         {2, 1},
         0,
         "X_test: its samples have anoth"},
        {"/X_test", "/y_test", TENSOR_F32, 3, {2, 2, 1}, 0, "another shape than those"},
        {"/X_test", "/y_test", TENSOR_F32, 1, {2}, 0, "X_test must be numbers of two or"},
        {"/X_test", "/y_test", TENSOR_U8, 2, {2, 2}, 0, "X_test: one of it and "},
        {"/X_test", "/y_test", TENSOR_F32, 2, {2, 2}, 3, "X_test: sample 1 has label 3"},
        {"/X_test",
         "/y_test",
         TENSOR_F32,
         2,
         {2, 2},
         -1,
         "label -1 of sample 1 in y_test"},
        {"/X_test",
         "/y_test",
         TENSOR_F32,
         2,
         {2, 2},
         INT32_MAX,
         "0 of X_test holds a NaN"},
        {"/X_test", "/y_test", TENSOR_F32, 2, {2, 2}, 2, NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        struct data *d = open_with_test(&cases[i], &e);
        if (cases[i].text) {
            assert_null(d);
            assert_text(&e, cases[i].text);
            continue;
        }
        assert_non_null(d);
        assert_int_equal(d->training.n, 4);
        assert_int_equal(d->validation.n, 2);
        assert_ptr_equal(d->validation.samples, &d->test);
        assert_true(((const float *)d->test.x)[3] == 4);
        assert_int_equal(d->test.y[1], 2);
        data_close(d);
    }
}

static void test_open_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    static const struct {
        const char *source, *text;
    } vectors[] = {
        {ROOT "/absent", "No such file"},
        {ROOT "/nothing", "neither idx files"},
        {ROOT "/half", "its labels, train-labels-idx1-ubyte, are not there"},
        {ROOT "/table.csv", "table.csv: not a whole HDF5 file"},
        {ROOT "/one", "all samples have the label 0"},
        {ROOT "/other", "sample 1 has label 2, but training knows 0 to 1"},
        {ROOT "/shape", "another shape"},
    };
    static const struct {
        const char *path, *bytes;
        size_t n;
    } files[] = {
        {ROOT "/table.csv", BYTES("a,b\n1,2\n")},
        {ROOT "/half/train-images-idx3-ubyte", BYTES(IMAGES)},
        {ROOT "/one/train-images-idx3-ubyte", BYTES(IMAGES)},
        {ROOT "/one/train-labels-idx1-ubyte", BYTES("\0\0\x08\x01\0\0\0\x02"
                                                    "\0\0")},
        {ROOT "/other/train-images-idx3-ubyte", BYTES(IMAGES)},
        {ROOT "/other/train-labels-idx1-ubyte", BYTES(LABELS)},
        {ROOT "/other/t10k-images-idx3-ubyte", BYTES(IMAGES)},
        {ROOT "/other/t10k-labels-idx1-ubyte", BYTES("\0\0\x08\x01\0\0\0\x02"
                                                     "\0\2")},
        {ROOT "/shape/train-images-idx3-ubyte", BYTES(IMAGES)},
        {ROOT "/shape/train-labels-idx1-ubyte", BYTES(LABELS)},
        {ROOT "/shape/t10k-images-idx3-ubyte",
         BYTES("\0\0\x08\x03\0\0\0\x02\0\0\0\1\0\0\0\1"
               "ab")},
        {ROOT "/shape/t10k-labels-idx1-ubyte", BYTES(LABELS)},
    };
    static const char *const dirs[] = {"/nothing", "/half", "/one", "/other", "/shape"};

    for (size_t i = 0; i < COUNT(dirs); i++) {
        char *dir = path_join(ROOT, dirs[i] + 1);
        assert_int_equal(dir_make(dir, 0777, NULL), 0);
        free(dir);
    }
    for (size_t i = 0; i < COUNT(files); i++)
        put_file(files[i].path, files[i].bytes, files[i].n);
    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct err e = {0};
        assert_null(data_open(&(struct data_config){vectors[i].source, 0, NAN}, &e));
        assert_text(&e, vectors[i].text);
    }
}

/* A file of n samples [2], sample i holding {i, 1000 + 2i}. */
static void write_h5(const char *path, size_t n)
{
    float *x = mem_alloc(n * 2 * sizeof(*x));
    int32_t *y = mem_alloc(n * sizeof(*y));
    struct tensors *t;

    for (size_t i = 0; i < n; i++) {
        x[2 * i] = (float)i;
        x[2 * i + 1] = (float)(1000 + 2 * i);
        y[i] = (int32_t)(i % 3);
    }
    assert_int_equal(tensors_create(&t, 0, NULL), 0);
    assert_int_equal(tensors_put(t, "/X", TENSOR_F32, 2, (const size_t[]){n, 2}, x, NULL),
                     0);
    assert_int_equal(tensors_put(t, "/y", TENSOR_I32, 1, &n, y, NULL), 0);
    assert_int_equal(tensors_save(t, path, NULL), 0);
    tensors_close(t);
    free(x);
    free(y);
}

static void test_division_covers_all_samples_once(void **state)
{
    (void)state;
    static const struct {
        size_t limit;
        double fraction;
        size_t training, validation;
    } vectors[] = {
        {0, NAN, 90, 10}, {0, 0.25, 75, 25}, {7, NAN, 7, 7}, {20, 0.1, 20, 10}};

    write_h5(ROOT "/table.h5", 100);
    for (size_t i = 0; i < COUNT(vectors); i++) {
        char seen[100] = {0};
        struct data *d =
            data_open(&(struct data_config){ROOT "/table.h5", vectors[i].limit,
                                            vectors[i].fraction},
                      NULL);
        assert_non_null(d);
        assert_int_equal(d->training.n, vectors[i].training);
        assert_int_equal(d->validation.n, vectors[i].validation);
        for (size_t k = 0; k < d->training.n; k++)
            seen[d->training.index[k]]++;
        for (size_t k = 0; k < d->validation.n; k++)
            seen[d->validation.index[k]]++;
        for (size_t k = 0; k < 100; k++)
            assert_true(seen[k] <= 1);
        data_close(d);
    }
}

static void test_division_refuses_empty_parts(void **state)
{
    (void)state;
    struct err e = {0};

    write_h5(ROOT "/small.h5", 5);
    assert_null(data_open(&(struct data_config){ROOT "/small.h5", 0, 0.1}, &e));
    assert_text(&e, "of 5 samples, 5 would be left to train and 0 to validate");
    /* A given fraction and a test part: which of the two is meant? */
    assert_null(data_open(&(struct data_config){ROOT "/cifar", 0, 0.1}, &e));
    assert_text(&e, "has a test part");
}

/* ---- made samples ---- */

static void test_synthetic_refuses_what_it_cannot_make(void **state)
{
    (void)state;
    static const struct {
        const char *source, *text;
    } vectors[] = {
        {"synthetic", "synthetic: the shape of a sample is missing, as in synthetic:32x"},
        {"synthetic:", "the shape of a sample is missing"},
        {"synthetic:,samples=3", "the shape of a sample is missing"},
        {"synthetic:x3", "'' is no whole number from 1 to"},
        {"synthetic:3x", "'' is no whole number"},
        {"synthetic:0", "'0' is no whole number"},
        {"synthetic:3x-1", "'-1' is no whole number"},
        {"synthetic:28*28", "'28*28' is no whole number"},
        {"synthetic:1x1x1x1x1x1x1x1", "more than 7 dimensions"},
        {"synthetic:65536x65536", "too many numbers"},
        {"synthetic:2147483647x2147483647x2147483647", "too many numbers"},
        {"synthetic:4,", "'' is unknown; what can follow the shape is samples=N and"},
        {"synthetic:4,sample=3", "'sample=3' is unknown (did you mean 'samples='?)"},
        {"synthetic:4,classes", "'classes' is unknown (did you mean 'classes='?)"},
        {"synthetic:4,classes=", "'' is no whole number from 1 to 65536"},
        {"synthetic:4,classes=70000", "'70000' is no whole number"},
        {"synthetic:4,samples=1e3", "'1e3' is no whole number"},
        {"synthetic:4,samples=9", "fewer samples than classes, 9 and 10"},
        {"synthetic:4,classes=1", "nothing to learn"},
        {"synthetic:2000000000,samples=4000000000", "its samples take "},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct err e = {0};
        assert_null(data_open(&(struct data_config){vectors[i].source, 0, NAN}, &e));
        assert_text(&e, vectors[i].text);
        assert_text(&e, vectors[i].source);
    }
}

/* The share of the second half's samples that are nearest to the mean that the first
 * half's samples of their class have. */
static double nearest_mean_accuracy(const struct samples *s)
{
    size_t n = s->n / 2, right = 0;
    double *means = mem_alloc(s->classes * s->features * sizeof(*means));
    const uint8_t *x = s->x;

    for (size_t i = 0; i < n; i++)
        for (size_t f = 0; f < s->features; f++)
            means[(size_t)s->y[i] * s->features + f] +=
                (double)x[i * s->stride + f] * (double)s->classes / (double)n;
    for (size_t i = n; i < s->n; i++) {
        double least = INFINITY;
        size_t best = 0;
        for (size_t c = 0; c < s->classes; c++) {
            double distance = 0;
            for (size_t f = 0; f < s->features; f++) {
                double d = (double)x[i * s->stride + f] - means[c * s->features + f];
                distance += d * d;
            }
            if (distance < least) {
                least = distance;
                best = c;
            }
        }
        right += best == (size_t)s->y[i];
    }
    free(means);
    return (double)right / (double)(s->n - n);
}

/* Neither for nothing nor without a rest, whatever the shape. */
static void test_synthetic_samples_can_be_learned(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        size_t n, features, classes;
        double least, most;
    } vectors[] = {
        {"synthetic:784,samples=2000", 2000, 784, 10, 0.85, 0.99},
        {"synthetic:28x28,samples=2000", 2000, 784, 10, 0.85, 0.99},
        {"synthetic:16x16x3,samples=2000", 2000, 768, 10, 0.85, 0.99},
        {"synthetic:3x16x16,samples=2000,classes=2", 2000, 768, 2, 0.95, 1},
        {"synthetic:5x4x3x2,classes=50,samples=4000", 4000, 120, 50, 0.3, 0.95},
        {"synthetic:2,classes=2,samples=1000", 1000, 2, 2, 0.7, 1},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct samples s;
        size_t count[64] = {0};
        assert_int_equal(samples_synthesize(vectors[i].source, &s, NULL), 0);
        assert_int_equal(s.n, vectors[i].n);
        assert_int_equal(s.features, vectors[i].features);
        assert_int_equal(s.classes, vectors[i].classes);
        for (size_t k = 0; k < s.n; k++)
            count[s.y[k]]++;
        for (size_t c = 0; c < s.classes; c++)
            assert_int_equal(count[c], s.n / s.classes);
        double accuracy = nearest_mean_accuracy(&s);
        if (!(accuracy >= vectors[i].least && accuracy <= vectors[i].most))
            fail_msg("%s: %g", vectors[i].source, accuracy);
        samples_free(&s);
    }
}

/* On every machine: what is trained on is what the text says. */
static void test_synthetic_samples_are_always_the_same(void **state)
{
    (void)state;
    static const uint8_t first[] = {0xa2, 0x9d, 0x6e, 0x83, 0xa4, 0xa1, 0xa1, 0x83};
    struct samples few, many;

    assert_int_equal(samples_synthesize("synthetic:5x4,samples=20", &few, NULL), 0);
    assert_int_equal(samples_synthesize("synthetic:5x4,samples=10000", &many, NULL), 0);
    assert_memory_equal(few.x, many.x, few.n * few.stride);
    assert_memory_equal(few.y, many.y, few.n * sizeof(*few.y));
    assert_memory_equal(few.x, first, sizeof(first));
    samples_free(&few);
    samples_free(&many);
}

/* ---- normalisation ---- */

static void assert_close(double got, double want)
{
    if (!(fabs(got - want) <= 1e-6 * fabs(want)))
        fail_msg("%.9g is not %.9g", got, want);
}

static void test_which_samples_are_images(void **state)
{
    (void)state;
    static const struct {
        struct samples s;
        struct image image;
        bool planar;
    } vectors[] = {
        {{.ndim = 1, .dim = {20}, .features = 20}, {1, 1, 20}, false},
        {{.ndim = 2, .dim = {28, 27}, .features = 756}, {28, 27, 1}, false},
        {{.ndim = 3, .dim = {3, 32, 30}, .features = 2880}, {32, 30, 3}, true},
        {{.ndim = 3, .dim = {32, 30, 3}, .features = 2880}, {32, 30, 3}, false},
        {{.ndim = 3, .dim = {3, 32, 3}, .features = 288}, {32, 3, 3}, true},
        {{.ndim = 4, .dim = {2, 3, 4, 5}, .features = 120}, {1, 1, 120}, false},
    };

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        bool planar;
        struct image image = samples_image(&vectors[i].s, &planar);
        assert_memory_equal(&image, &vectors[i].image, sizeof(image));
        assert_int_equal(planar, vectors[i].planar);
    }
}

static void test_a_table_is_measured_by_feature(void **state)
{
    (void)state;
    double mean = 0, square = 0;

    write_h5(ROOT "/table.h5", 100);
    struct data *d = data_open(&(struct data_config){ROOT "/table.h5", 0, NAN}, NULL);
    assert_non_null(d);
    data_measure(d);
    for (size_t k = 0; k < 90; k++)
        mean += d->training.index[k] / 90.0;
    for (size_t k = 0; k < 90; k++)
        square += pow(d->training.index[k] - mean, 2) / 90.0;
    assert_close(d->mean[0], mean);
    assert_close(d->scale[0], 1 / sqrt(square));
    assert_close(d->mean[1], 1000 + 2 * mean);
    assert_close(d->scale[1], 0.5 / sqrt(square));
    data_close(d);
}

/* Measures three samples of the shape; sample i has at feature f the byte
 * value(i, f), given as floats too. */
static void measure(int ndim, const size_t dim[], int (*value)(size_t i, size_t f),
                    enum sample_type type, struct data *d)
{
    enum { N = 3 };
    static uint32_t index[N] = {2, 0, 1};
    size_t features = 1;

    *d = (struct data){.classes = 2};
    for (int k = 0; k < ndim; k++) {
        d->train.dim[k] = dim[k];
        features *= dim[k];
    }
    d->train.ndim = ndim;
    d->train.n = N;
    d->train.features = features;
    d->train.type = type;
    d->train.stride = features * (type == SAMPLE_U8 ? 1 : sizeof(float));
    uint8_t *bytes = mem_alloc(N * features);
    float *floats = mem_alloc(N * features * sizeof(*floats));
    for (size_t i = 0; i < N * features; i++)
        floats[i] = bytes[i] = (uint8_t)value(i / features, i % features);
    d->train.x = type == SAMPLE_U8 ? (void *)bytes : (void *)floats;
    d->training = (struct part){&d->train, index, N};
    d->mean = mem_alloc(features * sizeof(float));
    d->scale = mem_alloc(features * sizeof(float));
    data_measure(d);
    free(bytes);
    free(floats);
}

static int by_channel_first(size_t i, size_t f)
{
    return (int)(100 * (f / 4) + 10 * i); /* [2][1][4] */
}

static int by_channel_last(size_t i, size_t f)
{
    return (int)(100 * (f % 2) + 10 * i); /* [4][1][2] */
}

static int as_a_whole(size_t i, size_t f)
{
    return (int)(f + 6 * i); /* [2][3]: 0 to 17 */
}

static int constant(size_t i, size_t f)
{
    (void)i;
    return (int)(f == 0 ? 7 : 0);
}

static void test_images_are_measured_by_channel_or_as_a_whole(void **state)
{
    (void)state;
    double deviation = sqrt(200.0 / 3); /* of 0, 10, 20 */
    const struct {
        int ndim;
        size_t dim[3];
        int (*value)(size_t, size_t);
        size_t f;
        double mean, deviation;
    } vectors[] = {
        {3, {2, 1, 4}, by_channel_first, 0, 10, deviation},
        {3, {2, 1, 4}, by_channel_first, 3, 10, deviation},
        {3, {2, 1, 4}, by_channel_first, 4, 110, deviation},
        {3, {4, 1, 2}, by_channel_last, 0, 10, deviation},
        {3, {4, 1, 2}, by_channel_last, 7, 110, deviation},
        {2, {2, 3}, as_a_whole, 5, 8.5, sqrt((18.0 * 18 - 1) / 12)},
        {1, {2}, constant, 0, 7, 1},
        {1, {2}, constant, 1, 0, 1},
    };

    for (size_t i = 0; i < COUNT(vectors); i++)
        for (int type = SAMPLE_U8; type <= SAMPLE_F32; type++) {
            struct data d;
            measure(vectors[i].ndim, vectors[i].dim, vectors[i].value,
                    (enum sample_type)type, &d);
            assert_close(d.mean[vectors[i].f], vectors[i].mean);
            assert_close(d.scale[vectors[i].f], 1 / vectors[i].deviation);
            free(d.mean);
            free(d.scale);
        }
}

/* More rows than 32-bit sums hold: the sums are carried over. */
static void test_byte_sums_do_not_overflow(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct data d = {.classes = 2};
    float mean, scale;

    d.train = (struct samples){.n = N, .ndim = 1, .dim = {1}, .features = 1, .stride = 1};
    uint8_t *bytes = mem_alloc(N);
    uint32_t *index = mem_alloc(N * sizeof(*index));
    for (uint32_t i = 0; i < N; i++) {
        bytes[i] = i % 2 ? 255 : 253;
        index[i] = i;
    }
    d.train.x = bytes;
    d.training = (struct part){&d.train, index, N};
    d.mean = &mean;
    d.scale = &scale;
    data_measure(&d);
    assert_close(mean, 254);
    assert_close(scale, 1);
    free(bytes);
    free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx_refuses_bad_files),
        cmocka_unit_test(test_idx_reads_plain_and_gzipped_files),
        cmocka_unit_test(test_cifar_refuses_bad_files),
        cmocka_unit_test(test_cifar_directory_joins_batches_in_order),
        cmocka_unit_test(test_cifar_100_is_told_by_the_names_of_its_files),
        cmocka_unit_test(test_hdf5_refuses_bad_files),
        cmocka_unit_test(test_hdf5_keeps_bytes_and_turns_the_rest_to_floats),
        cmocka_unit_test(test_hdf5_may_have_a_test_part),
        cmocka_unit_test(test_open_refuses_what_it_does_not_know),
        cmocka_unit_test(test_division_covers_all_samples_once),
        cmocka_unit_test(test_division_refuses_empty_parts),
        cmocka_unit_test(test_synthetic_refuses_what_it_cannot_make),
        cmocka_unit_test(test_synthetic_samples_can_be_learned),
        cmocka_unit_test(test_synthetic_samples_are_always_the_same),
        cmocka_unit_test(test_which_samples_are_images),
        cmocka_unit_test(test_a_table_is_measured_by_feature),
        cmocka_unit_test(test_images_are_measured_by_channel_or_as_a_whole),
        cmocka_unit_test(test_byte_sums_do_not_overflow),
    };

    return cmocka_run_group_tests_name("data", tests, setup, teardown);
}
