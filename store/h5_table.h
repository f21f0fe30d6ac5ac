/* Tables of sweep.h5: flat compound datasets, compressed. Private to store/. */
#ifndef STORE_H5_TABLE_H
#define STORE_H5_TABLE_H

#include "sched/value.h"
#include "store/h5_file.h"

/* What a column begins as. Values that do not fit widen it: an integer beyond int32, a
 * real or an absent one makes COLUMN_NUM of COLUMN_INT, a word makes COLUMN_TEXT of both.
 */
enum column_type {
    COLUMN_INT,  /* int32 */
    COLUMN_NUM,  /* float64; absent values are NaN */
    COLUMN_TEXT, /* string of fixed length, that of the longest value; absent ones are ''
                  */
};

struct column {
    const char *name, *unit;
    enum column_type type;
    const char *original; /* the name that it had, NULL: the same */
    size_t size, offset;  /* private: in a row */
};

struct table {
    const char *name; /* of the dataset, without a slash */
    struct column *columns;
    size_t n_columns, n_keys; /* the first n_keys columns tell the row */
    size_t rows;
    bool originals; /* also write the attribute `names` */
    /* Sets cells[n_columns], all VALUE_ABSENT before, of row i. Called in the order of
     * rows, several times; texts need live only until the next call. */
    void (*row)(void *ctx, size_t i, struct value cells[]);
    void *ctx;
};

/* Writes the table. One that has more columns than an HDF5 object can describe goes on in
 * NAME_2, NAME_3, ..., which begin with the key columns, too, and have the same rows; the
 * attribute `continued` of each names the next. */
int table_write(hid_t file, const struct table *t, struct err *e);

/* ---- attributes ---- */

int h5_put_int(hid_t object, const char *name, int64_t v); /* int32; else float64 */
int h5_put_num(hid_t object, const char *name, double v);
int h5_put_text(hid_t object, const char *name,
                const char *text); /* 60,000 bytes of it */
int h5_put_texts(hid_t object, const char *name, const char *const texts[], size_t n);

#endif
