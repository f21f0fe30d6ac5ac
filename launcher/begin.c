#include "launcher/begin.h"

#include "base/clock.h"
#include "base/file.h"
#include "launcher/batch.h"
#include "launcher/earlier.h"
#include "launcher/loaded.h"
#include "sched/gp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* What is said of a directory that exists. */
static int taken(const char *dir, bool sweep, struct err *e)
{
    struct controller_file f;
    struct str again = STR_INIT;

    if (!sweep)
        return err_set(e, ERR_EXIST,
                       "%s exists already and is no sweep; remove it, or name another "
                       "directory with `--dir`",
                       dir);
    if (sweep_served(dir, &f) != SERVING_NO)
        return err_set(
            e, ERR_EXIST,
            "%s exists already, and a controller serves it: process %ld on %s; "
            "`--dir` names another directory",
            dir, f.pid, f.host);
    cli_quote(&again, dir);
    err_set(e, ERR_EXIST,
            "%s exists already; `rung resume %s` goes on with a sweep, `--dir` "
            "names another directory",
            dir, again.p);
    str_free(&again);
    return ERR_EXIST;
}

/* journal/ and others: the name of sweep.yaml, which comes after them, is made durable
 * together with theirs. */
static int make_rooms(const char *dir, struct err *e)
{
    static const char *const rooms[] = {"journal", "requests", "jobs", "trials"};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        char *path = path_join(dir, rooms[i]);

        if (mkdir(path, 0755) < 0)
            rc = err_sys(e, "%s", path);
        free(path);
    }
    return rc;
}

/* Makes a sweep's directory: sweep.yaml (the text verbatim), journal/, keys/, requests/,
 * jobs/, trials/. ERR_EXIST when there is something already; after another failure there
 * is nothing. */
static int create_directory(const char *dir, const char *yaml, size_t n, struct err *e)
{
    char *path = path_join(dir, "sweep.yaml");
    bool sweep = file_exists(path);
    int rc = dir_make_new(dir, 0755, e);

    if (rc != 0) {
        if (rc == ERR_EXIST && file_exists(dir))
            taken(dir, sweep, e);
        goto out;
    }
    rc = make_rooms(dir, e);
    if (rc == 0)
        rc = keys_create(dir, e);
    if (rc == 0) /* last: a directory with a sweep.yaml is a sweep */
        rc = file_write(path, yaml, n, 0644, e);
    if (rc != 0)
        dir_remove(dir, NULL); /* ours: nobody else could make it */
out:
    free(path);
    return rc;
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

/* Whether search.from will be of use: the controller reads it. */
static int check_earlier(const struct sweepfile *f, struct err *e)
{
    struct earlier earlier;
    int rc = earlier_load(&earlier, f, e);

    earlier_free(&earlier);
    return rc;
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
    } else if (b->file->spec.search == SEARCH_GP && !gp_open(&e)) {
        status = cli_fail(self, EXIT_USAGE, "%s: %s", path, e.text);
    } else if (check_earlier(b->file, &e) != 0) {
        status = cli_fail(self, EXIT_USAGE, "%s: %s", path, e.text);
    } else if (slots) {
        status = set_slots(self, slots, b);
    }
    str_free(&errors);
    if (status != EXIT_GOOD)
        return status;
    b->made = dir ? mem_strdup(dir) : new_directory(b->file->name);
    if (create_directory(b->made, b->file->text.p, b->file->text.len, &e) != 0)
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
