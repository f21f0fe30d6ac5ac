#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "base/units.h"
#include "launcher/cli.h"
#include "launcher/columns.h"
#include "launcher/commands.h"
#include "launcher/curve.h"
#include "launcher/look.h"
#include "launcher/show_json.h"

#include <langinfo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARK_WIDTH 60
#define TAIL_LINES  5 /* of a failed attempt's log */
#define TAIL_BYTES  2000

enum { OPT_JSON };
const struct cli_option show_options[] = {
    [OPT_JSON] = {"json", 'j', NULL, "everything, as one JSON object"}, {0}};

struct shown {
    const struct loaded *l;
    int32_t number;
    const struct trial *t;
    struct str *out;
};

/* ---- the trial ---- */

static void put_best(struct shown *s)
{
    const struct spec *spec = &s->l->file->spec;
    char value[NUM_MAX];

    str_add(s->out, "\nbest     ");
    for (int i = 0; i < spec->objectives; i++) {
        num_format_short(value, s->t->best.v[i], 5);
        str_addf(s->out, "%s%s %s", i ? ", " : "", spec->objective[i].name, value);
    }
    str_addf(s->out, " at step %lld, last", (long long)s->t->best_step);
    for (int i = 0; i < spec->objectives; i++) {
        num_format_short(value, s->t->metric.v[i], 5);
        str_addf(s->out, "%s %s", i ? "," : "", value);
    }
}

static void put_head(struct shown *s)
{
    const struct trial *t = s->t;
    char time[UNITS_MAX], when[32];

    str_addf(s->out, "trial %d  %s", s->number, trial_state_name(t->state));
    if (t->state == TRIAL_FAILED && t->short_ends >= 2)
        str_add(s->out, ": the time of its jobs is too short for it to save anything");
    if (t->replaced >= 0)
        str_addf(s->out, ": trial %d has taken its place", t->replaced);
    str_add(s->out, "\n\n");
    if (t->parent >= 0)
        str_addf(s->out, "parent   trial %d, from its checkpoint of step %lld\n",
                 t->parent, (long long)t->born);
    str_addf(s->out, "bracket  %d", t->bracket);
    if (t->rung >= 0)
        str_addf(s->out, ", reached rung %d (step %lld)", t->rung,
                 (long long)sweep_milestone(s->l->sw, t->bracket, t->rung));
    str_addf(s->out, "\nstep     %lld", (long long)t->last_step);
    if (t->saved > 0)
        str_addf(s->out, ", checkpoint of step %lld", (long long)t->saved);
    if (t->best_step >= 0)
        put_best(s);
    str_addf(s->out, "\ntime     %s in ended attempts",
             duration_format(time, t->seconds));
    if (!isnan(t->started))
        str_addf(s->out, ", begun %s", clock_format(when, t->started));
    str_addc(s->out, '\n');
}

static void put_params(struct shown *s)
{
    const struct space *space = s->l->file->spec.space;
    struct value *drawn = look_params(s->l, s->number, true);
    struct value *now = look_params(s->l, s->number, false);
    struct columns table = {.left = true};
    struct str text = STR_INIT;
    int n = space_count(space);

    columns_head(&table, "parameter");
    columns_head(&table, "value");
    for (int p = 0; p < n; p++) {
        if (now[p].kind == VALUE_ABSENT)
            continue;
        str_cut(&text, 0);
        value_text(now[p], &text);
        if (!value_equal(now[p], drawn[p])) {
            str_add(&text, " (drawn: ");
            value_text(drawn[p], &text);
            str_add(&text, "; changed by retry.oom)");
        }
        columns_cell(&table, space_name(space, p));
        columns_cell(&table, text.p);
    }
    str_addc(s->out, '\n');
    columns_print(&table, 0, s->out);
    values_free(drawn, n);
    values_free(now, n);
    free(drawn);
    free(now);
    str_free(&text);
}

static void put_curve(struct shown *s)
{
    size_t before;

    if (s->t->last_step == 0)
        return;
    str_addf(s->out, "\ncurve of %s\n", s->l->file->spec.objective[0].name);
    before = s->out->len;
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0) {
        str_add(s->out, "  ");
        curve_spark(s->l, s->number, SPARK_WIDTH, s->out);
        if (s->out->len == before + 2)
            str_cut(s->out, before);
        else
            str_addc(s->out, '\n');
    }
    curve_table(s->l, s->number, 2, s->out);
}

/* ---- decisions ---- */

static void put_decision(const struct loaded *l, const struct decision_row *d,
                         struct columns *table)
{
    char when[32], rank[64] = "-";

