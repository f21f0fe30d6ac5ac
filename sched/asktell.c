#include "sched/asktell.h"

#include "base/vec.h"
#include "sched/state_json.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct asktell {
    struct sweep *sw;
    struct value *given; /* [space_count] of the request at hand */
    /* metrics of the report at hand; names lie one after another in `names` */
    VEC(struct metric) metrics;
    VEC(size_t) name_at;
    struct str names;
};

struct request {
    struct slice op;
    bool has_trial, has_step;
    int64_t trial, step, n, bracket;
};

struct asktell *asktell_new(const struct spec *spec)
{
    struct asktell *at = mem_alloc(sizeof(*at));

    at->sw = sweep_new(spec);
    at->given = mem_alloc((size_t)space_count(spec->space) * sizeof(at->given[0]));
    at->names = (struct str)STR_INIT;
    return at;
}

void asktell_free(struct asktell *at)
{
    if (!at)
        return;
    sweep_free(at->sw);
    free(at->given);
    vec_free(&at->metrics);
    vec_free(&at->name_at);
    str_free(&at->names);
    free(at);
}

/* ---- reading a request ---- */

static void read_metrics(struct asktell *at, struct json *j)
{
    struct slice key;

    json_object(j);
    while (json_key(j, &key)) {
        struct metric m = {{NULL, 0}, 0};
        size_t begin = at->names.len;

        json_unescape(key, &at->names);
        m.name.len = at->names.len - begin;
        m.value = json_num(j);
        vec_push(&at->name_at, begin);
        vec_push(&at->metrics, m);
    }
    for (size_t i = 0; i < at->metrics.n; i++)
        at->metrics.v[i].name.p = at->names.p + at->name_at.v[i];
}

static int read_request(struct asktell *at, const char *line, size_t n, struct request *r,
                        struct err *e)
{
    const struct space *sp = sweep_spec(at->sw)->space;
    struct slice key;
    struct json j;

    *r = (struct request){.n = 1, .bracket = -1};
    at->metrics.n = at->name_at.n = 0;
    str_cut(&at->names, 0);
    json_begin(&j, line, n);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "op")) {
            r->op = json_string(&j);
        } else if (json_is(key, "trial")) {
            r->trial = json_int(&j);
            r->has_trial = true;
        } else if (json_is(key, "step")) {
            r->step = json_int(&j);
            r->has_step = true;
        } else if (json_is(key, "n")) {
            r->n = json_int(&j);
        } else if (json_is(key, "bracket")) {
            r->bracket = json_int(&j);
        } else if (json_is(key, "metrics")) {
            read_metrics(at, &j);
        } else if (json_is(key, "params")) {
            values_free(at->given, space_count(sp));
            if (space_scan(sp, &j, at->given, e) != 0)
                return ERR_INVAL;
        } else {
            json_skip(&j);
        }
    }
    json_end(&j);
    if (j.error)
        return err_set(e, ERR_SYNTAX, "not a JSON object that can be read: %s", j.error);
    return 0;
}

/* ---- operations ---- */

static void apply(struct asktell *at, const struct event *ev, struct verdict *v)
{
    struct err e = {0};

    /* events made here follow on the state by construction */
    if (sweep_apply(at->sw, ev, v, &e) != 0)
        abort();
}

static void hand_out(struct asktell *at, const struct work *w, struct str *out)
{
    const struct trial *t = sweep_trial(at->sw, w->trial);
    struct str params = STR_INIT;
    struct event ev;

    sweep_start_event(at->sw, w, &ev);
    ev.start.slot = w->trial;
    apply(at, &ev, NULL);
    json_put_object(out);
    json_put_key(out, "trial");
    json_put_int(out, w->trial);
    json_put_key(out, "params");
    sweep_params(at->sw, w->trial, &params);
    json_put_raw(out, (struct slice){params.p, params.len});
    json_put_key(out, "start");
    json_put_int(out, w->start);
    json_put_key(out, "until");
    json_put_int(out, t->began_until);
    json_put_key(out, "bracket");
    json_put_int(out, t->bracket);
    json_put_key(out, "rung");
    json_put_int(out, t->promoted + 1);
    if (t->parent >= 0 && w->start == t->born) { /* it has saved nothing of its own yet */
        json_put_key(out, "parent");
        json_put_int(out, t->parent);
    }
    json_put_close(out, '}');
    str_free(&params);
}

static void nothing_to_do(bool wait, struct str *out)
{
    str_add(out,
            wait ? "{\"trial\":null,\"wait\":true}" : "{\"trial\":null,\"done\":true}");
}

static int op_ask(struct asktell *at, const struct request *r, struct str *out,
                  struct err *e)
{
    struct work w;
    struct event ev;

    (void)r;
    w = sweep_next(at->sw);
    if (w.kind == WORK_DRAW) {
        int rc = sweep_draw(at->sw, &ev, e);

        if (rc != 0 && rc != ERR_NOENT)
            return rc;
        apply(at, &ev, NULL);
        w = sweep_next(at->sw);
    }
    if (w.kind == WORK_TRIAL)
        hand_out(at, &w, out);
    else
        nothing_to_do(w.kind == WORK_WAIT, out);
    return 0;
}

static int op_add(struct asktell *at, const struct request *r, struct str *out,
                  struct err *e)
{
    struct work w = {.kind = WORK_TRIAL, .from = -1};
    struct event ev;
    int rc;

