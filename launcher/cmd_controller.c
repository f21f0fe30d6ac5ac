/* `rung controller`: what the job of a sweep's controller runs. */
#include "launcher/commands.h"
#include "launcher/loaded.h"
#include "launcher/serve.h"
#include "launcher/submit.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_NAME };
const struct cli_option controller_options[] = {
    [OPT_NAME] = {"name", 'n', "NAME", "what the sweep is called, if it is new"}, {0}};

/* The job that we are, if it is one of the sweep's chain: only then another waits behind
 * it. NULL for a controller that a person started. */
static const char *own_job(const char *dir)
{
    const char *id = getenv("SLURM_JOB_ID"), *name = getenv("SLURM_JOB_NAME");
    char *chain = submit_chain_name(dir);
    bool ours = id && name && strcmp(name, chain) == 0;

    free(chain);
    return ours ? id : NULL;
}

int cmd_controller(int argc, char **argv)
{
    const struct cli_command *self = cli_find("controller");
    struct serve_options o = {.executor = EXECUTOR_SLURM, .submit = true};
    const char *value, *dir = NULL;
    struct err e = {0};
    int option, status;
    struct cli c;
    char *found;

    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD)
            return EXIT_USAGE;
        if (option == OPT_NAME)
            o.name = value;
        else
            dir = value;
    }
    found = sweep_dir_find(dir, &e);
    if (!found)
        return cli_fail(self, EXIT_USAGE, "%s", e.text);
    o.job = own_job(found);
    status = serve(found, &o);
    free(found);
    return status;
}
