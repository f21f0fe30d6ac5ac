/* Writing packets. */
#include "wire/msg_fields.h"

#include "base/hash.h"
#include "base/json.h"
#include "wire/words.h"

#include <math.h>

#define FIELD(key, type, member)                                                         \
    ",\"" key "\":", sizeof(key) + 3, FIELD_##type, offsetof(struct item, member)
enum { NEEDED, OPTIONAL };

static const struct field hello_fields[] = {
    {FIELD("slots", SLOTS, hello.slots), NEEDED},
    {FIELD("closed", INDEX, hello.closed), NEEDED},
    {FIELD("oldest", NUMBER, hello.oldest), NEEDED},
    {FIELD("pid", LONG, hello.pid), NEEDED},
    {FIELD("host", TEXT, hello.host), NEEDED},
    {FIELD("job", TEXT, hello.job), OPTIONAL},
    {FIELD("left", REAL, hello.left), OPTIONAL},
    {FIELD("open", OPEN, hello.open), OPTIONAL},
    {NULL, 0, 0, 0, 0},
};

static const struct field beat_fields[] = {
    {FIELD("oldest", NUMBER, hello.oldest), OPTIONAL},
    {FIELD("left", REAL, hello.left), OPTIONAL},
    {FIELD("open", OPEN, hello.open), OPTIONAL},
    {FIELD("gpus", GPUS, hello.gpus), OPTIONAL},
    {NULL, 0, 0, 0, 0},
};

static const struct field ask_fields[] = {
    {FIELD("slot", INDEX, ask.slot), NEEDED},
    {FIELD("ask", COUNT, ask.ask), NEEDED},
    {NULL, 0, 0, 0, 0},
};

static const struct field report_fields[] = {
    {FIELD("trial", INDEX, report.trial), NEEDED},
    {FIELD("attempt", INDEX, report.attempt), NEEDED},
    {FIELD("nonce", HEX, report.nonce), NEEDED},
    {FIELD("number", COUNT, report.number), NEEDED},
    {FIELD("step", STEP, report.step), NEEDED},
    {FIELD("elapsed", REAL, report.elapsed), NEEDED},
    {FIELD("wait", BOOL, report.wait), OPTIONAL},
    {FIELD("metrics", METRICS, report.metrics), OPTIONAL},
    {NULL, 0, 0, 0, 0},
};

static const struct field saved_fields[] = {
    {FIELD("trial", INDEX, saved.trial), NEEDED},
    {FIELD("attempt", INDEX, saved.attempt), NEEDED},
    {FIELD("nonce", HEX, saved.nonce), NEEDED},
    {FIELD("number", COUNT, saved.number), NEEDED},
    {FIELD("step", STEP, saved.step), NEEDED},
    {NULL, 0, 0, 0, 0},
};

static const struct field end_fields[] = {
    {FIELD("trial", INDEX, end.trial), NEEDED},
    {FIELD("attempt", INDEX, end.attempt), NEEDED},
    {FIELD("nonce", HEX, end.nonce), NEEDED},
    {FIELD("exit_code", INT, end.facts.exit_code), OPTIONAL},
    {FIELD("signal", INT, end.facts.signal), OPTIONAL},
    {FIELD("oom", BOOL, end.facts.oom), OPTIONAL},
    {FIELD("cause", CAUSE, end.facts.cause), OPTIONAL},
    {FIELD("answered", DECISION, end.facts.answered), OPTIONAL},
    {FIELD("last_step", LONG, end.facts.last_step), OPTIONAL},
    {FIELD("reports", COUNT, end.facts.reports), OPTIONAL},
    {FIELD("started", REAL, end.facts.started), OPTIONAL},
    {FIELD("ended", REAL, end.facts.ended), OPTIONAL},
    {FIELD("cpu_seconds", REAL, end.facts.cpu_seconds), OPTIONAL},
    {FIELD("max_rss", REAL, end.facts.max_rss), OPTIONAL},
    {FIELD("gpu_seconds", REAL, end.facts.gpu_seconds), OPTIONAL},
    {FIELD("gpu_util", REAL, end.facts.gpu_util), OPTIONAL},
    {FIELD("gpu_mem_peak", REAL, end.facts.gpu_mem_peak), OPTIONAL},
    {FIELD("gpu_energy", REAL, end.facts.gpu_energy), OPTIONAL},
    {FIELD("energy", REAL, end.facts.energy), OPTIONAL},
    {FIELD("node", TEXT, end.facts.node), OPTIONAL},
    {FIELD("slurm_job", TEXT, end.facts.slurm_job), OPTIONAL},
    {FIELD("slurm_step", TEXT, end.facts.slurm_step), OPTIONAL},
    {FIELD("slurm_state", TEXT, end.facts.slurm_state), OPTIONAL},
    {FIELD("note", TEXT, end.facts.note), OPTIONAL},
    {NULL, 0, 0, 0, 0},
};

