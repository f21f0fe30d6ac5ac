#include "store/h5_table.h"

#include "base/vec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A chunk holds about so many bytes before compression, and is written at once. */
#define CHUNK_BYTES ((size_t)256 << 10)

/* HDF5 keeps the description of a row, and each attribute, in a message of at most 64
 * KiB. */
#define MESSAGE_MAX 60000

/* ---- attributes ---- */

static hid_t text_type(size_t size)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, size ? size : 1);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static int put_attribute(hid_t object, const char *name, hid_t type, hid_t space,
                         const void *data)
{
    hid_t a = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t rc = a < 0 ? -1 : H5Awrite(a, type, data);

    if (a >= 0)
        H5Aclose(a);
    return rc < 0 ? -1 : 0;
}

static int put_scalar(hid_t object, const char *name, hid_t type, const void *data)
{
    hid_t space = H5Screate(H5S_SCALAR);
    int rc = put_attribute(object, name, type, space, data);

    H5Sclose(space);
    return rc;
}

int h5_put_num(hid_t object, const char *name, double v)
{
    return put_scalar(object, name, H5T_NATIVE_DOUBLE, &v);
}

int h5_put_int(hid_t object, const char *name, int64_t v)
{
    int32_t narrow = (int32_t)v;

    if (narrow != v)
        return h5_put_num(object, name, (double)v);
    return put_scalar(object, name, H5T_NATIVE_INT32, &narrow);
}

/* Of variable length, since h5py makes a str of that, and bytes of others. */
int h5_put_text(hid_t object, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    int rc;

    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    rc = put_scalar(object, name, type, &text);
    H5Tclose(type);
    return rc;
}

/* Of the length of the longest one. */
int h5_put_texts(hid_t object, const char *name, const char *const texts[], size_t n)
{
    size_t size = 1;
    hsize_t dim = n;

    for (size_t i = 0; i < n; i++)
        if (strlen(texts[i]) > size)
            size = strlen(texts[i]);
    char *data = mem_alloc(n * size);
    for (size_t i = 0; i < n; i++)
        memcpy(data + i * size, texts[i], strlen(texts[i]));
    hid_t type = text_type(size), space = H5Screate_simple(1, &dim, NULL);
    int rc = put_attribute(object, name, type, space, data);
    H5Sclose(space);
    H5Tclose(type);
    free(data);
    return rc;
}

/* ---- what the values ask for ---- */

static enum column_type widened(enum column_type type, struct value v)
{
    switch (v.kind) {
    case VALUE_INT: return type == COLUMN_INT && v.i != (int32_t)v.i ? COLUMN_NUM : type;
    case VALUE_ABSENT:
    case VALUE_REAL: return type == COLUMN_INT ? COLUMN_NUM : type;
    case VALUE_BOOL:
    case VALUE_STR: break;
    }
    return COLUMN_TEXT;
}

/* A value of a text column; a number's text is put into buf. */
static struct slice text_of(struct value v, struct str *buf)
{
    if (v.kind == VALUE_ABSENT)
        return SLICE("");
    if (v.kind == VALUE_STR)
        return slice_of(v.s);
    str_cut(buf, 0);
    value_text(v, buf);
    return (struct slice){buf->p, buf->len};
}

static void find_types(const struct table *t, struct value cells[])
{
    for (size_t i = 0; i < t->rows; i++) {
        table_row(t, i, cells);
        for (size_t c = 0; c < t->n_columns; c++)
            t->columns[c].type = widened(t->columns[c].type, cells[c]);
    }
}

