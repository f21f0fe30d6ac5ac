/* `parse:`: metrics from what a program prints. Each line of its output (cut after 64 kB;
 * carriage returns end lines, too) is matched against a PCRE2 expression; what its named
 * groups matched are the metrics, and the group `step` is the step. */
#ifndef WORKER_AGENT_PARSE_H
#define WORKER_AGENT_PARSE_H

#include "base/err.h"
#include "sched/event.h"

#define PARSE_LINE_MAX 65536 /* bytes */

struct parse;

/* ERR_SYNTAX as parse_check() has it (worker/agent/run.h). */
int parse_new(const char *expression, struct parse **out, struct err *e);
void parse_free(struct parse *p);

/* Whether the first match in a line makes a report. Where an expression has alternatives
 * and `step` took no part in the match, the report is for *step, the last one before (-1:
 * none yet); else *step is set. Metrics whose groups took no part or do not hold a number
 * are left out. metrics live until the next call. */
bool parse_line(struct parse *p, const char *line, size_t n, int64_t *step,
                const struct metric **metrics, int *n_metrics);

/* A metric's value as programs print it: a decimal number, or nan, inf, infinity in any
 * case and with a sign. All n bytes. */
bool parse_value(const char *text, size_t n, double *out);

#endif
