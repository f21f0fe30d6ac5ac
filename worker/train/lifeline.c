#include "worker/train/lifeline.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS        1000
#define GATHER_SECONDS 30

/* What is said along the line, a byte each. */
enum {
    BEAT = '.',    /* I live */
    GOODBYE = 'b', /* my end will be a good one */
    END = '!',     /* another rank is lost, and that has been said: end */
};

struct peer {
    struct lifeline_who who;
    int fd;
    bool gone;  /* it has said goodbye */
    int silent; /* ticks of ours since it was heard: while we are stopped, none pass */
};

struct lifeline {
    int rank;
    int n_peers; /* rank 0 has all others, they have rank 0 */
    struct peer *peers;
    int wake[2]; /* a pipe whose other end closing ends the thread */
    pthread_t thread;
    bool running, closing;
    comm_lost *lost;
    void *lost_arg;
};

static struct lifeline_who introduce(int rank)
{
    struct lifeline_who me = {.rank = rank, .pid = getpid()};

    gethostname(me.host, sizeof(me.host) - 1);
    return me;
}

/* ---- watching ---- */

static void say(const struct peer *p, char what)
{
    /* A full buffer means that it does not listen: it will be found silent. */
    if (p->fd >= 0 && send(p->fd, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

static void give_up(struct lifeline *l, const struct peer *p, const char *what)
{
    char text[256];

    for (int i = 0; i < l->n_peers; i++)
        say(&l->peers[i], END);
    snprintf(text, sizeof(text), "rank %d (process %d on %s) %s: all ranks end",
             p->who.rank, p->who.pid, p->who.host, what);
    /* When rank 0 is gone, its successor speaks. */
    l->lost(l->lost_arg, l->rank <= 1 ? text : NULL);
}

static void listen_to(struct lifeline *l, struct peer *p)
{
    char heard[64];
    ssize_t n = recv(p->fd, heard, sizeof(heard), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && memchr(heard, END, (size_t)n))
        l->lost(l->lost_arg, NULL);
    if (n > 0 && memchr(heard, GOODBYE, (size_t)n)) {
        p->gone = true;
        return;
    }
    if (n <= 0)
        give_up(l, p, "has died");
    p->silent = 0;
}

static void tick(struct lifeline *l)
{
    for (int i = 0; i < l->n_peers; i++) {
        struct peer *p = &l->peers[i];
        if (!l->closing)
            say(p, BEAT);
        if (!p->gone && ++p->silent > LIFELINE_SILENCE)
            give_up(l, p, "is silent: it is stopped, or its node is gone");
    }
}

static bool any_left(const struct lifeline *l)
{
    for (int i = 0; i < l->n_peers; i++)
        if (!l->peers[i].gone)
            return true;
    return false;
}

/* Until we have said goodbye, and all others have: one that closes its end with something
 * unread there would reset ours, which looks like death. */
static void *watch(void *arg)
{
    struct lifeline *l = arg;
    struct pollfd *wait = mem_alloc(((size_t)l->n_peers + 1) * sizeof(*wait));
    double next = clock_mono() + 1e-3 * TICK_MS;

    while (!l->closing || any_left(l)) {
        for (int i = 0; i < l->n_peers; i++)
            wait[i] = (struct pollfd){l->peers[i].gone ? -1 : l->peers[i].fd, POLLIN, 0};
        wait[l->n_peers] = (struct pollfd){l->closing ? -1 : l->wake[0], POLLIN, 0};
        double left = next - clock_mono();
        poll(wait, (nfds_t)l->n_peers + 1, left > 0 ? (int)(left * 1e3) + 1 : 0);
        for (int i = 0; i < l->n_peers; i++)
            if (wait[i].revents)
                listen_to(l, &l->peers[i]);
        if (wait[l->n_peers].revents) {
            l->closing = true;
            for (int i = 0; i < l->n_peers; i++)
                say(&l->peers[i], GOODBYE);
        }
        if (clock_mono() < next)
            continue;
        tick(l);
        next = clock_mono() + 1e-3 * TICK_MS;
    }
    free(wait);
    return NULL;
}

/* ---- opening and closing ---- */

/* Waits for all others, and says who is missing. */
static int gather(struct lifeline *l, const struct tcp_address *a, int listening,
                  struct err *e)
{
    for (int i = 0; i < l->n_peers; i++) {
        struct lifeline_who h;
        int fd, rc = tcp_accept(listening, a, GATHER_SECONDS, &h, sizeof(h), &fd, e);
        if (rc < 0)
            return err_set(e, rc, "%d of %d ranks could not reach rank 0 within %d s",
                           l->n_peers - i, l->n_peers + 1, GATHER_SECONDS);
        if (h.rank < 1 || h.rank > l->n_peers || l->peers[h.rank - 1].fd >= 0) {
            close(fd);
            return err_set(e, ERR_PROTO, "rank %d came twice", h.rank);
        }
        h.host[sizeof(h.host) - 1] = '\0';
        l->peers[h.rank - 1].who = h;
        l->peers[h.rank - 1].fd = fd;
    }
    return 0;
}

int lifeline_listen(struct lifeline_call *call, int *listening, struct err *e)
{
    call->who = introduce(0);
    return tcp_listen(&call->address, listening, e);
}

static int meet(struct lifeline *l, const struct lifeline_call *call, int listening,
                struct err *e)
{
    struct lifeline_who me = introduce(l->rank);
    int rc;

    if (l->rank == 0) {
        rc = gather(l, &call->address, listening, e);
        close(listening);
        return rc;
    }
    l->peers[0].who = call->who;
    rc = tcp_connect(&call->address, &me, sizeof(me), &l->peers[0].fd, e);
    if (rc < 0)
        err_prefix(e, "rank %d on %s cannot reach rank 0", l->rank, me.host);
    return rc;
}

/* No signal is to meet this thread: they are the program's. */
static int start_thread(struct lifeline *l, struct err *e)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&l->thread, NULL, watch, l);
    l->running = errno == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->running ? 0 : err_sys(e, "cannot start a thread");
}

int lifeline_open(struct lifeline **out, int rank, int size,
                  const struct lifeline_call *call, int listening, comm_lost *lost,
                  void *arg, struct err *e)
{
    struct lifeline *l = mem_alloc(sizeof(*l));
    int rc;

    l->rank = rank;
    l->n_peers = rank == 0 ? size - 1 : 1;
    l->peers = mem_alloc((size_t)l->n_peers * sizeof(*l->peers));
    for (int i = 0; i < l->n_peers; i++)
        l->peers[i].fd = -1;
    l->lost = lost;
    l->lost_arg = arg;
    l->wake[0] = l->wake[1] = -1;
    rc = meet(l, call, listening, e);
    if (rc == 0 && pipe2(l->wake, O_CLOEXEC) < 0)
        rc = err_sys(e, "cannot make a pipe");
    if (rc == 0)
        rc = start_thread(l, e);
    if (rc < 0) {
        lifeline_close(l);
        l = NULL;
    }
    *out = l;
    return rc;
}

void lifeline_close(struct lifeline *l)
{
    if (!l)
        return;
    close(l->wake[1]);
    if (l->running)
        pthread_join(l->thread, NULL);
    close(l->wake[0]);
    for (int i = 0; i < l->n_peers; i++)
        if (l->peers[i].fd >= 0)
            close(l->peers[i].fd);
    free(l->peers);
    free(l);
}

void lifeline_wait(struct lifeline *l)
{
    enum { SECONDS = 2 };

    if (l)
        nanosleep(&(struct timespec){SECONDS, 0}, NULL);
}
