#include "slurm/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- sbatch ---- */

static void test_sbatch(void **state)
{
    static const struct {
        const char *text, *id; /* NULL: none */
    } cases[] = {
        {"", NULL},
        {"\n", NULL},
        {"Submitted batch job 52\n", NULL},
        {"52x\n", NULL},
        {";cluster\n", NULL},
        {"-52\n", NULL},
        {"123456789012345678901\n", NULL},
        {"52\n", "52"},
        {"52", "52"},
        {"52;north\n", "52"},
        {"-----\nWelcome to X!\n--> Verifying queue...OK\n52\n", "52"},
        {"2026\n52;north\n\n", "52"},
    };
    struct str id = STR_INIT;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        int rc = sbatch_read(slice_of(cases[i].text), &id, &e);

        assert_int_equal(rc, cases[i].id ? 0 : ERR_PROTO);
        assert_string_equal(id.p, cases[i].id ? cases[i].id : "");
        str_cut(&id, 0);
    }
    str_free(&id);
}

/* ---- scontrol ---- */

static void test_array_max(void **state)
{
    int max = 7;

    (void)state;
    assert_int_equal(scontrol_read_array_max(SLICE(""), &max, NULL), ERR_PROTO);
    assert_int_equal(
        scontrol_read_array_max(SLICE("MaxArraySize            = many\n"), &max, NULL),
        ERR_PROTO);
    assert_int_equal(scontrol_read_array_max(SLICE("MaxArraySizes = 5\n"), &max, NULL),
                     ERR_PROTO);
    assert_int_equal(max, 7);
    assert_int_equal(
        scontrol_read_array_max(
            SLICE("Configuration data as of 2026-11-20T09:30:00\n"
                  "AccountingStorageBackupHost = (null)\n"
                  "MaxArraySize            = 1001\n"
                  "MaxBatchRequeue         = 5\n\nCgroup Support Configuration:\n"),
            &max, NULL),
        0);
    assert_int_equal(max, 1001);
}

/* ---- squeue ---- */

static void test_squeue(void **state)
{
    static const char text[] =
        "CLUSTER: north\n"
        "slurm_load_jobs: something new\n"
        "52_0 RUNNING 2026-11-27T01:00:05 n1 None\n"
        "52_1 PENDING N/A n/a Resources\r\n"
        "  52_2 PENDING N/A n/a (ReqNodeNotAvail, UnavailableNodes:n[1-4])\n"
        "52_[3-9%2] PENDING N/A n/a Resources\n"
        "53 FAILED N/A n3 NonZeroExitCode\n"
        "54\n"
        "55+0 RUNNING N/A n/a None\n"
        "_1 RUNNING N/A n/a None\n"
        "56_ RUNNING N/A n/a None\n"
        "57 COMPLETING 2026-11-27T02:00:05 n2 None\n"
        "58 SUSPENDED N/A n/a None\n"
        "59 LEVITATING N/A n/a None\n"
        "60 OUT_OF_MEMORY";
    static const struct {
        const char *job, *state, *node, *reason;
        enum job_state is;
        double ends;
    } expect[] = {
        {"52_0", "RUNNING", "n1", "None", JOB_RUNNING, 1795737605},
        {"52_1", "PENDING", "", "Resources", JOB_PENDING, 0},
        {"52_2", "PENDING", "", "(ReqNodeNotAvail, UnavailableNodes:n[1-4])", JOB_PENDING,
         0},
        {"53", "FAILED", "n3", "NonZeroExitCode", JOB_GONE, 0},
        {"57", "COMPLETING", "n2", "None", JOB_RUNNING, 1795741205},
        {"58", "SUSPENDED", "", "None", JOB_PENDING, 0},
        {"59", "LEVITATING", "", "None", JOB_UNKNOWN, 0},
        {"60", "OUT_OF_MEMORY", "", "", JOB_GONE, 0},
    };
    struct slice rest = slice_of(text);
    struct squeue_line line;

    (void)state;
    setenv("TZ", "UTC-1", 1);
    for (size_t i = 0; i < COUNT(expect); i++) {
        assert_true(squeue_next(&rest, &line));
        assert_true(line.ends == expect[i].ends);
        assert_true(slice_eq(line.job, expect[i].job));
        assert_true(slice_eq(line.state, expect[i].state));
        assert_true(slice_eq(line.node, expect[i].node));
        assert_true(slice_eq(line.reason, expect[i].reason));
        assert_int_equal(line.is, expect[i].is);
    }
    assert_false(squeue_next(&rest, &line));
}

