/* slurm:, srun: and controller: options that are passed on to Slurm's commands.
 *
 * Any long option goes, also those of plug-ins that we have never heard of; but
 * not those that rung itself needs to set, and not those that are one slip of the
 * finger away from one that sbatch or srun has. */
#include "base/suggest.h"
#include "base/units.h"
#include "launcher/sweepfile_read.h"

#include <stdio.h>
#include <string.h>

struct owned {
    const char *name, *reason;
};

#define LEFT_TO(key) "say " key " instead"

static const struct owned sbatch_owned[] = {
    {"array", "rung numbers the tasks of its job arrays itself"},
    {"job-name", "jobs are called like the sweep: say name instead"},
    {"output", "rung collects the output below the sweep's directory"},
    {"error", "rung collects the output below the sweep's directory"},
    {"input", "a job's input is rung's"},
    {"open-mode", "rung collects the output below the sweep's directory"},
    {"dependency", "rung orders its jobs itself"},
    {"requeue", "rung resumes trials itself, and a requeued job would be a second one"},
    {"no-requeue", "rung sets it always"},
    {"nodes", LEFT_TO("resources.nodes")},
    {"ntasks", LEFT_TO("resources.tasks")},
    {"ntasks-per-node", LEFT_TO("resources.tasks and resources.nodes")},
    {"cpus-per-task", LEFT_TO("resources.cpus")},
    {"gpus", LEFT_TO("resources.gpus")},
    {"gpus-per-node", LEFT_TO("resources.gpus (and gres for a type of GPU)")},
    {"gpus-per-task", LEFT_TO("resources.gpus")},
    {"gpus-per-socket", LEFT_TO("resources.gpus")},
    {"mem", LEFT_TO("resources.memory")},
    {"mem-per-cpu", LEFT_TO("resources.memory")},
    {"mem-per-gpu", LEFT_TO("resources.memory")},
    {"time", LEFT_TO("resources.time")},
    {"time-min", "rung saves trials before resources.time is over, and must know it"},
    {"signal", "rung saves trials before resources.time is over"},
    {"export", "rung chooses the environment: say what is missing in setup"},
    {"export-file", "rung chooses the environment: say what is missing in setup"},
    {"get-user-env", "rung chooses the environment: say what is missing in setup"},
    {"chdir", "trials run where rung was started"},
    {"comment", "rung writes there how to stop the sweep"},
    {"wrap", "rung writes the batch script"},
    {"parsable", "rung reads what sbatch prints"},
    {"quiet", "rung reads what sbatch prints"},
    {"verbose", "rung reads what sbatch prints"},
    {"help", "rung reads what sbatch prints"},
    {"usage", "rung reads what sbatch prints"},
    {"version", "rung reads what sbatch prints"},
    {"test-only", "`rung render` shows what would be submitted"},
    {"wait", "rung waits itself"},
};

static const struct owned srun_owned[] = {
    {"job-name", "a step is called like its trial and rung"},
    {"output", "rung collects the output below the trial's directory"},
    {"error", "rung collects the output below the trial's directory"},
    {"input", "a step's input is rung's"},
    {"open-mode", "rung collects the output below the trial's directory"},
    {"label", "it would change the lines that parse reads"},
    {"nodes", LEFT_TO("resources.nodes")},
    {"ntasks", LEFT_TO("resources.tasks")},
    {"ntasks-per-node", LEFT_TO("resources.tasks and resources.nodes")},
    {"cpus-per-task", LEFT_TO("resources.cpus")},
    {"gres", LEFT_TO("resources.gpus")},
    {"gpus", LEFT_TO("resources.gpus")},
    {"gpus-per-node", LEFT_TO("resources.gpus")},
    {"gpus-per-task", LEFT_TO("resources.gpus")},
    {"gpus-per-socket", LEFT_TO("resources.gpus")},
    {"mem", LEFT_TO("resources.memory")},
    {"mem-per-cpu", LEFT_TO("resources.memory")},
    {"mem-per-gpu", LEFT_TO("resources.memory")},
    {"time", "an attempt may take as long as its job: say resources.time instead"},
    {"exact", "rung sets it always"},
    {"exclusive", "rung says exactly which resources a step has"},
    {"overlap", "rung says exactly which resources a step has"},
    {"kill-on-bad-exit", "rung sets it always"},
    {"wait", "rung ends the ranks of a failed attempt itself"},
    {"jobid", "steps run in the slot's own job"},
    {"het-group", "steps run in the slot's own job"},
    {"multi-prog", "rung starts the command of the sweep file"},
    {"pty", "rung collects the output below the trial's directory"},
    {"export", "rung chooses the environment: say what is missing in setup"},
    {"chdir", "trials run where rung was started"},
    {"dependency", "rung orders its steps itself"},
    {"quiet", "rung reads what srun prints"},
    {"verbose", "rung reads what srun prints"},
    {"help", "rung reads what srun prints"},
    {"usage", "rung reads what srun prints"},
    {"version", "rung reads what srun prints"},
};

