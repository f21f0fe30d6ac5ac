#include "worker/train/data.h"

#include "base/mem.h"
#include "store/tensors.h"

#include <math.h>
#include <stdlib.h>

/* Two arrays of a file, by their paths. */
struct source {
    const char *path;
    struct tensors *t;
    const char *x, *y;
};

static int shape_of_x(const struct source *in, struct samples *s,
                      struct tensor_info *info, struct err *e)
{
    int rc = tensors_info(in->t, in->x, info, e);

    if (rc < 0)
        return rc;
    if (info->type == TENSOR_TABLE || info->ndim < 2)
        return err_set(e, ERR_INVAL,
                       "%s: %s must be numbers of two or more dimensions, samples first",
                       in->path, in->x + 1);
    if (info->count == 0)
        return err_set(e, ERR_CORRUPT, "%s: %s is empty", in->path, in->x + 1);
    s->n = info->dim[0];
    s->features = info->count / s->n;
    s->ndim = info->ndim - 1;
    for (int i = 0; i < s->ndim; i++)
        s->dim[i] = info->dim[i + 1];
    return samples_fit_memory(
        in->path, (double)info->count * (info->type == TENSOR_U8 ? 1 : sizeof(float)), e);
}

static int read_x(const struct source *in, struct samples *s, struct err *e)
{
    struct tensor_info info;
    int rc = shape_of_x(in, s, &info, e);

    if (rc < 0)
        return rc;
    if (info.type == TENSOR_U8) {
        str_reserve(&s->bytes, info.count);
        s->x = s->bytes.p;
        s->stride = s->features;
        return tensors_get(in->t, in->x, TENSOR_U8, info.count, s->bytes.p, e);
    }
    s->type = SAMPLE_F32;
    s->floats = mem_resize(NULL, info.count, sizeof(float));
    s->x = s->floats;
    s->stride = s->features * sizeof(float);
    rc = tensors_get(in->t, in->x, TENSOR_F32, info.count, s->floats, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < info.count; i++)
        if (!isfinite(s->floats[i]))
            return err_set(e, ERR_INVAL, "%s: sample %zu of %s holds %s", in->path,
                           i / s->features, in->x + 1,
                           isnan(s->floats[i]) ? "a NaN"
                                               : "what float32 has no room for");
    return 0;
}

static int read_y(const struct source *in, struct samples *s, struct err *e)
{
    struct tensor_info info;
    int64_t *y;
    int rc = tensors_info(in->t, in->y, &info, e);

    if (rc < 0)
        return rc;
    if (info.type != TENSOR_U8 && info.type != TENSOR_I32 && info.type != TENSOR_I64)
        return err_set(e, ERR_INVAL, "%s: %s must hold whole numbers, the classes",
                       in->path, in->y + 1);
    if (info.ndim < 1 || info.dim[0] != s->n || info.count != s->n)
        return err_set(e, ERR_INVAL,
                       "%s: %s must have one label for each of %s's %zu samples",
                       in->path, in->y + 1, in->x + 1, s->n);
    y = mem_resize(NULL, s->n, sizeof(*y));
    s->y = mem_resize(NULL, s->n, sizeof(*s->y));
    rc = tensors_get(in->t, in->y, TENSOR_I64, s->n, y, e);
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        if (y[i] < 0 || y[i] >= CLASSES_MAX)
            rc = err_set(e, ERR_INVAL,
                         "%s: label %lld of sample %zu in %s is not from 0 to %d",
                         in->path, (long long)y[i], i, in->y + 1, CLASSES_MAX - 1);
        s->y[i] = (int32_t)y[i];
    }
    free(y);
    return rc;
}

/* The test part is one if either of its arrays is there: half of it is a mistake. */
static bool has_test(struct tensors *t)
{
    struct tensor_info info;

    return tensors_info(t, "/X_test", &info, NULL) != ERR_NOENT ||
           tensors_info(t, "/y_test", &info, NULL) != ERR_NOENT;
}

static int read_part(const struct source *in, struct samples *s, struct err *e)
{
    int rc = read_x(in, s, e);

    return rc < 0 ? rc : read_y(in, s, e);
}

int samples_read_hdf5(const char *path, struct samples *train, struct samples *test,
                      struct err *e)
{
    struct tensors *t;
    struct str test_name = STR_INIT;
    int rc = tensors_open(path, &t, e);

    *train = *test = (struct samples){.bytes = STR_INIT};
    if (rc < 0)
        return rc;
    train->name = mem_strdup(path);
    rc = read_part(&(struct source){path, t, "/X", "/y"}, train, e);
    if (rc == 0 && has_test(t)) {
        str_addf(&test_name, "%s: X_test", path);
        test->name = str_take(&test_name);
        rc = read_part(&(struct source){path, t, "/X_test", "/y_test"}, test, e);
    }
    tensors_close(t);
    if (rc < 0) {
        samples_free(train);
        samples_free(test);
    }
    return rc;
}
