/* The site: what Slurm tells of itself, in one call of each of its commands, all at
 * once. */
#include "base/num.h"
#include "base/units.h"
#include "launcher/doctor.h"
#include "slurm/command.h"

#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PARTITIONS_SHOWN 6
#define LIMITS_SHOWN     4

static struct slice out_of(const struct doctor *d, enum slurm_question q)
{
    return (struct slice){d->answer[q].out.p, d->answer[q].out.len};
}

struct slice doctor_config(const struct doctor *d, const char *name)
{
    return scontrol_value(out_of(d, ASK_CONFIG), name);
}

static bool config_has(const struct doctor *d, const char *name, const char *part)
{
    struct slice value = doctor_config(d, name);

    return value.len > 0 && memmem(value.p, value.len, part, strlen(part)) != NULL;
}

static int64_t config_number(const struct doctor *d, const char *name)
{
    struct slice value = doctor_config(d, name);
    int64_t n;

    return num_parse_int(value.p, value.len, &n) == 0 && n >= 0 ? n : -1;
}

/* ---- asking ---- */

static void ask(struct doctor *d, enum slurm_question q, char *program, char *a, char *b,
                char *c, char *e)
{
    char *words[] = {a, b, c, e}, *argv[7] = {program};
    struct str cluster = STR_INIT;
    int n = 1;

    if (d->cluster && (q == ASK_CONFIG || q == ASK_PARTITIONS || q == ASK_NODES)) {
        str_addf(&cluster, "--clusters=%s", d->cluster);
        argv[n++] = cluster.p;
    }
    for (int i = 0; i < 4 && words[i]; i++)
        argv[n++] = words[i];
    doctor_start(d, &d->asked[q], argv);
    str_free(&cluster);
}

/* Nothing here is asked of slurmctld more than once, nor does anything wait in a queue.
 */
void doctor_slurm_ask(struct doctor *d)
{
    char sbatch[] = "sbatch", version[] = "--version", scontrol[] = "scontrol",
         show[] = "show", config[] = "config", partition[] = "partition",
         oneliner[] = "--oneliner", sinfo[] = "sinfo", noheader[] = "--noheader",
         exact[] = "--exact", nodes[] = SINFO_FORMAT, sacctmgr[] = "sacctmgr",
         parsable[] = "--parsable2", associations[] = "associations", qos[] = "qos",
         sacct[] = "sacct", allocations[] = "--allocations", now[] = "--starttime=now",
         id[] = "--format=JobID", srun[] = "srun", mpi[] = "--mpi=list";
    const struct passwd *me = getpwuid(geteuid());
    struct str user = STR_INIT;

    str_addf(&user, "user=%s", me ? me->pw_name : "");
    ask(d, ASK_VERSION, sbatch, version, NULL, NULL, NULL);
    d->slurm = d->asked[ASK_VERSION].pid != 0;
    if (d->slurm) {
        ask(d, ASK_CONFIG, scontrol, show, config, NULL, NULL);
        ask(d, ASK_PARTITIONS, scontrol, oneliner, show, partition, NULL);
        ask(d, ASK_NODES, sinfo, noheader, exact, nodes, NULL);
        ask(d, ASK_ASSOCIATIONS, sacctmgr, parsable, show, associations, user.p);
        ask(d, ASK_QOS, sacctmgr, parsable, show, qos, NULL);
        ask(d, ASK_SACCT, sacct, noheader, allocations, now, id);
        ask(d, ASK_MPI, srun, mpi, NULL, NULL, NULL);
    }
    str_free(&user);
}

