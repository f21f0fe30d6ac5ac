/* How the GPUs of running attempts are doing. Agents tell their controller with each
 * beat; `rung run` shows it, and gpus.json in the sweep's directory tells `rung status`
 * and `rung watch`. Nothing is decided by it, so it is not in the journal. */
#ifndef LAUNCHER_GPU_ROWS_H
#define LAUNCHER_GPU_ROWS_H

#include "base/err.h"
#include "base/str.h"
#include "wire/msg.h"

struct gpu_row {
    int32_t trial, attempt;
    struct gpu_use use;
};

struct gpu_rows { /* a VEC(); all zero is an empty one */
    struct gpu_row *v;
    size_t n, cap;
};
void gpu_rows_free(struct gpu_rows *r);

/* As a JSON array: {"trial":12,"attempt":1,"gpus":1,"util":0.93,"mem_used":...,
 * "mem_total":...,"power":...}, what is unknown as "NaN". */
void gpu_rows_json(const struct gpu_rows *r, struct str *out);

/* Writes gpus.json, as of a wall clock's `now`; where there are none it is removed. */
int gpu_rows_write(const char *dir, double now, const struct gpu_rows *r, struct err *e);
/* Reads it into r: nothing where there is none, it cannot be read, or is older than a
 * minute: then nobody writes it any more. */
void gpu_rows_read(const char *dir, double now, struct gpu_rows *r);

#endif
