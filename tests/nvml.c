/* A driver's libnvidia-ml.so.1 for tests: GPUs as a file says that FAKE_NVML names, read
 * anew at each call, so that they change, and break, while somebody looks. Lines of it:
 *
 *     init CODE              what nvmlInit_v2() returns
 *     driver VERSION CUDA    "driver 550.54.15 12040"
 *     gpu UUID TOTAL USED UTIL POWER [WORD...]
 *                            memory in MiB, per cent, watts
 *
 * Words: lost, reset (nothing can be read any more); old (neither its energy nor memory
 * without the driver's own); denied (only its memory may be read); hang (a call does not
 * return as long as the file says so); crash (the process ends); mig, exclusive,
 * prohibited; minor=N, processes=N, ecc=N. Without FAKE_NVML there is no driver. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    FUNCTION_NOT_FOUND = 13,
    GPU_IS_LOST = 15,
    RESET_REQUIRED = 16
};

#define GPUS_MAX   8
#define LINE_BYTES 400
#define MIB        1048576ull

struct device {
    char uuid[80], words[LINE_BYTES];
    unsigned long long total, used;
    unsigned util, watts;
};

struct machine {
    int init, cuda;
    char driver[80];
    int n;
    struct device gpu[GPUS_MAX];
};

/* Its addresses are the handles. */
static char handles[GPUS_MAX];

static bool look(struct machine *m)
{
    const char *path = getenv("FAKE_NVML");
    FILE *f = path ? fopen(path, "re") : NULL;
    char line[LINE_BYTES];

    *m = (struct machine){.init = SUCCESS};
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f)) {
        struct device *g = &m->gpu[m->n];
        int end = 0;

        if (sscanf(line, "init %d", &m->init) == 1 ||
            sscanf(line, "driver %79s %d", m->driver, &m->cuda) == 2)
            continue;
        if (m->n < GPUS_MAX &&
            sscanf(line, "gpu %79s %llu %llu %u %u%n", g->uuid, &g->total, &g->used,
                   &g->util, &g->watts, &end) == 5) {
            snprintf(g->words, sizeof(g->words), "%s", line + end);
            m->n++;
        }
    }
    fclose(f);
    return true;
}

static bool is(const struct device *g, const char *word)
{
    return strstr(g->words, word) != NULL;
}

static int number(const struct device *g, const char *name, int otherwise)
{
    const char *at = strstr(g->words, name);

    return at ? atoi(at + strlen(name)) : otherwise;
}

/* The GPU of a handle, where it can be asked for something. */
static int ask(const void *handle, bool secret, struct machine *m,
               const struct device **g)
{
    long i = (const char *)handle - handles;

    if (!look(m) || i < 0 || i >= m->n)
        return INVALID_ARGUMENT;
    *g = &m->gpu[i];
    while (is(*g, "hang")) {
        usleep(10000);
        if (!look(m) || i >= m->n)
            return INVALID_ARGUMENT;
    }
    if (is(*g, "crash"))
        _exit(1);
    if (is(*g, "lost"))
        return GPU_IS_LOST;
    if (is(*g, "reset"))
        return RESET_REQUIRED;
    return secret && is(*g, "denied") ? NO_PERMISSION : SUCCESS;
}

/* ---- what gpu/nvml.c calls ---- */

#define EXPORT __attribute__((visibility("default")))
#define ASK(secret)                                                                      \
    struct machine m;                                                                    \
    const struct device *g;                                                              \
    int code = ask(handle, secret, &m, &g);                                              \
    if (code != SUCCESS)                                                                 \
    return code

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT const char *nvmlErrorString(int code);
EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned n);
EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *out);
EXPORT int nvmlDeviceGetCount_v2(unsigned *out);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **out);
EXPORT int nvmlDeviceGetName(void *handle, char *out, unsigned n);
EXPORT int nvmlDeviceGetUUID(void *handle, char *out, unsigned n);
EXPORT int nvmlDeviceGetMinorNumber(void *handle, unsigned *out);
EXPORT int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long out[3]);
EXPORT int nvmlDeviceGetUtilizationRates(void *handle, unsigned out[2]);
EXPORT int nvmlDeviceGetPowerUsage(void *handle, unsigned *out);
EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *out);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *n, void *out);
EXPORT int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending);
EXPORT int nvmlDeviceGetComputeMode(void *handle, int *out);
EXPORT int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor);
EXPORT int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter,
                                       unsigned long long *out);

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};
EXPORT int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *out);

