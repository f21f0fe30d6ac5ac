/* A share is claimed by binding an abstract unix socket to its name: that is atomic,
 * needs no file system, and ends with the process, however it ends. Jobs of Slurm see
 * their own GPUs only, so its job belongs to the name. */
#include "launcher/gpus.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/vec.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEVICES_MAX 64 /* /dev/nvidia0 ... */
/* An agent that leaves has its shares for a moment after it said so. */
#define TRIES    10
#define TRY_NSEC 10000000

struct share {
    int fd; /* the claim, -1: none */
    int index;
};

struct gpus {
    VEC(char *) devices;
    int slots, per_slot;
    struct share *share; /* [slots] */
    char name[40];       /* of all claims, before the share's number */
};

static void find_devices(struct gpus *g)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");

    if (visible) {
        char *copy = mem_strdup(visible), *rest = copy, *word;

        while ((word = strsep(&rest, ",")) != NULL) {
            if (*word)
                vec_push(&g->devices, mem_strdup(word));
        }
        free(copy);
        return;
    }
    for (int i = 0; i < DEVICES_MAX; i++) {
        char device[32], number[NUM_MAX];

        snprintf(device, sizeof(device), "/dev/nvidia%d", i);
        num_format_int(number, i);
        if (file_exists(device))
            vec_push(&g->devices, mem_strdup(number));
    }
}

struct gpus *gpus_new(const char *dir, int slots, int per_slot)
{
    struct gpus *g = mem_alloc(sizeof(*g));
    const char *job = getenv("SLURM_JOB_ID");
    struct str all = STR_INIT;
    char hex[17];

    g->slots = slots;
    g->per_slot = per_slot;
    g->share = mem_alloc((size_t)slots * sizeof(g->share[0]));
    for (int i = 0; i < slots; i++)
        g->share[i].fd = -1;
    if (per_slot > 0)
        find_devices(g);
    str_addf(&all, "%s\n%s", dir, job ? job : "");
    hash_hex(hex, hash64(all.p, all.len));
    snprintf(g->name, sizeof(g->name), "rung-gpus-%s", hex);
    str_free(&all);
    return g;
}

void gpus_free(struct gpus *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->slots; i++) {
        if (g->share[i].fd >= 0)
            close(g->share[i].fd);
    }
    for (size_t i = 0; i < g->devices.n; i++)
        free(g->devices.v[i]);
    vec_free(&g->devices);
    free(g->share);
    free(g);
}

/* The descriptor that holds the claim, or -1. */
static int claim(const struct gpus *g, int index)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s-%d", g->name, index);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, size) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool take_any(const struct gpus *g, struct share *s)
{
    int n = (int)g->devices.n / g->per_slot;

    for (int i = 0; i < n && s->fd < 0; i++) {
        s->fd = claim(g, i);
        s->index = i;
    }
    return s->fd >= 0;
}

int gpus_of_slot(struct gpus *g, int slot, struct str *out, struct err *e)
{
    const struct timespec moment = {.tv_nsec = TRY_NSEC};
    struct share *s = &g->share[slot];

    if (g->devices.n == 0)
        return 0;
    for (int i = 0; s->fd < 0 && !take_any(g, s); i++) {
        if (i == TRIES)
            return err_set(e, ERR_RANGE,
                           "no GPU is left for this slot: a slot has %d, of the %zu here "
                           "(`--slots` limits how many trials run at once)",
                           g->per_slot, g->devices.n);
        nanosleep(&moment, NULL);
    }
    for (int i = 0; i < g->per_slot; i++)
        str_addf(out, "%s%s", i ? "," : "",
                 g->devices.v[(size_t)(s->index * g->per_slot + i)]);
    return 0;
}
