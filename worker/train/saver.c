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
    bool reserving;   /* and all that it does is to take memory for the first copy */
    atomic_bool done; /* it has written, and is about to end */
    /* The thread's, until it is joined: */
    double begun, seconds;
    int rc;
    struct err err;
};

static void write_copy(struct saver *s)
{
    s->rc = checkpoint_write(s->dir, &s->copy, s->training, &s->err);
    s->seconds = clock_mono() - s->begun;
    atomic_store(&s->done, true);
}

static void *write_main(void *arg)
{
    write_copy(arg);
    return NULL;
}

static void *reserve_main(void *arg)
{
    struct saver *s = arg;

    content_reserve(&s->copy, s->training);
    return NULL;
}

/* False where no thread can be had. Signals are the training's. */
static bool start(struct saver *s, void *(*main)(void *arg))
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->running = pthread_create(&s->thread, NULL, main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->running;
}

static void join(struct saver *s)
{
    if (s->running)
        pthread_join(s->thread, NULL);
    s->running = s->reserving = false;
}

struct saver *saver_open(struct checkpoint_dir *dir, const struct training *t)
{
    struct saver *s = mem_alloc(sizeof(*s));

    s->dir = dir;
    s->training = t;
    s->reserving = start(s, reserve_main);
    return s;
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
    join(s);
    rc = content_copy(&s->copy, s->training, e);
    if (rc == 0 && !start(s, write_main))
        write_copy(s); /* the training waits */
    return rc;
}

bool saver_busy(const struct saver *s)
{
    return (s->running && !s->reserving) || atomic_load(&s->done);
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
