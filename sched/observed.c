#include "sched/observed.h"

#include "base/mem.h"
#include "base/vec.h"
#include "sched/fronts.h"
#include "sched/hypervolume.h"

#include <math.h>

enum fate { PENDING, TOLD, WORST, DROPPED };

struct observed {
    const struct space *space;
    int dims, levels, objectives;
    uint64_t changes;
    VEC(uint8_t) fates; /* [trials] */
    VEC(bool) rests;    /* [trials] */
    VEC(double) points; /* [trials][dims] */
    VEC(double) values; /* [trials][levels][objectives], NaN: none */
    int32_t *finite;    /* [levels]: how many values, those of worst trials left out */
};

struct observed *observed_new(const struct space *sp, int levels, int objectives)
{
    struct observed *o = mem_alloc(sizeof(*o));
    o->space = sp;
    o->dims = space_dims(sp);
    o->levels = levels;
    o->objectives = objectives;
    o->finite = mem_alloc((size_t)levels * sizeof(*o->finite));
    return o;
}

void observed_free(struct observed *o)
{
    if (!o)
        return;
    vec_free(&o->fates);
    vec_free(&o->rests);
    vec_free(&o->points);
    vec_free(&o->values);
    free(o->finite);
    free(o);
}

#define COPY(from, to)                                                                   \
    do {                                                                                 \
        vec_reserve(&(to), (from).n);                                                    \
        if ((from).n > 0)                                                                \
            memcpy((to).v, (from).v, (from).n * sizeof((from).v[0]));                    \
        (to).n = (from).n;                                                               \
    } while (0)

struct observed *observed_copy(const struct observed *o)
{
    struct observed *c = observed_new(o->space, o->levels, o->objectives);
    c->changes = o->changes;
    COPY(o->fates, c->fates);
    COPY(o->rests, c->rests);
    COPY(o->points, c->points);
    COPY(o->values, c->values);
    memcpy(c->finite, o->finite, (size_t)o->levels * sizeof(*o->finite));
    return c;
}

#undef COPY

uint64_t observed_changes(const struct observed *o)
{
    return o->changes;
}

/* Its values at a level: of the objectives. */
static double *values_of(const struct observed *o, int32_t trial, int level)
{
    size_t at = (size_t)trial * (size_t)o->levels + (size_t)level;

    return &o->values.v[at * (size_t)o->objectives];
}

void observed_add(struct observed *o, const double u[], const struct value values[])
{
    o->changes++;
    for (int d = 0; d < o->dims; d++) {
        double cell[2] = {NAN, NAN};
        if (values[space_dim(o->space, d)->param].kind != VALUE_ABSENT && !isnan(u[d]))
            space_cell(o->space, d, u[d], cell);
        vec_push(&o->points, (cell[0] + cell[1]) / 2);
    }
    for (int i = 0; i < o->levels * o->objectives; i++)
        vec_push(&o->values, NAN);
    vec_push(&o->fates, PENDING);
    vec_push(&o->rests, false);
}

void observed_score(struct observed *o, int32_t trial, int level,
                    const struct score *score)
{
    double *at = values_of(o, trial, level);
    o->changes++;
    if (!score_finite(score)) {
        observed_worst(o, trial);
        return;
    }
    if (o->fates.v[trial] == WORST)
        return;
    o->finite[level] += isnan(*at);
    for (int i = 0; i < o->objectives; i++)
        at[i] = score->v[i];
    o->fates.v[trial] = TOLD;
}

void observed_worst(struct observed *o, int32_t trial)
{
    o->changes++;
    if (o->fates.v[trial] == TOLD)
        for (int l = 0; l < o->levels; l++)
            o->finite[l] -= !isnan(*values_of(o, trial, l));
    o->fates.v[trial] = WORST;
}

void observed_over(struct observed *o, int32_t trial, bool beaten)
{
    o->changes++;
    o->rests.v[trial] = true;
    if (o->fates.v[trial] == PENDING)
        o->fates.v[trial] = beaten ? WORST : DROPPED;
}