/* Reads all answers. */
static void take(struct doctor *d)
{
    for (int q = 0; q < ASK_COUNT; q++)
        d->good[q] = doctor_answer(&d->asked[q], &d->answer[q]);
    d->answers = d->good[ASK_CONFIG] && doctor_config(d, "SLURM_VERSION").len > 0;
    if (d->good[ASK_PARTITIONS])
        site_read_partitions(&d->site, out_of(d, ASK_PARTITIONS));
    if (d->good[ASK_NODES])
        site_read_nodes(&d->site, out_of(d, ASK_NODES));
    if (d->good[ASK_ASSOCIATIONS])
        site_read_associations(&d->site, out_of(d, ASK_ASSOCIATIONS),
                               doctor_config(d, "ClusterName"));
    if (d->good[ASK_QOS])
        site_read_qos(&d->site, out_of(d, ASK_QOS));
    if (d->good[ASK_MPI]) {
        const struct str *err = &d->answer[ASK_MPI].err;

        site_read_mpi(&d->site, out_of(d, ASK_MPI));
        if (d->site.mpi.n == 0)
            site_read_mpi(&d->site, (struct slice){err->p, err->len});
    }
}

/* ---- saying ---- */

static void say_slurm(struct doctor *d)
{
    struct slice version = doctor_config(d, "SLURM_VERSION"),
                 cluster = doctor_config(d, "ClusterName");
    struct str why = STR_INIT;
    const char *job = getenv("SLURM_JOB_ID");

    if (d->answers) {
        doctor_say(d, MARK_OK, "Slurm", NULL, "%.*s, cluster %.*s, slurmctld answers%s%s",
                   (int)version.len, version.p, (int)cluster.len, cluster.p,
                   job ? "; we are in job " : "", job ? job : "");
        return;
    }
    if (d->asked[ASK_CONFIG].began > 0)
        command_sentence(&why, "scontrol", &d->answer[ASK_CONFIG]);
    else
        str_add(&why, "there is sbatch, but no scontrol");
    doctor_say(
        d, MARK_BAD, "Slurm",
        "try `scontrol show config`; where it works, rung does, too. Or sweeps run "
        "on this machine: rung run --executor local",
        "%s", why.p);
    str_free(&why);
}

static void say_arrays(struct doctor *d)
{
    int64_t size = config_number(d, "MaxArraySize"),
            jobs = config_number(d, "MaxJobCount");
    struct slice tasks = {NULL, 0};

    slurm_listed(doctor_config(d, "SchedulerParameters"), "max_array_tasks", &tasks);
    if (size == 0)
        doctor_say(d, MARK_NOTE, "arrays",
                   "jobs are submitted one by one, which takes longer",
                   "the site has none (MaxArraySize 0)");
    else
        doctor_say(d, MARK_OK, "arrays", NULL,
                   "%lld jobs each%s%.*s, then another; %lld jobs in all",
                   (long long)size, tasks.len ? ", max_array_tasks " : "", (int)tasks.len,
                   tasks.len ? tasks.p : "", (long long)jobs);
}

/* Where the site keeps people from asking or starting too fast. */
static void say_scheduler(struct doctor *d)
{
    struct slice scheduler = doctor_config(d, "SchedulerParameters"),
                 controller = doctor_config(d, "SlurmctldParameters"), bucket = {0},
                 rate = {0};
    struct str text = STR_INIT;

    if (slurm_listed(controller, "rl_enable", NULL)) {
        slurm_listed(controller, "rl_bucket_size", &bucket);
        slurm_listed(controller, "rl_refill_rate", &rate);
        str_addf(&text, "limits requests: %.*s, then %.*s a second",
                 bucket.len ? (int)bucket.len : 2, bucket.len ? bucket.p : "30",
                 rate.len ? (int)rate.len : 1, rate.len ? rate.p : "2");
    }
    if (slurm_listed(scheduler, "defer", NULL) ||
        slurm_listed(scheduler, "defer_batch", NULL))
        str_addf(&text, "%sdefer: jobs start at the next round", text.len ? "; " : "");
    if (text.len > 0)
        doctor_say(d, MARK_OK, "scheduler", NULL, "%s", text.p);
    str_free(&text);
}

