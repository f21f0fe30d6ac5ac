#include "worker/train/data_private.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/units.h"
#include "worker/train/alike.h"
#include "worker/train/draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FASHION_MNIST "/usr/share/datasets/fashion-mnist"

void samples_free(struct samples *s)
{
    free(s->name);
    free(s->y);
    free(s->floats);
    if (s->bytes.p)
        str_free(&s->bytes);
    *s = (struct samples){.bytes = STR_INIT};
}

struct image samples_image(const struct samples *s, bool *planar)
{
    const size_t *dim = s->dim;

    *planar = s->ndim == 3 && dim[0] <= dim[2];
    if (*planar)
        return (struct image){dim[1], dim[2], dim[0]};
    if (s->ndim == 3)
        return (struct image){dim[0], dim[1], dim[2]};
    if (s->ndim == 2)
        return (struct image){dim[0], dim[1], 1};
    return (struct image){1, 1, s->features};
}

void samples_shape(const struct samples *s, struct str *out)
{
    for (int i = 0; i < s->ndim; i++)
        str_addf(out, "%s%zu", i ? "x" : "", s->dim[i]);
}

size_t samples_bytes(const struct samples *s)
{
    size_t sample = s->features * (s->type == SAMPLE_U8 ? 1 : sizeof(float));

    return s->n ? (s->n - 1) * s->stride + sample : 0;
}

/* 0 of none. */
static uint64_t samples_checksum(const struct samples *s)
{
    if (s->n == 0)
        return 0;
    uint64_t parts[] = {s->type, hash64(s->x, samples_bytes(s)),
                        hash64(s->y, s->n * sizeof(*s->y))};
    return hash64(parts, sizeof(parts));
}

int samples_fit_memory(const char *name, double bytes, struct err *e)
{
    double have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    char a[UNITS_MAX], b[UNITS_MAX];

    if (bytes < have)
        return 0;
    return err_set(e, ERR_RANGE, "%s: its samples take %s of memory; this machine has %s",
                   name, size_format(a, bytes), size_format(b, have));
}

/* ---- formats: what a directory or a file is, by the names in it ---- */

/* dir/name or dir/name.gz, whichever is there; NULL when none is. free() it. */
static char *find_idx(const char *dir, const char *name)
{
    static const char *const endings[] = {"", ".gz"};

    for (size_t i = 0; i < 2; i++) {
        struct str path = STR_INIT;
        str_addf(&path, "%s/%s%s", dir, name, endings[i]);
        if (access(path.p, F_OK) == 0)
            return str_take(&path);
        str_free(&path);
    }
    return NULL;
}

/* Reads one part of an idx data set; 1 if its images are not there. */
static int read_idx_part(const char *dir, const char *part, struct samples *s,
                         struct err *e)
{
    struct str name = STR_INIT;
    char *images, *labels;
    int rc = 1;

    str_addf(&name, "%s-images-idx3-ubyte", part);
    images = find_idx(dir, name.p);
    str_cut(&name, 0);
    str_addf(&name, "%s-labels-idx1-ubyte", part);
    labels = find_idx(dir, name.p);
    if (images && labels)
        rc = samples_read_idx(images, labels, s, e);
    else if (images)
        rc = err_set(e, ERR_NOENT, "%s: its labels, %s, are not there", images, name.p);
    free(images);
    free(labels);
    str_free(&name);
    return rc;
}

static int read_idx(const char *dir, struct data *d, struct err *e)
{
    int rc = read_idx_part(dir, "train", &d->train, e);

    if (rc != 0)
        return rc;
    rc = read_idx_part(dir, "t10k", &d->test, e);
    return rc < 0 ? rc : 0;
}

static bool starts_ends(const char *name, const char *start, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return strncmp(name, start, strlen(start)) == 0 && n >= n_end &&
           strcmp(name + n - n_end, end) == 0;
}

/* Reads the files whose names start so and end in .bin, in the order of their names; 1 if
 * there is none. */
static int read_cifar_part(enum cifar kind, const char *dir, const char *start,
                           struct samples *s, struct err *e)
{
    char **names, **paths;
    size_t n, found = 0;
    int rc = dir_list(dir, &names, &n, e);

