/* Reading packets.
 *
 * Whoever sends a packet has been authenticated, but may be a newer release, or broken:
 * every value is checked here, so that an item that packet_next() returns is whole. */
#include "wire/msg_fields.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/vec.h"
#include "wire/trial.h"
#include "wire/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct packet {
    const char *at, *end; /* what is not read yet */
    uint64_t number;      /* of the next numbered item */
    struct str text;      /* decoded strings of the item at hand */
    VEC(struct metric) metrics;
    VEC(struct open_attempt) open;
    VEC(struct gpu_use) gpus;
};

struct packet *packet_new(void)
{
    struct packet *p = mem_alloc(sizeof(*p));
    p->text = (struct str)STR_INIT;
    return p;
}

void packet_free(struct packet *p)
{
    if (!p)
        return;
    str_free(&p->text);
    vec_free(&p->metrics);
    vec_free(&p->open);
    vec_free(&p->gpus);
    free(p);
}

/* The next line without its newline; false at the end, and for a line that has none. */
static bool next_line(struct packet *p, struct slice *line)
{
    const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
    if (!newline)
        return false;
    *line = (struct slice){p->at, (size_t)(newline - p->at)};
    p->at = newline + 1;
    return true;
}

static int64_t read_integer(struct json *j, int64_t low, int64_t high)
{
    int64_t v = json_int(j);
    if (v < low || v > high)
        json_fail(j, "out of range");
    return v;
}

static uint64_t read_hex(struct json *j)
{
    uint64_t v = 0;
    struct slice s = json_string(j);
    if (!j->error && !hash_unhex(s.p, s.len, &v))
        json_fail(j, "16 hex digits are wanted");
    return v;
}

/* What a raw string says. p->text has room for all strings of the line, so it does not
 * move. */
static struct slice decoded(struct packet *p, const struct json *j, struct slice raw)
{
    if (j->error || !memchr(raw.p, '\\', raw.len))
        return raw;
    size_t start = p->text.len;
    json_unescape(raw, &p->text);
    return (struct slice){p->text.p + start, p->text.len - start};
}

int packet_open(struct packet *p, const char *data, size_t n, struct packet_head *h,
                struct err *e)
{
    struct json j;
    struct slice line, key;
    bool has_version = false, has_agent = false;

    p->at = data;
    p->end = data + n;
    *h = (struct packet_head){.release = {"", 0}};
    if (!next_line(p, &line))
        return err_set(e, ERR_PROTO, "a packet without a header line");
    str_cut(&p->text, 0);
    str_reserve(&p->text, line.len);
    json_begin(&j, line.p, line.len);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "rung")) {
            h->version = (int)read_integer(&j, 1, INT32_MAX);
            has_version = true;
        } else if (json_is(key, "release")) {
            h->release = decoded(p, &j, json_string(&j));
        } else if (json_is(key, "epoch")) {
            h->epoch = (int32_t)read_integer(&j, 0, INT32_MAX);
        } else if (json_is(key, "agent")) {
            h->agent = read_hex(&j);
            has_agent = true;
        } else if (json_is(key, "first")) {
            h->first = (uint64_t)read_integer(&j, 1, INT64_MAX);
        } else if (json_is(key, "ack")) {
            h->ack = (uint64_t)read_integer(&j, 0, INT64_MAX);
        } else {
            json_skip(&j);
        }
    }
    json_end(&j);
    if (j.error)
        return err_set(e, ERR_PROTO, "a packet's header: %s", j.error);
    if (!has_version || !has_agent || h->agent == 0)
        return err_set(e, ERR_PROTO, "a packet's header without rung or agent");
    p->number = h->first;
    return 0;
}

static int read_word(struct json *j, const char *const words[])
{
    struct slice s = json_string(j);
    int i = word_index(words, s);
    if (i < 0)
        json_fail(j, "an unknown word");
    return i < 0 ? 0 : i;
}

