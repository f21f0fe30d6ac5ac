/* Does a sweep fit the site? Its jobs are compared with what Slurm told, one limit after
 * another; of what Slurm did not tell, nothing is said. */
#include "base/suggest.h"
#include "base/units.h"
#include "launcher/batch.h"
#include "launcher/doctor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* What one of its jobs asks for. */
struct asked {
    const char *partition, *account, *qos; /* NULL: the site's default */
    const char *gres;                      /* of the file, as it is */
    int64_t jobs, nodes;
    int64_t cpus, megabytes, gpus; /* on each of its nodes */
    double time;                   /* seconds, 0: not said */
};

/* An option of sbatch: the environment counts more than the file. */
static const char *option_of(const struct sweepfile *f, const char *name,
                             const char *variable)
{
    const char *value = variable ? getenv(variable) : NULL;

    for (size_t i = 0; i < f->slurm.n && !value; i++) {
        if (strcmp(f->slurm.v[i].name, name) == 0)
            value = f->slurm.v[i].value;
    }
    return value && *value ? value : NULL;
}

static struct asked asked_by(const struct sweepfile *f)
{
    int64_t slots = f->slots_per_job, nodes = f->resources.nodes;
    struct asked a = {
        .partition = option_of(f, "partition", "SBATCH_PARTITION"),
        .account = option_of(f, "account", "SBATCH_ACCOUNT"),
        .qos = option_of(f, "qos", "SBATCH_QOS"),
        .gres = option_of(f, "gres", NULL),
        .jobs = f->slots / slots,
        .nodes = nodes,
        .cpus = (slots * f->resources.tasks * f->resources.cpus + nodes - 1) / nodes,
        .megabytes = slots * ((f->resources.memory + (1 << 20) - 1) >> 20),
        .gpus = slots * f->resources.gpus,
        .time = f->resources.time,
    };

    if (slurm_gres_gpus(a.gres) > 0) /* then that is what counts (slurm/script.c) */
        a.gpus = slurm_gres_gpus(a.gres);
    return a;
}

/* ---- limits ---- */

static bool enforced(const struct doctor *d, const char *what)
{
    return slurm_listed(doctor_config(d, "AccountingStorageEnforce"), what, NULL);
}

/* What of a name all its slots together ask for, and one job. */
static void check_tres(struct doctor *d, const struct asked *a,
                       const struct site_limits *l, const char *kind, const char *name,
                       int64_t job)
{
    int64_t one = slurm_tres(l->tres_of_job, name),
            all = slurm_tres(l->tres_of_all, name);

    if (job > 0 && ((one >= 0 && job > one) || (all >= 0 && job > all)))
        doctor_say(d, MARK_BAD, "limits", "ask for less: resources, slots_per_job",
                   "a job asks for %lld of %s, and %s %s allows %lld", (long long)job,
                   name, kind, l->name, (long long)(one >= 0 && job > one ? one : all));
    else if (job > 0 && all >= 0 && job * a->jobs > all)
        doctor_say(d, MARK_OK, "limits", NULL,
                   "%s %s allows %lld of %s: %lld of the %lld jobs run at once", kind,
                   l->name, (long long)all, name, (long long)(all / job),
                   (long long)a->jobs);
}

static void check_limits(struct doctor *d, const struct asked *a,
                         const struct site_limits *l, const char *kind)
{
    char asks[UNITS_MAX], has[UNITS_MAX];

    if (!enforced(d, "limits"))
        return;
    if (l->submitted >= 0 && a->jobs > l->submitted)
        doctor_say(d, MARK_BAD, "limits",
                   "Slurm refuses an array as a whole: fewer slots",
                   "%lld jobs, and %s %s has room for %lld", (long long)a->jobs, kind,
                   l->name, (long long)l->submitted);
    if (l->running >= 0 && a->jobs > l->running)
        doctor_say(d, MARK_OK, "limits", NULL, "%s %s runs %lld of the %lld jobs at once",
                   kind, l->name, (long long)l->running, (long long)a->jobs);
    if (a->time > l->wall)
        doctor_say(d, MARK_BAD, "time", "say less in resources.time",
                   "%s a job, and %s %s allows %s", duration_format(asks, a->time), kind,
                   l->name, duration_format(has, l->wall));
    check_tres(d, a, l, kind, "cpu", a->nodes * a->cpus);
    check_tres(d, a, l, kind, "gres/gpu", a->nodes * a->gpus);
    check_tres(d, a, l, kind, "mem", a->nodes * a->megabytes);
}

