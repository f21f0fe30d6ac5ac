/* What librung_cuda.so gives to who opens it at run time: one table, of this name. */
#ifndef GPU_PLUGIN_H
#define GPU_PLUGIN_H

#include "gpu/device.h"

#define PLUGIN_FILE   "librung_cuda.so"
#define PLUGIN_SYMBOL "rung_cuda"

struct plugin {
    const char *version; /* of rung; another one's may have other interfaces */
    size_t ops_size;     /* sizeof(struct device_ops): so may one of the same version */
    /* GPUs that this process sees. Fails as fault.h says: ERR_NOENT where there is none,
     * or no driver, so that *n is at least 1. */
    int (*count)(int *n, struct err *e);
    /* One of them, from 0, for the thread that calls; *id is another for each GPU.
     * device_close() it. */
    int (*open)(int number, struct device **d, uint64_t *id, struct err *e);
};

extern const struct plugin rung_cuda;

#endif
