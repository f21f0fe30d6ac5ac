/* Numbers as text, independent of the locale. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stddef.h>
#include <stdint.h>

#define NUM_MAX 32 /* bytes that hold any number_format() with its NUL */

/* The shortest text that reads back as the same double: 0.1, 1e-05, 3.0 gives
 * "3.0" (a double stays visibly one), "nan", "inf", "-inf". Returns its length. */
size_t num_format(char buf[NUM_MAX], double v);
size_t num_format_int(char buf[NUM_MAX], int64_t v);
/* Up to `digits` significant digits for people: 0.2134, 1.3e-05, 12. */
size_t num_format_short(char buf[NUM_MAX], double v, int digits);

/* Parses all n bytes as a decimal number, correctly rounded; 0, or ERR_SYNTAX,
 * ERR_RANGE (beyond int64, or where only an infinity is near). "+1", ".5", "5."
 * and "007" are numbers; no blanks, no hex, no "nan" or "inf". */
int num_parse(const char *text, size_t n, double *out);
int num_parse_int(const char *text, size_t n, int64_t *out);

#endif
