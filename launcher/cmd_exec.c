/* `rung exec`: the shim as a command, for programs that srun or mpirun start. */
#include "base/file.h"
#include "base/num.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/meter.h"
#include "worker/agent/ranks.h"
#include "worker/agent/shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_REPORT, OPT_KILL };
const struct cli_option exec_options[] = {
    [OPT_REPORT] = {"report", 0, "FD",
                    "descriptor that gets the report, a struct in bytes"},
    [OPT_KILL] = {"kill", 0, "SECONDS", "between SIGTERM and SIGKILL (default: 30)"},
    {0}};

struct exec_options_given {
    int64_t report_fd; /* -1: none */
    double kill;
};

static int read_option(const struct cli_command *self, int option, const char *value,
                       struct exec_options_given *o)
{
    size_t n = strlen(value);

    if (option == OPT_REPORT &&
        (num_parse_int(value, n, &o->report_fd) != 0 || o->report_fd < 3 ||
         o->report_fd > 1 << 20 || fcntl((int)o->report_fd, F_GETFD) < 0))
        return cli_fail(self, EXIT_USAGE, "--report wants an open descriptor above 2");
    if (option == OPT_KILL && (num_parse(value, n, &o->kill) != 0 || !(o->kill >= 0)))
        return cli_fail(self, EXIT_USAGE, "--kill wants seconds");
    return 0;
}

/* The agent may have said where reports go; the program need not know. */
static int open_report(const struct exec_options_given *o, struct err *e)
{
    const char *prefix = getenv(RANKS_ENV);
    int fd = (int)o->report_fd;

    if (fd < 0 && prefix)
        fd = ranks_open(prefix, shim_rank(environ), e);
    unsetenv(RANKS_ENV);
    return fd;
}

/* Nor in how the agent learns which GPUs are this step's. It goes without, if need be. */
static void tell_gpus(void)
{
    const char *path = getenv(METER_STEP_ENV), *gpus = getenv("SLURM_STEP_GPUS");
    int fd = -1;

    if (path && gpus && shim_rank(environ) == 0)
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
        file_write_fd(fd, gpus, strlen(gpus), NULL);
        close(fd);
    }
    unsetenv(METER_STEP_ENV);
}

static int run(const struct cli_command *self, char **argv,
               const struct exec_options_given *o)
{
    struct err e = {0};
    int report_fd = open_report(o, &e);

    if (e.code)
        return cli_fail(self, EXIT_FAILED, "%s", e.text);
    tell_gpus();
    return shim_run(&(struct shim){.argv = argv,
                                   .envp = environ,
                                   .out_fd = -1,
                                   .err_fd = -1,
                                   .report_fd = report_fd,
                                   .keep_fds = true,
                                   .kill_seconds = o->kill});
}

int cmd_exec(int argc, char **argv)
{
    const struct cli_command *self = cli_find("exec");
    struct exec_options_given o = {.report_fd = -1, .kill = 30};
    const char *value;
    struct cli c;
    int option, status;

    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_POSITIONAL) {
        switch (option) {
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: return cli_fail(self, EXIT_USAGE, "which program?");
        default: status = read_option(self, option, value, &o);
        }
        if (status)
            return status;
    }
    return run(self, argv + c.at - 1, &o); /* all that follows is the program's */
}
