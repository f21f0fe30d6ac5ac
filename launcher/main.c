#include "config.h"

#include "base/file.h"
#include "base/suggest.h"
#include "launcher/cli.h"
#include "launcher/commands.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static void overview(FILE *to)
{
    fputs("usage: rung COMMAND [ARGUMENT...]\n\n"
          "rung tunes hyperparameters: trials of any program, of which the best go "
          "on.\n\n",
          to);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (c->summary[0])
            fprintf(to, "  %-10s  %s\n", c->name, c->summary);
    }
    fputs("\nBegin with `rung init`, then `rung run sweep.yaml`. "
          "`rung COMMAND --help` tells more.\n",
          to);
}

static int unknown(const char *word)
{
    const char *names[64], *near;
    size_t n = 0;

    for (const struct cli_command *c = cli_commands; c->name && n < 64; c++)
        names[n++] = c->name;
    near = suggest(word, names, n);
    cli_say("there is no command '%s'%s%s%s; see `rung help`", word,
            near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return EXIT_USAGE;
}

/* `rung help --man [COMMAND]` and `rung help --bash` make the manual pages and the
 * completion when rung is built. */
static int help(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    bool manual = strcmp(first, "--man") == 0, bash = strcmp(first, "--bash") == 0;
    const char *name = argc > 1 + manual && !bash ? argv[1 + manual] : NULL;
    const struct cli_command *c = name ? cli_find(name) : NULL;
    struct str out = STR_INIT;

    if (name && !c)
        return unknown(name);
    if (bash)
        cli_completion(&out);
    else if (manual && c)
        cli_manual(c, &out);
    else if (manual)
        cli_manual_overview(&out);
    else if (c)
        cli_help(c, &out);
    else
        overview(stdout);
    fputs(out.p, stdout);
    str_free(&out);
    return EXIT_GOOD;
}

/* Output that got lost is no success. (What `rung log` says is its exit status.) */
static int printed(int status)
{
    errno = EIO; /* if what failed was earlier */
    if (status != EXIT_GOOD || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    fprintf(stderr, "rung: standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

static int run(const struct cli_command *c, int argc, char **argv)
{
    int status = c->run(argc, argv);
    return c->run == cmd_log ? status : printed(status);
}

int main(int argc, char **argv)
{
    const struct cli_command *c;
    struct err e;

    if (file_standard(&e) != 0) {
        fprintf(stderr, "rung: %s\n", e.text);
        return EXIT_FAILED;
    }

    /* May bars be drawn in UTF-8? Numbers stay in the C locale. */
    setlocale(LC_CTYPE, "");
    if (argc < 2) {
        overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("rung %s\n", PACKAGE_VERSION);
        return printed(EXIT_GOOD);
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0)
        return printed(help(argc - 1, argv + 1));
    c = cli_find(argv[1]);
    return c ? run(c, argc - 1, argv + 1) : unknown(argv[1]);
}