/* ---- partition ---- */

static const char *nearest_partition(const struct doctor *d, const char *word)
{
    const char *names[64];
    size_t n = 0;

    for (size_t i = 0; i < d->site.partitions.n && n < 64; i++)
        names[n++] = d->site.partitions.v[i].name;
    return suggest(word, names, n);
}

static bool allowed(const char *list, const char *denied, const char *word)
{
    if (!word)
        return true;
    return !(list && !slurm_listed(slice_of(list), word, NULL)) &&
           !(denied && slurm_listed(slice_of(denied), word, NULL));
}

/* Is it open, and to whom? */
static void check_access(struct doctor *d, const struct asked *a,
                         const struct site_partition *p)
{
    if (strcmp(p->state, "UP") != 0)
        doctor_say(d, MARK_BAD, "partition", "name another one in slurm.partition",
                   "%s is %s", p->name, p->state);
    if (!allowed(p->accounts, p->accounts_denied, a->account))
        doctor_say(d, MARK_BAD, "partition", "name another account or partition",
                   "%s is not for account %s, but for %s", p->name, a->account,
                   p->accounts ? p->accounts : "others");
    if (!allowed(p->qos, p->qos_denied, a->qos))
        doctor_say(d, MARK_BAD, "partition", "name another qos or partition",
                   "%s is not for qos %s, but for %s", p->name, a->qos,
                   p->qos ? p->qos : "others");
}

static void check_time(struct doctor *d, const struct asked *a,
                       const struct site_partition *p)
{
    double standard = isnan(p->default_time) ? p->max_time : p->default_time;
    char asks[UNITS_MAX], has[UNITS_MAX];

    duration_format(asks, a->time);
    if (a->time > p->max_time)
        doctor_say(d, MARK_BAD, "time",
                   "say less in resources.time: trials go on in the next job",
                   "%s a job, and %s allows %s", asks, p->name,
                   duration_format(has, p->max_time));
    else if (a->time > 0)
        doctor_say(d, MARK_OK, "time", NULL, "%s a job, in %s", asks, p->name);
    else if (isfinite(standard))
        doctor_say(d, MARK_NOTE, "time",
                   "say resources.time, so that trials save before their job ends",
                   "not said, so jobs in %s end after %s", p->name,
                   duration_format(has, standard));
    else
        doctor_say(d, MARK_OK, "time", NULL, "no limit, in %s", p->name);
}

/* Slurm takes memory that is not said, and has no default, for all that a node has. */
static void check_memory(struct doctor *d, const struct asked *a,
                         const struct site_partition *p)
{
    struct slice counts = doctor_config(d, "SelectTypeParameters"),
                 of_node = doctor_config(d, "DefMemPerNode");

    if (a->megabytes == 0 && p->whole_memory && slice_eq(of_node, "UNLIMITED") &&
        counts.len > 0 && memmem(counts.p, counts.len, "MEMORY", 6))
        doctor_say(d, MARK_NOTE, "memory", "say resources.memory",
                   "not said, so each job gets all of a node's: one job a node in %s",
                   p->name);
}

/* Is there a node for one of its jobs? */
static void check_nodes(struct doctor *d, const struct asked *a, const char *partition)
{
    int64_t fit = 0, up = 0, all = 0, cpus = 0, megabytes = 0, gpus = 0;
    char asks[UNITS_MAX], has[UNITS_MAX];

    for (size_t i = 0; i < d->site.nodes.n; i++) {
        const struct site_nodes *n = &d->site.nodes.v[i];
        bool fits =
            n->cpus >= a->cpus && n->megabytes >= a->megabytes && n->gpus >= a->gpus;

        if (strcmp(n->partition, partition) != 0)
            continue;
        all += n->n;
        fit += fits ? n->n : 0;
        up += fits && n->usable ? n->n : 0;
        cpus = n->cpus > cpus ? n->cpus : cpus;
        megabytes = n->megabytes > megabytes ? n->megabytes : megabytes;
        gpus = n->gpus > gpus ? n->gpus : gpus;
    }
    size_format(asks, (double)a->megabytes * (1 << 20));
    size_format(has, (double)megabytes * (1 << 20));
    if (fit < a->nodes)
        doctor_say(
            d, MARK_BAD, "node", "ask for less: resources, slots_per_job",
            "%lld of %s's have %lld CPUs, %s, %lld GPUs together, and a job is on %lld; "
            "the most of each is %lld, %s, %lld",
            (long long)fit, partition, (long long)a->cpus,
            a->megabytes ? asks : "any memory", (long long)a->gpus, (long long)a->nodes,
            (long long)cpus, has, (long long)gpus);
    else if (up < a->nodes)
        doctor_say(d, MARK_NOTE, "node", "wait, or name another one in slurm.partition",
                   "a job fits on %lld of %s's, but %lld are up", (long long)fit,
                   partition, (long long)up);
    else
        doctor_say(d, MARK_OK, "node", NULL,
                   "a job fits on %lld of %s's %lld, %lld are up", (long long)fit,
                   partition, (long long)all, (long long)up);
}

