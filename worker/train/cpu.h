/* The CPU as a device: OpenBLAS for products, loops for the rest. */
#ifndef WORKER_TRAIN_CPU_H
#define WORKER_TRAIN_CPU_H

#include "worker/train/device.h"

/* threads: of OpenBLAS, at least 1. device_close() it. */
struct device *cpu_open(int threads);

#endif
