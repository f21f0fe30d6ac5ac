#include "gpu/nvml.h"

#include "base/mem.h"
#include "base/num.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- NVML's own, as NVIDIA's reference has it ---- */

enum { /* nvmlReturn_t */
       NVML_SUCCESS = 0,
       NVML_ERROR_NOT_SUPPORTED = 3,
       NVML_ERROR_NO_PERMISSION = 4,
       NVML_ERROR_INSUFFICIENT_SIZE = 7,
       NVML_ERROR_DRIVER_NOT_LOADED = 9,
       NVML_ERROR_FUNCTION_NOT_FOUND = 13,
       NVML_ERROR_GPU_IS_LOST = 15,
       NVML_ERROR_RESET_REQUIRED = 16,
       NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
};

enum { /* nvmlComputeMode_t */
       NVML_COMPUTEMODE_EXCLUSIVE_THREAD = 1,
       NVML_COMPUTEMODE_PROHIBITED = 2,
       NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3
};

enum { NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1, NVML_VOLATILE_ECC = 0 };

struct memory {
    unsigned long long total, free, used;
};
struct memory_v2 {
    unsigned version; /* the structure's size, and 2 in the highest byte */
    unsigned long long total, reserved, free, used;
};
struct utilization {
    unsigned gpu, memory; /* per cent */
};
struct process_info {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};

/*    what it is here   its symbol                                arguments */
#define SYMBOL_MAP(X)                                                                    \
    X(init, nvmlInit_v2, (void))                                                         \
    X(shutdown, nvmlShutdown, (void))                                                    \
    X(driver_version, nvmlSystemGetDriverVersion, (char *, unsigned))                    \
    X(cuda_version, nvmlSystemGetCudaDriverVersion_v2, (int *))                          \
    X(count, nvmlDeviceGetCount_v2, (unsigned *))                                        \
    X(by_index, nvmlDeviceGetHandleByIndex_v2, (unsigned, struct nvml_gpu **))           \
    X(name, nvmlDeviceGetName, (struct nvml_gpu *, char *, unsigned))                    \
    X(uuid, nvmlDeviceGetUUID, (struct nvml_gpu *, char *, unsigned))                    \
    X(minor, nvmlDeviceGetMinorNumber, (struct nvml_gpu *, unsigned *))                  \
    X(memory, nvmlDeviceGetMemoryInfo, (struct nvml_gpu *, struct memory *))             \
    X(memory_v2, nvmlDeviceGetMemoryInfo_v2, (struct nvml_gpu *, struct memory_v2 *))    \
    X(utilization, nvmlDeviceGetUtilizationRates,                                        \
      (struct nvml_gpu *, struct utilization *))                                         \
    X(power, nvmlDeviceGetPowerUsage, (struct nvml_gpu *, unsigned *))                   \
    X(energy, nvmlDeviceGetTotalEnergyConsumption,                                       \
      (struct nvml_gpu *, unsigned long long *))                                         \
    X(processes, nvmlDeviceGetComputeRunningProcesses_v3,                                \
      (struct nvml_gpu *, unsigned *, struct process_info *))                            \
    X(mig, nvmlDeviceGetMigMode, (struct nvml_gpu *, unsigned *, unsigned *))            \
    X(compute_mode, nvmlDeviceGetComputeMode, (struct nvml_gpu *, int *))                \
    X(capability, nvmlDeviceGetCudaComputeCapability, (struct nvml_gpu *, int *, int *)) \
    X(ecc, nvmlDeviceGetTotalEccErrors,                                                  \
      (struct nvml_gpu *, int, int, unsigned long long *))

struct nvml {
    void *library;
    const char *(*text)(int code); /* nvmlErrorString */
#define MEMBER_(name, symbol, arguments) int(*name) arguments;
    SYMBOL_MAP(MEMBER_)
#undef MEMBER_
    unsigned gpus;
};

/* Calls it, if the driver has it. */
#define CALL(n, function, ...)                                                           \
    ((n)->function ? (n)->function(__VA_ARGS__) : NVML_ERROR_FUNCTION_NOT_FOUND)

/* ---- opening ---- */

static void load(struct nvml *n)
{
    /* POSIX: what dlsym() gives for a function is a pointer to it */
    *(void **)&n->text = dlsym(n->library, "nvmlErrorString");
#define LOAD_(name, symbol, arguments) *(void **)&n->name = dlsym(n->library, #symbol);
    SYMBOL_MAP(LOAD_)
#undef LOAD_
}

