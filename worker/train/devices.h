/* Which device a training runs on: GPUs, by the plug-in that knows them, or the CPU. */
#ifndef WORKER_TRAIN_DEVICES_H
#define WORKER_TRAIN_DEVICES_H

#include "base/str.h"
#include "gpu/device.h"
#include "worker/train/comm.h"

/* "auto", "cpu", "cuda"; NULL at the end. */
extern const char *const device_kinds[];

struct devices_config {
    const char *kind;
    int threads;       /* of a CPU */
    struct comm *comm; /* the ranks, each of which gets a device; NULL: one alone */
    struct str *notes; /* gets a line where "auto" passes a GPU by; NULL: none */
};

/* Opens this rank's device, for this thread. All ranks at once, with the same result, and
 * all on GPUs or all on CPUs. "auto" is GPUs where each rank can have its own, else CPUs,
 * with a note if there is one that cannot be used: for want of the plug-in, of a driver
 * that is new enough, or of as many GPUs as there are ranks. NULL on failure: ERR_NOENT
 * where there is no GPU, or no driver; ERR_UNSUPPORTED where it cannot be used; ERR_INVAL
 * for fewer GPUs than ranks; ERR_IO where one does not work or is somebody else's, of
 * "auto", too. */
struct device *devices_open(const struct devices_config *c, struct err *e);

/* GPUs that this process could open; 0 if none. */
int devices_gpus(void);

#endif
