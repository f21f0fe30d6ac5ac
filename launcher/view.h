/* What a person sees of a sweep: one renderer for `rung run`, `status` and `watch`. */
#ifndef LAUNCHER_VIEW_H
#define LAUNCHER_VIEW_H

#include "base/units.h"
#include "launcher/costs.h"
#include "launcher/gpu_rows.h"
#include "launcher/orders.h"
#include "sched/sweep.h"
#include "wire/keys.h"

struct view {
    const struct sweep *sw;
    const struct costs *costs;
    struct orders *orders;
    const struct sweepfile *file;
    const char *dir;
    const char *state; /* "running", "pausing", "paused", "finished", "interrupted" (no
                          controller serves it and it is not over) */
    const char *note;  /* a sentence, or NULL: what is waited for, what went wrong */
    const struct gpu_rows *gpus; /* of running attempts; NULL: none */
    struct controller_file who;  /* the controller; of it, the note and the calls */
    double now;                  /* wall clock */
    double uptime;               /* seconds that controllers served it, all epochs */
    int64_t
        steps_before; /* steps taken before this epoch, and its uptime: for the rate */
    double uptime_before;
    int slots, busy; /* held now, and running attempts */
    int32_t epoch;
};

/* Several lines: name and state; a bar for each rung with reported/promoted/running
 * counts and, where there is room, what it cost; slots; the best so far with its
 * parameters; trials by state; GPUs; cost; calls of Slurm; time left.
 * width: columns of the terminal (>= 40). colour: with ANSI colours. */
void view_screen(const struct view *v, int width, bool colour, struct str *out);
/* One line for a log: "12:04:05  trials 14/64  running 4  best 0.2134 (trial 9, step 27)
 * left ~3m". */
void view_line(const struct view *v, struct str *out);
/* {"name":...,"state":...} with sweep_state_json()'s members. */
void view_json(const struct view *v, struct str *out);
/* What is left, in seconds; NaN when nothing is known yet. */
double view_left(const struct view *v);
/* "27m 51s of slots, 1h 37m of CPUs (1h 21m used), 13m 55s of nodes, 27m 51s of GPUs";
 * from an hour on each is in hours, as accounts have it: "1.62 CPU-hours". */
void view_cost(const struct cost *cost, struct str *out);
/* One time of these: "27m 51s", "1.62 h". */
const char *view_cost_short(char buf[UNITS_MAX], double seconds);
/* Of one trial, "trial 12  2 GPUs  93 %  60 GiB of 80 GiB  412 W"; digits: columns of its
 * number. And of many, "32, of 32 trials: 87 % busy, ...". */
void view_gpu(const struct gpu_row *row, int digits, struct str *out);
void view_gpus_sum(const struct gpu_rows *r, struct str *out);
/* {"slot_hours":...,"saved_slot_hours":...,"rungs":[...]}, doc/sweep-file.md. */
void view_cost_json(const struct view *v, struct str *out);
/* The best trial with its parameters, some lines, as `run` ends with. */
void view_best(const struct view *v, struct str *out);

#endif
