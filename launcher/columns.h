/* A table of text for people: cells are added row by row, a row is as many as there are
 * heads. Columns whose cells are all numbers (or "-", "...", "") are aligned to the
 * right. */
#ifndef LAUNCHER_COLUMNS_H
#define LAUNCHER_COLUMNS_H

#include "base/str.h"
#include "base/vec.h"

#include <stdbool.h>

struct columns {
    size_t n; /* heads so far, until the first cell */
    bool left;
    VEC(char *) cells;
};

/* {0} is an empty one. */
void columns_head(struct columns *c, const char *text);
void columns_cell(struct columns *c, const char *text);
void columns_num(struct columns *c, double v, int digits); /* "-" for NaN */
void columns_int(struct columns *c, int64_t v);
/* Appends all rows, each behind `indent` blanks; then the table is empty again. */
void columns_print(struct columns *c, int indent, struct str *out);

#endif
