/* The Slurm executor. At most one of each command runs at a time, beside the loop that
 * calls poll(); what they answer is read by slurm/command.c. */
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"
#include "slurm/command.h"
#include "slurm/sacct.h"
#include "slurm/script.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* sbatch waits by itself, for two minutes, when slurmctld is too busy. */
#define SBATCH_SECONDS 180.0
#define OTHER_SECONDS  30.0
#define CALM_MAX       4 /* so many times poll_seconds when nothing changes */
#define CANCEL_MAX     500
#define QUEUE_FORMAT   "--format=%i %T %o"
#define EXCLUDED_MAX   3         /* nodes */
#define OUTPUT_MAX     (1 << 20) /* of a job, to be looked at */
#define SHOWN_MAX      200       /* bytes of its last line */
#define POLLS          4         /* in as many times poll_seconds, at most */
#define ENDS_POLLS     20 /* so many times poll_seconds the ends of jobs stay as they are */

struct job {
    char *name;
    double since;    /* submitted then; -INFINITY: by an earlier controller */
    bool seen;       /* squeue has listed it */
    uint64_t listed; /* by which call of squeue, last */
    enum job_state is;
    double ends; /* its walltime, on the wall's clock; 0: not known, or never */
};

struct slurm {
    struct executor x;
    struct executor_ops ops;
    char *dir, *name, *cluster; /* the latter as an option, or NULL */
    VEC(struct job) jobs;
    struct map by_name; /* hash64() of the name -> index in jobs */

    struct str exclude; /* nodes, as sbatch wants them */
    size_t exclude_own; /* so many bytes of that are the user's */
    int excluded;       /* by us */
    bool on_nodes;

    struct proc scontrol, sbatch, squeue, scancel, sacct;
    bool array_max_known;
    int array_max;
    uint64_t listing; /* the number of squeue's call */
    int wanted;       /* to be submitted, beyond those that sbatch has at hand */
    int at_hand;      /* of sbatch */
    double listed;    /* when one was answered last */
    bool asked;       /* somebody wants to know what jobs do */
    double next_squeue, interval, poll_seconds, unseen_seconds;
    VEC(char *) cancels; /* names; the first `cancelling` of them are scancel's now */
    size_t cancelling;
    double next_cancel;
    struct str cancel_failure; /* what scancel said last */
    VEC(char *) accounts;      /* arguments of sacct, to be started; none: nobody asked */
    double polled[POLLS];      /* when squeue and sacct were started last, a ring */
    int64_t polling, others;
};

/* ---- jobs ---- */

static struct job *find_job(const struct slurm *s, struct slice name)
{
    uint32_t i;

    return map_get(&s->by_name, hash64(name.p, name.len), &i) ? &s->jobs.v[i] : NULL;
}

static struct job *add_job(struct slurm *s, const char *name, double since)
{
    struct job j = {.name = mem_strdup(name), .since = since, .is = JOB_UNKNOWN};

    map_put(&s->by_name, hash64(name, strlen(name)), (uint32_t)s->jobs.n);
    vec_push(&s->jobs, j);
    return &s->jobs.v[s->jobs.n - 1];
}

/* A job that somebody else knows of; NULL: Slurm has no such jobs. */
static struct job *the_job(struct slurm *s, const char *name)
{
    struct slice word = slice_of(name);
    struct job *j = find_job(s, word);

    if (!j && slurm_is_job(word))
        j = add_job(s, name, -INFINITY);
    return j;
}

static enum job_state slurm_state(struct executor *x, const char *name)
{
    struct slurm *s = (struct slurm *)x;
    const struct job *j = the_job(s, name);

    if (!j)
        return JOB_UNKNOWN;
    s->asked |= j->is != JOB_GONE;
    return j->is;
}

static double slurm_ends(struct executor *x, const char *name)
{
    struct slurm *s = (struct slurm *)x;
    const struct job *j = the_job(s, name);

    if (!j || j->is == JOB_GONE)
        return 0;
    s->asked |=
        j->is != JOB_RUNNING || clock_mono() - s->listed > ENDS_POLLS * s->poll_seconds;
    return j->ends;
}

