#include "store/tensors.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/h5_file.h"

#include <stdlib.h>
#include <string.h>

#define CHECKSUM "xxh3"

struct tensors {
    hid_t file;            /* -1 once it is saved */
    char *name;            /* for messages */
    struct h5_bytes bytes; /* of a new file */
};

/* ---- HDF5's errors as ours ---- */

/* path may be NULL, when it is the file as a whole that fails. To be called at once. */
static int fail(struct tensors *t, const char *path, const char *what, int code,
                struct err *e)
{
    return h5_fail(e, code, "%s%s%s: %s", t->name, path ? ": " : "", path ? path : "",
                   what);
}

/* ---- types ---- */

static hid_t memory_type(enum tensor_type type)
{
    switch (type) {
    case TENSOR_U8: return H5T_NATIVE_UINT8;
    case TENSOR_I32: return H5T_NATIVE_INT32;
    case TENSOR_I64: return H5T_NATIVE_INT64;
    case TENSOR_F32: return H5T_NATIVE_FLOAT;
    case TENSOR_F64: return H5T_NATIVE_DOUBLE;
    case TENSOR_TABLE: break;
    }
    return -1;
}

static hid_t file_type(enum tensor_type type)
{
    switch (type) {
    case TENSOR_U8: return H5T_STD_U8LE;
    case TENSOR_I32: return H5T_STD_I32LE;
    case TENSOR_I64: return H5T_STD_I64LE;
    case TENSOR_F32: return H5T_IEEE_F32LE;
    case TENSOR_F64: return H5T_IEEE_F64LE;
    case TENSOR_TABLE: break;
    }
    return -1;
}

static size_t type_size(enum tensor_type type)
{
    static const size_t size[] = {
        [TENSOR_U8] = 1,  [TENSOR_I32] = 4, [TENSOR_I64] = 8,
        [TENSOR_F32] = 4, [TENSOR_F64] = 8, [TENSOR_TABLE] = 0,
    };
    return size[type];
}

/* The narrowest of our types for a stored one; -1 when there is none. */
static int type_of(hid_t stored)
{
    size_t size = H5Tget_size(stored);

    switch (H5Tget_class(stored)) {
    case H5T_INTEGER:
        if (H5Tget_sign(stored) == H5T_SGN_NONE)
            return size == 1 ? TENSOR_U8 : size == 2 ? TENSOR_I32 : TENSOR_I64;
        return size <= 4 ? TENSOR_I32 : TENSOR_I64;
    case H5T_FLOAT: return size <= 4 ? TENSOR_F32 : TENSOR_F64;
    case H5T_COMPOUND: return TENSOR_TABLE;
    default: return -1;
    }
}

/* ---- files ---- */

static struct tensors *tensors_new(const char *name)
{
    struct tensors *t = mem_alloc(sizeof(*t));

    t->file = -1;
    t->name = mem_strdup(name);
    return t;
}

void tensors_close(struct tensors *t)
{
    if (!t)
        return;
    h5_file_drop(t->file, &t->bytes);
    free(t->name);
    free(t);
}

int tensors_create(struct tensors **out, size_t expected, struct err *e)
{
    struct tensors *t = tensors_new("new file");
    int rc = 0;

    t->file = h5_file_create(&t->bytes, expected);
    if (t->file < 0) {
        rc = fail(t, NULL, "cannot create it in memory", ERR_IO, e);
        tensors_close(t);
    } else {
        *out = t;
    }
    return rc;
}

int tensors_save(struct tensors *t, const char *path, struct err *e)
{
    if (t->file >= 0) {
        hid_t file = t->file;
        t->file = -1;
        if (h5_file_finish(file, &t->bytes) < 0)
            return fail(t, NULL, "cannot finish it in memory", ERR_IO, e);
    }
    if (!t->bytes.p)
        return err_set(e, ERR_IO, "%s: it could not be finished", t->name);
    return file_write(path, t->bytes.p, t->bytes.n, 0666, e);
}

