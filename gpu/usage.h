/* How busy a GPU is while this process uses it: a thread asks its driver (gpu/nvml.h)
 * every second, so that nobody waits for a driver that hangs. */
#ifndef GPU_USAGE_H
#define GPU_USAGE_H

#include "gpu/device.h"

struct usage;

/* name: as nvml_find() takes it. seconds: between two readings. NULL, as everywhere here,
 * is what nothing is known of: there is no such GPU, or no driver. */
struct usage *usage_begin(const char *name, double seconds);
/* The thread ends some time later. */
void usage_end(struct usage *u);

/* Fills out with what was read since the last call; where there was nothing, with what
 * was read last. NaN: unknown. */
void usage_take(struct usage *u, struct device_usage *out);

#endif