/* After find_types(): how wide each column is. */
static void find_sizes(const struct table *t, struct value cells[], struct str *buf)
{
    bool texts = false;

    for (size_t c = 0; c < t->n_columns; c++) {
        struct column *column = &t->columns[c];
        column->size = column->type == COLUMN_INT   ? 4
                       : column->type == COLUMN_NUM ? 8
                                                    : 1;
        texts |= column->type == COLUMN_TEXT;
    }
    for (size_t i = 0; texts && i < t->rows; i++) {
        table_row(t, i, cells);
        for (size_t c = 0; c < t->n_columns; c++) {
            struct column *column = &t->columns[c];
            if (column->type != COLUMN_TEXT)
                continue;
            size_t n = text_of(cells[c], buf).len;
            if (n > column->size)
                column->size = n;
        }
    }
}

/* ---- parts: one dataset each ---- */

struct part {
    VEC(size_t) columns; /* which of the table's */
    size_t row_size;
};

/* Puts as many columns into a part as its messages can describe, from `next` on behind
 * the keys; the first column that did not fit. */
static size_t fill_part(const struct table *t, size_t next, struct part *part)
{
    size_t described = 8, longest_name = 1, longest_unit = 1;

    part->columns.n = 0;
    part->row_size = 0;
    for (size_t k = 0; k < t->n_keys + (t->n_columns - next); k++) {
        size_t c = k < t->n_keys ? k : next + k - t->n_keys;
        const struct column *column = &t->columns[c];
        size_t name = strlen(column->name), n = part->columns.n + 1;
        /* its name, its offset, and the message of a float64, the longest type's */
        described += name + 1 + 4 + 20;
        if (column->original && strlen(column->original) > name)
            name = strlen(column->original);
        longest_name = name > longest_name ? name : longest_name;
        if (strlen(column->unit) > longest_unit)
            longest_unit = strlen(column->unit);
        if (k > t->n_keys && (described > MESSAGE_MAX || n * longest_unit > MESSAGE_MAX ||
                              (t->originals && n * longest_name > MESSAGE_MAX)))
            return c;
        vec_push(&part->columns, c);
        part->row_size += column->size;
    }
    return t->n_columns;
}

static hid_t row_type(const struct table *t, const struct part *part)
{
    hid_t row = H5Tcreate(H5T_COMPOUND, part->row_size);
    size_t offset = 0;
    bool good = true;

    for (size_t i = 0; i < part->columns.n; i++) {
        struct column *column = &t->columns[part->columns.v[i]];
        hid_t text = column->type == COLUMN_TEXT ? text_type(column->size) : -1;
        hid_t type = column->type == COLUMN_INT   ? H5T_STD_I32LE
                     : column->type == COLUMN_NUM ? H5T_IEEE_F64LE
                                                  : text;
        good = good && H5Tinsert(row, column->name, offset, type) >= 0;
        if (text >= 0)
            H5Tclose(text);
        column->offset = offset;
        offset += column->size;
    }
    if (good)
        return row;
    H5Tclose(row);
    return -1;
}

static hid_t create_dataset(hid_t file, const char *name, hid_t type, size_t rows,
                            size_t chunk)
{
    hsize_t dim = rows, chunk_dim = chunk;
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(1, &dim, NULL);

    H5Pset_obj_track_times(create, 0);
    if (rows > 0) {
        H5Pset_chunk(create, 1, &chunk_dim);
        H5Pset_shuffle(create);
        H5Pset_deflate(create, 1);
    }
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    H5Sclose(space);
    H5Pclose(create);
    return set;
}

static void store_cell(char *row, const struct column *column, struct value v,
                       struct str *buf)
{
    char *to = row + column->offset;
    double num = v.kind == VALUE_INT ? (double)v.i : v.kind == VALUE_REAL ? v.r : NAN;
    int32_t whole = v.kind == VALUE_INT ? (int32_t)v.i : -1;
    struct slice text;

    switch (column->type) {
    case COLUMN_INT: memcpy(to, &whole, sizeof(whole)); break;
    case COLUMN_NUM: memcpy(to, &num, sizeof(num)); break;
    case COLUMN_TEXT:
        text = text_of(v, buf);
        memcpy(to, text.p, text.len);
        memset(to + text.len, 0, column->size - text.len);
        break;
    }
}

