#include "base/num.h"
#include "base/proc.h"
#include "base/rng.h"
#include "base/units.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/curves.h"
#include "launcher/earlier.h"
#include "launcher/forecast.h"
#include "launcher/mistakes.h"
#include "launcher/sweepfile.h"
#include "launcher/tidy.h"
#include "sched/cmaes.h"
#include "sched/tpe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_STEP, OPT_CHECKPOINT, OPT_CONFIGURATIONS, OPT_CURVES, OPT_JSON };
const struct cli_option check_options[] = {
    [OPT_STEP] = {"step", 's', "TIME",
                  "how long a step takes, to tell slot-hours (40s, 2m)"},
    [OPT_CHECKPOINT] = {"checkpoint", 'c', "SIZE",
                        "how large a checkpoint is, to tell the disk (100M, 2G)"},
    [OPT_CONFIGURATIONS] = {"configurations", 'n', "N",
                            "how many of the first ones to show (default: 5)"},
    [OPT_CURVES] = {"curves", 't', "TABLE",
                    "learning curves, as for simulate: is grace_period enough?"},
    [OPT_JSON] = {"json", 'j', NULL, "all of it as one JSON object"},
    {0}};

#define CONFIGURATIONS_MAX 1000000

/* What is known of a sweep before it runs. */
struct outlook {
    const struct sweepfile *f;
    struct forecast forecast;
    double step;        /* seconds, 0: not said */
    int64_t checkpoint; /* bytes, 0: not said */
    VEC(char *) params; /* JSON, of the first configurations */
    VEC(bool) given;    /* and whether they are start entries */
    bool learns;        /* the next ones depend on what trials come to */
    struct earlier earlier;
    const char *path;      /* of curves; NULL: none were given */
    struct curves *curves; /* NULL: none */
};

static const char *const case_names[FORECAST_CASES] = {"best", "expected", "worst"};

/* ---- the first configurations ---- */

static int apply_known(void *ctx, const struct event *ev, struct err *e)
{
    return sweep_apply(ctx, ev, NULL, e);
}

/* How many those are that start before any report, or before there is a model. */
static int certain(const struct outlook *o)
{
    const struct spec *s = &o->f->spec;
    if (s->search == SEARCH_CMAES) /* start entries are in no generation */
        return s->n_start + cmaes_first(s->space);
    return o->earlier.known.n > 0 ? o->f->slots : TPE_STARTS;
}

/* Draws them as the sweep would. */
static int draw(struct outlook *o, int n, struct err *e)
{
    struct sweep *sw = sweep_new(&o->f->spec);
    int rc = earlier_tell(&o->earlier, sw, apply_known, sw, e);
    while (rc == 0 && n-- > 0 && sweep_next(sw).kind != WORK_DONE) {
        struct event ev;
        o->learns = sweep_draws_by_model(sw) && sweep_trials(sw) >= certain(o);
        if (o->learns)
            break;
        rc = sweep_draw(sw, &ev, e);
        if (rc == 0)
            rc = sweep_apply(sw, &ev, NULL, e);
        if (rc != 0)
            break;
        vec_push(&o->params, mem_strndup(ev.drawn.params.p, ev.drawn.params.len));
        vec_push(&o->given, ev.drawn.given == GIVEN_START);
        if (sweep_trials(sw) >= spec_planned(&o->f->spec))
            break;
    }
    sweep_free(sw);
    return rc == ERR_NOENT && o->params.n > 0 ? 0 : rc;
}

static struct value *values_of(const struct outlook *o, size_t i)
{
    const struct space *sp = o->f->spec.space;
    struct value *values = mem_alloc((size_t)space_count(sp) * sizeof(*values));
    struct json j;
    json_begin(&j, o->params.v[i], strlen(o->params.v[i]));
    if (space_scan(sp, &j, values, NULL) != 0)
        abort(); /* it was written by space_json() */
    return values;
}

static void add_configuration(const struct outlook *o, size_t i, struct str *out)
{
    const struct space *sp = o->f->spec.space;
    struct value *values = values_of(o, i);
    char number[NUM_MAX];
    str_addf(out, "%5zu ", i);
    for (int p = 0; p < space_count(sp); p++) {
        if (values[p].kind == VALUE_ABSENT)
            continue;
        str_addf(out, " %s=", space_name(sp, p));
        if (values[p].kind == VALUE_REAL) {
            num_format_short(number, values[p].r, 5);
            str_add(out, number);
        } else if (values[p].kind == VALUE_STR) {
            str_add_visible(out, values[p].s, strlen(values[p].s));
        } else {
            value_text(values[p], out);
        }
    }
    str_add(out, o->given.v[i] ? "  (start)\n" : "\n");
    values_free(values, space_count(sp));
    free(values);
}