    if (spec_synchronous(sweep_spec(at->sw))) {
        if (r->bracket != -1 && r->bracket != sweep_next_bracket(at->sw))
            return err_set(e, ERR_RANGE, "bracket %d is the one that takes trials now",
                           sweep_next_bracket(at->sw));
    } else if (r->bracket < -1 || r->bracket >= sweep_brackets(at->sw)) {
        return err_set(e, ERR_RANGE, "bracket must be 0 to %d",
                       sweep_brackets(at->sw) - 1);
    }
    rc = sweep_draw_given(at->sw, at->given, (int)r->bracket, &ev, e);
    if (rc != 0)
        return rc;
    apply(at, &ev, NULL);
    w.trial = ev.trial;
    w.until = sweep_trial(at->sw, w.trial)->until;
    hand_out(at, &w, out);
    return 0;
}

static int running_trial(struct asktell *at, const struct request *r,
                         const struct trial **t, struct err *e)
{
    if (!r->has_trial)
        return err_set(e, ERR_INVAL, "\"trial\" is missing");
    if (r->trial < 0 || r->trial >= sweep_trials(at->sw))
        return err_set(e, ERR_NOENT, "there is no trial %lld", (long long)r->trial);
    *t = sweep_trial(at->sw, (int32_t)r->trial);
    if ((*t)->state != TRIAL_RUNNING)
        return err_set(e, ERR_INVAL, "trial %lld is not running, it is %s",
                       (long long)r->trial, trial_state_name((*t)->state));
    return 0;
}

static void end_attempt(struct asktell *at, int32_t trial, struct end_facts facts)
{
    struct event ev = {.kind = EVENT_END, .trial = trial};

    ev.attempt = sweep_trial(at->sw, trial)->attempts;
    ev.end.outcome = sweep_outcome(at->sw, trial, &facts, &ev.end.saved);
    ev.end.facts = facts;
    apply(at, &ev, NULL);
}

static int op_report(struct asktell *at, const struct request *r, struct str *out,
                     struct err *e)
{
    const struct trial *t;
    struct verdict v;
    struct event ev = {.kind = EVENT_REPORT};
    int rc = running_trial(at, r, &t, e);

    if (rc != 0)
        return rc;
    if (!r->has_step || r->step < 0)
        return err_set(e, ERR_INVAL, "\"step\" is missing or negative");
    ev.trial = (int32_t)r->trial;
    ev.attempt = t->attempts;
    ev.report.number = t->last_number + 1;
    ev.report.step = r->step;
    ev.report.elapsed = NAN;
    ev.report.metrics = at->metrics.v;
    ev.report.n_metrics = (int)at->metrics.n;
    apply(at, &ev, &v);
    json_put_object(out);
    json_put_key(out, "decision");
    json_put_str(out, decision_name(v.decision));
    if (v.decision == DECISION_CONTINUE) {
        json_put_key(out, "until");
        json_put_int(out, v.until);
    } else {
        end_attempt(at, ev.trial,
                    (struct end_facts){.answered = v.decision,
                                       .last_step = r->step,
                                       .reports = ev.report.number,
                                       USAGE_UNKNOWN});
    }
    json_put_close(out, '}');
    return 0;
}

static int op_fail(struct asktell *at, const struct request *r, struct str *out,
                   struct err *e)
{
    const struct trial *t;
    int rc = running_trial(at, r, &t, e);

    if (rc != 0)
        return rc;
    end_attempt(at, (int32_t)r->trial, (struct end_facts){.exit_code = 1, USAGE_UNKNOWN});
    t = sweep_trial(at->sw, (int32_t)r->trial);
    str_add(out, t->state == TRIAL_FAILED ? "{\"retry\":false}" : "{\"retry\":true}");
    return 0;
}

static int op_best(struct asktell *at, const struct request *r, struct str *out,
                   struct err *e)
{
    if (r->n < 1)
        return err_set(e, ERR_RANGE, "\"n\" must be at least 1");
    json_put_object(out);
    json_put_key(out, "best");
    sweep_best_json(at->sw, r->n < INT_MAX ? (int)r->n : INT_MAX, out);
    json_put_close(out, '}');
    return 0;
}

static int op_state(struct asktell *at, const struct request *r, struct str *out,
                    struct err *e)
{
    (void)r, (void)e;
    json_put_object(out);
    sweep_state_json(at->sw, out);
    json_put_close(out, '}');
    return 0;
}

int asktell_known(struct asktell *at, const struct event *ev, struct err *e)
{
    return sweep_apply(at->sw, ev, NULL, e);
}

void asktell_line(struct asktell *at, const char *line, size_t n, struct str *out)
{
    static const struct {
        const char *name;
        int (*run)(struct asktell *, const struct request *, struct str *, struct err *);
    } ops[] = {{"ask", op_ask},   {"add", op_add},   {"report", op_report},
               {"fail", op_fail}, {"best", op_best}, {"state", op_state}};
    size_t begin = out->len;
    struct request r;
    struct err e = {0};
    int rc = read_request(at, line, n, &r, &e);

    if (rc == 0) {
        rc = err_set(&e, ERR_INVAL,
                     "\"op\" must be ask, add, report, fail, best or state");
        for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
            if (slice_eq(r.op, ops[i].name)) {
                rc = ops[i].run(at, &r, out, &e);
                break;
            }
        }
    }
    if (rc != 0) {
        str_cut(out, begin);
        json_put_object(out);
        json_put_key(out, "error");
        json_put_str(out, e.text);
        json_put_close(out, '}');
    }
    str_addc(out, '\n');
    values_free(at->given, space_count(sweep_spec(at->sw)->space));
}
