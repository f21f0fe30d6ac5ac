/* sweep.h5: the view of a sweep that h5py, pandas, MATLAB and R read. (Tables and
 * columns: doc/sweep-h5.md.) Always a whole, closed file: made in memory, written beside,
 * fsynced, renamed; versions before stay linked under hidden names for ten minutes, for
 * readers on other NFS clients. HDF5 prints nothing. */
#ifndef STORE_H5_H
#define STORE_H5_H

#include "store/history.h"

struct h5_input {
    const struct sweep *sw;
    const struct history *history;
    const char *name; /* of the sweep */
    const char *yaml; /* sweep.yaml, verbatim */
    size_t yaml_len;
    double written; /* wall clock now */
};

/* A failure (ERR_FULL, ...) leaves the file as it was. */
int h5_write(const char *path, const struct h5_input *in, struct err *e);

struct h5_info {
    int schema;
    int64_t journal_events;
    int64_t trials, metrics, attempts; /* rows */
};
/* Opens read-only and without a lock, checks the schema attribute and reads the last row
 * of each table. ERR_NOENT, ERR_INVAL (no regular file), ERR_CORRUPT, ERR_VERSION. */
int h5_check(const char *path, struct h5_info *info, struct err *e);

/* The library's version now, and when this was compiled: "1.10.8". */
#define H5_VERSION_MAX 40
void h5_version(char running[H5_VERSION_MAX], char built[H5_VERSION_MAX]);

/* The columns of /metrics for all of h->names, in their order: '/' becomes '.', and a
 * name that clashes with a column before it or that PyTables hides gets the prefix m_.
 * For exports, too. free() each and the array. */
void h5_metric_columns(const struct history *h, char ***columns, size_t *n);

#endif
