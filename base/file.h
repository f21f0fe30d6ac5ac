/* Files that are whole or absent. Paths in errors are as given. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The whole file, at most `max` bytes (more is ERR_RANGE), appended to out. */
int file_read(const char *path, size_t max, struct str *out, struct err *e);
/* The same for a file that others may have put there: anything but a regular file is
 * ERR_INVAL, links too, and nothing waits for the other end of a pipe. */
int file_read_regular(const char *path, size_t max, struct str *out, struct err *e);
/* The first, gunzipped if the file starts with gzip's magic; max bounds the
 * unpacked size. */
int file_read_gz(const char *path, size_t max, struct str *out, struct err *e);

/* Writes path.tmp-PID-N beside it with `mode` less the umask, fsyncs, renames over
 * path, fsyncs the directory: after a crash path has the old bytes or the new
 * ones. On failure it has the old ones, except that when only the directory's
 * fsync failed a crash may still bring them back. */
int file_write(const char *path, const void *data, size_t n, mode_t mode, struct err *e);
/* The last two steps for a temporary file that is already written and closed:
 * fsync(tmp), rename(tmp, path), fsync(directory). tmp is unlinked on failure. */
int file_commit(const char *tmp, const char *path, struct err *e);
/* Removes the temporary files of path that file_write() left where it was killed: all of
 * them, so nobody may be writing path now. */
void file_tidy(const char *path);

/* Writes all n bytes to fd, through EINTR and short writes. */
int file_write_fd(int fd, const void *data, size_t n, struct err *e);

/* Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed: else a file
 * opened later would be one of them, and get what is printed. For the beginning of
 * main(). */
int file_standard(struct err *e);

/* fsync of a directory; and of the one that holds path. */
int dir_sync(const char *path, struct err *e);
int dir_sync_above(const char *path, struct err *e);
/* mkdir -p; existing is fine. What it makes is there after a crash. */
int dir_make(const char *path, mode_t mode, struct err *e);
/* The same, but path itself must not exist (ERR_EXIST): of several who try, one makes
 * it. */
int dir_make_new(const char *path, mode_t mode, struct err *e);
/* rm -r, never following links; absent is fine. */
int dir_remove(const char *path, struct err *e);
/* cp -r of files, directories and links, as they are, into `to`, which must not exist,
 * with every byte on the disk at the end (but for the name of `to` itself). wanted (NULL:
 * all) says which names of the uppermost directory. What was copied before an error
 * stays. */
int dir_copy(const char *from, const char *to, bool (*wanted)(const char *name),
             struct err *e);
/* Names in a directory but . and .., sorted by strcmp, into a NULL-terminated
 * array of one allocation: free(*names). */
int dir_list(const char *path, char ***names, size_t *n, struct err *e);

bool file_exists(const char *path); /* anything by that name, links not followed */

/* "dir/name" in a new string; free() it. */
char *path_join(const char *dir, const char *name);

#endif
