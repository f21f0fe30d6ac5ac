/* The state of a sweep and its decisions, as a pure function of its events.
 *
 * sweep_apply() is the one way to change the state, for a running controller and
 * for a replay alike: a report goes in without a decision and comes out with the
 * one that was made; the controller writes both to the journal; a replay applies
 * the line with its decision, and sweep_apply() says if it would have decided
 * otherwise. There is no clock, no I/O and no random number in here. The rules:
 * doc/scheduling.md. */
#ifndef SCHED_SWEEP_H
#define SCHED_SWEEP_H

#include "base/err.h"
#include "sched/event.h"
#include "sched/spec.h"

/* waiting: never started, or interrupted, or to be retried */
#define TRIAL_MAP(X)                                                                     \
    X(WAITING, waiting)                                                                  \
    X(RUNNING, running)                                                                  \
    X(PAUSED, paused)                                                                    \
    X(COMPLETED, completed)                                                              \
    X(STOPPED, stopped)                                                                  \
    X(FAILED, failed)

enum trial_state {
#define TRIAL_ENUM_(NAME, name) TRIAL_##NAME,
    TRIAL_MAP(TRIAL_ENUM_)
#undef TRIAL_ENUM_
        TRIAL_STATES
};
const char *trial_state_name(enum trial_state s);

struct trial {
    uint8_t state;    /* enum trial_state */
    uint8_t answered; /* enum decision the open (or last) attempt was given */
    bool given, finalist;
    bool heard;       /* it has reported the metric */
    bool complete;    /* reported step >= max_t with the metric */
    bool stop_asked;  /* by a person */
    bool merging;     /* nothing was decided at last_step yet: a second report may add */
    uint8_t reported; /* objectives known of last_step: bit i is objective i */
    int32_t replaced; /* pbt: by whom it was, -1: nobody */
    int32_t parent;   /* pbt: whose checkpoint it began from, -1: none */
    int32_t source;   /* the parent's attempt that had paused with it */
    int64_t born;     /* the step that it holds; 0 */
    int32_t bracket;
    int32_t rung;     /* highest it is recorded at, -1: none; a parent's at first */
    int32_t promoted; /* highest it was promoted out of, -1: none; a parent's at first */
    uint32_t order;   /* its number among all records, of the record at `rung` */
    /* by objective; those that are not there are 0 */
    struct score value;  /* what is recorded at `rung`, turned (smaller is better) */
    struct score metric; /* last reported, user's sign; NaN before any */
    struct score whole;  /* the last reported of all together, the same otherwise */
    struct score best;   /* its last finite one that the best before did not dominate,
                            user's sign; NaN before any */
    int64_t last_step, saved, until;
    int64_t best_step;  /* -1 before any */
    int32_t attempts;   /* made so far; the open one's number while running */
    int32_t failures;   /* that cost a retry */
    int32_t ooms;       /* overrides in force */
    int32_t short_ends; /* walltime ends in a row without a newer checkpoint */
    int32_t lost_ends;  /* ends in a row with an agent that was lost before a report */
    /* the open attempt */
    uint64_t nonce, agent;
    int32_t slot;
    uint32_t ask, last_number, last_save; /* the numbers of its last report and save */
    int64_t began_until;                  /* RUNG_UNTIL it was started with */
    int64_t attempt_start;                /* the step it began from */
    double attempt_started;
    double created, started, ended; /* wall clock; NaN: not yet */
    double seconds;                 /* of ended attempts */
    /* pbt: the last attempt that paused at a milestone, with a checkpoint: its directory
     * stays as it is for trials that are to begin from it. 0: none */
    int32_t kept;
    int32_t kept_rung;
    int64_t kept_step;
    const char *params; /* JSON object, owned by the sweep */
};

/* A report's or a start's consequence, for the journal, the program and the tables; of a
 * trial that takes another's place (pbt), the consequence for that one. */
struct verdict {
    enum decision decision;
    int64_t until; /* after CONTINUE: the next milestone */
    int32_t rung;  /* the rung that this report was recorded at, or that the start
                      promotes out of, or where who is replaced ends; -1: none */
    bool stale;    /* a repetition: kept, decides nothing */
    bool in_place; /* CONTINUE because it was promoted while running */
    bool mismatch; /* the event's own decision differs from the rules' */
    double value; /* recorded, user's sign; NaN when rung is -1; of several objectives the
                     first */
    uint32_t rank; /* from 1, among `size` recorded at the rung, this one included; of
                      pbt among the population; 0 for none */
    uint32_t size;
    double cutoff; /* user's sign; NaN: none, as with several objectives */
};

enum work_kind {
    WORK_WAIT,  /* nothing now, but reports or ends may still change that */
    WORK_TRIAL, /* start or go on with `trial` */
    WORK_DRAW,  /* a new trial is due: sweep_draw(), apply it, ask again */
    WORK_DONE,  /* nothing any more: the sweep is over, or it pauses and nothing runs */
};

struct work {
    enum work_kind kind;
    int32_t trial;
    int64_t start, until;
    int32_t from; /* the rung it is promoted out of, -1: none */
    bool final;
};

struct sweep;

/* spec must outlive the sweep. */
struct sweep *sweep_new(const struct spec *spec);
void sweep_free(struct sweep *sw);

/* Applies one event. v (may be NULL) is set for REPORT, START and TRIAL. 0, or ERR_PROTO
 * when the event cannot follow on this state (an unknown trial, a second open
 * attempt, ...), which changes nothing: a live controller has made a mistake, a
 * journal was damaged. */
