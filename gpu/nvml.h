/* What the driver tells of GPUs: their use, memory, power, energy, and what they are.
 *
 * NVML (libnvidia-ml.so.1) comes with the driver and is opened at run time, so this is
 * built everywhere and costs nothing where there is no driver. Its header is not needed:
 * what is used of it is declared in gpu/nvml.c after NVIDIA's reference (NVML API, R550;
 * each function has kept that signature since the release that brought it), by these
 * symbols: nvmlInit_v2, nvmlShutdown, nvmlErrorString, nvmlSystemGetDriverVersion,
 * nvmlSystemGetCudaDriverVersion_v2, nvmlDeviceGetCount_v2,
 * nvmlDeviceGetHandleByIndex_v2, nvmlDeviceGetName, nvmlDeviceGetUUID,
 * nvmlDeviceGetMinorNumber, nvmlDeviceGetMemoryInfo and, from R510 on, ..._v2 (which
 * does not count what the driver keeps for itself), nvmlDeviceGetUtilizationRates,
 * nvmlDeviceGetPowerUsage, nvmlDeviceGetTotalEnergyConsumption,
 * nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetMigMode,
 * nvmlDeviceGetComputeMode, nvmlDeviceGetCudaComputeCapability,
 * nvmlDeviceGetTotalEccErrors. An older driver that lacks one of them is a driver that
 * does not tell that.
 *
 * A call may hang in the kernel when a GPU or its driver is broken: who must not hang
 * calls from a process of its own. */
#ifndef GPU_NVML_H
#define GPU_NVML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define NVML_TEXT 96 /* of a name, with NUL */

struct nvml;     /* the library; for one thread */
struct nvml_gpu; /* one of its GPUs, as long as it is open */

/* ERR_NOENT: this machine has no driver. ERR_VERSION: the library is not that of the
 * kernel's driver, or lacks what is older than any that we know. Else what NVML says. */
int nvml_open(struct nvml **n, struct err *e);
void nvml_close(struct nvml *n); /* NULL is fine */

struct nvml_driver {
    char version[NVML_TEXT]; /* "550.54.15"; "" where it does not tell */
    int cuda;                /* the newest that it can run, 12040 for 12.4; 0: unknown */
};
void nvml_driver(const struct nvml *n, struct nvml_driver *out);

int nvml_count(const struct nvml *n); /* GPUs that this process may use */
/* By its number, in the order of PCI, from 0; ERR_NOENT: there is none. */
int nvml_nth(const struct nvml *n, int index, struct nvml_gpu **g, struct err *e);
/* By a name as CUDA_VISIBLE_DEVICES has it: a number, or "GPU-" and a UUID or how that
 * begins. CUDA numbers the fastest GPU first, where a machine has several models and
 * CUDA_DEVICE_ORDER is not PCI_BUS_ID; NVML by PCI always. "minor:N" is /dev/nvidiaN.
 * ERR_NOENT: there is none. ERR_UNSUPPORTED: "MIG-...", a part of a GPU, whose use the
 * driver does not tell. */
int nvml_find(const struct nvml *n, const char *name, struct nvml_gpu **g, struct err *e);

/* What a GPU is doing. NaN: this one does not tell, or not to us. */
struct nvml_reading {
    double util;                /* share of the last second or less in which it computed
                                   anything, 0 to 1 */
    double mem_used, mem_total; /* bytes, of all processes */
    double power;               /* W */
    double energy;              /* J, since the driver was loaded */
};
/* ERR_IO: it tells nothing any more: it is lost, or wants a reset; the text says so. */
int nvml_read(const struct nvml *n, struct nvml_gpu *g, struct nvml_reading *out,
              struct err *e);

/* What a GPU is. */
struct nvml_about {
    char name[NVML_TEXT], uuid[NVML_TEXT]; /* "" where it does not tell */
    double memory;                         /* bytes; NaN */
    int capability;                        /* 90 for sm_90; 0: unknown */
    bool mig;                              /* it is cut into parts */
    bool prohibited;                       /* nobody may compute on it */
    bool exclusive;                        /* one process at a time may */
    int processes;                         /* that compute on it; -1: unknown */
    double uncorrected; /* ECC errors since the driver was loaded; NaN: unknown */
};
void nvml_about(const struct nvml *n, struct nvml_gpu *g, struct nvml_about *out);

#endif