static void say_memory(struct doctor *d)
{
    bool counts = config_has(d, "SelectTypeParameters", "MEMORY"),
         cgroup = config_has(d, "TaskPlugin", "cgroup"),
         told = doctor_config(d, "ConstrainRAMSpace").len > 0,
         held = config_has(d, "ConstrainRAMSpace", "yes"),
         kills = config_has(d, "JobAcctGatherParams", "OverMemoryKill");

    if (!counts)
        doctor_say(
            d, MARK_NOTE, "memory",
            "slots on one node can run each other out of memory: ask for whole nodes",
            "is not set aside for jobs (SelectTypeParameters)");
    else if (kills || (cgroup && held))
        doctor_say(d, MARK_OK, "memory", NULL, "is set aside, and jobs are held to it");
    else if (cgroup && !told)
        doctor_say(d, MARK_OK, "memory", NULL,
                   "is set aside; whether jobs are held to it, Slurm does not tell");
    else
        doctor_say(d, MARK_NOTE, "memory",
                   "a trial that needs more than it says can end others: say enough",
                   "is set aside, but jobs are not held to it");
}

static void say_accounting(struct doctor *d)
{
    bool dbd = config_has(d, "AccountingStorageType", "slurmdbd"),
         comments = config_has(d, "AccountingStoreFlags", "job_comment") ||
                    config_has(d, "AccountingStoreJobComment", "Yes");
    struct slice energy = doctor_config(d, "AcctGatherEnergyType");
    bool has_energy = energy.len > 0 && !config_has(d, "AcctGatherEnergyType", "none");
    struct str why = STR_INIT;

    if (d->good[ASK_SACCT] && dbd) {
        doctor_say(d, MARK_OK, "accounting", NULL,
                   "sacct answers; energy is %smeasured, comments are %skept",
                   has_energy ? "" : "not ", comments ? "" : "not ");
        return;
    }
    command_sentence(&why, "sacct", &d->answer[ASK_SACCT]);
    doctor_say(
        d, MARK_NOTE, "accounting",
        "sweeps run all the same; Slurm's own word on ended jobs, and their energy, "
        "are missing",
        "%s", dbd ? why.p : "none here (AccountingStorageType), so no sacct");
    str_free(&why);
}

/* How jobs end that do not end by themselves. */
static void say_ends(struct doctor *d)
{
    struct slice type = doctor_config(d, "PreemptType"),
                 mode = doctor_config(d, "PreemptMode"),
                 wait = doctor_config(d, "KillWait"),
                 tracking = doctor_config(d, "ProctrackType");
    bool preempt = type.len > 0 && !slice_eq(type, "preempt/none");

    doctor_say(d, MARK_OK, "ends", NULL, "KillWait %.*s, %.*s, %s%.*s", (int)wait.len,
               wait.p, (int)tracking.len, tracking.p,
               preempt ? "preemption by " : "no preemption", preempt ? (int)mode.len : 0,
               mode.p);
}

static bool has_mpi(const struct doctor *d, const char *prefix)
{
    for (size_t i = 0; i < d->site.mpi.n; i++) {
        if (strncmp(d->site.mpi.v[i], prefix, strlen(prefix)) == 0)
            return true;
    }
    return false;
}

static void say_mpi(struct doctor *d)
{
    struct slice standard = doctor_config(d, "MpiDefault");
    struct str list = STR_INIT;

    for (size_t i = 0; i < d->site.mpi.n; i++) {
        if (strcmp(d->site.mpi.v[i], "none") != 0)
            str_addf(&list, "%s%s", list.len ? ", " : "", d->site.mpi.v[i]);
    }
    if (!d->good[ASK_MPI])
        doctor_say(d, MARK_NOTE, "srun --mpi", "try `srun --mpi=list`",
                   "which kinds there are, srun does not tell");
    else if (!has_mpi(d, "pmix"))
        doctor_say(d, MARK_NOTE, "srun --mpi",
                   "Open MPI's programs need mpirun here, or an Open MPI built for pmi2",
                   "no pmix, only %s", list.len ? list.p : "none");
    else
        doctor_say(d, MARK_OK, "srun --mpi", NULL, "%s; %.*s unless said", list.p,
                   (int)standard.len, standard.p);
    str_free(&list);
}

