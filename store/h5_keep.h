/* The versions of a replaced file that are still kept, and what crashes have left.
 * Private to store/. */
#ifndef STORE_H5_KEEP_H
#define STORE_H5_KEEP_H

#define KEEP_SECONDS 600.0
#define KEEP_BYTES   (64 << 20)

/* Links the file at path under a hidden name, for readers on other NFS clients: to
 * replace a file that they have open would give them ESTALE. `now` is the wall clock.
 * Where a file system has no links, nothing is kept. */
void version_keep(const char *path, double now);
/* Removes kept versions older than KEEP_SECONDS, the oldest beyond KEEP_BYTES in all (but
 * not the newest), and temporary files of that age, whose writers have died. */
void versions_tidy(const char *path, double now);

#endif
