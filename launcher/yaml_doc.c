#include "launcher/yaml_doc.h"

#include "base/hash.h"
#include "launcher/yaml_explain.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define NO_BREAK "\xc2\xa0" /* U+00A0 */

/* A walk through libyaml's events. libyaml counts characters, we count bytes. */
struct walk {
    struct mistakes *m;
    yaml_parser_t parser;
    size_t character, byte; /* a place that was converted before */
    int depth;
};

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t byte_of(struct walk *w, yaml_mark_t mark)
{
    const char *text = w->m->text;
    while (w->character < mark.index && w->byte < w->m->len) {
        do
            w->byte++;
        while (w->byte < w->m->len && continues(text[w->byte]));
        w->character++;
    }
    while (w->character > mark.index) {
        do
            w->byte--;
        while (continues(text[w->byte]));
        w->character--;
    }
    return w->byte;
}

static bool next_event(struct walk *w, yaml_event_t *ev)
{
    yaml_parser_t *p = &w->parser;
    if (yaml_parser_parse(p, ev))
        return true;
    size_t context_at = byte_of(w, p->context_mark);
    yaml_explain(w->m, p->problem, byte_of(w, p->problem_mark), p->context, context_at);
    return false;
}

static struct doc_node *node_new(enum doc_kind kind, size_t at)
{
    struct doc_node *node = mem_alloc(sizeof(*node));
    node->kind = kind;
    node->at = at;
    return node;
}

void doc_free(struct doc_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->items.n; i++) {
        doc_free(node->items.v[i].key);
        doc_free(node->items.v[i].value);
    }
    vec_free(&node->items);
    free(node->text);
    free(node);
}

static void refuse_name(struct walk *w, struct doc_node *node, const char *mark,
                        const yaml_char_t *name, const char *what)
{
    mistake_add(w->m, node->at,
                "'%s%.40s' is a YAML %s, which a sweep file cannot have: write the value "
                "itself, or put it in quotes if it begins with '%s'",
                mark, (const char *)name, what, mark);
    node->kind = DOC_BROKEN;
}

static void refuse_tag(struct walk *w, struct doc_node *node)
{
    mistake_add(
        w->m, node->at,
        "this '!' begins a YAML tag, which a sweep file cannot have: put the value "
        "in quotes if it begins with '!'");
    node->kind = DOC_BROKEN;
}

static struct doc_node *scalar(struct walk *w, const yaml_event_t *ev, size_t at)
{
    static const enum doc_style styles[] = {
        [YAML_PLAIN_SCALAR_STYLE] = DOC_PLAIN,
        [YAML_SINGLE_QUOTED_SCALAR_STYLE] = DOC_SINGLE,
        [YAML_DOUBLE_QUOTED_SCALAR_STYLE] = DOC_DOUBLE,
        [YAML_LITERAL_SCALAR_STYLE] = DOC_LITERAL,
        [YAML_FOLDED_SCALAR_STYLE] = DOC_FOLDED,
    };
    struct doc_node *node = node_new(DOC_TEXT, at);
    node->style = styles[ev->data.scalar.style];
    node->len = ev->data.scalar.length;
    node->text = mem_strndup((const char *)ev->data.scalar.value, node->len);
    const char *zero = memchr(node->text, '\0', node->len);
    if (zero) {
        mistake_add(w->m, doc_place(w->m, node, (size_t)(zero - node->text)),
                    "a value cannot hold a NUL character");
        node->kind = DOC_BROKEN;
    }
    if (ev->data.scalar.anchor)
        refuse_name(w, node, "&", ev->data.scalar.anchor, "anchor");
    else if (ev->data.scalar.tag)
        refuse_tag(w, node);
    return node;
}

static struct doc_node *read_node(struct walk *w, const yaml_event_t *ev);

/* The next node of a list or a map; NULL at its end, or with *failed. */
static struct doc_node *read_next(struct walk *w, yaml_event_type_t end, bool *failed)
{
    yaml_event_t ev;
    if (!next_event(w, &ev)) {
        *failed = true;
        return NULL;
    }
    struct doc_node *node = NULL;
    if (ev.type != end) {
        node = read_node(w, &ev);
        *failed = !node;
    }
    yaml_event_delete(&ev);
    return node;
}

