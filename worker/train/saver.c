#include "worker/train/saver.h"

#include "base/clock.h"
#include "base/mem.h"
#include "worker/train/content.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct saver {
    struct checkpoint_dir *dir;
    const struct training *training;
    struct content copy; /* kept, for its memory; the thread's while there is one */
    pthread_t thread;
    bool running;     /* there is a thread to join */
    atomic_bool done; /* and it is about to end */
    /* The thread's, until it is joined: */
    double begun, seconds;
    int rc;
    struct err err;
};

struct saver *saver_open(struct checkpoint_dir *dir, const struct training *t)
{
    struct saver *s = mem_alloc(sizeof(*s));

    s->dir = dir;
    s->training = t;
    return s;
}

static void write_copy(struct saver *s)
{
    s->rc = checkpoint_write(s->dir, &s->copy, s->training, &s->err);
    s->seconds = clock_mono() - s->begun;
    atomic_store(&s->done, true);
}

static void *thread_main(void *arg)
{
    write_copy(arg);
    return NULL;
}

/* Signals are the training's. Where no thread can be had, the training waits. */
static void start(struct saver *s)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->running = pthread_create(&s->thread, NULL, thread_main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->running)
        write_copy(s);
}

static void join(struct saver *s)
{
    if (s->running)
        pthread_join(s->thread, NULL);
    s->running = false;
}

int saver_collect(struct saver *s, bool wait, int64_t *step, struct err *e)
{
    if (!saver_busy(s) || (!wait && !atomic_load(&s->done)))
        return 0;
    join(s);
    atomic_store(&s->done, false);
    *step = s->copy.progress.step;
    return s->rc < 0 ? err_set(e, s->rc, "%s", s->err.text) : 1;
}

int saver_begin(struct saver *s, struct err *e)
{
    int64_t step;
    int rc = saver_collect(s, true, &step, e);

    if (rc < 0)
        return rc;
    s->begun = clock_mono();
    rc = content_copy(&s->copy, s->training, e);
    if (rc == 0)
        start(s);
    return rc;
}

bool saver_busy(const struct saver *s)
{
    return s->running || atomic_load(&s->done);
}

double saver_seconds(const struct saver *s)
{
    return s->seconds;
}

void saver_close(struct saver *s)
{
    if (!s)
        return;
    join(s);
    content_free(&s->copy);
    free(s);
}
