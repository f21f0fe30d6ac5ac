#include "launcher/command_line.h"

#include "base/proc.h"
#include "launcher/mistakes.h"
#include "launcher/sweepfile_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDENTIFIER "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const char *const placeholders[] = {
    [PART_TRIAL] = "trial",         [PART_ATTEMPT] = "attempt",
    [PART_SEED] = "seed",           [PART_START] = "start",
    [PART_UNTIL] = "until",         [PART_CHECKPOINT_DIR] = "checkpoint_dir",
    [PART_SWEEP_DIR] = "sweep_dir",
};
#define PLACEHOLDERS (sizeof(placeholders) / sizeof(*placeholders))

static size_t placeholder_find(const char *name) /* PLACEHOLDERS: none */
{
    size_t kind = PART_TRIAL;
    while (kind < PLACEHOLDERS && strcmp(placeholders[kind], name) != 0)
        kind++;
    return kind;
}

bool command_reserved(const char *name)
{
    return placeholder_find(name) < PLACEHOLDERS;
}

/* Cutting: `word` is the one at hand. Splitting takes quotes away, but no braces: the
 * n-th '{' of the words is the n-th of the text, and so a mistake finds its place. */
struct cutter {
    struct sweepfile *f;
    const struct space_errors *errors;
    struct command_word *word;
    const char *brace; /* the last '{' that was met, in the command's text; NULL: none */
    bool names_known;
    size_t told;
};

__attribute__((format(printf, 3, 4))) static void tell(struct cutter *c, const char *at,
                                                       const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->told++;
    c->errors->report(c->errors->ctx, (size_t)(at - c->f->command_text), text);
}

/* An unknown name; not looked for any more when there are very many. */
static void tell_unknown(struct cutter *c, const char *at, const char *name,
                         const char *const more[], size_t n, const char *otherwise)
{
    struct str s = STR_INIT;
    if (!c->names_known || c->told >= MISTAKES_KEPT)
        return;
    add_nearest(&s, name, c->f->spec.space, more, n);
    tell(c, at, "there is no parameter '%s'%s", shown(name, strlen(name)).text,
         s.len ? s.p : otherwise);
    str_free(&s);
}

static void add_text(struct cutter *c, const char *text, size_t n)
{
    if (n == 0)
        return;
    struct command_part part = {.kind = PART_TEXT, .text = mem_strndup(text, n)};
    vec_push(&c->word->parts, part);
}

static void add_placeholder(struct cutter *c, const char *name)
{
    const struct space *space = c->f->spec.space;
    size_t kind = placeholder_find(name);
    int param = kind < PLACEHOLDERS ? -1 : space_find(space, name);
    if (kind == PLACEHOLDERS && param < 0) {
        tell_unknown(c, c->brace, name, placeholders + PART_TRIAL,
                     PLACEHOLDERS - PART_TRIAL, " (a brace itself is written '{{')");
        return;
    }
    struct command_part part = {.kind = param < 0 ? (int)kind : PART_PARAM,
                                .param = param};
    vec_push(&c->word->parts, part);
    c->word->optional |= param >= 0 && space_conditional(space, param);
    c->f->command_has_until |= kind == PART_UNTIL;
}

static void meet_brace(struct cutter *c)
{
    c->brace = strchr(c->brace ? c->brace + 1 : c->f->command_text, '{');
}

/* Cuts what begins with '{' at p; returns what follows it. */
static const char *cut_brace(struct cutter *c, const char *p)
{
    meet_brace(c);
    if (p[1] == '{') {
        meet_brace(c);
        add_text(c, "{", 1);
        return p + 2;
    }
    size_t n = strspn(p + 1, IDENTIFIER);
    if (n > 0 && p[1 + n] == '}') {
        char *name = mem_strndup(p + 1, n);
        add_placeholder(c, name);
        free(name);
        return p + n + 2;
    }
    tell(c, c->brace,
         "this '{' begins no placeholder like '{trial}': a brace itself is written '{{'");
    return p + 1;
}

static void cut_word(struct cutter *c, const char *text)
{
    const char *p = text;
    while (*p) {
        size_t n = strcspn(p, "{}");
        add_text(c, p, n);
        p += n;
        if (*p == '{') {
            p = cut_brace(c, p);
        } else if (*p == '}') {
            add_text(c, p, 1);
            p += p[1] == '}' ? 2 : 1;
        }
    }
}

