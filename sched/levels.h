/* Milestones, in exact arithmetic. */
#ifndef SCHED_LEVELS_H
#define SCHED_LEVELS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The reduction factor as the decimal that the file holds: digits / 10^places. */
struct eta {
    int64_t digits;
    int places;
};

/* "3", "2.5", "1.05": a plain decimal > 1, at most 9 significant digits. */
int eta_parse(const char *text, struct eta *out, struct err *e);
double eta_value(struct eta eta);
/* floor(n / eta), exactly. n >= 0. */
int64_t eta_floor(int64_t n, struct eta eta);
/* n * eta^k rounded up, exactly, and the largest m for which m * eta^k is at most n. n up
 * to 2^31, and what exceeds that is 2^31. 0 <= k < LEVELS_MAX. */
int64_t eta_times(int64_t n, struct eta eta, int k);
int64_t eta_over(int64_t n, struct eta eta, int k);

#define LEVELS_MAX 512

/* Levels 0 .. n-1; step[n-1] == max_t is the last one, where a trial is complete. */
struct levels {
    int n;
    int64_t *step;
    bool even; /* max_t is one of the products itself */
};

/* The unrounded products r * eta^k by repeated multiplication, each rounded half up,
 * one not above its predecessor dropped, as long as they are < max_t; then max_t.
 * ERR_RANGE for max_t < r, r < 1, or more than LEVELS_MAX levels. */
int levels_make(struct levels *lv, int64_t r, struct eta eta, int64_t max_t,
                struct err *e);
/* The multiples of `interval` below max_t; then max_t. ERR_RANGE as above. */
int levels_every(struct levels *lv, int64_t interval, int64_t max_t, struct err *e);
/* Those of Hyperband, which has floor(log_eta(max_t / r)) + 1: the highest product up to
 * max_t is moved up to it. */
void levels_merge_last(struct levels *lv);
void levels_free(struct levels *lv);

/* The probability of bracket s (0 <= s < brackets <= lv->n): proportional to
 * S / ((S - s) * r_s), S = lv->n and r_s = step[s]. */
double bracket_probability(const struct levels *lv, int brackets, int s);
/* The bracket that u in [0, 1) draws. */
int bracket_draw(const struct levels *lv, int brackets, double u);

#endif
