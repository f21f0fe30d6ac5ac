/* rung-exec: `rung exec` as a program of its own. Each rank of each job step starts one,
 * and most of what `rung` takes to start is the loading of libraries that a shim does
 * not use. */
#include "base/file.h"
#include "launcher/commands.h"

#include <stdio.h>

const struct cli_command cli_commands[] = {
    COMMAND_EXEC,
    {0},
};

int main(int argc, char **argv)
{
    struct err e;

    if (file_standard(&e) != 0) {
        fprintf(stderr, "rung-exec: %s\n", e.text);
        return EXIT_FAILED;
    }
    return cmd_exec(argc, argv);
}