/* Long options that both or one of them have, for suggestions only. */
static const char *const known[] = {
    "account",
    "acctg-freq",
    "batch",
    "bb",
    "bbf",
    "begin",
    "bcast",
    "burst-buffer",
    "cluster-constraint",
    "clusters",
    "compress",
    "constraint",
    "container",
    "container-image",
    "container-mounts",
    "container-name",
    "contiguous",
    "core-spec",
    "cores-per-socket",
    "cpu-bind",
    "cpu-freq",
    "cpus-per-gpu",
    "deadline",
    "debugger-test",
    "delay-boot",
    "disable-status",
    "distribution",
    "epilog",
    "exclude",
    "exclusive",
    "extra-node-info",
    "gid",
    "gpu-bind",
    "gpu-freq",
    "gres",
    "gres-flags",
    "hint",
    "hold",
    "ignore-pbs",
    "kill-on-invalid-dep",
    "licenses",
    "mail-type",
    "mail-user",
    "mcs-label",
    "mem-bind",
    "mincpus",
    "mpi",
    "msg-timeout",
    "network",
    "nice",
    "nodefile",
    "nodelist",
    "no-kill",
    "no-container-mount-home",
    "ntasks-per-core",
    "ntasks-per-gpu",
    "ntasks-per-socket",
    "overcommit",
    "oversubscribe",
    "partition",
    "power",
    "prefer",
    "priority",
    "profile",
    "prolog",
    "propagate",
    "qos",
    "reboot",
    "reservation",
    "resv-ports",
    "sockets-per-node",
    "spread-job",
    "switches",
    "task-epilog",
    "task-prolog",
    "thread-spec",
    "threads",
    "threads-per-core",
    "tmp",
    "treewidth",
    "tres-bind",
    "tres-per-task",
    "uid",
    "unbuffered",
    "use-min-nodes",
    "wait-all-nodes",
    "wckey",
    "x11",
};
#define KNOWN (sizeof(known) / sizeof(*known))

struct program {
    const char *name;
    enum key_id key;
    const struct owned *owned;
    size_t n;
};
static const struct program sbatch = {"sbatch", KEY_SLURM, sbatch_owned,
                                      sizeof(sbatch_owned) / sizeof(*sbatch_owned)};
static const struct program srun = {"srun", KEY_SRUN, srun_owned,
                                    sizeof(srun_owned) / sizeof(*srun_owned)};

static const struct owned *find_owned(const struct program *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->owned[i].name, name) == 0)
            return &p->owned[i];
    return NULL;
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (strcmp(known[i], name) == 0)
            return true;
    return false;
}

/* The option that this one is a slip away from, NULL if it may be one that we don't
 * know. */
static const char *meant(const struct program *p, const char *name)
{
    if (strlen(name) > 64)
        return NULL;
    for (size_t i = 0; i < KNOWN; i++)
        if (edit_distance(known[i], name) == 1)
            return known[i];
    for (size_t i = 0; i < p->n; i++)
        if (edit_distance(p->owned[i].name, name) == 1)
            return p->owned[i].name;
    /* Slurm takes abbreviations, and what rung owns cannot be set by one either. */
    for (size_t i = 0; i < p->n; i++)
        if (*name && strncmp(p->owned[i].name, name, strlen(name)) == 0)
            return p->owned[i].name;
    return NULL;
}