int tensors_open(const char *path, struct tensors **out, struct err *e)
{
    struct tensors *t = tensors_new(path);
    int rc = h5_file_open(path, &t->file, e);

    if (rc < 0)
        tensors_close(t);
    else
        *out = t;
    return rc;
}

/* ---- objects ---- */

/* Makes the group at path[0..n) and those above it. */
static int group_make(struct tensors *t, const char *path, size_t n, struct err *e)
{
    char *part = mem_strndup(path, n);
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    int rc = 0;

    H5Pset_obj_track_times(create, 0);
    for (size_t i = 1; i <= n && rc == 0; i++) {
        char kept = part[i];

        if (kept != '/' && kept != '\0')
            continue;
        part[i] = '\0';
        if (H5Lexists(t->file, part, H5P_DEFAULT) <= 0) {
            hid_t group = H5Gcreate2(t->file, part, H5P_DEFAULT, create, H5P_DEFAULT);
            if (group < 0)
                rc = fail(t, part, "cannot make the group", ERR_IO, e);
            else
                H5Gclose(group);
        }
        part[i] = kept;
    }
    H5Pclose(create);
    free(part);
    return rc;
}

/* Whether there is an object; every group above is looked at, since HDF5 takes a
 * missing one for an error. */
static bool object_exists(struct tensors *t, const char *path)
{
    char *part = mem_strdup(path);
    bool there = true;

    for (size_t i = 1; there && path[1]; i++) {
        char kept = part[i];

        if (kept != '/' && kept != '\0')
            continue;
        part[i] = '\0';
        there = H5Lexists(t->file, part, H5P_DEFAULT) > 0;
        part[i] = kept;
        if (kept == '\0')
            break;
    }
    free(part);
    H5Eclear2(H5E_DEFAULT);
    return there;
}

static int dataset_open(struct tensors *t, const char *path, hid_t *set, struct err *e)
{
    if (!object_exists(t, path))
        return err_set(e, ERR_NOENT, "%s: there is no %s in it", t->name, path);
    *set = H5Dopen2(t->file, path, H5P_DEFAULT);
    return *set < 0 ? fail(t, path, "cannot open it", ERR_CORRUPT, e) : 0;
}

/* ---- attributes ---- */

/* Attributes belong to datasets and groups alike; a path without an object
 * becomes a group. */
static int attribute_put(struct tensors *t, const char *path, const char *name,
                         hid_t stored, hid_t memory, const void *data, struct err *e)
{
    hid_t object, space, attribute = -1;
    int rc = 0;

    if (!object_exists(t, path)) {
        rc = group_make(t, path, strlen(path), e);
        if (rc < 0)
            return rc;
    }
    object = H5Oopen(t->file, path, H5P_DEFAULT);
    space = H5Screate(H5S_SCALAR);
    if (object >= 0)
        attribute = H5Acreate2(object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0 || H5Awrite(attribute, memory, data) < 0)
        rc = fail(t, path, "cannot write an attribute", ERR_IO, e);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    if (object >= 0)
        H5Oclose(object);
    return rc;
}

int tensors_put_int(struct tensors *t, const char *path, const char *name, int64_t v,
                    struct err *e)
{
    return attribute_put(t, path, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &v, e);
}

int tensors_put_num(struct tensors *t, const char *path, const char *name, double v,
                    struct err *e)
{
    return attribute_put(t, path, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &v, e);
}

int tensors_put_text(struct tensors *t, const char *path, const char *name,
                     const char *text, struct err *e)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    int rc;

    H5Tset_size(type, strlen(text) + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    rc = attribute_put(t, path, name, type, type, text, e);
    H5Tclose(type);
    return rc;
}