static void check_partitions(struct doctor *d, const struct asked *a)
{
    char *copy = a->partition ? mem_strdup(a->partition) : NULL, *rest = copy, *name;
    const struct site_partition *p;
    const struct site_limits *q;

    for (size_t i = 0; i < d->site.partitions.n && !copy; i++) {
        if (d->site.partitions.v[i].is_default)
            copy = rest = mem_strdup(d->site.partitions.v[i].name);
    }
    if (!copy)
        doctor_say(d, MARK_BAD, "partition", "say slurm: {partition: NAME}",
                   "none is named, and the site has no default");
    while ((name = strsep(&rest, ",")) != NULL) {
        const char *near = nearest_partition(d, name);

        p = site_partition(&d->site, name);
        if (!p) {
            doctor_say(d, MARK_BAD, "partition", "`sinfo --summarize` lists them",
                       "there is no %s%s%s%s", name, near ? " (did you mean " : "",
                       near ? near : "", near ? "?)" : "");
            continue;
        }
        check_access(d, a, p);
        check_time(d, a, p);
        check_memory(d, a, p);
        if (d->good[ASK_NODES])
            check_nodes(d, a, name);
        q = p->own_qos ? site_qos(&d->site, p->own_qos) : NULL;
        if (q)
            check_limits(d, a, q, "the partition's qos");
    }
    free(copy);
}

/* ---- account and qos ---- */

/* The association that its jobs would count for: of that account, else the only one. */
static const struct site_limits *association(const struct doctor *d,
                                             const struct asked *a)
{
    const struct site_limits *found = NULL;

    for (size_t i = 0; i < d->site.associations.n; i++) {
        const struct site_limits *l = &d->site.associations.v[i];

        if (a->account && strcmp(l->name, a->account) != 0)
            continue;
        if (l->partition && !(a->partition && strcmp(l->partition, a->partition) == 0))
            continue;
        if (found && !a->account)
            return NULL; /* which one is the default is not told */
        found = l;
    }
    return found;
}

static void check_accounts(struct doctor *d, const struct asked *a)
{
    const struct site_limits *l = association(d, a), *q = NULL;
    const char *qos = a->qos;

    if (d->site.associations.n > 0 && a->account && !l && enforced(d, "associations")) {
        doctor_say(d, MARK_BAD, "account", "see the accounts above", "%s is not yours",
                   a->account);
        return;
    }
    if (!qos && l)
        qos = l->own_qos ? l->own_qos
              : strchr(l->qos ? l->qos : ",", ',') ? NULL
                                                   : l->qos;
    if (qos && l && l->qos && enforced(d, "qos") &&
        !slurm_listed(slice_of(l->qos), qos, NULL))
        doctor_say(d, MARK_BAD, "qos", "take one of these, in slurm.qos",
                   "%s is not yours in account %s, but %s", qos, l->name, l->qos);
    if (l)
        check_limits(d, a, l, "account");
    q = qos ? site_qos(&d->site, qos) : NULL;
    if (qos && d->site.qos.n > 0 && !q)
        doctor_say(d, MARK_BAD, "qos", "`sacctmgr show qos` lists them", "there is no %s",
                   qos);
    else if (q)
        check_limits(d, a, q, "qos");
}

/* ---- the whole ---- */

