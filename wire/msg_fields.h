/* The members of each kind of item, in one table that writer (wire/msg.c) and reader
 * (wire/packet.c) share. For nobody else. */
#ifndef WIRE_MSG_FIELDS_H
#define WIRE_MSG_FIELDS_H

#include "wire/msg.h"

#include <stddef.h>

enum field_type {
    FIELD_INDEX,  /* int32_t, 0 or more: trials, attempts, slots */
    FIELD_SLOTS,  /* int32_t, 0 to EVENT_SLOTS_MAX */
    FIELD_INT,    /* int */
    FIELD_COUNT,  /* uint32_t */
    FIELD_LONG,   /* int64_t */
    FIELD_STEP,   /* int64_t, 0 or more */
    FIELD_NUMBER, /* uint64_t, as an integer: numbers of items */
    FIELD_HEX,    /* uint64_t, as 16 hex digits: JSON readers lose bits beyond 2^53 */
    FIELD_REAL,   /* double */
    FIELD_BOOL,
    FIELD_TEXT,   /* struct slice */
    FIELD_OBJECT, /* struct slice, JSON text of an object */
    FIELD_DECISION,
    FIELD_CAUSE,
    FIELD_METRICS, /* report.metrics */
    FIELD_OPEN,    /* hello.open */
    FIELD_GPUS,    /* hello.gpus */
};

struct field {
    const char *lead; /* as it stands in a line: `,"step":`; NULL ends a table */
    size_t lead_len;
    enum field_type type;
    size_t at;     /* offset in struct item */
    bool optional; /* left out where it is 0, false, empty or NaN, and read as that */
};
#define FIELDS_MAX 32 /* in a table: the reader has a bit for each */

struct item_shape {
    const char *name;
    bool numbered;
    struct slice opening; /* `{"item":"report","n":1` */
    const struct field *fields;
};
extern const struct item_shape item_shapes[ITEM_KINDS];

#endif
