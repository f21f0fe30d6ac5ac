/* The Slurm executor, with commands of our own on PATH: NAME logs its arguments to
 * NAME.calls, and does what the file NAME.does says. */
#include "base/clock.h"
#include "base/file.h"
#include "base/vec.h"
#include "slurm/executor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE 60.0

static const char *const commands[] = {"sbatch", "scontrol", "squeue", "scancel",
                                       "sacct"};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

struct world {
    char dir[64];
    struct slurm_setup setup;
    struct executor *x;
    struct str told; /* "+52_0 -52_0(why) !2(why)?" */
};

static char *path_of(const struct world *w, const char *name, const char *suffix)
{
    struct str path = STR_INIT;

    str_addf(&path, "%s/%s%s", w->dir, name, suffix);
    return str_take(&path);
}

static void write_file(const struct world *w, const char *name, const char *suffix,
                       const char *text, mode_t mode)
{
    char *path = path_of(w, name, suffix);

    assert_int_equal(file_write(path, text, strlen(text), mode, NULL), 0);
    free(path);
}

/* What a command does from now on, in shell. */
static void does(const struct world *w, const char *name, const char *script)
{
    write_file(w, name, ".does", script, 0755);
}

static void calls_of(const struct world *w, const char *name, struct str *out)
{
    char *path = path_of(w, name, ".calls");

    str_cut(out, 0);
    file_read(path, 1 << 20, out, NULL);
    free(path);
}

static int count(const struct world *w, const char *name)
{
    struct str calls = STR_INIT;
    int n = 0;

    calls_of(w, name, &calls);
    for (size_t i = 0; i < calls.len; i++)
        n += calls.p[i] == '\n';
    str_free(&calls);
    return n;
}

static void on_submitted(void *ctx, const char *job)
{
    str_addf(&((struct world *)ctx)->told, "+%s ", job);
}

static void on_refused(void *ctx, int n, const char *why, bool passing)
{
    str_addf(&((struct world *)ctx)->told, "!%d(%s)%s ", n, why, passing ? "?" : "");
}

static void on_gone(void *ctx, const char *job, const struct job_end *end)
{
    str_addf(&((struct world *)ctx)->told, "-%s(%s)%s%s%s ", job, end->why, end->state,
             *end->node ? "@" : "", end->node);
}

static void on_uncancelled(void *ctx, const char *jobs, const char *why)
{
    str_addf(&((struct world *)ctx)->told, "=%s(%s) ", jobs, why);
}

static void on_account(void *ctx, const struct account *r)
{
    str_addf(&((struct world *)ctx)->told, "$%.*s.%.*s(%.*s) ", (int)r->job.len, r->job.p,
             (int)r->step.len, r->step.p, (int)r->state.len, r->state.p);
}

static void on_accounts(void *ctx, const char *why, bool passing)
{
    str_addf(&((struct world *)ctx)->told, "$(%s)%s ", why ? why : "",
             passing ? "?" : "");
}

static const struct executor_news news = {.submitted = on_submitted,
                                          .refused = on_refused,
                                          .uncancelled = on_uncancelled,
                                          .gone = on_gone,
                                          .account = on_account,
                                          .accounts = on_accounts};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct str text = STR_INIT;

    strcpy(w->dir, "/tmp/rung-slurm-test.XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    w->told = (struct str)STR_INIT;
    for (size_t i = 0; i < COMMANDS; i++) {
        str_cut(&text, 0);
        str_addf(&text, "#!/bin/sh\necho \"$*\" >>'%s/%s.calls'\n. '%s/%s.does'\n",
                 w->dir, commands[i], w->dir, commands[i]);
        write_file(w, commands[i], "", text.p, 0755);
        does(w, commands[i], "exit 0");
    }
    does(w, "scontrol", "echo 'MaxArraySize            = 1001'");
    str_cut(&text, 0);
    str_addf(&text, "%s:/usr/bin:/bin", w->dir);
    setenv("PATH", text.p, 1);
    str_free(&text);
    w->setup = (struct slurm_setup){.dir = w->dir,
                                    .name = "fashion",
                                    .slots_per_job = 1,
                                    .poll_seconds = 0.02,
                                    .unseen_seconds = 1e9};
    w->x = executor_slurm(&w->setup, &news, w);
    *state = w;
    return 0;
}

