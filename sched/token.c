#include "sched/token.h"

#include "base/num.h"

#include <string.h>

/* Bytes of characters that are not ASCII. */
static bool is_foreign(char c)
{
    return (unsigned char)c >= 0x80;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Operators, the longer ones first; `wrong` ones are mended to the token. */
static const struct {
    const char *text;
    enum token_kind kind;
    const char *wrong;
} operators[] = {
    {"**", TOKEN_POWER, NULL},
    {"//", TOKEN_SLASHES, NULL},
    {"==", TOKEN_EQ, NULL},
    {"!=", TOKEN_NE, NULL},
    {"<>", TOKEN_NE, "'<>' is not an operator: write '!='"},
    {"<=", TOKEN_LE, NULL},
    {">=", TOKEN_GE, NULL},
    {"=<", TOKEN_LE, "'=<' is not an operator: write '<='"},
    {"=>", TOKEN_GE, "'=>' is not an operator: write '>='"},
    {"&&", TOKEN_AND, "'&&' is not an operator: write 'and'"},
    {"||", TOKEN_OR, "'||' is not an operator: write 'or'"},
    {"(", TOKEN_OPEN, NULL},
    {")", TOKEN_CLOSE, NULL},
    {",", TOKEN_COMMA, NULL},
    {"+", TOKEN_PLUS, NULL},
    {"-", TOKEN_MINUS, NULL},
    {"*", TOKEN_STAR, NULL},
    {"/", TOKEN_SLASH, NULL},
    {"%", TOKEN_PERCENT, NULL},
    {"<", TOKEN_LT, NULL},
    {">", TOKEN_GT, NULL},
    {"=", TOKEN_EQ, "'=' is not an operator: write '==' to compare"},
    {"!", TOKEN_NOT, "'!' is not an operator: write 'not'"},
    {"&", TOKEN_AND, "'&' is not an operator: write 'and'"},
    {"|", TOKEN_OR, "'|' is not an operator: write 'or'"},
    {"^", TOKEN_POWER, "'^' is not an operator: write '**' for a power"},
};
#define OPERATORS (sizeof(operators) / sizeof(operators[0]))

static const struct {
    const char *text;
    enum token_kind kind;
} keywords[] = {
    {"and", TOKEN_AND}, {"false", TOKEN_FALSE}, {"not", TOKEN_NOT},
    {"or", TOKEN_OR},   {"true", TOKEN_TRUE},
};
#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static void report(const struct lexer *l, const char *at, const char *text)
{
    mistake_at(l->errors, (size_t)(at - l->text), "%s", text);
}

static void bad_value(struct lexer *l, struct token *t, const char *at, const char *text)
{
    report(l, at, text);
    t->kind = TOKEN_BAD;
    t->mended = true;
}

static bool scan_operator(struct lexer *l, struct token *t)
{
    for (size_t i = 0; i < OPERATORS; i++) {
        size_t n = strlen(operators[i].text);
        if (strncmp(l->p, operators[i].text, n) != 0)
            continue;
        if (operators[i].wrong) {
            report(l, l->p, operators[i].wrong);
            t->mended = true;
        }
        t->kind = operators[i].kind;
        l->p += n;
        return true;
    }
    return false;
}

static void scan_name(struct lexer *l, struct token *t)
{
    const char *start = l->p, *foreign = NULL;
    for (; is_letter(*l->p) || is_digit(*l->p) || is_foreign(*l->p); l->p++)
        if (is_foreign(*l->p) && !foreign)
            foreign = l->p;
    if (foreign) {
        bad_value(l, t, foreign, "what is not ASCII may stand only in quotes");
        return;
    }
    size_t n = (size_t)(l->p - start);
    t->kind = TOKEN_NAME;
    for (size_t i = 0; i < KEYWORDS; i++)
        if (strlen(keywords[i].text) == n && memcmp(keywords[i].text, start, n) == 0)
            t->kind = keywords[i].kind;
}

static void scan_digits(struct lexer *l)
{
    while (is_digit(*l->p))
        l->p++;
}

/* 12, 1.5, .5, 5., 1e-4; not 0x10, 1_000, 007, 2x. */
static void scan_number(struct lexer *l, struct token *t)
{
    const char *start = l->p, *why = NULL;
    bool real = false;
    scan_digits(l);
    if (*l->p == '.') {
        real = true;
        l->p++;
        scan_digits(l);
    }
    if ((*l->p == 'e' || *l->p == 'E') &&
        is_digit(l->p[1 + (l->p[1] == '+' || l->p[1] == '-')])) {
        real = true;
        l->p += 2;
        scan_digits(l);
    }
    t->kind = TOKEN_NUMBER;
    if (is_letter(*l->p) || is_foreign(*l->p) || *l->p == '.') {
        while (is_letter(*l->p) || is_foreign(*l->p) || is_digit(*l->p) || *l->p == '.')
            l->p++;
        why = "this is neither a number nor a word (text needs quotes)";
    } else if (!real && start[0] == '0' && l->p > start + 1) {
        why = "an integer cannot begin with 0";
    } else if (real && num_parse(start, (size_t)(l->p - start), &t->number.r) == 0) {
        t->number.kind = VALUE_REAL;
    } else if (!real && num_parse_int(start, (size_t)(l->p - start), &t->number.i) == 0) {
        t->number.kind = VALUE_INT;
    } else {
        why = real ? "this number is beyond the range of a double"
                   : "this integer does not fit in 64 bits";
    }
    if (why)
        bad_value(l, t, start, why);
}

/* The character that \c means, 0 for none. */
static char escape(char c)
{
    static const char names[] = "\\\\''\"\"n\nt\t";
    for (const char *n = names; *n; n += 2)
        if (n[0] == c)
            return n[1];
    return '\0';
}

static void scan_string(struct lexer *l, struct token *t)
{
    const char *start = l->p;
    char quote = *l->p++;
    t->kind = TOKEN_STRING;
    for (; *l->p && *l->p != quote; l->p++) {
        if (*l->p != '\\')
            continue;
        if (!escape(l->p[1])) {
            report(l, l->p, "a backslash in quotes stands before \\, ', \", n or t only");
            t->mended = true;
        }
        if (l->p[1])
            l->p++;
    }
    if (*l->p) {
        l->p++;
    } else {
        report(l, start, "the quote that begins here is never closed");
        t->mended = true;
    }
}

void token_text(const char *text, struct token t, struct str *out)
{
    const char *p = text + t.offset, *end = p + t.len;
    char quote = *p++;
    for (; p < end && *p != quote; p++) {
        char c = *p == '\\' && p + 1 < end ? escape(p[1]) : '\0';
        str_addc(out, c ? c : *p);
        p += c != '\0';
    }
}

/* Skips what begins no token; a run of such bytes is one mistake. */
static void skip_unknown(struct lexer *l)
{
    static const char marks[] = "()[],.+-*/%<>=!&|^\"'";
    const char *start = l->p++;
    unsigned char c = (unsigned char)*start;
    if (c == ']' && l->bracket)
        return;
    while (!strchr(marks, *start) && *l->p && !strchr(marks, *l->p) && !is_blank(*l->p) &&
           !is_letter(*l->p) && !is_foreign(*l->p) && !is_digit(*l->p))
        l->p++;
    l->bracket |= c == '[';
    if (c == '[')
        report(l, start, "a list is written without brackets: choice(a, b)");
    else if (c < ' ' || c == 0x7f)
        report(l, start, "an unprintable character");
    else
        mistake_at(l->errors, (size_t)(start - l->text),
                   "'%c' has no meaning here (text needs quotes)", c);
}

struct token lexer_next(struct lexer *l)
{
    struct token t = {.kind = TOKEN_END};
    for (;;) {
        while (is_blank(*l->p))
            l->p++;
        t.offset = (size_t)(l->p - l->text);
        if (!*l->p)
            break;
        if (is_letter(*l->p) || is_foreign(*l->p))
            scan_name(l, &t);
        else if (is_digit(*l->p) || (*l->p == '.' && is_digit(l->p[1])))
            scan_number(l, &t);
        else if (*l->p == '"' || *l->p == '\'')
            scan_string(l, &t);
        else if (!scan_operator(l, &t)) {
            skip_unknown(l);
            t.mended = true;
            continue;
        }
        break;
    }
    t.len = (size_t)(l->p - l->text) - t.offset;
    return t;
}
