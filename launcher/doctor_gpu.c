/* The GPUs of this machine, as their driver tells of them, and what programs bring to use
 * them. All of it is asked in a process of its own: a driver may hang, and a library of
 * others may crash. */
#include "config.h"

#include "base/file.h"
#include "base/units.h"
#include "gpu/nvml.h"
#include "gpu/plugin.h"
#include "launcher/batch.h"
#include "launcher/doctor.h"

#include <dlfcn.h>
#include <link.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS_MAX 64 /* described; /dev/nvidia0 and so on */
/* Bytes of NCCL: its constants come first, and hundreds of MB of kernels after them. */
#define NCCL_LOOK (8 << 20)
/* 2.19: see gpu/nccl.h. */
#define NCCL_LEAST 21900

struct gpu_facts {
    struct err nvml; /* why it does not open */
    struct nvml_driver driver;
    bool answered; /* it says no more, and did not hang */
    int n, described;
    struct nvml_about gpu[GPUS_MAX];
    struct err lost[GPUS_MAX]; /* why it tells nothing */
    bool has_nccl;
    int nccl, nccl_cuda; /* its version, and 13000 where it was built with CUDA 13.0; 0:
                            unknown */
    char plugin[4096];   /* where it is; "": nowhere */
    struct err unusable; /* why it does not open, or finds no GPU */
    int usable;          /* GPUs that it found */
};

/* ---- asking ---- */

static void ask_driver(struct gpu_facts *f)
{
    struct nvml *n;

    if (nvml_open(&n, &f->nvml) != 0)
        return;
    nvml_driver(n, &f->driver);
    f->n = nvml_count(n);
    for (; f->described < f->n && f->described < GPUS_MAX; f->described++) {
        struct err *e = &f->lost[f->described];
        struct nvml_reading r;
        struct nvml_gpu *g;

        if (nvml_nth(n, f->described, &g, e) != 0 || nvml_read(n, g, &r, e) != 0)
            continue;
        nvml_about(n, g, &f->gpu[f->described]);
    }
    nvml_close(n);
}

/* A text in a library that is loaded. */
struct search {
    uintptr_t at; /* something in that library */
    const char *text, *found;
};

static int search_library(struct dl_phdr_info *info, size_t size, void *search)
{
    struct search *s = search;
    bool here = false;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];

        here |= h->p_type == PT_LOAD && s->at >= info->dlpi_addr + h->p_vaddr &&
                s->at < info->dlpi_addr + h->p_vaddr + h->p_memsz;
    }
    for (int i = 0; here && !s->found && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        size_t n = h->p_filesz < NCCL_LOOK ? h->p_filesz : NCCL_LOOK;

        if (h->p_type == PT_LOAD && (h->p_flags & PF_R))
            s->found = memmem((const char *)info->dlpi_addr + h->p_vaddr, n, s->text,
                              strlen(s->text));
    }
    return here;
}

/* Which CUDA NCCL was built with it tells in one of its own messages only. */
static int cuda_of_nccl(int (*version)(int *))
{
    struct search s = {.at = (uintptr_t)version, .text = "NCCL version "};
    int major, minor;

    if (!dl_iterate_phdr(search_library, &s) || !s.found ||
        sscanf(s.found, "NCCL version %*[0-9.]+cuda%d.%d", &major, &minor) != 2)
        return 0;
    return 1000 * major + 10 * minor;
}

static void ask_nccl(struct gpu_facts *f)
{
    void *nccl = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_LOCAL);
    int (*version)(int *) = NULL;

    if (!nccl)
        return;
    f->has_nccl = true;
    *(void **)&version = dlsym(nccl, "ncclGetVersion");
    if (!version || version(&f->nccl) != 0)
        return;
    f->nccl_cuda = cuda_of_nccl(version);
}