static void free_executor(struct world *w)
{
    if (w->x)
        w->x->ops->free(w->x);
    w->x = NULL;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    free_executor(w);
    dir_remove(w->dir, NULL);
    str_free(&w->told);
    free(w);
    return 0;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Polls until this was told, asking about the job (NULL: none) as a controller does. */
static void until_told(struct world *w, const char *job, const char *expect)
{
    double end = clock_mono() + PATIENCE;

    while (strcmp(w->told.p, expect) != 0) {
        if (clock_mono() > end)
            fail_msg("told '%s', not '%s'", w->told.p, expect);
        if (job)
            w->x->ops->state(w->x, job);
        w->x->ops->poll(w->x);
        nap();
    }
    str_cut(&w->told, 0);
}

static void until_state(struct world *w, const char *job, enum job_state state)
{
    double end = clock_mono() + PATIENCE;

    while (w->x->ops->state(w->x, job) != state) {
        if (clock_mono() > end)
            fail_msg("%s is %d", job, w->x->ops->state(w->x, job));
        w->x->ops->poll(w->x);
        nap();
    }
}

/* Polls until a command was called n times more than `before`. */
static void until_called(struct world *w, const char *name, int before, int n,
                         const char *job)
{
    double end = clock_mono() + PATIENCE;

    while (count(w, name) < before + n) {
        if (clock_mono() > end)
            fail_msg("%s was called %d times", name, count(w, name) - before);
        if (job)
            w->x->ops->state(w->x, job);
        w->x->ops->poll(w->x);
        nap();
    }
}

static void submit(struct world *w, int n, const char *sbatch, const char *told)
{
    does(w, "sbatch", sbatch);
    w->x->ops->submit(w->x, n);
    until_told(w, NULL, told);
}

/* ---- submitting ---- */

static void test_refused(void **state)
{
    struct world *w = *state;

    submit(w, 3,
           "echo 'sbatch: error: Batch job submission failed: Invalid qos' >&2; exit 1",
           "!3(sbatch: Batch job submission failed: Invalid qos) ");
    submit(w, 2,
           "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm "
           "controller (connect failure)' >&2; exit 1",
           "!2(sbatch: Batch job submission failed: Unable to contact slurm controller "
           "(connect failure))? ");
    submit(w, 1, "echo 'Submitted batch job'",
           "!1(sbatch succeeded and printed no job id) ");
    submit(w, 1, "kill -9 $$", "!1(sbatch: it was ended by signal 9)? ");
}

static void test_no_slurm(void **state)
{
    struct world *w = *state;

    setenv("PATH", "/nowhere", 1);
    w->x->ops->submit(w->x, 3);
    assert_non_null(strstr(w->told.p, "!3(sbatch: No such file or directory)"));
    assert_null(strchr(w->told.p, '?'));
}

static void test_submit(void **state)
{
    struct world *w = *state;
    struct str calls = STR_INIT, expect = STR_INIT;

    submit(w, 2, "echo 52", "+52_0 +52_1 ");
    submit(w, 1, "echo 'hello!'; echo '60;north'", "+60_0 ");
    calls_of(w, "sbatch", &calls);
    str_addf(&expect,
             "--parsable --array=0-1 --output=%s/jobs/%%A_%%a.log %s/jobs/slots.sh\n"
             "--parsable --array=0 --output=%s/jobs/%%A_%%a.log %s/jobs/slots.sh\n",
             w->dir, w->dir, w->dir, w->dir);
    assert_string_equal(calls.p, expect.p);
    assert_int_equal(count(w, "scontrol"), 1); /* once is enough */
    str_free(&calls);
    str_free(&expect);
}

static void test_arrays(void **state)
{
    struct world *w = *state;
    struct str calls = STR_INIT;

    does(w, "scontrol", "echo 'MaxArraySize = 2'");
    submit(w, 5, "d=${0%/*}; n=$(($(cat $d/n || echo 0) + 1)); echo $n >$d/n; echo $n",
           "+1_0 +1_1 +2_0 +2_1 +3_0 ");
    calls_of(w, "sbatch", &calls);
    assert_non_null(strstr(calls.p, "--array=0-1 "));
    assert_non_null(strstr(calls.p, "--array=0 "));
    str_free(&calls);
}

/* Without an answer from scontrol, halves until it fits. */
static void test_arrays_unknown(void **state)
{
    struct world *w = *state;

    does(w, "scontrol", "exit 1");
    submit(w, 4,
           "case $2 in --array=0-1) echo 9 ;; *) echo 'sbatch: "
           "error: Batch job submission failed: Invalid job array specification' >&2; "
           "exit 1 ;; esac",
           "+9_0 +9_1 +9_0 +9_1 ");
}

static void test_no_arrays(void **state)
{
    struct world *w = *state;

    does(w, "scontrol", "echo 'MaxArraySize = 0'");
    submit(w, 1, "test \"$#\" = 2 && echo 70", "+70 ");
}

/* ---- what jobs do ---- */

static void test_states(void **state)
{
    struct world *w = *state;
    struct str calls = STR_INIT, expect = STR_INIT;

    submit(w, 3, "echo 52", "+52_0 +52_1 +52_2 ");
    assert_int_equal(w->x->ops->state(w->x, "52_0"), JOB_PENDING);
    assert_int_equal(w->x->ops->state(w->x, "local:host:1:2"), JOB_UNKNOWN);
    does(w, "squeue",
         "echo '52_0 RUNNING N/A n1 None'; echo '52_1 PENDING N/A n1 Priority'");
    until_state(w, "52_0", JOB_RUNNING);
    assert_int_equal(w->x->ops->state(w->x, "52_1"), JOB_PENDING);
    calls_of(w, "squeue", &calls);
    str_addf(&expect,
             "--noheader --array --states=all --format=%%i %%T %%e %%B %%r --user=%ld "
             "--name=fashion\n",
             (long)getuid());
    assert_int_equal(strncmp(calls.p, expect.p, expect.len), 0);

    /* Failing says nothing, whatever it prints. */
    does(w, "squeue", "echo '52_1 RUNNING N/A n1 None'; exit 1");
    until_called(w, "squeue", count(w, "squeue"), 3, "52_0");
    assert_int_equal(w->x->ops->state(w->x, "52_0"), JOB_RUNNING);
    assert_int_equal(w->x->ops->state(w->x, "52_1"), JOB_PENDING);

    /* What was listed and is not any more has ended; what ends is told with its reason;
     * what was not listed yet is given time. */
    does(w, "squeue", "echo '52_1 FAILED N/A n4 NonZeroExitCode'");
    until_told(w, "52_0",
               "-52_1(Slurm says FAILED (NonZeroExitCode))FAILED@n4 -52_0(Slurm no "
               "longer lists it) ");
    assert_int_equal(w->x->ops->state(w->x, "52_0"), JOB_GONE);
    assert_int_equal(w->x->ops->state(w->x, "52_2"), JOB_PENDING);
    str_free(&calls);
    str_free(&expect);
}

/* One that ended before anybody looked. */
static void test_unseen(void **state)
{
    struct world *w = *state;

    free_executor(w);
    w->setup.unseen_seconds = 0;
    w->x = executor_slurm(&w->setup, &news, w);
    submit(w, 1, "echo 52", "+52_0 ");
    until_told(w, "52_0", "-52_0(Slurm no longer lists it) ");
}

/* Jobs of an earlier controller. */
static void test_inherited(void **state)
{
    struct world *w = *state;

    does(w, "squeue", "echo '40_1 RUNNING N/A n1 None'");
    assert_int_equal(w->x->ops->state(w->x, "40_0"), JOB_UNKNOWN);
    assert_int_equal(w->x->ops->state(w->x, "40_1"), JOB_UNKNOWN);
    until_told(w, "40_1", "-40_0(Slurm no longer lists it) ");
    assert_int_equal(w->x->ops->state(w->x, "40_1"), JOB_RUNNING);
}

/* Nodes to be left out, beside the user's own; few, and not when too few are left. */
static void test_exclude(void **state)
{
    struct world *w = *state;
    struct str calls = STR_INIT;

    free_executor(w);
    w->setup.exclude = "n[8-9]";
    w->x = executor_slurm(&w->setup, &news, w);
    assert_true(w->x->ops->exclude(w->x, "n1"));
    assert_true(w->x->ops->exclude(w->x, "n2"));
    assert_true(w->x->ops->exclude(w->x, "n3"));
    assert_false(w->x->ops->exclude(w->x, "n4"));
    submit(w, 1, "echo 52", "+52_0 ");
    calls_of(w, "sbatch", &calls);
    assert_non_null(strstr(calls.p, " --exclude=n[8-9],n1,n2,n3 "));
    submit(w, 1,
           "echo 'sbatch: error: Requested node configuration is not available' >&2; "
           "exit 1",
           "!1(sbatch: Requested node configuration is not available)? ");
    submit(w, 1, "echo 53", "+53_0 ");
    calls_of(w, "sbatch", &calls);
    assert_non_null(strstr(calls.p, " --exclude=n[8-9] "));
    str_free(&calls);

    free_executor(w);
    w->setup.on_nodes = true;
    w->x = executor_slurm(&w->setup, &news, w);
    assert_false(w->x->ops->exclude(w->x, "n1"));
}

/* When a job's time is over is asked once, when it runs, and again after a while:
 * somebody may change it. */
static void test_ends(void **state)
{
    struct world *w = *state;
    double end = clock_mono() + PATIENCE;
    int calls;

    setenv("TZ", "UTC-1", 1);
    assert_true(w->x->ops->ends(w->x, "local:host:1:2") == 0);
    submit(w, 1, "echo 52", "+52_0 ");
    assert_true(w->x->ops->ends(w->x, "52_0") == 0);
    does(w, "squeue", "echo '52_0 RUNNING 2026-11-27T01:00:05 n1 None'");
    while (w->x->ops->ends(w->x, "52_0") != 1795737605 && clock_mono() < end)
        w->x->ops->poll(w->x);
    assert_true(w->x->ops->ends(w->x, "52_0") == 1795737605);
    calls = count(w, "squeue");
    does(w, "squeue", "echo '52_0 RUNNING 2026-11-27T02:00:05 n1 None'");
    while (w->x->ops->ends(w->x, "52_0") != 1795741205 && clock_mono() < end)
        w->x->ops->poll(w->x);
    assert_true(w->x->ops->ends(w->x, "52_0") == 1795741205);
    assert_int_equal(count(w, "squeue"), calls + 1);
    does(w, "squeue", "echo '52_0 RUNNING N/A n1 None'"); /* UNLIMITED */
    while (w->x->ops->ends(w->x, "52_0") != 0 && clock_mono() < end)
        w->x->ops->poll(w->x);
    assert_true(w->x->ops->ends(w->x, "52_0") == 0);
}

/* Nobody asks, so nobody is called; and a slow squeue is called seldom. */
static void test_manners(void **state)
{
    struct world *w = *state;
    int64_t polling, others;
    double end, began;

    submit(w, 1, "echo 52", "+52_0 ");
    for (end = clock_mono() + 0.2; clock_mono() < end; nap())
        w->x->ops->poll(w->x);
    assert_int_equal(count(w, "squeue"), 0);

    does(w, "squeue", "sleep 0.3; echo '52_0 PENDING N/A n1 Priority'");
    began = clock_mono();
    until_called(w, "squeue", 0, 3, "52_0");
    assert_true(clock_mono() - began >= 2 * 6 * 0.3); /* itself, and five times that */
    w->x->ops->calls(w->x, &polling, &others);
    assert_int_equal(polling, 3);
    assert_int_equal(others, 2); /* scontrol, sbatch */
}

/* Nothing ever blocks, and what hangs goes at the end. */
static void test_hanging(void **state)
{
    struct world *w = *state;
    double began;

    submit(w, 1, "echo 52", "+52_0 ");
    does(w, "squeue", "sleep 1000");
    until_called(w, "squeue", 0, 1, "52_0");
    for (int i = 0; i < 100; i++)
        w->x->ops->poll(w->x);
    assert_int_equal(count(w, "squeue"), 1);
    began = clock_mono();
    free_executor(w);
    assert_true(clock_mono() - began < PATIENCE);
}

/* ---- accounting ---- */

static void account(struct world *w, const char *sacct, const char *told)
{
    static char first[] = "52_0", local[] = "local:host:1:2", second[] = "53";
    char *const jobs[] = {first, local, second};

    does(w, "sacct", sacct);
    w->x->ops->account(w->x, jobs, 3, 1795741842);
    until_told(w, NULL, told);
}

static void test_account(void **state)
{
    struct world *w = *state;
    static char local[] = "local:host:1:2";
    struct str calls = STR_INIT;

    setenv("TZ", "UTC", 1);
    tzset();
    account(w,
            "echo '52_0|TIMEOUT|a|b|1|00:01|||n1|fashion'; echo hello\n"
            "echo '52_0.0|RUNNING|a|b|1|00:01|||n1|t000000.r1'",
            "$52_0.(TIMEOUT) $52_0.0(RUNNING) $()? ");
    calls_of(w, "sacct", &calls);
    assert_string_equal(
        calls.p,
        "--duplicates --noheader --parsable2 --noconvert --format=JobID,State,"
        "Start,End,ElapsedRaw,TotalCPU,MaxRSS,ConsumedEnergyRaw,NodeList,JobName "
        "--starttime=2026-11-27T01:10:42 --jobs=52_0,53\n");
    account(w, "echo 'sacct: error: Slurm accounting storage is disabled' >&2; exit 1",
            "$(sacct: Slurm accounting storage is disabled) ");
    account(w,
            "echo 'sacct: error: Problem talking to the database: Connection refused' "
            ">&2; exit 1",
            "$(sacct: Problem talking to the database: Connection refused)? ");
    w->x->ops->account(w->x, (char *const[]){local}, 1, 0);
    until_told(w, NULL, "$()? ");
    assert_int_equal(count(w, "sacct"), 3);
    str_free(&calls);
}

/* squeue and sacct share what is allowed. */
static void test_shared_manners(void **state)
{
    struct world *w = *state;
    int64_t polling, others;
    double began = clock_mono();

    free_executor(w);
    w->setup.poll_seconds = 0.1;
    w->x = executor_slurm(&w->setup, &news, w);
    submit(w, 1, "echo 52", "+52_0 ");
    does(w, "squeue", "echo '52_0 RUNNING N/A n1 None'");
    for (int i = 0; i < 8; i++) {
        account(w, "exit 0", "$()? ");
        until_called(w, "squeue", count(w, "squeue"), i % 3 == 0, "52_0");
    }
    w->x->ops->calls(w->x, &polling, &others);
    assert_true(polling >= 11);
    assert_true(clock_mono() - began >= (double)((polling - 1) / 4) * 4 * 0.1);
}

/* ---- cancelling ---- */

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct str calls = STR_INIT;

    submit(w, 3, "echo 52", "+52_0 +52_1 +52_2 ");
    w->x->ops->cancel(w->x, "52_0");
    w->x->ops->cancel(w->x, "52_2");
    w->x->ops->cancel(w->x, "local:host:1:2");
    until_called(w, "scancel", 0, 1, NULL);
    calls_of(w, "scancel", &calls);
    assert_string_equal(calls.p, "--quiet 52_0 52_2\n");

    /* It is tried again when Slurm was away. */
    does(w, "scancel",
         "echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1");
    w->x->ops->cancel(w->x, "52_1");
    until_called(w, "scancel", 1, 2, NULL);
    does(w, "scancel", "exit 0");
    free_executor(w);
    calls_of(w, "scancel", &calls);
    assert_string_equal(calls.p + calls.len - 13, "--quiet 52_1\n");
    str_free(&calls);
}

