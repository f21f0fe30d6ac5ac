/* Tables as datasets: flat compounds, strings of the length of the longest one,
 * compressed. Private to store/. */
#ifndef STORE_H5_TABLE_H
#define STORE_H5_TABLE_H

#include "store/h5_file.h"
#include "store/tables.h"

/* Writes the table; with `originals` also the attribute `names`. One that has more
 * columns than an HDF5 object can describe goes on in NAME_2, NAME_3, ..., which begin
 * with the key columns, too, and have the same rows; the attribute `continued` of each
 * names the next. */
int table_write(hid_t file, const struct table *t, struct err *e);

/* ---- attributes ---- */

int h5_put_int(hid_t object, const char *name, int64_t v); /* int32; else float64 */
int h5_put_num(hid_t object, const char *name, double v);
int h5_put_text(hid_t object, const char *name,
                const char *text); /* 60,000 bytes of it */
int h5_put_texts(hid_t object, const char *name, const char *const texts[], size_t n);

#endif