static void slurm_output(const struct executor *x, const char *job, struct str *out)
{
    const struct slurm *s = (const struct slurm *)x;
    struct str path = STR_INIT, text = STR_INIT;
    int rc;

    str_addf(&path, "%s/jobs/%s.log", s->dir, job); /* as script_sbatch() has it */
    rc = file_read(path.p, OUTPUT_MAX, &text, NULL);
    if (rc == ERR_NOENT)
        str_addf(out, "it left no output in %s: does its node see that directory?",
                 path.p);
    else
        str_addf(out, "its output is in %s", path.p);
    if (rc == 0) {
        size_t end = text.len, n = 0;

        while (end > 0 && strchr(" \n\r", text.p[end - 1]))
            end--;
        while (n < end && n < SHOWN_MAX && (unsigned char)text.p[end - n - 1] >= ' ')
            n++;
        if (n > 0)
            str_addf(out, ", and ends: %.*s", (int)n, text.p + end - n);
    }
    str_free(&path);
    str_free(&text);
}

static void gone(struct slurm *s, size_t i, const struct job_end *end)
{
    s->jobs.v[i].is = JOB_GONE;
    s->x.news->gone(s->x.ctx, s->jobs.v[i].name, end);
}

/* ---- bad nodes ---- */

static bool slurm_exclude(struct executor *x, const char *node)
{
    struct slurm *s = (struct slurm *)x;

    if (s->on_nodes || s->excluded >= EXCLUDED_MAX)
        return false;
    s->excluded++;
    if (s->exclude.len > 0)
        str_addc(&s->exclude, ',');
    str_add(&s->exclude, node);
    return true;
}

/* Without some nodes there may be too few: then they are better than none. */
static bool exclude_none(struct slurm *s)
{
    if (s->excluded == 0)
        return false;
    s->excluded = 0;
    str_cut(&s->exclude, s->exclude_own);
    return true;
}

/* ---- squeue ---- */

/* Starts a command whose failing to start is no more than its failing. */
static void start(struct slurm *s, struct proc *p, char *const argv[], int64_t *count)
{
    VEC(char *) all = {0};

    for (size_t i = 0; argv[i]; i++) {
        vec_push(&all, argv[i]);
        if (i == 0 && s->cluster)
            vec_push(&all, s->cluster);
    }
    vec_push(&all, NULL);
    ++*count;
    if (command_start(p, all.v, OTHER_SECONDS, NULL) != 0)
        p->pid = 0;
    vec_free(&all);
}

/* Is there room for one more call that only looks? */
static bool may_poll(const struct slurm *s, double now)
{
    return s->polling < POLLS ||
           now - s->polled[s->polling % POLLS] >= POLLS * s->poll_seconds;
}

static void start_poll(struct slurm *s, struct proc *p, char *const argv[])
{
    s->polled[s->polling % POLLS] = clock_mono();
    start(s, p, argv, &s->polling);
}

static void start_squeue(struct slurm *s)
{
    char squeue[] = "squeue", noheader[] = "--noheader", array[] = "--array",
         states[] = "--states=all", format[] = SQUEUE_FORMAT, user[64];
    struct str name = STR_INIT;

    snprintf(user, sizeof(user), "--user=%ld", (long)getuid());
    str_addf(&name, "--name=%s", s->name);
    s->asked = false;
    s->next_squeue = clock_mono() + s->interval;
    start_poll(s, &s->squeue,
               (char *[]){squeue, noheader, array, states, format, user, name.p, NULL});
    s->listing = (uint64_t)s->polling;
    str_free(&name);
}

static void take_line(struct slurm *s, const struct squeue_line *line, bool *news)
{
    struct job *j = find_job(s, line->job);
    struct str why = STR_INIT;
    char *state, *node;

    if (!j || j->is == JOB_GONE)
        return;
    j->listed = s->listing;
    j->seen = true;
    j->ends = line->ends;
    *news |= j->is != line->is;
    if (line->is != JOB_GONE) {
        j->is = line->is;
        return;
    }
    str_addf(&why, "Slurm says %.*s", (int)line->state.len, line->state.p);
    if (line->reason.len > 0 && !slice_eq(line->reason, "None"))
        str_addf(&why, " (%.*s)", (int)line->reason.len, line->reason.p);
    state = mem_strndup(line->state.p, line->state.len);
    node = mem_strndup(line->node.p, line->node.len);
    gone(s, (size_t)(j - s->jobs.v), &(struct job_end){state, node, why.p});
    free(node);
    free(state);
    str_free(&why);
}

