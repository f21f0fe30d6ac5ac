/* The search space of the sweep file: parameters, constraints, start entries.
 *
 * YAML gives text; what it means is decided here. A plain scalar is an expression
 * (numbers and true or false are expressions too), except that a single word that is no
 * parameter is that word: `opt: sgd`. A scalar in quotes is an expression if it holds a
 * call, since "uniform(0.5, 0.99)" must be quoted inside { }; else it is text. */
#include "base/num.h"
#include "base/suggest.h"

#include "launcher/command_line.h"
#include "launcher/sweepfile_read.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LENGTH 64
#define PARAMETERS_MAX  25000
#define LETTERS         "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define IDENTIFIER      LETTERS "0123456789"

void add_nearest(struct str *out, const char *word, const struct space *space,
                 const char *const more[], size_t n)
{
    VEC(const char *) names = {0};
    for (int i = 0; i < space_count(space); i++)
        vec_push(&names, space_name(space, i));
    for (size_t i = 0; i < n; i++)
        vec_push(&names, more[i]);
    add_suggestion(out, word, names.v, names.n);
    vec_free(&names);
}

/* ---- mistakes inside a scalar ---- */

static void report_text(void *ctx, size_t offset, const char *text)
{
    struct text_errors *t = ctx;
    const struct doc_node *node = t->node;
    if (mistakes_full(&t->r->m))
        return;
    if (!t->is_like_text)
        mistake_add(&t->r->m, doc_place(&t->r->m, node, offset), "%s", text);
    else if (!t->told)
        mistake_add(
            &t->r->m, node->at,
            "'%s' is no expression of numbers and parameters: text must stand in quotes",
            shown(node->text, node->len).text);
    t->told = true;
}

struct space_errors text_errors_of(struct text_errors *t)
{
    return (struct space_errors){report_text, t};
}

/* ---- calls that YAML cuts ---- */

static int open_parens(const char *text)
{
    int open = 0;
    for (; *text; text++)
        open += (*text == '(') - (*text == ')');
    return open;
}

bool call_was_cut(struct reader *r, const struct doc_node *list, size_t *i)
{
    const struct doc_node *first = list->items.v[*i].value, *last = NULL;
    bool map = list->kind == DOC_MAP;
    size_t end = *i;
    if (!list->flow || first->kind != DOC_TEXT || first->style != DOC_PLAIN)
        return false;
    int open = open_parens(first->text);
    while (open > 0 && ++end < list->items.n) {
        const struct doc_pair *piece = &list->items.v[end];
        last = map ? piece->key : piece->value;
        if (last->kind != DOC_TEXT || (map && !doc_empty(piece->value)))
            return false;
        open += open_parens(last->text);
    }
    if (!last || open > 0)
        return false;
    *i = end;
    mistake_add(&r->m, first->at,
                "YAML cuts '%s' at its comma inside %s: put it in quotes",
                shown(r->m.text + first->at, last->at + last->len - first->at).text,
                map ? "{ }" : "[ ]");
    return true;
}

/* ---- parameters ---- */

static bool is_identifier(const char *text)
{
    return *text && strchr(LETTERS, *text) && text[strspn(text, IDENTIFIER)] == '\0';
}

static bool is_one_of(const char *text, const char *const words[])
{
    while (*words && strcasecmp(text, *words) != 0)
        words++;
    return *words != NULL;
}

static const char *const keywords[] = {"and", "or", "not", "true", "false", NULL};
static const char *const switches[] = {"yes", "no", "on", "off", NULL};

/* A name that no parameter can have, and one that it could have instead. */
static void refuse_name(struct reader *r, const struct doc_node *key)
{
    char better[NAME_MAX_LENGTH + 1] = "";
    if (key->len <= NAME_MAX_LENGTH)
        strcpy(better, key->text);
    for (char *p = better; *p; p++)
        if (!strchr(IDENTIFIER, *p))
            *p = '_';
    bool good = is_identifier(better);
    mistake_add(
        &r->m, key->at,
        "'%s' cannot be a parameter's name: it has letters, digits and '_', at most "
        "%d, and begins with no digit%s%s%s",
        shown(key->text, key->len).text, NAME_MAX_LENGTH, good ? " (write '" : "",
        good ? better : "", good ? "')" : "");
}

