#include "slurm/step.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct step plain = {.trial = 12,
                                  .milestone = 2,
                                  .slots = 1,
                                  .nodes = 1,
                                  .tasks = 1,
                                  .cpus = 3,
                                  .rung = "/opt/bin/rung",
                                  .kill_seconds = 30};

/* An array of strings as the callee wants it. */
static char **list(const char *const words[])
{
    size_t n = 0;
    char **all;

    while (words[n])
        n++;
    all = mem_alloc((n + 1) * sizeof(*all));
    for (size_t i = 0; i < n; i++)
        all[i] = mem_strdup(words[i]);
    return all;
}

/* Its words with a space between them; frees them. */
static void join(char **words, struct str *out)
{
    str_cut(out, 0);
    for (char **w = words; *w; w++) {
        str_addf(out, "%s%s", w > words ? " " : "", *w);
        free(*w);
    }
    free(words);
}

static void command_of(const struct step *s, struct str *out)
{
    join(step_command(s, list((const char *const[]){"train", "--lr", "a b", NULL})), out);
}

static void has(const struct step *s, const char *part)
{
    struct str got = STR_INIT;

    command_of(s, &got);
    if (!strstr(got.p, part))
        fail_msg("no '%s' in: %s", part, got.p);
    str_free(&got);
}

static void has_not(const struct step *s, const char *part)
{
    struct str got = STR_INIT;

    command_of(s, &got);
    if (strstr(got.p, part))
        fail_msg("'%s' in: %s", part, got.p);
    str_free(&got);
}

static void the_whole_command(void **state)
{
    struct str got = STR_INIT;

    (void)state;
    command_of(&plain, &got);
    assert_string_equal(
        got.p, "srun --job-name=t000012.r2 --nodes=1 --ntasks=1 --cpus-per-task=3 "
               "--gres=none --exact --export=ALL --input=none "
               "--kill-on-bad-exit=1 --mpi=none /opt/bin/rung exec --kill=30 -- "
               "train --lr a b");
    str_free(&got);
}

static void a_shim_of_its_own(void **state)
{
    struct step s = plain;
    struct str got = STR_INIT;

    (void)state;
    s.shim = "/opt/bin/rung-exec";
    command_of(&s, &got);
    assert_non_null(strstr(got.p, " --mpi=none /opt/bin/rung-exec --kill=30 -- train "));
    str_free(&got);
}

static void memory_is_said(void **state)
{
    struct step s = plain;

    (void)state;
    setenv("SLURM_MEM_PER_NODE", "4000", 1);
    has(&s, " --mem=4000M ");
    s.slots = 3; /* each has its share of the job's */
    has(&s, " --mem=1333M ");
    s.memory = 1500000;
    has(&s, " --mem=2M ");
    unsetenv("SLURM_MEM_PER_NODE");
    s.memory = 0;
    setenv("SLURM_MEM_PER_CPU", "100", 1);
    has(&s, " --mem-per-cpu=100M ");
    unsetenv("SLURM_MEM_PER_CPU");
    has_not(&s, "--mem");
}

static void gpus_are_said(void **state)
{
    struct step s = plain;

    (void)state;
    s.gpus = 2;
    has(&s, " --gres=gpu:2 --gpu-bind=none ");
    s.gpus = 0;
    s.gres = true; /* by the user's options: all of them, unless slots share them */
    has_not(&s, "--gres");
    s.slots = 2;
    has(&s, " --gres=none ");
}

static void ranks_and_options(void **state)
{
    const struct script_option options[] = {
        {"cpu-bind", "cores"}, {"mpi", "pmi2"}, {"unbuffered", NULL}};
    struct step s = plain;

    (void)state;
    s.nodes = 2;
    s.tasks = 4;
    has(&s, " --nodes=2 --ntasks=4 --ntasks-per-node=2 ");
    s.tasks = 3;
    has(&s, " --nodes=2 --ntasks=3 --cpus-per-task");
    has(&s, " --mpi=pmix ");
    s.options = options;
    s.n_options = 3;
    has_not(&s, "pmix");
    has(&s, " --cpu-bind=cores --mpi=pmi2 --unbuffered /opt/bin/rung exec ");
}

static void the_environment(void **state)
{
    struct str got = STR_INIT;
    char **env = list((const char *const[]){
        "PATH=/bin", "SLURM_JOB_ID=7", "SLURM_JOBID=7", "SLURM_MEM_PER_CPU=9",
        "SLURM_NTASKS=4", "SLURM_CONF=/etc/slurm.conf", "SLURM_CONFIG=1", "SRUN_DEBUG=3",
        "SLURM_ARRAY_TASK_ID=2", "CUDA_VISIBLE_DEVICES=0,1", "RUNG_TRIAL=12", NULL});

    (void)state;
    step_env(env);
    join(env, &got);
    assert_string_equal(got.p, "PATH=/bin SLURM_JOB_ID=7 SLURM_JOBID=7 "
                               "SLURM_CONF=/etc/slurm.conf SLURM_ARRAY_TASK_ID=2 "
                               "RUNG_TRIAL=12");
    str_free(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_command), cmocka_unit_test(a_shim_of_its_own),
        cmocka_unit_test(memory_is_said),    cmocka_unit_test(gpus_are_said),
        cmocka_unit_test(ranks_and_options), cmocka_unit_test(the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
