/* libyaml stops at the first thing that it cannot read, and says so in the terms of
 * its grammar: "did not find expected key". Most of these come from a handful of
 * habits: a value that begins with a brace, a colon without its blank, a tab. The
 * line at hand usually shows which one it was. */
#include "launcher/yaml_explain.h"

#include <stdbool.h>
#include <string.h>

#define TAB      "YAML is indented with spaces, and this is a tab"
#define UNCLOSED "this quote is not closed"
#define DIRECTIVE                                                                        \
    "a line that begins with '%' is a YAML directive, and a sweep file has none"
#define TAG "a value that begins with '!' must stand in quotes"

/* A problem of libyaml with the text around it. */
struct trouble {
    struct mistakes *m;
    const char *problem, *context;
    size_t at, context_at;
};

/* The line that holds a byte: [begin, end), without its break. */
struct line {
    size_t begin, end;
};

static bool breaks(char c)
{
    return c == '\n' || c == '\r';
}

static struct line line_of(const struct mistakes *m, size_t at)
{
    struct line l = {at, at};
    while (l.begin > 0 && !breaks(m->text[l.begin - 1]))
        l.begin--;
    while (l.end < m->len && !breaks(m->text[l.end]))
        l.end++;
    return l;
}

static size_t skip_blanks(const struct mistakes *m, size_t at, size_t end)
{
    while (at < end && (m->text[at] == ' ' || m->text[at] == '\t'))
        at++;
    return at;
}

/* The last line before this one that has more than blanks and comments. */
static bool line_before(const struct mistakes *m, struct line l, struct line *out)
{
    while (l.begin > 0) {
        l = line_of(m, l.begin - 1);
        size_t first = skip_blanks(m, l.begin, l.end);
        if (first < l.end && m->text[first] != '#') {
            *out = l;
            return true;
        }
    }
    return false;
}

/* "name:value" at byte at? Then where its colon is, else 0. */
static size_t glued_colon(const struct mistakes *m, size_t at, size_t end)
{
    size_t p = at;
    while (p < end &&
           (strchr("_-.", m->text[p]) || (m->text[p] >= '0' && m->text[p] <= '9') ||
            ((m->text[p] | 32) >= 'a' && (m->text[p] | 32) <= 'z')))
        p++;
    bool glued =
        p > at && p + 1 < end && m->text[p] == ':' && !strchr(" \t/", m->text[p + 1]);
    return glued ? p : 0;
}

/* Tells of a missing blank after the colon at the start of a line. */
static bool explain_glued(struct mistakes *m, size_t at, size_t end)
{
    size_t first = skip_blanks(m, at, end), colon = glued_colon(m, first, end);
    if (!colon)
        return false;
    mistake_add(m, colon, "a space is missing after the colon of '%s'",
                shown(m->text + first, colon - first + 1).text);
    return true;
}

static void no_colon(const struct trouble *t)
{
    struct line l = line_of(t->m, t->context_at);
    if (!explain_glued(t->m, t->context_at, l.end))
        mistake_add(
            t->m, t->context_at,
            "'%s' is not 'key: value'; if it continues the value above, indent it "
            "further than that value's key",
            shown(t->m->text + t->context_at, l.end - t->context_at).text);
}

static void colon_in_value(const struct trouble *t)
{
    const char *text = t->m->text;
    struct line l = line_of(t->m, t->at), above;
    for (size_t p = l.begin; p + 1 < t->at; p++) {
        if (text[p] == ':' && text[p + 1] == ' ') {
            mistake_add(t->m, t->at, "a value that holds ': ' must stand in quotes");
            return;
        }
    }
    if (!line_before(t->m, l, &above)) {
        mistake_add(t->m, t->at, "this colon cannot be here");
        return;
    }
    if (explain_glued(t->m, above.begin, above.end))
        return;
    size_t key = skip_blanks(t->m, l.begin, l.end);
    mistake_add(
        t->m, key,
        "'%s' is indented further than the line above, which has a value already: "
        "the keys of one map begin in the same column",
        shown(text + key, t->at - key + 1).text);
}

/* " #" in a line: where, else 0. */
static size_t comment_in(const struct mistakes *m, struct line l)
{
    for (size_t p = l.begin + 1; p < l.end; p++)
        if (m->text[p] == '#' && (m->text[p - 1] == ' ' || m->text[p - 1] == '\t'))
            return p;
    return 0;
}

static void no_key(const struct trouble *t)
{
    const char *text = t->m->text;
    struct line l = line_of(t->m, t->at), above;
    size_t p = t->at;
    while (p > l.begin && (text[p - 1] == ' ' || text[p - 1] == '\t'))
        p--;
    char last = p > l.begin ? text[p - 1] : '\0';
    if (last == '}' || last == ']')
        mistake_add(
            t->m, t->at,
            "nothing can follow '%c': a value that begins with '%c' is a YAML %s; put "
            "the whole value in quotes",
            last, last == '}' ? '{' : '[', last == '}' ? "map" : "list");
    else if (last == '"' || last == '\'')
        mistake_add(t->m, t->at,
                    "nothing can follow this quote: put the whole value in %s quotes",
                    last == '"' ? "single" : "double");
    else if (last)
        mistake_add(t->m, t->at,
                    "this cannot follow the value before it: put the whole value "
                    "in quotes");
    else if (line_before(t->m, l, &above) && comment_in(t->m, above))
        mistake_add(
            t->m, t->at,
            "a comment ends a value, so this cannot continue the one above (or its "
            "indentation is wrong)");
    else
        mistake_add(t->m, t->at, "the indentation of this line fits none above it");
}