/* A conditional parameter alone: its word goes when it is absent, but the option that
 * stands before it would stay. */
static void check_bare(struct cutter *c, const char *before)
{
    if (c->word->parts.n != 1 || !c->word->optional)
        return;
    const char *name = space_name(c->f->spec.space, c->word->parts.v[0].param);
    tell(c, c->brace,
         "'%s' may be absent, and its word with it, so it cannot be a word of its own: "
         "write %s={%s}",
         name, before && before[0] == '-' ? before : "--option", name);
}

static void cut_words(struct cutter *c, char **words)
{
    for (size_t i = 0; words[i]; i++) {
        vec_push(&c->f->command, (struct command_word){0});
        c->word = &c->f->command.v[i];
        cut_word(c, words[i]);
        check_bare(c, i > 0 ? words[i - 1] : NULL);
        if (i == 0 && c->word->optional)
            tell(c, c->f->command_text,
                 "the program's own name must not depend on a parameter that may be "
                 "absent");
    }
}

/* In a shell's command: $RUNG_PARAM_NAME must be there, and {until} is $RUNG_UNTIL. */
static void check_shell(struct cutter *c)
{
    static const char prefix[] = "RUNG_PARAM_";
    const char *text = c->f->command_text;
    c->f->command_has_until = strstr(text, "RUNG_UNTIL") != NULL;
    for (const char *p = text; (p = strstr(p, prefix)); p++) {
        const char *begin = p + strlen(prefix);
        char *name = mem_strndup(begin, strspn(begin, IDENTIFIER));
        if (*name && space_find(c->f->spec.space, name) < 0)
            tell_unknown(c, p, name, NULL, 0, "");
        free(name);
    }
}

void command_parse(struct sweepfile *f, bool names_known,
                   const struct space_errors *errors)
{
    struct cutter c = {.f = f, .errors = errors, .names_known = names_known};
    char **words;
    size_t n, offset = 0;
    struct err e;
    if (f->shell) {
        check_shell(&c);
        return;
    }
    if (shell_split(f->command_text, &words, &n, &offset, &e) != 0) {
        tell(&c, f->command_text + offset, "command: %s", e.text);
        return;
    }
    if (n == 0 || !words[0][0])
        tell(&c, f->command_text, "command names no program");
    cut_words(&c, words);
    free(words);
}

void command_clear(struct sweepfile *f)
{
    for (size_t i = 0; i < f->command.n; i++) {
        struct command_word *word = &f->command.v[i];
        for (size_t k = 0; k < word->parts.n; k++)
            free(word->parts.v[k].text);
        vec_free(&word->parts);
    }
    vec_free(&f->command);
}

/* ---- for an attempt ---- */

/* Appends what a part stands for; false when its parameter is absent. */
static bool add_part(struct str *out, const struct command_part *part,
                     const struct command_env *env)
{
    switch (part->kind) {
    case PART_TEXT: str_add(out, part->text); break;
    case PART_PARAM:
        if (env->values[part->param].kind == VALUE_ABSENT)
            return false;
        value_text(env->values[part->param], out);
        break;
    case PART_TRIAL: str_addf(out, "%d", (int)env->trial); break;
    case PART_ATTEMPT: str_addf(out, "%d", (int)env->attempt); break;
    case PART_SEED: str_addf(out, "%llu", (unsigned long long)env->seed); break;
    case PART_START: str_addf(out, "%lld", (long long)env->start); break;
    case PART_UNTIL: str_addf(out, "%lld", (long long)env->until); break;
    case PART_CHECKPOINT_DIR: str_add(out, env->checkpoint_dir); break;
    case PART_SWEEP_DIR: str_add(out, env->sweep_dir); break;
    }
    return true;
}

char **command_words(const struct sweepfile *f, const struct command_env *env)
{
    VEC(char *) words = {0};
    if (f->shell) {
        vec_push(&words, mem_strdup("/bin/sh"));
        vec_push(&words, mem_strdup("-c"));
        vec_push(&words, mem_strdup(f->command_text));
    }
    for (size_t i = 0; i < f->command.n; i++) {
        const struct command_word *word = &f->command.v[i];
        struct str s = STR_INIT;
        bool present = true;
        for (size_t k = 0; k < word->parts.n && present; k++)
            present = add_part(&s, &word->parts.v[k], env);
        if (present)
            vec_push(&words, str_take(&s));
        else
            str_free(&s);
    }
    vec_push(&words, NULL);
    return words.v;
}
