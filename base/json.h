/* JSON: a pull scanner and a writer.
 *
 * Journal lines, wire items and trial lines are read by the million, so the
 * scanner walks a line once, allocates nothing and hands out slices of it
 * (Debian's DOM libraries take three seconds for a million journal lines, this
 * takes a fraction of one). It reads RFC 8259 JSON, and NaN, Infinity and
 * -Infinity, bare or quoted, where a number is wanted; it refuses invalid
 * UTF-8, lone surrogates, duplicate commas, nesting deeper than 32, numbers
 * that only an infinity is near to, and anything after the value. The scanner is
 * in this header (static inline) so that librung can use it without exporting a
 * symbol.
 *
 * Reading an object:
 *
 *     struct json j;
 *     json_begin(&j, text, len);
 *     json_object(&j);                      // expects '{'
 *     while (json_key(&j, &key)) {          // false at '}' or on error
 *         if (json_is(key, "step"))
 *             step = json_int(&j);
 *         else
 *             json_skip(&j);                // any value, checked all the same
 *     }
 *     json_end(&j);                         // expects the end of the text
 *     if (j.error) ...                      // one check, at the end
 *
 * After an error every call returns zero, false or an empty slice, and j.p is
 * where it was found. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum json_type {
    JSON_ERROR,
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json {
    const char *start, *p, *end;
    const char *error; /* NULL, or what is wrong, a static string */
    int depth;
    bool first; /* no comma is due before the next member */
};

/* ---- scanner: definitions in base/json_scan.h, included at the end ---- */

static inline void json_begin(struct json *j, const char *text, size_t len);
static inline enum json_type json_peek(struct json *j); /* type of the value at hand */
static inline void json_object(struct json *j);
static inline bool json_key(struct json *j, struct slice *key); /* raw, as written */
/* Instead of json_key(), where it is known which member is likely to be next: reads
 * `,"key":` if just that is, but for an object's first. */
static inline bool json_ahead(struct json *j, const char *member, size_t len);
static inline void json_array(struct json *j);
static inline bool json_item(struct json *j);   /* another element? (false at ']') */
static inline int64_t json_int(struct json *j); /* in int64, or 3.0; else an error */
static inline double json_num(struct json *j);  /* any number, correctly rounded; NaN,
                                                   "NaN", Infinity, "-Infinity": as
                                                   said; null gives NaN */
static inline bool json_bool(struct json *j);
static inline struct slice json_raw(struct json *j);    /* any value, as its text */
static inline struct slice json_string(struct json *j); /* the raw text between the
                                                  quotes; json_unescape() decodes it */
static inline void json_skip(struct json *j);
static inline void json_end(struct json *j);
static inline bool json_is(struct slice key, const char *name);
static inline void json_fail(struct json *j, const char *why);

/* Appends the decoded text of a raw string to out (which may then hold NUL);
 * raw must come from a scanner that reported no error. */
void json_unescape(struct slice raw, struct str *out);
/* The same as a new C string; NULL when it holds a NUL byte. free() it. */
char *json_text(struct slice raw);

/* ---- writer: appends to a struct str; commas come by themselves, wherever the
 * text so far ends in a value (so a prefix must end in a blank or newline) ---- */

void json_put_object(struct str *s);                 /* { */
void json_put_close(struct str *s, char bracket);    /* '}' or ']' */
void json_put_array(struct str *s);                  /* [ */
void json_put_key(struct str *s, const char *key);   /* , "key": */
void json_put_keyn(struct str *s, struct slice key); /* raw bytes, escaped here */
void json_put_int(struct str *s, int64_t v);
void json_put_num(struct str *s, double v); /* shortest text that reads back the same;
                                               "NaN", "Infinity", "-Infinity" quoted */
void json_put_bool(struct str *s, bool v);
void json_put_null(struct str *s);
void json_put_str(struct str *s, const char *text);
void json_put_strn(struct str *s, struct slice bytes); /* invalid UTF-8 becomes U+FFFD */
void json_put_raw(struct str *s, struct slice value);  /* JSON text, as it is */

#include "base/json_scan.h"

#endif
