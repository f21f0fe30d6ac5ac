/* The screen:
 *
 *     fashion  running  4/4 slots  12m 07s
 *
 *     rung 0  step  1  ██████████░░░░░░░░░   34 of 64   11 promoted   cost  1.20 h
 *     rung 1  step  3  ███░░░░░░░░░░░░░░░░   11 of 21    3 promoted   cost 48m 10s
 *     rung 2  step  9  █░░░░░░░░░░░░░░░░░░    3 of  7                 cost 31m 02s
 *     done    step 27  ░░░░░░░░░░░░░░░░░░░    0 of  2
 *
 *     trials  4 running, 31 paused, 2 failed, 27 to come
 *     gpus    trial 31   93 %  60 GiB of 80 GiB  412 W
 *     best    val_loss 0.2134  trial 9, step 9
 *             l1 64  l2 32  lr 0.0031  batch_size 64
 *     cost    2.52 slot-hours, 10.1 CPU-hours (7.92 h used), 2.52 node-hours
 *     saved   about 12.3 h of slots, 83 % of what 37 trials to step 27 would take
 *     left    about 14m
 *
 * One bar a level of all brackets together: a bracket is how ASHA hedges, not what a
 * person watches. The expected count of a level follows from the trials planned and
 * the reduction factor. */
#include "launcher/view.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/units.h"
#include "sched/state_json.h"

#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GPU_LINES   8 /* trials; of more their sum is shown */
#define FRONT_LINES 5

struct level {
    int64_t milestone;
    int64_t reported, promoted, stopped;
    double expected;
};

/* ---- counting ---- */

static int64_t completed_trials(const struct view *v)
{
    return sweep_totals(v->sw)->state[TRIAL_COMPLETED];
}

static void count_level(const struct view *v, int level, struct level *out)
{
    const struct levels *lv = sweep_levels(v->sw);

    *out = (struct level){.milestone = lv->step[level],
                          .expected = sweep_expected(v->sw, level)};
    if (level == lv->n - 1) {
        const struct spec *spec = sweep_spec(v->sw);
        double finalists = spec_promotes(spec) ? spec->finalists : 0;

        out->reported = completed_trials(v);
        out->expected = fmax(out->expected, finalists);
    } else {
        for (int s = 0; s < sweep_brackets(v->sw); s++) {
            int first = sweep_first_level(v->sw, s);
            struct rung_info r;

            if (level < first)
                continue;
            r = sweep_rung(v->sw, s, level - first);
            out->reported += r.reported;
            out->promoted += r.promoted;
            out->stopped += r.stopped;
        }
    }
    out->expected = fmax(out->expected, (double)out->reported);
}

/* Steps that the whole sweep is expected to take. */
static double expected_steps(const struct view *v)
{
    const struct levels *lv = sweep_levels(v->sw);
    double steps = 0;

    for (int i = 0; i < lv->n; i++) {
        struct level level;

        count_level(v, i, &level);
        steps += level.expected * (double)(lv->step[i] - (i ? lv->step[i - 1] : 0));
    }
    return steps;
}

double view_left(const struct view *v)
{
    const struct sweep_totals *n = sweep_totals(v->sw);
    double steps = (double)(n->steps - v->steps_before);
    double seconds = v->uptime - v->uptime_before,
           left = expected_steps(v) - (double)n->steps;

    if (n->finished)
        return 0;
    if (steps <= 0 || seconds < 1)
        return NAN;
    return left > 0 ? left / (steps / seconds) : 0;
}

/* ---- text ---- */

#define BOLD  "\033[1m"
#define DIM   "\033[2m"
#define GREEN "\033[32m"
#define RED   "\033[31m"
#define PLAIN "\033[0m"

struct screen {
    const struct view *v;
    int width;
    bool colour, utf8;
    struct str *out;
};

static void paint(struct screen *s, const char *code, const char *text)
{
    bool painted = s->colour && *code;

    str_addf(s->out, "%s%s%s", painted ? code : "", text, painted ? PLAIN : "");
}

/* Terminal columns of UTF-8 text: here, its characters. */
static int columns(const char *text, size_t n)
{
    int c = 0;

    for (size_t i = 0; i < n; i++)
        c += ((unsigned char)text[i] & 0xC0) != 0x80;
    return c;
}

static void header(struct screen *s)
{
    const struct view *v = s->v;
    char time[UNITS_MAX];
    bool good = strcmp(v->state, "running") == 0 || strcmp(v->state, "finished") == 0;

    paint(s, BOLD, v->file->name);
    str_add(s->out, "  ");
    paint(s, good ? GREEN : RED, v->state);
    if (v->slots > 0)
        str_addf(s->out, "  %d of %d slots busy", v->busy, v->slots);
    str_addf(s->out, "  %s\n\n", duration_format(time, v->uptime));
}

