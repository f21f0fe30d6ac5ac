#include "launcher/sweepfile_keys.h"

#include "base/num.h"
#include "base/suggest.h"
#include "base/units.h"
#include "launcher/mistakes.h"
#include "sched/event.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIELD(member)                                                                    \
    .offset = offsetof(struct sweepfile, member),                                        \
    .size = sizeof(((struct sweepfile *)0)->member)
#define STEPS_MOST  1e15
#define TRIALS_MOST 2147483647

static const char *const directions[] = {"min", "max", NULL};
static const char *const steps_names[] = {"auto", "yes", "no", NULL};
static const char *const signal_names[] = {"none", "USR1", NULL};

const struct key keys[KEYS] = {
    /* clang-format off */
    [KEY_NAME] = {"name", WANT_TEXT, FIELD(name), .otherwise = "the file's name",
        .sample = "fashion",
        .help = "What the sweep is called, in its directory and in Slurm's queue: "
                "letters, digits and `._-`, at most 64"},
    [KEY_COMMAND] = {"command", WANT_TEXT, FIELD(command_text), .required = true,
        .sample = "./train.py --lr={lr}",
        .help = "The program that a trial runs, with its arguments; `{lr}` is the value "
                "of parameter lr"},
    [KEY_SHELL] = {"shell", WANT_FLAG, FIELD(shell), .fallback = "false",
        .help = "`true`: `/bin/sh -c` runs the command as it is, and parameters are in "
                "`$RUNG_PARAM_NAME` only"},
    [KEY_METRIC] = {"metric", WANT_TEXT, FIELD(spec.objective[0].name),
        .otherwise = "required, unless there is `metrics`", .sample = "val_loss",
        .help = "What trials report and the sweep optimises"},
    [KEY_MODE] = {"mode", WANT_WORD, FIELD(spec.objective[0].maximize), .fallback = "min",
        .words = directions,
        .help = "Whether less or more of the metric is better"},
    [KEY_METRICS] = {"metrics", WANT_METRICS, .sample = "{val_loss: min, latency: min}",
        .help = "Instead of `metric` and `mode`: several that are optimised together, at "
                "most 4, each with its `min` or `max`"},
    [KEY_SEED] = {"seed", WANT_INT, FIELD(spec.seed), .fallback = "0", .lo = 0,
        .hi = 0x1p63,
        .help = "Of every draw: the same seed gives the same trials"},
    [KEY_SPACE] = {"space", WANT_PARAMETERS, .required = true,
        .help = "The parameters, each with what it is drawn from"},
    [KEY_CONSTRAINTS] = {"constraints", WANT_LIST, .sample = "[rate < 1 - momentum]",
        .help = "Expressions that a configuration must satisfy"},
    [KEY_START] = {"start", WANT_LIST, .help = "Configurations that are tried first"},
    [KEY_SEARCH] = {"search", WANT_SECTION, .help = "Where configurations come from"},
    [KEY_SEARCH_METHOD] = {"search.method", WANT_WORD, FIELD(spec.search),
        .fallback = "random", .words = search_names,
        .help = "`random`; `sobol`, which covers the space more evenly; `grid`, every "
                "combination of the `grid(...)` values; `tpe`, which learns from the "
                "trials so far where good ones are likely; `bohb`, which does so at one "
                "rung, and draws a third at random; `cmaes`, for spaces of numbers; "
                "`gp`, a Gaussian process, which needs the fewest trials and the most time "
                "to think; or `auto`, the best of these for the space and the slots"},
    [KEY_SEARCH_TRIALS] = {"search.trials", WANT_INT, FIELD(spec.trials),
        .settable = true, .otherwise = "required, for `grid` 1", .lo = 1,
        .hi = TRIALS_MOST, .sample = "64",
        .help = "Trials in all; for `pbt` its population, for `grid` how often the other "
                "parameters are drawn for each grid point"},
    [KEY_SEARCH_MULTIVARIATE] = {"search.multivariate", WANT_FLAG,
        FIELD(spec.multivariate), .fallback = "true",
        .help = "Of `tpe` and `bohb`: whether it models all parameters together, or "
                "(`false`) each by itself"},
    [KEY_SEARCH_FROM] = {"search.from", WANT_TEXT, FIELD(from),
        .sample = "fashion-20261120-171502",
        .help = "Of a search that learns: the directory of an earlier sweep with the same "
                "metric, whose trials it learns from, too"},
    [KEY_SCHEDULE] = {"schedule", WANT_SECTION, .help = "Which trials go on"},
    [KEY_SCHEDULE_METHOD] = {"schedule.method", WANT_WORD, FIELD(spec.schedule),
        .fallback = "asha", .words = schedule_names,
        .help = "`asha`; `hyperband` and `sha`: rungs wait for all their trials before the "
                "best go on; `median`: a trial that is worse than the median of the others "
                "is stopped; `pbt`: one of the worst quarter is replaced by a changed copy of "
                "one of the best; or `none`: every trial runs to `max_t`"},
    [KEY_SCHEDULE_MODE] = {"schedule.mode", WANT_WORD, FIELD(spec.mode),
        .fallback = "promote", .words = mode_names,
        .help = "Of `asha`. `promote`: trials pause at each milestone and the best go on "
                "from their checkpoints; `stop`: they run on unless they are among the "
                "worse. With `parse` and without `restart` it is `stop`"},
    [KEY_GRACE_PERIOD] = {"schedule.grace_period", WANT_INT, FIELD(spec.grace_period),
        .fallback = "1", .lo = 1, .hi = STEPS_MOST,
        .help = "The first milestone, in steps; of `median`: no trial is stopped before"},
    [KEY_REDUCTION_FACTOR] = {"schedule.reduction_factor", WANT_ETA, FIELD(spec.eta),
        .fallback = "3",
        .help = "Each milestone is this many times the one before, and one in this many "
                "trials gets there"},
    [KEY_MAX_T] = {"schedule.max_t", WANT_INT, FIELD(spec.max_t), .required = true,
        .lo = 1, .hi = STEPS_MOST, .sample = "27",
        .help = "The step at which a trial is complete"},
    [KEY_INTERVAL] = {"schedule.interval", WANT_INT, FIELD(spec.interval),
        .otherwise = "required for `pbt`", .lo = 1, .hi = STEPS_MOST, .sample = "3",
        .help = "Of `pbt`: every so many steps a trial is compared, and goes on or is "
                "replaced"},
    [KEY_BRACKETS] = {"schedule.brackets", WANT_INT, FIELD(spec.brackets),
        .fallback = "1", .lo = 1, .hi = LEVELS_MAX,
        .help = "Of `asha`: how many ladders of rungs there are; each starts a milestone "
                "later than the one before"},
    [KEY_FINALISTS] = {"schedule.finalists", WANT_INT, FIELD(spec.finalists),
        .fallback = "1", .lo = 0, .hi = TRIALS_MOST,
        .help = "Where trials are promoted: so many trials go on to `max_t` at the end, whatever "
                "their rung; 0 is the paper to the letter"},
    [KEY_MIN_TRIALS] = {"schedule.min_trials", WANT_INT, FIELD(spec.min_trials),
        .fallback = "3", .lo = 1, .hi = TRIALS_MOST,
        .help = "Of `median`: so many other trials must have come to a step before one is "
                "compared with them there"},
    [KEY_SLOTS] = {"slots", WANT_INT, FIELD(slots), .settable = true, .fallback = "1",
        .lo = 1, .hi = EVENT_SLOTS_MAX,
        .help = "Trials that run at once: pending and running together"},
    [KEY_SLOTS_PER_JOB] = {"slots_per_job", WANT_INT, FIELD(slots_per_job),
        .fallback = "1", .lo = 1, .hi = 1024,
        .help = "Slots in one task of the job array, for sites that give whole nodes; "
                "needs `nodes: 1`, and multiplies tasks, memory and gpus"},
    [KEY_TRIALS_PER_JOB] = {"trials_per_job", WANT_INT, FIELD(trials_per_job),
        .fallback = "0", .lo = 0, .hi = TRIALS_MOST,
        .help = "Attempts after which a job ends; 0: when there is no work or no time"},
    [KEY_IDLE] = {"idle", WANT_DURATION, FIELD(idle), .fallback = "2m",
        .help = "A slot without work for this long is given back, and asked for again "
                "when there is work"},
    [KEY_RESOURCES] = {"resources", WANT_SECTION, .help = "What one slot has"},
    [KEY_NODES] = {"resources.nodes", WANT_INT, FIELD(resources.nodes), .settable = true,
        .fallback = "1", .lo = 1, .hi = 100000,
        .help = "Nodes"},
    [KEY_TASKS] = {"resources.tasks", WANT_INT, FIELD(resources.tasks), .settable = true,
        .fallback = "1", .lo = 1, .hi = 10000000,
        .help = "MPI ranks, on all nodes together: as many on each, if that comes out even"},
    [KEY_CPUS] = {"resources.cpus", WANT_INT, FIELD(resources.cpus), .settable = true,
        .fallback = "1", .lo = 1, .hi = 65536,
        .help = "CPUs for each rank"},
    [KEY_GPUS] = {"resources.gpus", WANT_INT, FIELD(resources.gpus), .settable = true,
        .fallback = "0", .lo = 0, .hi = 1024,
        .help = "GPUs on each node"},
    [KEY_MEMORY] = {"resources.memory", WANT_SIZE, FIELD(resources.memory),
        .settable = true, .none = true, .otherwise = "the site's", .sample = "2G",
        .help = "Memory on each node"},
    [KEY_TIME] = {"resources.time", WANT_DURATION, FIELD(resources.time),
        .settable = true, .none = true, .otherwise = "the site's", .sample = "4:00:00",
        .help = "Walltime of a job, which may run many trials; it need not be enough for "
                "all of them"},
    [KEY_TIMEOUT] = {"timeout", WANT_DURATION, FIELD(timeout), .none = true,
        .fallback = "none", .sample = "30m",
        .help = "Silence between reports after which an attempt is taken for hung: a "
                "failure"},
    [KEY_SLURM] = {"slurm", WANT_OPTIONS, .sample = "{partition: gpu, account: lab}",
        .help = "Any long option of sbatch, for the jobs that hold slots"},
    [KEY_SRUN] = {"srun", WANT_OPTIONS, .sample = "{cpu-bind: cores}",
        .help = "Any long option of srun, for the steps of attempts"},
    [KEY_CONTROLLER] = {"controller", WANT_SECTION,
        .help = "The controller's own job, of one CPU"},
    [KEY_CONTROLLER_PARTITION] = {"controller.partition", WANT_TEXT,
        .otherwise = "the site's", .sample = "cpu",
        .help = "Its partition"},
    [KEY_CONTROLLER_ACCOUNT] = {"controller.account", WANT_TEXT,
        .otherwise = "that of slurm, or the site's", .sample = "lab",
        .help = "Its account"},
    [KEY_CONTROLLER_QOS] = {"controller.qos", WANT_TEXT, .otherwise = "the site's",
        .sample = "long",
        .help = "Its quality of service"},
    [KEY_CONTROLLER_TIME] = {"controller.time", WANT_DURATION, .otherwise = "the site's",
        .sample = "1-00:00:00",
        .help = "Its walltime; a successor takes over at the end"},
    [KEY_CONTROLLER_MEMORY] = {"controller.memory", WANT_SIZE, .fallback = "1G",
        .help = "Its memory"},
    [KEY_SETUP] = {"setup", WANT_TEXT, FIELD(setup), .sample = "module load cuda openmpi",
        .help = "Lines of the batch script before anything else; when one fails, the job "
                "fails"},
    [KEY_STEPS] = {"steps", WANT_WORD, FIELD(steps), .fallback = "auto",
        .words = steps_names,
        .help = "Whether an attempt is a job step (`yes`), a plain process (`no`), or a "
                "step unless attempts are very short"},
    [KEY_RETRY] = {"retry", WANT_SECTION, .help = "What is tried again"},
    [KEY_RETRY_FAILURES] = {"retry.failures", WANT_INT, FIELD(spec.retry_failures),
        .fallback = "2", .lo = 0, .hi = 1000,
        .help = "Further attempts, in a trial's life, after failures and hangs of the "
                "program itself; what Slurm does to it costs none"},
    [KEY_OOM] = {"retry.oom", WANT_SECTION,
        .help = "Changes a parameter of the trial after it ran out of memory"},
    [KEY_OOM_PARAM] = {"retry.oom.param", WANT_TEXT, .required = true, .sample = "rate",
        .help = "The parameter to change"},
    [KEY_OOM_FACTOR] = {"retry.oom.factor", WANT_REAL, FIELD(spec.oom_factor),
        .fallback = "0.5", .lo = 0, .hi = 1,
        .help = "It is multiplied by this each time"},
    [KEY_OOM_MIN] = {"retry.oom.min", WANT_REAL, FIELD(spec.oom_min), .fallback = "1",
        .lo = -INFINITY, .hi = INFINITY,
        .help = "But not below this"},
    [KEY_STOP] = {"stop", WANT_SECTION,
        .help = "When any of these is reached the sweep pauses; `rung resume --set` goes "
                "on from there"},
    [KEY_STOP_TIME] = {"stop.time", WANT_DURATION, FIELD(stop.time), .settable = true,
        .none = true, .fallback = "none", .sample = "12h",
        .help = "Time that the controller ran, over all epochs"},
    [KEY_STOP_TRIALS] = {"stop.trials", WANT_INT, FIELD(stop.trials), .settable = true,
        .none = true, .fallback = "none", .lo = 1, .hi = TRIALS_MOST, .sample = "200",
        .help = "Trials completed, stopped and failed"},
    [KEY_STOP_METRIC] = {"stop.metric", WANT_REAL, FIELD(stop.metric), .settable = true,
        .none = true, .fallback = "none", .lo = -INFINITY, .hi = INFINITY,
        .sample = "0.05",
        .help = "A value of the metric that is as good as one needs (of one metric, not of "
                "`metrics`)"},
    [KEY_STOP_CPU_HOURS] = {"stop.cpu_hours", WANT_REAL, FIELD(stop.cpu_hours),
        .settable = true, .none = true, .fallback = "none", .lo = 0, .hi = INFINITY,
        .sample = "1000",
        .help = "CPU-hours of all attempts, as Slurm counts them: the time of each, so far, "
                "times `tasks` times `cpus`"},
    [KEY_STOP_GPU_HOURS] = {"stop.gpu_hours", WANT_REAL, FIELD(stop.gpu_hours),
        .settable = true, .none = true, .fallback = "none", .lo = 0, .hi = INFINITY,
        .sample = "100",
        .help = "GPU-hours of all attempts: the time of each, so far, times `nodes` times "
                "`gpus`"},
    [KEY_STOP_NODE_HOURS] = {"stop.node_hours", WANT_REAL, FIELD(stop.node_hours),
        .settable = true, .none = true, .fallback = "none", .lo = 0, .hi = INFINITY,
        .sample = "50",
        .help = "Node-hours of all attempts: the time of each, so far, times `nodes`; slots "
                "of one job share its node"},
    [KEY_PLATEAU] = {"stop.plateau", WANT_SECTION,
        .help = "When new trials no longer find anything better"},
    [KEY_PLATEAU_TRIALS] = {"stop.plateau.trials", WANT_INT, FIELD(stop.plateau),
        .settable = true, .none = true, .required = true, .lo = 1, .hi = TRIALS_MOST,
        .sample = "50",
        .help = "So many trials have reported for the first time since the best metric was "
                "bettered; with `metrics`, since the Pareto front was"},
    [KEY_PLATEAU_IMPROVEMENT] = {"stop.plateau.improvement", WANT_REAL,
        FIELD(spec.improvement), .none = true, .fallback = "none", .lo = 0,
        .hi = INFINITY, .sample = "0.001",
        .help = "What is less, in the metric's unit, does not count as better (of one metric, "
                "not of `metrics`)"},
    [KEY_KEEP] = {"keep", WANT_SECTION,
        .help = "What is left when the sweep is finished"},
    [KEY_KEEP_CHECKPOINTS] = {"keep.checkpoints", WANT_INT, FIELD(keep_checkpoints),
        .settable = true, .fallback = "3", .lo = 0, .hi = TRIALS_MOST,
        .help = "Checkpoints of the best trials (with `metrics`, of the Pareto front), one "
                "at least. A stopped trial's goes at once unless it is among them; a paused "
                "one's stays until the sweep is finished"},
    [KEY_PARSE] = {"parse", WANT_TEXT, FIELD(parse),
        .sample = "'epoch (?<step>\\d+): val_loss=(?<val_loss>\\S+)'",
        .help = "A PCRE2 expression with named groups, `step` and the metrics among them, "
                "that finds reports in what the program prints"},
    [KEY_RESTART] = {"restart", WANT_FLAG, FIELD(spec.restart), .fallback = "false",
        .help = "`true`: a trial that is promoted starts from step 0, because it has no "
                "checkpoints"},
    [KEY_CHECKPOINT_SIGNAL] = {"checkpoint_signal", WANT_WORD, FIELD(checkpoint_signal),
        .fallback = "none", .words = signal_names, .sample = "USR1",
        .help = "`USR1`: the program is sent SIGUSR1 too when a checkpoint is wanted; "
                "only for programs that catch it"},
    /* clang-format on */
};