static const char *text(const struct nvml *n, int code)
{
    const char *said = n->text ? n->text(code) : NULL;

    return said ? said : "an unknown error";
}

static int begin(struct nvml *n, struct err *e)
{
    int code;

    if (!n->init || !n->count || !n->by_index || !n->shutdown)
        return err_set(e, ERR_VERSION,
                       "libnvidia-ml.so.1 lacks nvmlInit_v2 and its kin: the driver is "
                       "too old, update it");
    code = n->init();
    if (code == NVML_ERROR_DRIVER_NOT_LOADED)
        return err_set(e, ERR_NOENT, "the kernel has no NVIDIA driver loaded");
    if (code == NVML_ERROR_LIB_RM_VERSION_MISMATCH)
        return err_set(e, ERR_VERSION,
                       "the driver in the kernel and its libraries are of different "
                       "releases: after an update, reload it or reboot");
    if (code != NVML_SUCCESS)
        return err_set(e, code == NVML_ERROR_NO_PERMISSION ? ERR_DENIED : ERR_IO,
                       "NVML does not start: %s", text(n, code));
    code = n->count(&n->gpus);
    if (code == NVML_SUCCESS)
        return 0;
    n->shutdown();
    return err_set(e, ERR_IO, "NVML does not count GPUs: %s", text(n, code));
}

int nvml_open(struct nvml **out, struct err *e)
{
    struct nvml *n = mem_alloc(sizeof(*n));
    int rc;

    *out = NULL;
    n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!n->library) {
        free(n);
        return err_set(e, ERR_NOENT, "no libnvidia-ml.so.1: there is no NVIDIA driver");
    }
    load(n);
    rc = begin(n, e);
    if (rc) {
        dlclose(n->library);
        free(n);
        return rc;
    }
    *out = n;
    return 0;
}

void nvml_close(struct nvml *n)
{
    if (!n)
        return;
    n->shutdown();
    dlclose(n->library);
    free(n);
}

void nvml_driver(const struct nvml *n, struct nvml_driver *out)
{
    *out = (struct nvml_driver){.cuda = 0};
    if (CALL(n, driver_version, out->version, NVML_TEXT) != NVML_SUCCESS)
        *out->version = '\0';
    if (CALL(n, cuda_version, &out->cuda) != NVML_SUCCESS)
        out->cuda = 0;
}

/* ---- finding ---- */

int nvml_count(const struct nvml *n)
{
    return (int)n->gpus;
}

int nvml_nth(const struct nvml *n, int index, struct nvml_gpu **g, struct err *e)
{
    int code;

    if (index < 0 || (unsigned)index >= n->gpus)
        return err_set(e, ERR_NOENT, "there is no GPU %d, of %u that NVML sees", index,
                       n->gpus);
    code = n->by_index((unsigned)index, g);
    if (code == NVML_SUCCESS)
        return 0;
    return err_set(e, code == NVML_ERROR_NO_PERMISSION ? ERR_DENIED : ERR_IO,
                   "GPU %d: %s", index, text(n, code));
}

static bool has_minor(const struct nvml *n, struct nvml_gpu *g, int64_t minor)
{
    unsigned m;

    return CALL(n, minor, g, &m) == NVML_SUCCESS && m == minor;
}

static bool has_uuid(const struct nvml *n, struct nvml_gpu *g, const char *uuid)
{
    char of[NVML_TEXT];

    return CALL(n, uuid, g, of, NVML_TEXT) == NVML_SUCCESS &&
           strncmp(of, uuid, strlen(uuid)) == 0;
}

int nvml_find(const struct nvml *n, const char *name, struct nvml_gpu **g, struct err *e)
{
    static const char by_minor[] = "minor:";
    bool minor = strncmp(name, by_minor, sizeof(by_minor) - 1) == 0;
    const char *number = minor ? name + sizeof(by_minor) - 1 : name;
    int64_t i = -1;
    bool numbered = num_parse_int(number, strlen(number), &i) == 0;

    if (strncmp(name, "MIG-", 4) == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s is a part of a GPU (MIG), whose use the driver does not tell",
                       name);
    if (numbered && !minor && i >= 0 && i < (int64_t)n->gpus)
        return nvml_nth(n, (int)i, g, e);
    for (unsigned k = 0; k < n->gpus; k++) {
        if (n->by_index(k, g) == NVML_SUCCESS &&
            (minor ? numbered && has_minor(n, *g, i)
                   : strncmp(name, "GPU-", 4) == 0 && has_uuid(n, *g, name)))
            return 0;
    }
    return err_set(e, ERR_NOENT, "there is no GPU %s, of %u that NVML sees", name,
                   n->gpus);
}