/* ---- refusals, as 20.11 to 25.11 print them ---- */

#define FAILED "sbatch: error: Batch job submission failed: "
#define POLICY                                                                           \
    FAILED "Job violates accounting/QOS policy (job submit limit, user's size and/or "   \
           "time limits)\n"

static const struct {
    const char *err, *sentence;
    bool passing;
} refusals[] = {
    {FAILED "Invalid account or account/partition combination specified\n",
     "sbatch: Batch job submission failed: Invalid account or account/partition "
     "combination specified",
     false},
    {"sbatch: error: invalid partition specified: gpux\n" FAILED
     "Invalid partition name specified\n",
     "sbatch: invalid partition specified: gpux; Batch job submission failed: "
     "Invalid partition name specified",
     false},
    {FAILED "Invalid qos specification\n",
     "sbatch: Batch job submission failed: Invalid qos specification", false},
    {FAILED "Requested node configuration is not available\n",
     "sbatch: Batch job submission failed: Requested node configuration is not "
     "available",
     false},
    {FAILED "Requested time limit is invalid (missing or exceeds some limit)\n",
     "sbatch: Batch job submission failed: Requested time limit is invalid (missing "
     "or exceeds some limit)",
     false},
    {"sbatch: unrecognized option '--constrain'\nTry \"sbatch --help\" for more "
     "information\n",
     "sbatch: unrecognized option '--constrain'; Try \"sbatch --help\" for more "
     "information",
     false},
    {"sbatch: error: Unable to open file /x/jobs/slots.sh\n",
     "sbatch: Unable to open file /x/jobs/slots.sh", false},
    {"sbatch: Please say --account: see https://wiki\n" FAILED "Unspecified error\n",
     "sbatch: Please say --account: see https://wiki; Batch job submission failed: "
     "Unspecified error",
     false},
    {"", "sbatch: it exited with status 1, and did not say why", false},
    {POLICY,
     "sbatch: Batch job submission failed: Job violates accounting/QOS policy (job "
     "submit limit, user's size and/or time limits)",
     true},
    {"sbatch: error: QOSMaxSubmitJobPerUserLimit\n" POLICY,
     "sbatch: QOSMaxSubmitJobPerUserLimit; Batch job submission failed: Job violates "
     "accounting/QOS policy (job submit limit, user's size and/or time limits)",
     true},
    {"sbatch: error: AssocMaxSubmitJobLimit\n" POLICY,
     "sbatch: AssocMaxSubmitJobLimit; Batch job submission failed: Job violates "
     "accounting/QOS policy (job submit limit, user's size and/or time limits)",
     true},
    {"sbatch: error: AssocMaxWallDurationPerJobLimit\n" POLICY,
     "sbatch: AssocMaxWallDurationPerJobLimit; Batch job submission failed: Job "
     "violates accounting/QOS policy (job submit limit, user's size and/or time "
     "limits)",
     false},
    {"sbatch: error: QOSMaxCpuPerJobLimit\n" POLICY,
     "sbatch: QOSMaxCpuPerJobLimit; Batch job submission failed: Job violates "
     "accounting/QOS policy (job submit limit, user's size and/or time limits)",
     false},
    {FAILED "Unable to contact slurm controller (connect failure)\n",
     "sbatch: Batch job submission failed: Unable to contact slurm controller "
     "(connect failure)",
     true},
    {FAILED "Socket timed out on send/recv operation\n",
     "sbatch: Batch job submission failed: Socket timed out on send/recv operation",
     true},
    {"sbatch: error: Slurm temporarily unable to accept job, sleeping and "
     "retrying\n" FAILED "Resource temporarily unavailable\n",
     "sbatch: Slurm temporarily unable to accept job, sleeping and retrying; Batch "
     "job submission failed: Resource temporarily unavailable",
     true},
    {FAILED "Zero Bytes were transmitted or received\n",
     "sbatch: Batch job submission failed: Zero Bytes were transmitted or received",
     true},
    {FAILED "Required partition not available (inactive or drain)\n",
     "sbatch: Batch job submission failed: Required partition not available "
     "(inactive or drain)",
     true},
};

