/* What the files of the state machine share. */
#ifndef SCHED_SWEEP_PRIVATE_H
#define SCHED_SWEEP_PRIVATE_H

#include "base/hash.h"
#include "base/vec.h"
#include "sched/median.h"
#include "sched/rung.h"
#include "sched/sweep.h"

struct sweep {
    const struct spec *spec;
    struct levels levels;
    int n_brackets;
    struct rung **bracket; /* [n_brackets] -> [sweep_rungs()] */
    /* as get_job looks: the highest milestone first, then the lower bracket */
    VEC(struct rung *) order;
    struct median *median; /* NULL with another method */
    VEC(struct trial) trials;
    struct sweep_totals totals;
    int32_t open_finalists; /* finalists that run or are to go on */
    int32_t at_max;         /* trials, finalists or not, that are complete */
    int32_t open_others;    /* running, and no finalists */
    uint32_t records;       /* in all rungs: the next one's order */
    int64_t total;          /* spec_total() as set now: where cursor ends, for a grid */
    int64_t cursor;         /* the searcher's */
    int32_t starts_used;    /* entries of start: made into trials */
    bool exhausted;         /* a grid whose last points break constraints */
    struct queue again; /* interrupted or to be retried: promoted, higher ones first */
    struct queue fresh; /* drawn, never started */
    struct map slots;   /* slot_key() -> trial */
    /* memory of the events that sweep_draw() and sweep_start_event() make */
    double *u;
    struct value *values;
    struct str params, override;
};

uint64_t sweep_slot_key(uint64_t agent, int32_t slot);

static inline struct rung *sweep_rung_of(const struct sweep *sw, const struct trial *t,
                                         int32_t k)
{
    return &sw->bracket[t->bracket][k];
}

/* The milestone above rung k of the trial's bracket; max_t above the last. */
int64_t sweep_next_milestone(const struct sweep *sw, const struct trial *t, int32_t k);

/* get_job. probe >= 0: that running trial counts as paused at its rung, its slot as
 * free: would it go on? */
struct work sweep_work(struct sweep *sw, int32_t probe);

/* Puts a waiting trial where sweep_work() finds it. */
void sweep_enqueue(struct sweep *sw, int32_t trial);

/* Would retry.oom still lower the trial's parameter? */
bool sweep_oom_lowers(const struct sweep *sw, const struct trial *t);
/* {"batch_size":16}, or nothing when no override is in force. */
void sweep_override(const struct sweep *sw, const struct trial *t, struct str *out);

/* A value in the sign that smaller is better in, and back. */
static inline double sweep_turn(const struct sweep *sw, double v)
{
    return sw->spec->maximize ? -v : v;
}

#endif
