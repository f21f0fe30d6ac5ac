/* The files of a journal: which epochs there are, which of them count, and their
 * lines. Private to store/; store/journal.h has the calls for others. */
#ifndef STORE_JOURNAL_FILES_H
#define STORE_JOURNAL_FILES_H

#include "base/vec.h"
#include "store/event_line.h"

#include <sys/types.h>

char *journal_dir(const char *dir);                     /* DIR/journal; free() it */
char *journal_path(const char *journal, int32_t epoch); /* .../000001.jsonl; free() it */

/* The numbers of the epoch files in `journal`, ascending. ERR_NOENT: no directory. The
 * directory is opened for it, at which an NFS client asks the server for news. */
struct epochs {
    VEC(int32_t) number;
};
int epochs_list(const char *journal, struct epochs *list, struct err *e);

/* ---- lines of a file ---- */

struct lines {
    char *path;
    int fd;
    int64_t offset; /* in the file, of the line that comes next */
    int64_t limit;  /* the file is read to here, as if it ended there */
    struct str buf; /* what was read from `offset - taken` on */
    size_t taken;   /* bytes of buf that were handed out */
};

/* Opens the file of an epoch. ERR_NOENT; ERR_CORRUPT for what is no file. */
int lines_open(struct lines *l, const char *journal, int32_t epoch, int64_t offset,
               struct err *e);
void lines_close(struct lines *l);
/* The next line, without its newline. 1, 0 (no further newline before the end), or an
 * error. The line lives until the next call. Bytes beyond any length that a line can
 * have come in pieces, none of which is whole. */
int lines_next(struct lines *l, struct slice *line, struct err *e);
/* The file's size now, or an error. */
int64_t lines_size(const struct lines *l, struct err *e);
/* Whether a line from the next one on begins a commit: then what is before it was
 * durable once. 1, 0 or an error; goes to the end. */
int lines_commit_follows(struct lines *l, struct err *e);
/* Sets ERR_CORRUPT, naming the file and the line that begins at byte `offset`. */
int lines_damaged(const struct lines *l, int64_t offset, struct err *e, const char *fmt,
                  ...) __attribute__((format(printf, 4, 5)));
/* The number of the line that begins at byte `offset`; 0 when it cannot be told. */
int64_t lines_number(const struct lines *l, int64_t offset);

/* ---- which files count ---- */

struct link {
    int32_t epoch;
    int64_t accepted; /* bytes that its successor accepted; -1: it has none */
    int64_t before;   /* events that it found accepted in all epochs before it */
};
struct chain {
    VEC(struct link) v; /* newest first */
    int32_t void_files; /* those between and above that never began */
};

/* Follows the epochs back from the newest one that began to `oldest` or below (0: all).
 * An empty chain: no epoch began. `list` are the epochs to look at. ERR_CORRUPT. */
int chain_find(const char *journal, const struct epochs *list, int32_t oldest,
               struct chain *chain, struct err *e);

#endif