/* Tells what is wrong with a parameter's name; false if it cannot be one at all. */
static bool check_name(struct reader *r, const struct doc_node *key)
{
    bool keyword = is_one_of(key->text, keywords);
    if (command_reserved(key->text))
        mistake_add(
            &r->m, key->at,
            "a parameter cannot be called '%s': in the command {%s} is something else",
            key->text, key->text);
    else if (keyword)
        mistake_add(
            &r->m, key->at,
            "a parameter cannot be called '%s', a word of the expressions' language",
            key->text);
    else if (!is_identifier(key->text) || key->len > NAME_MAX_LENGTH)
        refuse_name(r, key);
    return is_identifier(key->text) && !keyword && key->len <= NAME_MAX_LENGTH;
}

static bool has_call(const char *text)
{
    for (const char *p = text; (p = strchr(p, '(')); p++)
        if (p > text && strchr(IDENTIFIER, p[-1]))
            return true;
    return false;
}

/* Might this word be a misspelt parameter? */
static bool near_parameter(const struct space *sp, const char *word)
{
    for (int i = 0; i < space_count(sp); i++)
        if (edit_slip(word, space_name(sp, i)))
            return true;
    return false;
}

/* A scalar that is text and no expression. */
static bool is_text(const struct space *sp, const struct doc_node *node)
{
    if (doc_quoted(node))
        return !has_call(node->text);
    return is_identifier(node->text) && !is_one_of(node->text, keywords) &&
           !near_parameter(sp, node->text);
}

/* If this is no expression, was it meant to be text? It has no call, and is a path or a
 * time, or its words are no parameters. */
static bool is_like_text(const struct space *sp, const struct doc_node *node)
{
    bool words = false;
    if (doc_quoted(node) || has_call(node->text))
        return false;
    if (node->text[0] == '/' || strchr(node->text, ':'))
        return true;
    for (const char *p = node->text + strcspn(node->text, LETTERS); *p;) {
        size_t n = strspn(p, IDENTIFIER);
        char *word = mem_strndup(p, n);
        bool near = near_parameter(sp, word);
        words |= !is_one_of(word, keywords);
        free(word);
        if (near)
            return false;
        p += n + strcspn(p + n, LETTERS);
    }
    return words;
}

static void define_text(struct reader *r, int i, const struct doc_node *sample,
                        const struct doc_node *when)
{
    struct space *sp = r->f->spec.space;
    struct text_errors sample_errors = {r, sample, is_like_text(sp, sample), false};
    struct text_errors when_errors = {r, when, false, false};
    struct space_errors se = text_errors_of(&sample_errors);
    struct space_errors we = text_errors_of(&when_errors);
    if (!doc_quoted(sample) && is_one_of(sample->text, switches))
        mistake_add(
            &r->m, sample->at,
            "'%s' is true or false to some YAML programs and a word to others: write "
            "true, false or '%s' in quotes",
            sample->text, sample->text);
    else if (is_text(sp, sample))
        space_define_constant(sp, i, (struct value){.kind = VALUE_STR, .s = sample->text},
                              when ? when->text : NULL, &we);
    else
        space_define(sp, i, sample->text, when ? when->text : NULL, &se, &we);
}

static bool is_expression(struct reader *r, const struct doc_node *node, const char *what,
                          const char *name)
{
    struct shown who = shown(name, strlen(name));
    if (node->kind == DOC_LIST)
        mistake_add(
            &r->m, node->at, "%s%s is an expression, not a list%s", what, who.text,
            *name ? ": choice(a, b) draws one of several, grid(a, b) tries all" : "");
    else if (node->kind == DOC_MAP)
        mistake_add(&r->m, node->at, "%s%s is an expression, not a map", what, who.text);
    else if (node->kind == DOC_TEXT && doc_empty(node))
        mistake_add(&r->m, node->at, "%s%s is empty", what, who.text);
    else
        return node->kind == DOC_TEXT;
    return false;
}

