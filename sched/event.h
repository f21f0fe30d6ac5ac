/* Events: everything that ever happens to a sweep.
 *
 * The journal is a list of these, the sweep's state (sched/sweep.h) is what
 * applying them in order makes. An event carries what was drawn or measured and
 * what was decided, so that applying it again needs no clock, no random numbers
 * and no floating-point function of this machine.
 *
 * Pointers in an event belong to whoever made it and need live only as long as the
 * call that takes it. */
#ifndef SCHED_EVENT_H
#define SCHED_EVENT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/*    name      what happened */
#define EVENT_MAP(X)                                                                     \
    X(EPOCH, epoch)     /* a controller began: first line of each journal file */        \
    X(TRIAL, trial)     /* a configuration was drawn or given */                         \
    X(START, start)     /* work was handed to a slot: an attempt exists */               \
    X(REPORT, report)   /* metrics of a trial at a step, and the decision */             \
    X(SAVED, saved)     /* the program said that its checkpoint holds a step */          \
    X(END, end)         /* an attempt is over */                                         \
    X(STOP, stop)       /* a person stopped a trial, or finished the sweep (trial -1) */ \
    X(PAUSE, pause)     /* the sweep pauses: nothing new starts, what runs is saved */   \
    X(RESUME, resume)   /* it goes on */                                                 \
    X(SET, set)         /* a setting was changed: `rung resume --set` */                 \
    X(JOB, job)         /* a job was submitted, joined or ended (for the executor) */    \
    X(FINISH, finish)   /* the sweep is over */                                          \
    X(ACCOUNT, account) /* what Slurm's accounting says of an attempt that is over */    \
    X(KNOWN, known)     /* what a trial of an earlier sweep came to: search.from */

enum event_kind {
    EVENT_NONE,
#define EVENT_ENUM_(NAME, name) EVENT_##NAME,
    EVENT_MAP(EVENT_ENUM_)
#undef EVENT_ENUM_
        EVENT_KINDS
};
const char *event_name(enum event_kind kind); /* "report" */
enum event_kind event_kind_of(struct slice name);

enum decision { DECISION_NONE, DECISION_CONTINUE, DECISION_PAUSE, DECISION_STOP };
const char *decision_name(enum decision d); /* "continue"; "none" */
enum decision decision_of(struct slice name);

/* How an attempt ended. The third column: what it costs the trial.
 *   OWN    the program did as it was told, or came to its own end
 *   FAULT  the program's failure: costs a retry
 *   SITE   not the program's failure: costs nothing */
#define OUTCOME_MAP(X)                                                                   \
    X(PAUSED, paused, OWN)                                                               \
    X(COMPLETED, completed, OWN)                                                         \
    X(STOPPED, stopped, OWN)                                                             \
    X(FAILED, failed, FAULT)                                                             \
    X(HUNG, hung, FAULT)                                                                 \
    X(OOM, oom, FAULT)                                                                   \
    X(PREEMPTED, preempted, SITE)                                                        \
    X(TIMEOUT, timeout, SITE)                                                            \
    X(NODE_FAIL, node_fail, SITE)                                                        \
    X(CANCELLED, cancelled, SITE)                                                        \
    X(INTERRUPTED, interrupted, SITE)                                                    \
    X(LOST, lost, SITE)                                                                  \
    X(LAUNCH_FAILED, launch_failed, SITE)

enum outcome {
#define OUTCOME_ENUM_(NAME, name, class) OUTCOME_##NAME,
    OUTCOME_MAP(OUTCOME_ENUM_)
#undef OUTCOME_ENUM_
        OUTCOMES
};
enum outcome_class { OUTCOME_IS_OWN, OUTCOME_IS_FAULT, OUTCOME_IS_SITE };
const char *outcome_name(enum outcome o);
int outcome_of(struct slice name); /* enum outcome, or -1 */
enum outcome_class outcome_class(enum outcome o);

/* What rung itself did to end an attempt; NOTHING when the program ended alone. */
#define CAUSE_MAP(X)                                                                     \
    X(NOTHING, nothing)                                                                  \
    X(HANG, hang)               /* silence longer than `timeout` */                      \
    X(AFTER_PAUSE, after_pause) /* stayed after it was told to pause */                  \
    X(AFTER_STOP, after_stop)   /* stayed after it was told to stop */                   \
    X(PAUSING, pausing)         /* the sweep pauses */                                   \
    X(USER_STOP, user_stop)     /* `rung stop` */                                        \
    X(EVICTED, evicted)         /* the slot is being taken away */                       \
    X(NO_LAUNCH, no_launch)     /* the program could not be started at all */            \
    X(AGENT_GONE, agent_gone)   /* its agent or its job disappeared */

enum end_cause {
#define CAUSE_ENUM_(NAME, name) CAUSE_##NAME,
    CAUSE_MAP(CAUSE_ENUM_)
#undef CAUSE_ENUM_
        CAUSES
};
const char *cause_name(enum end_cause c);
int cause_of(struct slice name);

/* Where a configuration came from. The numbers are in the journal. */
enum given {
    GIVEN_NOT,   /* the searcher drew it */
    GIVEN_START, /* an entry of start: */
    GIVEN_ADDED, /* asktell's add */
};

#define EVENT_SLOTS_MAX 100000 /* of an agent, and of a sweep */

