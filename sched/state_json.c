#include "sched/state_json.h"

#include "base/mem.h"

#include <stdlib.h>

static void metrics_json(const struct spec *spec, const struct score *score,
                         struct str *out)
{
    json_put_key(out, "metrics");
    json_put_object(out);
    for (int i = 0; i < spec->objectives; i++) {
        json_put_key(out, spec->objective[i].name);
        json_put_num(out, score->v[i]);
    }
    json_put_close(out, '}');
}

static void trial_json(const struct sweep *sw, int32_t trial, int32_t front,
                       struct str *out)
{
    const struct trial *t = sweep_trial(sw, trial);
    struct str params = STR_INIT;

    json_put_object(out);
    json_put_key(out, "trial");
    json_put_int(out, trial);
    json_put_key(out, "metric");
    json_put_num(out, t->best.v[0]);
    if (sweep_spec(sw)->objectives > 1) {
        metrics_json(sweep_spec(sw), &t->best, out);
        json_put_key(out, "front");
        json_put_int(out, front);
    }
    json_put_key(out, "step");
    json_put_int(out, t->best_step);
    json_put_key(out, "params");
    sweep_params(sw, trial, &params);
    json_put_raw(out, (struct slice){params.p, params.len});
    json_put_close(out, '}');
    str_free(&params);
}

void sweep_best_json(const struct sweep *sw, int n, struct str *out)
{
    size_t trials = (size_t)sweep_trials(sw);
    int32_t *best, *front = mem_alloc(trials * sizeof(front[0]));

    n = n < (int)trials ? n : (int)trials;
    best = mem_alloc((size_t)n * sizeof(best[0]));
    n = sweep_best(sw, best, n);
    if (sweep_spec(sw)->objectives > 1)
        sweep_fronts(sw, front);
    json_put_array(out);
    for (int i = 0; i < n; i++)
        trial_json(sw, best[i], front[best[i]], out);
    json_put_close(out, ']');
    free(best);
    free(front);
}

static void rung_json(const struct sweep *sw, int s, int k, struct str *out)
{
    struct rung_info r = sweep_rung(sw, s, k);

    json_put_object(out);
    json_put_key(out, "bracket");
    json_put_int(out, s);
    json_put_key(out, "rung");
    json_put_int(out, k);
    json_put_key(out, "milestone");
    json_put_int(out, r.milestone);
    json_put_key(out, "reported");
    json_put_int(out, r.reported);
    json_put_key(out, "promoted");
    json_put_int(out, r.promoted);
    json_put_key(out, "stopped");
    json_put_int(out, r.stopped);
    json_put_key(out, "cutoff");
    json_put_num(out, r.cutoff);
    json_put_close(out, '}');
}

void sweep_state_json(const struct sweep *sw, struct str *out)
{
    const struct sweep_totals *n = sweep_totals(sw);

    json_put_key(out, "trials");
    json_put_object(out);
    json_put_key(out, "planned");
    json_put_int(out, n->planned);
    json_put_key(out, "drawn");
    json_put_int(out, sweep_trials(sw));
    for (int s = 0; s < TRIAL_STATES; s++) {
        json_put_key(out, trial_state_name(s));
        json_put_int(out, n->state[s]);
    }
    json_put_close(out, '}');
    json_put_key(out, "attempts");
    json_put_int(out, n->attempts);
    json_put_key(out, "reports");
    json_put_int(out, n->reports);
    json_put_key(out, "steps");
    json_put_int(out, n->steps);
    json_put_key(out, "rungs");
    json_put_array(out);
    for (int s = 0; s < sweep_brackets(sw); s++) {
        for (int k = 0; k < sweep_rungs(sw, s); k++)
            rung_json(sw, s, k, out);
    }
    json_put_close(out, ']');
    json_put_key(out, "best");
    if (n->best >= 0)
        trial_json(sw, n->best, 1, out);
    else
        json_put_null(out);
    if (sweep_spec(sw)->objectives > 1) {
        json_put_key(out, "front");
        sweep_best_json(sw, sweep_front(sw), out);
    }
}
