/* `rung submit`: a sweep whose controller is a job, too. */
#include "launcher/commands.h"
#include "launcher/submit.h"

enum { OPT_DIR, OPT_SLOTS };
const struct cli_option submit_options[] = {
    [OPT_DIR] = {"dir", 'd', "DIR",
                 "the sweep's own directory (default: NAME-DATE-TIME)"},
    [OPT_SLOTS] = {"slots", 's', "N",
                   "trials that run at once, instead of the file's `slots`"},
    {0}};

static int submit(const struct cli_command *self, const char *path, const char *dir,
                  const char *slots)
{
    struct str job = STR_INIT;
    struct begun b;
    int status = sweep_begin(self, path, dir, slots, true, &b);

    if (status == EXIT_GOOD)
        status = submit_new(self, &b, &job);
    if (status == EXIT_GOOD) {
        cli_say("sweep directory: %s", b.made);
        cli_say("its controller is job %s", job.p);
        submit_tell(b.made);
    }
    str_free(&job);
    begun_free(&b);
    return status;
}

int cmd_submit(int argc, char **argv)
{
    const struct cli_command *self = cli_find("submit");
    const char *value, *path = NULL, *dir = NULL, *slots = NULL;
    struct cli c;
    int option;

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
    }
    if (!path)
        return cli_no_file(self);
    return submit(self, path, dir, slots);
}
