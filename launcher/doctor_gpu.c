/* The GPUs of this machine, as their driver tells of them, and what programs bring to use
 * them. All of it is asked in a process of its own: a driver may hang, and a library of
 * others may crash. */
#include "base/file.h"
#include "base/units.h"
#include "gpu/nvml.h"
#include "launcher/doctor.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS_MAX 64 /* described; /dev/nvidia0 and so on */

struct gpu_facts {
    struct err nvml; /* why it does not open */
    struct nvml_driver driver;
    int n, described;
    struct nvml_about gpu[GPUS_MAX];
    struct err lost[GPUS_MAX]; /* why it tells nothing */
    bool has_nccl;
    int nccl; /* its version, 0: unknown */
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

static void ask(void *facts)
{
    struct gpu_facts *f = facts;
    void *nccl = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_LOCAL);

    if (nccl) {
        int (*version)(int *) = (int (*)(int *))dlsym(nccl, "ncclGetVersion");

        f->has_nccl = true;
        if (version)
            version(&f->nccl);
    }
    ask_driver(f);
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

    if (!f->has_nccl)
        doctor_say(d, MARK_OK, "NCCL", NULL, "not found; PyTorch brings its own");
    else
        doctor_say(d, MARK_OK, "NCCL", NULL, "%d.%d.%d", v / major, v % major / 100,
                   v % 100);
}

void doctor_gpu(struct doctor *d)
{
    struct gpu_facts *f = doctor_facts(sizeof(*f));
    bool ended = doctor_apart(d, ask, f);

    d->group = "GPU";
    if (!ended || f->nvml.code != 0)
        say_no_driver(d, f, ended);
    else
        say_driver(d, f);
    say_nccl(d, f);
    doctor_facts_free(f, sizeof(*f));
}
