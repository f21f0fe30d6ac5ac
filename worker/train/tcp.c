#include "worker/train/tcp.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long an address may stay silent: some of a host may not be reachable from here. */
#define CONNECT_SECONDS 5.0
#define GREET_SECONDS   2.0

/* Does all of a send or a receive within the time; false otherwise. */
static bool move_all(int fd, short event, void *p, size_t n, double seconds)
{
    double end = clock_mono() + seconds;

    for (char *at = p; n;) {
        struct pollfd wait = {fd, event, 0};
        double left = end - clock_mono();
        if (left <= 0 || poll(&wait, 1, (int)(left * 1000) + 1) <= 0)
            return false;
        ssize_t done = event == POLLOUT ? send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT)
                                        : recv(fd, at, n, MSG_DONTWAIT);
        if (done == 0 || (done < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (done > 0) {
            at += done;
            n -= (size_t)done;
        }
    }
    return true;
}

/* Appends the interfaces' addresses that lead further, or those that do not. */
static int add_hosts(struct tcp_address *a, const struct ifaddrs *all, bool loopback,
                     int n)
{
    for (const struct ifaddrs *i = all; i && n < TCP_HOSTS; i = i->ifa_next) {
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        socklen_t size =
            family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if ((family != AF_INET && family != AF_INET6) || !(i->ifa_flags & IFF_UP) ||
            loopback != !!(i->ifa_flags & IFF_LOOPBACK))
            continue;
        /* A link-local address means nothing on another host. */
        if (family == AF_INET6 &&
            IN6_IS_ADDR_LINKLOCAL(
                &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr))
            continue;
        if (getnameinfo(i->ifa_addr, size, a->hosts[n], TCP_HOST, NULL, 0,
                        NI_NUMERICHOST) == 0)
            n++;
    }
    return n;
}

static int find_hosts(struct tcp_address *a, struct err *e)
{
    struct ifaddrs *all;

    if (getifaddrs(&all) < 0)
        return err_sys(e, "cannot list the network interfaces");
    int n = add_hosts(a, all, true, add_hosts(a, all, false, 0));
    freeifaddrs(all);
    return n ? 0 : err_set(e, ERR_NOENT, "this host has no network address");
}

/* Both versions of IP at one port; the old one alone where the new one is switched off.
 */
static int bind_any(int *fd)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    int no = 0;

    *fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0) {
        setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
        if (bind(*fd, (struct sockaddr *)&six, sizeof(six)) == 0)
            return 0;
        close(*fd);
    }
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *fd < 0 ? -1 : bind(*fd, (struct sockaddr *)&four, sizeof(four));
}

int tcp_listen(struct tcp_address *a, int *listening, struct err *e)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } name;
    socklen_t size = sizeof(name);
    int rc;

    memset(a, 0, sizeof(*a));
    rc = find_hosts(a, e);
    if (rc < 0)
        return rc;
    rng_secret(a->token, sizeof(a->token));
    if (bind_any(listening) < 0 || listen(*listening, SOMAXCONN) < 0 ||
        getsockname(*listening, &name.any, &size) < 0) {
        rc = err_sys(e, "cannot listen for the other ranks");
        if (*listening >= 0)
            close(*listening);
        *listening = -1;
        return rc;
    }
    a->port =
        ntohs(name.any.sa_family == AF_INET ? name.four.sin_port : name.six.sin6_port);
    return 0;
}

static bool connect_within(int fd, const struct sockaddr *to, socklen_t size)
{
    struct pollfd wait = {fd, POLLOUT, 0};
    int error = 0;
    socklen_t n = sizeof(error);

    if (connect(fd, to, size) == 0)
        return true;
    if (errno != EINPROGRESS)
        return false;
    if (poll(&wait, 1, (int)(CONNECT_SECONDS * 1000)) <= 0) {
        errno = ETIMEDOUT;
        return false;
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    errno = error;
    return error == 0;
}

/* The rank at one of its addresses; -1, with errno, if it does not answer there. */
static int connect_host(const struct tcp_address *a, const char *host, const void *hello,
                        size_t n)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *to;
    char port[8];
    uint64_t answer, token = a->token[0];
    int yes = 1;

    snprintf(port, sizeof(port), "%u", a->port);
    if (getaddrinfo(host, port, &hints, &to) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool reached = fd >= 0 && connect_within(fd, to->ai_addr, to->ai_addrlen);
    freeaddrinfo(to);
    if (reached) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        if (move_all(fd, POLLOUT, &token, sizeof(token), GREET_SECONDS) &&
            move_all(fd, POLLOUT, (void *)(uintptr_t)hello, n, GREET_SECONDS) &&
            move_all(fd, POLLIN, &answer, sizeof(answer), CONNECT_SECONDS) &&
            answer == a->token[1])
            return fd;
        errno = EPROTO;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

int tcp_connect(const struct tcp_address *a, const void *hello, size_t n, int *fd,
                struct err *e)
{
    char tried[TCP_HOSTS * (TCP_HOST + 2)] = "";
    size_t used = 0;

    for (int i = 0; i < TCP_HOSTS && a->hosts[i][0]; i++) {
        *fd = connect_host(a, a->hosts[i], hello, n);
        if (*fd >= 0)
            return 0;
        used += (size_t)snprintf(tried + used, sizeof(tried) - used, "%s%s",
                                 i ? ", " : "", a->hosts[i]);
    }
    return err_sys(e, "no way to port %u of another rank, at %s", a->port, tried);
}

int tcp_accept(int listening, const struct tcp_address *a, double seconds, void *hello,
               size_t n, int *fd, struct err *e)
{
    double end = clock_mono() + seconds;
    uint64_t token, answer = a->token[1];
    int yes = 1;

    for (double left = seconds; left > 0; left = end - clock_mono()) {
        struct pollfd wait = {listening, POLLIN, 0};
        if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        *fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (*fd < 0)
            continue;
        setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        if (move_all(*fd, POLLIN, &token, sizeof(token), GREET_SECONDS) &&
            token == a->token[0] && move_all(*fd, POLLIN, hello, n, GREET_SECONDS) &&
            move_all(*fd, POLLOUT, &answer, sizeof(answer), GREET_SECONDS))
            return 0;
        close(*fd);
    }
    return err_set(e, ERR_TIMEOUT, "not all ranks came within %g s", seconds);
}
