#include "wire/trial.h"

#include "base/json.h"
#include "base/suggest.h"
#include "wire/words.h"

#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"step", "metrics", "saved"};
/* Columns of sweep.h5 that no metric may be confused with. */
static const char *const reserved[] = {"trial", "attempt", "step",
                                       "rung",  "time",    "elapsed"};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int unknown_key(struct slice key, struct err *e)
{
    char name[TRIAL_NAME_MAX + 1];
    size_t n = key.len < TRIAL_NAME_MAX ? key.len : TRIAL_NAME_MAX;
    memcpy(name, key.p, n);
    name[n] = '\0';
    const char *near = suggest(name, keys, COUNT(keys));
    if (near)
        return err_set(e, ERR_PROTO, "unknown key '%s' (did you mean '%s'?)", name, near);
    return err_set(e, ERR_PROTO, "unknown key '%s' (there are step, metrics and saved)",
                   name);
}

/* Control characters: C0, DEL, and C1, which UTF-8 has as C2 80 to C2 9F. */
static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f ||
            (c == 0xc2 && i + 1 < s.len && (unsigned char)s.p[i + 1] < 0xa0))
            return true;
    }
    return false;
}

bool trial_name_good(struct slice name)
{
    return name.len > 0 && name.len <= TRIAL_NAME_MAX && !has_control(name);
}

static int check_name(const struct trial_line *l, struct slice name, struct err *e)
{
    if (name.len == 0)
        return err_set(e, ERR_PROTO, "a metric without a name");
    if (name.len > TRIAL_NAME_MAX)
        return err_set(e, ERR_PROTO,
                       "the metric's name '%.40s...' has more than %d bytes", name.p,
                       TRIAL_NAME_MAX);
    if (has_control(name))
        return err_set(e, ERR_PROTO, "a metric's name with a control character");
    for (size_t i = 0; i < COUNT(reserved); i++)
        if (slice_eq(name, reserved[i]))
            return err_set(e, ERR_PROTO,
                           "'%s' is rung's own: a metric needs another name",
                           reserved[i]);
    for (size_t i = 0; i < l->metrics.n; i++) {
        struct slice other = l->metrics.v[i].name;
        if (other.len == name.len && memcmp(other.p, name.p, name.len) == 0)
            return err_set(e, ERR_PROTO, "metric '%.*s' twice", (int)name.len, name.p);
    }
    return 0;
}

static int read_metrics(struct json *j, struct trial_line *out, struct err *e)
{
    struct slice raw;
    json_object(j);
    if (j->error)
        return err_set(e, ERR_PROTO, "metrics: %s", j->error);
    while (json_key(j, &raw)) {
        size_t start = out->names.len;
        json_unescape(raw, &out->names);
        struct metric m = {.name = {out->names.p + start, out->names.len - start}};
        int rc = check_name(out, m.name, e);
        if (rc)
            return rc;
        if (out->metrics.n == TRIAL_METRICS_MAX)
            return err_set(e, ERR_PROTO, "more than %d metrics", TRIAL_METRICS_MAX);
        m.value = json_num(j);
        if (j->error)
            return err_set(e, ERR_PROTO, "metric '%.*s': %s", (int)m.name.len, m.name.p,
                           j->error);
        vec_push(&out->metrics, m);
    }
    return 0;
}

static int64_t read_step(struct json *j)
{
    int64_t step = json_int(j);
    if (step < 0)
        json_fail(j, "a step is 0 or more");
    return step;
}

static int read_members(struct json *j, struct trial_line *out, bool *metrics,
                        struct err *e)
{
    struct slice key;
    json_object(j);
    while (json_key(j, &key)) {
        int rc = 0;
        if (json_is(key, "step")) {
            out->step = read_step(j);
            out->report = true;
        } else if (json_is(key, "metrics")) {
            *metrics = true;
            rc = read_metrics(j, out, e);
        } else if (json_is(key, "saved")) {
            out->saved_step = read_step(j);
            out->saved = true;
        } else {
            rc = unknown_key(key, e);
        }
        if (rc)
            return rc;
        if (j->error)
            return err_set(e, ERR_PROTO, "%.*s: %s", (int)key.len, key.p, j->error);
    }
    json_end(j);
    return j->error ? err_set(e, ERR_PROTO, "not a JSON object: %s", j->error) : 0;
}

int trial_line_parse(const char *text, size_t n, struct trial_line *out, struct err *e)
{
    struct json j;
    bool metrics = false;
    out->report = out->saved = false;
    out->step = out->saved_step = 0;
    out->metrics.n = 0;
    str_cut(&out->names, 0);
    if (n > TRIAL_LINE_MAX)
        return err_set(e, ERR_PROTO, "a line of more than %d bytes", TRIAL_LINE_MAX);
    str_reserve(&out->names, n); /* all names fit, so they do not move */
    json_begin(&j, text, n);
    int rc = read_members(&j, out, &metrics, e);
    if (rc)
        return rc;
    if (metrics && !out->report)
        return err_set(e, ERR_PROTO, "metrics without a step");
    if (!out->report && !out->saved)
        return err_set(e, ERR_PROTO, "neither step nor saved");
    return 0;
}

void trial_line_free(struct trial_line *l)
{
    vec_free(&l->metrics);
    str_free(&l->names);
}

void trial_answer(struct str *out, enum decision d, int64_t until, bool save)
{
    json_put_object(out);
    json_put_key(out, "decision");
    json_put_str(out, decision_words[d]);
    if (until >= 0) {
        json_put_key(out, "until");
        json_put_int(out, until);
    }
    if (save) {
        json_put_key(out, "save");
        json_put_bool(out, true);
    }
    str_addn(out, "}\n", 2);
}

void trial_answer_error(struct str *out, const char *text)
{
    json_put_object(out);
    json_put_key(out, "error");
    json_put_str(out, text);
    str_addn(out, "}\n", 2);
}
