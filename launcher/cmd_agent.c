/* `rung agent`: what a job runs. Here the sweep file meets the agent: the command of an
 * attempt and its environment are made of both. */
#include "config.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "base/rng.h"
#include "launcher/batch.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/gpus.h"
#include "launcher/loaded.h"
#include "slurm/executor.h"
#include "worker/agent/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_SLOTS, OPT_EXECUTOR, OPT_ENDS, OPT_SET };
const struct cli_option agent_options[] = {
    [OPT_SLOTS] = {"slots", 's', "N", "how many trials it runs at once"},
    [OPT_EXECUTOR] = {"executor", 'x', "NAME", "whose job it is: local, or slurm"},
    [OPT_ENDS] = {"ends", 'e', "TIME",
                  "when its job's walltime is over, in Unix seconds"},
    [OPT_SET] = {"set", 0, "KEY=VALUE", "a setting that `rung resume --set` changed"},
    {0}};

struct plug {
    const struct sweepfile *file;
    const char *dir;
    struct gpus *gpus;
};

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

/* The slot's share of the GPUs, and threads for its CPUs. */
static int put_devices(struct environment *env, const struct plug *p, int slot,
                       struct err *e)
{
    struct str list = STR_INIT;
    int rc = 0;

    if (p->file->resources.gpus > 0) {
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

static int make_env(const struct plug *p, const struct command_env *c, int slot,
                    struct slice params, char ***out, struct err *e)
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
    put_params(&env, p->file->spec.space, c->values, params);
    put_path(&env);
    rc = put_devices(&env, p, slot, e);
    vec_push(&env.vars, NULL);
    *out = env.vars.v;
    return rc;
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

static int make_launch(void *ctx, const struct item *work, int slot,
                       const char *checkpoint_dir, struct launch *out, struct err *e)
{
    const struct plug *p = ctx;
    const struct spec *spec = &p->file->spec;
    const struct space *sp = spec->space;
    bool promote = spec->schedule == SCHEDULE_ASHA && spec->mode == MODE_PROMOTE;
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
        rc = make_env(p, &c, slot, work->work.params, &out->envp, e);
        if (p->file->resources.tasks > 1)
            out->argv = under_mpirun(out->argv, p->file->resources.tasks);
    }
    values_free(values, space_count(sp));
    free(values);
    return rc;
}

/* ---- the agent ---- */

/* Changes that are in the journal, which the agent does not read. */
static int apply_settings(struct sweepfile *f, char *const settings[], size_t n,
                          struct err *e)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *key = mem_strdup(settings[i]), *equals = strchr(key, '=');

        if (equals)
            *equals = '\0';
        rc = equals ? sweepfile_set(f, key, equals + 1, e)
                    : err_set(e, ERR_INVAL, "--set wants KEY=VALUE, not '%s'", key);
        free(key);
    }
    return rc;
}

/* What was said on the command line. */
struct said {
    int64_t slots;
    bool slurm;
    double ends; /* wall clock, 0: not said */
    VEC(char *) settings;
};

/* What squeue calls the job that we are in: "52_3" for a task of an array, or "52". False
 * when there is none. */
static bool slurm_job_name(struct str *out)
{
    const char *job = getenv("SLURM_JOB_ID"), *array = getenv("SLURM_ARRAY_JOB_ID"),
               *task = getenv("SLURM_ARRAY_TASK_ID");

    if (array && task)
        str_addf(out, "%s_%s", array, task);
    else if (job)
        str_add(out, job);
    return out->len > 0;
}

/* Our clock never jumps, the job's end is told by one that may. */
static double on_clock_mono(double wall)
{
    double left = wall - clock_wall();

    return wall > 0 ? clock_mono() + (left > 0 ? left : 0) : 0;
}

