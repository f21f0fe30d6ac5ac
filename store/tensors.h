/* A file of named arrays, tables and attributes: HDF5 without its types.
 *
 * Checkpoints are written with it and data sets read. A new file lives in memory
 * until tensors_save() puts it in place whole, so nothing ever meets a torn one,
 * and a full disk is one failed call; the same content gives the same bytes.
 * Beside each array stands a checksum that tensors_get() compares: with HDF5's
 * own, which cover all the rest, damage is found wherever it is.
 *
 * Paths are absolute, "/model/dense1/weight"; groups come by themselves. Errors
 * name the file and the path in it. Nothing is printed. Codes: ERR_NOENT for what
 * is not there, ERR_CORRUPT for what is damaged, ERR_INVAL for another type or
 * shape than asked for, else ERR_IO and what the system says. */
#ifndef STORE_TENSORS_H
#define STORE_TENSORS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_DIMS 8

enum tensor_type {
    TENSOR_U8,
    TENSOR_I32,
    TENSOR_I64,
    TENSOR_F32,
    TENSOR_F64,
    TENSOR_TABLE, /* rows of named columns: tensors_put_table() */
};

struct tensor_info {
    enum tensor_type type; /* the narrowest that holds what is stored */
    int ndim;
    size_t dim[TENSOR_DIMS];
    size_t count; /* the product of dim */
};

struct tensors;

/* A new file, in memory, of `expected` bytes or so; 0: not known. */
int tensors_create(struct tensors **t, size_t expected, struct err *e);
/* Writes the new file to path, atomically and durably. From then on nothing more can be
 * put or got; after a failure it may be called again. */
int tensors_save(struct tensors *t, const char *path, struct err *e);

/* Opens an existing file for reading, without taking a lock on it. */
int tensors_open(const char *path, struct tensors **t, struct err *e);
void tensors_close(struct tensors *t); /* NULL is fine */

/* ---- arrays, in C order ---- */

int tensors_put(struct tensors *t, const char *path, enum tensor_type type, int ndim,
                const size_t dim[], const void *data, struct err *e);
int tensors_info(struct tensors *t, const char *path, struct tensor_info *info,
                 struct err *e);
/* Reads all count elements, which must be as many as there are, as `type`;
 * numbers beyond an integer type's bounds become the bound. */
int tensors_get(struct tensors *t, const char *path, enum tensor_type type, size_t count,
                void *out, struct err *e);

/* ---- tables: one row a record, which pandas.read_hdf(file, path) takes ---- */

struct tensor_column {
    const char *name;
    enum tensor_type type;
    void *data; /* [rows]; only read by tensors_put_table() */
};

int tensors_put_table(struct tensors *t, const char *path, size_t rows, size_t n,
                      const struct tensor_column columns[], struct err *e);
/* Fills the columns asked for, by name; rows must be as many as there are. */
int tensors_get_table(struct tensors *t, const char *path, size_t rows, size_t n,
                      const struct tensor_column columns[], struct err *e);

/* ---- attributes of the object at path, "/" being the file itself ---- */

int tensors_put_int(struct tensors *t, const char *path, const char *name, int64_t v,
                    struct err *e);
int tensors_put_num(struct tensors *t, const char *path, const char *name, double v,
                    struct err *e);
int tensors_put_text(struct tensors *t, const char *path, const char *name,
                     const char *text, struct err *e);
int tensors_get_int(struct tensors *t, const char *path, const char *name, int64_t *v,
                    struct err *e);
int tensors_get_num(struct tensors *t, const char *path, const char *name, double *v,
                    struct err *e);
/* A new string; free() it. */
int tensors_get_text(struct tensors *t, const char *path, const char *name, char **text,
                     struct err *e);

#endif
