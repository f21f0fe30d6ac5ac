#include "store/event_line.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct event_scratch {
    VEC(struct metric) metrics;
    VEC(double) numbers; /* no event has more than one field of these */
    struct str text;     /* decoded texts; never moves within a line */
};

struct event_scratch *event_scratch_new(void)
{
    struct event_scratch *s = mem_alloc(sizeof(*s));

    s->text = (struct str)STR_INIT;
    return s;
}

void event_scratch_free(struct event_scratch *s)
{
    if (!s)
        return;
    vec_free(&s->metrics);
    vec_free(&s->numbers);
    str_free(&s->text);
    free(s);
}

/* ---- lines as such ---- */

bool line_whole(const char *line, size_t n)
{
    char sum[17];

    if (n <= LINE_TAIL_LEN)
        return false;
    const char *tail = line + n - LINE_TAIL_LEN;
    hash_hex(sum, hash64(line, n - LINE_TAIL_LEN));
    return memcmp(tail, ",\"x\":\"", 6) == 0 && memcmp(tail + 22, "\"}", 2) == 0 &&
           memcmp(tail + 6, sum, 16) == 0;
}

bool line_commits(const char *line, size_t n)
{
    struct json j;
    struct slice key;

    if (!line_whole(line, n))
        return false;
    json_begin(&j, line, n);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "c"))
            return json_int(&j) == 1;
        json_skip(&j);
    }
    return false;
}

/* ---- one line ---- */

/* A line in the making. */
struct parse {
    struct json j;
    struct event *ev;
    struct event_scratch *scratch;
    size_t len;
    bool newer; /* it holds a word that only a newer release knows */
};

static struct slice decoded(struct parse *p, struct slice raw)
{
    struct str *text = &p->scratch->text;
    size_t from = text->len;

    if (!memchr(raw.p, '\\', raw.len))
        return raw;
    if (from == 0) /* decoding never lengthens: this is enough for the whole line */
        str_reserve(text, p->len);
    json_unescape(raw, text);
    return (struct slice){text->p + from, text->len - from};
}

static int64_t parse_range(struct parse *p, int64_t min, int64_t max)
{
    int64_t v = json_int(&p->j);

    if (v < min || v > max) {
        json_fail(&p->j, "an integer out of range");
        return 0;
    }
    return v;
}

static uint64_t parse_hex(struct parse *p)
{
    struct slice hex = json_string(&p->j);
    uint64_t v = 0;

    if (!p->j.error && !hash_unhex(hex.p, hex.len, &v))
        json_fail(&p->j, "16 hex digits are wanted");
    return v;
}

static void parse_numbers(struct parse *p, struct numbers *to)
{
    struct event_scratch *s = p->scratch;

    s->numbers.n = 0;
    json_array(&p->j);
    while (json_item(&p->j))
        vec_push(&s->numbers, json_num(&p->j));
    *to = (struct numbers){s->numbers.v, (int)s->numbers.n};
}

static void parse_metrics(struct parse *p)
{
    struct event_scratch *s = p->scratch;
    struct metric m;

    s->metrics.n = 0;
    json_object(&p->j);
    while (json_key(&p->j, &m.name)) {
        m.name = decoded(p, m.name);
        m.value = json_num(&p->j);
        vec_push(&s->metrics, m);
    }
    p->ev->report.metrics = s->metrics.v;
    p->ev->report.n_metrics = (int)s->metrics.n;
}

/* The ordinal of a word of one of the enums; the checksum was right, so a word that is
 * none was written by a newer release. */
static int parse_word(struct parse *p, enum field_type type)
{
    struct slice word = json_string(&p->j);
    int i = -1;

    if (p->j.error)
        return 0;
    switch (type) {
    case FIELD_DECISION:
        i = decision_of(word) == DECISION_NONE ? -1 : (int)decision_of(word);
        break;
    case FIELD_OUTCOME: i = outcome_of(word); break;
    case FIELD_CAUSE: i = cause_of(word); break;
    default: break;
    }
    p->newer |= i < 0;
    return i < 0 ? 0 : i;
}

static void parse_field(struct parse *p, const struct field *f)
{
    void *to = (char *)p->ev + f->offset;

    switch ((enum field_type)f->type) {
    case FIELD_I32: *(int32_t *)to = (int32_t)parse_range(p, INT32_MIN, INT32_MAX); break;
    case FIELD_U32: *(uint32_t *)to = (uint32_t)parse_range(p, 0, UINT32_MAX); break;
    case FIELD_I64: *(int64_t *)to = json_int(&p->j); break;
    case FIELD_NUM: *(double *)to = json_num(&p->j); break;
    case FIELD_BOOL: *(bool *)to = json_bool(&p->j); break;
    case FIELD_HEX: *(uint64_t *)to = parse_hex(p); break;
    case FIELD_TEXT: *(struct slice *)to = decoded(p, json_string(&p->j)); break;
    case FIELD_JSON: *(struct slice *)to = json_raw(&p->j); break;
    case FIELD_DECISION:
        *(enum decision *)to = (enum decision)parse_word(p, f->type);
        break;
    case FIELD_OUTCOME: *(enum outcome *)to = (enum outcome)parse_word(p, f->type); break;
    case FIELD_CAUSE:
        *(enum end_cause *)to = (enum end_cause)parse_word(p, f->type);
        break;
    case FIELD_NUMBERS: parse_numbers(p, to); break;
    case FIELD_METRICS: parse_metrics(p); break;
    case FIELD_FORMAT: p->newer |= json_int(&p->j) != JOURNAL_FORMAT; break;
    }
}