/* What other programs call things, and people write here. */
static const struct {
    const char *theirs;
    enum key_id ours;
} foreign[] = {
    {"parameters", KEY_SPACE},
    {"search_space", KEY_SPACE},
    {"config", KEY_SPACE},
    {"objective", KEY_METRIC},
    {"direction", KEY_MODE},
    {"goal", KEY_MODE},
    {"program", KEY_COMMAND},
    {"script", KEY_COMMAND},
    {"num_samples", KEY_SEARCH_TRIALS},
    {"n_trials", KEY_SEARCH_TRIALS},
    {"max_trials", KEY_SEARCH_TRIALS},
    {"scheduler", KEY_SCHEDULE},
    {"sampler", KEY_SEARCH},
    {"eta", KEY_REDUCTION_FACTOR},
    {"max_concurrent", KEY_SLOTS},
    {"max_concurrent_trials", KEY_SLOTS},
    {"sbatch", KEY_SLURM},
    {"walltime", KEY_TIME},
    {"mem", KEY_MEMORY},
    {"max_epochs", KEY_MAX_T},
    {"min_t", KEY_GRACE_PERIOD},
    {"points_to_evaluate", KEY_START},
};

int key_find(const char *path)
{
    for (int i = 0; i < KEYS; i++)
        if (strcmp(keys[i].path, path) == 0)
            return i;
    return -1;
}