static void take_squeue(struct slurm *s, const struct proc_result *r)
{
    double began = s->squeue.began, now = clock_mono(), slow = now + 5 * (now - began);
    struct slice rest = {r->out.p, r->out.len};
    struct squeue_line line;
    bool news = false;

    if (r->exit_code == 0) {
        s->listed = now;
        while (squeue_next(&rest, &line))
            take_line(s, &line, &news);
        for (size_t i = 0; i < s->jobs.n; i++) {
            const struct job *j = &s->jobs.v[i];

            if (j->is == JOB_GONE || j->listed == s->listing ||
                !(j->seen || j->since + s->unseen_seconds < began))
                continue;
            news = true;
            gone(s, i, &(struct job_end){"", "", "Slurm no longer lists it"});
        }
    }
    s->interval = news ? s->poll_seconds : s->interval * 2;
    if (s->interval > CALM_MAX * s->poll_seconds)
        s->interval = CALM_MAX * s->poll_seconds;
    s->next_squeue = began + s->interval > slow ? began + s->interval : slow;
}

/* ---- sbatch ---- */

static void start_scontrol(struct slurm *s)
{
    char scontrol[] = "scontrol", show[] = "show", config[] = "config";

    start(s, &s->scontrol, (char *[]){scontrol, show, config, NULL}, &s->others);
    s->array_max_known = s->scontrol.pid == 0; /* then SCRIPT_ARRAY_MAX, as most have */
}

static void take_scontrol(struct slurm *s, const struct proc_result *r)
{
    int max;

    s->array_max_known = true;
    if (r->exit_code == 0 &&
        scontrol_read_array_max((struct slice){r->out.p, r->out.len}, &max, NULL) == 0)
        s->array_max = max;
}

/* What was to be submitted was not, nor will be what waits for it. */
static void refuse(struct slurm *s, const char *why, bool passing)
{
    int n = s->at_hand + s->wanted;

    s->at_hand = s->wanted = 0;
    s->x.news->refused(s->x.ctx, n, why, passing);
}

static void start_sbatch(struct slurm *s)
{
    int n = s->wanted < s->array_max ? s->wanted : s->array_max;
    char **argv = script_sbatch(s->dir, n, s->exclude.len > 0 ? s->exclude.p : NULL);
    struct err e = {0};

    s->at_hand = n > 0 ? n : 1; /* 0: the site has no arrays */
    s->wanted -= s->at_hand;
    s->others++;
    if (command_start(&s->sbatch, argv, SBATCH_SECONDS, &e) != 0) {
        s->sbatch.pid = 0;
        refuse(s, e.text, false);
    }
    for (char **word = argv; *word; word++)
        free(*word);
    free(argv);
}

static void submitted(struct slurm *s, const char *id)
{
    bool array = s->array_max > 0;
    double now = clock_mono();
    int n = s->at_hand;

    s->at_hand = 0;
    s->interval = s->poll_seconds;
    for (int i = 0; i < n; i++) {
        struct str name = STR_INIT;

        str_add(&name, id);
        if (array)
            str_addf(&name, "_%d", i);
        if (!find_job(s, (struct slice){name.p, name.len})) /* its agent was faster */
            add_job(s, name.p, now)->is = JOB_PENDING;
        s->x.news->submitted(s->x.ctx, name.p);
        str_free(&name);
    }
}

static void take_sbatch(struct slurm *s, const struct proc_result *r)
{
    struct str text = STR_INIT;
    struct err e = {0};

    if (r->exit_code == 0 &&
        sbatch_read((struct slice){r->out.p, r->out.len}, &text, &e) == 0) {
        submitted(s, text.p);
    } else if (r->exit_code == 0) {
        refuse(s, e.text, false);
    } else if (s->at_hand > 1 && strstr(r->err.p, "Invalid job array specification")) {
        s->array_max = s->at_hand / 2; /* scontrol did not tell */
        s->wanted += s->at_hand;
        s->at_hand = 0;
    } else {
        bool passing = command_passing(r);

        command_sentence(&text, "sbatch", r);
        refuse(s, text.p, passing || exclude_none(s));
    }
    str_free(&text);
}

