#include "store/event_line.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/num.h"

#include <math.h>

static const void *place(const struct event *ev, const struct field *f)
{
    return (const char *)ev + f->offset;
}

/* The numbers of all integer fields, and the ordinals of enums. */
static int64_t whole_of(const struct event *ev, const struct field *f)
{
    const void *p = place(ev, f);

    switch ((enum field_type)f->type) {
    case FIELD_I32: return *(const int32_t *)p;
    case FIELD_U32: return *(const uint32_t *)p;
    case FIELD_I64: return *(const int64_t *)p;
    case FIELD_BOOL: return *(const bool *)p;
    case FIELD_HEX: return *(const uint64_t *)p != 0;
    case FIELD_DECISION: return *(const enum decision *)p;
    case FIELD_OUTCOME: return *(const enum outcome *)p;
    case FIELD_CAUSE: return *(const enum end_cause *)p;
    case FIELD_TEXT:
    case FIELD_JSON: return ((const struct slice *)p)->len != 0;
    case FIELD_NUMBERS: return ((const struct numbers *)p)->n;
    case FIELD_METRICS: return ev->report.n_metrics;
    case FIELD_NUM:
    case FIELD_FORMAT: break;
    }
    return 1;
}

static bool left_out(const struct event *ev, const struct field *f)
{
    switch ((enum field_else)f->otherwise) {
    case ELSE_FAIL: break;
    case ELSE_NOTHING: return whole_of(ev, f) == 0;
    case ELSE_MINUS1: return whole_of(ev, f) == -1;
    case ELSE_NAN: return isnan(*(const double *)place(ev, f));
    }
    return false;
}

static void put_int(struct str *out, int64_t v)
{
    char buf[NUM_MAX];

    str_addn(out, buf, num_format_int(buf, v));
}

static void put_hex(struct str *out, uint64_t v)
{
    char hex[17];

    hash_hex(hex, v);
    str_addc(out, '"');
    str_addn(out, hex, 16);
    str_addc(out, '"');
}

/* A line feed can only be a blank between the parts of a JSON value. */
static void put_json(struct str *out, struct slice json)
{
    size_t from = out->len;
    char *p;

    str_addn(out, json.p, json.len);
    for (p = out->p + from; (p = memchr(p, '\n', (size_t)(out->p + out->len - p))); p++)
        *p = ' ';
}

static void put_numbers(struct str *out, const struct numbers *numbers)
{
    json_put_array(out);
    for (int i = 0; i < numbers->n; i++)
        json_put_num(out, numbers->v[i]);
    json_put_close(out, ']');
}

static void put_metrics(struct str *out, const struct event *ev)
{
    json_put_object(out);
    for (int i = 0; i < ev->report.n_metrics; i++) {
        json_put_keyn(out, ev->report.metrics[i].name);
        json_put_num(out, ev->report.metrics[i].value);
    }
    json_put_close(out, '}');
}

static void put_field(struct str *out, const struct event *ev, const struct field *f)
{
    const void *p = place(ev, f);

    str_addn(out, f->key, f->key_len);
    switch ((enum field_type)f->type) {
    case FIELD_I32:
    case FIELD_U32:
    case FIELD_I64: put_int(out, whole_of(ev, f)); break;
    case FIELD_NUM: json_put_num(out, *(const double *)p); break;
    case FIELD_BOOL: json_put_bool(out, *(const bool *)p); break;
    case FIELD_HEX: put_hex(out, *(const uint64_t *)p); break;
    case FIELD_TEXT: json_put_strn(out, *(const struct slice *)p); break;
    case FIELD_JSON: put_json(out, *(const struct slice *)p); break;
    case FIELD_DECISION:
        json_put_str(out, decision_name(*(const enum decision *)p));
        break;
    case FIELD_OUTCOME: json_put_str(out, outcome_name(*(const enum outcome *)p)); break;
    case FIELD_CAUSE: json_put_str(out, cause_name(*(const enum end_cause *)p)); break;
    case FIELD_NUMBERS: put_numbers(out, p); break;
    case FIELD_METRICS: put_metrics(out, ev); break;
    case FIELD_FORMAT: put_int(out, JOURNAL_FORMAT); break;
    }
}

void event_encode(const struct event *ev, const struct verdict *v, bool first,
                  struct str *out)
{
    struct fields fields = event_fields(ev->kind);
    size_t from = out->len;
    struct event decided;
    uint64_t sum;

    if (ev->kind == EVENT_REPORT && v) {
        decided = *ev;
        decided.report.decision = v->decision;
        decided.report.rung = v->rung;
        ev = &decided;
    }
    str_add(out, "{\"e\":\"");
    str_add(out, event_name(ev->kind));
    str_add(out, "\",\"t\":");
    json_put_num(out, ev->time);
    if (first)
        str_add(out, ",\"c\":1");
    for (int i = 0; i < fields.n; i++)
        if (!left_out(ev, &fields.v[i]))
            put_field(out, ev, &fields.v[i]);
    sum = hash64(out->p + from, out->len - from);
    str_add(out, ",\"x\":");
    put_hex(out, sum);
    str_addc(out, '}');
}
