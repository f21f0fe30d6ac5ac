#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/export.h"
#include "launcher/look.h"
#include "store/h5.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    OPT_CSV,
    OPT_JSONL,
    OPT_HDF5,
    OPT_TENSORBOARD,
    FORMATS,
    OPT_OUTPUT = FORMATS,
    OPT_UPTO
};
const struct cli_option export_options[] = {
    [OPT_CSV] = {"csv", 0, NULL,
                 "the tables of sweep.h5 as trials.csv, metrics.csv, rungs.csv, "
                 "decisions.csv and attempts.csv"},
    [OPT_JSONL] = {"jsonl", 0, NULL,
                   "the same as JSON objects, one a line: trials.jsonl, ..."},
    [OPT_HDF5] = {"hdf5", 0, NULL, "sweep.h5, made anew from the journal"},
    [OPT_TENSORBOARD] = {"tensorboard", 0, NULL,
                         "tensorboard/, with a run for each trial"},
    [OPT_OUTPUT] = {"output", 'o', "DIR", "write there (default: the sweep's directory)"},
    [OPT_UPTO] = {"upto", 0, "EPOCH:BYTES",
                  "as the journal stood at that byte of that epoch's file"},
    {0}};

static int export_hdf5(const struct loaded *l, const char *to, struct err *e)
{
    struct h5_input in = {.sw = l->sw,
                          .history = &l->history,
                          .name = l->file->name,
                          .yaml = l->file->text.p,
                          .yaml_len = l->file->text.len,
                          .written = clock_wall()};
    char *path = path_join(to, "sweep.h5");
    int rc = h5_write(path, &in, e);

    free(path);
    return rc;
}

/* By option: writes into the directory `to`. */
static int (*const formats[FORMATS])(const struct loaded *l, const char *to,
                                     struct err *e) = {
    [OPT_CSV] = export_csv,
    [OPT_JSONL] = export_jsonl,
    [OPT_HDF5] = export_hdf5,
    [OPT_TENSORBOARD] = export_tensorboard,
};

/* Ends with the controller that it is a child of, if it is one. */
static void stay_with_parent(void)
{
    const char *parent = getenv(EXPORT_PARENT);

    if (!parent)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (strtol(parent, NULL, 10) != (long)getppid())
        _exit(EXIT_FAILED);
}

static bool parse_upto(const char *text, struct journal_pos *pos)
{
    const char *colon = strchr(text, ':');
    int64_t epoch;

    if (!colon || num_parse_int(text, (size_t)(colon - text), &epoch) != 0 ||
        num_parse_int(colon + 1, strlen(colon + 1), &pos->offset) != 0)
        return false;
    pos->epoch = (int32_t)epoch;
    return epoch > 0 && epoch <= INT32_MAX && pos->offset >= 0;
}

static int export(const struct cli_command *self, const char *dir, const char *to,
                  const struct journal_pos *limit, const bool wanted[FORMATS])
{
    struct loaded l;
    struct err e = {0};
    int status = look_open(self, dir, true, limit, &l), rc = 0;

    if (status == EXIT_GOOD && to)
        rc = dir_make(to, 0777, &e);
    for (int i = 0; status == EXIT_GOOD && rc == 0 && i < FORMATS; i++) {
        if (wanted[i])
            rc = formats[i](&l, to ? to : l.dir, &e);
    }
    if (rc != 0)
        status = cli_fail(self, EXIT_FAILED, "%s", e.text);
    loaded_close(&l);
    return status;
}

int cmd_export(int argc, char **argv)
{
    const struct cli_command *self = cli_find("export");
    const char *value, *dir = NULL, *to = NULL;
    bool wanted[FORMATS] = {0}, any = false;
    struct journal_pos limit = {0};
    struct cli c;
    int o;

    stay_with_parent();
    cli_begin(&c, self, argc, argv);
    while ((o = cli_next(&c, &value)) != CLI_END) {
        switch (o) {
        case OPT_OUTPUT: to = value; break;
        case OPT_UPTO:
            if (!parse_upto(value, &limit))
                return cli_fail(self, EXIT_USAGE, "--upto: no EPOCH:BYTES: '%s'", value);
            break;
        case CLI_POSITIONAL:
            if (dir)
                return look_surplus(self, value);
            dir = value;
            break;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        default: wanted[o] = any = true;
        }
    }
    if (!any)
        return cli_fail(self, EXIT_USAGE,
                        "in which format? --csv, --jsonl, --hdf5 or --tensorboard");
    return export(self, dir, to, limit.epoch ? &limit : NULL, wanted);
}
