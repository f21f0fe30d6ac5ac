/* Costs as people and programs read them. */
#include "base/json.h"
#include "base/units.h"
#include "launcher/view.h"

#include <math.h>
#include <stdio.h>

#define HOUR 3600.0

/* Hours to three digits. */
static void hours(char buf[UNITS_MAX], double seconds)
{
    double h = seconds / HOUR;

    snprintf(buf, UNITS_MAX, "%.*f", h < 9.995 ? 2 : h < 99.95 ? 1 : 0, h);
}

const char *view_cost_short(char buf[UNITS_MAX], double seconds)
{
    char number[UNITS_MAX];

    if (seconds < HOUR - 0.5)
        return duration_format(buf, seconds);
    hours(number, seconds);
    snprintf(buf, UNITS_MAX, "%.20s h", number);
    return buf;
}

static void amount(struct str *out, double seconds, const char *one, const char *all)
{
    char buf[UNITS_MAX];

    if (seconds < HOUR - 0.5) {
        str_addf(out, "%s of %s", duration_format(buf, seconds), all);
    } else {
        hours(buf, seconds);
        str_addf(out, "%s %s-hours", buf, one);
    }
}

void view_cost(const struct cost *cost, struct str *out)
{
    char buf[UNITS_MAX];

    amount(out, cost->slots, "slot", "slots");
    str_add(out, ", ");
    amount(out, cost->cpus, "CPU", "CPUs");
    if (cost->used > 0)
        str_addf(out, " (%s used)", view_cost_short(buf, cost->used));
    str_add(out, ", ");
    amount(out, cost->nodes, "node", "nodes");
    if (cost->gpus > 0) {
        str_add(out, ", ");
        amount(out, cost->gpus, "GPU", "GPUs");
    }
}

static void put_hours(struct str *out, const char *key, double seconds)
{
    json_put_key(out, key);
    json_put_num(out, seconds / HOUR);
}

static void put_cost(struct str *out, const struct cost *cost)
{
    put_hours(out, "slot_hours", cost->slots);
    put_hours(out, "cpu_hours", cost->cpus);
    put_hours(out, "cpu_hours_used", cost->used);
    put_hours(out, "node_hours", cost->nodes);
    put_hours(out, "gpu_hours", cost->gpus);
}

static void put_bracket(const struct view *v, int bracket, struct cost levels[],
                        struct str *out)
{
    const struct levels *lv = sweep_levels(v->sw);
    int first = sweep_first_level(v->sw, bracket);

    costs_levels(v->costs, bracket, v->now, levels);
    for (int i = first; i < lv->n; i++) {
        json_put_object(out);
        json_put_key(out, "bracket");
        json_put_int(out, bracket);
        json_put_key(out, "rung");
        json_put_int(out, i - first);
        json_put_key(out, "milestone");
        json_put_int(out, lv->step[i]);
        put_cost(out, &levels[i]);
        json_put_close(out, '}');
    }
}

void view_cost_json(const struct view *v, struct str *out)
{
    struct cost all = costs_total(v->costs, v->now),
                *levels = mem_alloc((size_t)sweep_levels(v->sw)->n * sizeof(*levels));
    double share, saved = costs_saved(v->costs, v->now, &share);

    json_put_object(out);
    put_cost(out, &all);
    put_hours(out, "saved_slot_hours", saved);
    json_put_key(out, "saved_share");
    json_put_num(out, share);
    json_put_key(out, "rungs");
    json_put_array(out);
    for (int s = 0; s < sweep_brackets(v->sw); s++)
        put_bracket(v, s, levels, out);
    json_put_close(out, ']');
    json_put_close(out, '}');
    free(levels);
}
