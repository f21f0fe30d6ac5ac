/* `rung render`: what would be submitted. */
#include "base/clock.h"
#include "base/file.h"
#include "base/proc.h"
#include "launcher/batch.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "slurm/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_DIR, OPT_SLOTS, OPT_SCRIPT };
const struct cli_option render_options[] = {
    [OPT_DIR] = {"dir", 'd', "DIR",
                 "the sweep's own directory (default: NAME-DATE-TIME)"},
    [OPT_SLOTS] = {"slots", 's', "N",
                   "trials that run at once, instead of the file's `slots`"},
    [OPT_SCRIPT] = {"script", 0, NULL,
                    "only the batch script of the slots, for other programs"},
    {0}};

/* A directory that need not exist, absolute. */
static char *absolute(const char *dir, const char *workdir)
{
    char *real = realpath(dir, NULL);

    if (real)
        return real;
    return dir[0] == '/' ? mem_strdup(dir) : path_join(workdir, dir);
}

static void add_command(struct str *out, char **argv)
{
    for (char **word = argv; *word; word++) {
        str_add(out, word > argv ? " " : "");
        shell_quote(out, *word);
        free(*word);
    }
    str_addc(out, '\n');
    free(argv);
}

/* The commands: arrays of as many tasks as Slurm takes. */
static void add_commands(struct str *out, const char *dir, int jobs)
{
    while (jobs > 0) {
        int n = jobs < SCRIPT_ARRAY_MAX ? jobs : SCRIPT_ARRAY_MAX;

        add_command(out, script_sbatch(dir, n, NULL));
        jobs -= n;
    }
}

/* Takes path over. */
static void add_script(struct str *out, char *path, const char *script)
{
    str_add(out, "# ");
    shell_quote(out, path);
    str_addf(out, "\n\n%s\n# submitted by\n\n", script);
    free(path);
}

static void add_all(struct str *out, const struct sweepfile *f, const char *dir,
                    const char *controller, const char *script)
{
    add_script(out, script_controller_path(dir), controller);
    add_command(out, script_controller_sbatch(dir));
    str_addc(out, '\n');
    add_script(out, script_path(dir), script);
    add_commands(out, dir, f->slots / f->slots_per_job);
}

static int render(const struct cli_command *self, struct sweepfile *f, const char *dir,
                  bool only_script)
{
    struct str script = STR_INIT, controller = STR_INIT, all = STR_INIT, name = STR_INIT;
    char stamp[32], *workdir = getcwd(NULL, 0), *full;
    struct err e = {0};
    int status = EXIT_GOOD;

    if (!workdir)
        return cli_fail(self, EXIT_FAILED, "cannot tell the current directory");
    str_addf(&name, "%s-%s", f->name, clock_stamp(stamp, clock_wall()));
    full = absolute(dir ? dir : name.p, workdir);
    if (batch_script(f, full, workdir, NULL, 0, &script, &e) != 0 ||
        batch_controller(f, full, workdir, &controller, &e) != 0) {
        status = cli_fail(self, EXIT_USAGE, "%s", e.text);
    } else {
        add_all(&all, f, full, controller.p, script.p);
        fputs(only_script ? script.p : all.p, stdout);
    }
    str_free(&script);
    str_free(&controller);
    str_free(&all);
    str_free(&name);
    free(workdir);
    free(full);
    return status;
}

int cmd_render(int argc, char **argv)
{
    const struct cli_command *self = cli_find("render");
    const char *value, *path = NULL, *dir = NULL, *slots = NULL;
    struct str errors = STR_INIT;
    struct sweepfile *f = NULL;
    bool only_script = false;
    struct err e = {0};
    int option, status;
    struct cli c;

    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD ||
            (option == CLI_POSITIONAL && cli_take_file(self, value, &path) != EXIT_GOOD))
            return EXIT_USAGE;
        if (option == OPT_DIR)
            dir = value;
        else if (option == OPT_SLOTS)
            slots = value;
        else if (option == OPT_SCRIPT)
            only_script = true;
    }
    if (!path)
        return cli_no_file(self);
    if (sweepfile_load(path, &f, &errors) != 0) {
        fputs(errors.p, stderr);
        status = EXIT_USAGE;
    } else if (slots && sweepfile_set(f, "slots", slots, &e) != 0) {
        status = cli_fail(self, EXIT_USAGE, "--slots: %s", e.text);
    } else {
        status = render(self, f, dir, only_script);
    }
    str_free(&errors);
    sweepfile_free(f);
    return status;
}
