/* sweep.h5: the view of a sweep that h5py, pandas, MATLAB and R read. (Tables and
 * columns: doc/sweep-h5.md.) Always a whole, closed file: written beside, fsynced,
 * renamed; the version before stays linked under a hidden name for ten minutes, for
 * readers on other NFS clients. */
#ifndef STORE_H5_H
#define STORE_H5_H

#include "store/history.h"

struct h5_input {
    const struct sweep *sw;
    const struct history *history;
    const char *name;      /* of the sweep */
    const char *yaml;      /* sweep.yaml, verbatim */
    size_t yaml_len;
    double written;        /* wall clock now */
};

int h5_write(const char *path, const struct h5_input *in, struct err *e);

struct h5_info {
    int schema;
    int64_t journal_events;
    int64_t trials, metrics, attempts; /* rows */
};
/* Opens read-only, checks the schema attribute and reads the last row of each table. */
int h5_check(const char *path, struct h5_info *info, struct err *e);

/* The column name of a metric in /metrics: '/' becomes '.', and a name that clashes
 * with `taken` or that pandas hides gets the prefix m_. For exports, too. */
void h5_metric_columns(const struct history *h, char ***columns, size_t *n);

#endif