int sweep_apply(struct sweep *sw, const struct event *ev, struct verdict *v,
                struct err *e);

/* What a free slot should do now. Changes nothing that can be seen. */
struct work sweep_next(struct sweep *sw);

/* Makes the TRIAL event of the next new trial (sweep_next() said WORK_DRAW): the next
 * start entry, else a draw; of pbt, once all of those are made, one that goes on from
 * another's checkpoint. Its params and u live until the next call. ERR_RANGE when
 * no configuration satisfies the constraints; a grid whose remaining points all break
 * them: ERR_NOENT, and *ev is the SET event to apply, by which there are no more trials.
 */
int sweep_draw(struct sweep *sw, struct event *ev, struct err *e);
/* Whether it will be a draw that depends on what trials came to, which on another machine
 * may differ in more than round-off. */
bool sweep_draws_by_model(const struct sweep *sw);
/* The same for given parameters (all ABSENT: a draw) and, if >= 0, a given bracket. */
int sweep_draw_given(struct sweep *sw, const struct value given[], int bracket,
                     struct event *ev, struct err *e);
/* Fills in whose checkpoint the next new trial begins from, and whose place it takes, in
 * its TRIAL event. */
void sweep_draw_parent(struct sweep *sw, struct event *ev);
/* Fills the rest of the START event that hands work w to a slot: trial, attempt,
 * start, until, from, final, override (lives until the next call). The caller adds
 * nonce, agent, slot, ask and time. */
void sweep_start_event(struct sweep *sw, const struct work *w, struct event *ev);

/* The parameters of an attempt as JSON: the trial's, with the overrides in force. */
void sweep_params(const struct sweep *sw, int32_t trial, struct str *out);

/* How an attempt ended, from the facts and the state before its end; and the step
 * that its checkpoint surely holds by that (-1: no more than was said). */
enum outcome sweep_outcome(const struct sweep *sw, int32_t trial,
                           const struct end_facts *facts, int64_t *saved);

/* Is the directory of that attempt of the trial one from which another may still begin:
 * the last that it has paused with, or one that a trial waits for which has reported
 * nothing yet? (pbt) */
bool sweep_keeps(const struct sweep *sw, int32_t trial, int32_t attempt);

/* ---- looking ---- */

int32_t sweep_trials(const struct sweep *sw);
const struct trial *sweep_trial(const struct sweep *sw, int32_t trial);
/* Can the searcher be told what an earlier sweep came to (KNOWN events)? It was not, or
 * not to the end, and there are no trials yet. It knows those up to number *after, -1: of
 * none. */
bool sweep_wants_known(const struct sweep *sw, int32_t *after);
const struct spec *sweep_spec(const struct sweep *sw);
const struct levels *sweep_levels(const struct sweep *sw);
/* Hyperband opens one after another. */
int sweep_brackets(const struct sweep *sw);
/* How many of the planned trials come to a level, if nothing fails. */
double sweep_expected(const struct sweep *sw, int level);
/* The level that the first rung of bracket s is. */
int sweep_first_level(const struct sweep *sw, int s);
/* The bracket of the next new trial: drawn, or the one that is being filled, or
 * sweep_brackets() for one that the trial opens. */
int sweep_next_bracket(const struct sweep *sw);
/* The milestone of rung k of bracket s. */
int64_t sweep_milestone(const struct sweep *sw, int s, int k);
int sweep_rungs(const struct sweep *sw, int s); /* rungs of bracket s (may be 0) */

struct rung_info {
    int64_t milestone;
    uint32_t reported, promoted, stopped;
    double cutoff; /* user's sign; NaN: none, as with several objectives */
};
struct rung_info sweep_rung(const struct sweep *sw, int s, int k);

struct sweep_totals {
    int32_t state[TRIAL_STATES];
    int32_t open;    /* running attempts */
    int64_t planned; /* trials that the search will make in all, as set now and as
                        far as known: a grid's last points may turn out impossible; and
                        those of pbt so far that took another's place */
    int32_t best;    /* trial, -1: none; of several objectives, that with the best first
                        one, of equal ones the best second one, and so on */
    double seconds;  /* of ended attempts */
    double cpu_seconds, gpu_seconds; /* as far as known */
    /* trials that reported the metric for the first time since the best was bettered by
     * more than spec.improvement, be it in small steps; with several objectives, since a
     * report came that none before was at least as good as in all of them */
    int32_t plateau;
    int64_t steps; /* sum of each trial's last step, at most INT64_MAX */
    int64_t reports;
    int32_t attempts;
    bool pausing, finishing, finished;
};
const struct sweep_totals *sweep_totals(const struct sweep *sw);

/* The open attempt in a slot: the trial, or -1. (For ask deduplication: compare its
 * `ask`.) */
int32_t sweep_in_slot(const struct sweep *sw, uint64_t agent, int32_t slot);

/* The n best trials by best value (ties: the higher step, then the lower trial) into
 * out[]; returns how many. With several objectives the first n in the order of
 * sched/fronts.h, listed by front, and in each by the best value of the first objective.
 */
int sweep_best(const struct sweep *sw, int32_t out[], int n);
/* The front that each trial is in by its best, from 1: Pareto's; -1: it has none.
 * front[sweep_trials()]. */
void sweep_fronts(const struct sweep *sw, int32_t front[]);
int sweep_front(const struct sweep *sw); /* how many trials are in the first */

#endif
