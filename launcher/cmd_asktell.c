#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/earlier.h"
#include "launcher/sweepfile.h"
#include "sched/asktell.h"

#include <stdio.h>
#include <stdlib.h>

int cmd_asktell(int argc, char **argv)
{
    const struct cli_command *self = cli_find("asktell");
    struct str errors = STR_INIT, out = STR_INIT;
    struct sweepfile *f = NULL;
    struct earlier earlier;
    struct err e = {0};
    struct asktell *at;
    const char *value, *path = NULL;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    struct cli c;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        int o = cli_next(&c, &value);

        if (o == CLI_HELP)
            return EXIT_GOOD;
        if (o == CLI_BAD)
            return EXIT_USAGE;
        if (o == CLI_END)
            break;
        path = value;
    }
    if (!path)
        return cli_fail(self, EXIT_USAGE, "which sweep file?");
    if (sweepfile_load(path, &f, &errors) != 0) {
        fputs(errors.p, stderr);
        str_free(&errors);
        return EXIT_USAGE;
    }
    if (earlier_load(&earlier, f, &e) != 0) {
        earlier_free(&earlier);
        sweepfile_free(f);
        return cli_fail(self, EXIT_USAGE, "%s: %s", path, e.text);
    }
    at = asktell_new(&f->spec);
    for (size_t i = 0; i < earlier.known.n; i++)
        asktell_known(at, &earlier.known.v[i], NULL);
    earlier_free(&earlier);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        if (line[n - 1] == '\n')
            n--;
        asktell_line(at, line, (size_t)n, &out);
        fwrite(out.p, 1, out.len, stdout);
        fflush(stdout);
        str_cut(&out, 0);
    }
    free(line);
    str_free(&out);
    str_free(&errors);
    asktell_free(at);
    sweepfile_free(f);
    return ferror(stdout) ? EXIT_FAILED : EXIT_GOOD;
}
