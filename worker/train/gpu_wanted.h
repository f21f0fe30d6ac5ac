/* For the tests of `make check-gpu`: a program that links this ends before its main()
 * where there is no GPU, with 77, and says why. Where there is one it must work. */
#ifndef WORKER_TRAIN_GPU_WANTED_H
#define WORKER_TRAIN_GPU_WANTED_H

#include "gpu/device.h"

/* device_close() it. Ends the program where it fails. */
struct device *gpu_wanted(void);

#endif