/* ---- scancel ---- */

static void start_scancel(struct slurm *s)
{
    char scancel[] = "scancel", quiet[] = "--quiet";
    VEC(char *) argv = {0};

    s->cancelling = s->cancels.n < CANCEL_MAX ? s->cancels.n : CANCEL_MAX;
    vec_push(&argv, scancel);
    vec_push(&argv, quiet); /* about jobs that have ended meanwhile */
    for (size_t i = 0; i < s->cancelling; i++)
        vec_push(&argv, s->cancels.v[i]);
    vec_push(&argv, NULL);
    start(s, &s->scancel, argv.v, &s->others);
    vec_free(&argv);
    if (s->scancel.pid == 0)
        s->next_cancel = clock_mono() + s->poll_seconds;
}

/* The first n that were to be cancelled will not be. */
static void leave_uncancelled(struct slurm *s, size_t n)
{
    struct str jobs = STR_INIT;

    for (size_t i = 0; i < n; i++)
        str_addf(&jobs, "%s%s", i ? " " : "", s->cancels.v[i]);
    if (n > 0)
        s->x.news->uncancelled(s->x.ctx, jobs.p, s->cancel_failure.p);
    str_free(&jobs);
}

static void take_scancel(struct slurm *s, const struct proc_result *r)
{
    if (r->exit_code != 0) {
        str_cut(&s->cancel_failure, 0);
        command_sentence(&s->cancel_failure, "scancel", r);
        if (command_passing(r)) {
            s->next_cancel = clock_mono() + s->poll_seconds;
            return;
        }
        leave_uncancelled(s, s->cancelling);
    }
    for (size_t i = 0; i < s->cancelling; i++)
        free(s->cancels.v[i]);
    memmove(s->cancels.v, s->cancels.v + s->cancelling,
            (s->cancels.n - s->cancelling) * sizeof(s->cancels.v[0]));
    s->cancels.n -= s->cancelling;
}

static void slurm_cancel(struct executor *x, const char *name)
{
    struct slurm *s = (struct slurm *)x;
    const struct job *j = find_job(s, slice_of(name));

    if (slurm_is_job(slice_of(name)) && !(j && j->is == JOB_GONE))
        vec_push(&s->cancels, mem_strdup(name));
}

/* ---- sacct ---- */

static void forget_question(struct slurm *s)
{
    for (size_t i = 0; i < s->accounts.n; i++)
        free(s->accounts.v[i]);
    s->accounts.n = 0;
}

