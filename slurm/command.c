#include "slurm/command.h"

#include "base/num.h"
#include "base/vec.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

extern char **environ;

/* ---- the environment ---- */

bool env_named(const char *var, const char *const names[])
{
    for (; *names; names++) {
        size_t n = strlen(*names);

        if (strncmp(var, *names, n) == 0 && ((*names)[n - 1] == '_' || var[n] == '='))
            return true;
    }
    return false;
}

static const char *const kept[] = {"SLURM_CONF",       "SLURM_CONF_SERVER",
                                   "SBATCH_ACCOUNT",   "SBATCH_PARTITION",
                                   "SBATCH_QOS",       "SBATCH_RESERVATION",
                                   "SBATCH_WCKEY",     "SBATCH_CONSTRAINT",
                                   "SBATCH_EXCLUSIVE", NULL};
static const char *const dropped[] = {"SLURM_",   "SLURMD_", "SBATCH_", "SQUEUE_",
                                      "SCANCEL_", "SALLOC_", "SRUN_",   "PMI_",
                                      "PMI2_",    "PMIX_",   "OMPI_",   NULL};

int command_start(struct proc *p, char *const argv[], double seconds, struct err *e)
{
    VEC(char *) env = {0};
    int rc;

    for (char **var = environ; *var; var++) {
        if (env_named(*var, kept) || !env_named(*var, dropped))
            vec_push(&env, *var);
    }
    vec_push(&env, NULL);
    rc = proc_start(p, argv, env.v, seconds, e);
    vec_free(&env);
    return rc;
}

/* ---- answers ---- */

bool command_next_line(struct slice *rest, struct slice *line)
{
    const char *end = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->len;

    if (rest->len == 0)
        return false;
    *line = (struct slice){rest->p, n};
    rest->p += n + (end != NULL);
    rest->len -= n + (end != NULL);
    while (line->len > 0 && strchr(" \t\r", line->p[line->len - 1]))
        line->len--;
    while (line->len > 0 && strchr(" \t", line->p[0])) {
        line->p++;
        line->len--;
    }
    return true;
}

/* Takes the first word off; may be empty. */
static struct slice next_word(struct slice *line)
{
    struct slice word = {line->p, 0};

    while (word.len < line->len && line->p[word.len] != ' ')
        word.len++;
    line->p += word.len;
    line->len -= word.len;
    while (line->len > 0 && *line->p == ' ') {
        line->p++;
        line->len--;
    }
    return word;
}

static size_t digits(struct slice s)
{
    size_t n = 0;

    while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

int sbatch_read(struct slice text, struct str *id, struct err *e)
{
    struct slice line, found = {NULL, 0};

    for (struct slice rest = text; command_next_line(&rest, &line);) {
        size_t n = digits(line);

        if (n > 0 && n < 20 && (n == line.len || line.p[n] == ';'))
            found = (struct slice){line.p, n};
    }
    if (!found.p)
        return err_set(e, ERR_PROTO, "sbatch succeeded and printed no job id");
    str_addn(id, found.p, found.len);
    return 0;
}

struct slice scontrol_value(struct slice config, const char *name)
{
    struct slice line;

    while (command_next_line(&config, &line)) {
        struct slice word = next_word(&line), equals = next_word(&line);

        if (slice_eq(word, name) && slice_eq(equals, "="))
            return slice_eq(line, "(null)") || slice_eq(line, "N/A") ? SLICE("") : line;
    }
    return SLICE("");
}

int scontrol_read_array_max(struct slice text, int *max, struct err *e)
{
    struct slice value = scontrol_value(text, "MaxArraySize");
    int64_t n;

    if (num_parse_int(value.p, value.len, &n) != 0 || n < 0 || n > INT32_MAX)
        return err_set(e, ERR_PROTO, "scontrol show config tells no MaxArraySize");
    *max = (int)n;
    return 0;
}

/* What squeue calls states; others, of Slurms to come, are not known to be anything.
 * Suspended ones do nothing, as pending ones do. */
static const struct {
    const char *name;
    enum job_state is;
} states[] = {
    {"PENDING", JOB_PENDING},      {"CONFIGURING", JOB_PENDING},
    {"REQUEUED", JOB_PENDING},     {"REQUEUE_FED", JOB_PENDING},
    {"REQUEUE_HOLD", JOB_PENDING}, {"RESV_DEL_HOLD", JOB_PENDING},
    {"SPECIAL_EXIT", JOB_PENDING}, {"SUSPENDED", JOB_PENDING},
    {"STOPPED", JOB_PENDING},      {"RUNNING", JOB_RUNNING},
    {"COMPLETING", JOB_RUNNING},   {"RESIZING", JOB_RUNNING},
    {"SIGNALING", JOB_RUNNING},    {"STAGE_OUT", JOB_RUNNING},
    {"COMPLETED", JOB_GONE},       {"FAILED", JOB_GONE},
    {"CANCELLED", JOB_GONE},       {"TIMEOUT", JOB_GONE},
    {"PREEMPTED", JOB_GONE},       {"NODE_FAIL", JOB_GONE},
    {"OUT_OF_MEMORY", JOB_GONE},   {"BOOT_FAIL", JOB_GONE},
    {"DEADLINE", JOB_GONE},        {"REVOKED", JOB_GONE},
    {"LAUNCH_FAILED", JOB_GONE},   {"RECONFIG_FAIL", JOB_GONE},
};

enum job_state slurm_state_of(struct slice word)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (slice_eq(word, states[i].name))
            return states[i].is;
    }
    return JOB_UNKNOWN;
}

