/* Lines from a stream of bytes, in bounded memory. `struct lines l = LINES_INIT;` */
#ifndef WORKER_AGENT_LINES_H
#define WORKER_AGENT_LINES_H

#include "base/str.h"

#include <stdbool.h>

struct lines {
    struct str part; /* of a line that has not ended yet */
    bool cut;        /* that line is longer than max; what follows of it is dropped */
};
#define LINES_INIT                                                                       \
    {                                                                                    \
        STR_INIT, false                                                                  \
    }

/* Gets a line without its end, valid during the call; of one that was longer than max,
 * the first max bytes. */
typedef void lines_fn(void *ctx, const char *line, size_t n, bool cut);

/* Calls fn for each line that ends in data. ends: the bytes that end a line, one or two:
 * "\n", or "\n\r" for programs that overwrite their progress. */
void lines_feed(struct lines *l, const char *data, size_t n, size_t max, const char *ends,
                lines_fn *fn, void *ctx);
/* The stream is over: calls fn for what stands there without an end, if anything. */
void lines_finish(struct lines *l, lines_fn *fn, void *ctx);
void lines_free(struct lines *l);

#endif