/* ---- values ---- */

/* "asha or none", "yes, no or auto". */
static void add_words(struct str *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        if (i > 0)
            str_add(out, words[i + 1] ? ", " : " or ");
        str_add(out, words[i]);
    }
}

static void add_whole(struct str *out, const struct key *k)
{
    if (k->hi >= TRIALS_MOST)
        str_addf(out, "a whole number of at least %.0f", k->lo);
    else
        str_addf(out, "a whole number from %.0f to %.0f", k->lo, k->hi);
}

static void add_real(struct str *out, const struct key *k)
{
    if (isinf(k->lo))
        str_add(out, "a number");
    else if (isinf(k->hi))
        str_addf(out, "a number above %g", k->lo);
    else
        str_addf(out, "a number between %g and %g", k->lo, k->hi);
}

static void add_wanted(const struct key *k, bool example, struct str *out)
{
    static const struct {
        const char *text, *example;
    } wanted[] = {
        [WANT_ETA] = {"a decimal number above 1", ", like 3 or 2.5"},
        [WANT_FLAG] = {"true or false", ""},
        [WANT_DURATION] = {"a duration", " like 90s, 15m, 4:00:00 or 1-12:00:00"},
        [WANT_SIZE] = {"a size", " like 512M or 2G"},
        [WANT_TEXT] = {"text", ""},
        [WANT_SECTION] = {"a map of keys", ""},
        [WANT_OPTIONS] = {"a map of options", ""},
        [WANT_PARAMETERS] = {"a map of parameters", ""},
        [WANT_METRICS] = {"a map of metrics, each with min or max", ""},
        [WANT_LIST] = {"a list", ""},
    };
    switch (k->type) {
    case WANT_INT: add_whole(out, k); break;
    case WANT_REAL: add_real(out, k); break;
    case WANT_WORD: add_words(out, k->words); break;
    default:
        str_addf(out, "%s%s", wanted[k->type].text,
                 example ? wanted[k->type].example : "");
    }
    if (k->none)
        str_add(out, example ? ", or none" : " or none");
}

