#include "launcher/begin.h"

#include "base/clock.h"
#include "base/file.h"
#include "launcher/batch.h"
#include "launcher/serve.h"

#include <stdio.h>
#include <stdlib.h>

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

static int set_slots(const struct cli_command *self, const char *slots, struct begun *b)
{
    struct err e = {0};

    if (sweepfile_set(b->file, "slots", slots, &e) != 0)
        return cli_fail(self, EXIT_USAGE, "--slots: %s", e.text);
    b->set = (struct request){.op = REQUEST_SET,
                              .trial = -1,
                              .key = mem_strdup("slots"),
                              .value = mem_strdup(slots)};
    return EXIT_GOOD;
}

int sweep_begin(const struct cli_command *self, const char *path, const char *dir,
                const char *slots, bool slurm, struct begun *b)
{
    struct str errors = STR_INIT;
    struct err e = {0};
    int status = EXIT_GOOD;

    *b = (struct begun){0};
    if (sweepfile_load(path, &b->file, &errors) != 0) {
        fputs(errors.p, stderr);
        status = EXIT_USAGE;
    } else if (slurm && batch_check(b->file, &e) != 0) {
        status = cli_fail(self, EXIT_USAGE, "%s: %s", path, e.text);
    } else if (slots) {
        status = set_slots(self, slots, b);
    }
    str_free(&errors);
    if (status != EXIT_GOOD)
        return status;
    b->made = dir ? mem_strdup(dir) : new_directory(b->file->name);
    if (sweep_dir_create(b->made, b->file->text.p, b->file->text.len, &e) != 0)
        return cli_fail(self, e.code == ERR_EXIST ? EXIT_USAGE : EXIT_FAILED, "%s",
                        e.text);
    b->dir = realpath(b->made, NULL);
    return b->dir ? EXIT_GOOD : cli_fail(self, EXIT_FAILED, "%s vanished", b->made);
}

void begun_free(struct begun *b)
{
    sweepfile_free(b->file);
    free(b->set.key);
    free(b->set.value);
    free(b->made);
    free(b->dir);
}