static void slurm_account(struct executor *x, char *const jobs[], size_t n, double since)
{
    static const char *const options[] = {"sacct", SACCT_OPTIONS, SACCT_FORMAT};
    struct slurm *s = (struct slurm *)x;
    struct str list = STR_INIT, text = STR_INIT;
    char date[32];
    time_t at = (time_t)since;
    struct tm tm;

    forget_question(s);
    for (size_t i = 0; i < n; i++) {
        if (slurm_is_job(slice_of(jobs[i])))
            str_addf(&list, "%s%s", list.len > 0 ? "," : "--jobs=", jobs[i]);
    }
    if (list.len == 0) {
        s->x.news->accounts(s->x.ctx, NULL, true);
        return;
    }
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        vec_push(&s->accounts, mem_strdup(options[i]));
    localtime_r(&at, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    str_addf(&text, "--starttime=%s", date);
    vec_push(&s->accounts, str_take(&text));
    vec_push(&s->accounts, str_take(&list));
    vec_push(&s->accounts, NULL);
}

static void start_sacct(struct slurm *s)
{
    start_poll(s, &s->sacct, s->accounts.v);
    forget_question(s);
    if (s->sacct.pid == 0)
        s->x.news->accounts(s->x.ctx, "sacct cannot be started", false);
}

static void take_sacct(struct slurm *s, const struct proc_result *r)
{
    struct slice rest = {r->out.p, r->out.len};
    struct str why = STR_INIT;
    struct account record;

    if (r->exit_code == 0) {
        while (sacct_next(&rest, &record))
            s->x.news->account(s->x.ctx, &record);
        s->x.news->accounts(s->x.ctx, NULL, true);
        return;
    }
    command_sentence(&why, "sacct", r);
    s->x.news->accounts(s->x.ctx, why.p, command_passing(r));
    str_free(&why);
}

/* ---- the whole ---- */

/* A command that has ended is read. */
static void take(struct slurm *s, struct proc *p,
                 void (*fn)(struct slurm *s, const struct proc_result *r))
{
    struct proc_result r;

    if (p->pid == 0 || !proc_poll(p, &r))
        return;
    fn(s, &r);
    proc_result_free(&r);
}

static void start_some(struct slurm *s)
{
    double now = clock_mono();

    if (s->wanted > 0 && !s->array_max_known && s->scontrol.pid == 0)
        start_scontrol(s);
    if (s->wanted > 0 && s->array_max_known && s->sbatch.pid == 0)
        start_sbatch(s);
    if (s->cancels.n > 0 && s->scancel.pid == 0 && now >= s->next_cancel)
        start_scancel(s);
    if (s->asked && s->squeue.pid == 0 && now >= s->next_squeue && may_poll(s, now))
        start_squeue(s);
    if (s->accounts.n > 0 && s->sacct.pid == 0 && may_poll(s, now))
        start_sacct(s);
}

static void slurm_submit(struct executor *x, int n)
{
    struct slurm *s = (struct slurm *)x;

    s->wanted += n;
    start_some(s);
}

static void slurm_poll(struct executor *x)
{
    struct slurm *s = (struct slurm *)x;

    take(s, &s->scontrol, take_scontrol);
    take(s, &s->sbatch, take_sbatch);
    take(s, &s->scancel, take_scancel);
    take(s, &s->squeue, take_squeue);
    take(s, &s->sacct, take_sacct);
    start_some(s);
}

static void slurm_calls(const struct executor *x, int64_t *polling, int64_t *others)
{
    const struct slurm *s = (const struct slurm *)x;

    *polling = s->polling;
    *others = s->others;
}

/* Ends a command whose answer nobody needs any more. */
static void drop(struct proc *p)
{
    struct proc_result r;

    if (p->pid == 0)
        return;
    p->deadline = 0;
    proc_wait(p, &r);
    proc_result_free(&r);
}

/* What sbatch has at hand was not told of. */
static void cancel_at_hand(struct slurm *s)
{
    struct str id = STR_INIT;
    struct proc_result r;

    if (s->sbatch.pid == 0)
        return;
    s->sbatch.deadline = fmin(s->sbatch.deadline, clock_mono() + OTHER_SECONDS);
    proc_wait(&s->sbatch, &r);
    if (r.exit_code == 0 &&
        sbatch_read((struct slice){r.out.p, r.out.len}, &id, NULL) == 0)
        vec_push(&s->cancels, str_take(&id)); /* the array as a whole */
    proc_result_free(&r);
    str_free(&id);
}

static void finish_cancels(struct slurm *s)
{
    struct proc_result r;
    size_t left = SIZE_MAX;

    while (s->cancels.n > 0 && s->cancels.n < left) { /* as long as it gets anywhere */
        left = s->scancel.pid == 0 ? s->cancels.n : SIZE_MAX;
        if (s->scancel.pid == 0)
            start_scancel(s);
        if (s->scancel.pid == 0)
            return;
        proc_wait(&s->scancel, &r);
        take_scancel(s, &r);
        proc_result_free(&r);
    }
}

static void slurm_free(struct executor *x)
{
    struct slurm *s = (struct slurm *)x;

    drop(&s->scontrol);
    drop(&s->squeue);
    drop(&s->sacct);
    forget_question(s);
    vec_free(&s->accounts);
    str_free(&s->exclude);
    cancel_at_hand(s);
    finish_cancels(s);
    for (size_t i = 0; i < s->jobs.n; i++)
        free(s->jobs.v[i].name);
    vec_free(&s->jobs);
    map_free(&s->by_name);
    leave_uncancelled(s, s->cancels.n);
    for (size_t i = 0; i < s->cancels.n; i++)
        free(s->cancels.v[i]);
    vec_free(&s->cancels);
    str_free(&s->cancel_failure);
    free(s->dir);
    free(s->name);
    free(s->cluster);
    free(s);
}

struct executor *executor_slurm(const struct slurm_setup *setup,
                                const struct executor_news *news, void *ctx)
{
    struct slurm *s = mem_alloc(sizeof(*s));
    struct str cluster = STR_INIT;

    s->dir = mem_strdup(setup->dir);
    s->name = mem_strdup(setup->name);
    if (setup->cluster) {
        str_addf(&cluster, "--clusters=%s", setup->cluster);
        s->cluster = str_take(&cluster);
    }
    s->exclude = (struct str)STR_INIT;
    str_add(&s->exclude, setup->exclude ? setup->exclude : "");
    s->exclude_own = s->exclude.len;
    s->on_nodes = setup->on_nodes;
    s->array_max = SCRIPT_ARRAY_MAX;
    s->poll_seconds = s->interval = setup->poll_seconds;
    s->unseen_seconds = setup->unseen_seconds;
    s->ops = (struct executor_ops){.name = "slurm",
                                   .slots_per_job = setup->slots_per_job,
                                   .submit = slurm_submit,
                                   .state = slurm_state,
                                   .ends = slurm_ends,
                                   .cancel = slurm_cancel,
                                   .account = slurm_account,
                                   .exclude = slurm_exclude,
                                   .passes = command_step_passing,
                                   .output = slurm_output,
                                   .poll = slurm_poll,
                                   .calls = slurm_calls,
                                   .free = slurm_free};
    s->x = (struct executor){.ops = &s->ops, .news = news, .ctx = ctx};
    return &s->x;
}

/* ---- from before ---- */

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* A line of format QUEUE_FORMAT: the job's name, if it is of that script. free() it. */
static char *job_of_script(struct slice line, const char *script)
{
    const char *state = memchr(line.p, ' ', line.len),
               *path =
                   state ? memchr(state + 1, ' ', (size_t)(line.p + line.len - state - 1))
                         : NULL;
    struct slice job = {line.p, state ? (size_t)(state - line.p) : 0};
    char *file;
    bool own;

    if (!path || !slurm_is_job(job) || memcmp(state + 1, "COMPLETING", 10) == 0)
        return NULL;
    file = mem_strndup(path + 1, (size_t)(line.p + line.len - path - 1));
    own = same_file(file, script);
    free(file);
    return own ? mem_strndup(job.p, job.len) : NULL;
}

int slurm_jobs(const struct slurm_setup *setup, void (*fn)(void *ctx, const char *job),
               void *ctx, struct err *e)
{
    struct slurm *s = (struct slurm *)executor_slurm(setup, NULL, NULL);
    char squeue[] = "squeue", noheader[] = "--noheader", array[] = "--array",
         format[] = QUEUE_FORMAT, user[64], *script = script_path(setup->dir), *job;
    struct str name = STR_INIT, why = STR_INIT;
    struct proc_result r;
    struct slice rest, line;
    int rc = 0;

    snprintf(user, sizeof(user), "--user=%ld", (long)getuid());
    str_addf(&name, "--name=%s", s->name);
    start(s, &s->squeue, (char *[]){squeue, noheader, array, format, user, name.p, NULL},
          &s->polling);
    if (s->squeue.pid == 0) {
        rc = err_set(e, ERR_IO, "squeue cannot be started");
        goto out;
    }
    proc_wait(&s->squeue, &r);
    rest = (struct slice){r.out.p, r.out.len};
    if (r.exit_code != 0) {
        command_sentence(&why, "squeue", &r);
        rc = err_set(e, ERR_IO, "%s", why.p);
    }
    while (rc == 0 && command_next_line(&rest, &line)) {
        if ((job = job_of_script(line, script)) != NULL)
            fn(ctx, job);
        free(job);
    }
    proc_result_free(&r);
out:
    slurm_free(&s->x);
    str_free(&why);
    str_free(&name);
    free(script);
    return rc;
}
