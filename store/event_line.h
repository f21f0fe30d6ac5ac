/* The lines of the journal: which fields an event of each kind has. (Format:
 * doc/journal.md.) Private to store/; store/journal.h has the calls for others. */
#ifndef STORE_EVENT_LINE_H
#define STORE_EVENT_LINE_H

#include "store/journal.h"

#define JOURNAL_FORMAT 1 /* "format" of an epoch line; readers refuse any other */

/* A line ends in ,"x":"0123456789abcdef"} */
#define LINE_TAIL_LEN 24

enum field_type {
    FIELD_I32,
    FIELD_U32,
    FIELD_I64,
    FIELD_NUM,
    FIELD_BOOL,
    FIELD_HEX,  /* uint64_t, as a string of 16 hex digits */
    FIELD_TEXT, /* struct slice */
    FIELD_JSON, /* struct slice: a JSON value, as it is */
    FIELD_DECISION,
    FIELD_OUTCOME,
    FIELD_CAUSE,
    FIELD_NUMBERS, /* struct numbers */
    FIELD_METRICS, /* report.metrics and report.n_metrics */
    FIELD_FORMAT,  /* JOURNAL_FORMAT, in no event */
};

/* What a line without the field means; a field that has this value is left out. */
enum field_else {
    ELSE_FAIL,    /* every line has it */
    ELSE_NOTHING, /* 0, false, the empty text, the first of an enum */
    ELSE_MINUS1,
    ELSE_NAN,
};

struct field {
    const char *key; /* as it is in the line: ,"step": */
    uint8_t key_len, type, otherwise;
    uint16_t offset; /* in struct event */
};

/* At most 32 for a kind: a reader keeps a bit for each. */
struct fields {
    const struct field *v;
    int n;
};
struct fields event_fields(enum event_kind kind);

/* ---- lines as such ---- */

/* Does the line have the right checksum? */
bool line_whole(const char *line, size_t n);
/* Does a whole line begin a commit? */
bool line_commits(const char *line, size_t n);
/* event_decode() of a line that is known to be whole. */
int line_parse(const char *line, size_t n, struct event *ev, bool *first,
               struct event_scratch *scratch, struct err *e);

#endif