    if (d->rank > 0)
        snprintf(rank, sizeof(rank), "%u of %u", d->rank, d->size);
    else
        snprintf(rank, sizeof(rank), "%u others", d->size);
    columns_cell(table, clock_format(when, d->time));
    if (d->rung >= 0) {
        columns_int(table, d->rung);
        columns_int(table, sweep_milestone(l->sw, d->bracket, d->rung));
    } else {
        columns_cell(table, "-");
        columns_cell(table, "-");
    }
    columns_int(table, d->step);
    columns_num(table, d->value, 5);
    columns_cell(table, rank);
    columns_num(table, d->cutoff, 5);
    columns_cell(table, d->promote ? "promote" : decision_name(d->decision));
}

static void put_decisions(struct shown *s)
{
    static const char *const heads[] = {"time",  "rung", "milestone", "step",
                                        "value", "rank", "cutoff",    "decision"};
    const struct history *h = &s->l->history;
    struct columns table = {0};

    for (size_t i = 0; i < h->decisions.n; i++) {
        if (h->decisions.v[i].trial != s->number)
            continue;
        for (size_t k = 0; table.n < sizeof(heads) / sizeof(heads[0]); k++)
            columns_head(&table, heads[k]);
        put_decision(s->l, &h->decisions.v[i], &table);
    }
    str_add(s->out, table.n ? "\ndecisions\n" : "");
    columns_print(&table, 2, s->out);
}

/* ---- attempts ---- */

static const char *const outcome_words[OUTCOMES] = {
    [OUTCOME_PAUSED] = "paused",
    [OUTCOME_COMPLETED] = "completed",
    [OUTCOME_STOPPED] = "stopped",
    [OUTCOME_FAILED] = "failed",
    [OUTCOME_HUNG] = "hung: it was silent for longer than `timeout`",
    [OUTCOME_OOM] = "ran out of memory",
    [OUTCOME_PREEMPTED] = "preempted",
    [OUTCOME_TIMEOUT] = "came to the end of its job's walltime",
    [OUTCOME_NODE_FAIL] = "lost with its node, which failed",
    [OUTCOME_CANCELLED] = "cancelled from outside",
    [OUTCOME_INTERRUPTED] = "interrupted, to go on later",
    [OUTCOME_LOST] = "lost",
    [OUTCOME_LAUNCH_FAILED] = "could not be launched",
};

/* What rung did, where the outcome does not say it. */
static const char *const cause_words[CAUSES] = {
    [CAUSE_AFTER_PAUSE] = "rung ended it, since it went on after it was told to pause",
    [CAUSE_AFTER_STOP] = "rung ended it, since it went on after it was told to stop",
    [CAUSE_PAUSING] = "the sweep was paused",
    [CAUSE_USER_STOP] = "by `rung stop`",
    [CAUSE_EVICTED] = "its slot was taken away",
    [CAUSE_AGENT_GONE] = "its agent was lost",
};

static void put_end(const struct attempt_row *a, struct str *out)
{
    str_add(out, outcome_words[a->outcome]);
    if (a->signal > 0)
        str_addf(out, ", ended by signal %d (%s)", a->signal, strsignal(a->signal));
    else if (a->exit_code >= 0)
        str_addf(out, ", exit status %d", a->exit_code);
    if (cause_words[a->cause])
        str_addf(out, "; %s", cause_words[a->cause]);
}

static void put_cost(const struct attempt_row *a, double now, struct str *out)
{
    char text[UNITS_MAX];

    str_addf(out, "%s", duration_format(text, (a->open ? now : a->ended) - a->started));
    if (!isnan(a->cpu_seconds))
        str_addf(out, ", %s of CPU", duration_format(text, a->cpu_seconds));
    if (!isnan(a->gpu_seconds))
        str_addf(out, ", %s of GPU", duration_format(text, a->gpu_seconds));
    if (!isnan(a->gpu_util))
        str_addf(out, " (%.0f %% busy)", 100 * a->gpu_util);
    if (!isnan(a->gpu_mem_peak))
        str_addf(out, ", %s of its memory", size_format(text, a->gpu_mem_peak));
    if (!isnan(a->gpu_energy))
        str_addf(out, ", %.0f J", a->gpu_energy);
    if (!isnan(a->max_rss))
        str_addf(out, ", %s of memory", size_format(text, a->max_rss));
    if (!isnan(a->energy))
        str_addf(out, ", %.0f J of its nodes", a->energy);
}

/* Where the last TAIL_LINES lines of text[0 .. n) begin. */
static size_t last_lines(const char *text, size_t n)
{
    int lines = TAIL_LINES;

    while (n > 0 && (text[n - 1] != '\n' || --lines > 0))
        n--;
    return n;
}

/* The end of a log, as a terminal can bear it. */
static void put_tail(const char *path, struct str *out)
{
    FILE *f = fopen(path, "re");
    char text[TAIL_BYTES];
    size_t n;

    if (!f)
        return;
    if (fseek(f, -TAIL_BYTES, SEEK_END) != 0)
        rewind(f); /* it is shorter */
    n = fread(text, 1, TAIL_BYTES, f);
    fclose(f);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    for (size_t i = last_lines(text, n), start = i, more; i < n; i += more) {
        unsigned char c = (unsigned char)text[i];

        if (i == start || text[i - 1] == '\n')
            str_add(out, "          | ");
        for (more = 0; i + more < n && (unsigned char)text[i + more] >= ' ';)
            more++;
        str_add_visible(out, text + i, more);
        if (more == 0 && (c == '\t' || c == '\n'))
            str_addc(out, (char)c);
        more += more == 0;
        if (i + more == n)
            str_addc(out, '\n');
    }
}

