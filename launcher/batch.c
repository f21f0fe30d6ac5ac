#include "launcher/batch.h"

#include "base/file.h"
#include "slurm/script.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *own_program(struct err *e)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

    if (n < 0 || n == sizeof(path)) {
        err_sys(e, "cannot find my own program in /proc/self/exe");
        return NULL;
    }
    return mem_strndup(path, (size_t)n);
}

char *program_beside(const char *name)
{
    char *own = own_program(NULL), *path;

    if (!own)
        return NULL;
    *strrchr(own, '/') = '\0';
    path = path_join(own, name);
    free(own);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

int batch_check(const struct sweepfile *f, struct err *e)
{
    if (f->steps == STEPS_NO && f->resources.nodes > 1)
        return err_set(
            e, ERR_INVAL,
            "steps: no: the processes of an attempt reach other nodes only as a "
            "job step; leave it out, or set resources.nodes to 1");
    if (f->steps == STEPS_NO && f->srun.n > 0)
        return err_set(e, ERR_INVAL,
                       "steps: no: srun.%s is for attempts that are job steps",
                       f->srun.v[0].name);
    return 0;
}

enum steps_mode batch_steps(const struct sweepfile *f)
{
    bool needed = f->resources.tasks > 1 || f->resources.nodes > 1 || f->srun.n > 0;

    return f->steps == STEPS_AUTO && needed ? STEPS_YES : f->steps;
}

struct script_option *batch_options(const struct option options[], size_t n)
{
    struct script_option *all = mem_alloc((n + 1) * sizeof(*all));

    for (size_t i = 0; i < n; i++)
        all[i] = (struct script_option){options[i].name, options[i].value};
    return all;
}

int batch_script(const struct sweepfile *f, const char *dir, const char *workdir,
                 char *const settings[], size_t n_settings, struct str *out,
                 struct err *e)
{
    struct script_option *options;
    int rc = batch_check(f, e);
    char *rung;

    if (rc != 0)
        return rc;
    rung = own_program(e);
    if (!rung)
        return e ? e->code : ERR_IO;
    options = batch_options(f->slurm.v, f->slurm.n);
    struct script s = {.name = f->name,
                       .dir = dir,
                       .workdir = workdir,
                       .rung = rung,
                       .slots = f->slots_per_job,
                       .nodes = f->resources.nodes,
                       .tasks = f->resources.tasks,
                       .cpus = f->resources.cpus,
                       .gpus = f->resources.gpus,
                       .memory = f->resources.memory,
                       .time = f->resources.time,
                       .options = options,
                       .n_options = f->slurm.n,
                       .settings = settings,
                       .n_settings = n_settings,
                       .setup = f->setup};
    rc = script_text(&s, out, e);
    free(options);
    free(rung);
    return rc;
}

/* Who needs an account for the jobs of slots needs one for this, too. */
static void add_account(struct script_option options[], size_t *n,
                        const struct sweepfile *f)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(options[i].name, "account") == 0)
            return;
    }
    for (size_t i = 0; i < f->slurm.n; i++) {
        if (strcmp(f->slurm.v[i].name, "account") == 0)
            options[(*n)++] =
                (struct script_option){f->slurm.v[i].name, f->slurm.v[i].value};
    }
}

int batch_controller(const struct sweepfile *f, const char *dir, const char *workdir,
                     struct str *out, struct err *e)
{
    struct script_option *options;
    size_t n = f->controller.n;
    char *rung = own_program(e);
    int rc;

    if (!rung)
        return e ? e->code : ERR_IO;
    options = batch_options(f->controller.v, n);
    add_account(options, &n, f);
    struct script_controller s = {.name = f->name,
                                  .dir = dir,
                                  .workdir = workdir,
                                  .rung = rung,
                                  .options = options,
                                  .n_options = n};
    rc = script_controller_text(&s, out, e);
    free(options);
    free(rung);
    return rc;
}
