/* The CPU as a device: OpenBLAS for products, oneDNN for convolutions, loops for the
 * rest. */
#ifndef WORKER_TRAIN_CPU_H
#define WORKER_TRAIN_CPU_H

#include "worker/train/device.h"

/* threads: of the libraries, at least 1. device_close() it. */
struct device *cpu_open(int threads);

#endif