/* ---- reading ---- */

/* A GPU of which nothing can be read any more; what it lacks or hides is no such thing.
 */
static bool is_gone(int code)
{
    return code == NVML_ERROR_GPU_IS_LOST || code == NVML_ERROR_RESET_REQUIRED;
}

static int read_memory(const struct nvml *n, struct nvml_gpu *g, struct nvml_reading *out)
{
    struct memory_v2 m2 = {.version = (unsigned)sizeof(m2) | 2u << 24};
    struct memory m;
    int code = CALL(n, memory_v2, g, &m2);

    if (code == NVML_SUCCESS) {
        out->mem_used = (double)m2.used;
        out->mem_total = (double)m2.total;
        return code;
    }
    if (!is_gone(code))
        code = CALL(n, memory, g, &m);
    if (code == NVML_SUCCESS) {
        out->mem_used = (double)m.used;
        out->mem_total = (double)m.total;
    }
    return code;
}

int nvml_read(const struct nvml *n, struct nvml_gpu *g, struct nvml_reading *out,
              struct err *e)
{
    struct utilization util;
    unsigned milliwatts;
    unsigned long long millijoules;
    int code[4];

    *out = (struct nvml_reading){NAN, NAN, NAN, NAN, NAN};
    code[0] = read_memory(n, g, out);
    code[1] = CALL(n, utilization, g, &util);
    if (code[1] == NVML_SUCCESS)
        out->util = util.gpu / 100.0;
    code[2] = CALL(n, power, g, &milliwatts);
    if (code[2] == NVML_SUCCESS)
        out->power = milliwatts / 1e3;
    code[3] = CALL(n, energy, g, &millijoules);
    if (code[3] == NVML_SUCCESS)
        out->energy = (double)millijoules / 1e3;
    for (int i = 0; i < 4; i++) {
        if (is_gone(code[i])) {
            *out = (struct nvml_reading){NAN, NAN, NAN, NAN, NAN};
            return err_set(
                e, ERR_IO, "%s",
                code[i] == NVML_ERROR_GPU_IS_LOST
                    ? "it is lost: it has fallen off the bus, and only a reboot brings "
                      "it back (dmesg has the Xid)"
                    : "it wants a reset: an error has stopped it (dmesg has the Xid)");
        }
    }
    return 0;
}

/* ---- describing ---- */

static int count_processes(const struct nvml *n, struct nvml_gpu *g)
{
    unsigned count = 0; /* no room for any: says how many there are */
    int code = CALL(n, processes, g, &count, NULL);

    return code == NVML_SUCCESS || code == NVML_ERROR_INSUFFICIENT_SIZE ? (int)count : -1;
}

void nvml_about(const struct nvml *n, struct nvml_gpu *g, struct nvml_about *out)
{
    struct nvml_reading r = {.mem_total = NAN};
    unsigned mig = 0, pending;
    int mode = 0, major, minor;
    unsigned long long errors;

    *out = (struct nvml_about){.uncorrected = NAN};
    if (CALL(n, name, g, out->name, NVML_TEXT) != NVML_SUCCESS)
        *out->name = '\0';
    if (CALL(n, uuid, g, out->uuid, NVML_TEXT) != NVML_SUCCESS)
        *out->uuid = '\0';
    read_memory(n, g, &r);
    out->memory = r.mem_total;
    if (CALL(n, capability, g, &major, &minor) == NVML_SUCCESS)
        out->capability = 10 * major + minor;
    out->mig = CALL(n, mig, g, &mig, &pending) == NVML_SUCCESS && mig;
    if (CALL(n, compute_mode, g, &mode) == NVML_SUCCESS) {
        out->prohibited = mode == NVML_COMPUTEMODE_PROHIBITED;
        out->exclusive = mode == NVML_COMPUTEMODE_EXCLUSIVE_PROCESS ||
                         mode == NVML_COMPUTEMODE_EXCLUSIVE_THREAD;
    }
    out->processes = count_processes(n, g);
    if (CALL(n, ecc, g, NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC, &errors) ==
        NVML_SUCCESS)
        out->uncorrected = (double)errors;
}
