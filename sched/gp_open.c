#include "config.h"

#include "base/mem.h"
#include "base/proc.h"
#include "sched/gp.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS "OPENBLAS_NUM_THREADS"

/* OpenBLAS starts its threads when it is loaded, and reads then how many: one is enough,
 * the controller may have a single CPU. The programs that we start are to see what the
 * user has set. */
static void *load(const char *path)
{
    const char *set = getenv(THREADS);
    char *before = mem_strdup(set);
    setenv(THREADS, "1", 1);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (before)
        setenv(THREADS, before, 1);
    else
        unsetenv(THREADS);
    free(before);
    return library;
}

static const struct gp_ops *open_at(const char *path, struct err *e)
{
    if (access(path, R_OK) != 0) {
        err_set(e, ERR_UNSUPPORTED,
                "search.method gp is not in this rung: %s is not there, since rung was "
                "built without OpenBLAS, LAPACKE or NLopt (Debian: apt-get install "
                "libopenblas-dev liblapacke-dev libnlopt-dev), or not installed as a "
                "whole; tpe needs none of them",
                path);
        return NULL;
    }
    void *library = load(path);
    if (!library) {
        err_set(e, ERR_UNSUPPORTED, "search.method gp: %s", dlerror());
        return NULL;
    }
    const struct gp_ops *ops = dlsym(library, GP_SYMBOL);
    if (ops && strcmp(ops->version, PACKAGE_VERSION) == 0 && ops->size == sizeof(*ops))
        return ops;
    err_set(e, ERR_UNSUPPORTED,
            "search.method gp: %s is not of this rung %s: install both anew", path,
            PACKAGE_VERSION);
    return NULL;
}

bool gp_present(void)
{
    struct str path = STR_INIT;
    plugin_find(GP_FILE, "RUNG_GP_PLUGIN", PLUGIN_DIRECTORY, &path);
    bool there = access(path.p, R_OK) == 0;
    str_free(&path);
    return there;
}

const struct gp_ops *gp_open(struct err *e)
{
    struct str path = STR_INIT;
    plugin_find(GP_FILE, "RUNG_GP_PLUGIN", PLUGIN_DIRECTORY, &path);
    const struct gp_ops *ops = open_at(path.p, e);
    str_free(&path);
    return ops;
}
