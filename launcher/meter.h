/* What the GPUs of attempts are doing, whatever the program: read every few seconds by a
 * process of its own, since a driver that hangs, or crashes who asks it, must not take
 * the agent along. Where there is no driver that process ends at once, and nothing is
 * known. */
#ifndef LAUNCHER_METER_H
#define LAUNCHER_METER_H

#include "wire/msg.h"

#define METER_GPUS_MAX 16 /* of a slot; more are not read */

/* In the environment of `rung exec`: the file that its first rank tells the GPUs of its
 * step in, which Slurm chose, as SLURM_STEP_GPUS has them: "2,3" are /dev/nvidia2 and 3.
 */
#define METER_STEP_ENV "RUNG_STEP_GPUS"

struct meter;

/* slots: how many attempts there may be at once. seconds: between two readings. Forks: to
 * be called before there are threads. NULL when that fails. */
struct meter *meter_new(int slots, double seconds);
void meter_free(struct meter *m); /* NULL is fine, here and below */

/* An attempt begins in a slot, on these GPUs: names as CUDA_VISIBLE_DEVICES has them, see
 * nvml_find(). Those that cannot be read are told of on stderr, once. */
void meter_begin(struct meter *m, int slot, const char *names);
/* What they did when they were read last. False: that is long ago, or they cannot be. */
bool meter_now(struct meter *m, int slot, struct gpu_use *out);
/* It is over: sets facts->gpu_util, gpu_mem_peak and gpu_energy, by the readings that
 * were taken, and these are NaN where there were none: the first is taken when it begins
 * and only counts for the energy. A phrase about a GPU that was lost meanwhile, or NULL;
 * it lives until the next meter_begin() of the slot. */
const char *meter_end(struct meter *m, int slot, struct end_facts *facts);

#endif
