/* The scanner of base/json.h, which says what it does and includes this file.
 * Names that end in _ are not for users. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/json.h"
#include "base/num_scan.h"

#define JSON_DEPTH_MAX 32

static inline void json_begin(struct json *j, const char *text, size_t len)
{
    *j = (struct json){.start = text, .p = text, .end = text + len, .first = true};
}

static inline void json_fail(struct json *j, const char *why)
{
    if (!j->error)
        j->error = why;
}

/* Fails with j->p at the place, so that it can be told. */
static inline void json_fail_at_(struct json *j, const char *p, const char *why)
{
    j->p = p;
    json_fail(j, why);
}

/* Skips blanks; the byte that follows, or 0 at the end and after an error. */
static inline char json_next_(struct json *j)
{
    const char *p = j->p, *end = j->end;
    if (j->error)
        return 0;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    j->p = p;
    return p < end ? *p : '\0';
}

static inline enum json_type json_peek(struct json *j)
{
    switch (json_next_(j)) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't':
    case 'f': return JSON_BOOL;
    case 'n': return JSON_NULL;
    case '-':
    case 'N':
    case 'I':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return JSON_NUMBER;
    default: json_fail(j, "a value is wanted"); return JSON_ERROR;
    }
}

static inline void json_open_(struct json *j, char bracket, const char *why)
{
    if (json_next_(j) != bracket)
        json_fail(j, why);
    else if (j->depth == JSON_DEPTH_MAX)
        json_fail(j, "nested deeper than 32");
    if (j->error)
        return;
    j->p++;
    j->depth++;
    j->first = true;
}

/* Whether another member follows, its comma read; false at the bracket, also read. */
static inline bool json_more_(struct json *j, char bracket, const char *why)
{
    char c = json_next_(j);
    if (c == bracket && !j->error) {
        j->p++;
        j->depth--;
        j->first = false;
        return false;
    }
    if (!j->first) {
        if (c != ',')
            json_fail(j, why);
        else
            j->p++;
    }
    j->first = false;
    return !j->error;
}

