#include "worker/train/comm_tcp.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GATHER_SECONDS 30

/* What is left of a message. */
struct message {
    int peer;
    char *p;
    size_t left;
};

struct tcp {
    struct transport transport;
    int *fds; /* [size]; -1 of this rank itself */
    struct message out, in;
};

static int tcp_send(struct transport *base, int to, const void *p, size_t bytes,
                    struct err *e)
{
    struct tcp *t = (struct tcp *)base;

    (void)e;
    t->out = (struct message){to, (char *)(uintptr_t)p, bytes};
    return 0;
}

static int tcp_receive(struct transport *base, int from, void *p, size_t bytes,
                       struct err *e)
{
    struct tcp *t = (struct tcp *)base;

    (void)e;
    t->in = (struct message){from, p, bytes};
    return 0;
}

/* Goes on with a message as far as it goes without waiting. */
static int move(const struct tcp *t, struct message *m, bool out, struct err *e)
{
    while (m->left) {
        int fd = t->fds[m->peer];
        ssize_t n = out ? send(fd, m->p, m->left, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : recv(fd, m->p, m->left, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return err_sys(e, "the connection to rank %d broke", m->peer);
        if (n == 0)
            return err_set(e, ERR_IO, "rank %d has closed its connection", m->peer);
        m->p += n;
        m->left -= (size_t)n;
    }
    return 0;
}

static int tcp_test(struct transport *base, struct err *e)
{
    struct tcp *t = (struct tcp *)base;
    int rc = move(t, &t->out, true, e);

    if (rc == 0)
        rc = move(t, &t->in, false, e);
    return rc < 0 ? rc : !t->out.left && !t->in.left;
}

static void tcp_waits_for(const struct transport *base, struct pollfd fds[2])
{
    const struct tcp *t = (const struct tcp *)base;

    /* poll() ignores what is negative. */
    fds[0] = (struct pollfd){t->out.left ? t->fds[t->out.peer] : -1, POLLOUT, 0};
    fds[1] = (struct pollfd){t->in.left ? t->fds[t->in.peer] : -1, POLLIN, 0};
}

static void tcp_close(struct transport *base)
{
    struct tcp *t = (struct tcp *)base;

    for (int i = 0; i < base->size; i++)
        if (t->fds[i] >= 0)
            close(t->fds[i]);
    free(t->fds);
    free(t);
}

static const struct transport_ops tcp_ops = {
    .name = "TCP",
    .send = tcp_send,
    .receive = tcp_receive,
    .test = tcp_test,
    .waits_for = tcp_waits_for,
    .close = tcp_close,
};

/* ---- connecting ---- */

/* The higher ranks come to us, in their own order, while we go to the lower ones: so
 * nobody waits for one that waits. */
struct host {
    struct tcp *t;
    int listening;
    const struct tcp_address *mine;
    int rc;
    struct err e;
};

static void *take_higher(void *arg)
{
    struct host *h = arg;
    int *fds = h->t->fds, rank = h->t->transport.rank, size = h->t->transport.size;

    for (int missing = size - 1 - rank; missing > 0; missing--) {
        int32_t who;
        int fd;
        h->rc = tcp_accept(h->listening, h->mine, GATHER_SECONDS, &who, sizeof(who), &fd,
                           &h->e);
        if (h->rc < 0) {
            err_prefix(&h->e, "rank %d", rank);
            return NULL;
        }
        if (who <= rank || who >= size || fds[who] >= 0) {
            close(fd);
            h->rc = err_set(&h->e, ERR_PROTO, "rank %d came to rank %d twice", who, rank);
            return NULL;
        }
        fds[who] = fd;
    }
    return NULL;
}

static int go_to_lower(struct tcp *t, const struct tcp_address *all, struct err *e)
{
    int32_t rank = t->transport.rank;

    for (int i = 0; i < rank; i++) {
        int rc = tcp_connect(&all[i], &rank, sizeof(rank), &t->fds[i], e);
        if (rc < 0)
            return err_prefix(e, "rank %d cannot reach rank %d", rank, i);
    }
    return 0;
}

static int meet(struct tcp *t, int listening, const struct tcp_address *all,
                struct err *e)
{
    struct host h = {.t = t, .listening = listening, .mine = &all[t->transport.rank]};
    pthread_t thread;

    errno = pthread_create(&thread, NULL, take_higher, &h);
    if (errno)
        return err_sys(e, "cannot start a thread");
    int rc = go_to_lower(t, all, e);
    pthread_join(thread, NULL);
    if (rc == 0 && h.rc < 0)
        rc = err_set(e, h.rc, "%s", h.e.text);
    return rc;
}

int transport_tcp(struct transport **out, int rank, int size, int listening,
                  const struct tcp_address *all, struct err *e)
{
    struct tcp *t = mem_alloc(sizeof(*t));

    t->transport = (struct transport){&tcp_ops, rank, size};
    t->fds = mem_alloc((size_t)size * sizeof(*t->fds));
    for (int i = 0; i < size; i++)
        t->fds[i] = -1;
    int rc = meet(t, listening, all, e);
    close(listening);
    if (rc < 0)
        tcp_close(&t->transport);
    *out = rc < 0 ? NULL : &t->transport;
    return rc;
}
