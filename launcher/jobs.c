#include "launcher/jobs.h"

#include "base/file.h"
#include "launcher/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int jobs_write_script(const struct loaded *l, struct err *e)
{
    char *path = script_path(l->dir), *workdir = getcwd(NULL, 0);
    struct str text = STR_INIT;
    int rc = workdir ? 0 : err_sys(e, "cannot tell the current directory");

    if (rc == 0)
        rc = batch_script(l->file, l->dir, workdir, l->settings.v, l->settings.n, &text,
                          e);
    if (rc == 0)
        rc = file_write(path, text.p, text.len, 0644, e);
    str_free(&text);
    free(workdir);
    free(path);
    return rc;
}

static bool is_known(const struct loaded *l, const char *job)
{
    bool known = false;

    for (size_t i = 0; i < l->jobs.n; i++)
        known |= strcmp(l->jobs.v[i], job) == 0;
    for (size_t i = 0; i < l->agents.n; i++)
        known |= strcmp(l->agents.v[i].job, job) == 0;
    return known;
}

static void job_found(void *ctx, const char *job)
{
    struct loaded *l = ctx;

    if (is_known(l, job))
        return;
    fprintf(stderr, "rung: job %s is of this sweep, and counts as a slot to come\n", job);
    vec_push(&l->jobs, mem_strdup(job));
}

/* What an earlier controller submitted as it was killed, and people by hand. */
static void find_jobs(struct loaded *l, const struct slurm_setup *setup)
{
    struct err e = {0};

    if (slurm_jobs(setup, job_found, l, &e) != 0)
        fprintf(stderr, "rung: are there jobs of this sweep that nobody told of? %s\n",
                e.text);
}

int jobs_slurm(const struct jobs_setup *s, bool first, struct executor **x, struct err *e)
{
    const struct sweepfile *f = s->sweep->file;
    struct slurm_setup setup = {.dir = s->sweep->dir,
                                .name = f->name,
                                .slots_per_job = f->slots_per_job,
                                .poll_seconds = s->timers->s[TIMER_SQUEUE],
                                .unseen_seconds = s->timers->s[TIMER_UNSEEN]};
    int rc = jobs_write_script(s->sweep, e);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < f->slurm.n; i++) {
        const struct option *o = &f->slurm.v[i];

        if (strcmp(o->name, "clusters") == 0)
            setup.cluster = o->value;
        else if (strcmp(o->name, "exclude") == 0)
            setup.exclude = o->value;
        else if (strcmp(o->name, "nodelist") == 0 || strcmp(o->name, "nodefile") == 0)
            setup.on_nodes = true;
    }
    if (!first)
        find_jobs(s->sweep, &setup);
    *x = executor_slurm(&setup, s->news, s->ctx);
    return 0;
}

int jobs_local(const struct jobs_setup *s, struct executor **x, struct err *e)
{
    const struct loaded *l = s->sweep;
    int slots = l->file->slots_per_job_set ? l->file->slots_per_job : l->file->slots;
    char number[16], *jobs = path_join(l->dir, "jobs"), *self = own_program(e);
    char agent[] = "agent", option[] = "--slots", set[] = "--set";
    VEC(char *) argv = {0};

    if (!self) {
        free(jobs);
        return e->code;
    }
    snprintf(number, sizeof(number), "%d", slots);
    vec_push(&argv, self);
    vec_push(&argv, agent);
    vec_push(&argv, option);
    vec_push(&argv, number);
    for (size_t i = 0; i < l->settings.n; i++) {
        vec_push(&argv, set);
        vec_push(&argv, l->settings.v[i]);
    }
    vec_push(&argv, l->dir);
    vec_push(&argv, NULL);
    *x = executor_local(argv.v, jobs, slots, s->news, s->ctx);
    vec_free(&argv);
    free(jobs);
    free(self);
    return 0;
}