void key_wanted(const struct key *k, struct str *out)
{
    add_wanted(k, true, out);
}

static void store_whole(const struct key *k, struct sweepfile *f, int64_t v)
{
    char *field = (char *)f + k->offset;
    if (k->size == sizeof(bool))
        *(bool *)field = v != 0;
    else if (k->size == sizeof(int))
        *(int *)field = (int)v;
    else if (k->size == sizeof(int64_t))
        memcpy(field, &v, sizeof(v));
}

static void store_real(const struct key *k, struct sweepfile *f, double v)
{
    if (k->size)
        *(double *)((char *)f + k->offset) = v;
}

static bool read_whole(const struct key *k, const char *text, struct sweepfile *f)
{
    int64_t v;
    double real;
    if (num_parse_int(text, strlen(text), &v) != 0) {
        if (num_parse(text, strlen(text), &real) != 0 || real != floor(real) ||
            fabs(real) > 0x1p53)
            return false;
        v = (int64_t)real;
    }
    if ((double)v < k->lo || (double)v > k->hi)
        return false;
    store_whole(k, f, v);
    return true;
}

static bool read_real(const struct key *k, const char *text, struct sweepfile *f)
{
    double v;
    if (num_parse(text, strlen(text), &v) != 0 || !(v > k->lo && v < k->hi))
        return false;
    store_real(k, f, v);
    return true;
}