static void bar(struct screen *s, double share, int width)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int filled = (int)(share * width * 8 + 0.5);

    str_add(s->out, s->colour ? GREEN : "");
    for (int i = 0; i < width; i++) {
        int here = filled - i * 8;

        if (here == 0 || (i > 0 && here < 0 && here > -8))
            str_add(s->out, s->colour ? PLAIN DIM : "");
        if (!s->utf8)
            str_addc(s->out, here >= 4 ? '#' : '.');
        else if (here >= 8)
            str_add(s->out, "█");
        else if (here > 0)
            str_add(s->out, eighths[here]);
        else
            str_add(s->out, "░");
    }
    str_add(s->out, s->colour ? PLAIN : "");
}

static int digits(double n)
{
    char text[32];

    return snprintf(text, sizeof(text), "%.0f", n);
}

/* What a level's line is made of beside its bar. */
struct level_columns {
    int step, count;    /* widths of these */
    struct cost *costs; /* of each level; NULL: they do not fit */
};

#define COST_WIDTH 14 /* columns that "  cost 27m 51s" takes from the bar */

static void level_line(struct screen *s, int i, const struct level_columns *c)
{
    const struct levels *lv = sweep_levels(s->v->sw);
    bool last = i == lv->n - 1;
    struct level level;
    int room = s->width - 17 - c->step - 2 * c->count - 20;
    char text[UNITS_MAX];

    count_level(s->v, i, &level);
    snprintf(text, sizeof(text), last ? "done" : "rung %d", i);
    str_addf(s->out, "%-7s  step %*lld  ", text, c->step, (long long)level.milestone);
    room -= c->costs ? COST_WIDTH : 0;
    if (room >= 5)
        bar(s, level.expected > 0 ? (double)level.reported / level.expected : 0,
            room < 40 ? room : 40);
    str_addf(s->out, "  %*lld of %*.0f", c->count, (long long)level.reported, c->count,
             ceil(level.expected));
    *text = '\0';
    if (level.stopped > 0)
        snprintf(text, sizeof(text), "%lld stopped", (long long)level.stopped);
    else if (level.promoted > 0 && spec_promotes(sweep_spec(s->v->sw)))
        snprintf(text, sizeof(text), "%lld promoted", (long long)level.promoted);
    if (c->costs && c->costs[i].slots > 0) {
        char time[UNITS_MAX];

        str_addf(s->out, "  %-13s  cost %7s", text,
                 view_cost_short(time, c->costs[i].slots));
    } else if (*text) {
        str_addf(s->out, "  %s", text);
    }
    str_addc(s->out, '\n');
}

static void level_lines(struct screen *s)
{
    const struct levels *lv = sweep_levels(s->v->sw);
    struct level_columns c = {digits((double)lv->step[lv->n - 1]), 1, NULL};

    for (int i = 0; i < lv->n; i++) {
        struct level level;

        count_level(s->v, i, &level);
        if (digits(ceil(level.expected)) > c.count)
            c.count = digits(ceil(level.expected));
    }
    if (s->width - 17 - c.step - 2 * c.count - 20 >= COST_WIDTH + 5) {
        c.costs = mem_alloc((size_t)lv->n * sizeof(*c.costs));
        costs_levels(s->v->costs, -1, s->v->now, c.costs);
    }
    for (int i = 0; i < lv->n; i++)
        level_line(s, i, &c);
    str_addc(s->out, '\n');
    free(c.costs);
}

static void trials_line(struct screen *s)
{
    static const enum trial_state order[] = {TRIAL_RUNNING, TRIAL_PAUSED,
                                             TRIAL_WAITING, TRIAL_COMPLETED,
                                             TRIAL_STOPPED, TRIAL_FAILED};
    const struct sweep_totals *n = sweep_totals(s->v->sw);
    int64_t to_come = n->planned - sweep_trials(s->v->sw);
    const char *comma = "";

    str_add(s->out, "trials  ");
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        char text[64];

        if (n->state[order[i]] == 0)
            continue;
        snprintf(text, sizeof(text), "%d %s", n->state[order[i]],
                 trial_state_name(order[i]));
        str_add(s->out, comma);
        paint(s, order[i] == TRIAL_FAILED ? RED : "", text);
        comma = ", ";
    }
    if (to_come > 0 && !n->finished)
        str_addf(s->out, "%s%lld to come", comma, (long long)to_come);
    else if (!*comma)
        str_add(s->out, "none yet");
    str_addc(s->out, '\n');
}

