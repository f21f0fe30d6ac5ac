#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/look.h"

#include <stdio.h>
#include <unistd.h>

enum { OPT_JSON };
const struct cli_option status_options[] = {
    [OPT_JSON] = {"json", 'j', NULL, "as one JSON object"}, {0}};

int cmd_status(int argc, char **argv)
{
    const struct cli_command *self = cli_find("status");
    const char *value, *dir = NULL;
    bool json = false;
    struct loaded l;
    struct cli c;
    int o, status;

    cli_begin(&c, self, argc, argv);
    while ((o = cli_next(&c, &value)) != CLI_END) {
        switch (o) {
        case OPT_JSON: json = true; break;
        case CLI_POSITIONAL:
            if (dir)
                return look_surplus(self, value);
            dir = value;
            break;
        case CLI_HELP: return EXIT_GOOD;
        default: return EXIT_USAGE;
        }
    }
    status = look_open(self, dir, false, NULL, &l);
    if (status == EXIT_GOOD)
        look_print(&l, json);
    loaded_close(&l);
    return status;
}