/* Is this key to be kept? Tells what is wrong with it otherwise. */
static bool check_key(struct walk *w, struct doc_node *map, struct map *seen,
                      const struct doc_node *key)
{
    bool word = key->kind == DOC_TEXT && strncmp(key->text, NO_BREAK, 2) != 0;
    map->lost |= !word;
    if (key->kind == DOC_BROKEN)
        return false;
    if (key->kind != DOC_TEXT) {
        mistake_add(w->m, key->at, "a key must be a word, not a %s",
                    key->kind == DOC_LIST ? "list" : "map");
        return false;
    }
    if (!word) {
        mistake_add(
            w->m, key->at,
            "this line is indented with no-break spaces (U+00A0): use plain ones");
        return false;
    }
    uint64_t hash = hash64(key->text, key->len);
    uint32_t first;
    if (map_get(seen, hash, &first)) {
        struct place place = place_of(w->m, map->items.v[first].key->at);
        mistake_add(w->m, key->at,
                    "'%s' is here a second time: the first is in line %zu, column %zu",
                    shown(key->text, key->len).text, place.line, place.column);
        return false;
    }
    map_put(seen, hash, (uint32_t)map->items.n);
    return true;
}

/* The pairs or items up to the end event; false when libyaml failed. */
static bool read_items(struct walk *w, struct doc_node *node)
{
    bool failed = false, is_map = node->kind == DOC_MAP;
    yaml_event_type_t end = is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    struct map seen = {0};
    for (;;) {
        struct doc_pair pair = {NULL, read_next(w, end, &failed)};
        if (!pair.value)
            break;
        if (is_map) {
            pair.key = pair.value;
            pair.value = read_next(w, end, &failed);
            if (!pair.value || !check_key(w, node, &seen, pair.key)) {
                doc_free(pair.key);
                doc_free(pair.value);
                if (failed)
                    break;
                continue;
            }
        }
        vec_push(&node->items, pair);
    }
    map_free(&seen);
    return !failed;
}

static struct doc_node *collection(struct walk *w, const yaml_event_t *ev, size_t at)
{
    bool is_map = ev->type == YAML_MAPPING_START_EVENT;
    struct doc_node *node = node_new(is_map ? DOC_MAP : DOC_LIST, at);
    const yaml_char_t *anchor =
        is_map ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor;
    node->flow = is_map ? ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                        : ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    bool ok = ++w->depth <= DOC_DEPTH_MAX;
    if (!ok)
        mistake_add(w->m, at, "maps and lists are nested more than %d deep",
                    DOC_DEPTH_MAX);
    ok = ok && read_items(w, node);
    w->depth--;
    if (!ok) {
        doc_free(node);
        return NULL;
    }
    if (anchor)
        refuse_name(w, node, "&", anchor, "anchor");
    else if (is_map ? ev->data.mapping_start.tag : ev->data.sequence_start.tag)
        refuse_tag(w, node);
    return node;
}

static struct doc_node *read_node(struct walk *w, const yaml_event_t *ev)
{
    size_t at = byte_of(w, ev->start_mark);
    if (ev->type == YAML_ALIAS_EVENT) {
        struct doc_node *node = node_new(DOC_BROKEN, at);
        refuse_name(w, node, "*", ev->data.alias.anchor, "alias");
        return node;
    }
    if (ev->type == YAML_SCALAR_EVENT)
        return scalar(w, ev, at);
    return collection(w, ev, at);
}

/* Up to the first node: NULL when there is none. */
static struct doc_node *read_document(struct walk *w)
{
    struct doc_node *root = NULL;
    yaml_event_type_t type = YAML_NO_EVENT;
    while (!root && type != YAML_STREAM_END_EVENT) {
        yaml_event_t ev;
        if (!next_event(w, &ev))
            return NULL;
        type = ev.type;
        bool marks = type == YAML_STREAM_START_EVENT ||
                     type == YAML_DOCUMENT_START_EVENT || type == YAML_STREAM_END_EVENT;
        if (!marks)
            root = read_node(w, &ev);
        yaml_event_delete(&ev);
        if (!marks && !root)
            return NULL;
    }
    if (!root)
        mistake_add(w->m, 0, "the file is empty (`rung init` writes one to start from)");
    return root;
}

/* What follows the document: nothing, we hope. */
static bool read_rest(struct walk *w)
{
    for (;;) {
        yaml_event_t ev;
        if (!next_event(w, &ev))
            return false;
        yaml_event_type_t type = ev.type;
        size_t at = byte_of(w, ev.start_mark);
        yaml_event_delete(&ev);
        if (type == YAML_STREAM_END_EVENT)
            return true;
        if (type == YAML_DOCUMENT_START_EVENT) {
            mistake_add(w->m, at, "'---' begins a second document: a sweep file is one");
            return false;
        }
    }
}

static bool is_utf16(const struct mistakes *m)
{
    return m->len >= 2 &&
           (memcmp(m->text, "\xff\xfe", 2) == 0 || memcmp(m->text, "\xfe\xff", 2) == 0);
}

/* Bytes of the UTF-8 character at p; 0 if there is none. */
static size_t utf8_length(const unsigned char *p, size_t n, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80   ? 1
                 : p[0] < 0xc0 ? 0
                 : p[0] < 0xe0 ? 2
                 : p[0] < 0xf0 ? 3
                               : 4;
    if (len == 0 || len > n || p[0] > 0xf4)
        return 0;
    *code = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    bool good =
        *code >= least[len] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
    return good ? len : 0;
}

