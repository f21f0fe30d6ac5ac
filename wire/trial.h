/* The line protocol between a trial program and its agent, on a unix socket: one
 * JSON object a line, one line back. (doc/trial-protocol.md.) */
#ifndef WIRE_TRIAL_H
#define WIRE_TRIAL_H

#include "base/err.h"
#include "base/vec.h"
#include "sched/event.h"

#define TRIAL_LINE_MAX    (1 << 20) /* bytes; a longer line is answered with an error */
#define TRIAL_METRICS_MAX 1000
#define TRIAL_NAME_MAX    128 /* bytes of a metric's name */

struct trial_line {
    bool report;  /* it has a step (and metrics) */
    int64_t step; /* >= 0 */
    bool saved;   /* it says that a step is saved */
    int64_t saved_step;
    VEC(struct metric) metrics; /* reused from call to call; names point into `names` */
    struct str names;
};

/* May a metric be called that? 1 to TRIAL_NAME_MAX bytes without control characters. (The
 * reserved names are looked for elsewhere.) */
bool trial_name_good(struct slice name);

/* *out is {.names = STR_INIT} before the first call. ERR_PROTO with a sentence for the
 * program's author: not an object, an unknown key, no step, a metric that is not a number
 * (its name said), reserved metric names (trial, attempt, step, rung, time, elapsed),
 * more than 1,000 metrics, a name over 128 bytes, a name twice, ...; *out is then
 * undefined but may be used again. */
int trial_line_parse(const char *text, size_t n, struct trial_line *out, struct err *e);
void trial_line_free(struct trial_line *l);

/* {"decision":"continue","until":9,"save":true} and a newline; until < 0 and save false
 * are left out. */
void trial_answer(struct str *out, enum decision d, int64_t until, bool save);
void trial_answer_error(struct str *out, const char *text); /* {"error":text} */

#endif