/* Where its log is; and the end of it, which tells most when it failed. */
static void put_log(struct shown *s, const struct attempt_row *a)
{
    char *dir = look_trial_dir(s->l, s->number);
    struct str path = STR_INIT;

    if (dir)
        str_addf(&path, "%s/attempt-%02d.log", dir, a->attempt);
    if (dir && file_exists(path.p)) {
        str_add(s->out, "    log   ");
        str_add_visible(s->out, path.p, path.len);
        str_addc(s->out, '\n');
        if (!a->open && outcome_class(a->outcome) == OUTCOME_IS_FAULT)
            put_tail(path.p, s->out);
    }
    str_free(&path);
    free(dir);
}

/* What there is of it, behind a lead. */
static void put_more(struct str *out, const char *lead, const char *text)
{
    if (!*text)
        return;
    str_add(out, lead);
    str_add_visible(out, text, strlen(text));
}

static void put_attempt(struct shown *s, const struct attempt_row *a, double now)
{
    char when[32];

    str_addf(s->out, "\nattempt %d  ", a->attempt);
    if (a->open)
        str_add(s->out, "running");
    else
        put_end(a, s->out);
    str_addf(s->out, "\n    from  step %lld", (long long)a->first_step);
    if (a->last_step >= 0)
        str_addf(s->out, " to step %lld", (long long)a->last_step);
    str_addf(s->out, ", begun %s\n    cost  ", clock_format(when, a->started));
    put_cost(a, now, s->out);
    put_more(s->out, "\n    node  ", a->node);
    put_more(s->out, "\n    job   ", a->slurm_job);
    put_more(s->out, ", step ", a->slurm_step);
    put_more(s->out, ", ", a->slurm_state);
    put_more(s->out, "\n    with  ", a->override);
    put_more(s->out, "\n    note  ", a->note);
    str_addc(s->out, '\n');
    put_log(s, a);
}

/* ---- the command ---- */

static void print_trial(const struct loaded *l, int32_t trial)
{
    struct str out = STR_INIT;
    struct shown s = {l, trial, sweep_trial(l->sw, trial), &out};
    double now = look_view(l, NULL).now;

    put_head(&s);
    put_params(&s);
    put_curve(&s);
    put_decisions(&s);
    for (size_t i = 0; i < l->history.attempts.n; i++) {
        if (l->history.attempts.v[i].trial == trial)
            put_attempt(&s, &l->history.attempts.v[i], now);
    }
    fputs(out.p, stdout);
    str_free(&out);
}

static int show(const struct cli_command *self, const char *dir, int64_t trial, bool json)
{
    struct loaded l;
    struct str out = STR_INIT;
    int status = look_open(self, dir, true, NULL, &l);

    if (status == EXIT_GOOD && sweep_trials(l.sw) == 0) {
        status = cli_fail(self, EXIT_USAGE, "there is no trial yet");
    } else if (status == EXIT_GOOD && trial >= sweep_trials(l.sw)) {
        status = cli_fail(self, EXIT_USAGE, "there is no trial %lld, only 0 to %d",
                          (long long)trial, sweep_trials(l.sw) - 1);
    } else if (status == EXIT_GOOD && json) {
        show_json(&l, (int32_t)trial, &out);
        puts(out.p);
    } else if (status == EXIT_GOOD) {
        print_trial(&l, (int32_t)trial);
    }
    str_free(&out);
    loaded_close(&l);
    return status;
}

int cmd_show(int argc, char **argv)
{
    const struct cli_command *self = cli_find("show");
    const char *value, *words[2];
    bool json = false;
    int64_t trial;
    struct cli c;
    int o, n = 0;

    cli_begin(&c, self, argc, argv);
    while ((o = cli_next(&c, &value)) != CLI_END) {
        switch (o) {
        case OPT_JSON: json = true; break;
        case CLI_POSITIONAL:
            if (n == 2)
                return look_surplus(self, value);
            words[n++] = value;
            break;
        case CLI_HELP: return EXIT_GOOD;
        default: return EXIT_USAGE;
        }
    }
    if (n == 0)
        return cli_fail(self, EXIT_USAGE, "which trial? (`rung best` lists some)");
    value = words[n - 1];
    if (num_parse_int(value, strlen(value), &trial) != 0 || trial < 0)
        return cli_fail(self, EXIT_USAGE, "no number of a trial: '%s'", value);
    return show(self, n == 2 ? words[0] : NULL, trial, json);
}