/* Where rung-train looks for it: beside us, or where it is installed. */
static void ask_plugin(struct gpu_facts *f)
{
    char *beside = program_beside(PLUGIN_FILE);
    const char *path = beside ? beside : PLUGIN_DIRECTORY "/" PLUGIN_FILE;
    const struct plugin *plugin = NULL;
    void *library;

    if (file_exists(path))
        snprintf(f->plugin, sizeof(f->plugin), "%s", path);
    free(beside);
    if (!*f->plugin)
        return;
    library = dlopen(f->plugin, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        err_set(&f->unusable, ERR_UNSUPPORTED, "it does not open: %s", dlerror());
        return;
    }
    plugin = dlsym(library, PLUGIN_SYMBOL);
    if (!plugin || strcmp(plugin->version, PACKAGE_VERSION) != 0)
        err_set(&f->unusable, ERR_VERSION, "it is of rung %s, and this is %s",
                plugin ? plugin->version : "unknown", PACKAGE_VERSION);
    else
        plugin->count(&f->usable, &f->unusable);
}

static void ask(void *facts)
{
    struct gpu_facts *f = facts;

    ask_nccl(f);
    ask_driver(f);
    f->answered = true;
    if (f->nvml.code == 0 && f->n > 0) /* it brings hundreds of megabytes along */
        ask_plugin(f);
}

/* ---- saying ---- */

static int count_devices(void)
{
    char path[32];
    int n = 0;

    for (int i = 0; i < GPUS_MAX; i++) {
        snprintf(path, sizeof(path), "/dev/nvidia%d", i);
        n += file_exists(path);
    }
    return n;
}

/* There are devices, or a library, and yet no driver that answers. */
static void say_no_driver(struct doctor *d, const struct gpu_facts *f, bool ended)
{
    int devices = count_devices();

    if (!ended)
        doctor_say(d, MARK_BAD, "driver",
                   "try `nvidia-smi`: if that hangs, too, the node wants a reboot",
                   "asked about GPU %d it hangs or crashes", f->described);
    else if (f->nvml.code != ERR_NOENT)
        doctor_say(d, MARK_BAD, "driver",
                   "programs that want a GPU do not run here until that is mended", "%s",
                   f->nvml.text);
    else if (devices > 0)
        doctor_say(d, MARK_NOTE, "driver",
                   "load the driver; in a container, have it put in: apptainer --nv, "
                   "docker --gpus all",
                   "%d device%s in /dev, but %s", devices, devices == 1 ? "" : "s",
                   f->nvml.text);
    else
        doctor_say(d, MARK_OK, "GPUs", NULL, "none on this machine");
}

static bool alike(const struct nvml_about *a, const struct nvml_about *b)
{
    return strcmp(a->name, b->name) == 0 &&
           (a->memory == b->memory || (isnan(a->memory) && isnan(b->memory)));
}

/* "4: NVIDIA H100, 80 GiB", or where they are not alike "0: ..., 1: ..." */
static void say_models(struct doctor *d, const struct gpu_facts *f)
{
    struct str text = STR_INIT;
    bool same = true;

    for (int i = 1; i < f->described; i++)
        same &= alike(&f->gpu[0], &f->gpu[i]);
    for (int i = 0; i < (same ? 1 : f->described); i++) {
        const struct nvml_about *a = &f->gpu[i];
        char memory[UNITS_MAX];

        str_addf(&text, "%s%s", i > 0 ? "; " : "",
                 *a->name ? a->name : "one that tells nothing");
        if (*a->name && !isnan(a->memory))
            str_addf(&text, ", %s", size_format(memory, a->memory));
    }
    doctor_say(d, MARK_OK, "GPUs", NULL, "%d: %s", f->n, text.p);
    str_free(&text);
}

/* What is wrong or peculiar about one. */
static void say_state(struct doctor *d, const struct gpu_facts *f, int i)
{
    const struct nvml_about *a = &f->gpu[i];

    if (f->lost[i].code != 0)
        doctor_say(d, MARK_BAD, "GPU",
                   "until that is done, leave it out: CUDA_VISIBLE_DEVICES", "%d: %s", i,
                   f->lost[i].text);
    if (a->prohibited)
        doctor_say(d, MARK_BAD, "GPU", "as root: nvidia-smi -c DEFAULT",
                   "%d: its compute mode lets nobody compute on it", i);
    if (a->exclusive && a->processes > 0)
        doctor_say(
            d, MARK_NOTE, "GPU",
            "use another one until it has ended, or as root: nvidia-smi -c DEFAULT",
            "%d: one process at a time may compute on it, and one does", i);
    if (a->mig)
        doctor_say(d, MARK_NOTE, "GPU",
                   "name parts in CUDA_VISIBLE_DEVICES as `nvidia-smi -L` does; how much "
                   "they are used is not told",
                   "%d: it is cut into parts (MIG)", i);
    if (a->uncorrected > 0)
        doctor_say(
            d, MARK_NOTE, "GPU",
            "programs on it may have been ended: have it reset, and, when that "
            "comes again, replaced",
            "%d: %.0f uncorrected errors of its memory since its driver was loaded", i,
            a->uncorrected);
}

