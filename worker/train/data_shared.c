/* One copy of the samples for all ranks of a node.
 *
 * The lowest rank of those on a node that are told to read the same reads it, and copies
 * it into a memfd: memory with a file descriptor and no name, which is gone with the last
 * process that has it, however that ends. The others open it by /proc/PID/fd/FD. Where
 * that is not possible (no memfd, a container for each rank), a rank reads for itself. */
#include "worker/train/data_private.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/comm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTS    2 /* train, test */
#define SECRET   16
#define ALIGN(n) (((n) + 63) / 64 * 64)

/* What a rank tells the others of its node. The pointers in samples mean nothing there.
 */
struct offer {
    pid_t pid;
    int fd;                       /* -1: nothing is offered */
    unsigned char secret[SECRET]; /* at the start of the memory: that it is this one */
    size_t bytes;                 /* of the memory */
    size_t classes;
    struct samples samples[PARTS];
    size_t x[PARTS], y[PARTS]; /* where they lie in the memory */
};

/* ---- who shares with whom ---- */

/* A number that ranks have in common if one kernel runs them and they read the same; 0:
 * not known. */
static double place_number(const char *source)
{
    struct str place = STR_INIT;
    double number = 0;

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &place, NULL) == 0) {
        char *path = realpath(source, NULL);
        str_add(&place, path ? path : source);
        number = (double)(hash64(place.p, place.len) >> 11);
        free(path);
    }
    str_free(&place);
    return number;
}

/* For each rank the lowest one that reads the same on its node. free() it. */
static int *find_firsts(struct comm *c, const char *source)
{
    int size = comm_size(c);
    double *places = mem_alloc((size_t)size * sizeof(*places));
    int *firsts = mem_alloc((size_t)size * sizeof(*firsts));

    places[comm_rank(c)] = place_number(source);
    comm_sum(c, places, (size_t)size);
    for (int r = 0; r < size; r++) {
        firsts[r] = 0;
        while (firsts[r] < r && (places[r] == 0 || places[firsts[r]] != places[r]))
            firsts[r]++;
    }
    free(places);
    return firsts;
}

/* Whether it is the first of several. */
static bool has_others(const int *firsts, int size, int rank)
{
    for (int r = rank + 1; r < size; r++)
        if (firsts[r] == rank)
            return true;
    return false;
}

/* ---- the memory ---- */

static int write_at(int fd, size_t at, const void *data, size_t n)
{
    if (lseek(fd, (off_t)at, SEEK_SET) < 0)
        return ERR_IO;
    return file_write_fd(fd, data, n, NULL);
}

static int fill(const struct offer *o)
{
    int rc = ftruncate(o->fd, (off_t)o->bytes) < 0 ? ERR_IO : 0;

    if (rc == 0)
        rc = write_at(o->fd, 0, o->secret, SECRET);
    for (int i = 0; i < PARTS && rc == 0; i++) {
        const struct samples *s = &o->samples[i];
        rc = write_at(o->fd, o->x[i], s->x, samples_bytes(s));
        if (rc == 0)
            rc = write_at(o->fd, o->y[i], s->y, s->n * sizeof(*s->y));
    }
    return rc;
}

/* The data's samples are now those in the memory. */
static void adopt(struct data *d, const struct offer *o, const char *memory)
{
    struct samples *parts[PARTS] = {&d->train, &d->test};

    d->shared = memory;
    d->shared_bytes = o->bytes;
    for (int i = 0; i < PARTS; i++) {
        parts[i]->x = memory + o->x[i];
        parts[i]->y = (int32_t *)(uintptr_t)(memory + o->y[i]);
    }
}

static void free_own(struct samples *s)
{
    free(s->y);
    free(s->floats);
    str_free(&s->bytes);
    s->floats = NULL;
}

/* Moves the samples into memory for all; where there is none, they stay where they are
 * and nothing is offered. */
