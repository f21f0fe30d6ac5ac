/* The reader is a child of a child, and so no child of the agent, which takes its own
 * children for shims, and waits for them. It lives as long as the agent has the other end
 * of its socket, and is never waited for: a process that the driver keeps in the kernel
 * cannot be ended. Orders and readings are packets; readings that the agent does not take
 * in time are dropped. */
#include "launcher/meter.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gpu/nvml.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES_MAX 1024 /* bytes: sixteen UUIDs, and more */
#define TEXT_MAX  200

/* What the agent says: read these from now on; without names: nothing any more. */
struct order {
    int32_t slot;
    uint32_t number; /* of the attempt, so that late readings are not taken for its */
    char names[NAMES_MAX];
};

/* And what it hears. */
struct reading {
    int32_t slot;
    uint32_t number;
    double time; /* clock_mono() */
    struct gpu_use use;
    double energy;          /* J, since some time */
    char trouble[TEXT_MAX]; /* "" or a phrase */
};

/* ---- the process that reads ---- */

struct target {      /* the attempt in a slot */
    uint32_t number; /* 0: none */
    char names[NAMES_MAX];
    int n;
    struct nvml_gpu *gpu[METER_GPUS_MAX];
    char trouble[TEXT_MAX];
};

struct reader {
    int fd;
    struct nvml *nvml;
    double seconds, due;
    int slots;
    struct target *target; /* [slots] */
};

/* More of something, where NaN is nothing. */
static void add(double *sum, double more)
{
    if (!isnan(more))
        *sum = isnan(*sum) ? more : *sum + more;
}

static void take_in(struct reading *all, const struct nvml_reading *one, int *telling)
{
    *telling += !isnan(one->util);
    add(&all->use.util, one->util);
    add(&all->use.power, one->power);
    add(&all->energy, one->energy);
    if (!isnan(one->mem_used) && !(one->mem_used <= all->use.mem_used)) {
        all->use.mem_used = one->mem_used;
        all->use.mem_total = one->mem_total;
    }
}

static void read_slot(struct reader *r, int slot)
{
    struct target *t = &r->target[slot];
    struct reading all = {.slot = slot,
                          .number = t->number,
                          .use = {slot, t->n, NAN, NAN, NAN, NAN},
                          .energy = NAN};
    int telling = 0;

    for (int i = 0; i < t->n; i++) {
        struct nvml_reading one;
        struct err e;

        if (nvml_read(r->nvml, t->gpu[i], &one, &e) == 0)
            take_in(&all, &one, &telling);
        else
            snprintf(t->trouble, sizeof(t->trouble), "one of its GPUs: %.*s",
                     TEXT_MAX - 40, e.text);
    }
    all.use.util /= telling;
    all.time = clock_mono();
    if (*t->trouble)
        all.energy = NAN; /* of those that are left */
    memcpy(all.trouble, t->trouble, sizeof(all.trouble));
    send(r->fd, &all, sizeof(all), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* quiet: what is wrong with these was said before. */
static void find_gpus(struct reader *r, struct target *t, bool quiet)
{
    char *copy = mem_strdup(t->names), *rest = copy, *name;
    struct err e;

    t->n = 0;
    while (t->n < METER_GPUS_MAX && (name = strsep(&rest, ",")) != NULL) {
        if (nvml_find(r->nvml, name, &t->gpu[t->n], &e) == 0)
            t->n++;
        else if (!quiet)
            fprintf(stderr, "rung agent: how GPUs are used is not shown: %s\n", e.text);
    }
    free(copy);
}

static void obey(struct reader *r, const struct order *o)
{
    struct target *t = &r->target[o->slot];
    bool same = strcmp(t->names, o->names) == 0;

    *t->trouble = '\0';
    t->number = *o->names ? o->number : 0;
    if (t->number == 0)
        return;
    memcpy(t->names, o->names, sizeof(t->names));
    find_gpus(r, t, same);
    if (t->n == 0)
        t->number = 0;
    else
        read_slot(r, o->slot);
}

static bool reads_any(const struct reader *r)
{
    for (int i = 0; i < r->slots; i++) {
        if (r->target[i].number > 0)
            return true;
    }
    return false;
}

/* Until the agent is gone. */
static void serve(struct reader *r)
{
    struct pollfd in = {.fd = r->fd, .events = POLLIN};

    for (;;) {
        double left = r->due - clock_mono();
        struct order o;

        if (!reads_any(r))
            left = -1e-3; /* for ever */
        else if (left < 0)
            left = 0;
        in.revents = 0;
        if (poll(&in, 1, (int)ceil(left * 1000)) < 0 && errno != EINTR)
            return;
        if (in.revents) {
            if (recv(r->fd, &o, sizeof(o), 0) != sizeof(o))
                return;
            if (!reads_any(r))
                r->due = clock_mono() + r->seconds;
            obey(r, &o);
        }
        if (!reads_any(r) || clock_mono() < r->due)
            continue;
        for (int i = 0; i < r->slots; i++) {
            if (r->target[i].number > 0)
                read_slot(r, i);
        }
        r->due = clock_mono() + r->seconds;
    }
}

/* Signals are for the agent: it ends, and then we do. Nobody shall wait for the end of an
 * output that we hold. */
static void become_reader(int fd, int slots, double seconds)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2};
    struct reader r = {.fd = fd, .slots = slots, .seconds = seconds};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct err e = {0};

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, "rung-gpus");
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    if (nvml_open(&r.nvml, &e) == 0) {
        r.target = mem_alloc((size_t)slots * sizeof(r.target[0]));
        serve(&r);
    } else if (e.code != ERR_NOENT) {
        fprintf(stderr, "rung agent: how GPUs are used is not shown: %s\n", e.text);
    }
    _exit(0);
}