/* What libyaml would refuse with the name of no place. */
static bool printable(uint32_t code)
{
    if (code < 0x20)
        return code == '\t' || code == '\n' || code == '\r';
    return code != 0x7f && (code < 0x80 || code > 0x9f || code == 0x85) &&
           code != 0xfeff && code != 0xfffe && code != 0xffff;
}

static bool check_characters(struct mistakes *m, size_t from)
{
    if (is_utf16(m)) {
        mistake_add(m, 0, "the file is in UTF-16: save it as UTF-8");
        return false;
    }
    for (size_t i = from, len; i < m->len; i += len) {
        uint32_t code = 0;
        len = utf8_length((const unsigned char *)m->text + i, m->len - i, &code);
        if (len == 0) {
            mistake_add(m, i, "the byte 0x%02x is no UTF-8: save the file as UTF-8",
                        (unsigned char)m->text[i]);
            return false;
        }
        if (!printable(code)) {
            mistake_add(m, i, "the control character U+%04X cannot be in a sweep file",
                        code);
            return false;
        }
    }
    return true;
}

struct doc_node *doc_read(struct mistakes *m)
{
    struct walk w = {.m = m};
    if (m->len >= 3 && memcmp(m->text, "\xef\xbb\xbf", 3) == 0)
        w.byte = 3;
    if (!check_characters(m, w.byte))
        return NULL;
    if (!yaml_parser_initialize(&w.parser))
        abort();
    yaml_parser_set_encoding(&w.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&w.parser, (const unsigned char *)m->text + w.byte,
                                 m->len - w.byte);
    struct doc_node *root = read_document(&w);
    if (root && !read_rest(&w)) {
        doc_free(root);
        root = NULL;
    }
    yaml_parser_delete(&w.parser);
    return root;
}

bool doc_empty(const struct doc_node *node)
{
    return node->kind == DOC_TEXT && node->style == DOC_PLAIN &&
           (node->len == 0 || strcmp(node->text, "~") == 0 ||
            strcasecmp(node->text, "null") == 0);
}

bool doc_quoted(const struct doc_node *node)
{
    return node->kind == DOC_TEXT &&
           (node->style == DOC_SINGLE || node->style == DOC_DOUBLE);
}

struct shown doc_shown(const struct doc_node *node)
{
    if (node->kind == DOC_MAP)
        return (struct shown){"a map"};
    if (node->kind == DOC_LIST)
        return (struct shown){"a list"};
    struct shown text = shown(node->text, node->len), out = {"'"};
    strcat(strcat(out.text, text.text), "'");
    return out;
}

struct doc_node *doc_get(const struct doc_node *map, const char *key)
{
    for (size_t i = 0; i < map->items.n; i++)
        if (strcmp(map->items.v[i].key->text, key) == 0)
            return map->items.v[i].value;
    return NULL;
}

/* ---- from a scalar's text back to the file ---- */

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t inks(const char *text, size_t n) /* characters that are no blanks */
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += !blank(text[i]) && !continues(text[i]);
    return count;
}

/* Passes the character at *p as it was written; true unless it stands for a blank. */
static bool pass(const char **p, const char *end, enum doc_style style)
{
    const char *c = (*p)++;
    bool ink = !blank(*c);
    if (style == DOC_SINGLE && *c == '\'' && *p < end && **p == '\'')
        ++*p;
    if (style == DOC_DOUBLE && *c == '\\' && *p < end) {
        char e = *(*p)++;
        size_t digits = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : 0;
        ink = !strchr(" \t\r\ntrn", e);
        while (digits-- > 0 && *p < end && isxdigit((unsigned char)**p))
            ++*p;
    }
    while (*p < end && continues(**p))
        ++*p;
    return ink;
}

size_t doc_place(const struct mistakes *m, const struct doc_node *node, size_t offset)
{
    const char *end = m->text + m->len, *p = m->text + node->at;
    if (node->style == DOC_SINGLE || node->style == DOC_DOUBLE)
        p++;
    if (node->style == DOC_LITERAL || node->style == DOC_FOLDED)
        while (p < end && *p != '\n' && *p != '\r')
            p++;
    if (offset > node->len)
        offset = node->len;
    bool behind = offset == node->len || blank(node->text[offset]);
    size_t wanted = inks(node->text, offset), seen = 0;
    while (p < end && (seen < wanted || !behind)) {
        const char *c = p;
        if (!pass(&p, end, node->style))
            continue;
        if (seen++ == wanted && !behind)
            return (size_t)(c - m->text);
    }
    return (size_t)(p - m->text);
}
