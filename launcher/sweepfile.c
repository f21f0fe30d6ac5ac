#include "launcher/sweepfile.h"

#include "base/file.h"
#include "launcher/command_line.h"
#include "launcher/sweepfile_read.h"
#include "worker/agent/run.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MISSING_SPACE ": is a space missing after the colon?"

static void options_free(struct option *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(v[i].name);
        free(v[i].value);
    }
    free(v);
}

void sweepfile_free(struct sweepfile *f)
{
    if (!f)
        return;
    command_clear(f);
    spec_clear(&f->spec);
    options_free(f->slurm.v, f->slurm.n);
    options_free(f->srun.v, f->srun.n);
    options_free(f->controller.v, f->controller.n);
    str_free(&f->text);
    free(f->path);
    free(f->name);
    free(f->command_text);
    free(f->setup);
    free(f->parse);
    free(f->from);
    free(f);
}

size_t reader_place(const struct reader *r, enum key_id key)
{
    char path[64];
    strcpy(path, keys[key].path);
    for (char *dot; !r->seen[key]; key = (enum key_id)key_find(path)) {
        if (!(dot = strrchr(path, '.')))
            return 0;
        *dot = '\0';
    }
    return r->seen[key]->at;
}

/* ---- keys ---- */

/* `command: {lr}` */
static bool is_lone_braces(const struct doc_node *node)
{
    return node->kind == DOC_MAP && node->flow && node->items.n == 1 &&
           doc_empty(node->items.v[0].value);
}

/* What probably was meant by a value of the wrong shape: the rest of a sentence. */
static void add_hint(struct str *out, const struct key *k, const struct doc_node *node)
{
    struct str method = STR_INIT;
    bool scalar = k->type < WANT_SECTION;
    str_addf(&method, "%s.method", k->path);
    if (is_lone_braces(node) && scalar)
        str_add(out, k->type == WANT_TEXT
                         ? ": what begins with '{' is a map to YAML, so put it in quotes"
                         : ": leave out the braces");
    else if (k->type == WANT_TEXT && node->kind == DOC_LIST)
        str_add(out, ": write it on one line, in quotes if it begins with '['");
    else if (k->type == WANT_METRICS)
        str_addf(out, ": write metrics: %s", k->sample);
    else if (k->type == WANT_LIST)
        str_add(out, ": begin each item with '- '");
    else if (node->kind == DOC_LIST)
        str_add(out, node->flow ? ": leave out the brackets" : ": leave out the '-'");
    else if (node->kind == DOC_TEXT && strchr(node->text, ':'))
        str_add(out, MISSING_SPACE);
    else if (node->kind == DOC_TEXT && key_find(method.p) >= 0)
        str_addf(out, ": write {method: %s} if that is it",
                 shown(node->text, node->len).text);
    str_free(&method);
}

enum shape { SHAPE_GOOD, SHAPE_NOTHING, SHAPE_BAD };

static void refuse_value(struct reader *r, const struct key *k,
                         const struct doc_node *node)
{
    struct str s = STR_INIT;
    str_addf(&s, "%s must be ", k->path);
    key_wanted(k, &s);
    str_addf(&s, ", not %s", doc_shown(node).text);
    add_hint(&s, k, node);
    mistake_add(&r->m, node->at, "%s", s.p);
    str_free(&s);
}

/* Has the value the shape that the key wants? A list or a section without anything in
 * it is as if it were not there. */
static enum shape check_shape(struct reader *r, const struct key *k,
                              const struct doc_node *node)
{
    enum doc_kind wanted = k->type < WANT_SECTION ? DOC_TEXT
                           : k->type == WANT_LIST ? DOC_LIST
                                                  : DOC_MAP;
    if (node->kind == wanted && !(wanted == DOC_TEXT && doc_empty(node)))
        return SHAPE_GOOD;
    if (node->kind == DOC_BROKEN)
        return SHAPE_BAD;
    if (node->kind != DOC_TEXT || !doc_empty(node)) {
        refuse_value(r, k, node);
        return SHAPE_BAD;
    }
    if (wanted != DOC_TEXT && !k->required)
        return SHAPE_NOTHING;
    if (!r->root->lost)
        mistake_add(&r->m, node->at, "%s is empty", k->path);
    return SHAPE_BAD;
}

static void walk(struct reader *r, const char *section, const struct doc_node *map);

