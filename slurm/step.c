#include "slurm/step.h"

#include "base/mem.h"
#include "base/vec.h"
#include "slurm/command.h"

#include <stdlib.h>
#include <string.h>

struct words {
    VEC(char *) all;
    struct str text; /* of the next one */
};

static void end_word(struct words *w)
{
    vec_push(&w->all, str_take(&w->text));
}

static void add(struct words *w, const char *word)
{
    str_add(&w->text, word);
    end_word(w);
}

static void add_int(struct words *w, const char *option, int64_t value, const char *unit)
{
    str_addf(&w->text, "%s%lld%s", option, (long long)value, unit);
    end_word(w);
}

/* ---- resources ---- */

static int64_t number_in(const char *variable)
{
    const char *text = getenv(variable);

    return text ? strtoll(text, NULL, 10) : 0;
}

/* In MB, as sbatch has it and srun takes it. Where memory is nothing that is given out,
 * neither variable is set, and nothing is said. */
static void memory(struct words *w, const struct step *s)
{
    int64_t node = number_in("SLURM_MEM_PER_NODE"), cpu = number_in("SLURM_MEM_PER_CPU");

    if (s->memory > 0)
        add_int(w, "--mem=", (s->memory + (1 << 20) - 1) >> 20, "M");
    else if (node > 0)
        add_int(w, "--mem=", node / s->slots > 0 ? node / s->slots : 1, "M");
    else if (cpu > 0)
        add_int(w, "--mem-per-cpu=", cpu, "M");
}

/* GPUs that the user's own options ask for are all the slot's, if it is alone. */
static void gpus(struct words *w, const struct step *s)
{
    if (s->gpus > 0)
        add_int(w, "--gres=gpu:", s->gpus, "");
    else if (!s->gres || s->slots > 1)
        add(w, "--gres=none");
    if (s->gpus > 0) /* or peers could not copy from GPU to GPU: ranks choose theirs */
        add(w, "--gpu-bind=none");
}

static bool has_option(const struct step *s, const char *name)
{
    for (size_t i = 0; i < s->n_options; i++) {
        if (strcmp(s->options[i].name, name) == 0)
            return true;
    }
    return false;
}

/* ---- the command ---- */

char **step_command(const struct step *s, char **words)
{
    struct words w = {.text = STR_INIT};

    add(&w, "srun");
    str_addf(&w.text, "--job-name=t%06ld.r%d", (long)s->trial, s->milestone);
    end_word(&w);
    add_int(&w, "--nodes=", s->nodes, "");
    add_int(&w, "--ntasks=", s->tasks, "");
    if (s->nodes > 1 && s->tasks % s->nodes == 0)
        add_int(&w, "--ntasks-per-node=", s->tasks / s->nodes, "");
    add_int(&w, "--cpus-per-task=", s->cpus, "");
    memory(&w, s);
    gpus(&w, s);
    add(&w, "--exact");
    add(&w, "--export=ALL");
    add(&w, "--input=none");
    add(&w, "--kill-on-bad-exit=1");
    if (!has_option(s, "mpi"))
        add(&w, s->tasks > 1 ? "--mpi=pmix" : "--mpi=none");
    for (size_t i = 0; i < s->n_options; i++) {
        const struct script_option *o = &s->options[i];

        str_addf(&w.text, "--%s%s%s", o->name, o->value ? "=" : "",
                 o->value ? o->value : "");
        end_word(&w);
    }
    add(&w, s->shim ? s->shim : s->rung);
    if (!s->shim)
        add(&w, "exec");
    str_addf(&w.text, "--kill=%g", s->kill_seconds);
    end_word(&w);
    add(&w, "--");
    for (char **word = words; *word; word++)
        vec_push(&w.all, *word);
    vec_push(&w.all, NULL);
    free(words);
    return w.all.v;
}

/* ---- the environment ---- */

/* GPUs are the step's own affair: Slurm says which it has. */
static const char *const kept[] = {
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTER_NAME", "SLURM_JOBID",
    "SLURM_JOB_", "SLURM_ARRAY_",      "SLURM_SUBMIT_",      NULL};
static const char *const dropped[] = {"SLURM_",
                                      "SRUN_",
                                      "CUDA_VISIBLE_DEVICES",
                                      "ROCR_VISIBLE_DEVICES",
                                      "GPU_DEVICE_ORDINAL",
                                      NULL};

void step_env(char **envp)
{
    char **to = envp;

    for (; *envp; envp++) {
        if (env_named(*envp, dropped) && !env_named(*envp, kept))
            free(*envp);
        else
            *to++ = *envp;
    }
    *to = NULL;
}