static void test_refusals(void **state)
{
    struct str text = STR_INIT;

    (void)state;
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct proc_result r = {.exit_code = 1, .out = STR_INIT, .err = STR_INIT};

        str_add(&r.err, refusals[i].err);
        str_cut(&text, 0);
        command_sentence(&text, "sbatch", &r);
        assert_string_equal(text.p, refusals[i].sentence);
        if (command_passing(&r) != refusals[i].passing)
            fail_msg("passing: %d: %s", !refusals[i].passing, text.p);
        str_free(&r.err);
    }
    str_free(&text);
}

/* What srun says on the controller's behalf. */
static void test_step_passing(void **state)
{
    (void)state;
    assert_true(command_step_passing(
        SLICE("'srun' started nothing: srun: error: Unable to confirm allocation for "
              "job 5: Unable to contact slurm controller (connect failure)")));
    assert_true(command_step_passing(
        SLICE("'srun' started nothing: srun: error: Slurm job 9 has expired")));
    assert_false(command_step_passing(
        SLICE("'srun' started nothing: srun: error: Unable to create step for job 1: "
              "Invalid mpi")));
    assert_false(command_step_passing(SLICE("")));
}

static void test_no_answer(void **state)
{
    struct proc_result slow = {.exit_code = -1,
                               .signal = 9,
                               .timed_out = true,
                               .out = STR_INIT,
                               .err = STR_INIT};
    struct proc_result killed = {
        .exit_code = -1, .signal = 11, .out = STR_INIT, .err = STR_INIT};
    struct str text = STR_INIT;

    (void)state;
    command_sentence(&text, "sbatch", &slow);
    assert_string_equal(text.p, "sbatch: it did not answer in time");
    assert_true(command_passing(&slow));
    str_cut(&text, 0);
    command_sentence(&text, "sbatch", &killed);
    assert_string_equal(text.p, "sbatch: it was ended by signal 11");
    assert_true(command_passing(&killed));
    str_free(&text);
}

/* A text without end is cut. */
static void test_long(void **state)
{
    struct proc_result r = {.exit_code = 1, .out = STR_INIT, .err = STR_INIT};
    struct str text = STR_INIT;

    (void)state;
    for (int i = 0; i < 100000; i++)
        str_add(&r.err, i % 1000 ? "x" : "\n");
    command_sentence(&text, "sbatch", &r);
    assert_in_range(text.len, 500, 1100);
    str_free(&r.err);
    str_free(&text);
}

/* ---- the environment ---- */

static void test_environment(void **state)
{
    char env[] = "env", *const argv[] = {env, NULL};
    struct proc_result r;
    struct proc p;

    (void)state;
    setenv("SLURM_JOB_ID", "1", 1);
    setenv("SLURM_MEM_PER_CPU", "1", 1);
    setenv("SBATCH_WAIT", "1", 1);
    setenv("SQUEUE_STATES", "R", 1);
    setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    setenv("PMIX_RANK", "1", 1);
    setenv("PMI_RANK", "1", 1);
    setenv("SLURM_CONF", "/etc/slurm.conf", 1);
    setenv("SBATCH_ACCOUNT", "lab", 1);
    setenv("SLURMISH", "1", 1);
    assert_int_equal(command_start(&p, argv, 60, NULL), 0);
    proc_wait(&p, &r);
    assert_null(strstr(r.out.p, "SLURM_JOB_ID"));
    assert_null(strstr(r.out.p, "SLURM_MEM"));
    assert_null(strstr(r.out.p, "SBATCH_WAIT"));
    assert_null(strstr(r.out.p, "SQUEUE"));
    assert_null(strstr(r.out.p, "OMPI"));
    assert_null(strstr(r.out.p, "PMI"));
    assert_non_null(strstr(r.out.p, "SLURM_CONF=/etc/slurm.conf\n"));
    assert_non_null(strstr(r.out.p, "SBATCH_ACCOUNT=lab\n"));
    assert_non_null(strstr(r.out.p, "SLURMISH=1\n"));
    assert_non_null(strstr(r.out.p, "PATH="));
    proc_result_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sbatch),       cmocka_unit_test(test_array_max),
        cmocka_unit_test(test_squeue),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_step_passing), cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_long),         cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests_name("slurm/command", tests, NULL, NULL);
}