/* '*' or '&' without a name: the beginning of a value, or behind [ ] or { }. */
static void no_anchor(const struct trouble *t)
{
    struct line l = line_of(t->m, t->context_at);
    size_t p = t->context_at;
    while (p > l.begin && t->m->text[p - 1] == ' ')
        p--;
    if (p > l.begin && strchr("}]", t->m->text[p - 1])) {
        struct trouble behind = *t;
        behind.at = t->context_at;
        no_key(&behind);
        return;
    }
    mistake_add(t->m, t->context_at, "a value that begins with '%c' must stand in quotes",
                t->m->text[t->context_at]);
}

static void no_token(const struct trouble *t)
{
    char c = t->m->text[t->at];
    if (c == '\t')
        mistake_add(t->m, t->at, "%s", TAB);
    else
        mistake_add(t->m, t->at, "a value cannot begin with '%c': put it in quotes", c);
}

static void unclosed(const struct trouble *t)
{
    char open = t->m->text[t->context_at];
    struct place place = place_of(t->m, t->at);
    mistake_add(
        t->m, t->context_at,
        "after this '%c', a ',' or the '%c' is missing before line %zu, column %zu", open,
        open == '[' ? ']' : '}', place.line, place.column);
}

static void odd_escape(const struct trouble *t)
{
    size_t letter = t->m->text[t->at] == '\\' ? t->at + 1 : t->at;
    mistake_add(
        t->m, letter - 1,
        "in double quotes '\\' begins an escape, and '\\%c' is none: use single quotes",
        letter < t->m->len ? t->m->text[letter] : ' ');
}

/* The first row that fits: what libyaml's problem and its context begin with, and the
 * sentence to say, at the problem or at the context; or a closer look. */
static const struct {
    const char *problem, *context;
    enum { AT_PROBLEM, AT_CONTEXT } place;
    const char *sentence;
    void (*look)(const struct trouble *t);
} table[] = {
    {"could not find expected ':'", "", 0, NULL, no_colon},
    {"mapping values are not allowed", "", 0, NULL, colon_in_value},
    {"did not find expected key", "", 0, NULL, no_key},
    {"found character that cannot start any token", "", 0, NULL, no_token},
    {"did not find expected ',' or '", "", 0, NULL, unclosed},
    {"found unknown escape character", "", 0, NULL, odd_escape},
    {"found a tab character", "", AT_PROBLEM, TAB, NULL},
    {"", "while scanning a directive", AT_CONTEXT, DIRECTIVE, NULL},
    {"", "while scanning a %", AT_CONTEXT, DIRECTIVE, NULL},
    {"found incompatible YAML document", "", AT_PROBLEM, DIRECTIVE, NULL},
    {"found duplicate %", "", AT_PROBLEM, DIRECTIVE, NULL},
    {"found undefined tag handle", "", AT_CONTEXT, TAG, NULL},
    {"", "while scanning a tag", AT_CONTEXT, TAG, NULL},
    {"", "while parsing a tag", AT_CONTEXT, TAG, NULL},
    {"found unexpected end of stream", "while scanning a quoted", AT_CONTEXT, UNCLOSED,
     NULL},
    {"found unexpected document indicator", "", AT_CONTEXT, UNCLOSED, NULL},
    {"did not find expected hexdecimal number", "", AT_PROBLEM,
     "this escape needs more hexadecimal digits: \\xNN, \\uNNNN or \\UNNNNNNNN", NULL},
    {"found invalid Unicode character escape code", "", AT_PROBLEM,
     "this escape is no Unicode character", NULL},
    {"block sequence entries are not allowed", "", AT_PROBLEM,
     "the '- ' of a list must begin a line; a value that begins with '- ' must stand in "
     "quotes",
     NULL},
    {"mapping keys are not allowed", "", AT_PROBLEM,
     "a value that begins with '? ' must stand in quotes", NULL},
    {"did not find expected '-' indicator", "", AT_PROBLEM,
     "this line is no item of the list above, whose items begin with '- ' in one column",
     NULL},
    {"did not find expected comment or line break", "while scanning a block scalar",
     AT_PROBLEM, "after '|' or '>' the text begins in the next line", NULL},
    {"found an indentation indicator equal to 0", "", AT_PROBLEM,
     "after '|' or '>' there can be no 0", NULL},
    {"did not find expected alphabetic or numeric character", "", 0, NULL, no_anchor},
    {"did not find expected node content", "", AT_PROBLEM, "a value is missing here",
     NULL},
    {"did not find expected <document start>", "", AT_PROBLEM,
     "a sweep file is one document: nothing can follow '...'", NULL},
    {"found unexpected ':'", "", AT_PROBLEM,
     "a value that holds ':' must stand in quotes here", NULL},
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text ? text : "", with, strlen(with)) == 0;
}

void yaml_explain(struct mistakes *m, const char *problem, size_t problem_at,
                  const char *context, size_t context_at)
{
    struct trouble t = {m, problem, context, problem_at, context_at};
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (!begins(problem, table[i].problem) || !begins(context, table[i].context))
            continue;
        if (table[i].look)
            table[i].look(&t);
        else
            mistake_add(m, table[i].place == AT_CONTEXT ? context_at : problem_at, "%s",
                        table[i].sentence);
        return;
    }
    mistake_add(m, problem_at, "YAML cannot be read here: %s", problem);
}
