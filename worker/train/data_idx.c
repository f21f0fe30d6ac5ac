/* The idx format (yann.lecun.com/exdb/mnist): two zero bytes, a type, the number of
 * dimensions, each dimension as a big-endian 32-bit number, then the elements. */
#include "worker/train/data.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>

#define SIZE_LIMIT ((size_t)1 << 40)
#define TYPE_U8    0x08

struct idx {
    int ndim;
    size_t dim[SAMPLE_DIMS + 1];
    size_t start; /* of the elements in the file */
};

static int idx_parse(const char *path, const struct str *s, int least, int most,
                     struct idx *idx, struct err *e)
{
    const unsigned char *p = (const unsigned char *)s->p;
    size_t count = 1;

    if (s->len == 0)
        return err_set(e, ERR_CORRUPT, "%s: empty", path);
    if (s->len < 4 || p[0] != 0 || p[1] != 0)
        return err_set(e, ERR_CORRUPT,
                       "%s: not an idx file (it does not start with 00 00)", path);
    if (p[2] != TYPE_U8)
        return err_set(e, ERR_CORRUPT, "%s: idx type 0x%02x; only unsigned bytes, 0x08",
                       path, p[2]);
    if (p[3] < least || p[3] > most)
        return err_set(e, ERR_CORRUPT, "%s: %d dimension%s, which cannot be %s", path,
                       p[3], p[3] == 1 ? "" : "s", most == 1 ? "labels" : "images");
    idx->ndim = p[3];
    idx->start = 4 + 4 * (size_t)idx->ndim;
    if (s->len < idx->start)
        return err_set(e, ERR_CORRUPT, "%s: cut short in its header", path);
    for (int i = 0; i < idx->ndim; i++) {
        const unsigned char *d = p + 4 + 4 * i;
        idx->dim[i] = (size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | d[3];
        if (__builtin_mul_overflow(count, idx->dim[i], &count) || count > SIZE_LIMIT)
            return err_set(e, ERR_CORRUPT, "%s: its dimensions give an impossible size",
                           path);
    }
    if (count == 0)
        return err_set(e, ERR_CORRUPT, "%s: no samples in it", path);
    if (s->len - idx->start < count)
        return err_set(e, ERR_CORRUPT, "%s: cut short: %zu bytes of %zu are there", path,
                       s->len - idx->start, count);
    if (s->len - idx->start > count)
        return err_set(e, ERR_CORRUPT, "%s: %zu bytes too many", path,
                       s->len - idx->start - count);
    return 0;
}

int samples_read_idx(const char *images, const char *labels, struct samples *s,
                     struct err *e)
{
    struct str marks = STR_INIT;
    struct idx x, y;
    int rc;

    *s = (struct samples){
        .name = mem_strdup(images), .type = SAMPLE_U8, .bytes = STR_INIT};
    rc = file_read_gz(images, SIZE_LIMIT, &s->bytes, e);
    if (rc == 0)
        rc = idx_parse(images, &s->bytes, 2, SAMPLE_DIMS + 1, &x, e);
    if (rc == 0)
        rc = file_read_gz(labels, SIZE_LIMIT, &marks, e);
    if (rc == 0)
        rc = idx_parse(labels, &marks, 1, 1, &y, e);
    if (rc == 0 && x.dim[0] != y.dim[0])
        rc = err_set(e, ERR_CORRUPT, "%s: %zu labels for the %zu images of %s", labels,
                     y.dim[0], x.dim[0], images);
    if (rc < 0) {
        samples_free(s);
        goto out;
    }
    s->n = x.dim[0];
    s->ndim = x.ndim - 1;
    s->features = 1;
    for (int i = 0; i < s->ndim; i++) {
        s->dim[i] = x.dim[i + 1];
        s->features *= s->dim[i];
    }
    s->stride = s->features;
    s->x = s->bytes.p + x.start;
    s->y = mem_resize(NULL, s->n, sizeof(*s->y));
    for (size_t i = 0; i < s->n; i++)
        s->y[i] = (unsigned char)marks.p[y.start + i];
out:
    str_free(&marks);
    return rc;
}
