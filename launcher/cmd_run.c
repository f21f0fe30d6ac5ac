#include "base/clock.h"
#include "base/file.h"
#include "launcher/batch.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/loaded.h"
#include "launcher/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_DIR, OPT_EXECUTOR, OPT_SLOTS, OPT_QUIET, OPT_JSON };
const struct cli_option run_options[] = {
    [OPT_DIR] = {"dir", 'd', "DIR",
                 "the sweep's own directory (default: NAME-DATE-TIME)"},
    [OPT_EXECUTOR] = {"executor", 'x', "NAME", "where trials run: local, or slurm"},
    [OPT_SLOTS] = {"slots", 's', "N",
                   "trials that run at once, instead of the file's `slots`"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "no progress, only the result"},
    [OPT_JSON] = {"json", 'j', NULL, "the result as one JSON object"},
    {0}};

/* NAME-20261120-171502, or the same with -2, -3, ... when several begin in a second. */
static char *new_directory(const char *name)
{
    char stamp[32];
    struct str dir = STR_INIT;

    str_addf(&dir, "%s-%s", name, clock_stamp(stamp, clock_wall()));
    for (int i = 2; i < 1000 && file_exists(dir.p); i++) {
        str_cut(&dir, 0);
        str_addf(&dir, "%s-%s-%d", name, stamp, i);
    }
    return str_take(&dir);
}

static int run(const struct cli_command *self, const char *path, const char *dir,
               const char *slots, struct serve_options *o)
{
    struct request set = {.op = REQUEST_SET, .trial = -1};
    struct str errors = STR_INIT;
    struct sweepfile *f = NULL;
    struct err e = {0};
    char *made = NULL, *absolute = NULL, key[] = "slots";
    int status = EXIT_USAGE;

    if (sweepfile_load(path, &f, &errors) != 0) {
        fputs(errors.p, stderr);
        goto out;
    }
    if (o->executor == EXECUTOR_SLURM && batch_check(f, &e) != 0) {
        cli_fail(self, EXIT_USAGE, "%s: %s", path, e.text);
        goto out;
    }
    if (slots) {
        set.key = key;
        set.value = mem_strdup(slots);
        o->sets = &set;
        o->n_sets = 1;
        if (sweepfile_set(f, key, slots, &e) != 0) {
            cli_fail(self, EXIT_USAGE, "--slots: %s", e.text);
            goto out;
        }
    }
    made = dir ? mem_strdup(dir) : new_directory(f->name);
    if (sweep_dir_create(made, f->text.p, f->text.len, &e) != 0) {
        status =
            cli_fail(self, e.code == ERR_EXIST ? EXIT_USAGE : EXIT_FAILED, "%s", e.text);
        goto out;
    }
    absolute = realpath(made, NULL);
    if (!o->quiet)
        cli_say("sweep directory: %s", made);
    o->name = f->name;
    status = serve(absolute, o);
out:
    str_free(&errors);
    sweepfile_free(f);
    free(set.value);
    free(absolute);
    free(made);
    return status;
}

int cmd_run(int argc, char **argv)
{
    const struct cli_command *self = cli_find("run");
    struct serve_options o = {.executor = EXECUTOR_LOCAL, .submit = true};
    const char *value, *path = NULL, *dir = NULL, *slots = NULL;
    struct cli c;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        switch (cli_next(&c, &value)) {
        case OPT_DIR: dir = value; continue;
        case OPT_EXECUTOR:
            if (strcmp(value, "slurm") == 0)
                o.executor = EXECUTOR_SLURM;
            else if (strcmp(value, "local") != 0)
                return cli_fail(self, EXIT_USAGE,
                                "there is no executor '%s', only local and slurm", value);
            continue;
        case OPT_SLOTS: slots = value; continue;
        case OPT_QUIET: o.quiet = true; continue;
        case OPT_JSON: o.json = true; continue;
        case CLI_POSITIONAL:
            if (path)
                return cli_fail(self, EXIT_USAGE, "one sweep file, please, not also '%s'",
                                value);
            path = value;
            continue;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: break;
        }
        break;
    }
    if (!path)
        return cli_fail(self, EXIT_USAGE,
                        "which sweep file? (`rung init` writes one to begin with)");
    return run(self, path, dir, slots, &o);
}
