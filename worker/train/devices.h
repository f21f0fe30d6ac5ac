/* Which device a training runs on: a GPU, by the plug-in that knows it, or the CPU. */
#ifndef WORKER_TRAIN_DEVICES_H
#define WORKER_TRAIN_DEVICES_H

#include "base/str.h"
#include "gpu/device.h"

/* "auto", "cpu", "cuda"; NULL at the end. */
extern const char *const device_kinds[];

/* Opens a device of a kind for this thread; the CPU with so many threads. "auto" is a GPU
 * where there is one, else the CPU: where there is one that cannot be used, for want of
 * the plug-in, or of a driver that is new enough, `notes` gets a line on it. NULL on
 * failure: ERR_NOENT where there is no GPU, or no driver; ERR_UNSUPPORTED where it cannot
 * be used; ERR_IO where it does not work or is somebody else's, of "auto", too. */
struct device *devices_open(const char *kind, int threads, struct str *notes,
                            struct err *e);

#endif