static void say_driver(struct doctor *d, const struct gpu_facts *f)
{
    int devices = count_devices();

    doctor_say(d, MARK_OK, "driver", NULL, "%s, for programs of CUDA up to %d.%d",
               f->driver.version, f->driver.cuda / 1000, f->driver.cuda % 1000 / 10);
    if (f->n == 0)
        doctor_say(d, MARK_NOTE, "GPUs", "try `nvidia-smi -L`, and ask for GPUs in a job",
                   "the driver shows none to us");
    else
        say_models(d, f);
    if (devices > f->n && f->n > 0)
        doctor_say(
            d, MARK_NOTE, "GPUs",
            "`dmesg | grep -i nvrm` tells of those that failed; a job of Slurm sees "
            "only its own",
            "%d devices in /dev, but the driver shows %d to us", devices, f->n);
    for (int i = 0; i < f->described; i++)
        say_state(d, f, i);
}

static void say_nccl(struct doctor *d, const struct gpu_facts *f)
{
    int v = f->nccl, major = v < 10000 ? 1000 : 10000; /* 21803, and up to 2.8 2804 */
    struct str text = STR_INIT;

    if (!f->has_nccl) {
        doctor_say(d, MARK_OK, "NCCL", NULL,
                   "not found: ranks of rung-train exchange through the host; PyTorch "
                   "brings its own");
        return;
    }
    str_addf(&text, "%d.%d.%d", v / major, v % major / 100, v % 100);
    if (f->nccl_cuda > 0)
        str_addf(&text, ", of CUDA %d.%d", f->nccl_cuda / 1000, f->nccl_cuda % 1000 / 10);
    if (f->driver.cuda > 0 && f->nccl_cuda / 1000 > f->driver.cuda / 1000)
        doctor_say(d, MARK_NOTE, "NCCL",
                   "update the driver, or take an NCCL of the CUDA that it has",
                   "%s: too new for the driver, which has CUDA %d.%d", text.p,
                   f->driver.cuda / 1000, f->driver.cuda % 1000 / 10);
    else if (v < NCCL_LEAST)
        doctor_say(d, MARK_NOTE, "NCCL", "update it",
                   "%s: too old for rung-train, whose ranks exchange through the host",
                   text.p);
    else
        doctor_say(d, MARK_OK, "NCCL", NULL, "%s", text.p);
    str_free(&text);
}

static void say_plugin(struct doctor *d, const struct gpu_facts *f, bool ended)
{
    if (!*f->plugin)
        doctor_say(
            d, MARK_NOTE, "plug-in",
            "for rung-train on these GPUs, build rung where nvcc is; other programs "
            "need nothing of it",
            "rung-train has none for GPUs, and computes on the CPUs");
    else if (!ended)
        doctor_say(d, MARK_NOTE, "plug-in", "try `rung-train --device cuda`",
                   "%s hangs or crashes", f->plugin);
    else if (f->unusable.code != 0)
        doctor_say(
            d, MARK_NOTE, "plug-in",
            "until that is mended, rung-train computes on the CPUs; other programs "
            "need nothing of it",
            "%s", f->unusable.text);
    else
        doctor_say(d, MARK_OK, "plug-in", NULL, "rung-train finds %d GPU%s: %s",
                   f->usable, f->usable == 1 ? "" : "s", f->plugin);
}

void doctor_gpu(struct doctor *d)
{
    struct gpu_facts *f = doctor_facts(sizeof(*f));
    bool ended = doctor_apart(d, ask, f);

    d->group = "GPU";
    if (!f->answered || f->nvml.code != 0)
        say_no_driver(d, f, f->answered);
    else
        say_driver(d, f);
    say_nccl(d, f);
    if (f->n > 0 && f->answered)
        say_plugin(d, f, ended);
    doctor_facts_free(f, sizeof(*f));
}