/* ---- the agent's side ---- */

struct gauge { /* of the attempt in a slot */
    uint32_t number;
    bool runs;
    int readings;
    struct reading last;
    double util, mem_peak, energy; /* sum; maximum; when it began */
    int utils;                     /* how many are in the sum */
};

struct meter {
    int fd; /* -1: nobody reads */
    int slots;
    double seconds;
    struct gauge *gauge; /* [slots] */
};

struct meter *meter_new(int slots, double seconds)
{
    struct meter *m;
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return NULL;
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        if (fork() == 0)
            become_reader(ends[1], slots, seconds);
        _exit(0);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return NULL;
    }
    waitpid(pid, NULL, 0);
    m = mem_alloc(sizeof(*m));
    *m = (struct meter){.fd = ends[0], .slots = slots, .seconds = seconds};
    m->gauge = mem_alloc((size_t)slots * sizeof(m->gauge[0]));
    return m;
}

void meter_free(struct meter *m)
{
    if (!m)
        return;
    if (m->fd >= 0)
        close(m->fd);
    free(m->gauge);
    free(m);
}

static void note_reading(struct gauge *g, const struct reading *r)
{
    if (g->readings++ == 0) { /* before it did anything */
        g->energy = r->energy;
    } else {
        if (!isnan(r->use.util)) {
            g->util += r->use.util;
            g->utils++;
        }
        g->mem_peak = fmax(g->mem_peak, r->use.mem_used); /* NaN is none */
    }
    g->last = *r;
}

/* Takes in what was read. */
static void listen_to_reader(struct meter *m)
{
    struct reading r;
    ssize_t n = 0;

    while (m->fd >= 0 && (n = recv(m->fd, &r, sizeof(r), MSG_DONTWAIT)) == sizeof(r)) {
        struct gauge *g = &m->gauge[r.slot];

        if (g->runs && r.number == g->number)
            note_reading(g, &r);
    }
    if (m->fd >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
        close(m->fd); /* there is no driver */
        m->fd = -1;
    }
}

static void order(struct meter *m, int slot, const char *names)
{
    struct order o = {.slot = slot, .number = m->gauge[slot].number};

    snprintf(o.names, sizeof(o.names), "%s", names);
    if (m->fd >= 0)
        send(m->fd, &o, sizeof(o), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void meter_begin(struct meter *m, int slot, const char *names)
{
    struct gauge *g;

    if (!m || !*names || strlen(names) >= NAMES_MAX)
        return;
    g = &m->gauge[slot];
    *g = (struct gauge){
        .number = g->number + 1, .runs = true, .mem_peak = NAN, .energy = NAN};
    order(m, slot, names);
}

bool meter_now(struct meter *m, int slot, struct gpu_use *out)
{
    struct gauge *g;

    if (!m || m->fd < 0)
        return false;
    listen_to_reader(m);
    g = &m->gauge[slot];
    if (!g->runs || g->readings == 0 ||
        clock_mono() - g->last.time > 3 * m->seconds + 1) /* the driver hangs */
        return false;
    *out = g->last.use;
    return true;
}

const char *meter_end(struct meter *m, int slot, struct end_facts *facts)
{
    struct gauge *g;

    facts->gpu_util = facts->gpu_mem_peak = facts->gpu_energy = NAN;
    if (!m || !m->gauge[slot].runs)
        return NULL;
    listen_to_reader(m);
    g = &m->gauge[slot];
    order(m, slot, "");
    g->runs = false;
    if (g->utils > 0)
        facts->gpu_util = g->util / g->utils;
    facts->gpu_mem_peak = g->mem_peak;
    if (g->readings > 1)
        facts->gpu_energy = g->last.energy - g->energy;
    return *g->last.trouble ? g->last.trouble : NULL;
}