/* Opens an attribute that holds one value of the class; the caller closes it. */
static int attribute_open(struct tensors *t, const char *path, const char *name,
                          H5T_class_t want, hid_t *attribute, struct err *e)
{
    hid_t space, type;
    bool fits;

    if (!object_exists(t, path) ||
        H5Aexists_by_name(t->file, path, name, H5P_DEFAULT) == 0)
        return err_set(e, ERR_NOENT, "%s: %s has no attribute '%s'", t->name, path, name);
    *attribute = H5Aopen_by_name(t->file, path, name, H5P_DEFAULT, H5P_DEFAULT);
    if (*attribute < 0)
        return fail(t, path, "cannot read its attributes", ERR_CORRUPT, e);
    space = H5Aget_space(*attribute);
    type = H5Aget_type(*attribute);
    fits = H5Sget_simple_extent_npoints(space) == 1 && H5Tget_class(type) == want &&
           !(want == H5T_STRING && H5Tis_variable_str(type));
    H5Tclose(type);
    H5Sclose(space);
    if (fits)
        return 0;
    H5Aclose(*attribute);
    return err_set(e, ERR_INVAL, "%s: attribute '%s' of %s has another type", t->name,
                   name, path);
}

static int attribute_get(struct tensors *t, const char *path, const char *name,
                         H5T_class_t want, hid_t memory, void *v, struct err *e)
{
    hid_t attribute;
    int rc = attribute_open(t, path, name, want, &attribute, e);

    if (rc < 0)
        return rc;
    if (H5Aread(attribute, memory, v) < 0)
        rc = fail(t, path, "cannot read its attributes", ERR_CORRUPT, e);
    H5Aclose(attribute);
    return rc;
}

int tensors_get_int(struct tensors *t, const char *path, const char *name, int64_t *v,
                    struct err *e)
{
    return attribute_get(t, path, name, H5T_INTEGER, H5T_NATIVE_INT64, v, e);
}

int tensors_get_num(struct tensors *t, const char *path, const char *name, double *v,
                    struct err *e)
{
    return attribute_get(t, path, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, v, e);
}

int tensors_get_text(struct tensors *t, const char *path, const char *name, char **text,
                     struct err *e)
{
    hid_t attribute, type;
    int rc = attribute_open(t, path, name, H5T_STRING, &attribute, e);

    if (rc < 0)
        return rc;
    type = H5Aget_type(attribute);
    *text = mem_alloc(H5Tget_size(type) + 1);
    if (H5Aread(attribute, type, *text) < 0) {
        rc = fail(t, path, "cannot read its attributes", ERR_CORRUPT, e);
        free(*text);
        *text = NULL;
    }
    H5Tclose(type);
    H5Aclose(attribute);
    return rc;
}

/* ---- arrays ---- */

/* Stores n bytes as they are in memory (`memory`) under `stored`, with their
 * checksum. */
static int dataset_put(struct tensors *t, const char *path, hid_t stored, hid_t memory,
                       int ndim, const hsize_t dim[], const void *data, size_t n,
                       struct err *e)
{
    const char *leaf = strrchr(path, '/');
    hid_t create, space, set;
    char sum[17];
    int rc = group_make(t, path, (size_t)(leaf - path), e);

    if (rc < 0)
        return rc;
    create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(create, 0);
    space = ndim ? H5Screate_simple(ndim, dim, NULL) : H5Screate(H5S_SCALAR);
    set = H5Dcreate2(t->file, path, stored, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (set < 0 || (n && H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0))
        rc = fail(t, path, "cannot write it", ERR_IO, e);
    if (set >= 0)
        H5Dclose(set);
    H5Sclose(space);
    H5Pclose(create);
    if (rc < 0)
        return rc;
    hash_hex(sum, hash64(data, n));
    return tensors_put_text(t, path, CHECKSUM, sum, e);
}

/* Compares what was read with the checksum, where there is one. */
static int checksum_test(struct tensors *t, const char *path, const void *data, size_t n,
                         struct err *e)
{
    char *want, sum[17];
    int rc;