/* ---- partitions ---- */

/* The largest of its nodes, and how many it has. */
struct largest {
    int64_t nodes, usable, cpus, megabytes, gpus;
    const char *gres;
};

static struct largest largest_of(const struct site *s, const char *partition)
{
    struct largest l = {0};

    for (size_t i = 0; i < s->nodes.n; i++) {
        const struct site_nodes *n = &s->nodes.v[i];

        if (strcmp(n->partition, partition) != 0)
            continue;
        l.nodes += n->n;
        l.usable += n->usable ? n->n : 0;
        l.cpus = n->cpus > l.cpus ? n->cpus : l.cpus;
        l.megabytes = n->megabytes > l.megabytes ? n->megabytes : l.megabytes;
        if (n->gpus > l.gpus) {
            l.gpus = n->gpus;
            l.gres = n->gres;
        }
    }
    return l;
}

static void add_time(struct str *out, double seconds)
{
    char text[UNITS_MAX];

    str_add(out, isinf(seconds) ? "no limit" : duration_format(text, seconds));
}

static void say_partition(struct doctor *d, const struct site_partition *p)
{
    struct largest l = largest_of(&d->site, p->name);
    bool up = strcmp(p->state, "UP") == 0;
    struct str text = STR_INIT;
    char size[UNITS_MAX];

    str_addf(&text, "%s%s: ", p->name, p->is_default ? " (default)" : "");
    if (!up)
        str_addf(&text, "%s, ", p->state);
    add_time(&text, p->max_time);
    if (!isnan(p->default_time) && p->default_time != p->max_time) {
        str_add(&text, " (unless said ");
        add_time(&text, p->default_time);
        str_addc(&text, ')');
    }
    if (d->good[ASK_NODES] && l.nodes == 0)
        str_add(&text, ", no nodes");
    else if (d->good[ASK_NODES])
        str_addf(&text, ", %lld of %lld nodes up, to %lld CPUs, %s%s%s",
                 (long long)l.usable, (long long)l.nodes, (long long)l.cpus,
                 size_format(size, (double)l.megabytes * (1 << 20)), l.gres ? ", " : "",
                 l.gres ? l.gres : "");
    doctor_say(d, p->is_default && (!up || l.usable == 0) ? MARK_NOTE : MARK_OK,
               "partition", p->is_default ? "name another one in slurm.partition" : NULL,
               "%s", text.p);
    str_free(&text);
}

static void say_partitions(struct doctor *d)
{
    size_t shown = 0, n = d->site.partitions.n;
    bool has_default = false;

    for (int round = 0; round < 2; round++) { /* the default one first */
        for (size_t i = 0; i < n; i++) {
            const struct site_partition *p = &d->site.partitions.v[i];

            has_default |= p->is_default;
            if (p->is_default == (round == 0) && shown++ < PARTITIONS_SHOWN)
                say_partition(d, p);
        }
    }
    if (shown > PARTITIONS_SHOWN)
        doctor_say(d, MARK_OK, "partition", NULL, "%zu more: `sinfo --summarize`",
                   shown - PARTITIONS_SHOWN);
    if (n == 0)
        doctor_say(d, MARK_BAD, "partition", "ask the site which one you may use",
                   "there is none that you can see");
    else if (!has_default)
        doctor_say(d, MARK_NOTE, "partition",
                   "name one in each sweep file: slurm.partition", "none is the default");
}

/* ---- accounts ---- */

