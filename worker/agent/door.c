#include "worker/agent/door.h"

#include "wire/trial.h"
#include "worker/agent/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE   65536
#define DEAF_ROUNDS 16 /* without accepting, after there were no descriptors left */

struct conn {
    int fd; /* -1: closed, to be removed */
    uint64_t id;
    struct lines in;
    struct str out; /* what could not be sent yet; nothing is read meanwhile */
    size_t owed;    /* lines that were not answered yet */
    bool over;      /* the program has closed its side; it may still read */
    bool deaf;      /* it reads no more */
    int at;         /* its place in the pollset, -1: not watched */
};

struct door {
    int fd;
    int at;   /* as in struct conn */
    int deaf; /* rounds */
    uint64_t *ids;
    VEC(struct conn) conns;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

int door_open(struct door **out, const char *path, uint64_t *ids, struct err *e)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(name.sun_path))
        return err_set(e, ERR_RANGE, "%s: too long for a unix socket", path);
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(e, "socket");
    if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
        int rc = err_sys(e, "%s", path);
        close(fd);
        return rc;
    }
    if (listen(fd, DOOR_CONNECTIONS) < 0) {
        int rc = err_sys(e, "%s", path);
        close(fd);
        unlink(path);
        return rc;
    }
    struct door *d = mem_alloc(sizeof(*d));
    d->fd = fd;
    d->ids = ids;
    strcpy(d->path, path);
    *out = d;
    return 0;
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* Whoever has closed its side and has all its answers may wait for the end of ours. */
static void remove_closed(struct door *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->conns.n; i++) {
        struct conn *c = &d->conns.v[i];
        if (c->over && c->owed == 0 && c->out.len == 0)
            conn_close(c);
        if (c->fd >= 0) {
            d->conns.v[kept++] = *c;
            continue;
        }
        lines_free(&c->in);
        str_free(&c->out);
    }
    d->conns.n = kept;
}

void door_close(struct door *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->conns.n; i++)
        conn_close(&d->conns.v[i]);
    remove_closed(d);
    vec_free(&d->conns);
    close(d->fd);
    unlink(d->path);
    free(d);
}

/* ---- waiting ---- */

static int add(struct pollset *set, int fd, short events)
{
    vec_push(set, ((struct pollfd){.fd = fd, .events = events}));
    return (int)set->n - 1;
}

void door_watch(struct door *d, bool read, struct pollset *set)
{
    remove_closed(d);
    d->at = -1;
    if (d->deaf > 0)
        d->deaf--;
    else if (read && d->conns.n < DOOR_CONNECTIONS)
        d->at = add(set, d->fd, POLLIN);
    for (size_t i = 0; i < d->conns.n; i++) {
        struct conn *c = &d->conns.v[i];
        c->at = -1;
        if (c->out.len > 0)
            c->at = add(set, c->fd, POLLOUT);
        else if (read) /* not otherwise: poll() would tell of each hang-up at once */
            c->at = add(set, c->fd, c->over ? 0 : POLLIN);
    }
}

/* ---- talking ---- */

static void conn_flush(struct conn *c)
{
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            str_drop(&c->out, (size_t)n);
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        else if (n < 0 && errno != EINTR)
            c->deaf = true; /* it is gone; what it said before may still come */
        if (c->deaf)
            str_cut(&c->out, 0);
    }
    if (c->out.cap > READ_SIZE)
        str_free(&c->out);
}

void door_reply(struct door *d, uint64_t conn, const char *line, size_t n)
{
    for (size_t i = 0; i < d->conns.n; i++) {
        struct conn *c = &d->conns.v[i];
        if (c->id != conn)
            continue;
        if (c->owed > 0)
            c->owed--;
        str_addn(&c->out, line, n);
        conn_flush(c);
    }
}

struct hearer {
    struct door *d;
    struct conn *c;
    door_fn *said;
    void *ctx;
};

static void hear(void *ctx, const char *line, size_t n, bool cut)
{
    const struct hearer *h = ctx;
    h->c->owed++;
    if (!cut) {
        h->said(h->ctx, h->c->id, line, n);
        return;
    }
    struct str answer = STR_INIT;
    trial_answer_error(&answer, "the line is longer than 1 MiB");
    door_reply(h->d, h->c->id, answer.p, answer.len);
    str_free(&answer);
}

/* False when there is nothing more to read, for now or for ever. */
static bool conn_read(struct conn *c, struct hearer *h)
{
    char buf[READ_SIZE];
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0) {
        lines_feed(&c->in, buf, (size_t)n, TRIAL_LINE_MAX, "\n", hear, h);
        return true;
    }
    if (n == 0) {
        c->over = true;
        lines_finish(&c->in, hear, h);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        conn_close(c);
    }
    return false;
}

static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
           peer.uid == geteuid();
}

static void let_in(struct door *d)
{
    while (d->conns.n < DOOR_CONNECTIONS) {
        int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                d->deaf = DEAF_ROUNDS;
            return;
        }
        if (!is_ours(fd)) {
            close(fd);
            continue;
        }
        struct conn c = {
            .fd = fd, .id = ++*d->ids, .in = LINES_INIT, .out = STR_INIT, .at = -1};
        vec_push(&d->conns, c);
    }
}

static void conn_serve(struct conn *c, const struct pollfd *p, struct hearer *h)
{
    if (p->events & POLLOUT) { /* then nothing was asked about reading */
        if (p->revents)
            conn_flush(c);
    } else if (p->revents & POLLIN) {
        conn_read(c, h);
    } else if (p->revents) {
        conn_close(c);
    }
}

void door_serve(struct door *d, const struct pollset *set, door_fn *said, void *ctx)
{
    for (size_t i = 0; i < d->conns.n; i++) {
        struct conn *c = &d->conns.v[i];
        struct hearer h = {d, c, said, ctx};
        if (c->at >= 0)
            conn_serve(c, &set->v[c->at], &h);
    }
    if (d->at >= 0 && set->v[d->at].revents)
        let_in(d);
}

void door_drain(struct door *d, door_fn *said, void *ctx)
{
    let_in(d);
    for (size_t i = 0; i < d->conns.n; i++) {
        struct conn *c = &d->conns.v[i];
        struct hearer h = {d, c, said, ctx};
        while (c->fd >= 0 && !c->over && conn_read(c, &h))
            ;
    }
}