static bool is_integer(struct slice number)
{
    int64_t i;

    return num_parse_int(number.p, number.len, &i) == 0;
}

/* "l1 64  lr 0.0031", broken at the width and indented under what stands before. */
static void params(struct screen *s, int32_t trial, int indent)
{
    struct str text = STR_INIT, pair = STR_INIT, value = STR_INIT;
    struct slice key;
    struct json j;
    int at = indent;

    sweep_params(s->v->sw, trial, &text);
    json_begin(&j, text.p, text.len);
    json_object(&j);
    while (json_key(&j, &key)) {
        enum json_type type = json_peek(&j);
        char number[NUM_MAX];

        str_cut(&pair, 0);
        json_unescape(key, &pair);
        str_addc(&pair, ' ');
        if (type == JSON_STRING) {
            str_cut(&value, 0);
            json_unescape(json_string(&j), &value);
            str_add_visible(&pair, value.p, value.len);
        } else {
            struct slice raw = json_raw(&j);
            double real;

            if (type == JSON_NUMBER && !is_integer(raw) &&
                num_parse(raw.p, raw.len, &real) == 0) {
                num_format_short(number, real, 4);
                raw = slice_of(number);
            }
            str_addn(&pair, raw.p, raw.len);
        }
        if (at > indent && at + 2 + columns(pair.p, pair.len) > s->width) {
            str_addf(s->out, "\n%*s", indent, "");
            at = indent;
        }
        str_addf(s->out, "%s%s", at > indent ? "  " : "", pair.p);
        at += columns(pair.p, pair.len) + (at > indent ? 2 : 0);
    }
    str_addc(s->out, '\n');
    str_free(&text);
    str_free(&pair);
    str_free(&value);
}

/* What auto took. */
static void search_line(struct screen *s)
{
    const struct spec *spec = sweep_spec(s->v->sw);

    if (spec->chosen)
        str_addf(s->out, "search  %s (auto)\n", search_names[spec->search]);
}

/* "val_loss 0.21, latency 3  trial 4, step 27" */
static void best_line(struct screen *s, int32_t trial)
{
    const struct spec *spec = sweep_spec(s->v->sw);
    const struct trial *t = sweep_trial(s->v->sw, trial);
    struct str text = STR_INIT;
    char value[NUM_MAX];

    for (int i = 0; i < spec->objectives; i++) {
        num_format_short(value, t->best.v[i], 5);
        str_addf(&text, "%s%s %s", i ? ", " : "", spec->objective[i].name, value);
    }
    paint(s, BOLD, text.p);
    str_addf(s->out, "  trial %d, step %lld\n", trial, (long long)t->best_step);
    str_free(&text);
}

/* Those of the Pareto front that differ most. */
static void front_lines(struct screen *s)
{
    int32_t best[FRONT_LINES];
    int all = sweep_front(s->v->sw), n = sweep_best(s->v->sw, best, FRONT_LINES);

    n = n < all ? n : all;
    str_addf(s->out, "front   %d of %d trials\n", all, sweep_trials(s->v->sw));
    for (int i = 0; i < n; i++) {
        str_add(s->out, "        ");
        best_line(s, best[i]);
    }
    if (n < all)
        str_addf(s->out, "        and %d more: rung best\n", all - n);
}

static void best_lines(struct screen *s)
{
    const struct sweep_totals *n = sweep_totals(s->v->sw);

    if (n->best < 0)
        return;
    if (sweep_spec(s->v->sw)->objectives > 1) {
        front_lines(s);
        return;
    }
    str_add(s->out, "best    ");
    best_line(s, n->best);
    str_add(s->out, "        ");
    params(s, n->best, 8);
}

