#include "gpu/usage.h"

#include "base/mem.h"
#include "gpu/nvml.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct mean {
    double sum;
    int n;
};

struct usage {
    struct nvml *nvml;
    struct nvml_gpu *gpu;
    double seconds;
    pthread_mutex_t lock; /* of what follows */
    bool over;            /* the thread frees it all */
    struct mean util, power;
    double peak;
    struct nvml_reading last;
};

static void add(struct mean *m, double v)
{
    m->sum += isnan(v) ? 0 : v;
    m->n += !isnan(v);
}

static double take(struct mean *m, double otherwise)
{
    double v = m->n > 0 ? m->sum / m->n : otherwise;

    *m = (struct mean){0, 0};
    return v;
}

/* Takes in a reading; false when nobody wants one any more. */
static bool note(struct usage *u, const struct nvml_reading *r)
{
    bool over;

    pthread_mutex_lock(&u->lock);
    u->last = *r;
    add(&u->util, r->util);
    add(&u->power, r->power);
    u->peak = fmax(u->peak, r->mem_used); /* NaN is none */
    over = u->over;
    pthread_mutex_unlock(&u->lock);
    return !over;
}

static void *watch(void *usage)
{
    struct usage *u = usage;
    struct timespec rest = {.tv_sec = (time_t)u->seconds};
    struct nvml_reading r;

    rest.tv_nsec = (long)(1e9 * (u->seconds - (double)rest.tv_sec));
    do {
        nanosleep(&rest, NULL);
        nvml_read(u->nvml, u->gpu, &r, NULL); /* NaN where it is lost */
    } while (note(u, &r));
    nvml_close(u->nvml);
    pthread_mutex_destroy(&u->lock);
    free(u);
    return NULL;
}

/* Signals are for the other threads. */
static int begin_thread(struct usage *u)
{
    sigset_t all, before;
    pthread_t thread;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, NULL, watch, u);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? rc : pthread_detach(thread);
}

struct usage *usage_begin(const char *name, double seconds)
{
    struct usage *u = mem_alloc(sizeof(*u));

    u->seconds = seconds;
    u->peak = NAN;
    pthread_mutex_init(&u->lock, NULL);
    if (nvml_open(&u->nvml, NULL) == 0 && nvml_find(u->nvml, name, &u->gpu, NULL) == 0 &&
        nvml_read(u->nvml, u->gpu, &u->last, NULL) == 0 && begin_thread(u) == 0)
        return u;
    nvml_close(u->nvml);
    pthread_mutex_destroy(&u->lock);
    free(u);
    return NULL;
}

void usage_end(struct usage *u)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    u->over = true;
    pthread_mutex_unlock(&u->lock);
}

void usage_take(struct usage *u, struct device_usage *out)
{
    *out = (struct device_usage){NAN, NAN, NAN, NAN};
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    out->util = take(&u->util, u->last.util);
    out->power = take(&u->power, u->last.power);
    out->mem_used = u->last.mem_used;
    out->mem_peak = fmax(u->peak, u->last.mem_used);
    u->peak = NAN;
    pthread_mutex_unlock(&u->lock);
}