    if (H5Aexists_by_name(t->file, path, CHECKSUM, H5P_DEFAULT) == 0)
        return 0;
    rc = tensors_get_text(t, path, CHECKSUM, &want, e);
    if (rc < 0)
        return rc;
    hash_hex(sum, hash64(data, n));
    if (strcmp(sum, want) != 0)
        rc =
            err_set(e, ERR_CORRUPT, "%s: %s is damaged: its checksum is %s instead of %s",
                    t->name, path, sum, want);
    free(want);
    return rc;
}

int tensors_put(struct tensors *t, const char *path, enum tensor_type type, int ndim,
                const size_t dim[], const void *data, struct err *e)
{
    hsize_t size[TENSOR_DIMS];
    size_t n = type_size(type);

    if (ndim > TENSOR_DIMS || type == TENSOR_TABLE)
        return err_set(e, ERR_INVAL, "%s: %s: not an array of at most %d dimensions",
                       t->name, path, TENSOR_DIMS);
    for (int i = 0; i < ndim; i++) {
        size[i] = dim[i];
        n *= dim[i];
    }
    return dataset_put(t, path, file_type(type), memory_type(type), ndim, size, data, n,
                       e);
}

static int shape_of(struct tensors *t, const char *path, hid_t set,
                    struct tensor_info *info, struct err *e)
{
    hid_t space = H5Dget_space(set), stored = H5Dget_type(set);
    int type = type_of(stored);
    int ndim = H5Sget_simple_extent_ndims(space);
    hsize_t dim[H5S_MAX_RANK];
    int rc = 0;

    if (type < 0)
        rc = err_set(e, ERR_INVAL, "%s: %s holds neither numbers nor a table", t->name,
                     path);
    else if (ndim < 0 || ndim > TENSOR_DIMS ||
             H5Sget_simple_extent_dims(space, dim, NULL) < 0)
        rc = err_set(e, ERR_INVAL, "%s: %s has more than %d dimensions", t->name, path,
                     TENSOR_DIMS);
    H5Tclose(stored);
    H5Sclose(space);
    if (rc < 0)
        return rc;
    *info =
        (struct tensor_info){.type = (enum tensor_type)type, .ndim = ndim, .count = 1};
    for (int i = 0; i < ndim; i++) {
        info->dim[i] = dim[i];
        /* A sparse file of a few bytes may claim any size. */
        if (__builtin_mul_overflow(info->count, (size_t)dim[i], &info->count) ||
            info->count > SIZE_MAX / sizeof(double))
            return err_set(e, ERR_INVAL, "%s: %s is larger than memory can be", t->name,
                           path);
    }
    return 0;
}

int tensors_info(struct tensors *t, const char *path, struct tensor_info *info,
                 struct err *e)
{
    hid_t set;
    int rc = dataset_open(t, path, &set, e);

