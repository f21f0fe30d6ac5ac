#include "worker/train/pmi2.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libpmi2.so.0"

/* From Slurm's <slurm/pmi2.h>. All functions return 0 for success. */
#define VALUE_MAX 1024
#define ID_NULL   (-1)

struct pmi2 {
    void *library;
    int size;
    int exchanges; /* so far: each has keys of its own */
    bool initialised;
    int rank;
    int (*init)(int *spawned, int *size, int *rank, int *appnum);
    int (*finalize)(void);
    int (*put)(const char *key, const char *value);
    int (*fence)(void);
    int (*get)(const char *job, int source, const char *key, char *value, int room,
               int *length);
};

bool pmi2_launched(void)
{
    const char *size = getenv("PMI_SIZE");

    return getenv("PMI_FD") && getenv("PMI_RANK") && !(size && strcmp(size, "1") == 0);
}

static int open_library(struct pmi2 *p, struct err *e)
{
    const struct {
        void *to;
        const char *name;
    } wanted[] = {
        {&p->init, "PMI2_Init"},       {&p->finalize, "PMI2_Finalize"},
        {&p->put, "PMI2_KVS_Put"},     {&p->get, "PMI2_KVS_Get"},
        {&p->fence, "PMI2_KVS_Fence"},
    };

    p->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!p->library)
        return err_set(e, ERR_UNSUPPORTED,
                       "srun --mpi=pmi2 started these tasks, but Slurm's " LIBRARY
                       " is not here (Debian: apt-get install libpmi2-0; elsewhere it is "
                       "found by LD_LIBRARY_PATH): bring it, or launch them with srun "
                       "--mpi=pmix or mpirun: %s",
                       dlerror());
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        void *symbol = dlsym(p->library, wanted[i].name);
        if (!symbol)
            return err_set(e, ERR_UNSUPPORTED, LIBRARY " has no %s", wanted[i].name);
        memcpy(wanted[i].to, &symbol, sizeof(symbol));
    }
    return 0;
}

int pmi2_open(struct pmi2 **out, int *rank, int *size, struct err *e)
{
    struct pmi2 *p = mem_alloc(sizeof(*p));
    int spawned, appnum, rc = open_library(p, e);

    if (rc == 0 && (rc = p->init(&spawned, size, rank, &appnum)) != 0)
        rc = err_set(e, ERR_IO, "PMI2_Init failed: %d", rc);
    if (rc < 0) {
        pmi2_close(p);
        p = NULL;
    } else {
        p->initialised = true;
        p->size = *size;
        p->rank = *rank;
    }
    *out = p;
    return rc;
}

static void make_key(const struct pmi2 *p, int rank, char key[64])
{
    snprintf(key, 64, "rung-%d-%d", p->exchanges, rank);
}

/* Values are text, in which some characters mean something to Slurm. */
static void encode(const unsigned char *bytes, size_t n, char text[VALUE_MAX])
{
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static bool decode(const char *text, unsigned char *bytes, size_t n)
{
    unsigned byte;

    if (strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        sscanf(text + 2 * i, "%2x", &byte);
        bytes[i] = (unsigned char)byte;
    }
    return true;
}

static int get_one(struct pmi2 *p, int rank, void *bytes, size_t n, struct err *e)
{
    char key[64], value[VALUE_MAX] = "";
    int length = 0;

    make_key(p, rank, key);
    int rc = p->get(NULL, ID_NULL, key, value, sizeof(value), &length);
    if (rc != 0)
        return err_set(e, ERR_IO, "PMI2_KVS_Get of task %d failed: %d", rank, rc);
    if (!decode(value, bytes, n))
        return err_set(e, ERR_PROTO, "what task %d gave cannot be read", rank);
    return 0;
}

int pmi2_exchange(struct pmi2 *p, const void *mine, size_t bytes, void *all,
                  struct err *e)
{
    char key[64], value[VALUE_MAX] = "";
    int rc;

    make_key(p, p->rank, key);
    encode(mine, bytes, value);
    if ((rc = p->put(key, value)) != 0)
        return err_set(e, ERR_IO, "PMI2_KVS_Put failed: %d", rc);
    if ((rc = p->fence()) != 0)
        return err_set(e, ERR_IO, "PMI2_KVS_Fence failed: %d", rc);
    for (int i = 0; i < p->size; i++) {
        rc = get_one(p, i, (char *)all + (size_t)i * bytes, bytes, e);
        if (rc < 0)
            return rc;
    }
    p->exchanges++;
    return 0;
}

void pmi2_close(struct pmi2 *p)
{
    if (!p)
        return;
    if (p->initialised)
        p->finalize();
    if (p->library)
        dlclose(p->library);
    free(p);
}