static void add_limit(struct str *out, const char *before, const char *text,
                      const char *after)
{
    str_addf(out, "%s%s%s%s", out->len ? ", " : "", before, text, after);
}

static void add_limits(struct str *out, const struct site_limits *l)
{
    char text[UNITS_MAX];

    num_format_int(text, l->submitted);
    if (l->submitted >= 0)
        add_limit(out, "", text, " jobs submitted");
    num_format_int(text, l->running);
    if (l->running >= 0)
        add_limit(out, "", text, " running");
    if (!isinf(l->wall))
        add_limit(out, "", duration_format(text, l->wall), " each");
    if (l->tres_of_job)
        add_limit(out, "", l->tres_of_job, " each");
    if (l->tres_of_all)
        add_limit(out, "", l->tres_of_all, " in all");
}

static void say_limits(struct doctor *d, const char *what, const struct site_limits *l)
{
    struct str limits = STR_INIT;

    add_limits(&limits, l);
    if (l->qos)
        add_limit(&limits, "qos ", l->qos, "");
    doctor_say(d, MARK_OK, what, NULL, "%s%s%s: %s", l->name, l->partition ? " in " : "",
               l->partition ? l->partition : "", limits.len ? limits.p : "no limits");
    str_free(&limits);
}

/* Of the QOS that the user may have, those that limit anything. */
static void say_qos(struct doctor *d)
{
    size_t shown = 0;

    for (size_t i = 0; i < d->site.qos.n; i++) {
        const struct site_limits *q = &d->site.qos.v[i];
        bool limits = q->submitted >= 0 || q->running >= 0 || !isinf(q->wall) ||
                      q->tres_of_job || q->tres_of_all;

        for (size_t k = 0; limits && k < d->site.associations.n; k++) {
            const char *list = d->site.associations.v[k].qos;

            if (list && slurm_listed(slice_of(list), q->name, NULL)) {
                if (shown++ < LIMITS_SHOWN)
                    say_limits(d, "qos", q);
                limits = false;
            }
        }
    }
    if (shown > LIMITS_SHOWN)
        doctor_say(d, MARK_OK, "qos", NULL, "%zu more: `sacctmgr show qos`",
                   shown - LIMITS_SHOWN);
}

static void say_accounts(struct doctor *d)
{
    size_t n = d->site.associations.n;
    bool needed = config_has(d, "AccountingStorageEnforce", "associations"),
         limits = config_has(d, "AccountingStorageEnforce", "limits");

    for (size_t i = 0; i < n && i < LIMITS_SHOWN; i++)
        say_limits(d, "account", &d->site.associations.v[i]);
    if (n > LIMITS_SHOWN)
        doctor_say(d, MARK_OK, "account", NULL,
                   "%zu more: `sacctmgr show associations user=$USER`", n - LIMITS_SHOWN);
    if (n == 0 && needed && d->good[ASK_ASSOCIATIONS])
        doctor_say(d, MARK_BAD, "account", "ask the site for an account",
                   "you have none here, and sbatch wants one");
    else if (n == 0 && d->good[ASK_ASSOCIATIONS] && d->good[ASK_SACCT])
        doctor_say(d, MARK_OK, "account", NULL, "none, and none is needed");
    if (n > 0 && !limits)
        doctor_say(d, MARK_OK, "limits", NULL,
                   "are not enforced (AccountingStorageEnforce)");
    if (n > 0)
        say_qos(d);
}

void doctor_slurm(struct doctor *d)
{
    d->group = "Slurm";
    take(d);
    if (!d->slurm) {
        doctor_say(d, MARK_OK, "Slurm", NULL,
                   "no sbatch on PATH: sweeps run on this machine");
        return;
    }
    say_slurm(d);
    if (!d->answers)
        return;
    say_arrays(d);
    say_scheduler(d);
    say_memory(d);
    say_ends(d);
    say_mpi(d);
    say_accounting(d);
    say_partitions(d);
    say_accounts(d);
}
