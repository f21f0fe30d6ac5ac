/* `rung agent`: what a job runs. */
#include "config.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/rng.h"
#include "launcher/attempts.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/loaded.h"
#include "slurm/executor.h"

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
    struct attempts attempts = {.dir = dir};
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
    c->promote = spec_promotes(&l.file->spec);
    c->printed = l.file->parse != NULL;
    c->restart = l.file->spec.restart;
    c->max_t = l.file->spec.max_t;
    c->timeout = l.file->timeout;
    c->trials_per_job = l.file->trials_per_job;
    attempts.file = l.file;
    attempts.slots = c->slots;
    attempts.kill_seconds = c->timers.s[TIMER_KILL];
    attempts.meter_seconds = c->timers.s[TIMER_GPUS];
    attempts_open(&attempts);
    setup.plug = (struct agent_plug){.ctx = &attempts,
                                     .launch = attempts_launch,
                                     .gpus = attempts_gpus,
                                     .spent = attempts_spent};
    setup.parse = l.file->parse;
    setup.checkpoint_signal = l.file->checkpoint_signal;
    status = agent_run(&setup);
    attempts_close(&attempts);
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
