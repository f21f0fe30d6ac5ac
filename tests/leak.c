/* A plug-in before the true one, which RUNG_LEAKS_OF names: its GPU is that one's, but
 * whenever it is asked how much of its memory is used, LEAK bytes more are, for good. */
#include "gpu/plugin.h"

#include "config.h"

#include <dlfcn.h>
#include <stdlib.h>

#define LEAK ((size_t)8 << 20)

static const struct plugin *true_one;
static const struct device_ops *true_ops;
static struct device_ops leaking;

static void memory(const struct device *d, struct device_memory *m)
{
    void *lost;

    true_ops->allocate((struct device *)(uintptr_t)d, LEAK, &lost, NULL);
    true_ops->memory(d, m);
}

static int count(int *n, struct err *e)
{
    return true_one->count(n, e);
}

static int open(int number, struct device **d, uint64_t *id, struct err *e)
{
    int rc = true_one->open(number, d, id, e);

    if (rc < 0)
        return rc;
    true_ops = (*d)->ops;
    leaking = *true_ops;
    leaking.memory = memory;
    (*d)->ops = &leaking;
    return 0;
}

struct plugin rung_cuda_leaking __asm__(PLUGIN_SYMBOL) = {.count = count, .open = open};

static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("RUNG_LEAKS_OF");
    void *library = path ? dlopen(path, RTLD_NOW) : NULL;

    true_one = library ? dlsym(library, PLUGIN_SYMBOL) : NULL;
    if (!true_one)
        abort();
    rung_cuda_leaking.version = true_one->version;
    rung_cuda_leaking.ops_size = true_one->ops_size;
}
