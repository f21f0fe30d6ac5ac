/* The device that a test of devices is about: the CPU, or, in the programs that `make
 * check-gpu` builds of the same tests, a GPU. Tests read and write a device's memory;
 * so the GPU's is kept in memory of the host, and copied there and back around each
 * operation. */
#ifndef WORKER_TRAIN_SUBJECT_H
#define WORKER_TRAIN_SUBJECT_H

#include "gpu/device.h"

/* threads: of the CPU. */
struct device *subject_open(int threads);

#endif
