#include "launcher/drafter.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct drafter {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t change;
    int fd;
    bool over;
    struct draft *wanted, *made; /* either may be NULL */
};

static void *work(void *ctx)
{
    struct drafter *d = ctx;

    pthread_mutex_lock(&d->mutex);
    while (!d->over) {
        struct draft *draft = d->wanted;

        if (!draft) {
            pthread_cond_wait(&d->change, &d->mutex);
            continue;
        }
        pthread_mutex_unlock(&d->mutex);
        draft_make(draft);
        pthread_mutex_lock(&d->mutex);
        d->wanted = NULL;
        d->made = draft;
        eventfd_write(d->fd, 1);
    }
    pthread_mutex_unlock(&d->mutex);
    return NULL;
}

struct drafter *drafter_new(struct err *e)
{
    struct drafter *d = mem_alloc(sizeof(*d));
    sigset_t all, before;
    int rc;

    d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->fd < 0) {
        err_sys(e, "eventfd");
        free(d);
        return NULL;
    }
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->change, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&d->thread, NULL, work, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return d;
    err_set(e, ERR_IO, "a thread for draws cannot be started: error %d", rc);
    close(d->fd);
    free(d);
    return NULL;
}

void drafter_free(struct drafter *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->mutex);
    d->over = true;
    pthread_cond_signal(&d->change);
    pthread_mutex_unlock(&d->mutex);
    pthread_join(d->thread, NULL);
    pthread_mutex_destroy(&d->mutex);
    pthread_cond_destroy(&d->change);
    draft_free(d->wanted);
    draft_free(d->made);
    close(d->fd);
    free(d);
}

void drafter_make(struct drafter *d, struct draft *draft)
{
    pthread_mutex_lock(&d->mutex);
    d->wanted = draft;
    pthread_cond_signal(&d->change);
    pthread_mutex_unlock(&d->mutex);
}

int drafter_fd(const struct drafter *d)
{
    return d->fd;
}

struct draft *drafter_take(struct drafter *d)
{
    struct draft *made;
    eventfd_t n;

    eventfd_read(d->fd, &n);
    pthread_mutex_lock(&d->mutex);
    made = d->made;
    d->made = NULL;
    pthread_mutex_unlock(&d->mutex);
    return made;
}