/* momentum: {sample: ..., when: ...} */
static void define_map(struct reader *r, int i, const struct doc_node *map)
{
    static const char *const known[] = {"sample", "when"};
    const struct doc_node *part[2] = {NULL, NULL};
    bool ok = true;
    for (size_t k = 0; k < map->items.n && !mistakes_full(&r->m); k++) {
        const struct doc_node *key = map->items.v[k].key;
        int which = strcmp(key->text, "sample") == 0 ? 0
                    : strcmp(key->text, "when") == 0 ? 1
                                                     : -1;
        if (which < 0) {
            struct str s = STR_INIT;
            add_suggestion(&s, key->text, known, 2);
            mistake_add(&r->m, key->at,
                        "unknown key '%s'%s: a parameter is an expression, like 'lr: "
                        "loguniform(1e-4, 1e-1)', or a map of 'sample' and 'when'",
                        shown(key->text, key->len).text, s.p);
            str_free(&s);
            ok = false;
        } else if (call_was_cut(r, map, &k)) {
            ok = false;
        } else {
            part[which] = map->items.v[k].value;
            ok &= is_expression(r, part[which], "the parameter's ", known[which]);
        }
    }
    if (ok && !part[0])
        mistake_add(&r->m, map->at, "the map of parameter '%s' has no 'sample'",
                    space_name(r->f->spec.space, i));
    else if (ok)
        define_text(r, i, part[0], part[1]);
}

/* The parameters whose names are usable, in order, without pieces of cut calls. */
struct parameters {
    VEC(const char *) names;
    VEC(const struct doc_node *) values; /* NULL: told of already */
};

static void collect(struct reader *r, const struct doc_node *map, struct parameters *ps)
{
    for (size_t i = 0; i < map->items.n && !mistakes_full(&r->m); i++) {
        struct doc_pair pair = map->items.v[i];
        bool cut = call_was_cut(r, map, &i);
        if (!check_name(r, pair.key)) {
            r->names_known = false;
            continue;
        }
        vec_push(&ps->names, pair.key->text);
        vec_push(&ps->values, cut ? NULL : pair.value);
    }
}

static void read_constraints(struct reader *r)
{
    const struct doc_node *list = r->found[KEY_CONSTRAINTS];
    for (size_t i = 0; list && i < list->items.n && !mistakes_full(&r->m); i++) {
        const struct doc_node *node = list->items.v[i].value;
        struct text_errors errors = {r, node, false, false};
        struct space_errors se = text_errors_of(&errors);
        if (!call_was_cut(r, list, &i) && is_expression(r, node, "a constraint", ""))
            space_constrain(r->f->spec.space, node->text, &se);
    }
}

void read_space(struct reader *r)
{
    struct parameters ps = {{0}, {0}};
    struct err e;
    size_t before = r->m.n;
    const struct doc_node *map = r->found[KEY_SPACE];
    bool whole = map != NULL;
    r->f->spec.space = space_new();
    r->names_known = map && !map->lost && map->items.n > 0;
    if (map)
        collect(r, map, &ps);
    if (ps.names.n > PARAMETERS_MAX) {
        mistake_add(&r->m, map->at, "space has more than %d parameters", PARAMETERS_MAX);
        ps.names.n = ps.values.n = 0;
        r->names_known = false;
    }
    if (map && map->items.n == 0 && !map->lost)
        mistake_add(&r->m, map->at, "space has no parameters");
    space_declare(r->f->spec.space, ps.names.v, ps.names.n);
    for (size_t i = 0; i < ps.values.n && !mistakes_full(&r->m); i++) {
        const struct doc_node *value = ps.values.v[i];
        whole &= value && value->kind != DOC_BROKEN;
        if (value && value->kind == DOC_MAP)
            define_map(r, (int)i, value);
        else if (value && is_expression(r, value, "parameter ", ps.names.v[i]))
            define_text(r, (int)i, value, NULL);
    }
    read_constraints(r);
    vec_free(&ps.names);
    vec_free(&ps.values);
    r->bad[KEY_SPACE] |= !whole || !r->names_known || r->m.n > before;
    if (!r->bad[KEY_SPACE] && space_check(r->f->spec.space, r->f->spec.seed, &e) != 0)
        mistake_add(
            &r->m,
            reader_place(r, r->found[KEY_CONSTRAINTS] ? KEY_CONSTRAINTS : KEY_SPACE),
            "%s", e.text);
}

