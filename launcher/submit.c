#include "launcher/submit.h"

#include "base/file.h"
#include "launcher/batch.h"
#include "slurm/succession.h"
#include "wire/keys.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SCRIPT_MAX 65536 /* bytes */
#define TAKE_LOOKS 300   /* ten a second, for a request to be taken by a controller */
#define OVER_LOOKS 10    /* of these, since the sweep is said to be over */

bool submit_has_chain(const char *dir)
{
    char *path = script_controller_path(dir);
    bool has = file_exists(path);

    free(path);
    return has;
}

char *submit_chain_name(const char *dir)
{
    static const char option[] = "\n#SBATCH --job-name=";
    char *path = script_controller_path(dir), *name = NULL, *at;
    struct str text = STR_INIT;

    if (file_read(path, SCRIPT_MAX, &text, NULL) == 0 && (at = strstr(text.p, option))) {
        at += strlen(option);
        name = mem_strndup(at, strcspn(at, "\n"));
    }
    str_free(&text);
    free(path);
    return name ? name : mem_strdup("?");
}

static int write_script(const struct sweepfile *f, const char *dir, struct err *e)
{
    char *path = script_controller_path(dir), *workdir = getcwd(NULL, 0);
    struct str text = STR_INIT;
    int rc = workdir ? 0 : err_sys(e, "cannot tell the current directory");

    if (rc == 0)
        rc = batch_controller(f, dir, workdir, &text, e);
    if (rc == 0)
        rc = file_write(path, text.p, text.len, 0644, e);
    str_free(&text);
    free(workdir);
    free(path);
    return rc;
}

static int put_request(const char *dir, const struct request *r, struct err *e)
{
    char *path = NULL;
    int rc = request_write(dir, r, &path, e);

    free(path);
    return rc;
}

/* Does the controller whose job runs take a request? Not one that winds up: it has read
 * its last, and says so when nothing is left to be done. That may also be what the one
 * before it has said, so it gets a moment. */
static bool is_taken(const char *dir, const char *path)
{
    const struct timespec tenth = {0, 100000000};
    struct controller_file f;
    int over = 0;

    for (int i = 0; i < TAKE_LOOKS && file_exists(path); i++) {
        over += controller_file_read(dir, &f, NULL) == 0 && controller_file_over(&f);
        if (over > OVER_LOOKS)
            return false;
        nanosleep(&tenth, NULL);
    }
    return true; /* or hangs, and is Slurm's to end */
}

/* The one, and one behind it. Without the second the first will see to it. */
static int submit_two(const char *dir, struct str *job, struct err *e)
{
    struct str next = STR_INIT;
    struct err ignored = {0};
    int rc = succession_submit(dir, job, e);

    if (rc == 0)
        succession_submit(dir, &next, &ignored);
    str_free(&next);
    return rc;
}

static int refused(const struct cli_command *self, const struct err *e)
{
    return cli_fail(
        self, EXIT_FAILED,
        "%s\nnothing was submitted; the controller's job is as `controller:` in "
        "the sweep file says (partition, account, qos, time, memory), and `rung "
        "doctor` tells what this site allows",
        e->text);
}

int submit_new(const struct cli_command *self, const struct begun *b, struct str *job)
{
    struct err e = {0};
    int rc = write_script(b->file, b->dir, &e);

    if (rc == 0 && b->set.key)
        rc = put_request(b->dir, &b->set, &e);
    if (rc == 0)
        rc = submit_two(b->dir, job, &e);
    if (rc == 0)
        return EXIT_GOOD;
    dir_remove(b->dir, NULL); /* ours, and nothing has begun in it */
    return refused(self, &e);
}

int submit_again(const struct cli_command *self, const char *dir,
                 const struct request sets[], size_t n)
{
    struct request resume = {.op = REQUEST_RESUME, .trial = -1};
    char *name = submit_chain_name(dir), *path = NULL;
    struct str job = STR_INIT;
    struct err e = {0};
    bool runs = false;
    int status = EXIT_GOOD, rc = request_write(dir, &resume, &path, &e);

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = put_request(dir, &sets[i], &e);
    if (rc == 0)
        rc = succession_find(name, &job, &runs, &e);
    if (rc == 0 && runs && !is_taken(dir, path))
        str_cut(&job, 0);
    if (rc == 0 && job.len > 0) {
        cli_say("its controller, job %s, %s already", job.p, runs ? "runs" : "waits");
    } else if (rc == 0) {
        rc = submit_two(dir, &job, &e);
        if (rc == 0)
            cli_say("its controller is job %s", job.p);
    }
    if (rc != 0)
        status = refused(self, &e);
    else
        submit_tell(dir);
    str_free(&job);
    free(path);
    free(name);
    return status;
}

int submit_withdraw(const struct cli_command *self, const char *dir)
{
    struct request stop = {.op = REQUEST_STOP, .trial = -1};
    char *name = submit_chain_name(dir);
    struct err e = {0};
    int rc = put_request(dir, &stop, &e);

    if (rc == 0)
        rc = succession_cancel(name, &e);
    free(name);
    if (rc != 0)
        return cli_fail(self, EXIT_FAILED, "%s", e.text);
    cli_say("it had not begun; its controller's jobs are cancelled");
    return EXIT_GOOD;
}

void submit_tell(const char *dir)
{
    struct str quoted = STR_INIT;

    cli_quote(&quoted, dir);
    cli_say("it goes on by itself; look: rung watch %s; end it: rung stop %s", quoted.p,
            quoted.p);
    str_free(&quoted);
}
