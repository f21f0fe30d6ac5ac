#include "launcher/attempts.h"

#include "base/file.h"
#include "base/num.h"
#include "launcher/batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_GPUS_MAX 1024 /* bytes */

/* ---- the environment ---- */

struct environment {
    VEC(char *) vars;
};

static bool has_name(const char *var, const char *name, size_t n)
{
    return strncmp(var, name, n) == 0 && var[n] == '=';
}

static void put_env(struct environment *env, const char *name, const char *value)
{
    struct str var = STR_INIT;
    size_t n = strlen(name);

    str_addf(&var, "%s=%s", name, value);
    for (size_t i = 0; i < env->vars.n; i++) {
        if (has_name(env->vars.v[i], name, n)) {
            free(env->vars.v[i]);
            env->vars.v[i] = str_take(&var);
            return;
        }
    }
    vec_push(&env->vars, str_take(&var));
}

static void put_env_int(struct environment *env, const char *name, int64_t value)
{
    char text[NUM_MAX];

    num_format_int(text, value);
    put_env(env, name, text);
}

static void put_params(struct environment *env, const struct space *sp,
                       const struct value values[], struct slice params)
{
    struct str text = STR_INIT, name = STR_INIT;

    str_addn(&text, params.p, params.len);
    put_env(env, "RUNG_PARAMS", text.p);
    for (int i = 0; i < space_count(sp); i++) {
        if (values[i].kind == VALUE_ABSENT)
            continue;
        str_cut(&text, 0);
        str_cut(&name, 0);
        value_text(values[i], &text);
        str_addf(&name, "RUNG_PARAM_%s", space_name(sp, i));
        put_env(env, name.p, text.p);
    }
    str_free(&text);
    str_free(&name);
}

/* Among the steps of a job Slurm shares its GPUs out, and the step tells later. */
static bool tells_later(const struct attempts *p, bool step)
{
    return step && p->slots > 1 && p->file->resources.gpus > 0;
}

/* The slot's share of the GPUs, and threads for its CPUs. */
static int put_devices(struct environment *env, const struct attempts *p, int slot,
                       bool step, struct err *e)
{
    struct str list = STR_INIT;
    int rc = 0;

    if (p->file->resources.gpus > 0 && !step) { /* which Slurm gives its own */
        rc = gpus_of_slot(p->gpus, slot, &list, e);
        put_env(env, "CUDA_VISIBLE_DEVICES", list.len ? list.p : "");
    }
    if (!getenv("OMP_NUM_THREADS"))
        put_env_int(env, "OMP_NUM_THREADS", p->file->resources.cpus);
    str_free(&list);
    return rc;
}

/* `rung log` is found even where rung is not installed: its directory comes last. */
static void put_path(struct environment *env)
{
    const char *path = getenv("PATH");
    char *self = own_program(NULL);
    struct str all = STR_INIT;

    if (!self)
        return;
    *strrchr(self, '/') = '\0';
    str_addf(&all, "%s%s%s", path ? path : "", path && *path ? ":" : "", self);
    put_env(env, "PATH", all.p);
    str_free(&all);
    free(self);
}

static int make_env(const struct attempts *p, const struct command_env *c, int slot,
                    const struct item *work, char ***out, struct err *e)
{
    struct environment env = {0};
    int rc;

    for (char **var = environ; *var; var++) {
        if (strncmp(*var, "RUNG_", 5) != 0)
            vec_push(&env.vars, mem_strdup(*var));
    }
    put_env_int(&env, "RUNG_TRIAL", c->trial);
    put_env_int(&env, "RUNG_ATTEMPT", c->attempt);
    put_env_int(&env, "RUNG_SEED", (int64_t)c->seed);
    put_env_int(&env, "RUNG_START", c->start);
    put_env_int(&env, "RUNG_UNTIL", c->until);
    put_env(&env, "RUNG_CHECKPOINT_DIR", c->checkpoint_dir);
    put_env(&env, "RUNG_SWEEP_DIR", c->sweep_dir);
    put_params(&env, p->file->spec.space, c->values, work->work.params);
    put_path(&env);
    rc = put_devices(&env, p, slot, work->work.step, e);
    if (tells_later(p, work->work.step)) {
        str_cut(&p->told[slot], 0);
        str_addf(&p->told[slot], "%s/.gpus", c->checkpoint_dir);
        put_env(&env, METER_STEP_ENV, p->told[slot].p);
    }
    vec_push(&env.vars, NULL);
    if (work->work.step)
        step_env(env.vars.v);
    *out = env.vars.v;
    return rc;
}