static bool read_size(const struct key *k, const char *text, struct sweepfile *f)
{
    int64_t bytes;
    if (size_parse(text, &bytes, NULL) != 0)
        return false;
    store_whole(k, f, bytes);
    return true;
}

static bool read_duration(const struct key *k, const char *text, struct sweepfile *f)
{
    double seconds;
    if (duration_parse(text, &seconds, NULL) != 0)
        return false;
    store_real(k, f, seconds);
    return true;
}

static bool read_flag(const struct key *k, const char *text, struct sweepfile *f)
{
    bool yes = strcasecmp(text, "true") == 0;
    if (!yes && strcasecmp(text, "false") != 0)
        return false;
    store_whole(k, f, yes);
    return true;
}

static bool read_word(const struct key *k, const char *text, struct sweepfile *f)
{
    for (int i = 0; k->words[i]; i++) {
        if (strcmp(k->words[i], text) == 0) {
            store_whole(k, f, i);
            return true;
        }
    }
    return false;
}

static bool read_eta(const struct key *k, const char *text, struct sweepfile *f)
{
    return eta_parse(text, (struct eta *)((char *)f + k->offset), NULL) == 0;
}

static bool read_text(const struct key *k, const char *text, struct sweepfile *f)
{
    char **field = (char **)((char *)f + k->offset);
    if (!*text)
        return false;
    if (k->size) {
        free(*field);
        *field = mem_strdup(text);
    }
    return true;
}

