#include "worker/train/data.h"

#include "base/mem.h"
#include "store/tensors.h"

#include <math.h>
#include <stdlib.h>

static int shape_of_x(const char *path, struct tensors *t, struct samples *s,
                      struct tensor_info *info, struct err *e)
{
    int rc = tensors_info(t, "/X", info, e);

    if (rc < 0)
        return rc;
    if (info->type == TENSOR_TABLE || info->ndim < 2)
        return err_set(e, ERR_INVAL,
                       "%s: X must be numbers of two or more dimensions, samples first",
                       path);
    if (info->count == 0)
        return err_set(e, ERR_CORRUPT, "%s: X is empty", path);
    s->n = info->dim[0];
    s->features = info->count / s->n;
    s->ndim = info->ndim - 1;
    for (int i = 0; i < s->ndim; i++)
        s->dim[i] = info->dim[i + 1];
    return samples_fit_memory(
        path, (double)info->count * (info->type == TENSOR_U8 ? 1 : sizeof(float)), e);
}

static int read_x(const char *path, struct tensors *t, struct samples *s, struct err *e)
{
    struct tensor_info info;
    int rc = shape_of_x(path, t, s, &info, e);

    if (rc < 0)
        return rc;
    if (info.type == TENSOR_U8) {
        str_reserve(&s->bytes, info.count);
        s->x = s->bytes.p;
        s->stride = s->features;
        return tensors_get(t, "/X", TENSOR_U8, info.count, s->bytes.p, e);
    }
    s->type = SAMPLE_F32;
    s->floats = mem_resize(NULL, info.count, sizeof(float));
    s->x = s->floats;
    s->stride = s->features * sizeof(float);
    rc = tensors_get(t, "/X", TENSOR_F32, info.count, s->floats, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < info.count; i++)
        if (!isfinite(s->floats[i]))
            return err_set(
                e, ERR_INVAL, "%s: sample %zu of X holds %s", path, i / s->features,
                isnan(s->floats[i]) ? "a NaN" : "what float32 has no room for");
    return 0;
}

static int read_y(const char *path, struct tensors *t, struct samples *s, struct err *e)
{
    struct tensor_info info;
    int64_t *y;
    int rc = tensors_info(t, "/y", &info, e);

    if (rc < 0)
        return rc;
    if (info.type != TENSOR_U8 && info.type != TENSOR_I32 && info.type != TENSOR_I64)
        return err_set(e, ERR_INVAL, "%s: y must hold whole numbers, the classes", path);
    if (info.ndim < 1 || info.dim[0] != s->n || info.count != s->n)
        return err_set(e, ERR_INVAL,
                       "%s: y must have one label for each of X's %zu samples", path,
                       s->n);
    y = mem_resize(NULL, s->n, sizeof(*y));
    s->y = mem_resize(NULL, s->n, sizeof(*s->y));
    rc = tensors_get(t, "/y", TENSOR_I64, s->n, y, e);
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        if (y[i] < 0 || y[i] >= CLASSES_MAX)
            rc = err_set(e, ERR_INVAL, "%s: label %lld of sample %zu is not from 0 to %d",
                         path, (long long)y[i], i, CLASSES_MAX - 1);
        s->y[i] = (int32_t)y[i];
    }
    free(y);
    return rc;
}

int samples_read_hdf5(const char *path, struct samples *s, struct err *e)
{
    struct tensors *t;
    int rc = tensors_open(path, &t, e);

    *s = (struct samples){.bytes = STR_INIT};
    if (rc < 0)
        return rc;
    s->name = mem_strdup(path);
    rc = read_x(path, t, s, e);
    if (rc == 0)
        rc = read_y(path, t, s, e);
    tensors_close(t);
    if (rc < 0)
        samples_free(s);
    return rc;
}
