#include "base/file.h"
#include "base/vec.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/loaded.h"
#include "launcher/serve.h"
#include "launcher/submit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OPT_SET, OPT_QUIET, OPT_JSON };
const struct cli_option resume_options[] = {
    [OPT_SET] = {"set", 's', "KEY=VALUE",
                 "change stop.*, slots, search.trials, keep.checkpoints or resources.*"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "no progress, only the result"},
    [OPT_JSON] = {"json", 'j', NULL, "the result as one JSON object"},
    {0}};

/* The one unfinished sweep below the current directory; with several the person must say.
 */
char *sweep_dir_unfinished(const char *dir, struct err *e)
{
    char **dirs, *found = NULL;
    struct str list = STR_INIT;
    size_t n, unfinished = 0;

    if (dir || sweep_dir_is("."))
        return sweep_dir_find(dir, e);
    if (sweep_dirs(".", &dirs, &n, e) != 0)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        struct controller_file f;

        if (controller_file_read(dirs[i], &f, NULL) != 0 ||
            strcmp(f.state, "finished") != 0) {
            unfinished++;
            str_addf(&list, "%s%s", list.len ? ", " : "", dirs[i]);
            if (unfinished == 1)
                found = dirs[i];
        }
    }
    if (unfinished > 1) {
        err_set(e, ERR_INVAL, "several sweeps here are unfinished, name one: %s", list.p);
        found = NULL;
    } else {
        found = sweep_dir_find(found, e); /* none: the newest, which is finished */
    }
    for (size_t i = 0; i < n; i++)
        free(dirs[i]);
    free(dirs);
    str_free(&list);
    return found;
}

/* Hands requests to the controller that serves the sweep and waits until it has taken
 * them. */
int requests_hand_over(const struct cli_command *self, const char *dir,
                       const struct controller_file *f, const struct request *r, size_t n)
{
    struct err e = {0};

    for (size_t i = 0; i < n; i++) {
        const struct timespec tenth = {0, 100000000};
        char *path = NULL;
        bool taken = false;

        if (request_write(dir, &r[i], &path, &e) != 0)
            return cli_fail(self, EXIT_FAILED, "%s", e.text);
        for (int k = 0; k < 100 && !taken; k++) {
            taken = !file_exists(path);
            if (!taken)
                nanosleep(&tenth, NULL);
        }
        free(path);
        if (!taken)
            return cli_fail(
                self, EXIT_FAILED,
                "the controller on %s (process %ld) did not take the request within "
                "10 seconds; it stays in requests/ for the next one",
                f->host, f->pid);
    }
    return EXIT_GOOD;
}

/* Would all of `--set` be taken? It says why not. */
static bool settings_good(const struct cli_command *self, struct sweepfile *f,
                          const struct serve_options *o)
{
    struct err e = {0};

    for (size_t i = 0; i < o->n_sets; i++) {
        if (sweepfile_set(f, o->sets[i].key, o->sets[i].value, &e) != 0) {
            cli_fail(self, EXIT_USAGE, "--set %s: %s", o->sets[i].key, e.text);
            return false;
        }
    }
    return true;
}

/* Its controller died before its first epoch was there: trials come after that. */
static bool never_begun(const struct loaded *l, int rc)
{
    char *trials = path_join(l->dir, "trials"), **names = NULL;
    size_t n = 0;
    bool never = rc == ERR_NOENT && l->sw && dir_list(trials, &names, &n, NULL) == 0;

    free(names);
    free(trials);
    return never && n == 0;
}

/* EXIT_GOOD, or why the sweep cannot go on. */
static int look_before(const struct cli_command *self, const char *dir,
                       const struct serve_options *o, bool *finished)
{
    struct loaded l;
    struct err e = {0};
    int status = EXIT_GOOD, rc = loaded_open(&l, dir, false, &e);

    if (rc != 0 && !never_begun(&l, rc))
        status = cli_fail(self, EXIT_FAILED, "%s", e.text);
    else if (!settings_good(self, l.file, o))
        status = EXIT_USAGE;
    else
        *finished = sweep_totals(l.sw)->finished;
    loaded_close(&l);
    return status;
}

static int resume(const struct cli_command *self, const char *dir,
                  struct serve_options *o)
{
    struct controller_file f = {0};
    bool finished = false;
    int status = look_before(self, dir, o, &finished);
    enum serving serving = sweep_served(dir, &f);

    if (status != EXIT_GOOD)
        return status;
    if (finished && o->n_sets == 0 && strcmp(f.state, "finished") == 0) {
        cli_say("%s is finished; nothing to resume", dir);
        return EXIT_GOOD;
    }
    if (submit_has_chain(dir))
        return submit_again(self, dir, o->sets, o->n_sets);
    if (serving != SERVING_NO && o->n_sets > 0)
        return requests_hand_over(self, dir, &f, o->sets, o->n_sets);
    if (serving == SERVING_HERE)
        return cli_fail(self, EXIT_FAILED,
                        "a controller serves it already: process %ld on %s", f.pid,
                        f.host);
    if (serving == SERVING_ELSEWHERE)
        cli_say("taking over from the controller on %s (process %ld)", f.host, f.pid);
    return serve(dir, o);
}

static bool add_setting(const char *text, struct request *r)
{
    const char *equals = strchr(text, '=');

    *r = (struct request){.op = REQUEST_SET, .trial = -1};
    if (!equals || equals == text)
        return false;
    r->key = mem_strndup(text, (size_t)(equals - text));
    r->value = mem_strdup(equals + 1);
    return true;
}

int cmd_resume(int argc, char **argv)
{
    const struct cli_command *self = cli_find("resume");
    struct serve_options o = {.submit = true, .resume = true};
    VEC(struct request) sets = {0};
    const char *value, *dir = NULL;
    struct request r;
    struct err e = {0};
    struct cli c;
    char *found;
    int status;

    cli_begin(&c, self, argc, argv);
    for (;;) {
        switch (cli_next(&c, &value)) {
        case OPT_SET:
            if (!add_setting(value, &r))
                return cli_fail(self, EXIT_USAGE, "--set wants KEY=VALUE, not '%s'",
                                value);
            vec_push(&sets, r);
            continue;
        case OPT_QUIET: o.quiet = true; continue;
        case OPT_JSON: o.json = true; continue;
        case CLI_POSITIONAL: dir = value; continue;
        case CLI_HELP: return EXIT_GOOD;
        case CLI_BAD: return EXIT_USAGE;
        case CLI_END: break;
        }
        break;
    }
    o.sets = sets.v;
    o.n_sets = sets.n;
    found = sweep_dir_unfinished(dir, &e);
    status = found ? resume(self, found, &o) : cli_fail(self, EXIT_USAGE, "%s", e.text);
    for (size_t i = 0; i < sets.n; i++) {
        free(sets.v[i].key);
        free(sets.v[i].value);
    }
    vec_free(&sets);
    free(found);
    return status;
}