/* A sentence under its name, broken at the width. */
static void sentence(struct screen *s, const char *name, const char *raw)
{
    int indent = 8, at = indent;
    struct str visible = STR_INIT;
    const char *text;

    str_add_visible(&visible, raw, strlen(raw));
    text = visible.p;
    str_addf(s->out, "%-*s", indent, name);
    while (*text) {
        size_t n = strcspn(text, " ");
        int width = columns(text, n);

        if (at > indent && at + 1 + width > s->width) {
            str_addf(s->out, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            str_addc(s->out, ' ');
            at++;
        }
        str_addn(s->out, text, n);
        at += width;
        text += n;
        text += strspn(text, " ");
    }
    str_addc(s->out, '\n');
    str_free(&visible);
}

#define ORDER_FEWEST 5 /* trials: a correlation of fewer is not shown */
#define ORDERS_SHOWN 3 /* levels */

/* Whether rungs choose by what lasts. */
static void order_line(struct screen *s)
{
    const struct levels *lv = sweep_levels(s->v->sw);
    struct str text = STR_INIT;
    const struct spec *spec = sweep_spec(s->v->sw);
    struct order o;
    bool poor = false, any = false;

    for (int i = 0; i < lv->n - 1 && i < ORDERS_SHOWN; i++) {
        o = orders_of(s->v->orders, i);
        poor |= i == 0 && order_is_poor(&o);
        if (o.trials < ORDER_FEWEST || isnan(o.correlation))
            continue;
        if (text.len == 0 && spec->objectives > 1)
            str_addf(&text, "of %s, ", spec->objective[0].name);
        str_add(&text, any ? ", " : "rank correlation ");
        any = true;
        str_addf(&text, "%.2f of steps %lld and %lld (%u trials)", o.correlation,
                 (long long)lv->step[i], (long long)lv->step[i + 1], o.trials);
    }
    if (poor)
        str_addf(&text, "; a grace period of %lld is too short to tell who will be good",
                 (long long)lv->step[0]);
    if (text.len)
        sentence(s, "order", text.p);
    str_free(&text);
}

/* How busy GPUs are: of each trial, as long as one sees them all at once. */
static void gpu_lines(struct screen *s)
{
    const struct gpu_rows *r = s->v->gpus;
    struct str text = STR_INIT;
    int width = 1;

    if (!r || r->n == 0)
        return;
    if (r->n > GPU_LINES) {
        view_gpus_sum(r, &text);
        sentence(s, "gpus", text.p);
        str_free(&text);
        return;
    }
    for (size_t i = 0; i < r->n; i++)
        width = digits(r->v[i].trial) > width ? digits(r->v[i].trial) : width;
    for (size_t i = 0; i < r->n; i++) {
        str_add(s->out, i == 0 ? "gpus    " : "        ");
        view_gpu(&r->v[i], width, s->out);
        str_addc(s->out, '\n');
    }
}

static void cost_line(struct screen *s)
{
    struct cost cost = costs_total(s->v->costs, s->v->now);
    struct str text = STR_INIT;

    if (cost.slots <= 0)
        return;
    view_cost(&cost, &text);
    sentence(s, "cost", text.p);
    str_free(&text);
}

static void saved_line(struct screen *s)
{
    double share, saved = costs_saved(s->v->costs, s->v->now, &share);
    int32_t begun = 0;
    struct str text = STR_INIT;
    char time[UNITS_MAX];

    if (!(saved > 0))
        return;
    for (int32_t i = 0; i < sweep_trials(s->v->sw); i++)
        begun += sweep_trial(s->v->sw, i)->attempts > 0;
    str_addf(&text,
             "about %s of slots, %.0f %% of what %d trial%s to step %lld would take",
             view_cost_short(time, saved), 100 * share, begun, begun == 1 ? "" : "s",
             (long long)sweep_spec(s->v->sw)->max_t);
    sentence(s, "saved", text.p);
    str_free(&text);
}

/* How much of the site's patience it takes. */
static void calls_line(struct screen *s)
{
    const struct slurm_calls *calls = &s->v->who.calls;
    double minutes = s->v->uptime / 60;
    struct str text = STR_INIT;

    if (calls->polling + calls->others == 0)
        return;
    str_addf(&text, "%lld calls to look after jobs", (long long)calls->polling);
    if (minutes >= 1)
        str_addf(&text, " (%.1f a minute)", (double)calls->polling / minutes);
    str_addf(&text, ", %lld others", (long long)calls->others);
    if (calls->steps > 0)
        str_addf(&text, ", %lld job steps", (long long)calls->steps);
    sentence(s, "slurm", text.p);
    str_free(&text);
}

static void left_line(struct screen *s)
{
    double left = view_left(s->v);
    char time[UNITS_MAX];

    if (strcmp(s->v->state, "running") == 0 && !isnan(left))
        str_addf(s->out, "left    about %s\n", duration_format(time, left));
    if (s->v->note || *s->v->who.note)
        sentence(s, "note", s->v->note ? s->v->note : s->v->who.note);
}

/* Cuts lines that are wider than the terminal: a wrapped line would spoil the redraw. */
static void cut_lines(const struct str *in, int width, struct str *out)
{
    int at = 0;

    for (size_t i = 0; i < in->len; i++) {
        unsigned char c = (unsigned char)in->p[i];

        if (c == '\033') {
            while (i < in->len && in->p[i] != 'm')
                str_addc(out, in->p[i++]);
            str_addc(out, 'm');
            continue;
        }
        if (c == '\n')
            at = 0;
        else if ((c & 0xC0) != 0x80)
            at++;
        if (at <= width)
            str_addc(out, (char)c);
    }
}

static bool in_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void view_screen(const struct view *v, int width, bool colour, struct str *out)
{
    struct str text = STR_INIT;
    struct screen s = {v, width, colour, in_utf8(), &text};

    header(&s);
    level_lines(&s);
    order_line(&s);
    trials_line(&s);
    gpu_lines(&s);
    search_line(&s);
    best_lines(&s);
    cost_line(&s);
    saved_line(&s);
    calls_line(&s);
    left_line(&s);
    cut_lines(&text, width, out);
    str_free(&text);
}

void view_line(const struct view *v, struct str *out)
{
    const struct sweep_totals *n = sweep_totals(v->sw);
    double left = view_left(v);
    char stamp[32], value[NUM_MAX], time[UNITS_MAX];

    clock_format(stamp, v->now);
    str_addf(out, "%s  %s  trials %d of %lld", stamp + 11, v->state, sweep_trials(v->sw),
             (long long)n->planned);
    if (n->open > 0)
        str_addf(out, ", %d running", n->open);
    if (n->state[TRIAL_FAILED] > 0)
        str_addf(out, ", %d failed", n->state[TRIAL_FAILED]);
    if (n->best >= 0 && sweep_spec(v->sw)->objectives > 1) {
        str_addf(out, "  front of %d", sweep_front(v->sw));
    } else if (n->best >= 0) {
        num_format_short(value, sweep_trial(v->sw, n->best)->best.v[0], 5);
        str_addf(out, "  best %s (trial %d, step %lld)", value, n->best,
                 (long long)sweep_trial(v->sw, n->best)->best_step);
    }
    if (strcmp(v->state, "running") == 0 && !isnan(left))
        str_addf(out, "  about %s left", duration_format(time, left));
}

void view_best(const struct view *v, struct str *out)
{
    const struct sweep_totals *n = sweep_totals(v->sw);
    struct screen s = {v, 80, false, true, out};

    if (n->best >= 0) {
        best_lines(&s);
    } else {
        str_add(out, "no trial has reported a finite ");
        spec_metrics(sweep_spec(v->sw), out);
        str_addc(out, '\n');
    }
}

static void orders_json(const struct view *v, struct str *out)
{
    const struct levels *lv = sweep_levels(v->sw);

    json_put_array(out);
    for (int i = 0; i < lv->n - 1; i++) {
        struct order o = orders_of(v->orders, i);

        json_put_object(out);
        json_put_key(out, "step");
        json_put_int(out, lv->step[i]);
        json_put_key(out, "next");
        json_put_int(out, lv->step[i + 1]);
        json_put_key(out, "trials");
        json_put_int(out, o.trials);
        json_put_key(out, "rank_correlation");
        json_put_num(out, o.correlation);
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
}

void view_json(const struct view *v, struct str *out)
{
    const struct spec *spec = sweep_spec(v->sw);

    json_put_object(out);
    json_put_key(out, "name");
    json_put_str(out, v->file->name);
    json_put_key(out, "dir");
    json_put_str(out, v->dir);
    json_put_key(out, "state");
    json_put_str(out, v->state);
    json_put_key(out, "epoch");
    json_put_int(out, v->epoch);
    json_put_key(out, "metric");
    json_put_str(out, spec->objective[0].name);
    json_put_key(out, "mode");
    json_put_str(out, objective_mode(&spec->objective[0]));
    if (spec->objectives > 1)
        spec_metrics_json(spec, out);
    json_put_key(out, "slots");
    json_put_int(out, v->slots);
    json_put_key(out, "busy");
    json_put_int(out, v->busy);
    json_put_key(out, "uptime");
    json_put_num(out, v->uptime);
    json_put_key(out, "slot_seconds");
    json_put_num(out, costs_total(v->costs, v->now).slots);
    json_put_key(out, "cpu_seconds");
    json_put_num(out, sweep_totals(v->sw)->cpu_seconds);
    json_put_key(out, "cost");
    view_cost_json(v, out);
    json_put_key(out, "gpus");
    gpu_rows_json(v->gpus ? v->gpus : &(struct gpu_rows){0}, out);
    json_put_key(out, "orders");
    orders_json(v, out);
    json_put_key(out, "slurm_calls");
    slurm_calls_json(&v->who.calls, out);
    json_put_key(out, "note");
    json_put_str(out, v->note ? v->note : v->who.note);
    json_put_key(out, "left");
    json_put_num(out, view_left(v));
    sweep_state_json(v->sw, out);
    json_put_close(out, '}');
}
