/* The six tables of sweep.h5. (Columns: doc/sweep-h5.md.) Private to store/. */
#ifndef STORE_H5_VIEWS_H
#define STORE_H5_VIEWS_H

#include "store/h5.h"
#include "store/h5_file.h"

int h5_write_trials(hid_t file, const struct sweep *sw, struct err *e);
int h5_write_metrics(hid_t file, const struct history *h, struct err *e);
int h5_write_rungs(hid_t file, const struct sweep *sw, struct err *e);
int h5_write_decisions(hid_t file, const struct history *h, struct err *e);
int h5_write_attempts(hid_t file, const struct history *h, struct err *e);

#endif