void observed_rest(struct observed *o, int32_t trial, bool rests)
{
    o->changes += o->rests.v[trial] != rests;
    o->rests.v[trial] = rests;
}

/* ---- looking ---- */

int32_t observed_trials(const struct observed *o)
{
    return (int32_t)o->fates.n;
}

const double *observed_point(const struct observed *o, int32_t trial)
{
    return &o->points.v[(size_t)trial * (size_t)o->dims];
}

bool observed_rests(const struct observed *o, int32_t trial)
{
    return o->rests.v[trial];
}

int observed_level(const struct observed *o, int enough)
{
    int any = -1;
    for (int l = o->levels - 1; l >= 0; l--) {
        if (o->finite[l] >= enough)
            return l;
        if (o->finite[l] > 0)
            any = l;
    }
    return any;
}

enum standing observed_standing(const struct observed *o, int level, int32_t trial,
                                struct standing_rank *rank)
{
    switch (o->fates.v[trial]) {
    case PENDING: return STANDING_PENDING;
    case WORST: return STANDING_WORST;
    case DROPPED: return STANDING_NONE;
    default: break;
    }
    for (int l = level; l >= 0; l--)
        if (!isnan(*values_of(o, trial, l))) {
            *rank = (struct standing_rank){level - l, *values_of(o, trial, l), trial};
            return STANDING_FINITE;
        }
    return STANDING_NONE;
}

bool observed_before(const struct standing_rank *a, const struct standing_rank *b)
{
    if (a->below != b->below)
        return a->below < b->below;
    if (a->value != b->value)
        return a->value < b->value;
    return a->trial < b->trial;
}

/* Of so many scores, in fronts, the first `want` by front; of the front that has more
 * than are wanted, those that add most to the hypervolume. Their value is half a front
 * less. */
static void prefer(const struct score scores[], const uint32_t front[], size_t n,
                   size_t want, double value[])
{
    struct score *last = mem_alloc(n * sizeof(*last));
    uint32_t *who = mem_alloc(n * sizeof(*who)), *chosen = mem_alloc(n * sizeof(*chosen));
    size_t in_last = 0, before = 0;
    for (uint32_t k = 1; before + in_last < want && before + in_last < n; k++) {
        before += in_last;
        in_last = 0;
        for (size_t i = 0; i < n; i++)
            if (front[i] == k) {
                last[in_last] = scores[i];
                who[in_last++] = (uint32_t)i;
            }
    }
    for (size_t i = 0; i < n; i++)
        value[i] = front[i];
    if (want - before < in_last) {
        hypervolume_choose(last, in_last, want - before, chosen);
        for (size_t i = 0; i < want - before; i++)
            value[who[chosen[i]]] -= 0.5;
    }
    free(last);
    free(who);
    free(chosen);
}

void observed_place(const struct observed *o, int level, struct standing_rank ranks[],
                    int n, int want)
{
    struct score *scores = mem_alloc((size_t)n * sizeof(*scores));
    uint32_t *front = mem_alloc((size_t)n * sizeof(*front));
    double *value = mem_alloc((size_t)n * sizeof(*value));
    for (int below = 0; o->objectives > 1 && below <= level && want > 0; below++) {
        int count = 0, k = 0;
        for (int i = 0; i < n; i++) {
            const double *values = values_of(o, ranks[i].trial, level - below);
            if (ranks[i].below != below)
                continue;
            scores[count] = (struct score){{0}};
            for (int v = 0; v < o->objectives; v++)
                scores[count].v[v] = values[v];
            count++;
        }
        fronts_sort(scores, (size_t)count, NULL, front);
        prefer(scores, front, (size_t)count, (size_t)want, value);
        for (int i = 0; i < n; i++)
            if (ranks[i].below == below)
                ranks[i].value = value[k++];
        want -= count;
    }
    free(scores);
    free(front);
    free(value);
}
