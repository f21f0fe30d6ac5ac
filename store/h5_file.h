/* HDF5 files as all of store/ makes and opens them. A new one is built in memory and
 * handed out as bytes: nothing ever meets a torn file, a full disk is one failed call of
 * file_write(), and HDF5 never has dirty pages that it cannot write. An old one is opened
 * without a lock. HDF5 prints nothing. */
#ifndef STORE_H5_FILE_H
#define STORE_H5_FILE_H

#include "base/err.h"

#include <hdf5.h>

struct h5_bytes {
    void *p; /* free() it; NULL before the file was finished */
    size_t n;
    size_t room, expected; /* of an unfinished file */
};

/* A new, empty file; *bytes must live until it is closed or finished. It may become of
 * any size, but of `expected` bytes it is made without moving what is there. Negative:
 * failed, see h5_fail(). The same content gives the same bytes. */
hid_t h5_file_create(struct h5_bytes *bytes, size_t expected);
/* Closes it and fills *bytes. 0, or negative: see h5_fail(). */
int h5_file_finish(hid_t file, struct h5_bytes *bytes);
/* Drops it. */
void h5_file_drop(hid_t file, struct h5_bytes *bytes);

/* Opens a file for reading. ERR_NOENT, ERR_INVAL (no regular file), ERR_CORRUPT, ... */
int h5_file_open(const char *path, hid_t *file, struct err *e);

/* err_set(), with HDF5's innermost reason behind the text. To be called at once: the next
 * call of HDF5 forgets what it knew. */
int h5_fail(struct err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
