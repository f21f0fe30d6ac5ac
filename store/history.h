/* Everything a sweep's tables need beside its state: every report, decision and
 * attempt, by column. Built event by event from a replay; sched/'s state stays small
 * because this is kept apart.
 *
 * A million reports of two metrics take 80 MB: nothing is allocated for a single one,
 * metrics lie in one array of (column, value), and a text is kept once. */
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
    int64_t first_step; /* it started from this one */
    int64_t last_step;  /* the highest it reported; -1: none */
    double started;     /* by the clock of its node, the controller's while it is open */
    double ended;       /* NaN: still open */
    bool open;
    enum outcome outcome; /* once it is over */
    enum end_cause cause;
    int exit_code, signal; /* -1: not known */
    uint64_t agent;
    int32_t slot;
    uint32_t last_report; /* private: index of its latest row in reports, plus 1 */
    double cpu_seconds, max_rss, gpu_seconds, gpu_util, gpu_mem_peak, gpu_energy, energy;
    /* "" for none; owned by the history */
    const char *override, *slurm_job, *slurm_step, *slurm_state, *node, *note;
};

/* Texts, each once, numbered in the order they came: v[0 .. n). */
struct texts {
    char **v;
    size_t n, cap;
    struct map index;
};

struct history {
    struct texts names; /* of metrics, in the order of first appearance */
    VEC(struct report_row) reports;
    VEC(struct metric_cell) cells;
    VEC(struct decision_row) decisions;
    VEC(struct attempt_row) attempts;
    double created; /* time of the first event */
    double last;    /* time of the last event */
    int64_t events;
    int32_t epoch;
    const char *host, *user, *command, *git, *version; /* of the first epoch; "" */
    /* private */
    struct texts texts;
    struct map attempt_index;
};

void history_init(struct history *h);
void history_clear(struct history *h);
/* Takes in one event with the verdict it had; sw is the state after it. Two reports of an
 * attempt at the same step, before anything is decided there, become one row. */
void history_add(struct history *h, const struct event *ev, const struct verdict *v,
                 const struct sweep *sw);
/* The row of an attempt, or NULL. It moves with the next history_add(). */
const struct attempt_row *history_attempt(const struct history *h, int32_t trial,
                                          int32_t attempt);

#endif