static bool read_none(const struct key *k, const char *text, struct sweepfile *f)
{
    if (!k->none || strcmp(text, "none") != 0)
        return false;
    if (k->type == WANT_REAL || k->type == WANT_DURATION)
        store_real(k, f, k->type == WANT_REAL ? NAN : 0);
    else
        store_whole(k, f, 0);
    return true;
}

static bool (*const readers[])(const struct key *, const char *, struct sweepfile *) = {
    [WANT_INT] = read_whole, [WANT_REAL] = read_real, [WANT_ETA] = read_eta,
    [WANT_FLAG] = read_flag, [WANT_WORD] = read_word, [WANT_DURATION] = read_duration,
    [WANT_SIZE] = read_size, [WANT_TEXT] = read_text,
};

const char *add_suggestion(struct str *out, const char *word, const char *const names[],
                           size_t n)
{
    const char *near = strlen(word) <= 64 ? suggest(word, names, n) : NULL;
    if (near)
        str_addf(out, " (did you mean '%s'?)", near);
    return near;
}

static size_t count(const char *const *words)
{
    size_t n = 0;
    while (words[n])
        n++;
    return n;
}

int key_read(const struct key *k, const char *text, struct sweepfile *f, struct err *e)
{
    if (read_none(k, text, f) || readers[k->type](k, text, f))
        return 0;
    struct str s = STR_INIT;
    if (k->type == WANT_TEXT) {
        str_addf(&s, "%s is empty", k->path);
    } else {
        str_addf(&s, "%s must be ", k->path);
        key_wanted(k, &s);
        str_addf(&s, ", not '%s'", shown(text, strlen(text)).text);
        if (k->type == WANT_WORD)
            add_suggestion(&s, text, k->words, count(k->words));
    }
    int rc = err_set(e, ERR_INVAL, "%s", s.p);
    str_free(&s);
    return rc;
}

