/* What a sweep will cost before anything runs: its own decisions (sched/sweep.h),
 * played through with invented metrics and a step that takes one unit of time.
 *
 * A trial keeps its rank for life in this play; what varies is the order in which good
 * and bad ones come. When the first trial is the best and each later one worse, fewest
 * are promoted or go on; when each is better than all before, nearly all are; in random
 * order it is what one may expect. Failures and retries are left out. */
#ifndef LAUNCHER_FORECAST_H
#define LAUNCHER_FORECAST_H

#include "sched/sweep.h"

enum forecast_case { FORECAST_BEST, FORECAST_EXPECTED, FORECAST_WORST, FORECAST_CASES };

/* A rung, or max_t (rung -1), of a bracket; of Hyperband, of all that begin at the same
 * level, which `bracket` is then. */
struct forecast_level {
    int bracket, rung;
    int64_t milestone;
    double reached[FORECAST_CASES]; /* trials recorded there; at max_t: complete */
};

struct forecast {
    int64_t trials;
    int n;
    struct forecast_level *levels; /* [n], brackets in order */
    double
        steps[FORECAST_CASES]; /* of training, repeated ones (restart: true) included */
    double attempts[FORECAST_CASES];
    double time[FORECAST_CASES]; /* from the first start to the last end, in steps */
};

void forecast_make(struct forecast *f, const struct spec *spec, int slots);
void forecast_free(struct forecast *f);

#endif