/* What the line means by not having the field. */
static void default_field(struct event *ev, const struct field *f)
{
    void *to = (char *)ev + f->offset;

    if (f->otherwise == ELSE_NAN)
        *(double *)to = NAN;
    else if (f->type == FIELD_TEXT || f->type == FIELD_JSON)
        *(struct slice *)to = SLICE("");
    else if (f->otherwise == ELSE_MINUS1 && f->type == FIELD_I32)
        *(int32_t *)to = -1;
    else if (f->otherwise == ELSE_MINUS1)
        *(int64_t *)to = -1;
}

static bool has_key(const struct field *f, struct slice key)
{
    return f->key_len == key.len + 4 && memcmp(f->key + 2, key.p, key.len) == 0;
}

/* The field of that key, -1 for none. */
static int find_field(const struct fields *fields, struct slice key)
{
    for (int i = 0; i < fields->n; i++)
        if (has_key(&fields->v[i], key))
            return i;
    return -1;
}

/* Reads the key of fields->v[i] if it is next, as it is in lines that rung wrote but for
 * fields left out: nothing is to be searched then. */
static bool next_is(struct parse *p, const struct fields *fields, int i)
{
    return i < fields->n && json_ahead(&p->j, fields->v[i].key, fields->v[i].key_len);
}

/* All members behind "e"; the bits of the fields that were there. */
static uint32_t parse_members(struct parse *p, const struct fields *fields, bool *first)
{
    struct slice key;
    uint32_t seen = 0;
    bool timed = false;
    int at = 0;

    for (;;) {
        int i = at;
        if (!next_is(p, fields, i)) {
            if (!json_key(&p->j, &key))
                break;
            i = find_field(fields, key);
        }
        if (i >= 0) {
            if (seen & UINT32_C(1) << i)
                json_fail(&p->j, "a field that comes twice");
            seen |= UINT32_C(1) << i;
            at = i + 1;
            parse_field(p, &fields->v[i]);
        } else if (json_is(key, "t")) {
            p->ev->time = json_num(&p->j);
            timed = true;
        } else if (json_is(key, "c")) {
            *first = json_int(&p->j) == 1;
        } else {
            json_skip(&p->j);
        }
    }
    json_end(&p->j);
    if (!timed)
        json_fail(&p->j, "a line without its time, \"t\"");
    return seen;
}

int line_parse(const char *line, size_t n, struct event *ev, bool *first,
               struct event_scratch *scratch, struct err *e)
{
    struct parse p = {.ev = ev, .scratch = scratch, .len = n};
    struct slice key, kind = {"", 0};
    bool begins = false;

    str_cut(&scratch->text, 0);
    *ev = (struct event){.trial = -1};
    json_begin(&p.j, line, n);
    json_object(&p.j);
    if (json_key(&p.j, &key) && json_is(key, "e"))
        kind = json_string(&p.j);
    else
        json_fail(&p.j, "a line that does not begin with its kind, \"e\"");
    if (p.j.error)
        return err_set(e, ERR_CORRUPT, "%s", p.j.error);
    ev->kind = event_kind_of(kind);
    if (ev->kind == EVENT_NONE)
        return err_set(e, ERR_VERSION,
                       "an event '%.*s', which this release does not know",
                       (int)(kind.len > 64 ? 64 : kind.len), kind.p);

    struct fields fields = event_fields(ev->kind);
    uint32_t seen = parse_members(&p, &fields, &begins);
    if (p.j.error)
        return err_set(e, ERR_CORRUPT, "%s", p.j.error);
    for (int i = 0; i < fields.n; i++) {
        const struct field *f = &fields.v[i];
        if (seen & UINT32_C(1) << i)
            continue;
        if (f->otherwise == ELSE_FAIL)
            return err_set(e, ERR_CORRUPT, "an event '%s' without its '%.*s'",
                           event_name(ev->kind), f->key_len - 4, f->key + 2);
        default_field(ev, f);
    }
    if (p.newer)
        return err_set(e, ERR_VERSION,
                       "written by a newer release of rung: an event '%s' "
                       "with words that this release does not know",
                       event_name(ev->kind));
    if (first)
        *first = begins;
    return 0;
}

int event_decode(const char *line, size_t n, struct event *ev, bool *first,
                 struct event_scratch *scratch, struct err *e)
{
    if (!line_whole(line, n))
        return err_set(e, ERR_CORRUPT, "the checksum at its end is wrong or missing");
    return line_parse(line, n, ev, first, scratch, e);
}
