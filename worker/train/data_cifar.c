/* CIFAR-10's binary version (www.cs.toronto.edu/~kriz/cifar.html). A sample's pixels
 * are used where they lie in the files' bytes, between two labels. */
#include "worker/train/data.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>

#define PIXELS     (3 * 32 * 32)
#define RECORD     (1 + PIXELS)
#define LABEL_MAX  9
#define SIZE_LIMIT ((size_t)1 << 40)

static int read_one(const char *path, struct str *bytes, struct err *e)
{
    size_t before = bytes->len;
    int rc = file_read_gz(path, SIZE_LIMIT, bytes, e);

    if (rc < 0)
        return rc;
    size_t size = bytes->len - before;
    if (size == 0)
        return err_set(e, ERR_CORRUPT, "%s: empty", path);
    if (size % RECORD)
        return err_set(e, ERR_CORRUPT,
                       "%s: %zu bytes are no whole number of CIFAR-10's records of %d",
                       path, size, RECORD);
    for (size_t at = before; at < bytes->len; at += RECORD)
        if ((unsigned char)bytes->p[at] > LABEL_MAX)
            return err_set(e, ERR_CORRUPT, "%s: sample %zu has label %d, not 0 to %d",
                           path, (at - before) / RECORD, (unsigned char)bytes->p[at],
                           LABEL_MAX);
    return 0;
}

int samples_read_cifar(char *const paths[], size_t n, struct samples *s, struct err *e)
{
    *s = (struct samples){
        .name = mem_strdup(paths[0]),
        .ndim = 3,
        .dim = {3, 32, 32},
        .features = PIXELS,
        .type = SAMPLE_U8,
        .stride = RECORD,
        .bytes = STR_INIT,
    };
    for (size_t i = 0; i < n; i++) {
        int rc = read_one(paths[i], &s->bytes, e);
        if (rc < 0) {
            samples_free(s);
            return rc;
        }
    }
    s->n = s->bytes.len / RECORD;
    s->x = s->bytes.p + 1;
    s->y = mem_resize(NULL, s->n, sizeof(*s->y));
    for (size_t i = 0; i < s->n; i++)
        s->y[i] = (unsigned char)s->bytes.p[i * RECORD];
    return 0;
}