    if (rc < 0)
        return rc;
    rc = shape_of(t, path, set, info, e);
    H5Dclose(set);
    return rc;
}

int tensors_get(struct tensors *t, const char *path, enum tensor_type type, size_t count,
                void *out, struct err *e)
{
    struct tensor_info info;
    hid_t set;
    int rc = dataset_open(t, path, &set, e);

    if (rc < 0)
        return rc;
    rc = shape_of(t, path, set, &info, e);
    if (rc < 0)
        goto out;
    if (info.type == TENSOR_TABLE || info.count != count)
        rc = err_set(e, ERR_INVAL, "%s: %s has %zu elements, not %zu", t->name, path,
                     info.count, count);
    else if (count &&
             H5Dread(set, memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
        rc = fail(t, path, "cannot read it", ERR_CORRUPT, e);
    else if (info.type == type)
        rc = checksum_test(t, path, out, count * type_size(type), e);
out:
    H5Dclose(set);
    return rc;
}

/* ---- tables ---- */

/* A row's type, in memory or in the file, and its size: columns without gaps. */
static hid_t row_type(size_t n, const struct tensor_column columns[],
                      hid_t (*element)(enum tensor_type), size_t *size)
{
    size_t offset = 0;
    hid_t row;

    *size = 0;
    for (size_t i = 0; i < n; i++)
        *size += type_size(columns[i].type);
    row = H5Tcreate(H5T_COMPOUND, *size);
    for (size_t i = 0; i < n; i++) {
        H5Tinsert(row, columns[i].name, offset, element(columns[i].type));
        offset += type_size(columns[i].type);
    }
    return row;
}

int tensors_put_table(struct tensors *t, const char *path, size_t rows, size_t n,
                      const struct tensor_column columns[], struct err *e)
{
    size_t size, offset = 0;
    hid_t memory = row_type(n, columns, memory_type, &size);
    hid_t stored = row_type(n, columns, file_type, &size);
    char *data = mem_resize(NULL, rows, size);
    int rc;

    for (size_t c = 0; c < n; c++) {
        size_t width = type_size(columns[c].type);
        for (size_t r = 0; r < rows; r++)
            memcpy(data + r * size + offset, (char *)columns[c].data + r * width, width);
        offset += width;
    }
    rc = dataset_put(t, path, stored, memory, 1, &(hsize_t){rows}, data, rows * size, e);
    free(data);
    H5Tclose(stored);
    H5Tclose(memory);
    return rc;
}

/* HDF5 leaves the columns that a table lacks as they were, so look first. */
static int columns_test(struct tensors *t, const char *path, hid_t set, size_t n,
                        const struct tensor_column columns[], struct err *e)
{
    hid_t stored = H5Dget_type(set);
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        if (H5Tget_member_index(stored, columns[i].name) < 0)
            rc = err_set(e, ERR_NOENT, "%s: %s has no column '%s'", t->name, path,
                         columns[i].name);
    H5Tclose(stored);
    H5Eclear2(H5E_DEFAULT);
    return rc;
}

/* The checksum is of whole rows: it says something of what was read only if that
 * is all of the columns, in their order. */
static int rows_test(struct tensors *t, const char *path, hid_t set, hid_t asked,
                     const void *data, size_t n, struct err *e)
{
    hid_t stored = H5Dget_type(set);
    bool whole = H5Tequal(stored, asked) > 0;

    H5Tclose(stored);
    return whole ? checksum_test(t, path, data, n, e) : 0;
}

int tensors_get_table(struct tensors *t, const char *path, size_t rows, size_t n,
                      const struct tensor_column columns[], struct err *e)
{
    struct tensor_info info;
    size_t size, offset = 0;
    char *data = NULL;
    hid_t row, set;
    int rc = dataset_open(t, path, &set, e);

    if (rc < 0)
        return rc;
    row = row_type(n, columns, memory_type, &size);
    rc = shape_of(t, path, set, &info, e);
    if (rc < 0)
        goto out;
    if (info.type != TENSOR_TABLE || info.count != rows) {
        rc = err_set(e, ERR_INVAL, "%s: %s is not a table of %zu rows", t->name, path,
                     rows);
        goto out;
    }
    rc = columns_test(t, path, set, n, columns, e);
    if (rc < 0)
        goto out;
    data = mem_resize(NULL, rows, size);
    if (rows && H5Dread(set, row, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        rc = fail(t, path, "cannot read it", ERR_CORRUPT, e);
    else
        rc = rows_test(t, path, set, row, data, rows * size, e);
    if (rc < 0)
        goto out;
    for (size_t c = 0; c < n; c++) {
        size_t width = type_size(columns[c].type);
        for (size_t r = 0; r < rows; r++)
            memcpy((char *)columns[c].data + r * width, data + r * size + offset, width);
        offset += width;
    }
out:
    free(data);
    H5Tclose(row);
    H5Dclose(set);
    return rc;
}
