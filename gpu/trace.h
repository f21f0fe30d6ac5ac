/* What a GPU computes and copies over a while, as CUPTI tells: for benchmarks. */
#ifndef GPU_TRACE_H
#define GPU_TRACE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From when to when, in ns. */
struct trace_span {
    uint64_t start, end;
    bool gathers; /* it brings samples */
};

/* Seconds in which there is any of the spans; without those that gather unless `all`.
 * Sorts them. */
double trace_covered(struct trace_span *spans, size_t n, bool all);

struct trace;

/* Of all GPUs of this process, one at a time. NULL: ERR_UNSUPPORTED, this build is
 * without CUPTI, or ERR_IO, it fails, as where only root may profile. */
struct trace *trace_begin(struct err *e);
/* After all work is done. *spans is the trace's, until trace_free(). ERR_FULL: some was
 * lost; ERR_NOENT: there was none; ERR_IO. */
int trace_end(struct trace *t, struct trace_span **spans, size_t *n, struct err *e);
void trace_free(struct trace *t); /* NULL is fine */

#endif
