#include "base/json.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add_utf8(struct str *s, uint32_t c)
{
    if (c < 0x80) {
        str_addc(s, (char)c);
        return;
    }
    char b[4];
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        b[i] = (char)(0x80 | (c & 0x3f));
    b[0] = (char)((0xf00 >> n & 0xff) | c); /* n leading ones */
    str_addn(s, b, n);
}

void json_unescape(struct slice raw, struct str *out)
{
    const char *p = raw.p, *end = raw.p + raw.len;
    while (p < end) {
        const char *stop = memchr(p, '\\', (size_t)(end - p));
        str_addn(out, p, (size_t)((stop ? stop : end) - p));
        if (!stop)
            return;
        uint32_t code = 0;
        size_t n = json_escape_(stop, end, &code);
        if (n == 0)
            return; /* no scanner returns such a slice */
        add_utf8(out, code);
        p = stop + n;
    }
}

char *json_text(struct slice raw)
{
    struct str s = STR_INIT;
    json_unescape(raw, &s);
    if (strlen(s.p) != s.len) {
        str_free(&s);
        return NULL;
    }
    return str_take(&s);
}

/* ---- writer ---- */

/* Text that ends in a value wants a comma before the next one. Values end in a
 * quote, a bracket, a digit or a letter; nothing else does. */
static void comma(struct str *s)
{
    char c = s->len ? s->p[s->len - 1] : '\0';
    if (c == ':' || c == '{' || c == '[')
        return;
    if (c == '"' || c == '}' || c == ']' || (c >= '0' && c <= '9') ||
        (c >= 'a' && c <= 'z') || c == 'N') /* a bare NaN */
        str_addc(s, ',');
}

void json_put_object(struct str *s)
{
    comma(s);
    str_addc(s, '{');
}

void json_put_array(struct str *s)
{
    comma(s);
    str_addc(s, '[');
}

void json_put_close(struct str *s, char bracket)
{
    str_addc(s, bracket);
}

void json_put_key(struct str *s, const char *key)
{
    json_put_keyn(s, slice_of(key));
}

void json_put_keyn(struct str *s, struct slice key)
{
    json_put_strn(s, key);
    str_addc(s, ':');
}

void json_put_int(struct str *s, int64_t v)
{
    comma(s);
    str_reserve(s, NUM_MAX);
    s->len += num_format_int(s->p + s->len, v);
}

void json_put_num(struct str *s, double v)
{
    comma(s);
    if (isnan(v)) {
        str_add(s, "\"NaN\"");
    } else if (isinf(v)) {
        str_add(s, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else {
        str_reserve(s, NUM_MAX);
        s->len += num_format(s->p + s->len, v);
    }
}

void json_put_bool(struct str *s, bool v)
{
    comma(s);
    str_add(s, v ? "true" : "false");
}

void json_put_null(struct str *s)
{
    comma(s);
    str_add(s, "null");
}

void json_put_str(struct str *s, const char *text)
{
    json_put_strn(s, slice_of(text));
}

static void add_escaped(struct str *s, unsigned char c)
{
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    const char *hex = "0123456789abcdef";
    for (const char *n = names; *n; n += 2)
        if ((unsigned char)*n == c) {
            char two[2] = {'\\', n[1]};
            str_addn(s, two, 2);
            return;
        }
    char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    str_addn(s, six, 6);
}

void json_put_strn(struct str *s, struct slice bytes)
{
    comma(s);
    str_reserve(s, bytes.len + 2);
    str_addc(s, '"');
    const char *p = bytes.p, *end = bytes.p + bytes.len, *plain = p;
    while ((p = json_plain_(p, end)) < end) {
        size_t n = (unsigned char)*p >= 0x80 ? json_utf8_(p, end) : 0;
        if (n > 0) {
            p += n;
            continue;
        }
        str_addn(s, plain, (size_t)(p - plain));
        if ((unsigned char)*p >= 0x80)
            str_add(s, "\xef\xbf\xbd");
        else
            add_escaped(s, (unsigned char)*p);
        plain = ++p;
    }
    str_addn(s, plain, (size_t)(p - plain));
    str_addc(s, '"');
}

void json_put_raw(struct str *s, struct slice value)
{
    comma(s);
    str_addn(s, value.p, value.len);
}