static void read_metrics(struct packet *p, struct json *j, struct item *it)
{
    struct slice key;
    p->metrics.n = 0;
    json_object(j);
    while (json_key(j, &key)) {
        struct metric m = {.name = decoded(p, j, key)};
        m.value = json_num(j);
        if (p->metrics.n == TRIAL_METRICS_MAX)
            json_fail(j, "too many");
        else if (!j->error && !trial_name_good(m.name))
            json_fail(j, "a name that no metric has");
        else
            vec_push(&p->metrics, m);
    }
    it->report.metrics = p->metrics.v;
    it->report.n_metrics = (int)p->metrics.n;
}

static void read_open(struct packet *p, struct json *j, struct item *it)
{
    p->open.n = 0;
    json_array(j);
    while (json_item(j)) {
        struct open_attempt a = {0};
        int32_t *const part[] = {&a.trial, &a.attempt, &a.slot};
        int n = 0;
        json_array(j);
        for (; json_item(j); n++) {
            if (n < 3)
                *part[n] = (int32_t)read_integer(j, 0, INT32_MAX);
            else if (n == 3)
                a.nonce = read_hex(j);
            else
                json_skip(j);
        }
        if (n < 4)
            json_fail(j, "an attempt has four members");
        vec_push(&p->open, a);
    }
    it->hello.open = p->open.v;
    it->hello.n_open = (int)p->open.n;
}

static void read_gpus(struct packet *p, struct json *j, struct item *it)
{
    p->gpus.n = 0;
    json_array(j);
    while (json_item(j)) {
        struct gpu_use g = {0};
        int32_t *const count[] = {&g.slot, &g.gpus};
        double *const use[] = {&g.util, &g.mem_used, &g.mem_total, &g.power};
        int n = 0;
        json_array(j);
        for (; json_item(j); n++) {
            if (n < 2)
                *count[n] = (int32_t)read_integer(j, 0, INT32_MAX);
            else if (n < 6)
                *use[n - 2] = json_num(j);
            else
                json_skip(j);
        }
        if (n < 6)
            json_fail(j, "the use of GPUs has six members");
        vec_push(&p->gpus, g);
    }
    it->hello.gpus = p->gpus.v;
    it->hello.n_gpus = (int)p->gpus.n;
}

static struct slice read_object(struct json *j)
{
    if (json_peek(j) != JSON_OBJECT)
        json_fail(j, "an object is wanted");
    return json_raw(j);
}

static void read_field(struct packet *p, struct json *j, const struct field *f,
                       struct item *it)
{
    void *at = (char *)it + f->at;
    switch (f->type) {
    case FIELD_INDEX: *(int32_t *)at = (int32_t)read_integer(j, 0, INT32_MAX); break;
    case FIELD_SLOTS:
        *(int32_t *)at = (int32_t)read_integer(j, 0, EVENT_SLOTS_MAX);
        break;
    case FIELD_INT: *(int *)at = (int)read_integer(j, INT32_MIN, INT32_MAX); break;
    case FIELD_COUNT: *(uint32_t *)at = (uint32_t)read_integer(j, 0, UINT32_MAX); break;
    case FIELD_LONG: *(int64_t *)at = json_int(j); break;
    case FIELD_STEP: *(int64_t *)at = read_integer(j, 0, INT64_MAX); break;
    case FIELD_NUMBER: *(uint64_t *)at = (uint64_t)read_integer(j, 0, INT64_MAX); break;
    case FIELD_HEX: *(uint64_t *)at = read_hex(j); break;
    case FIELD_REAL: *(double *)at = json_num(j); break;
    case FIELD_BOOL: *(bool *)at = json_bool(j); break;
    case FIELD_TEXT: *(struct slice *)at = decoded(p, j, json_string(j)); break;
    case FIELD_OBJECT: *(struct slice *)at = read_object(j); break;
    case FIELD_DECISION:
        *(enum decision *)at = (enum decision)read_word(j, decision_words);
        break;
    case FIELD_CAUSE:
        *(enum end_cause *)at = (enum end_cause)read_word(j, cause_words);
        break;
    case FIELD_METRICS: read_metrics(p, j, it); break;
    case FIELD_OPEN: read_open(p, j, it); break;
    case FIELD_GPUS: read_gpus(p, j, it); break;
    }
}

/* The field of a key, from fields[from] on and round again: writers keep to the table's
 * order, so that the first one looked at is mostly right. -1: there is none. */