static herr_t write_rows(hid_t set, hid_t type, hid_t space, size_t first, size_t n,
                         const void *data)
{
    hsize_t start = first, count = n;
    hid_t memory = H5Screate_simple(1, &count, NULL);
    herr_t rc = H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &count, NULL);

    if (rc >= 0)
        rc = H5Dwrite(set, type, memory, space, H5P_DEFAULT, data);
    H5Sclose(memory);
    return rc;
}

/* All rows, a chunk at a time. */
static herr_t write_all(const struct table *t, const struct part *part, hid_t set,
                        hid_t type, size_t chunk, struct value cells[], struct str *buf)
{
    char *data = mem_alloc(chunk * part->row_size);
    hid_t space = H5Dget_space(set);
    herr_t rc = 0;

    for (size_t i = 0; i < t->rows && rc >= 0; i++) {
        char *row = data + i % chunk * part->row_size;
        table_row(t, i, cells);
        for (size_t k = 0; k < part->columns.n; k++)
            store_cell(row, &t->columns[part->columns.v[k]], cells[part->columns.v[k]],
                       buf);
        if ((i + 1) % chunk == 0 || i + 1 == t->rows)
            rc = write_rows(set, type, space, i - i % chunk, i % chunk + 1, data);
    }
    H5Sclose(space);
    free(data);
    return rc;
}

static int put_attributes(const struct table *t, const struct part *part, hid_t set,
                          const char *continued)
{
    size_t n = part->columns.n;
    const char **texts = mem_alloc(n * sizeof(*texts));
    int rc;

    for (size_t i = 0; i < n; i++)
        texts[i] = t->columns[part->columns.v[i]].unit;
    rc = h5_put_texts(set, "units", texts, n);
    for (size_t i = 0; i < n; i++) {
        const struct column *column = &t->columns[part->columns.v[i]];
        texts[i] = column->original ? column->original : column->name;
    }
    if (rc >= 0 && t->originals)
        rc = h5_put_texts(set, "names", texts, n);
    if (rc >= 0 && continued)
        rc = h5_put_text(set, "continued", continued);
    free(texts);
    return rc;
}

static int write_part(hid_t file, const struct table *t, const struct part *part,
                      const char *name, const char *continued, struct value cells[],
                      struct str *buf)
{
    size_t chunk = CHUNK_BYTES / part->row_size + 1;
    hid_t type = row_type(t, part), set = -1;
    int rc = -1;

    if (chunk > t->rows)
        chunk = t->rows ? t->rows : 1;
    if (type >= 0)
        set = create_dataset(file, name, type, t->rows, chunk);
    if (set >= 0 && write_all(t, part, set, type, chunk, cells, buf) >= 0)
        rc = put_attributes(t, part, set, continued);
    if (set >= 0 && H5Dclose(set) < 0)
        rc = -1;
    if (type >= 0)
        H5Tclose(type);
    return rc;
}

int table_write(hid_t file, const struct table *t, struct err *e)
{
    struct value *cells = mem_alloc(t->n_columns * sizeof(*cells));
    struct str buf = STR_INIT, name = STR_INIT, following = STR_INIT;
    struct part part = {0};
    size_t next = t->n_keys;
    int rc = 0;

    find_types(t, cells);
    find_sizes(t, cells, &buf);
    str_add(&name, t->name);
    for (int number = 2; rc == 0; number++) {
        next = fill_part(t, next, &part);
        str_cut(&following, 0);
        str_addf(&following, "%s_%d", t->name, number);
        if (write_part(file, t, &part, name.p, next < t->n_columns ? following.p : NULL,
                       cells, &buf) < 0)
            rc = h5_fail(e, ERR_IO, "/%s: cannot be written", name.p);
        if (next == t->n_columns)
            break;
        str_cut(&name, 0);
        str_add(&name, following.p);
    }
    vec_free(&part.columns);
    str_free(&buf);
    str_free(&name);
    str_free(&following);
    free(cells);
    return rc;
}
