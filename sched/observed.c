#include "sched/observed.h"

#include "base/mem.h"
#include "base/vec.h"

#include <math.h>

enum fate { PENDING, TOLD, WORST, DROPPED };

struct observed {
    const struct space *space;
    int dims, levels;
    uint64_t changes;
    VEC(uint8_t) fates; /* [trials] */
    VEC(double) points; /* [trials][dims] */
    VEC(double) values; /* [trials][levels], NaN: none */
    int32_t *finite;    /* [levels]: how many values, those of worst trials left out */
};

struct observed *observed_new(const struct space *sp, int levels)
{
    struct observed *o = mem_alloc(sizeof(*o));
    o->space = sp;
    o->dims = space_dims(sp);
    o->levels = levels;
    o->finite = mem_alloc((size_t)levels * sizeof(*o->finite));
    return o;
}

void observed_free(struct observed *o)
{
    if (!o)
        return;
    vec_free(&o->fates);
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
    struct observed *c = observed_new(o->space, o->levels);
    c->changes = o->changes;
    COPY(o->fates, c->fates);
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

static double *values_of(const struct observed *o, int32_t trial)
{
    return &o->values.v[(size_t)trial * (size_t)o->levels];
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
    for (int l = 0; l < o->levels; l++)
        vec_push(&o->values, NAN);
    vec_push(&o->fates, PENDING);
}

void observed_value(struct observed *o, int32_t trial, int level, double value)
{
    double *at = &values_of(o, trial)[level];
    o->changes++;
    if (!isfinite(value)) {
        observed_worst(o, trial);
        return;
    }
    if (o->fates.v[trial] == WORST)
        return;
    o->finite[level] += isnan(*at);
    *at = value;
    o->fates.v[trial] = TOLD;
}

void observed_worst(struct observed *o, int32_t trial)
{
    o->changes++;
    if (o->fates.v[trial] == TOLD)
        for (int l = 0; l < o->levels; l++)
            o->finite[l] -= !isnan(values_of(o, trial)[l]);
    o->fates.v[trial] = WORST;
}

void observed_over(struct observed *o, int32_t trial, bool beaten)
{
    o->changes++;
    if (o->fates.v[trial] == PENDING)
        o->fates.v[trial] = beaten ? WORST : DROPPED;
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
    const double *values = values_of(o, trial);
    switch (o->fates.v[trial]) {
    case PENDING: return STANDING_PENDING;
    case WORST: return STANDING_WORST;
    case DROPPED: return STANDING_NONE;
    default: break;
    }
    for (int l = level; l >= 0; l--)
        if (!isnan(values[l])) {
            *rank = (struct standing_rank){level - l, values[l], trial};
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