/* The command of trial 0, as a shell would need it. */
static void add_command(const struct outlook *o, struct str *out)
{
    const struct spec *spec = &o->f->spec;
    bool promote = spec_promotes(spec);
    struct value *values = values_of(o, 0);
    struct command_env env = {
        .attempt = 1,
        .seed = rng_u64(spec->seed, RNG_SEED, 0, 0, 0) >> 33,
        .until = promote ? o->forecast.levels[0].milestone : spec->max_t,
        .checkpoint_dir = "SWEEP/trials/000000/a01",
        .sweep_dir = "SWEEP",
        .values = values,
    };
    char **words = command_words(o->f, &env);
    for (size_t i = 0; words[i]; i++) {
        str_add(out, i ? " " : "  ");
        cli_quote(out, words[i]);
        free(words[i]);
    }
    str_addc(out, '\n');
    free(words);
    values_free(values, space_count(spec->space));
    free(values);
}

/* ---- dimensions ---- */

static const struct dim *dim_of(const struct space *sp, int param)
{
    for (int d = 0; d < space_dims(sp); d++)
        if (space_dim(sp, d)->param == param)
            return space_dim(sp, d);
    return NULL;
}

static const char *dim_name(const struct dim *d)
{
    static const char *const names[] = {[DIM_REAL] = "real",
                                        [DIM_INT] = "integers",
                                        [DIM_NORMAL] = "normal",
                                        [DIM_CHOICE] = "choices",
                                        [DIM_GRID] = "grid values"};
    return d ? names[d->kind] : "not drawn";
}

static void add_kind(const struct space *sp, int i, struct str *out)
{
    const struct dim *d = dim_of(sp, i);
    if (d && d->n > 0)
        str_addf(out, "%lld ", (long long)d->n);
    str_add(out, dim_name(d));
    if (d && d->log)
        str_add(out, ", log");
    if (d && d->q > (d->kind == DIM_INT ? 1 : 0))
        str_addf(out, ", multiples of %g", d->q);
    if (space_conditional(sp, i))
        str_add(out, ", conditional");
}

static void add_space(const struct space *sp, struct str *out)
{
    int names = 9, sources = 12;
    for (int i = 0; i < space_count(sp); i++) {
        int name = (int)strlen(space_name(sp, i));
        const char *source = space_source(sp, i);
        int width = (int)strlen(shown(source, strlen(source)).text);
        names = name > names ? name : names;
        sources = width > sources ? width : sources;
    }
    str_addf(out, "%-*s  %-*s  %s\n", names, "parameter", sources, "distribution",
             "kind");
    for (int i = 0; i < space_count(sp); i++) {
        const char *source = space_source(sp, i);
        str_addf(out, "%-*s  %-*s  ", names, space_name(sp, i), sources,
                 shown(source, strlen(source)).text);
        add_kind(sp, i, out);
        str_addc(out, '\n');
    }
}

/* ---- what it costs ---- */

/* 27, 9.4, 1234: a fraction only where it tells something. */
static void add_figures(struct str *out, const char *what, const double v[])
{
    str_addf(out, "%-32s", what);
    for (int c = 0; c < FORECAST_CASES; c++) {
        bool fraction = v[c] < 10 && fabs(v[c] - rint(v[c])) >= 0.05;
        str_addf(out, " %11.*f", fraction ? 1 : 0, v[c]);
    }
    str_addc(out, '\n');
}

static void add_levels(const struct outlook *o, struct str *out)
{
    struct str what = STR_INIT;
    bool brackets = o->forecast.levels[o->forecast.n - 1].bracket > 0;
    for (int i = 0; i < o->forecast.n; i++) {
        const struct forecast_level *l = &o->forecast.levels[i];
        str_cut(&what, 0);
        if (brackets)
            str_addf(&what, "bracket %d, ", l->bracket);
        if (l->rung >= 0)
            str_addf(&what, "rung %d, step %lld", l->rung, (long long)l->milestone);
        else
            str_addf(&what, "complete, step %lld", (long long)l->milestone);
        add_figures(out, what.p, l->reached);
    }
    str_free(&what);
}

