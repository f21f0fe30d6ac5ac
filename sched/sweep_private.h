/* What the files of the state machine share. */
#ifndef SCHED_SWEEP_PRIVATE_H
#define SCHED_SWEEP_PRIVATE_H

#include "base/hash.h"
#include "base/vec.h"
#include "sched/cmaes.h"
#include "sched/gp.h"
#include "sched/median.h"
#include "sched/observed.h"
#include "sched/rung.h"
#include "sched/sweep.h"
#include "sched/tpe.h"

struct bracket {
    struct rung *rungs; /* [sweep_rungs()] */
    int first;          /* the level that is its first rung */
    int64_t members;    /* trials drawn into it */
    /* where rungs wait for all: */
    int64_t size; /* how many it takes */
    bool closed;  /* a trial was promoted: it takes no more, whatever its size */
};

struct sweep {
    const struct spec *spec;
    struct levels levels;
    VEC(struct bracket) brackets;
    /* those that promote still, as get_job looks: the highest milestone first, then the
     * lower bracket */
    VEC(struct rung *) order;
    struct median *median; /* NULL with another method */
    VEC(struct trial) trials;
    struct sweep_totals totals;
    VEC(struct score)
    bettered;               /* the best, turned, from which the plateau counts: those
                               that are not as good as another in all objectives */
    int32_t open_finalists; /* finalists that run or are to go on */
    int32_t at_max;         /* trials, finalists or not, that are complete */
    int32_t open_others;    /* running, and no finalists */
    uint32_t records;       /* in all rungs: the next one's order */
    int64_t total;          /* spec_total() as set now: where cursor ends, for a grid */
    int64_t cursor;         /* the searcher's */
    int32_t starts_used;    /* entries of start: made into trials */
    /* what a search by a model knows: NULL with another one */
    struct observed *seen; /* the known trials, then the sweep's */
    struct cmaes *cmaes;
    struct gp *gp;      /* made by the first draw */
    int32_t known;      /* trials of an earlier sweep */
    int32_t known_last; /* the number there of the last one; -1: none */
    bool known_all;     /* and no more follow */
    struct pbt *pbt;    /* NULL with another method */
    int32_t children;   /* trials that pbt made: not the search's */
    bool exhausted;     /* a grid whose last points break constraints */
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
    return &sw->brackets.v[t->bracket].rungs[k];
}

static inline int32_t sweep_number(const struct sweep *sw, const struct trial *t)
{
    return (int32_t)(t - sw->trials.v);
}

/* ERR_PROTO, with a sentence: the event cannot follow on this state. */
int sweep_impossible(struct err *e, const struct event *ev, const char *why);

/* sched/seen.c: what searchers and the population are told of events. */
int sweep_see_trial(struct sweep *sw, const struct event *ev, struct err *e);
/* What a trial came to at a step, if that is a level. */
void sweep_see_value(struct sweep *sw, const struct trial *t, int64_t step,
                     const struct score *turned);
/* It runs or pauses from now on. */
void sweep_see_state(struct sweep *sw, const struct trial *t, enum trial_state state);
/* It is over; a trial that came to its own end early has its value at max_t. */
void sweep_see_end(struct sweep *sw, const struct trial *t, enum trial_state state,
                   bool by_person);
int sweep_apply_known(struct sweep *sw, const struct event *ev, struct verdict *v,
                      struct err *e);

void sweep_add_bracket(struct sweep *sw);
void sweep_free_brackets(struct sweep *sw);

/* How many of a rung's best may go on, as far as is known now. */
uint32_t sweep_seats(const struct sweep *sw, struct rung *r);

/* The bracket that is being filled, or the number of the one to be opened for that. */
int halving_open(const struct sweep *sw);
/* Have all come to the rung that will: are its best to go on now? */
bool halving_due(const struct sweep *sw, struct rung *r);
/* Takes rungs out of the order whose best have all gone on, and which take no more. */
void halving_forget_over(struct sweep *sw);
/* To be told when a trial begins to be on its way to a rung, and when it is no more:
 * recorded there or elsewhere, or ended. Before and after that is changed in it. */
void halving_comes(struct sweep *sw, const struct trial *t);
void halving_leaves(struct sweep *sw, const struct trial *t);

/* Population based training (sched/pbt.c). */
struct pbt *pbt_new(int rungs);
void pbt_free(struct pbt *p);
/* A trial is about to be made, at point u[space_dims]. */
void pbt_add(struct sweep *sw, const struct event *ev, const double u[],
             const struct value values[]);
/* A trial was recorded at a rung. */
void pbt_recorded(struct sweep *sw, int32_t trial);
/* Value, rank, size and cutoff of a trial as it stands at its rung now. */
void pbt_stand(const struct sweep *sw, int32_t trial, struct verdict *v);
/* The paused trial whose turn it is, -1: none; and whether another shall take its place
 * rather than that it goes on. */
int32_t pbt_turn(const struct sweep *sw);
bool pbt_beaten(const struct sweep *sw, int32_t trial);
/* The point of the trial that is to be drawn, by its parent's. ERR_RANGE as
 * search_draw().
 */
int pbt_draw(struct sweep *sw, struct draw *d, struct err *e);

/* Will the search make no more trials, as set now? */
bool sweep_search_over(const struct sweep *sw);

/* Makes sw->gp where draws need it. */
int sweep_model(struct sweep *sw, struct err *e);
/* What a draw by what is seen depends on. It is a copy, as the spec may change meanwhile:
 * auto may come to another searcher when slots are set. */
struct learner {
    const struct space *space;
    uint64_t seed;
    struct gp *gp; /* the sweep's; NULL: by the rule */
    struct tpe_rule rule;
};
struct learner sweep_learner(const struct sweep *sw);
int learner_draw(const struct learner *l, const struct observed *seen, uint32_t trial,
                 struct draw *d, struct err *e);
/* The event of a draw into sw->u and sw->values. */
void sweep_drawn_event(struct sweep *sw, const struct draw *d, int bracket,
                       struct event *ev);

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

/* A value of the first objective in the sign that smaller is better in, and back. */
static inline double sweep_turn(const struct sweep *sw, double v)
{
    return sw->spec->objective[0].maximize ? -v : v;
}

/* The same of a score. */
static inline struct score sweep_turned(const struct sweep *sw, struct score s)
{
    for (int i = 0; i < OBJECTIVES_MAX; i++)
        s.v[i] = sw->spec->objective[i].maximize ? -s.v[i] : s.v[i];
    return s;
}

#endif
