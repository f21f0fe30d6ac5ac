/* The unix socket of one attempt: the program connects to it, as often as it likes, says
 * lines and gets lines back. Only processes of our own user are let in. Whatever a
 * program does, memory stays bounded: a line longer than TRIAL_LINE_MAX is answered with
 * an error and dropped, and who does not read its answers is not read. */
#ifndef WORKER_AGENT_DOOR_H
#define WORKER_AGENT_DOOR_H

#include "base/err.h"
#include "base/vec.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define DOOR_CONNECTIONS 64 /* at once; further ones wait in the kernel */

struct pollset {
    struct pollfd *v;
    size_t n, cap;
};

struct door;

/* Listens at path, which is below 108 bytes and must not exist. *ids counts connections:
 * one counter for all doors, so that no number comes twice. */
int door_open(struct door **out, const char *path, uint64_t *ids, struct err *e);
/* Closes everything and removes the path. NULL is fine. */
void door_close(struct door *d);

/* Before poll(): adds what is to be waited for. read: programs may say something. */
void door_watch(struct door *d, bool read, struct pollset *set);
/* After it, with the same set: takes what came and calls said() for each line. said() may
 * call door_reply(). */
typedef void door_fn(void *ctx, uint64_t conn, const char *line, size_t n);
void door_serve(struct door *d, const struct pollset *set, door_fn *said, void *ctx);
/* The program is gone: takes everything that it has said and nobody has read yet. */
void door_drain(struct door *d, door_fn *said, void *ctx);

/* Sends a line, which has its newline; drops it when that connection is gone. Each line
 * that was said wants one: a connection of whose two sides the program has closed its own
 * is closed when it has got them all. */
void door_reply(struct door *d, uint64_t conn, const char *line, size_t n);

#endif