static void offer_make(struct offer *o, struct data *d)
{
    size_t end = ALIGN(SECRET);

    *o = (struct offer){.pid = getpid(), .classes = d->classes};
    rng_secret(o->secret, SECRET);
    o->samples[0] = d->train;
    o->samples[1] = d->test;
    for (int i = 0; i < PARTS; i++) {
        o->x[i] = end;
        o->y[i] = end + ALIGN(samples_bytes(&o->samples[i]));
        end = o->y[i] + ALIGN(o->samples[i].n * sizeof(int32_t));
    }
    o->bytes = end;
    o->fd = memfd_create("rung-train data", MFD_CLOEXEC);
    if (o->fd < 0)
        return;
    void *memory = MAP_FAILED;
    if (fill(o) == 0)
        memory = mmap(NULL, o->bytes, PROT_READ, MAP_SHARED, o->fd, 0);
    if (memory == MAP_FAILED) {
        close(o->fd);
        o->fd = -1;
        return;
    }
    free_own(&d->train);
    free_own(&d->test);
    adopt(d, o, memory);
}

/* NULL if it cannot be had. The process of that number may be another one here, so that
 * what it has open is looked at with care. */
static const char *offer_map(const struct offer *o)
{
    char path[64];
    struct stat st;
    void *memory = MAP_FAILED;

    if (o->fd < 0)
        return NULL;
    snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)o->pid, o->fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)o->bytes)
        memory = mmap(NULL, o->bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED)
        return NULL;
    if (memcmp(memory, o->secret, SECRET) != 0) {
        munmap(memory, o->bytes);
        return NULL;
    }
    return memory;
}

/* What another rank of the node offers, or else what this one reads itself. */
static struct data *take(const struct offer *o, const struct data_config *config,
                         struct err *e)
{
    const char *memory = offer_map(o);
    struct data *d;

    if (!memory)
        return data_open(config, e);
    d = mem_alloc(sizeof(*d));
    d->train = o->samples[0];
    d->test = o->samples[1];
    d->classes = o->classes;
    struct samples *parts[PARTS] = {&d->train, &d->test};
    for (int i = 0; i < PARTS; i++) {
        parts[i]->name = mem_strdup(config->source);
        parts[i]->bytes = (struct str)STR_INIT;
        parts[i]->floats = NULL;
    }
    adopt(d, o, memory);
    if (data_divide(d, config, e) < 0) {
        data_close(d);
        return NULL;
    }
    return d;
}

/* The offer of the first rank in this one's place. All ranks at once. */
static struct offer tell(struct comm *c, const int *firsts, const struct offer *mine)
{
    struct offer theirs = {.fd = -1};

    for (int r = 0; r < comm_size(c); r++) {
        struct offer o = *mine;
        if (!has_others(firsts, comm_size(c), r))
            continue;
        comm_broadcast(c, r, &o, sizeof(o));
        if (firsts[comm_rank(c)] == r)
            theirs = o;
    }
    return theirs;
}

struct data *data_open_shared(const struct data_config *config, struct comm *c,
                              struct err *e)
{
    if (comm_size(c) == 1)
        return data_open(config, e);
    int rank = comm_rank(c), *firsts = find_firsts(c, config->source);
    bool reads = firsts[rank] == rank;
    struct offer mine = {.fd = -1}, theirs;
    struct data *d = reads ? data_open(config, e) : NULL;
    int rc = comm_agree(c, reads && !d ? e->code : 0, e);

    if (rc == 0) {
        if (has_others(firsts, comm_size(c), rank))
            offer_make(&mine, d);
        theirs = tell(c, firsts, &mine);
        if (!reads)
            d = take(&theirs, config, e);
        rc = comm_agree(c, d ? 0 : e->code, e);
    }
    if (mine.fd >= 0)
        close(mine.fd);
    free(firsts);
    if (rc < 0) {
        data_close(d);
        return NULL;
    }
    return d;
}
