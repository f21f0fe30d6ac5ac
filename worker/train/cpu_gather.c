/* A batch's samples, one after another: each is normalised as it is stored, moved, and
 * brought into the model's order, by passes over what a first-level cache has room for.
 *
 * Where there is more than one CPU, a thread does it while the device goes on. It may get
 * a CPU late, if others want them: so who waits for the samples gathers what is left. The
 * thread touches nothing of the device but the gatherer. */
#include "worker/train/cpu_private.h"

#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

WIDE static void normalise_u8(size_t n, const uint8_t *restrict x,
                              const float *restrict mean, const float *restrict scale,
                              float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = ((float)x[i] - mean[i]) * scale[i];
}

WIDE static void normalise_f32(size_t n, const float *restrict x,
                               const float *restrict mean, const float *restrict scale,
                               float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (x[i] - mean[i]) * scale[i];
}

static void normalise(const struct device_gather *g, const char *x, float *out)
{
    if (g->type == SAMPLE_U8)
        normalise_u8(g->features, (const uint8_t *)x, g->mean, g->scale, out);
    else
        normalise_f32(g->features, (const float *)(const void *)x, g->mean, g->scale,
                      out);
}

WIDE static void interleave_3(size_t n, const float *restrict a, const float *restrict b,
                              const float *restrict c, float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        out[3 * i] = a[i];
        out[3 * i + 1] = b[i];
        out[3 * i + 2] = c[i];
    }
}

/* [planes][n] becomes [n][planes]. */
static void interleave(size_t planes, size_t n, const float *in, float *out)
{
    if (planes == 3) {
        interleave_3(n, in, in + n, in + 2 * n, out);
        return;
    }
    for (size_t p = 0; p < planes; p++, in += n)
        for (size_t i = 0; i < n; i++)
            out[i * planes + p] = in[i];
}

/* n pixels of c numbers, the last first. */
static void mirror(size_t n, size_t c, const float *in, float *out)
{
    for (in += n * c; n > 0; n--) {
        in -= c;
        for (size_t k = 0; k < c; k++)
            *out++ = in[k];
    }
}

WIDE static void mirror_plane(size_t n, const float *restrict in, float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = in[n - 1 - i];
}

/* A row of `out` from the row of `in` that it is taken from. Mirrored, pixel x is that at
 * w - 1 - x + dx: the row moved by dx, and then mirrored. */
static void move_row(struct image image, struct device_move m, const float *in,
                     float *out)
{
    size_t w = image.w, c = image.c;
    size_t by = (size_t)(m.dx < 0 ? -m.dx : m.dx), n = by < w ? w - by : 0;
    size_t from = m.dx < 0 ? 0 : by;    /* in `in`, n pixels of it */
    bool behind = m.flip == (m.dx < 0); /* what is outside comes after them */

    if (behind)
        memset(out + n * c, 0, (w - n) * c * sizeof(*out));
    else
        memset(out, 0, (w - n) * c * sizeof(*out));
    out += behind ? 0 : (w - n) * c;
    in += from * c;
    if (!m.flip)
        memcpy(out, in, n * c * sizeof(*out));
    else if (c == 1)
        mirror_plane(n, in, out);
    else
        mirror(n, c, in, out);
}

static void move_image(struct image image, struct device_move m, const float *in,
                       float *out)
{
    size_t row = image.w * image.c;

    for (size_t i = 0; i < image.h; i++, out += row) {
        ptrdiff_t y = (ptrdiff_t)i + m.dy;
        if (y >= 0 && y < (ptrdiff_t)image.h)
            move_row(image, m, in + (size_t)y * row, out);
        else
            memset(out, 0, row * sizeof(*out));
    }
}

/* ---- and in a thread ---- */

/* Fewer numbers are gathered in less time than it takes to wake a thread. */
#define WORTH ((size_t)1 << 15)
/* So many are gathered at once: a thread that loses its CPU keeps no more from others. */
#define AT_ONCE ((size_t)1 << 13)

