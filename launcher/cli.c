#include "launcher/cli.h"

#include "base/proc.h"
#include "base/suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_command *cli_find(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static void say(const char *command, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void say(const char *command, const char *fmt, va_list ap)
{
    struct str out = STR_INIT;
    char *text;

    if (vasprintf(&text, fmt, ap) < 0)
        return;
    str_addf(&out, "rung%s%s: ", *command ? " " : "", command);
    str_add_visible_lines(&out, text);
    str_addc(&out, '\n');
    fputs(out.p, stderr);
    str_free(&out);
    free(text);
}

int cli_fail(const struct cli_command *command, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(command->name, fmt, ap);
    va_end(ap);
    return status;
}

int cli_take_file(const struct cli_command *command, const char *value, const char **file)
{
    if (*file)
        return cli_fail(command, EXIT_USAGE, "one sweep file, please, not also '%s'",
                        value);
    *file = value;
    return EXIT_GOOD;
}

int cli_no_file(const struct cli_command *command)
{
    return cli_fail(command, EXIT_USAGE,
                    "which sweep file? (`rung init` writes one to begin with)");
}

void cli_say(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

void cli_quote(struct str *out, const char *path)
{
    struct str word = STR_INIT;

    shell_quote(&word, path);
    str_add_visible(out, word.p, word.len);
    str_free(&word);
}

/* ---- going through the arguments ---- */

void cli_begin(struct cli *c, const struct cli_command *command, int argc, char **argv)
{
    *c = (struct cli){.command = command, .argc = argc, .argv = argv, .at = 1};
}

static int bad(struct cli *c, const char *what, const char *text, const char *near)
{
    cli_fail(c->command, CLI_BAD, "%s%s%s%s%s; see `rung %s --help`", what, text,
             near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "",
             c->command->name);
    return CLI_BAD;
}

static int help(const struct cli *c)
{
    struct str out = STR_INIT;

    cli_help(c->command, &out);
    fputs(out.p, stdout);
    str_free(&out);
    return CLI_HELP;
}

static const char *nearest_option(const struct cli_command *command, const char *word)
{
    const char *names[64];
    size_t n = 0;

    for (const struct cli_option *o = command->options; o && o->name && n < 64; o++)
        names[n++] = o->name;
    return suggest(word, names, n);
}

/* The value of option o: what stands behind '=' or the rest of -nVALUE, else the next
 * argument. */
static int take_value(struct cli *c, int o, const char *attached, const char **value)
{
    const struct cli_option *opt = &c->command->options[o];

    if (!opt->arg && attached)
        return bad(c, "an option that takes no value has one: --", opt->name, NULL);
    *value = attached;
    if (opt->arg && !attached) {
        if (c->at >= c->argc)
            return bad(c, "a value is missing behind --", opt->name, NULL);
        *value = c->argv[c->at++];
    }
    return o;
}

static int long_option(struct cli *c, const char *arg, const char **value)
{
    const char *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : strlen(arg);
    char word[64];

    if (n == 4 && strncmp(arg, "help", 4) == 0)
        return help(c);
    for (int o = 0; c->command->options && c->command->options[o].name; o++) {
        const char *name = c->command->options[o].name;

        if (strlen(name) == n && strncmp(name, arg, n) == 0)
            return take_value(c, o, equals ? equals + 1 : NULL, value);
    }
    snprintf(word, sizeof(word), "%.*s", (int)(n < sizeof(word) ? n : sizeof(word) - 1),
             arg);
    return bad(c, "unknown option --", word, nearest_option(c->command, word));
}

static int short_option(struct cli *c, const char **value)
{
    const char *arg = c->argv[c->at], letter[2] = {arg[c->letter], 0};
    const char *rest = arg + c->letter + 1;

    if (letter[0] == 'h')
        return help(c);
    for (int o = 0; c->command->options && c->command->options[o].name; o++) {
        const struct cli_option *opt = &c->command->options[o];

        if (opt->letter != letter[0])
            continue;
        if (!opt->arg && *rest) { /* -qv: the next letter comes next */
            c->letter++;
            *value = NULL;
            return o;
        }
        c->letter = 0;
        c->at++;
        return take_value(c, o, opt->arg && *rest ? rest : NULL, value);
    }
    return bad(c, "unknown option -", letter, NULL);
}

int cli_next(struct cli *c, const char **value)
{
    const char *arg;

    *value = NULL;
    if (c->letter > 0)
        return short_option(c, value);
    if (c->at >= c->argc)
        return CLI_END;
    arg = c->argv[c->at];
    if (!c->plain && strcmp(arg, "--") == 0) {
        c->plain = true;
        c->at++;
        return cli_next(c, value);
    }
    if (c->plain || arg[0] != '-' || !arg[1]) {
        *value = arg;
        c->at++;
        return CLI_POSITIONAL;
    }
    if (arg[1] == '-') {
        c->at++;
        return long_option(c, arg + 2, value);
    }
    c->letter = 1;
    return short_option(c, value);
}

/* ---- help ---- */

void cli_option_text(const struct cli_option *o, struct str *out)
{
    if (o->letter)
        str_addf(out, "-%c, ", o->letter);
    str_addf(out, "--%s", o->name);
    if (o->arg)
        str_addf(out, " %s", o->arg);
}

void cli_help(const struct cli_command *command, struct str *out)
{
    struct str left = STR_INIT;

    str_addf(out, "usage: rung %s%s%s\n\n%s.\n", command->name,
             *command->usage ? " " : "", command->usage, command->summary);
    if (command->details)
        str_addf(out, "\n%s\n", command->details);
    str_add(out, "\noptions:\n");
    for (const struct cli_option *o = command->options; o && o->name; o++) {
        str_cut(&left, 0);
        cli_option_text(o, &left);
        str_addf(out, "  %-22s  %s\n", left.p, o->help);
    }
    str_addf(out, "  %-22s  %s\n", "-h, --help", "show this help");
    str_free(&left);
}