static void take(struct reader *r, enum key_id key, const struct doc_node *value)
{
    enum shape shape = check_shape(r, &keys[key], value);
    r->seen[key] = value;
    r->bad[key] |= shape == SHAPE_BAD;
    if (shape != SHAPE_GOOD)
        return;
    r->found[key] = value;
    if (keys[key].type == WANT_SECTION)
        walk(r, keys[key].path, value);
}

/* Notes the keys of a section, and those of the sections in it. */
static void walk(struct reader *r, const char *section, const struct doc_node *map)
{
    for (size_t i = 0; i < map->items.n && !mistakes_full(&r->m); i++) {
        const struct doc_pair *pair = &map->items.v[i];
        struct str path = STR_INIT;
        str_addf(&path, "%s%s%s", section, *section ? "." : "", pair->key->text);
        int id = strchr(pair->key->text, '.') ? -1 : key_find(path.p);
        if (id < 0) {
            str_cut(&path, 0);
            int meant = key_unknown(section, pair->key->text, &path);
            if (meant >= 0)
                r->bad[meant] = true; /* but not missing */
            mistake_add(&r->m, pair->key->at, "%s", path.p);
        } else {
            take(r, (enum key_id)id, pair->value);
        }
        str_free(&path);
    }
}

static void read_scalars(struct reader *r)
{
    for (int i = 0; i < KEYS; i++) {
        struct err e;
        if (r->found[i] && keys[i].type < WANT_SECTION &&
            key_read(&keys[i], r->found[i]->text, r->f, &e) != 0) {
            mistake_add(&r->m, r->found[i]->at, "%s", e.text);
            r->found[i] = NULL;
            r->bad[i] = true;
        }
    }
}

/* Is the section that a key belongs to whole, so that a key that is not found is not
 * there? */
static bool section_is_whole(const struct reader *r, enum key_id key)
{
    char path[64];
    strcpy(path, keys[key].path);
    for (char *dot; (dot = strrchr(path, '.'));) {
        *dot = '\0';
        int section = key_find(path);
        if (r->bad[section] || (r->found[section] && r->found[section]->lost))
            return false;
    }
    return !r->root->lost;
}

static void check_required(struct reader *r)
{
    for (int i = 0; i < KEYS; i++) {
        enum key_id key = (enum key_id)i;
        bool wanted = keys[i].required;
        if (key == KEY_METRIC)
            wanted = !r->found[KEY_METRICS] && !r->bad[KEY_METRICS];
        if (key == KEY_OOM_PARAM)
            wanted = r->found[KEY_OOM];
        if (key == KEY_PLATEAU_TRIALS)
            wanted = r->found[KEY_PLATEAU];
        if (key == KEY_SEARCH_TRIALS)
            wanted = r->f->spec.search != SEARCH_GRID && !r->bad[KEY_SEARCH_METHOD];
        if (!wanted || r->found[i] || r->bad[i] || !section_is_whole(r, key))
            continue;
        r->bad[i] = true;
        mistake_add(&r->m, reader_place(r, key), "%s is missing: %c%s", keys[i].path,
                    tolower((unsigned char)keys[i].help[0]), keys[i].help + 1);
    }
}

/* ---- texts with rules of their own ---- */

#define NAME_LENGTH   64
#define METRIC_LENGTH 128

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || strchr("._-", c);
}

static void read_name(struct reader *r)
{
    const struct doc_node *node = r->found[KEY_NAME];
    struct sweepfile *f = r->f;
    if (node) {
        bool good = node->len <= NAME_LENGTH && !strchr(".-", node->text[0]);
        for (const char *p = node->text; *p; p++)
            good &= in_name(*p);
        if (!good)
            mistake_add(
                &r->m, node->at,
                "name has letters, digits and ._- only, at most %d, and begins with a "
                "letter or digit: not '%s'",
                NAME_LENGTH, shown(node->text, node->len).text);
        return;
    }
    const char *base = strrchr(f->path, '/') ? strrchr(f->path, '/') + 1 : f->path;
    const char *dot = strrchr(base, '.');
    size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    n = n > NAME_LENGTH ? NAME_LENGTH : n;
    f->name = n > 0 ? mem_strndup(base, n) : mem_strdup("sweep");
    for (char *p = f->name; *p; p++)
        if (!in_name(*p) || (p == f->name && strchr(".-", *p)))
            *p = '_';
}

