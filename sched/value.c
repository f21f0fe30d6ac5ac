#include "sched/value.h"

#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_number(struct value v)
{
    return v.kind == VALUE_INT || v.kind == VALUE_REAL || v.kind == VALUE_BOOL;
}

static int order_reals(double a, double b)
{
    if (isnan(a) || isnan(b))
        return VALUE_UNORDERED;
    return (a > b) - (a < b);
}

/* Exact: converting a to double could round it onto b. */
static int order_int_real(int64_t a, double b)
{
    if (isnan(b))
        return VALUE_UNORDERED;
    if (b >= 0x1p63)
        return -1;
    if (b < -0x1p63)
        return 1;
    int64_t whole = (int64_t)b;
    if (a != whole)
        return a < whole ? -1 : 1;
    return order_reals((double)whole, b);
}

static int64_t as_int(struct value v)
{
    return v.kind == VALUE_BOOL ? v.b : v.i;
}

int value_order(struct value a, struct value b)
{
    if (a.kind == VALUE_REAL && b.kind == VALUE_REAL)
        return order_reals(a.r, b.r);
    if (b.kind == VALUE_REAL)
        return order_int_real(as_int(a), b.r);
    if (a.kind == VALUE_REAL) {
        int order = order_int_real(as_int(b), a.r);
        return order == VALUE_UNORDERED ? order : -order;
    }
    return (as_int(a) > as_int(b)) - (as_int(a) < as_int(b));
}

bool value_equal(struct value a, struct value b)
{
    if (is_number(a) && is_number(b))
        return value_order(a, b) == 0;
    if (a.kind != b.kind)
        return false;
    return a.kind == VALUE_ABSENT || strcmp(a.s, b.s) == 0;
}

void value_text(struct value v, struct str *out)
{
    char number[NUM_MAX];
    switch (v.kind) {
    case VALUE_ABSENT: break;
    case VALUE_INT: str_addn(out, number, num_format_int(number, v.i)); break;
    case VALUE_REAL: str_addn(out, number, num_format(number, v.r)); break;
    case VALUE_BOOL: str_add(out, v.b ? "true" : "false"); break;
    case VALUE_STR: str_add(out, v.s); break;
    }
}

void value_json(struct value v, struct str *out)
{
    switch (v.kind) {
    case VALUE_ABSENT: break;
    case VALUE_INT: json_put_int(out, v.i); break;
    case VALUE_REAL: json_put_num(out, v.r); break;
    case VALUE_BOOL: json_put_bool(out, v.b); break;
    case VALUE_STR: json_put_str(out, v.s); break;
    }
}

/* JSON knows one kind of number; here 3 is an integer and 3.0 is not, as in Python. */
static struct value scan_number(struct json *j)
{
    struct value v = {.kind = VALUE_ABSENT};
    struct slice raw = json_raw(j);
    bool real = false;
    for (size_t i = 0; i < raw.len; i++)
        real |= raw.p[i] == '.' || raw.p[i] == 'e' || raw.p[i] == 'E';
    if (j->error)
        return v;
    if (real && num_parse(raw.p, raw.len, &v.r) == 0 && isfinite(v.r))
        v.kind = VALUE_REAL;
    else if (!real && num_parse_int(raw.p, raw.len, &v.i) == 0)
        v.kind = VALUE_INT;
    else
        json_fail(j, "the number is not a finite one in 64 bits");
    return v;
}

static struct value scan_string(struct json *j)
{
    struct value v = {.kind = VALUE_ABSENT};
    struct slice raw = json_string(j);
    if (j->error)
        return v;
    v.s = json_text(raw);
    if (v.s)
        v.kind = VALUE_STR;
    else
        json_fail(j, "the text of a parameter cannot hold a NUL byte");
    return v;
}

struct value value_scan(struct json *j)
{
    switch (json_peek(j)) {
    case JSON_NUMBER: return scan_number(j);
    case JSON_STRING: return scan_string(j);
    case JSON_BOOL: return (struct value){.kind = VALUE_BOOL, .b = json_bool(j)};
    default: break;
    }
    json_fail(j, "a parameter is a number, a text, true or false");
    return (struct value){.kind = VALUE_ABSENT};
}