bool slurm_is_job(struct slice word)
{
    size_t n = digits(word);
    struct slice task;

    if (n == 0 || n == word.len)
        return n > 0;
    task = (struct slice){word.p + n + 1, word.len - n - 1};
    return word.p[n] == '_' && task.len > 0 && digits(task) == task.len;
}

/* A time as squeue prints it, "2026-11-27T00:55:55" by the clock on the wall here. Others
 * are none ("N/A"). */
static double read_time(struct slice text)
{
    struct tm tm = {.tm_isdst = -1};
    char copy[32] = "";

    if (text.len < sizeof(copy))
        memcpy(copy, text.p, text.len);
    if (sscanf(copy, "%d-%d-%dT%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (double)mktime(&tm);
}

bool squeue_next(struct slice *rest, struct squeue_line *line)
{
    struct slice text;

    while (command_next_line(rest, &text)) {
        line->job = next_word(&text);
        line->state = next_word(&text);
        line->ends = read_time(next_word(&text));
        line->node = next_word(&text);
        if (slice_eq(line->node, "n/a") || slice_eq(line->node, "N/A"))
            line->node.len = 0;
        line->reason = text;
        line->is = slurm_state_of(line->state);
        if (slurm_is_job(line->job) && line->state.len > 0)
            return true;
    }
    return false;
}

/* ---- refusals ---- */

/* "sbatch: error: Batch job submission failed: Invalid qos" without its first words. */
static struct slice without_prefix(struct slice line, const char *program)
{
    const char *const prefixes[] = {program, ": ", "error: ", "fatal: "};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t n = strlen(prefixes[i]);

        if (line.len >= n && memcmp(line.p, prefixes[i], n) == 0) {
            line.p += n;
            line.len -= n;
        } else if (i < 2) {
            break;
        }
    }
    return line;
}

void command_sentence(struct str *out, const char *program, const struct proc_result *r)
{
    struct slice rest = {r->err.p, r->err.len}, line;
    size_t start;

    str_addf(out, "%s: ", program);
    start = out->len;
    if (r->timed_out)
        str_add(out, "it did not answer in time");
    while (command_next_line(&rest, &line) && out->len < 600) {
        line = without_prefix(line, program);
        if (line.len == 0)
            continue;
        str_add(out, out->len > start ? "; " : "");
        str_addn(out, line.p, line.len < 400 ? line.len : 400);
    }
    if (out->len == start && r->signal)
        str_addf(out, "it was ended by signal %d", r->signal);
    else if (out->len == start)
        str_addf(out, "it exited with status %d, and did not say why", r->exit_code);
}

/* Limits of an association or a QOS are all refused with one sentence, before which Slurm
 * may name the limit on a line of its own. One on what a user may have submitted passes;
 * one on what a job may ask for does not. */
static bool limit_passes(const struct proc_result *r)
{
    struct slice rest = {r->err.p, r->err.len}, line;

    while (command_next_line(&rest, &line)) {
        line = without_prefix(line, "sbatch");
        if (line.len > 5 &&
            (memcmp(line.p, "QOS", 3) == 0 || memcmp(line.p, "Assoc", 5) == 0) &&
            !memchr(line.p, ' ', line.len))
            return memmem(line.p, line.len, "Submit", 6);
    }
    return true;
}

/* Parts of sentences of Slurm's. */
static const char *const passing[] = {
    /* slurmctld or slurmdbd is away, starting, or too busy */
    "Unable to contact slurm controller",
    "Controller is in standby mode",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Communication connection failure",
    "Message send failure",
    "Message receive failure",
    "No route to host",
    "Network is unreachable",
    "Resource temporarily unavailable",
    "Slurm job queue full",
    "Slurm temporarily unable to accept job",
    "Job creation temporarily disabled",
    "Unable to connect to database",
    "No clusters can be reached now",
    /* munged is away, here or there */
    "Failed to connect to socket",
    "Protocol authentication error",
    "Job credential replayed",
    /* nodes or a partition that may come back */
    "Required partition not available (inactive or drain)",
    "Required node not available (down, drained or reserved)",
    "Requested nodes are busy",
    NULL,
};

/* Of srun, in a job that has ended without all of its processes. Another job comes. */
static const char *const ended[] = {
    "has expired",
    "Expired or invalid job",
    "Invalid job id specified",
    "Job/step already completing or completed",
    "Node failure on",
    NULL,
};

static bool has_any(struct slice said, const char *const texts[])
{
    for (const char *const *text = texts; *text; text++) {
        if (memmem(said.p, said.len, *text, strlen(*text)))
            return true;
    }
    return false;
}

bool command_step_passing(struct slice said)
{
    return has_any(said, passing) || has_any(said, ended);
}

bool command_passing(const struct proc_result *r)
{
    if (r->timed_out || r->signal)
        return true;
    if (strstr(r->err.p, "accounting/QOS policy"))
        return limit_passes(r);
    return has_any((struct slice){r->err.p, r->err.len}, passing);
}