/* ---- the GPUs ---- */

/* Has the slot's attempt any, as far as the sweep file tells? */
static bool wants_gpus(const struct attempts *p)
{
    return p->file->resources.gpus > 0 || p->step.gres;
}

/* Those of this node that an attempt with this environment has, as CUDA_VISIBLE_DEVICES
 * names them; "" where that is not known, or not yet. */
static const char *visible_gpus(const struct attempts *p, char *const *envp, bool step)
{
    static const char name[] = "CUDA_VISIBLE_DEVICES";
    const char *jobs = getenv(name);

    if (p->slots > 1 && (step || p->file->resources.gpus == 0))
        return "";
    if (step)
        return jobs ? jobs : "";
    for (; *envp; envp++) {
        if (has_name(*envp, name, sizeof(name) - 1))
            return *envp + sizeof(name);
    }
    return "";
}

static int count_names(const char *list)
{
    int n = *list != '\0';

    for (; *list; list++)
        n += *list == ',';
    return n;
}

/* It has told which they are? "2,3" in the file is "minor:2,minor:3" to the meter. */
static void hear_step(const struct attempts *p, int slot)
{
    struct str *path = &p->told[slot], text = STR_INIT, names = STR_INIT;
    char *rest, *word;

    if (path->len == 0 || file_read(path->p, STEP_GPUS_MAX, &text, NULL) != 0 ||
        text.len == 0) /* just being written */
        goto out;
    rest = text.p;
    while ((word = strsep(&rest, ",\n")) != NULL) {
        if (*word)
            str_addf(&names, "%sminor:%s", names.len ? "," : "", word);
    }
    meter_begin(p->meter, slot, names.len ? names.p : "");
    unlink(path->p);
    str_cut(path, 0);
out:
    str_free(&text);
    str_free(&names);
}

static void begin_reading(const struct attempts *p, int slot, char *const *envp,
                          bool step)
{
    const char *names = visible_gpus(p, envp, step);
    int each = p->file->resources.gpus > 0 ? p->file->resources.gpus : count_names(names);

    p->given[slot] = p->file->resources.nodes * each;
    meter_begin(p->meter, slot, names);
}

bool attempts_gpus(void *ctx, int slot, struct gpu_use *out)
{
    const struct attempts *p = ctx;

    hear_step(p, slot);
    return meter_now(p->meter, slot, out);
}

const char *attempts_spent(void *ctx, int slot, struct end_facts *facts)
{
    struct attempts *p = ctx;
    const char *said = meter_end(p->meter, slot, facts);

    if (p->given[slot] > 0)
        facts->gpu_seconds = p->given[slot] * (facts->ended - facts->started);
    if (p->file->resources.nodes > 1)
        facts->gpu_energy = NAN; /* of a part of them */
    p->given[slot] = 0;
    if (p->told[slot].len > 0)
        unlink(p->told[slot].p); /* it was never wanted */
    str_cut(&p->told[slot], 0);
    return said;
}

/* ---- the command ---- */

/* Several MPI ranks on this machine: mpirun starts them. */
static char **under_mpirun(char **words, int tasks)
{
    VEC(char *) all = {0};
    char number[NUM_MAX];

    num_format_int(number, tasks);
    vec_push(&all, mem_strdup("mpirun"));
    vec_push(&all, mem_strdup("-n"));
    vec_push(&all, mem_strdup(number));
    for (char **w = words; *w; w++)
        vec_push(&all, *w);
    vec_push(&all, NULL);
    free(words);
    return all.v;
}