    if (rc < 0)
        return rc;
    paths = mem_alloc(n * sizeof(*paths));
    for (size_t i = 0; i < n; i++)
        if (starts_ends(names[i], start, ".bin"))
            paths[found++] = path_join(dir, names[i]);
    rc = found ? samples_read_cifar(kind, paths, found, s, e) : 1;
    while (found > 0)
        free(paths[--found]);
    free(paths);
    free(names);
    return rc;
}

static int read_cifar(enum cifar kind, const char *dir, const char *train,
                      const char *test, struct data *d, struct err *e)
{
    int rc = read_cifar_part(kind, dir, train, &d->train, e);

    if (rc != 0)
        return rc;
    rc = read_cifar_part(kind, dir, test, &d->test, e);
    return rc < 0 ? rc : 0;
}

static int read_cifar_10(const char *dir, struct data *d, struct err *e)
{
    return read_cifar(CIFAR_10, dir, "data_batch", "test_batch", d, e);
}

static int read_cifar_100(const char *dir, struct data *d, struct err *e)
{
    return read_cifar(CIFAR_100, dir, "train.bin", "test.bin", d, e);
}

static bool is_synthetic(const char *source)
{
    size_t n = strlen(SAMPLES_SYNTHETIC);
    return strncmp(source, SAMPLES_SYNTHETIC, n) == 0 &&
           (source[n] == ':' || source[n] == '\0');
}

static int read_source(const char *source, struct data *d, struct err *e)
{
    /* Each returns 1 when the directory holds none of its files. */
    static int (*const formats[])(const char *, struct data *, struct err *) = {
        read_idx, read_cifar_10, read_cifar_100};
    bool known = strcmp(source, "fashion-mnist") == 0;
    const char *path = known ? FASHION_MNIST : source;
    struct stat st;

    if (is_synthetic(source))
        return samples_synthesize(source, &d->train, e);
    if (stat(path, &st) < 0)
        return known ? err_set(e, ERR_NOENT,
                               "fashion-mnist is not in " FASHION_MNIST
                               " (Debian: apt-get install dataset-fashion-mnist); the "
                               "directory of its idx files will do as well")
                     : err_sys(e, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return samples_read_hdf5(path, &d->train, &d->test, e);
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        int rc = formats[i](path, d, e);
        if (rc <= 0)
            return rc;
    }
    return err_set(e, ERR_NOENT,
                   "%s: neither idx files (train-images-idx3-ubyte, also .gz) nor "
                   "CIFAR's (data_batch_1.bin; CIFAR-100: train.bin) are in it",
                   path);
}

/* ---- checks ---- */

static int count_classes(struct data *d, struct err *e)
{
    const struct samples *s = &d->train, *t = &d->test;

    d->classes = s->classes;
    for (size_t i = 0; i < s->n; i++)
        if ((size_t)s->y[i] >= d->classes)
            d->classes = (size_t)s->y[i] + 1;
    if (d->classes < 2)
        return err_set(e, ERR_INVAL, "%s: all samples have the label 0: nothing to learn",
                       s->name);
    for (size_t i = 0; i < t->n; i++)
        if ((size_t)t->y[i] >= d->classes)
            return err_set(e, ERR_CORRUPT,
                           "%s: sample %zu has label %d, but training knows 0 to %zu",
                           t->name, i, t->y[i], d->classes - 1);
    return 0;
}

static int check(struct data *d, struct err *e)
{
    const struct samples *s = &d->train, *t = &d->test;

    if (s->n >= UINT32_MAX || t->n >= UINT32_MAX || s->features >= INT32_MAX)
        return err_set(e, ERR_INVAL, "%s: too large: %zu samples of %zu numbers", s->name,
                       s->n, s->features);
    if (t->n && (t->ndim != s->ndim ||
                 memcmp(t->dim, s->dim, sizeof(s->dim[0]) * (size_t)s->ndim) != 0))
        return err_set(e, ERR_CORRUPT,
                       "%s: its samples have another shape than those of %s", t->name,
                       s->name);
    if (t->n && t->type != s->type)
        return err_set(
            e, ERR_CORRUPT,
            "%s: one of it and %s holds bytes, the other does not: they may not "
            "be of one scale; store both as the same type",
            t->name, s->name);
    return count_classes(d, e);
}