static void add_times(struct str *out, const char *what, const double steps[],
                      double seconds)
{
    char buf[UNITS_MAX];
    str_addf(out, "%-32s", what);
    for (int c = 0; c < FORECAST_CASES; c++)
        str_addf(out, " %11s", duration_format(buf, steps[c] * seconds));
    str_addc(out, '\n');
}

static void add_costs(const struct outlook *o, struct str *out)
{
    const struct forecast *fc = &o->forecast;
    str_addf(out, "%-32s", "trials that get to");
    for (int c = 0; c < FORECAST_CASES; c++)
        str_addf(out, " %11s", case_names[c]);
    str_addc(out, '\n');
    add_levels(o, out);
    add_figures(out, "attempts", fc->attempts);
    add_figures(out, "steps of all trials", fc->steps);
    add_figures(out, "steps from beginning to end", fc->time);
    if (o->step > 0) {
        double hours[FORECAST_CASES];
        for (int c = 0; c < FORECAST_CASES; c++)
            hours[c] = fc->steps[c] * o->step / 3600;
        add_figures(out, "slot-hours", hours);
        add_times(out, "from beginning to end", fc->time, o->step);
    }
}

static void add_slots(const struct outlook *o, struct str *out)
{
    const struct sweepfile *f = o->f;
    char buf[UNITS_MAX];
    str_addf(out, "slots        %d at once, each of ", f->slots);
    if (f->resources.nodes > 1)
        str_addf(out, "%d nodes, ", f->resources.nodes);
    if (f->resources.tasks > 1)
        str_addf(out, "%d tasks of ", f->resources.tasks);
    str_addf(out, "%d CPU%s", f->resources.cpus, f->resources.cpus > 1 ? "s" : "");
    if (f->resources.gpus > 0)
        str_addf(out, ", %d GPU%s a node", f->resources.gpus,
                 f->resources.gpus > 1 ? "s" : "");
    if (f->resources.memory > 0)
        str_addf(out, ", %s", size_format(buf, (double)f->resources.memory));
    if (f->resources.time > 0)
        str_addf(out, "; jobs of %s", duration_format(buf, f->resources.time));
    str_addc(out, '\n');
    if (o->step == 0)
        str_add(out, "slot-hours   steps times what one takes: --step TIME tells\n");
}

static int64_t checkpoints_kept(const struct outlook *o)
{
    return tidy_kept(o->f, (int32_t)o->forecast.trials);
}

/* At once: of each trial one; with pbt also where it paused last, and of the best. */
static int64_t checkpoints_most(const struct outlook *o)
{
    int64_t trials = o->forecast.trials;
    bool pbt = o->f->spec.schedule == SCHEDULE_PBT;
    return pbt ? 2 * trials + checkpoints_kept(o) : trials;
}

static void add_disk(const struct outlook *o, struct str *out)
{
    char most[UNITS_MAX], kept[UNITS_MAX];
    int64_t at_once = checkpoints_most(o), keep = checkpoints_kept(o);
    str_addf(out, "checkpoints  %lld at most while the sweep runs, %lld at its end",
             (long long)at_once, (long long)keep);
    if (o->checkpoint > 0)
        str_addf(out, ": %s, %s",
                 size_format(most, (double)at_once * (double)o->checkpoint),
                 size_format(kept, (double)keep * (double)o->checkpoint));
    str_addc(out, '\n');
}

static void add_title(const struct outlook *o, struct str *out)
{
    const struct spec *s = &o->f->spec;
    str_addf(out, "%s: %lld trials, %s search%s", o->f->name,
             (long long)o->forecast.trials, search_names[s->search],
             s->chosen ? " (auto)" : "");
    if (s->schedule == SCHEDULE_PBT)
        str_addf(out, ", pbt every %lld steps", (long long)s->interval);
    else if (s->schedule == SCHEDULE_ASHA)
        str_addf(out, ", asha (%s)", mode_names[s->mode]);
    else if (s->schedule != SCHEDULE_NONE)
        str_addf(out, ", %s", schedule_names[s->schedule]);
    else
        str_addf(out, ", each to step %lld", (long long)s->max_t);
    for (int i = 0; i < s->objectives; i++)
        str_addf(out, ", %s of %s", s->objective[i].maximize ? "maximum" : "minimum",
                 s->objective[i].name);
    str_add(out, "\n\n");
}