/* The milestone that an attempt works for, counted from 0. */
static int milestone(const struct attempts *p, int64_t until)
{
    int k = 0;

    while (k < p->milestones.n - 1 && p->milestones.step[k] < until)
        k++;
    return k;
}

static void as_step(const struct attempts *p, const struct item *work, struct launch *l)
{
    struct step s = p->step;

    s.trial = work->work.trial;
    s.milestone = milestone(p, work->work.until);
    l->argv = step_command(&s, l->argv);
    l->shimmed = true;
}

int attempts_launch(void *ctx, const struct item *work, int slot,
                    const char *checkpoint_dir, struct launch *out, struct err *e)
{
    const struct attempts *p = ctx;
    const struct spec *spec = &p->file->spec;
    const struct space *sp = spec->space;
    bool promote = spec_promotes(spec);
    struct value *values = mem_alloc((size_t)(space_count(sp) + 1) * sizeof(values[0]));
    struct command_env c = {.trial = work->work.trial,
                            .attempt = work->work.attempt,
                            .seed = work->work.seed,
                            .start = work->work.start,
                            .until = promote ? work->work.until : spec->max_t,
                            .checkpoint_dir = checkpoint_dir,
                            .sweep_dir = p->dir,
                            .values = values};
    struct json j;
    int rc;

    json_begin(&j, work->work.params.p, work->work.params.len);
    rc = space_scan(sp, &j, values, e);
    if (rc == 0) {
        *out = (struct launch){.argv = command_words(p->file, &c)};
        rc = make_env(p, &c, slot, work, &out->envp, e);
        if (work->work.step)
            as_step(p, work, out);
        else if (p->file->resources.tasks > 1)
            out->argv = under_mpirun(out->argv, p->file->resources.tasks);
        if (rc == 0 && wants_gpus(p))
            begin_reading(p, slot, out->envp, work->work.step);
    }
    values_free(values, space_count(sp));
    free(values);
    return rc;
}

/* ---- the whole ---- */

/* What all steps of this job have in common. */
static void make_step(struct attempts *p)
{
    const struct sweepfile *f = p->file;
    struct step *s = &p->step;

    *s = (struct step){.slots = p->slots,
                       .nodes = f->resources.nodes,
                       .tasks = f->resources.tasks,
                       .cpus = f->resources.cpus,
                       .gpus = f->resources.gpus,
                       .memory = f->resources.memory,
                       .options = batch_options(f->srun.v, f->srun.n),
                       .n_options = f->srun.n,
                       .rung = p->rung,
                       .shim = p->shim,
                       .kill_seconds = p->kill_seconds};
    for (size_t i = 0; i < f->slurm.n; i++)
        s->gres |= strncmp(f->slurm.v[i].name, "gres", 4) == 0 ||
                   strncmp(f->slurm.v[i].name, "gpus", 4) == 0;
    if (spec_has_rungs(&f->spec))
        spec_levels(&f->spec, &p->milestones, NULL);
}

void attempts_open(struct attempts *p)
{
    p->rung = own_program(NULL);
    if (!p->rung) /* there is no /proc */
        p->rung = mem_strdup("rung");
    p->shim = program_beside("rung-exec");
    p->gpus = gpus_new(p->dir, p->slots, p->file->resources.gpus);
    make_step(p);
    p->told = mem_alloc((size_t)p->slots * sizeof(p->told[0]));
    for (int i = 0; i < p->slots; i++)
        p->told[i] = (struct str)STR_INIT;
    p->given = mem_alloc((size_t)p->slots * sizeof(p->given[0]));
    if (wants_gpus(p))
        p->meter = meter_new(p->slots, p->meter_seconds);
}

void attempts_close(struct attempts *p)
{
    meter_free(p->meter);
    gpus_free(p->gpus);
    free(p->given);
    for (int i = 0; i < p->slots; i++)
        str_free(&p->told[i]);
    free(p->told);
    free((void *)p->step.options);
    levels_free(&p->milestones);
    free(p->rung);
    free(p->shim);
}
