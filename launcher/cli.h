/* What all subcommands share: one table a command for its options, from which parsing,
 * --help, the manual page and the shell completion are made. */
#ifndef LAUNCHER_CLI_H
#define LAUNCHER_CLI_H

#include "base/str.h"

#include <stdbool.h>

enum exit_status {
    EXIT_GOOD = 0,
    EXIT_FAILED = 1, /* the sweep or the operation failed */
    EXIT_USAGE = 2,  /* wrong usage or wrong input */
    EXIT_INTERRUPTED = 130
};

struct cli_option {
    const char *name; /* "slots" for --slots */
    char letter;      /* 'n' for -n, 0: none */
    const char *arg;  /* "N"; NULL: a flag */
    const char *help; /* one sentence, no full stop */
};

struct cli_command {
    const char *name;
    const char *usage;   /* what follows `rung NAME`: "[DIR] TRIAL" */
    const char *summary; /* one line */
    const char *details; /* paragraphs for --help and the manual page; NULL: none */
    const struct cli_option *options;  /* ends with a NULL name; --help is added */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

/* The commands in the order of `rung help`; ends with a NULL name. (launcher/main.c) */
extern const struct cli_command cli_commands[];
const struct cli_command *cli_find(const char *name);

/* Goes through argv: returns the index in `options` of the next option found and sets
 * *value; CLI_POSITIONAL for a plain argument (*value); CLI_END at the end; CLI_HELP
 * after
 * --help was printed to stdout: return EXIT_GOOD; CLI_BAD after a message to stderr with
 * the nearest option's name: return EXIT_USAGE. Options and arguments may mix; -- ends
 * options. */
enum { CLI_END = -1, CLI_POSITIONAL = -2, CLI_HELP = -3, CLI_BAD = -4 };
struct cli {
    const struct cli_command *command;
    int argc, at;
    char **argv;
    bool plain; /* after -- */
    int letter; /* within a group of short options */
};
void cli_begin(struct cli *c, const struct cli_command *command, int argc, char **argv);
int cli_next(struct cli *c, const char **value);

/* "rung best: TEXT" on stderr; returns status. No control character of the text reaches
 * the terminal but the line feed. */
int cli_fail(const struct cli_command *command, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* For commands that take one sweep file: CLI_POSITIONAL was that. EXIT_GOOD, or
 * EXIT_USAGE after a message since there was one before. */
int cli_take_file(const struct cli_command *command, const char *value,
                  const char **file);
/* There was none: EXIT_USAGE after a message. */
int cli_no_file(const struct cli_command *command);
/* "rung: TEXT", likewise. */
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A path as a word of a command to be typed, fit for a terminal. */
void cli_quote(struct str *out, const char *path);

/* "-n, --count K" */
void cli_option_text(const struct cli_option *o, struct str *out);

/* --help's text. (launcher/cli_pages.c:) The manual page of a command and that of all,
 * rung(1), in man(7)'s language, and a bash completion. */
void cli_help(const struct cli_command *command, struct str *out);
void cli_manual(const struct cli_command *command, struct str *out);
void cli_manual_overview(struct str *out);
void cli_completion(struct str *out);

#endif