/* What was cancelled before the end is cancelled, and so is what sbatch has at hand. */
static void test_end(void **state)
{
    struct world *w = *state;
    struct str calls = STR_INIT;

    submit(w, 1, "echo 52", "+52_0 ");
    does(w, "sbatch", "sleep 0.3; echo 53");
    w->x->ops->submit(w->x, 2);
    w->x->ops->cancel(w->x, "52_0");
    free_executor(w);
    assert_string_equal(w->told.p, "");
    calls_of(w, "scancel", &calls);
    assert_string_equal(calls.p, "--quiet 52_0 53\n");
    str_free(&calls);
}

/* Who is not let cancel, or does not get to it, says of which jobs. */
static void test_not_cancelled(void **state)
{
    struct world *w = *state;

    submit(w, 4, "echo 52", "+52_0 +52_1 +52_2 +52_3 ");
    does(w, "scancel",
         "echo 'scancel: error: Kill job error on job id 52_0: Access/permission "
         "denied' >&2; exit 1");
    w->x->ops->cancel(w->x, "52_0");
    w->x->ops->cancel(w->x, "52_1");
    until_told(w, NULL,
               "=52_0 52_1(scancel: Kill job error on job id 52_0: "
               "Access/permission denied) ");
    does(w, "scancel",
         "echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1");
    w->x->ops->cancel(w->x, "52_3");
    free_executor(w);
    assert_string_equal(w->told.p, "=52_3(scancel: Unable to contact slurm controller) ");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_refused),        TEST(test_no_slurm),  TEST(test_submit),
        TEST(test_arrays),         TEST(test_no_arrays), TEST(test_states),
        TEST(test_inherited),      TEST(test_unseen),    TEST(test_manners),
        TEST(test_hanging),        TEST(test_cancel),    TEST(test_end),
        TEST(test_arrays_unknown), TEST(test_account),   TEST(test_shared_manners),
        TEST(test_ends),           TEST(test_exclude),   TEST(test_not_cancelled),
    };
    return cmocka_run_group_tests_name("slurm/slurm", tests, NULL, NULL);
}