struct metric {
    struct slice name; /* decoded text */
    double value;      /* NaN and infinities are values */
};

struct numbers {
    const double *v;
    int n;
};

/* Facts of an attempt's end, from the agent (and the shim below it). */
struct end_facts {
    int exit_code; /* -1: ended by a signal, or unknown */
    int signal;    /* 0: none */
    bool oom;      /* the kernel's OOM killer struck in it */
    enum end_cause cause;
    enum decision answered; /* the last answer that the program was given */
    int64_t last_step; /* highest step it reported (told to pause: until then), 0: none */
    uint32_t reports;  /* how many reports it made */
    double started, ended; /* wall clock of the agent */
    double cpu_seconds;    /* user + system of all its processes; NaN unknown */
    double max_rss;        /* bytes; NaN unknown */
    double gpu_seconds;    /* GPUs it was given, times its time; NaN none, or unknown */
    /* of these, where their driver told, on the agent's node; NaN unknown: */
    double gpu_util;     /* mean share of the time in which they computed, 0 to 1 */
    double gpu_mem_peak; /* bytes; of the one that had most in use */
    double gpu_energy;   /* joules, of all together */
    double energy;       /* joules, of its nodes; NaN unknown */
    struct slice node, slurm_job, slurm_step, slurm_state; /* empty: none */
    struct slice note; /* a sentence for `rung show`, or empty */
};

/* For initialisers of end_facts: nothing is known of what it used. (math.h) */
#define USAGE_UNKNOWN                                                                    \
    .cpu_seconds = NAN, .max_rss = NAN, .gpu_seconds = NAN, .gpu_util = NAN,             \
    .gpu_mem_peak = NAN, .gpu_energy = NAN, .energy = NAN

struct event {
    enum event_kind kind;
    double time;     /* wall clock of the controller, seconds since 1970 UTC */
    int32_t trial;   /* -1 where none is meant */
    int32_t attempt; /* from 1; 0 where none is meant */
    union {
        struct {
            int32_t epoch;        /* from 1 */
            int32_t after;        /* the predecessor, 0 for none */
            int64_t after_bytes;  /* its accepted length */
            int64_t after_events; /* events of all epochs up to there */
            struct slice name;    /* of the sweep, which the file alone may not tell */
            struct slice version, host, user, command; /* who began it */
            struct slice git; /* revision of the directory, or empty */
            int64_t pid;
            uint64_t file_hash; /* hash64 of sweep.yaml */
        } epoch;
        struct {
            int32_t parent;   /* whose checkpoint it goes on from (pbt); -1: none */
            int32_t source;   /* parent's attempt that paused with it; 0 */
            int64_t start;    /* the step that it holds; 0 */
            int32_t replaces; /* the trial whose place it takes, and that ends so; -1 */
            int32_t bracket;
            enum given given;
            uint32_t tries;      /* redraws before it */
            int64_t cursor;      /* the searcher's, after this draw (grid, sobol) */
            struct slice params; /* JSON object, parameters in file order */
            struct numbers u;    /* the point; none for given ones */
        } drawn;
        struct {
            uint64_t nonce;
            uint64_t agent; /* which agent's */
            int32_t slot;   /* which slot of it */
            uint32_t ask;   /* the number of the ask that this answers */
            int64_t start, until;
            int32_t from;          /* the rung it is promoted out of, or -1 */
            bool final;            /* it is a finalist from here on */
            struct slice override; /* JSON object of parameters changed by retry.oom,
                                      empty: none */
        } start;
        struct {
            uint32_t number; /* of this attempt, from 1 */
            int64_t step;
            double elapsed; /* seconds since the attempt began */
            const struct metric *metrics;
            int n_metrics;
            enum decision decision; /* NONE: to be decided by applying it */
            int32_t rung; /* recorded at, -1: none; with decision NONE: ignored */
        } report;
        struct {
            uint32_t number; /* of what this attempt said so, from 1; it counts up */
            int64_t step;
        } saved;
        struct {
            enum outcome outcome;
            int64_t saved; /* step that its checkpoint surely holds by the way it
                              ended; -1: nothing beyond what was said */
            struct end_facts facts;
        } end;
        struct {
            struct slice reason; /* STOP, PAUSE, RESUME, FINISH: a sentence */
        } why;
        struct {
            struct slice key, value;
        } set;
        struct {
            struct slice job;    /* the executor's name for it */
            struct slice change; /* "submitted", "joined", "ended", "evicted" */
            uint64_t agent;      /* joined: who */
            struct slice host;
            int32_t slots; /* EVENT_SLOTS_MAX at most */
        } job;
        struct {
            struct slice job, step; /* what was looked up; step empty: the job alone */
            struct slice state;     /* of the step or, if there is none, of the job */
            struct slice node;
            /* of the step; NaN: unknown, or there is none */
            double elapsed, cpu_seconds, max_rss;
            double energy; /* and its nodes were its own */
        } account;
        struct {
            struct slice params;   /* JSON object, of those that this sweep has, too */
            bool failed, more;     /* more: the next trial of it follows */
            struct numbers values; /* of the metric, in the user's sign, at each of this
                                      sweep's levels; NaN: it did not get there */
        } known; /* trial: its number in that sweep, where they ascend */
    };
};

#endif
