#include "launcher/batch.h"

#include "slurm/script.h"

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

int batch_check(const struct sweepfile *f, struct err *e)
{
    if (f->steps == STEPS_YES)
        return err_set(e, ERR_UNSUPPORTED,
                       "steps: yes: this release starts attempts as processes of their "
                       "job, not as steps of it");
    if (f->resources.nodes > 1)
        return err_set(e, ERR_UNSUPPORTED,
                       "resources.nodes %d: in this release a slot is on one node, since "
                       "attempts are no job steps yet",
                       f->resources.nodes);
    if (f->srun.n > 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "srun.%s: this release starts no attempt with srun",
                       f->srun.v[0].name);
    return 0;
}

int batch_script(const struct sweepfile *f, const char *dir, const char *workdir,
                 char *const settings[], size_t n_settings, struct str *out,
                 struct err *e)
{
    VEC(struct script_option) options = {0};
    int rc = batch_check(f, e);
    char *rung;

    if (rc != 0)
        return rc;
    rung = own_program(e);
    if (!rung)
        return e ? e->code : ERR_IO;
    for (size_t i = 0; i < f->slurm.n; i++)
        vec_push(&options,
                 ((struct script_option){f->slurm.v[i].name, f->slurm.v[i].value}));
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
                       .options = options.v,
                       .n_options = options.n,
                       .settings = settings,
                       .n_settings = n_settings,
                       .setup = f->setup};
    rc = script_text(&s, out, e);
    vec_free(&options);
    free(rung);
    return rc;
}