static int run_agent(const struct cli_command *self, const char *dir,
                     const struct said *said)
{
    struct agent_setup setup = {.dir = dir};
    struct agent_config *c = &setup.config;
    struct plug plug = {.dir = dir};
    struct str job = STR_INIT;
    const char *timers = getenv("RUNG_TIMERS");
    char host[256] = "?";
    struct loaded l;
    struct err e = {0};
    int status;

    if (said->slurm && !slurm_job_name(&job))
        return cli_fail(self, EXIT_USAGE,
                        "--executor slurm is for agents in a job of Slurm, where "
                        "SLURM_JOB_ID is set");
    if (loaded_file(&l, dir, &e) != 0 ||
        apply_settings(l.file, said->settings.v, said->settings.n, &e) != 0) {
        str_free(&job);
        loaded_close(&l);
        return cli_fail(self, EXIT_FAILED, "%s", e.text);
    }
    timers_default(&c->timers);
    if (timers && timers_parse(&c->timers, timers) != 0)
        fprintf(stderr, "rung agent: RUNG_TIMERS cannot be read: %s\n", timers);
    gethostname(host, sizeof(host) - 1);
    if (!said->slurm)
        local_job_name(&job, host, (long)getpid());
    rng_secret(&c->id, sizeof(c->id));
    c->slots = (int)said->slots;
    c->ends = on_clock_mono(said->ends);
    c->host = slice_of(host);
    c->job = (struct slice){job.p, job.len};
    c->pid = getpid();
    c->release = SLICE(PACKAGE_VERSION);
    c->promote =
        l.file->spec.schedule == SCHEDULE_ASHA && l.file->spec.mode == MODE_PROMOTE;
    c->printed = l.file->parse != NULL;
    c->restart = l.file->spec.restart;
    c->max_t = l.file->spec.max_t;
    c->timeout = l.file->timeout;
    c->trials_per_job = l.file->trials_per_job;
    plug.file = l.file;
    plug.gpus = gpus_new(dir, c->slots, l.file->resources.gpus);
    setup.plug = (struct agent_plug){.ctx = &plug, .launch = make_launch};
    setup.parse = l.file->parse;
    setup.checkpoint_signal = l.file->checkpoint_signal;
    status = agent_run(&setup);
    gpus_free(plug.gpus);
    str_free(&job);
    loaded_close(&l);
    return status;
}

/* Reads the value of an option. */
static int read_option(int option, const char *value, struct said *said, struct err *e)
{
    size_t n = strlen(value);
    int64_t number;

    switch (option) {
    case OPT_SLOTS:
        if (num_parse_int(value, n, &said->slots) != 0 || said->slots < 1 ||
            said->slots > EVENT_SLOTS_MAX)
            return err_set(e, ERR_RANGE, "--slots wants a number from 1 to %d",
                           EVENT_SLOTS_MAX);
        return 0;
    case OPT_EXECUTOR:
        said->slurm = strcmp(value, "slurm") == 0;
        if (!said->slurm && strcmp(value, "local") != 0)
            return err_set(e, ERR_INVAL, "--executor wants local or slurm, not '%s'",
                           value);
        return 0;
    case OPT_ENDS:
        if (num_parse_int(value, n, &number) != 0 || number <= 0)
            return err_set(e, ERR_RANGE, "--ends wants seconds since 1970, not '%s'",
                           value);
        said->ends = (double)number;
        return 0;
    default: vec_push(&said->settings, (char *)value); return 0;
    }
}

int cmd_agent(int argc, char **argv)
{
    const struct cli_command *self = cli_find("agent");
    const char *value, *dir = NULL;
    struct said said = {.slots = 1};
    struct err e = {0};
    struct cli c;
    char *found;
    int option, status;

    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD)
            return EXIT_USAGE;
        if (option == CLI_POSITIONAL)
            dir = value;
        else if (read_option(option, value, &said, &e) != 0)
            return cli_fail(self, EXIT_USAGE, "%s", e.text);
    }
    found = sweep_dir_find(dir, &e);
    if (!found)
        return cli_fail(self, EXIT_USAGE, "%s", e.text);
    status = run_agent(self, found, &said);
    vec_free(&said.settings);
    free(found);
    return status;
}