void keys_default(struct sweepfile *f)
{
    for (int i = 0; i < KEYS; i++) {
        if (keys[i].fallback)
            key_read(&keys[i], keys[i].fallback, f, NULL);
        else if (keys[i].none)
            read_none(&keys[i], "none", f);
    }
}

/* ---- unknown keys ---- */

/* The key's name inside a section, NULL if it is not in it. */
static const char *name_in(const struct key *k, const char *section)
{
    size_t n = strlen(section);
    const char *name = k->path;
    if (n > 0) {
        if (strncmp(name, section, n) != 0 || name[n] != '.')
            return NULL;
        name += n + 1;
    }
    return strchr(name, '.') ? NULL : name;
}

/* A key of another section that has this name, or the name that others give it; -1. */
static int elsewhere(const char *name)
{
    for (int i = 0; i < KEYS; i++) {
        const char *dot = strrchr(keys[i].path, '.');
        if (strcmp(dot ? dot + 1 : keys[i].path, name) == 0 ||
            strcmp(keys[i].path, name) == 0)
            return i;
    }
    for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++)
        if (strcasecmp(foreign[i].theirs, name) == 0)
            return (int)foreign[i].ours;
    return -1;
}

static int key_in(const char *section, const char *name)
{
    for (int i = 0; i < KEYS; i++) {
        const char *in = name_in(&keys[i], section);
        if (in && strcmp(in, name) == 0)
            return i;
    }
    return -1;
}

/* What was meant by the name: near it in the same section, else the same elsewhere. */
static int add_meant(struct str *out, const char *section, const char *name)
{
    const char *names[KEYS], *in, *near;
    size_t n = 0;
    for (int i = 0; i < KEYS; i++)
        if ((in = name_in(&keys[i], section)))
            names[n++] = in;
    if ((near = add_suggestion(out, name, names, n)))
        return key_in(section, near);
    int other = elsewhere(name);
    const char *dot = strrchr(name, '.');
    if (other >= 0 && dot)
        str_addf(out, " (write '%s' below '%.*s:')", dot + 1, (int)(dot - name), name);
    else if (other >= 0)
        str_addf(out, " (here it is '%s')", keys[other].path);
    return other;
}

int key_unknown(const char *section, const char *name, struct str *out)
{
    struct str path = STR_INIT;
    int meant;
    str_addf(&path, "%s%s%s", section, *section ? "." : "",
             shown(name, strlen(name)).text);
    str_addf(out, "unknown key '%s'", path.p);
    meant = add_meant(out, section, name);
    str_free(&path);
    return meant;
}

/* ---- documentation ---- */

static void add_code(struct str *out, const char *text)
{
    if (text)
        str_addf(out, "`%s`", text);
    else
        str_add(out, "–");
}

void keys_markdown(struct str *out)
{
    str_add(out, "| key | default | value | meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < KEYS; i++) {
        const struct key *k = &keys[i];
        str_addf(out, "| `%s` | ", k->path);
        if (k->required)
            str_add(out, "required");
        else if (k->otherwise)
            str_add(out, k->otherwise);
        else
            add_code(out, k->fallback);
        str_add(out, " | ");
        add_wanted(k, false, out);
        str_addf(out, " | %s |\n", k->help);
    }
}
