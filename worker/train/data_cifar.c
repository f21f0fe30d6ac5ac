/* The binary versions of CIFAR-10 and CIFAR-100 (www.cs.toronto.edu/~kriz/cifar.html). A
 * sample's pixels are used where they lie in the files' bytes, between two labels. */
#include "worker/train/data.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>

#define PIXELS     ((size_t)3 * 32 * 32)
#define SIZE_LIMIT ((size_t)1 << 40)
#define LABELS_MAX 2

/* A record: labels, of which the last is the class, then the pixels. */
struct format {
    const char *name;
    size_t labels;
    struct {
        const char *name;
        unsigned count;
    } label[LABELS_MAX];
};

static const struct format formats[] = {
    [CIFAR_10] = {"CIFAR-10", 1, {{"label", 10}}},
    [CIFAR_100] = {"CIFAR-100", 2, {{"coarse label", 20}, {"fine label", 100}}},
};

static size_t record_size(const struct format *f)
{
    return f->labels + PIXELS;
}

static int check_labels(const char *path, const struct format *f, const char *bytes,
                        size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++, bytes += record_size(f))
        for (size_t k = 0; k < f->labels; k++)
            if ((unsigned char)bytes[k] >= f->label[k].count)
                return err_set(e, ERR_CORRUPT, "%s: sample %zu has %s %d, not 0 to %u",
                               path, i, f->label[k].name, (unsigned char)bytes[k],
                               f->label[k].count - 1);
    return 0;
}

static int read_one(const char *path, const struct format *f, struct str *bytes,
                    struct err *e)
{
    size_t before = bytes->len, record = record_size(f);
    int rc = file_read_gz(path, SIZE_LIMIT, bytes, e);

    if (rc < 0)
        return rc;
    size_t size = bytes->len - before;
    if (size == 0)
        return err_set(e, ERR_CORRUPT, "%s: empty", path);
    if (size % record)
        return err_set(e, ERR_CORRUPT,
                       "%s: %zu bytes are no whole number of %s's records of %zu", path,
                       size, f->name, record);
    return check_labels(path, f, bytes->p + before, size / record, e);
}

int samples_read_cifar(enum cifar kind, char *const paths[], size_t n, struct samples *s,
                       struct err *e)
{
    const struct format *f = &formats[kind];

    *s = (struct samples){
        .name = mem_strdup(paths[0]),
        .ndim = 3,
        .dim = {3, 32, 32},
        .features = PIXELS,
        .classes = f->label[f->labels - 1].count,
        .type = SAMPLE_U8,
        .stride = record_size(f),
        .bytes = STR_INIT,
    };
    for (size_t i = 0; i < n; i++) {
        int rc = read_one(paths[i], f, &s->bytes, e);
        if (rc < 0) {
            samples_free(s);
            return rc;
        }
    }
    s->n = s->bytes.len / s->stride;
    s->x = s->bytes.p + f->labels;
    s->y = mem_resize(NULL, s->n, sizeof(*s->y));
    for (size_t i = 0; i < s->n; i++)
        s->y[i] = (unsigned char)s->bytes.p[i * s->stride + f->labels - 1];
    return 0;
}
