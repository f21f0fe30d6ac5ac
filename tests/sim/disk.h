/* A disk in memory, below the real code. The linker sends what the sources call of
 * open(), write(), fsync() and their like here (--wrap, see tests/module.am); calls on
 * paths below /sim/ are served from memory, all others go to the system.
 *
 * What was written can be read at once, by everybody. What was not synced is lost when
 * the host that wrote it loses power: of a file's new bytes any number is left, perhaps
 * with zeros behind; of new, renamed and removed names any. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>

#define DISK_ROOT "/sim"

enum disk_op {
    DISK_OPEN,
    DISK_READ,
    DISK_WRITE,
    DISK_SYNC,
    DISK_LIST,
    DISK_NAME, /* rename, unlink, mkdir */
};

/* The world's side. before: 0, or the errno to fail with; it may take its time, and let
 * others act meanwhile. after: the call has had its effect. *n: of a write, how much is
 * to be done. */
struct disk_port {
    int (*before)(void *ctx, enum disk_op op, size_t *n);
    void (*after)(void *ctx, enum disk_op op);
    int (*host)(void *ctx); /* on which the caller runs */
    double (*chance)(void *ctx);
    void *ctx;
};

void disk_begin(const struct disk_port *port); /* an empty disk */
void disk_end(void);
void disk_mkdir(const char *path);                 /* durable */
void disk_put(const char *path, const char *text); /* a durable file */
void disk_power_cut(int host);
bool disk_exists(const char *path);
int disk_open_files(void);

#endif