static const struct field work_fields[] = {
    {FIELD("slot", INDEX, work.slot), NEEDED},
    {FIELD("ask", COUNT, work.ask), NEEDED},
    {FIELD("trial", INDEX, work.trial), NEEDED},
    {FIELD("attempt", INDEX, work.attempt), NEEDED},
    {FIELD("nonce", HEX, work.nonce), NEEDED},
    {FIELD("start", LONG, work.start), NEEDED},
    {FIELD("until", LONG, work.until), NEEDED},
    {FIELD("seed", HEX, work.seed), NEEDED},
    {FIELD("step", BOOL, work.step), OPTIONAL},
    {FIELD("source_trial", INDEX, work.source_trial), OPTIONAL},
    {FIELD("source_attempt", INDEX, work.source_attempt), OPTIONAL},
    {FIELD("params", OBJECT, work.params), NEEDED},
    {NULL, 0, 0, 0, 0},
};

static const struct field answer_fields[] = {
    {FIELD("trial", INDEX, answer.trial), NEEDED},
    {FIELD("attempt", INDEX, answer.attempt), NEEDED},
    {FIELD("number", COUNT, answer.number), NEEDED},
    {FIELD("decision", DECISION, answer.decision), NEEDED},
    {FIELD("until", LONG, answer.until), NEEDED},
    {NULL, 0, 0, 0, 0},
};

static const struct field kill_fields[] = {
    {FIELD("trial", INDEX, kill.trial), NEEDED},
    {FIELD("attempt", INDEX, kill.attempt), NEEDED},
    {FIELD("nonce", HEX, kill.nonce), NEEDED},
    {FIELD("cause", CAUSE, kill.cause), NEEDED},
    {NULL, 0, 0, 0, 0},
};

static const struct field why_fields[] = {
    {FIELD("text", TEXT, why.text), OPTIONAL},
    {NULL, 0, 0, 0, 0},
};

static const struct field leave_fields[] = {
    {FIELD("text", TEXT, why.text), OPTIONAL},
    {FIELD("evicted", BOOL, why.evicted), OPTIONAL},
    {NULL, 0, 0, 0, 0},
};

_Static_assert(sizeof(end_fields) / sizeof(end_fields[0]) <= FIELDS_MAX, "the longest");

/* Kinds that have the members of another, or none. */
#define retire_fields  ask_fields
#define bye_fields     why_fields
#define refused_fields why_fields
#define who_fields     (why_fields + 1)
#define welcome_fields (why_fields + 1)
#define pause_fields   (why_fields + 1)

#define NUMBERED_0              ""
#define NUMBERED_1              ",\"n\":1"
#define OPENING(name, numbered) "{\"item\":\"" #name "\"" NUMBERED_##numbered