static int find_field(const struct field *fields, int n, int from, struct slice key)
{
    for (int tried = 0, i = from; tried < n; tried++, i++) {
        if (i >= n)
            i = 0;
        const struct field *f = &fields[i];
        if (key.len + 4 == f->lead_len && memcmp(key.p, f->lead + 2, key.len) == 0)
            return i;
    }
    return -1;
}

static int item_error(const struct item_shape *shape, const struct field *f,
                      const char *what, struct err *e)
{
    return err_set(e, ERR_PROTO, "item %s: %.*s: %s", shape->name,
                   f ? (int)f->lead_len - 4 : 4, f ? f->lead + 2 : "line", what);
}

/* The members of an item behind its first one. */
static int read_members(struct packet *p, struct json *j, enum item_kind kind,
                        struct item *it, struct err *e)
{
    const struct item_shape *shape = &item_shapes[kind];
    const struct field *fields = shape->fields;
    struct slice key;
    uint32_t seen = 0;
    int n = 0, i = -1, next = 0;

    memset(it, 0, sizeof(*it));
    it->kind = kind;
    for (; fields[n].lead; n++)
        if (fields[n].type == FIELD_REAL && fields[n].optional)
            *(double *)((char *)it + fields[n].at) = NAN;
    while (json_key(j, &key)) {
        i = find_field(fields, n, next, key);
        if (i < 0) {
            json_skip(j);
            continue;
        }
        read_field(p, j, &fields[i], it);
        if (j->error)
            return item_error(shape, &fields[i], j->error, e);
        seen |= UINT32_C(1) << i;
        next = i + 1;
    }
    json_end(j);
    if (j->error)
        return item_error(shape, NULL, j->error, e);
    for (i = 0; i < n; i++)
        if (!fields[i].optional && !(seen >> i & 1))
            return item_error(shape, &fields[i], "missing", e);
    return 0;
}

static int unnumbered(const char *name, struct err *e)
{
    return err_set(e, ERR_PROTO, "item %s in a packet without first", name);
}

/* What is left of an item of a kind that this release does not know. */
static int skip_members(struct packet *p, struct json *j, struct err *e)
{
    struct slice key;
    bool numbered = false;
    while (json_key(j, &key)) {
        if (json_is(key, "n"))
            numbered = json_int(j) == 1;
        else
            json_skip(j);
    }
    json_end(j);
    if (j->error)
        return err_set(e, ERR_PROTO, "an unknown item: %s", j->error);
    if (numbered && p->number == 0)
        return unnumbered("of an unknown kind", e);
    p->number += numbered;
    return 0;
}

static enum item_kind kind_of(struct slice name)
{
    for (int k = ITEM_NONE + 1; k < ITEM_KINDS; k++)
        if (slice_eq(name, item_shapes[k].name))
            return (enum item_kind)k;
    return ITEM_NONE;
}

/* One item line: 1, 0 when it was skipped, or ERR_PROTO. */
static int read_item(struct packet *p, struct slice line, struct item *it,
                     uint64_t *number, struct err *e)
{
    struct json j;
    struct slice key;
    p->text.len = 0;
    str_reserve(&p->text, line.len);
    json_begin(&j, line.p, line.len);
    json_object(&j);
    if (!json_key(&j, &key) || !json_is(key, "item"))
        return err_set(e, ERR_PROTO, "a line that does not begin with its item's name");
    enum item_kind kind = kind_of(json_string(&j));
    if (kind == ITEM_NONE)
        return skip_members(p, &j, e);
    int rc = read_members(p, &j, kind, it, e);
    if (rc)
        return rc;
    bool numbered = item_shapes[kind].numbered;
    if (numbered && p->number == 0)
        return unnumbered(item_name(kind), e);
    *number = numbered ? p->number++ : 0;
    return 1;
}

int packet_next(struct packet *p, struct item *it, uint64_t *number, struct err *e)
{
    struct slice line;
    int rc = 0;
    while (rc == 0 && p->at < p->end) {
        if (!next_line(p, &line))
            rc = err_set(e, ERR_PROTO, "a packet that is cut short");
        else
            rc = read_item(p, line, it, number, e);
    }
    if (rc < 0)
        p->at = p->end;
    return rc;
}