/* May this option be passed on? */
static bool check_option(struct reader *r, const struct program *p,
                         const struct doc_node *key)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    const struct owned *owned = find_owned(p, key->text);
    struct shown name = shown(key->text, key->len);
    const char *near;
    if (owned)
        mistake_add(&r->m, key->at, "%s.%s cannot be set: %s", keys[p->key].path,
                    name.text, owned->reason);
    else if (is_known(key->text))
        return true;
    else if (key->text[0] == '-')
        mistake_add(&r->m, key->at, "write the option without its dashes: '%s'",
                    name.text + strspn(name.text, "-"));
    else if (key->len == 1)
        mistake_add(&r->m, key->at, "'%s' is a short option of %s: write the long one",
                    name.text, p->name);
    else if ((near = meant(p, key->text)))
        mistake_add(&r->m, key->at, "%s has no option '%s' (did you mean '%s'?)", p->name,
                    name.text, near);
    else if (key->len == 0 || key->text[strspn(key->text, legal)])
        mistake_add(
            &r->m, key->at,
            "%s has no option '%s': its long options have small letters, digits and "
            "'-'",
            p->name, name.text);
    else
        return true;
    return false;
}

static void push(struct sweepfile *f, enum key_id list, const char *name,
                 const char *value)
{
    struct option o = {mem_strdup(name), mem_strdup(value)};
    if (list == KEY_SLURM)
        vec_push(&f->slurm, o);
    else if (list == KEY_SRUN)
        vec_push(&f->srun, o);
    else
        vec_push(&f->controller, o);
}

static bool check_value(struct reader *r, const char *path, const struct doc_node *value)
{
    if (value->kind == DOC_BROKEN)
        return false;
    if (value->kind != DOC_TEXT)
        mistake_add(&r->m, value->at, "%s must be one text, not %s: put it in quotes",
                    path, doc_shown(value).text);
    else if (doc_empty(value))
        mistake_add(&r->m, value->at,
                    "%s is empty: write true for an option without a value", path);
    else if (strpbrk(value->text, "\n\r"))
        mistake_add(&r->m, value->at, "%s must be on one line", path);
    else
        return true;
    return false;
}

static void read_program(struct reader *r, const struct program *p)
{
    const struct doc_node *map = r->found[p->key];
    for (size_t i = 0; map && i < map->items.n && !mistakes_full(&r->m); i++) {
        const struct doc_node *key = map->items.v[i].key, *value = map->items.v[i].value;
        struct str path = STR_INIT;
        str_addf(&path, "%s.%s", keys[p->key].path, shown(key->text, key->len).text);
        if (check_option(r, p, key) && check_value(r, path.p, value)) {
            bool plain = !doc_quoted(value);
            if (plain && strcmp(value->text, "true") == 0)
                push(r->f, p->key, key->text, NULL);
            else if (!plain || strcmp(value->text, "false") != 0)
                push(r->f, p->key, key->text, value->text);
        }
        str_free(&path);
    }
}

/* A key of controller: as sbatch wants it. Its text was checked as the key's. */
static void read_controller(struct reader *r, enum key_id key, const char *option)
{
    const struct doc_node *node = r->found[key];
    char buf[UNITS_MAX];
    double seconds;
    int64_t bytes;
    const char *text = node ? node->text : keys[key].fallback;
    if (!text || (node && !check_value(r, keys[key].path, node)))
        return;
    if (keys[key].type == WANT_DURATION && duration_parse(text, &seconds, NULL) == 0) {
        text = duration_slurm(buf, seconds);
    } else if (keys[key].type == WANT_SIZE && size_parse(text, &bytes, NULL) == 0) {
        snprintf(buf, sizeof(buf), "%lldM", (long long)((bytes + (1 << 20) - 1) >> 20));
        text = buf;
    }
    push(r->f, KEY_CONTROLLER, option, text);
}

void read_options(struct reader *r)
{
    read_program(r, &sbatch);
    read_program(r, &srun);
    read_controller(r, KEY_CONTROLLER_PARTITION, "partition");
    read_controller(r, KEY_CONTROLLER_ACCOUNT, "account");
    read_controller(r, KEY_CONTROLLER_QOS, "qos");
    read_controller(r, KEY_CONTROLLER_TIME, "time");
    read_controller(r, KEY_CONTROLLER_MEMORY, "mem");
}