const struct item_shape item_shapes[ITEM_KINDS] = {
#define SHAPE_(NAME, name, numbered)                                                     \
    [ITEM_##NAME] = {#name,                                                              \
                     numbered,                                                           \
                     {OPENING(name, numbered), sizeof(OPENING(name, numbered)) - 1},     \
                     name##_fields},
    ITEM_MAP(SHAPE_)
#undef SHAPE_
};

const char *item_name(enum item_kind k)
{
    return item_shapes[k].name;
}

bool item_numbered(enum item_kind k)
{
    return item_shapes[k].numbered;
}

static void put_hex(struct str *out, uint64_t v)
{
    char hex[17];
    hash_hex(hex, v);
    str_addc(out, '"');
    str_addn(out, hex, 16);
    str_addc(out, '"');
}

static void put_metrics(struct str *out, const struct metric metrics[], int n)
{
    json_put_object(out);
    for (int i = 0; i < n; i++) {
        json_put_keyn(out, metrics[i].name);
        json_put_num(out, metrics[i].value);
    }
    json_put_close(out, '}');
}

/* [[trial, attempt, slot, "nonce"], ...] */
static void put_open(struct str *out, const struct open_attempt open[], int n)
{
    json_put_array(out);
    for (int i = 0; i < n; i++) {
        json_put_array(out);
        json_put_int(out, open[i].trial);
        json_put_int(out, open[i].attempt);
        json_put_int(out, open[i].slot);
        str_addc(out, ',');
        put_hex(out, open[i].nonce);
        json_put_close(out, ']');
    }
    json_put_close(out, ']');
}

/* [[slot, how many, util, mem_used, mem_total, power], ...] */
static void put_gpus(struct str *out, const struct gpu_use gpus[], int n)
{
    json_put_array(out);
    for (int i = 0; i < n; i++) {
        json_put_array(out);
        json_put_int(out, gpus[i].slot);
        json_put_int(out, gpus[i].gpus);
        json_put_num(out, gpus[i].util);
        json_put_num(out, gpus[i].mem_used);
        json_put_num(out, gpus[i].mem_total);
        json_put_num(out, gpus[i].power);
        json_put_close(out, ']');
    }
    json_put_close(out, ']');
}

/* The value of an integer field. */
static int64_t integer(const struct field *f, const void *at)
{
    switch (f->type) {
    case FIELD_INDEX:
    case FIELD_SLOTS: return *(const int32_t *)at;
    case FIELD_INT: return *(const int *)at;
    case FIELD_COUNT: return *(const uint32_t *)at;
    case FIELD_LONG:
    case FIELD_STEP: return *(const int64_t *)at;
    case FIELD_NUMBER: return (int64_t) * (const uint64_t *)at;
    case FIELD_BOOL: return *(const bool *)at;
    case FIELD_DECISION: return *(const enum decision *)at;
    case FIELD_CAUSE: return *(const enum end_cause *)at;
    default: return 1;
    }
}

static bool absent(const struct field *f, const struct item *it, const void *at)
{
    switch (f->type) {
    case FIELD_REAL: return isnan(*(const double *)at);
    case FIELD_TEXT: return ((const struct slice *)at)->len == 0;
    case FIELD_METRICS: return it->report.n_metrics == 0;
    case FIELD_OPEN: return it->hello.n_open == 0;
    case FIELD_GPUS: return it->hello.n_gpus == 0;
    default: return integer(f, at) == 0;
    }
}

static void put_field(struct str *out, const struct field *f, const struct item *it)
{
    const void *at = (const char *)it + f->at;
    if (f->optional && absent(f, it, at))
        return;
    str_addn(out, f->lead, f->lead_len);
    switch (f->type) {
    case FIELD_HEX: put_hex(out, *(const uint64_t *)at); break;
    case FIELD_REAL: json_put_num(out, *(const double *)at); break;
    case FIELD_BOOL: json_put_bool(out, *(const bool *)at); break;
    case FIELD_TEXT: json_put_strn(out, *(const struct slice *)at); break;
    case FIELD_OBJECT: json_put_raw(out, *(const struct slice *)at); break;
    case FIELD_DECISION: json_put_str(out, decision_words[integer(f, at)]); break;
    case FIELD_CAUSE: json_put_str(out, cause_words[integer(f, at)]); break;
    case FIELD_METRICS: put_metrics(out, it->report.metrics, it->report.n_metrics); break;
    case FIELD_OPEN: put_open(out, it->hello.open, it->hello.n_open); break;
    case FIELD_GPUS: put_gpus(out, it->hello.gpus, it->hello.n_gpus); break;
    default: json_put_int(out, integer(f, at)); break;
    }
}

void item_encode(const struct item *it, struct str *out)
{
    const struct item_shape *shape = &item_shapes[it->kind];
    str_addn(out, shape->opening.p, shape->opening.len);
    for (const struct field *f = shape->fields; f->lead; f++)
        put_field(out, f, it);
    str_addn(out, "}\n", 2);
}

void packet_begin(struct str *out, const struct packet_head *h)
{
    str_addn(out, "{\"rung\":", 8);
    json_put_int(out, h->version);
    json_put_key(out, "release");
    json_put_strn(out, h->release);
    json_put_key(out, "epoch");
    json_put_int(out, h->epoch);
    json_put_key(out, "agent");
    put_hex(out, h->agent);
    if (h->first) {
        json_put_key(out, "first");
        json_put_int(out, (int64_t)h->first);
    }
    if (h->ack) {
        json_put_key(out, "ack");
        json_put_int(out, (int64_t)h->ack);
    }
    str_addn(out, "}\n", 2);
}
