/* The plug-in is opened where there is a GPU and nowhere else: it brings hundreds of
 * megabytes of libraries along. So the driver is asked first. */
#include "worker/train/devices.h"

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

/* Where this program lies: in a build tree the plug-in is beside it. */
static void own_directory(struct str *path)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self));

    if (n <= 0 || (size_t)n == sizeof(self))
        return;
    while (n > 0 && self[n - 1] != '/')
        n--;
    str_addn(path, self, (size_t)n);
}

static void find_plugin(struct str *path)
{
    const char *given = getenv("RUNG_CUDA_PLUGIN");

    if (given) {
        str_add(path, given);
        return;
    }
    own_directory(path);
    str_add(path, PLUGIN_FILE);
    if (access(path->p, R_OK) == 0)
        return;
    str_cut(path, 0);
    str_add(path, PLUGIN_DIRECTORY "/" PLUGIN_FILE);
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
    return plugin;
}

static int open_gpu(struct device **d, struct err *e)
{
    struct str path = STR_INIT;
    const struct plugin *plugin;
    int rc = ask_driver(e), n;

    if (rc < 0)
        return rc;
    find_plugin(&path);
    plugin = load(path.p, e);
    str_free(&path);
    if (!plugin)
        return e->code;
    rc = plugin->count(&n, e);
    return rc < 0 ? rc : plugin->open(0, d, e);
}

struct device *devices_open(const char *kind, int threads, struct str *notes,
                            struct err *e)
{
    bool any = strcmp(kind, "auto") == 0;
    struct device *d;

    if (strcmp(kind, "cpu") == 0)
        return cpu_open(threads);
    int rc = open_gpu(&d, e);
    if (rc == 0)
        return d;
    if (!any || (rc != ERR_NOENT && rc != ERR_UNSUPPORTED)) {
        err_prefix(e, "--device %s", kind);
        return NULL;
    }
    if (rc == ERR_UNSUPPORTED)
        str_addf(notes, "no GPU is used: %s\n", e->text);
    return cpu_open(threads);
}
