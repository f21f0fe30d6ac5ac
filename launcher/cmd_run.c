#include "base/proc.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/serve.h"
#include "launcher/submit.h"
#include "launcher/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_DIR, OPT_EXECUTOR, OPT_FOREGROUND, OPT_SLOTS, OPT_QUIET, OPT_JSON };
const struct cli_option run_options[] = {
    [OPT_DIR] = {"dir", 'd', "DIR",
                 "the sweep's own directory (default: NAME-DATE-TIME)"},
    [OPT_EXECUTOR] = {"executor", 'x', "NAME",
                      "where trials run: local, or slurm (default where sbatch is)"},
    [OPT_FOREGROUND] = {"foreground", 'f', NULL,
                        "with slurm: the controller stays here, it is no job of its own"},
    [OPT_SLOTS] = {"slots", 's', "N",
                   "trials that run at once, instead of the file's `slots`"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "no progress, only the result"},
    [OPT_JSON] = {"json", 'j', NULL, "the result as one JSON object"},
    {0}};

static int read_executor(const struct cli_command *self, const char *name,
                         struct serve_options *o)
{
    if (strcmp(name, "slurm") == 0)
        o->executor = EXECUTOR_SLURM;
    else if (strcmp(name, "local") == 0)
        o->executor = EXECUTOR_LOCAL;
    else
        return cli_fail(self, EXIT_USAGE,
                        "there is no executor '%s', only local and slurm", name);
    return EXIT_GOOD;
}

/* Nobody said which: it is Slurm, where there is one. */
static int choose_executor(const struct cli_command *self, struct serve_options *o)
{
    const char *name = getenv("RUNG_EXECUTOR");
    char *sbatch;

    if (name && *name)
        return read_executor(self, name, o);
    sbatch = program_find("sbatch", getenv("PATH"));
    o->executor = sbatch ? EXECUTOR_SLURM : EXECUTOR_LOCAL;
    free(sbatch);
    return EXIT_GOOD;
}

/* The controller runs here. */
static int run_here(const struct cli_command *self, const char *path, const char *dir,
                    const char *slots, struct serve_options *o)
{
    struct begun b;
    int status = sweep_begin(self, path, dir, slots, o->executor == EXECUTOR_SLURM, &b);

    if (status == EXIT_GOOD) {
        if (!o->quiet)
            cli_say("sweep directory: %s", b.made);
        o->name = b.file->name;
        o->sets = &b.set;
        o->n_sets = b.set.key != NULL;
        status = serve(b.dir, o);
    }
    begun_free(&b);
    return status;
}

/* The controller is a job, and what happens here only looks on. */
static int run_there(const struct cli_command *self, const char *path, const char *dir,
                     const char *slots, const struct serve_options *o)
{
    struct str job = STR_INIT;
    struct begun b;
    int status = sweep_begin(self, path, dir, slots, true, &b);

    if (status == EXIT_GOOD && (status = submit_new(self, &b, &job)) != EXIT_GOOD)
        cli_say("with `--executor local` it runs on this machine, without Slurm");
    if (status == EXIT_GOOD) {
        if (!o->quiet) {
            cli_say("sweep directory: %s", b.made);
            cli_say(
                "its controller is job %s; Ctrl-C ends this view of it and nothing else",
                job.p);
        }
        status = watch_to_end(self, b.dir, o->quiet, o->json);
        if (status == EXIT_INTERRUPTED)
            submit_tell(b.made);
    }
    str_free(&job);
    begun_free(&b);
    return status;
}

int cmd_run(int argc, char **argv)
{
    const struct cli_command *self = cli_find("run");
    struct serve_options o = {.submit = true};
    const char *value, *path = NULL, *dir = NULL, *slots = NULL;
    bool foreground = false;
    struct cli c;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        switch (cli_next(&c, &value)) {
        case OPT_DIR: dir = value; continue;
        case OPT_EXECUTOR:
            if (read_executor(self, value, &o) != EXIT_GOOD)
                return EXIT_USAGE;
            continue;
        case OPT_FOREGROUND: foreground = true; continue;
        case OPT_SLOTS: slots = value; continue;
        case OPT_QUIET: o.quiet = true; continue;
        case OPT_JSON: o.json = true; continue;
        case CLI_POSITIONAL:
            if (cli_take_file(self, value, &path) != EXIT_GOOD)
                return EXIT_USAGE;
            continue;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: break;
        }
        break;
    }
    if (!path)
        return cli_no_file(self);
    if (o.executor == EXECUTOR_AS_BEFORE && choose_executor(self, &o) != EXIT_GOOD)
        return EXIT_USAGE;
    if (o.executor == EXECUTOR_SLURM && !foreground)
        return run_there(self, path, dir, slots, &o);
    return run_here(self, path, dir, slots, &o);
}
