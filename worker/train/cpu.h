/* The CPU as a device: oneDNN, or without it OpenBLAS, for convolutions and products;
 * loops for the rest. */
#ifndef WORKER_TRAIN_CPU_H
#define WORKER_TRAIN_CPU_H

#include "gpu/device.h"

/* threads: of loops and libraries, at least 1. device_close() it. */
struct device *cpu_open(int threads);

#endif
