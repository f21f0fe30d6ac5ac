/* The plug-in is opened where there is a GPU and nowhere else: it brings hundreds of
 * megabytes of libraries along. So the driver is asked first. */
#include "worker/train/devices.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/proc.h"
#include "gpu/plugin.h"
#include "worker/train/cpu.h"

#include "config.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const device_kinds[] = {"auto", "cpu", "cuda", NULL};

/* Of CUresult, in the driver's interface (cuda.h). */
enum { DRIVER_SUCCESS = 0, DRIVER_NO_DEVICE = 100 };

/* Whether the driver has a GPU for this process. Other failures of it are left to the
 * plug-in, which knows their names. */
static int ask_driver(struct err *e)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    int (*init)(unsigned), (*count)(int *), n = 0;

    if (!driver)
        return err_set(e, ERR_NOENT,
                       "there is no NVIDIA driver on this machine (no libcuda.so.1)");
    *(void **)&init = dlsym(driver, "cuInit");
    *(void **)&count = dlsym(driver, "cuDeviceGetCount");
    if (!init || !count)
        return err_set(e, ERR_UNSUPPORTED, "libcuda.so.1 is not NVIDIA's driver");
    int rc = init(0);
    if (rc == DRIVER_SUCCESS)
        rc = count(&n);
    if (rc == DRIVER_NO_DEVICE || (rc == DRIVER_SUCCESS && n == 0))
        return err_set(e, ERR_NOENT,
                       "there is no GPU (or CUDA_VISIBLE_DEVICES hides it; in Slurm, ask "
                       "for one: --gres=gpu:1)");
    return 0;
}

static const struct plugin *load(const char *path, struct err *e)
{
    if (access(path, R_OK) < 0) {
        err_set(e, ERR_UNSUPPORTED,
                "the plug-in for GPUs is not there (%s): this rung-train was built "
                "without CUDA, or not installed as a whole",
                path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        err_set(e, ERR_UNSUPPORTED,
                "cannot open the plug-in for GPUs: %s (are CUDA's and cuDNN's libraries "
                "in LD_LIBRARY_PATH? `module load cuda`?)",
                dlerror());
        return NULL;
    }
    const struct plugin *plugin = dlsym(library, PLUGIN_SYMBOL);
    if (!plugin || strcmp(plugin->version, PACKAGE_VERSION) != 0) {
        err_set(e, ERR_UNSUPPORTED, "%s is of rung %s, and this is %s: install both anew",
                path, plugin ? plugin->version : "unknown", PACKAGE_VERSION);
        return NULL;
    }
    if (plugin->ops_size != sizeof(struct device_ops)) {
        err_set(e, ERR_UNSUPPORTED,
                "%s is of another build of rung %s: install both anew", path,
                PACKAGE_VERSION);
        return NULL;
    }
    return plugin;
}

/* The plug-in; NULL where it is not to be had, or there is no GPU for it. */
static const struct plugin *find_gpus(int *n, struct err *e)
{
    struct str path = STR_INIT;

    if (ask_driver(e) < 0)
        return NULL;
    plugin_find(PLUGIN_FILE, "RUNG_CUDA_PLUGIN", PLUGIN_DIRECTORY, &path);
    const struct plugin *plugin = load(path.p, e);
    str_free(&path);
    return plugin && plugin->count(n, e) == 0 ? plugin : NULL;
}

int devices_gpus(void)
{
    int n = 0;

    return find_gpus(&n, NULL) ? n : 0;
}

/* ---- ranks ---- */

/* Where a rank is: which node's kernel runs it, and which GPU it has. */
struct place {
    uint64_t node, gpu;
};

static uint64_t own_node(void)
{
    struct str id = STR_INIT;
    uint64_t node = 0;

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &id, NULL) == 0)
        node = hash64(id.p, id.len);
    str_free(&id);
    return node;
}

/* Those of all ranks. free() it. */
static struct place *share_places(struct comm *c, const struct place *own)
{
    size_t size = (size_t)comm_size(c);
    struct place *all = mem_alloc(size * sizeof(*all));

    all[comm_rank(c)] = *own;
    for (size_t r = 0; r < size; r++)
        comm_broadcast(c, (int)r, &all[r], sizeof(all[r]));
    return all;
}

static int open_gpu(struct comm *c, struct place *own, struct device **d, struct err *e)
{
    struct place *all = share_places(c, own);
    int rank = 0, n = 0; /* of those on this node */

    for (int r = 0; r < comm_rank(c); r++)
        rank += all[r].node == own->node;
    free(all);
    const struct plugin *plugin = find_gpus(&n, e);
    /* A launcher may show each rank other ones, so that their numbers tell nothing of who
     * has which: check_alone() sees to that. */
    return plugin ? plugin->open(rank % n, d, &own->gpu, e) : e->code;
}

/* Whether each rank has a GPU of its own. All ranks at once, with the same result. */
static int check_alone(struct comm *c, const struct place *own, struct err *e)
{
    struct place *all = share_places(c, own);
    int size = comm_size(c), rc = 0;

    for (int a = 0; a < size && rc == 0; a++)
        for (int b = a + 1; b < size && rc == 0; b++)
            if (all[a].node == all[b].node && all[a].gpu == all[b].gpu)
                rc =
                    err_set(e, ERR_INVAL,
                            "ranks %d and %d have the same GPU: start no more ranks on a "
                            "node than it has GPUs (--gres=gpu:N and "
                            "--ntasks-per-node=N)",
                            a, b);
    free(all);
    return rc;
}

struct device *devices_open(const struct devices_config *c, struct err *e)
{
    bool any = strcmp(c->kind, "auto") == 0;
    struct place own = {own_node(), 0};
    struct device *d = NULL;
    struct err why = {0};

    if (strcmp(c->kind, "cpu") == 0)
        return cpu_open(c->threads);
    int rc = comm_agree(c->comm, open_gpu(c->comm, &own, &d, &why), &why);
    if (rc == 0)
        rc = check_alone(c->comm, &own, &why);
    if (rc == 0)
        return d;
    device_close(d);
    if (!any || rc == ERR_IO) {
        err_set(e, rc, "--device %s: %s", c->kind, why.text);
        return NULL;
    }
    if (rc != ERR_NOENT && c->notes)
        str_addf(c->notes, "no GPU is used: %s\n", why.text);
    return cpu_open(c->threads);
}