static void say_jobs(struct doctor *d, const struct sweepfile *f, const struct asked *a)
{
    struct slice text = doctor_config(d, "MaxArraySize"), tasks;
    int64_t size = text.len ? strtoll(text.p, NULL, 10) : 0, n = size;
    struct str how = STR_INIT;

    if (slurm_listed(doctor_config(d, "SchedulerParameters"), "max_array_tasks",
                     &tasks) &&
        tasks.len > 0 && strtoll(tasks.p, NULL, 10) < size)
        n = strtoll(tasks.p, NULL, 10);
    if (n > 0 && a->jobs > n)
        str_addf(&how, " in %lld arrays", (long long)((a->jobs + n - 1) / n));
    else
        str_add(&how, n > 0 ? " in one array" : " one by one");
    doctor_say(d, MARK_OK, "sweep", NULL, "%s: %d slots, %lld job%s%s", f->name, f->slots,
               (long long)a->jobs, a->jobs == 1 ? "" : "s", how.p);
    str_free(&how);
}

static void check_connections(struct doctor *d, const struct asked *a)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (rlim_t)a->jobs + 100 > limit.rlim_cur)
        doctor_say(d, MARK_BAD, "ulimit -n", "ulimit -n 65536, where rung runs",
                   "%lld jobs need as many connections, and 100 files",
                   (long long)a->jobs);
}

/* Its own job is small, and goes to a partition of its own. */
static void check_controller(struct doctor *d, const struct sweepfile *f)
{
    const struct site_partition *p = NULL;
    const char *name = NULL;

    for (size_t i = 0; i < f->controller.n; i++) {
        if (strcmp(f->controller.v[i].name, "partition") == 0)
            name = f->controller.v[i].value;
    }
    for (size_t i = 0; i < d->site.partitions.n && !p; i++) {
        const struct site_partition *other = &d->site.partitions.v[i];

        if (name ? strcmp(other->name, name) == 0 : other->is_default)
            p = other;
    }
    if (!d->good[ASK_PARTITIONS] || (name && strchr(name, ',')))
        return;
    if (!p)
        doctor_say(d, MARK_BAD, "controller", "say controller: {partition: NAME}",
                   "there is no partition %s for its job", name ? name : "by default");
    else if (strcmp(p->state, "UP") != 0)
        doctor_say(d, MARK_BAD, "controller", "say controller: {partition: NAME}",
                   "%s is %s", p->name, p->state);
    else
        doctor_say(d, MARK_OK, "controller", NULL, "its job goes to %s", p->name);
}

/* How its ranks are started: as slurm/step.c does, or by mpirun. */
static void check_mpi(struct doctor *d, const struct sweepfile *f)
{
    const char *kind = "pmix";
    bool there = false;

    if (f->steps == STEPS_NO) {
        doctor_say(d, MARK_OK, "tasks", NULL,
                   "%d, under mpirun: it has to be on the nodes, or `setup` brings it",
                   f->resources.tasks);
        return;
    }
    for (size_t i = 0; i < f->srun.n; i++) {
        if (strcmp(f->srun.v[i].name, "mpi") == 0 && f->srun.v[i].value)
            kind = f->srun.v[i].value;
    }
    for (size_t i = 0; i < d->site.mpi.n; i++)
        there |= strcmp(d->site.mpi.v[i], kind) == 0;
    if (d->good[ASK_MPI] && !there)
        doctor_say(d, MARK_BAD, "tasks",
                   "name one that `srun --mpi=list` has in srun.mpi, or say steps: no",
                   "%d, under srun --mpi=%s, which is not there", f->resources.tasks,
                   kind);
    else
        doctor_say(d, MARK_OK, "tasks", NULL, "%d, under srun --mpi=%s",
                   f->resources.tasks, kind);
}

void doctor_sweep(struct doctor *d, const struct sweepfile *f)
{
    struct asked a = asked_by(f);
    struct err e = {0};

    d->group = "sweep";
    if (!d->answers) {
        doctor_say(d, MARK_OK, "sweep", NULL, "%s: %d slots, on this machine", f->name,
                   f->slots);
        return;
    }
    say_jobs(d, f, &a);
    if (batch_check(f, &e) != 0)
        doctor_say(d, MARK_BAD, "sweep", "change the sweep file", "%s", e.text);
    check_connections(d, &a);
    if (d->good[ASK_PARTITIONS])
        check_partitions(d, &a);
    check_accounts(d, &a);
    check_controller(d, f);
    if (f->resources.tasks > 1)
        check_mpi(d, f);
}