/* ---- division ---- */

/* A part of n samples of s: those at order[0..n). */
static struct part part_make(const struct samples *s, const uint32_t *order, size_t n,
                             size_t limit)
{
    if (limit && limit < n)
        n = limit;
    return (struct part){s, mem_dup(order, n * sizeof(*order)), n};
}

/* All of s in an order that depends on nothing but their number. free() it. */
static uint32_t *fixed_order(const struct samples *s)
{
    uint32_t *order = mem_resize(NULL, s->n, sizeof(*order));

    for (size_t i = 0; i < s->n; i++)
        order[i] = (uint32_t)i;
    draw_shuffle(0, DRAW_SPLIT, 0, order, s->n);
    return order;
}

int data_divide(struct data *d, const struct data_config *config, struct err *e)
{
    uint32_t *order;
    size_t n_val = 0;

    if (d->test.n && !isnan(config->val_fraction))
        return err_set(
            e, ERR_INVAL,
            "%s has a test part, which validates: a validation fraction has no "
            "place",
            config->source);
    if (d->test.n) {
        order = fixed_order(&d->test);
        d->validation = part_make(&d->test, order, d->test.n, config->limit);
        free(order);
    } else {
        double fraction = isnan(config->val_fraction) ? 0.1 : config->val_fraction;
        n_val = (size_t)(fraction * (double)d->train.n);
        if (n_val == 0 || n_val == d->train.n)
            return err_set(e, ERR_INVAL,
                           "%s: of %zu samples, %zu would be left to train and %zu to "
                           "validate",
                           config->source, d->train.n, d->train.n - n_val, n_val);
    }
    order = fixed_order(&d->train);
    if (n_val)
        d->validation = part_make(&d->train, order, n_val, config->limit);
    d->training = part_make(&d->train, order + n_val, d->train.n - n_val, config->limit);
    free(order);
    d->mean = mem_alloc(d->train.features * sizeof(float));
    d->scale = mem_alloc(d->train.features * sizeof(float));
    return 0;
}

struct data *data_open(const struct data_config *config, struct err *e)
{
    struct data *d = mem_alloc(sizeof(*d));
    int rc;

    d->train.bytes = d->test.bytes = (struct str)STR_INIT;
    rc = read_source(config->source, d, e);
    if (rc == 0)
        rc = check(d, e);
    if (rc == 0)
        rc = data_divide(d, config, e);
    if (rc < 0) {
        data_close(d);
        return NULL;
    }
    return d;
}

void data_close(struct data *d)
{
    if (!d)
        return;
    if (d->shared) {
        d->train.y = d->test.y = NULL;
        munmap((void *)(uintptr_t)d->shared, d->shared_bytes);
    }
    samples_free(&d->train);
    samples_free(&d->test);
    free(d->training.index);
    free(d->validation.index);
    free(d->mean);
    free(d->scale);
    free(d);
}

static void add_count(struct str *out, const char *name, size_t n)
{
    char value[32];

    snprintf(value, sizeof(value), "%zu", n);
    alike_add(out, name, value);
}

static void add_checksum(struct str *out, const char *name, const struct samples *s)
{
    char value[17];

    hash_hex(value, samples_checksum(s));
    alike_add(out, name, value);
}

void data_alike(const struct data *d, struct str *out)
{
    struct str shape = STR_INIT;

    add_count(out, "the number of samples to train", d->training.n);
    add_count(out, "the number of samples to validate", d->validation.n);
    samples_shape(&d->train, &shape);
    alike_add(out, "the shape of samples", shape.p);
    str_free(&shape);
    add_count(out, "the number of classes", d->classes);
    add_checksum(out, "the checksum of the training part", &d->train);
    add_checksum(out, "the checksum of the test part", &d->test);
}