/* ---- start entries ---- */

/* YAML's plain numbers and booleans are such, all else is text. */
static struct value value_of(const struct doc_node *node)
{
    struct value v = {.kind = VALUE_INT};
    if (!doc_quoted(node)) {
        if (num_parse_int(node->text, node->len, &v.i) == 0)
            return v;
        v.kind = VALUE_REAL;
        if (num_parse(node->text, node->len, &v.r) == 0)
            return v;
        v.kind = VALUE_BOOL;
        v.b = strcasecmp(node->text, "true") == 0;
        if (v.b || strcasecmp(node->text, "false") == 0)
            return v;
    }
    return (struct value){.kind = VALUE_STR, .s = node->text};
}

/* Text where the parameter is a number, or true or false? Any number goes. */
static bool fits(const struct space *sp, int i, struct value v)
{
    return space_type(sp, i) == VALUE_STR || v.kind != VALUE_STR;
}

static void read_given(struct reader *r, const struct doc_pair *pair,
                       struct value given[])
{
    const struct space *sp = r->f->spec.space;
    int i = space_find(sp, pair->key->text);
    if (pair->value->kind == DOC_BROKEN)
        return;
    if (i < 0 && !r->names_known)
        return;
    if (i < 0) {
        struct str s = STR_INIT;
        add_nearest(&s, pair->key->text, sp, NULL, 0);
        mistake_add(&r->m, pair->key->at, "there is no parameter '%s'%s",
                    shown(pair->key->text, pair->key->len).text, s.p);
        str_free(&s);
        return;
    }
    if (pair->value->kind != DOC_TEXT || doc_empty(pair->value)) {
        mistake_add(&r->m, pair->value->at,
                    pair->value->kind != DOC_TEXT
                        ? "'%s' must have one value here"
                        : "'%s' is empty: leave it out, and it is drawn",
                    pair->key->text);
        return;
    }
    struct value v = value_of(pair->value);
    if (!fits(sp, i, v)) {
        mistake_add(&r->m, pair->value->at,
                    "'%s' is %s, not '%s' (start values are no expressions)",
                    pair->key->text,
                    space_type(sp, i) == VALUE_BOOL ? "true or false" : "a number",
                    shown(pair->value->text, pair->value->len).text);
        return;
    }
    if (v.kind == VALUE_STR)
        v.s = mem_strdup(v.s);
    given[i] = v;
}

void read_start(struct reader *r)
{
    const struct doc_node *list = r->found[KEY_START];
    struct spec *spec = &r->f->spec;
    size_t n = (size_t)space_count(spec->space);
    if (!list)
        return;
    spec->start = mem_resize(NULL, list->items.n + 1, sizeof(*spec->start));
    for (size_t i = 0; i < list->items.n && !mistakes_full(&r->m); i++) {
        const struct doc_node *entry = list->items.v[i].value;
        if (entry->kind != DOC_MAP) {
            if (entry->kind != DOC_BROKEN)
                mistake_add(&r->m, entry->at,
                            "a start entry is a map like {lr: 0.01}, not %s",
                            doc_shown(entry).text);
            continue;
        }
        struct value *given = mem_alloc(n * sizeof(*given));
        spec->start[spec->n_start++] = given;
        for (size_t k = 0; k < entry->items.n && !mistakes_full(&r->m); k++)
            read_given(r, &entry->items.v[k], given);
    }
}

void read_oom(struct reader *r)
{
    const struct doc_node *node = r->found[KEY_OOM_PARAM];
    struct spec *spec = &r->f->spec;
    if (!node)
        return;
    spec->oom_param = space_find(spec->space, node->text);
    if (spec->oom_param < 0 && r->names_known) {
        struct str s = STR_INIT;
        add_nearest(&s, node->text, spec->space, NULL, 0);
        mistake_add(&r->m, node->at, "there is no parameter '%s'%s",
                    shown(node->text, node->len).text, s.p);
        str_free(&s);
    } else if (!r->bad[KEY_SPACE] &&
               space_type(spec->space, spec->oom_param) > VALUE_REAL) {
        mistake_add(&r->m, node->at, "retry.oom multiplies, and '%s' is no number",
                    node->text);
    }
}