static void outlook_text(const struct outlook *o, struct str *out)
{
    const struct spec *s = &o->f->spec;
    add_title(o, out);
    add_space(o->f->spec.space, out);
    str_addc(out, '\n');
    add_costs(o, out);
    if (o->curves && spec_has_grace(s))
        curves_add_grace(o->curves, o->forecast.levels[0].milestone, s->max_t,
                         s->objective[0].maximize, out);
    str_addc(out, '\n');
    add_slots(o, out);
    add_disk(o, out);
    if (o->params.n > 0) {
        str_add(out, "\nfirst configurations\n");
        for (size_t i = 0; i < o->params.n; i++)
            add_configuration(o, i, out);
    }
    if (o->f->spec.schedule == SCHEDULE_PBT)
        str_add(out,
                "others take the places of the worst, and begin from their parents' "
                "checkpoints: what\nshapes a model must be the same in all trials, and "
                "so a constant\n");
    if (o->f->from) {
        str_addc(out, '\n');
        earlier_text(&o->earlier, o->f, out);
        str_addc(out, '\n');
    }
    if (o->learns)
        str_add(out, "the next ones depend on what trials come to\n");
    if (o->params.n > 0 && !o->f->shell) {
        str_add(out, "\ncommand of trial 0\n");
        add_command(o, out);
    }
}

/* ---- --json ---- */

static void put_cases(struct str *out, const char *key, const double v[], double times)
{
    json_put_key(out, key);
    json_put_object(out);
    for (int c = 0; c < FORECAST_CASES; c++) {
        json_put_key(out, case_names[c]);
        json_put_num(out, v[c] * times);
    }
    json_put_close(out, '}');
}

static void put_text(struct str *out, const char *key, const char *text)
{
    json_put_key(out, key);
    json_put_str(out, text);
}

static void put_parameter(struct str *out, const struct space *sp, int i)
{
    const struct dim *d = dim_of(sp, i);
    json_put_object(out);
    put_text(out, "name", space_name(sp, i));
    put_text(out, "expression", space_source(sp, i));
    put_text(out, "kind", dim_name(d));
    json_put_key(out, "conditional");
    json_put_bool(out, space_conditional(sp, i));
    if (d && d->n > 0) {
        json_put_key(out, "values");
        json_put_int(out, d->n);
    }
    if (d && d->kind <= DIM_NORMAL) {
        json_put_key(out, d->kind == DIM_NORMAL ? "mean" : "low");
        json_put_num(out, d->lo);
        json_put_key(out, d->kind == DIM_NORMAL ? "sd" : "high");
        json_put_num(out, d->hi);
        json_put_key(out, "log");
        json_put_bool(out, d->log);
    }
    json_put_close(out, '}');
}

static void put_level(struct str *out, const struct forecast_level *l)
{
    json_put_object(out);
    json_put_key(out, "bracket");
    json_put_int(out, l->bracket);
    if (l->rung >= 0) {
        json_put_key(out, "rung");
        json_put_int(out, l->rung);
    }
    json_put_key(out, "step");
    json_put_int(out, l->milestone);
    put_cases(out, "trials", l->reached, 1);
    json_put_close(out, '}');
}

static void outlook_json(const struct outlook *o, struct str *out)
{
    const struct forecast *fc = &o->forecast;
    const struct space *sp = o->f->spec.space;
    json_put_object(out);
    put_text(out, "name", o->f->name);
    put_text(out, "metric", o->f->spec.objective[0].name);
    if (o->f->spec.objectives > 1)
        spec_metrics_json(&o->f->spec, out);
    json_put_key(out, "trials");
    json_put_int(out, fc->trials);
    json_put_key(out, "parameters");
    json_put_array(out);
    for (int i = 0; i < space_count(sp); i++)
        put_parameter(out, sp, i);
    json_put_close(out, ']');
    json_put_key(out, "levels");
    json_put_array(out);
    for (int i = 0; i < fc->n; i++)
        put_level(out, &fc->levels[i]);
    json_put_close(out, ']');
    if (o->curves) {
        json_put_key(out, "grace_period");
        curves_put_grace(o->curves, &o->f->spec, out);
    }
    put_cases(out, "attempts", fc->attempts, 1);
    put_cases(out, "steps", fc->steps, 1);
    put_cases(out, "steps_end_to_end", fc->time, 1);
    if (o->step > 0) {
        put_cases(out, "slot_hours", fc->steps, o->step / 3600);
        put_cases(out, "seconds", fc->time, o->step);
    }
    if (o->f->from) {
        json_put_key(out, "known");
        json_put_int(out, (int64_t)o->earlier.known.n);
        json_put_key(out, "outside");
        json_put_int(out, o->earlier.outside);
    }
    json_put_key(out, "checkpoints");
    json_put_object(out);
    json_put_key(out, "most");
    json_put_int(out, checkpoints_most(o));
    json_put_key(out, "kept");
    json_put_int(out, checkpoints_kept(o));
    json_put_close(out, '}');
    json_put_key(out, "configurations");
    json_put_array(out);
    for (size_t i = 0; i < o->params.n; i++)
        json_put_raw(out, slice_of(o->params.v[i]));
    json_put_close(out, ']');
    json_put_close(out, '}');
    str_addc(out, '\n');
}