/* Length of the UTF-8 character at p, 0 when it is none (RFC 3629). */
static inline size_t json_utf8_(const char *text, const char *end)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = (size_t)(end - text);
    unsigned low = 0x80, high = 0xbf; /* of the second byte */
    size_t n;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0; /* shorter forms exist */
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f; /* U+10FFFF is the last */
    if (left < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Four hex digits at p, or -1. */
static inline int json_hex4_(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            v = v << 4 | ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* The escape at p, from its backslash on: its length, 0 when it is none; the
 * character, from one \u or two of a surrogate pair, in *code. */
static inline size_t json_escape_(const char *p, const char *end, uint32_t *code)
{
    static const char names[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    if (end - p < 2)
        return 0;
    if (p[1] != 'u') {
        for (const char *n = names; *n; n += 2)
            if (*n == p[1]) {
                *code = (unsigned char)n[1];
                return 2;
            }
        return 0;
    }
    int high = json_hex4_(p + 2, end), low;
    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
        return 0;
    *code = (uint32_t)high;
    if (high < 0xd800 || high > 0xdbff)
        return 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return 0;
    low = json_hex4_(p + 8, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *code = 0x10000 + (((uint32_t)high - 0xd800) << 10 | ((uint32_t)low - 0xdc00));
    return 12;
}

/* Skips what needs no second look in a string: ASCII but for controls, quotes and
 * backslashes. Eight bytes at a time, where that can be done: each term has the high bit
 * of a byte set for what it looks for, and of others only behind the first of these. */
static inline const char *json_plain_(const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t w, quote, slash, stop;
        memcpy(&w, p, sizeof(w));
        quote = w ^ ones * '"';
        slash = w ^ ones * '\\';
        stop = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
               ((w - ones * 0x20) & ~w) | w;
        stop &= high;
        if (stop)
            return p + __builtin_ctzll(stop) / 8;
    }
#endif
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 &&
           *p != '"' && *p != '\\')
        p++;
    return p;
}

static inline struct slice json_string(struct json *j)
{
    const struct slice none = {"", 0};
    if (json_next_(j) != '"') {
        json_fail(j, "a string is wanted");
        return none;
    }
    const char *start = j->p + 1, *p = start, *end = j->end;
    while ((p = json_plain_(p, end)) < end) {
        uint32_t code;
        size_t n;
        if (*p == '"') {
            j->p = p + 1;
            return (struct slice){start, (size_t)(p - start)};
        }
        if ((unsigned char)*p < 0x20) {
            json_fail_at_(j, p, "a control character in a string");
            return none;
        }
        n = *p == '\\' ? json_escape_(p, end, &code) : json_utf8_(p, end);
        if (n == 0) {
            json_fail_at_(j, p,
                          *p == '\\' ? "an invalid escape in a string"
                                     : "invalid UTF-8 in a string");
            return none;
        }
        p += n;
    }
    json_fail_at_(j, p, "a string without its end");
    return none;
}

static inline void json_object(struct json *j)
{
    json_open_(j, '{', "an object is wanted");
}

static inline void json_array(struct json *j)
{
    json_open_(j, '[', "an array is wanted");
}

/* The member behind another as our own writers have it, `,"key":` with nothing to decode
 * and no blanks; false, and nothing read, where it looks otherwise. */
static inline bool json_next_key_(struct json *j, struct slice *key)
{
    const char *p = j->p, *end = j->end;
    if (j->first || j->error || end - p < 4 || p[0] != ',' || p[1] != '"')
        return false;
    const char *close = json_plain_(p + 2, end);
    if (end - close < 2 || close[0] != '"' || close[1] != ':')
        return false;
    *key = (struct slice){p + 2, (size_t)(close - (p + 2))};
    j->p = close + 2;
    return true;
}

static inline bool json_key(struct json *j, struct slice *key)
{
    if (json_next_key_(j, key))
        return true;
    *key = (struct slice){"", 0};
    if (!json_more_(j, '}', "',' or '}' is wanted"))
        return false;
    struct slice k = json_string(j);
    if (json_next_(j) != ':') {
        json_fail(j, "':' is wanted");
        return false;
    }
    j->p++;
    *key = k;
    return true;
}

static inline bool json_item(struct json *j)
{
    return json_more_(j, ']', "',' or ']' is wanted");
}

/* Reads word if it is what comes next. */
static inline bool json_word_(struct json *j, const char *word, size_t len)
{
    if (j->error || (size_t)(j->end - j->p) < len || memcmp(j->p, word, len) != 0)
        return false;
    j->p += len;
    return true;
}
#define JSON_WORD_(j, lit) json_word_((j), (lit), sizeof(lit) - 1)

static inline bool json_ahead(struct json *j, const char *member, size_t len)
{
    return !j->first && json_word_(j, member, len);
}

/* NaN, Infinity or -Infinity at j->p. */
static inline bool json_not_finite_(struct json *j, double *v)
{
    if (JSON_WORD_(j, "NaN"))
        *v = NAN;
    else if (JSON_WORD_(j, "Infinity"))
        *v = INFINITY;
    else if (JSON_WORD_(j, "-Infinity"))
        *v = -INFINITY;
    else
        return false;
    return true;
}

/* RFC 8259's number at j->p, which is stricter than num_scan(). */
static inline bool json_literal_(struct json *j, struct num_lit *lit)
{
    const char *end = num_scan(j->p, j->end, lit);
    if (!end || *j->p == '+' || lit->whole == 0 ||
        (lit->whole > 1 && *lit->digits == '0') || (lit->point && lit->part == 0)) {
        json_fail(j, "not a number");
        return false;
    }
    j->p = end;
    return true;
}

static inline double json_num(struct json *j)
{
    struct num_lit lit;
    double v = 0;
    char c = json_next_(j);
    if (c == '-' || (c >= '0' && c <= '9')) {
        if ((c == '-' && json_not_finite_(j, &v)) || !json_literal_(j, &lit))
            return v;
        v = num_lit_double(&lit);
        if (!isinf(v))
            return v;
        json_fail(j, "a number beyond a double's range");
        return 0;
    }
    if (JSON_WORD_(j, "null"))
        return NAN;
    bool quoted = JSON_WORD_(j, "\"");
    if (!json_not_finite_(j, &v) || (quoted && !JSON_WORD_(j, "\""))) {
        json_fail(j, "a number is wanted");
        return 0;
    }
    return v;
}

/* Nearly every integer: 1 to 18 digits, no sign, no 0 before others, and nothing behind
 * that could belong to it. False, and nothing read, for any other. */
static inline bool json_small_int_(struct json *j, int64_t *v)
{
    const char *p = j->p, *stop = j->end - p > 18 ? p + 18 : j->end;
    uint64_t n = 0;
    p = num_scan_digits_(p, stop, &n);
    if (p == j->p || p == j->end || (*j->p == '0' && p - j->p > 1) ||
        (*p != ',' && *p != '}'))
        return false;
    *v = (int64_t)n;
    j->p = p;
    return true;
}

static inline int64_t json_int(struct json *j)
{
    struct num_lit lit;
    int64_t v;
    char c = json_next_(j);
    if (c != '-' && (c < '0' || c > '9')) {
        json_fail(j, "an integer is wanted");
        return 0;
    }
    if (json_small_int_(j, &v))
        return v;
    const char *start = j->p;
    if (!json_literal_(j, &lit))
        return 0;
    if (num_lit_int(&lit, &v))
        return v;
    if (lit.point || lit.exponent) {
        double d = num_lit_double(&lit);
        if (fabs(d) < 0x1p53 && d == (double)(int64_t)d)
            return (int64_t)d;
        json_fail_at_(j, start, "an integer is wanted");
    } else {
        json_fail_at_(j, start, "an integer beyond 64 bits");
    }
    return 0;
}

static inline bool json_bool(struct json *j)
{
    json_next_(j);
    if (JSON_WORD_(j, "true"))
        return true;
    if (!JSON_WORD_(j, "false"))
        json_fail(j, "true or false is wanted");
    return false;
}

static inline void json_skip(struct json *j)
{
    struct slice key;
    struct num_lit lit;
    double v;
    switch (json_peek(j)) {
    case JSON_OBJECT:
        json_object(j);
        while (json_key(j, &key))
            json_skip(j);
        break;
    case JSON_ARRAY:
        json_array(j);
        while (json_item(j))
            json_skip(j);
        break;
    case JSON_STRING: json_string(j); break;
    case JSON_BOOL: json_bool(j); break;
    case JSON_NUMBER:
        if (!json_not_finite_(j, &v))
            json_literal_(j, &lit);
        break;
    case JSON_NULL:
        if (!JSON_WORD_(j, "null"))
            json_fail(j, "a value is wanted");
        break;
    case JSON_ERROR: break;
    }
}

static inline struct slice json_raw(struct json *j)
{
    json_next_(j);
    const char *start = j->p;
    json_skip(j);
    if (j->error)
        return (struct slice){"", 0};
    return (struct slice){start, (size_t)(j->p - start)};
}

static inline void json_end(struct json *j)
{
    json_next_(j);
    if (!j->error && j->p < j->end)
        json_fail(j, "text after the value");
}

static inline bool json_is(struct slice key, const char *name)
{
    size_t n = strlen(name); /* of a literal: then the comparison needs no call */
    return key.len == n && memcmp(key.p, name, n) == 0;
}

#endif
