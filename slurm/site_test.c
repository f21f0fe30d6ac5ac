#include "slurm/command.h"
#include "slurm/site.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- words ---- */

static void test_listed(void **state)
{
    static const struct {
        const char *list, *word, *value; /* value NULL: it is not there */
    } cases[] = {
        {"", "defer", NULL},
        {"defer_batch", "defer", NULL},
        {"nodefer", "defer", NULL},
        {"defer", "defer", ""},
        {"bf_window=2880,defer,max_array_tasks=500", "defer", ""},
        {"bf_window=2880,defer,max_array_tasks=500", "max_array_tasks", "500"},
        {"bf_window=2880,defer,max_array_tasks=500", "max_array", NULL},
        {"rl_enable,rl_bucket_size=", "rl_bucket_size", ""},
    };
    struct slice value;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool there = slurm_listed(slice_of(cases[i].list), cases[i].word, &value);

        assert_int_equal(there, cases[i].value != NULL);
        if (there)
            assert_true(slice_eq(value, cases[i].value));
    }
}

static void test_tres(void **state)
{
    static const struct {
        const char *list, *name;
        int64_t n;
    } cases[] = {
        {NULL, "cpu", -1},
        {"", "cpu", -1},
        {"cpu", "cpu", -1},
        {"cpu=", "cpu", -1},
        {"cpu=-1", "cpu", -1},
        {"cpu=many", "cpu", -1},
        {"cpus=4", "cpu", -1},
        {"cpu=8,mem=32G,gres/gpu=2", "cpu", 8},
        {"cpu=8,mem=32G,gres/gpu=2", "mem", 32 * 1024},
        {"cpu=8,mem=980000M", "mem", 980000},
        {"cpu=8,gres/gpu:a100=2", "gres/gpu", -1},
        {"gres/gpu=8,cpu=2,gres/gpu=0", "gres/gpu", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(slurm_tres(cases[i].list, cases[i].name), cases[i].n);
}

static void test_gres(void **state)
{
    static const struct {
        const char *gres;
        int64_t gpus;
    } cases[] = {
        {NULL, 0},
        {"", 0},
        {"(null)", 0},
        {"gpus:4", 0},
        {"shard:8,nvme:1", 0},
        {"gpu", 1},
        {"gpu:h100", 1},
        {"gpu:4", 4},
        {"gpu:h100:4(S:0-1)", 4},
        {"gpu:h100:4(S:0,3),gpu:a40:2(S:1),shard:16", 6},
        {"craynetwork:4,gpu:2", 2},
        {"gpu=2", 2},
        {"gpu:2(S:0", 2},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(slurm_gres_gpus(cases[i].gres), cases[i].gpus);
}

/* ---- scontrol show config ---- */

/* In the forms of 20.11, 22.05 and 25.05. */
static void test_config(void **state)
{
    static const char text[] = "Configuration data as of 2026-11-20T09:30:00\n"
                               "AccountingStorageBackupHost = (null)\n"
                               "AccountingStorageEnforce = associations,limits,qos\n"
                               "AccountingStoreJobComment = Yes\n"
                               "AccountingStoreFlags    = (null)\n"
                               "KillWait                = 30 sec\n"
                               "PreemptType             = (null)\n"
                               "SchedulerParameters     = bf_window=2880,defer\n"
                               "SLURM_VERSION           = 25.05.5\n"
                               "SlurmctldHost[0]        = head(10.0.0.1)\n"
                               "\n"
                               "Cgroup Support Configuration:\n"
                               "AllowedRAMSpace         = 100.0%\n"
                               "ConstrainRAMSpace       = yes\n"
                               "\n"
                               "Slurmctld(primary) at head is UP\n";
    static const struct {
        const char *name, *value;
    } cases[] = {
        {"AccountingStorageBackupHost", ""},
        {"AccountingStorage", ""},
        {"Slurmctld(primary)", ""},
        {"AccountingStoreFlags", ""},
        {"PreemptType", ""},
        {"AccountingStorageEnforce", "associations,limits,qos"},
        {"AccountingStoreJobComment", "Yes"},
        {"KillWait", "30 sec"},
        {"SchedulerParameters", "bf_window=2880,defer"},
        {"SLURM_VERSION", "25.05.5"},
        {"SlurmctldHost[0]", "head(10.0.0.1)"},
        {"ConstrainRAMSpace", "yes"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_true(slice_eq(scontrol_value(SLICE(text), cases[i].name), cases[i].value));
}

/* ---- partitions and nodes ---- */

/* The first line as of 20.11, the second as of 25.05, with fewer fields. */
static void test_partitions(void **state)
{
    static const char text[] =
        "No partitions in the system\n"
        "PartitionName= State=UP\n"
        "PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL "
        "Default=YES QoS=N/A DefaultTime=00:10:00 DisableRootJobs=NO ExclusiveUser=NO "
        "GraceTime=0 Hidden=NO MaxNodes=20 MaxTime=3-00:00:00 MinNodes=0 LLN=NO "
        "MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] PriorityJobFactor=1 PriorityTier=1 "
        "RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF "
        "State=UP TotalCPUs=16 TotalNodes=4 SelectTypeParameters=NONE "
        "JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED\n"
        "PartitionName=gpu AllowGroups=ALL DenyAccounts=guests AllowQos=normal,high "
        "AllocNodes=login[1-2] Default=NO QoS=part_gpu DefaultTime=NONE "
        "ExclusiveTopo=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED Nodes=g[1-2] "
        "State=DRAIN TRES=cpu=8,mem=1T,node=2,gres/gpu=8\n"
        "PartitionName=odd AllowAccounts=lab,ops\n";
    struct site s = {0};
    const struct site_partition *p;

    (void)state;
    site_read_partitions(&s, SLICE(text));
    assert_int_equal(s.partitions.n, 3);
    assert_null(site_partition(&s, "cp"));
    assert_null(site_partition(&s, ""));
    p = site_partition(&s, "cpu");
    assert_true(p && p->is_default);
    assert_string_equal(p->state, "UP");
    assert_true(p->max_time == 3 * 86400 && p->default_time == 600);
    assert_true(!p->accounts && !p->qos && !p->own_qos && !p->accounts_denied);
    p = site_partition(&s, "gpu");
    assert_true(p && !p->is_default && isinf(p->max_time) && isnan(p->default_time));
    assert_string_equal(p->state, "DRAIN");
    assert_string_equal(p->qos, "normal,high");
    assert_string_equal(p->own_qos, "part_gpu");
    assert_string_equal(p->accounts_denied, "guests");
    p = site_partition(&s, "odd");
    assert_true(p && isnan(p->max_time));
    assert_string_equal(p->accounts, "lab,ops");
    assert_string_equal(p->state, "");
    site_free(&s);
}

static void test_nodes(void **state)
{
    static const char text[] = "Welcome to X!\n"
                               "cpu*|x|idle|4|100|(null)\n"
                               "cpu*|120|idle\n"
                               "|1|idle|4|100|(null)\n"
                               "cpu*|3|mixed|64|257000|(null)\n"
                               "cpu*|1|idle*|64|257000|(null)\n"
                               "cpu*|2|drained|64|257000|(null)\n"
                               "gpu|2|allocated|96|1031000|gpu:h100:4(S:0-1)\n"
                               "gpu|1|idle~|96|1031000|gpu:h100:8\n"
                               "gpu|1|down$|96|1031000|gpu:h100:8\n"
                               "gpu|1|planned|96|1031000|gpu:h100:8\n"
                               "gpu|1|UNKNOWN|96|1031000|gpu:h100:8";
    static const struct {
        const char *partition;
        int64_t n, cpus, gpus;
        bool usable;
    } expect[] = {
        {"cpu", 3, 64, 0, true}, {"cpu", 1, 64, 0, false}, {"cpu", 2, 64, 0, false},
        {"gpu", 2, 96, 4, true}, {"gpu", 1, 96, 8, true},  {"gpu", 1, 96, 8, false},
        {"gpu", 1, 96, 8, true}, {"gpu", 1, 96, 8, false},
    };
    struct site s = {0};

    (void)state;
    site_read_nodes(&s, SLICE(text));
    assert_int_equal(s.nodes.n, COUNT(expect));
    for (size_t i = 0; i < COUNT(expect); i++) {
        assert_string_equal(s.nodes.v[i].partition, expect[i].partition);
        assert_int_equal(s.nodes.v[i].n, expect[i].n);
        assert_int_equal(s.nodes.v[i].cpus, expect[i].cpus);
        assert_int_equal(s.nodes.v[i].gpus, expect[i].gpus);
        assert_int_equal(s.nodes.v[i].usable, expect[i].usable);
    }
    assert_int_equal(s.nodes.v[0].megabytes, 257000);
    assert_null(s.nodes.v[0].gres);
    site_free(&s);
}

/* ---- sacctmgr ---- */

static void test_associations(void **state)
{
    static const char text[] =
        "news of the site\n"
        "Cluster|Account|User|Partition|Share|Priority|GrpJobs|GrpTRES|GrpSubmit|GrpWall|"
        "GrpTRESMins|MaxJobs|MaxTRES|MaxTRESPerNode|MaxSubmit|MaxWall|MaxTRESMins|QOS|"
        "Def QOS|GrpTRESRunMins\n"
        "north|lab|ada||1|||||||||||||normal||\n"
        "north|big|ada|gpu|1|||gres/"
        "gpu=8||||10|cpu=64||50|2-00:00:00||normal,long|long|\n"
        "south|lab|ada||1|||||||||||||normal||\n"
        "north||\n";
    struct site s = {0};
    const struct site_limits *l;

    (void)state;
    site_read_associations(&s, SLICE(text), SLICE("North"));
    assert_int_equal(s.associations.n, 2);
    l = &s.associations.v[0];
    assert_string_equal(l->name, "lab");
    assert_string_equal(l->qos, "normal");
    assert_true(!l->partition && !l->own_qos && !l->tres_of_job && !l->tres_of_all);
    assert_true(l->submitted == -1 && l->running == -1 && isinf(l->wall));
    l = &s.associations.v[1];
    assert_string_equal(l->name, "big");
    assert_string_equal(l->partition, "gpu");
    assert_string_equal(l->qos, "normal,long");
    assert_string_equal(l->own_qos, "long");
    assert_string_equal(l->tres_of_job, "cpu=64");
    assert_string_equal(l->tres_of_all, "gres/gpu=8");
    assert_true(l->submitted == 50 && l->running == 10 && l->wall == 2 * 86400);
    site_free(&s);
}

/* As of 20.11, and with the columns that 21.08 added. */
static void test_qos(void **state)
{
    static const char *const texts[] = {
        "Name|Priority|GraceTime|Preempt|PreemptExemptTime|PreemptMode|Flags|UsageThres|"
        "UsageFactor|GrpTRES|GrpTRESMins|GrpTRESRunMins|GrpJobs|GrpSubmit|GrpWall|"
        "MaxTRES|"
        "MaxTRESPerNode|MaxTRESMins|MaxWall|MaxTRESPU|MaxJobsPU|MaxSubmitPU|MaxTRESPA|"
        "MaxJobsPA|MaxSubmitPA|MinTRES\n"
        "normal|0|00:00:00|||cluster|||1.000000|||||||||||||||||\n"
        "debug|5|00:01:00|||cluster|DenyOnLimit||1.000000||||||||||00:30:00|cpu=5|2|5|"
        "mem=64G||4|cpu=1\n",
        "Name|Priority|GraceTime|Preempt|PreemptExemptTime|PreemptMode|Flags|UsageThres|"
        "UsageFactor|GrpTRES|GrpTRESMins|GrpTRESRunMins|GrpJobs|GrpSubmit|GrpWall|"
        "MaxTRES|"
        "MaxTRESPerNode|MaxTRESMins|MaxWall|MaxTRESPU|MaxJobsPU|MaxSubmitPU|MaxTRESPA|"
        "MaxTRESRunMinsPA|MaxTRESRunMinsPU|MaxJobsPA|MaxSubmitPA|MinTRES|\n"
        "normal|0|00:00:00|||cluster|||1.000000||||||||||||||||||||\n"
        "debug|5|00:01:00|||cluster|DenyOnLimit||1.000000||||||||||00:30:00|cpu=5|2|5|"
        "mem=64G||||4|cpu=1|\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct site s = {0};
        const struct site_limits *q;

        site_read_qos(&s, slice_of(texts[i]));
        assert_int_equal(s.qos.n, 2);
        assert_null(site_qos(&s, "long"));
        q = site_qos(&s, "normal");
        assert_true(q && q->submitted == -1 && q->running == -1 && isinf(q->wall));
        q = site_qos(&s, "debug");
        assert_true(q && q->submitted == 4 && q->running == 2 && q->wall == 1800);
        assert_int_equal(slurm_tres(q->tres_of_all, "cpu"), 5);
        assert_int_equal(slurm_tres(q->tres_of_all, "mem"), 64 * 1024);
        assert_null(q->tres_of_job);
        site_free(&s);
    }
}

static void test_no_table(void **state)
{
    static const char text[] = " This cluster 'north' doesn't exist.\n\n";
    struct site s = {0};

    (void)state;
    site_read_associations(&s, SLICE(text), SLICE("north"));
    site_read_associations(&s, SLICE(""), SLICE("north"));
    site_read_qos(&s, SLICE(text));
    site_read_partitions(&s, SLICE(text));
    site_read_nodes(&s, SLICE(text));
    assert_true(s.associations.n + s.qos.n + s.partitions.n + s.nodes.n == 0);
    site_free(&s);
}

/* ---- srun --mpi=list ---- */

static void test_mpi(void **state)
{
    static const struct {
        const char *text, *found;
    } cases[] = {
        {"", ""},
        {"srun: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n", ""},
        {"srun: MPI types are...\nsrun: pmix_v3\nsrun: none\nsrun: pmi2\n",
         "pmix_v3 none pmi2 "},
        {"MPI plugin types are...\n\tnone\n\tcray_shasta\n\tpmi2\n\tpmix\nspecific pmix "
         "plugin versions available: pmix_v4,pmix_v5\n",
         "none cray_shasta pmi2 pmix pmix_v4 pmix_v5 "},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str found = STR_INIT;
        struct site s = {0};

        site_read_mpi(&s, slice_of(cases[i].text));
        for (size_t k = 0; k < s.mpi.n; k++)
            str_addf(&found, "%s ", s.mpi.v[k]);
        assert_string_equal(found.p, cases[i].found);
        str_free(&found);
        site_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listed),       cmocka_unit_test(test_tres),
        cmocka_unit_test(test_gres),         cmocka_unit_test(test_config),
        cmocka_unit_test(test_partitions),   cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_associations), cmocka_unit_test(test_qos),
        cmocka_unit_test(test_no_table),     cmocka_unit_test(test_mpi),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
