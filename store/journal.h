/* The journal: journal/000001.jsonl, 000002.jsonl, ..., one file an epoch, one
 * event a line, the truth of a sweep. (Format: doc/journal.md.)
 *
 * A line is a JSON object that ends in `,"x":"<16 hex digits>"}`, the hash64 of all
 * bytes of the line before that comma. The first line of each commit carries
 * `"c":1`: everything before it was durable when it was written. So what follows the
 * last whole line is either torn (a crash before its commit was durable: it was never
 * acted on, and is set aside) or, when a whole line with "c" comes after it, damage,
 * which is an error that names file and line; nothing is ever overwritten.
 *
 * Fencing. An epoch begins by creating its file with O_EXCL; only then is the
 * predecessor's length read, and what is within it synced: of that it accepts the whole
 * lines, and the first line of the new file names the epoch and their length. Bytes of
 * the predecessor beyond that length are ignored for ever; so are files between whose
 * first line was never whole. A controller that sees a file of a higher epoch may
 * not act on what it committed last. */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "base/err.h"
#include "sched/sweep.h"

/* ---- one event as a line, without newline ---- */

/* Appends the line of an event. v gives the decision of a REPORT (and may be NULL for
 * others). `first`: the line begins a commit. */
void event_encode(const struct event *ev, const struct verdict *v, bool first,
                  struct str *out);

/* Decodes a line; slices of the event point into it or into `scratch`, which is
 * reused from call to call (all its memory is the event's until the next call).
 * ERR_CORRUPT with what is wrong (checksum, syntax, a missing field), ERR_VERSION for an
 * event kind of a newer release. *first (may be NULL): the line begins a commit. */
struct event_scratch; /* event_scratch_new(), event_scratch_free() */
struct event_scratch *event_scratch_new(void);
void event_scratch_free(struct event_scratch *s);
int event_decode(const char *line, size_t n, struct event *ev, bool *first,
                 struct event_scratch *scratch, struct err *e);

/* ---- writing ---- */

struct journal;

/* Begins the next epoch of the sweep in `dir`: creates journal/ if need be and the
 * file, reads the predecessor, writes the first line from *begin (kind EPOCH, its
 * version, host, user, command, git, pid, file_hash and time set by the caller; epoch,
 * after, after_bytes are set here) and makes it durable, directory included. What
 * was set aside of the predecessor is told in *torn_bytes (may be NULL).
 * ERR_CORRUPT: the predecessor is damaged, and the new file was left void. ERR_FENCED: a
 * newer controller began meanwhile. */
int journal_begin(const char *dir, struct event *begin, struct journal **out,
                  int64_t *torn_bytes, struct err *e);
int32_t journal_epoch(const struct journal *j);

/* Adds an event to the commit at hand, in memory. */
void journal_append(struct journal *j, const struct event *ev, const struct verdict *v);
bool journal_pending(const struct journal *j); /* appended since the last commit? */

/* Writes and fsyncs what was appended, then looks for a higher epoch's file.
 * 0: durable, and may be acted on. ERR_FENCED: a newer controller exists; act on
 * nothing more. ERR_FULL, ERR_IO: not durable; fsync is not tried again, and every
 * later call fails alike: the process must end. */
int journal_commit(struct journal *j, struct err *e);

int64_t journal_bytes(const struct journal *j);  /* durable length of this epoch's file */
int64_t journal_events(const struct journal *j); /* durable events, all epochs */
void journal_close(struct journal *j); /* pending events are dropped; NULL is fine */

/* ---- reading ---- */

/* Where a reader is. {0} is the beginning. */
struct journal_pos {
    int32_t epoch;
    int64_t offset; /* bytes of that epoch's file that were read */
    int64_t events; /* lines read in all epochs */
};

struct journal_tail {      /* about the files that a call has looked at */
    int32_t epoch;         /* the last one read */
    int64_t torn_bytes;    /* behind the last whole line (normal while one writes) */
    int64_t ignored_bytes; /* of earlier epochs, beyond their accepted length */
    int32_t void_files;    /* epochs that never began */
};

/* Reads all accepted events after *pos in order, calling fn, and moves *pos. `limit`
 * (may be NULL): read no further than that epoch and offset. 0; ERR_NOENT: there is no
 * journal; ERR_CORRUPT: damaged, the text names file and line; ERR_VERSION: of a newer
 * release; ERR_FENCED: *pos (or limit) is beyond what a successor accepted: begin again
 * from {0} with a fresh state; else what fn returned, if it was not 0: *pos is then
 * before the event that fn was given, and its text, if it is an error, is prefixed with
 * file and line. */
int journal_read(const char *dir, struct journal_pos *pos,
                 const struct journal_pos *limit,
                 int (*fn)(void *ctx, const struct event *ev, struct err *e), void *ctx,
                 struct journal_tail *tail, struct err *e);

#endif