int nvmlInit_v2(void)
{
    struct machine m;

    return look(&m) ? m.init : DRIVER_NOT_LOADED;
}

int nvmlShutdown(void)
{
    return SUCCESS;
}

const char *nvmlErrorString(int code)
{
    return code == NO_PERMISSION ? "Insufficient Permissions" : "Unknown Error";
}

int nvmlSystemGetDriverVersion(char *out, unsigned n)
{
    struct machine m;

    look(&m);
    snprintf(out, n, "%s", m.driver);
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *out)
{
    struct machine m;

    look(&m);
    *out = m.cuda;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *out)
{
    struct machine m;

    look(&m);
    *out = (unsigned)m.n;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **out)
{
    struct machine m;

    if (!look(&m) || i >= (unsigned)m.n)
        return INVALID_ARGUMENT;
    *out = &handles[i];
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *out, unsigned n)
{
    ASK(false);
    snprintf(out, n, "Fake H%d00", (int)((char *)handle - handles));
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *out, unsigned n)
{
    ASK(false);
    snprintf(out, n, "%s", g->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMinorNumber(void *handle, unsigned *out)
{
    ASK(false);
    *out = (unsigned)number(g, "minor=", (int)((char *)handle - handles));
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long out[3])
{
    ASK(false);
    out[0] = g->total * MIB;
    out[1] = (g->total - g->used) * MIB;
    out[2] = g->used * MIB;
    return SUCCESS;
}

/* As an R510 driver would, it knows the structure by its version only. */
int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *out)
{
    ASK(false);
    if (is(g, "old"))
        return FUNCTION_NOT_FOUND;
    if (out->version != (sizeof(*out) | 2u << 24))
        return INVALID_ARGUMENT;
    out->total = g->total * MIB;
    out->reserved = 600 * MIB;
    out->used = g->used * MIB;
    out->free = out->total - out->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned out[2])
{
    ASK(true);
    out[0] = g->util;
    out[1] = 0;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *out)
{
    ASK(true);
    *out = g->watts * 1000;
    return SUCCESS;
}

/* As if it had drawn that power for as long as the machine is up. */
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *out)
{
    struct timespec up;
    ASK(true);

    if (is(g, "old"))
        return NOT_SUPPORTED;
    clock_gettime(CLOCK_MONOTONIC, &up);
    *out = (unsigned long long)(g->watts *
                                ((double)up.tv_sec * 1e3 + (double)up.tv_nsec / 1e6));
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *n, void *out)
{
    unsigned room = *n;
    ASK(true);

    (void)out;
    *n = (unsigned)number(g, "processes=", 0);
    return *n > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    ASK(false);
    if (is(g, "old"))
        return NOT_SUPPORTED;
    *current = *pending = is(g, "mig");
    return SUCCESS;
}

int nvmlDeviceGetComputeMode(void *handle, int *out)
{
    ASK(false);
    *out = is(g, "prohibited") ? 2 : is(g, "exclusive") ? 3 : 0;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor)
{
    ASK(false);
    *major = 9;
    *minor = 0;
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter,
                                unsigned long long *out)
{
    ASK(true);
    if (type != 1 || counter != 0)
        return INVALID_ARGUMENT;
    *out = (unsigned long long)number(g, "ecc=", 0);
    return SUCCESS;
}
