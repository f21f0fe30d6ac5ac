/* Everything a sweep's tables need beside its state: every report, decision and
 * attempt, by column. Built event by event from a replay; sched/'s state stays small
 * because this is kept apart. */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include "base/hash.h"
#include "base/vec.h"
#include "sched/sweep.h"

struct report_row {
    int32_t trial, attempt, rung; /* rung: this report was recorded at, or -1 */
    int64_t step;
    double time, elapsed;
    uint32_t first_cell; /* its metrics: cells[first_cell .. first_cell + n_cells) */
    uint32_t n_cells;
};
struct metric_cell {
    uint32_t column; /* index into names */
    double value;
};
struct decision_row {
    double time;
    int32_t trial, bracket, rung;
    int64_t step;
    double value; /* user's sign */
    uint32_t rank, size;
    double cutoff;
    bool promote; /* a later promotion: the decision is "promote" */
    enum decision decision;
};
struct attempt_row {
    int32_t trial, attempt;
    int64_t first_step, last_step; /* first_step: the step it started from */
    double started, ended;         /* NaN: still open */
    bool open;
    enum outcome outcome;
    enum end_cause cause;
    int exit_code, signal;
    uint64_t agent;
    int32_t slot;
    double cpu_seconds, max_rss, gpu_seconds, energy;
    char *override, *slurm_job, *slurm_step, *slurm_state, *node, *note; /* "" for none */
};

struct history {
    VEC(char *) names; /* metric names, in the order of first appearance */
    VEC(struct report_row) reports;
    VEC(struct metric_cell) cells;
    VEC(struct decision_row) decisions;
    VEC(struct attempt_row) attempts;
    double created; /* time of the first event */
    double last;    /* time of the last event */
    int64_t events;
    int32_t epoch;
    char *host, *user, *command, *git, *version; /* of the first epoch */
    /* private */
    struct map attempt_index, name_index;
};

void history_init(struct history *h);
void history_clear(struct history *h);
/* Takes in one event with the verdict it had; sw is the state after it. */
void history_add(struct history *h, const struct event *ev, const struct verdict *v,
                 const struct sweep *sw);

#endif