/* Can a metric be called so? */
static bool check_metric(struct reader *r, const struct doc_node *node)
{
    static const char *const reserved[] = {"trial", "attempt", "step",
                                           "rung",  "time",    "elapsed"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
        if (strcmp(node->text, reserved[i]) == 0) {
            mistake_add(
                &r->m, node->at,
                "the metric cannot be called '%s': each report has a column of that "
                "name already",
                reserved[i]);
            return false;
        }
    bool good = node->len > 0 && node->len <= METRIC_LENGTH;
    for (const char *p = node->text; *p; p++)
        good &= (unsigned char)*p > ' ' && *p != '=' && *p != 0x7f;
    if (!good)
        mistake_add(
            &r->m, node->at,
            "the metric's name has no spaces, no '=' and at most %d bytes: not '%s'",
            METRIC_LENGTH, shown(node->text, node->len).text);
    return good;
}

/* The index of min or max; -1: it is neither. */
static int direction_of(struct reader *r, const struct doc_pair *pair)
{
    const char *const *words = keys[KEY_MODE].words;
    const struct doc_node *value = pair->value;
    for (int i = 0; value->kind == DOC_TEXT && words[i]; i++)
        if (strcmp(value->text, words[i]) == 0)
            return i;
    if (value->kind != DOC_BROKEN)
        mistake_add(&r->m, value->at, "metrics.%s must be min or max, not %s",
                    shown(pair->key->text, pair->key->len).text, doc_shown(value).text);
    return -1;
}

static void read_metrics(struct reader *r)
{
    const struct doc_node *map = r->found[KEY_METRICS];
    struct spec *spec = &r->f->spec;
    bool good = map->items.n > 0 && map->items.n <= OBJECTIVES_MAX;
    if (!good)
        mistake_add(&r->m, map->at, "metrics has one to %d metrics, not %zu",
                    OBJECTIVES_MAX, map->items.n);
    for (size_t i = 0; i < map->items.n && i < OBJECTIVES_MAX; i++) {
        const struct doc_pair *pair = &map->items.v[i];
        int direction = direction_of(r, pair);
        good &= check_metric(r, pair->key) && direction >= 0;
        free(spec->objective[i].name);
        spec->objective[i] =
            (struct objective){mem_strdup(pair->key->text), direction == 1};
        spec->objectives = (int)i + 1;
    }
    r->bad[KEY_METRICS] |= !good;
}

/* One of `metric` and `metrics`. */
static void read_metric(struct reader *r)
{
    const struct doc_node *mode = r->found[KEY_MODE];
    if (r->found[KEY_METRIC])
        r->bad[KEY_METRIC] = !check_metric(r, r->found[KEY_METRIC]);
    if (!r->found[KEY_METRICS])
        return;
    if (r->found[KEY_METRIC])
        mistake_add(&r->m, r->found[KEY_METRIC]->at,
                    "say metric and mode, or metrics, not both");
    else if (mode)
        mistake_add(
            &r->m, mode->at,
            "mode is of one metric: say it of each of metrics, like {val_loss: %s}",
            mode->text);
    read_metrics(r);
}

/* Methods other than asha have one mode. */
static void set_mode(struct reader *r, enum schedule_mode only)
{
    struct spec *spec = &r->f->spec;
    const struct doc_node *mode = r->found[KEY_SCHEDULE_MODE];
    if (mode && spec->mode != only)
        mistake_add(&r->m, mode->at, "schedule.method %s %ss trials, and has no mode %s",
                    schedule_names[spec->schedule], mode_names[only],
                    mode_names[spec->mode]);
    spec->mode = only;
}

/* Programs that only print have no checkpoints to be promoted from. */
static void read_mode(struct reader *r)
{
    struct spec *spec = &r->f->spec;
    const struct doc_node *said = r->found[KEY_SCHEDULE_MODE];
    if (spec->schedule == SCHEDULE_MEDIAN)
        set_mode(r, MODE_STOP);
    if (spec->schedule == SCHEDULE_PBT) {
        set_mode(r, MODE_PROMOTE);
        return; /* what else it needs is among the rules */
    }
    if (spec_synchronous(spec)) {
        set_mode(r, MODE_PROMOTE);
        said = r->found[KEY_SCHEDULE_METHOD];
    }
    if (!r->found[KEY_PARSE] || spec->restart || !spec_promotes(spec))
        return;
    if (!said)
        spec->mode = MODE_STOP;
    else
        mistake_add(&r->m, said->at,
                    "with parse, %s %s needs `restart: true`: a program that only prints "
                    "saves no checkpoint to go on from (asha's mode stop needs none)",
                    spec_synchronous(spec) ? "method" : "mode", said->text);
}

static void read_parse(struct reader *r)
{
    const struct doc_node *node = r->found[KEY_PARSE];
    bool known = (r->found[KEY_METRIC] && !r->bad[KEY_METRIC]) ||
                 (r->found[KEY_METRICS] && !r->bad[KEY_METRICS]);
    for (int i = 0; node && i < r->f->spec.objectives; i++) {
        const char *metric = known ? r->f->spec.objective[i].name : NULL;
        size_t offset = 0;
        struct err e;
        if (parse_check(node->text, metric, &offset, &e) != 0) {
            mistake_add(&r->m, doc_place(&r->m, node, offset), "parse: %s", e.text);
            return;
        }
    }
}

static void read_command(struct reader *r)
{
    struct text_errors errors = {r, r->found[KEY_COMMAND], false, false};
    struct space_errors se = text_errors_of(&errors);
    if (r->found[KEY_COMMAND] && !r->bad[KEY_SHELL])
        command_parse(r->f, r->names_known, &se);
}

/* ---- the whole ---- */

static void tell_rule(void *ctx, enum key_id key, const char *sentence)
{
    struct reader *r = ctx;
    mistake_add(&r->m, reader_place(r, key), "%s", sentence);
}

static void read_map(struct reader *r)
{
    walk(r, "", r->root);
    read_scalars(r);
    check_required(r);
    read_name(r);
    read_metric(r);
    read_parse(r);
    read_mode(r);
    read_space(r);
    read_start(r);
    read_oom(r);
    read_command(r);
    read_options(r);
    r->f->slots_per_job_set = r->found[KEY_SLOTS_PER_JOB] != NULL;
    r->f->checkpoint_signal =
        r->f->checkpoint_signal ? SIGUSR1 : 0; /* it was a word's index */
    rules_derive(r->f);
    rules_check(r->f, r->bad, tell_rule, r);
}

static void read_root(struct reader *r)
{
    const struct doc_node *root = r->root;
    if (root->kind == DOC_MAP)
        read_map(r);
    else if (root->kind != DOC_BROKEN)
        mistake_add(&r->m, root->at,
                    "a sweep file is a map of keys, like 'metric: val_loss', not %s%s",
                    doc_shown(root).text,
                    root->kind == DOC_TEXT && strchr(root->text, ':') ? MISSING_SPACE
                                                                      : "");
}

static struct sweepfile *sweepfile_new(const char *path, const char *text, size_t n)
{
    struct sweepfile *f = mem_alloc(sizeof(*f));
    f->path = mem_strdup(path);
    f->text = (struct str)STR_INIT;
    str_addn(&f->text, text, n);
    spec_init(&f->spec);
    keys_default(f);
    return f;
}

static int too_large(const char *path, struct str *errors)
{
    str_addf(errors, "%s: larger than 1 MiB, which no sweep file is\n", path);
    return ERR_INVAL;
}

int sweepfile_parse(const char *path, const char *text, size_t n, struct sweepfile **out,
                    struct str *errors)
{
    if (n > SWEEPFILE_MAX)
        return too_large(path, errors);
    struct reader r = {.m = {.path = path, .len = n}, .f = sweepfile_new(path, text, n)};
    r.m.text = r.f->text.p;
    if ((r.root = doc_read(&r.m)))
        read_root(&r);
    doc_free(r.root);
    int rc = r.m.n > 0 ? ERR_INVAL : 0;
    mistakes_print(&r.m, errors);
    mistakes_free(&r.m);
    if (rc == 0)
        *out = r.f;
    else
        sweepfile_free(r.f);
    return rc;
}

int sweepfile_load(const char *path, struct sweepfile **out, struct str *errors)
{
    struct str text = STR_INIT;
    struct err e;
    int rc = file_read(path, SWEEPFILE_MAX, &text, &e);
    if (rc == 0)
        rc = sweepfile_parse(path, text.p, text.len, out, errors);
    else if (rc == ERR_RANGE)
        rc = too_large(path, errors);
    else
        str_addf(errors, "%s\n", e.text);
    str_free(&text);
    return rc;
}