struct gatherer {
    struct device_gather gather;
    size_t rows;
    float *out;
    atomic_size_t begun; /* of the rows */
    size_t at_once;      /* rows */
    struct space space;  /* for each of the two who gather [2][features] */

    bool threaded; /* it has a thread, or will have */
    bool started;
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    bool asked, gathers; /* the thread */
    bool ends;
};

static void gather_row(const struct device_gather *g, size_t r, float *space, float *out)
{
    size_t n = g->features, image = g->moves ? image_size(g->image) : 0;
    float *now = g->planes > 1 || g->moves ? space : out;

    normalise(g, (const char *)g->x + g->index[r] * g->stride, now);
    if (g->moves) {
        float *moved = g->planes > 1 ? space + n : out;
        for (size_t i = 0; i < n; i += image)
            move_image(g->image, g->moves[r], now + i, moved + i);
        now = moved;
    }
    if (g->planes > 1)
        interleave(g->planes, n / g->planes, now, out);
}

/* Gathers what nobody has begun. */
static void work(struct gatherer *w, float *space)
{
    size_t n = w->at_once, r;

    while ((r = atomic_fetch_add(&w->begun, n)) < w->rows)
        for (size_t end = r + n < w->rows ? r + n : w->rows; r < end; r++)
            gather_row(&w->gather, r, space, w->out + r * w->gather.features);
}

static void *thread_main(void *arg)
{
    struct gatherer *w = arg;

    /* Where all CPUs are busy it does not push aside whoever woke it. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    pthread_mutex_lock(&w->mutex);
    while (!w->ends) {
        if (!w->asked) {
            pthread_cond_wait(&w->changed, &w->mutex);
            continue;
        }
        w->asked = false;
        w->gathers = true;
        pthread_mutex_unlock(&w->mutex);
        work(w, (float *)w->space.p + 2 * w->gather.features);
        pthread_mutex_lock(&w->mutex);
        w->gathers = false;
        pthread_cond_signal(&w->changed);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Signals are the training's. */
static bool start(struct gatherer *w)
{
    sigset_t all, before;

    if (w->started)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->started = w->threaded = pthread_create(&w->thread, NULL, thread_main, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->started;
}

void cpu_gather_open(struct cpu *cpu)
{
    struct gatherer *w = mem_alloc(sizeof(*w));
    cpu_set_t cpus;

    w->threaded = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    cpu->gatherer = w;
}

void cpu_gather_close(struct cpu *cpu)
{
    struct gatherer *w = cpu->gatherer;

    cpu_gather_wait(&cpu->device);
    if (w->started) {
        pthread_mutex_lock(&w->mutex);
        w->ends = true;
        pthread_cond_signal(&w->changed);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
    }
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->changed);
    free(w->space.p);
    free(w);
}

void cpu_gather(struct device *d, const struct device_gather *g, size_t rows, void *out)
{
    struct cpu *cpu = (struct cpu *)d;
    struct gatherer *w = cpu->gatherer;

    cpu_gather_wait(d);
    if (!space_fit(&w->space, cpu, 4 * g->features * sizeof(float)))
        return;
    w->gather = *g;
    w->rows = rows;
    w->out = out;
    w->at_once = AT_ONCE / g->features + 1;
    atomic_store(&w->begun, 0);
    if (!w->threaded || rows * g->features < WORTH || !start(w)) {
        work(w, w->space.p);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->asked = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

void cpu_gather_wait(struct device *d)
{
    struct gatherer *w = ((struct cpu *)d)->gatherer;

    if (!w->started)
        return;
    pthread_mutex_lock(&w->mutex);
    bool late = w->asked || w->gathers;
    w->asked = false;
    pthread_mutex_unlock(&w->mutex);
    if (!late)
        return;
    work(w, w->space.p);
    pthread_mutex_lock(&w->mutex);
    while (w->gathers)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}
