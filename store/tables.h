/* A sweep as five tables, without a file format: what sweep.h5 holds and every export
 * writes. (Columns: doc/sweep-h5.md.) */
#ifndef STORE_TABLES_H
#define STORE_TABLES_H

#include "sched/value.h"
#include "store/history.h"

/* What a column begins as. Values that do not fit widen it: an integer beyond int32, a
 * real or an absent one makes COLUMN_NUM of COLUMN_INT, a word makes COLUMN_TEXT of both.
 */
enum column_type {
    COLUMN_INT,  /* int32 */
    COLUMN_NUM,  /* float64; absent values are NaN */
    COLUMN_TEXT, /* a string; absent ones are '' */
};

struct column {
    const char *name, *unit;
    enum column_type type;
    const char *original; /* the name that it had, NULL: the same */
    size_t size, offset;  /* private to store/h5_table.c: in a row */
};

struct table {
    const char *name; /* "trials" */
    struct column *columns;
    size_t n_columns, n_keys; /* the first n_keys columns tell the row */
    size_t rows;
    bool originals; /* some columns have another name than they were given */
    /* Sets cells[n_columns], all VALUE_ABSENT before, of row i. Called in the order of
     * rows, as often as wanted; texts need live only until the next call. */
    void (*row)(void *ctx, size_t i, struct value cells[]);
    void *ctx;
};

/* The values of row i: cells[n_columns]. */
void table_row(const struct table *t, size_t i, struct value cells[]);

/* Calls fn with trials, metrics, rungs, decisions and attempts, in this order, until it
 * returns an error; returns that. A table lives as long as the call that it is given to.
 */
int tables_each(const struct sweep *sw, const struct history *h,
                int (*fn)(void *ctx, const struct table *t, struct err *e), void *ctx,
                struct err *e);

#endif
