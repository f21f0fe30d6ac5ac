#include "worker/agent/order.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* What an order begins with. Behind it: workdir, if there is one, argv and envp, each
 * string with its NUL. */
struct head {
    size_t bytes;
    uint32_t argc, envc;
    bool has_workdir;
    double kill_seconds;
};

/* Room for the one descriptor that goes along. */
union passed {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* ---- the agent's side ---- */

static void put_string(struct str *out, const char *text)
{
    str_addn(out, text, strlen(text) + 1);
}

static uint32_t put_list(struct str *out, char *const list[])
{
    uint32_t n = 0;
    for (; list[n]; n++)
        put_string(out, list[n]);
    return n;
}

/* Sends it all; the descriptor travels with the first byte. */
static int send_all(int fd, struct iovec part[2], int out_fd, struct err *e)
{
    union passed passed = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                                    .cmsg_level = SOL_SOCKET,
                                    .cmsg_type = SCM_RIGHTS}};
    struct msghdr m = {.msg_iov = part,
                       .msg_iovlen = 2,
                       .msg_control = &passed,
                       .msg_controllen = sizeof(passed)};
    memcpy(CMSG_DATA(&passed.head), &out_fd, sizeof(int));
    while (part[0].iov_len + part[1].iov_len > 0) {
        ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "its shim");
        m.msg_control = NULL;
        m.msg_controllen = 0;
        for (int i = 0; i < 2; i++) {
            size_t taken = (size_t)n < part[i].iov_len ? (size_t)n : part[i].iov_len;
            part[i].iov_base = (char *)part[i].iov_base + taken;
            part[i].iov_len -= taken;
            n -= (ssize_t)taken;
        }
    }
    return 0;
}

int order_send(int fd, const struct shim *s, struct err *e)
{
    struct head h = {.has_workdir = s->workdir != NULL, .kill_seconds = s->kill_seconds};
    struct str text = STR_INIT;
    if (s->workdir)
        put_string(&text, s->workdir);
    h.argc = put_list(&text, s->argv);
    h.envc = put_list(&text, s->envp);
    h.bytes = text.len;
    struct iovec part[2] = {{&h, sizeof(h)}, {text.p, text.len}};
    int rc = send_all(fd, part, s->out_fd, e);
    str_free(&text);
    return rc;
}

/* ---- the shim's side ---- */

/* Receives n bytes, and the descriptor that comes with the first of them, if one does. */
static bool receive_all(int fd, void *to, size_t n, int *out_fd)
{
    union passed passed;
    struct iovec part = {to, n};
    while (part.iov_len > 0) {
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &passed,
                           .msg_controllen = sizeof(passed)};
        ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (c && c->cmsg_type == SCM_RIGHTS)
            memcpy(out_fd, CMSG_DATA(c), sizeof(int));
        part.iov_base = (char *)part.iov_base + got;
        part.iov_len -= (size_t)got;
    }
    return true;
}

static bool make_room(struct order *o, size_t size)
{
    if (size <= o->size)
        return true;
    void *room =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return false;
    if (o->room)
        munmap(o->room, o->size);
    o->room = room;
    o->size = size;
    return true;
}

static char **take_list(char **table, uint32_t n, char **text)
{
    for (uint32_t i = 0; i < n; i++) {
        table[i] = *text;
        *text += strlen(*text) + 1;
    }
    table[n] = NULL;
    return table + n + 1;
}

bool order_receive(int fd, struct order *o)
{
    struct head h;
    int out_fd = -1;
    if (!receive_all(fd, &h, sizeof(h), &out_fd))
        return false;
    size_t table = ((size_t)h.argc + h.envc + 2) * sizeof(char *);
    if (!make_room(o, table + h.bytes))
        return false;
    char **argv = (char **)(void *)o->room, *text = o->room + table;
    if (!receive_all(fd, text, h.bytes, &out_fd))
        return false;
    o->shim = (struct shim){.argv = argv,
                            .workdir = h.has_workdir ? text : NULL,
                            .out_fd = out_fd,
                            .err_fd = out_fd,
                            .report_fd = fd,
                            .kill_seconds = h.kill_seconds};
    if (h.has_workdir)
        text += strlen(text) + 1;
    o->shim.envp = take_list(argv, h.argc, &text);
    take_list((char **)(void *)o->shim.envp, h.envc, &text);
    return true;
}
