/* For tests: a CPU that exchanges with others as GPUs do, by itself, over the CPU's
 * collectives. */
#ifndef WORKER_TRAIN_GROUPED_H
#define WORKER_TRAIN_GROUPED_H

#include "gpu/device.h"
#include "worker/train/comm.h"

/* It cannot fail; its name is "the host". */
extern const struct device_group_ops grouped_ops;

/* Makes a device of this thread, whose ranks are c's, one that has such a group. *ops,
 * which it has from now on, is the caller's. */
void grouped_make(struct device *d, struct device_ops *ops,
                  const struct device_group_ops *group, struct comm *c);

#endif