/* ---- the command ---- */

/* How training goes: by the table that was given, or else by the earlier sweep, if that
 * tells. */
static int load_curves(struct outlook *o, struct err *e)
{
    const struct spec *s = &o->f->spec;
    const char *path = o->path ? o->path : spec_has_rungs(s) ? o->f->from : NULL;
    int rc = path ? curves_load(&o->curves, path, s->objective[0].name, s->space, e) : 0;
    if (rc == 0 && path)
        rc = curves_cover(o->curves, s, path, e);
    if (rc == 0 || o->path)
        return rc;
    curves_free(o->curves);
    o->curves = NULL;
    return 0;
}

static int check(const struct cli_command *self, const char *path, struct outlook *o,
                 int n, bool json)
{
    struct sweepfile *f = NULL;
    struct str text = STR_INIT;
    struct err e = {0};
    int status = EXIT_GOOD;
    if (sweepfile_load(path, &f, &text) != 0) {
        fputs(text.p, stderr);
        str_free(&text);
        return EXIT_USAGE;
    }
    o->f = f;
    forecast_make(&o->forecast, &f->spec, f->slots);
    if (earlier_load(&o->earlier, f, &e) != 0 || draw(o, n, &e) != 0 ||
        load_curves(o, &e) != 0) {
        status = cli_fail(self, EXIT_USAGE, "%s: %s", path, e.text);
    } else {
        (json ? outlook_json : outlook_text)(o, &text);
        fputs(text.p, stdout);
    }
    for (size_t i = 0; i < o->params.n; i++)
        free(o->params.v[i]);
    vec_free(&o->params);
    vec_free(&o->given);
    forecast_free(&o->forecast);
    earlier_free(&o->earlier);
    curves_free(o->curves);
    str_free(&text);
    sweepfile_free(f);
    return status;
}

/* Reads the value of an option into *o or *n. */
static int read_option(int option, const char *value, struct outlook *o, int64_t *n,
                       struct err *e)
{
    if (option == OPT_STEP)
        return duration_parse(value, &o->step, e);
    if (option == OPT_CHECKPOINT)
        return size_parse(value, &o->checkpoint, e);
    if (num_parse_int(value, strlen(value), n) != 0 || *n < 0 || *n > CONFIGURATIONS_MAX)
        return err_set(e, ERR_RANGE, "'%s' is no number from 0 to %d", value,
                       CONFIGURATIONS_MAX);
    return 0;
}

int cmd_check(int argc, char **argv)
{
    const struct cli_command *self = cli_find("check");
    const char *value, *path = NULL;
    struct outlook o = {0};
    struct err e = {0};
    int64_t n = 5;
    bool json = false;
    struct cli c;
    int option;
    cli_begin(&c, self, argc, argv);
    while ((option = cli_next(&c, &value)) != CLI_END) {
        if (option == CLI_HELP)
            return EXIT_GOOD;
        if (option == CLI_BAD ||
            (option == CLI_POSITIONAL && cli_take_file(self, value, &path) != EXIT_GOOD))
            return EXIT_USAGE;
        if (option == OPT_JSON)
            json = true;
        else if (option == OPT_CURVES)
            o.path = value;
        else if (option >= 0 && read_option(option, value, &o, &n, &e) != 0)
            return cli_fail(self, EXIT_USAGE, "--%s: %s", check_options[option].name,
                            e.text);
    }
    if (!path)
        return cli_no_file(self);
    return check(self, path, &o, (int)n, json);
}
