/* What the decisions of a sweep depend on: the part of the sweep file that
 * sched/ knows. Filled by the sweep file's parser, constant afterwards. */
#ifndef SCHED_SPEC_H
#define SCHED_SPEC_H

#include "sched/levels.h"
#include "sched/score.h"
#include "sched/search.h"
#include "sched/space.h"

enum schedule_method {
    SCHEDULE_ASHA,
    SCHEDULE_HYPERBAND,
    SCHEDULE_SHA,
    SCHEDULE_MEDIAN,
    SCHEDULE_PBT,
    SCHEDULE_NONE
};
enum schedule_mode { MODE_PROMOTE, MODE_STOP };
extern const char *const schedule_names[]; /* NULL-terminated, by enum */
extern const char *const mode_names[];

/* A metric that is optimised. */
struct objective {
    char *name;
    bool maximize; /* mode: max; metrics are negated inside sched/ */
};

static inline const char *objective_mode(const struct objective *o)
{
    return o->maximize ? "max" : "min";
}

struct spec {
    uint64_t seed;
    struct objective objective[OBJECTIVES_MAX];
    int objectives; /* at least one; the names of the others are NULL */

    struct space *space;
    struct value **start; /* [n_start][space_count]: tried first, ABSENT is drawn */
    int n_start;

    enum search_method search;
    bool chosen;       /* search is what auto took: search_best() */
    int64_t trials;    /* of the search; for grid: draws of the rest for each point */
    bool multivariate; /* tpe, bohb: all dimensions at once */

    enum schedule_method schedule;
    enum schedule_mode mode;
    int64_t grace_period, max_t; /* in steps */
    int64_t interval;            /* of pbt: steps between two milestones; 0: not said */
    struct eta eta;
    int brackets, finalists;
    int min_trials; /* of median: so many others are needed for a comparison */
    bool in_place;  /* a trial may be promoted while it runs (not with trials_per_job 1,
                       nor with {until} in the command) */
    bool restart;   /* a promoted trial starts from step 0 */

    double improvement; /* of the metric: what is less does not end a plateau; >= 0,
                           and 0 with several objectives */

    int retry_failures;
    int oom_param; /* index of retry.oom's parameter, -1: none */
    double oom_factor, oom_min;
};

void spec_init(struct spec *s);  /* the defaults of doc/sweep-file.md */
void spec_clear(struct spec *s); /* frees what it owns, the space included */
/* Do trials meet at milestones, below max_t, where they are compared? */
bool spec_has_rungs(const struct spec *s);
/* Does grace_period count, before which none is compared? */
bool spec_has_grace(const struct spec *s);
/* Do they wait there for all others of their bracket? */
bool spec_synchronous(const struct spec *s);
/* The levels of the first bracket: at least one, max_t. As levels_make(). */
int spec_levels(const struct spec *s, struct levels *lv, struct err *e);
/* Do they pause there, and only the best go on? */
bool spec_promotes(const struct spec *s);
/* Appends the names of the metrics: "val_loss", "val_loss and latency". */
void spec_metrics(const struct spec *s, struct str *out);
/* Appends "metrics":{"val_loss":"min","latency":"min"}. */
void spec_metrics_json(const struct spec *s, struct str *out);
/* How many trials the search makes in all: `trials`, or for grid its points times
 * `trials` and the start entries. */
int64_t spec_total(const struct spec *s);
/* The same without the points of a grid that are known to be skipped. */
int64_t spec_planned(const struct spec *s);

#endif
