/* What no agent of ours does, for tests/security.t:
 *
 *     intruder nonsense DIR   has the sweep's key, and sends packets that none should be
 *     intruder crowd DIR N    has no key, and connects N times, with garbage or nothing;
 *                             says "ready" and stays until its input ends
 *     intruder listen PORT    takes the port of a controller that died; prints what its
 *                             agent says to it
 *     intruder knock SOCKET   reports through a trial's socket; says what came back */
#include "base/str.h"
#include "wire/keys.h"
#include "wire/msg.h"
#include "wire/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "intruder: %s: %s\n", what, strerror(errno));
    return 1;
}

static void put_large(struct str *out, char c)
{
    size_t n = WIRE_PACKET_MAX - 4096;

    str_reserve(out, n);
    memset(out->p + out->len, c, n);
    out->len += n;
    out->p[out->len] = '\0';
}

/* The k-th packet; false when there are no more. */
static bool make_packet(int k, int32_t epoch, struct str *out)
{
    static const char *const items[] = {
        "", /* a header alone */
        "nonsense\n",
        "{\"item\":\"hello\",\"slots\":2147483647,\"closed\":0,\"oldest\":1,\"pid\":1,"
        "\"host\":\"h\"}\n",
        "{\"item\":\"report\",\"n\":1,\"trial\":0,\"attempt\":1,\"nonce\":"
        "\"0000000000000000\",\"number\":1,\"step\":-1,\"elapsed\":0}\n",
        "{\"item\":\"report\",\"n\":1,\"trial\":0,\"attempt\":1,\"nonce\":"
        "\"0000000000000000\",\"number\":1,\"step\":1,\"elapsed\":0}\n",
        "{\"item\":\"end\",\"n\":1,\"trial\":2147483647,\"attempt\":1,\"nonce\":"
        "\"0000000000000000\"}\n",
        "{\"item\":\"ask\",\"n\":1,\"slot\":7,\"ask\":1}\n",
        "{\"item\":\"refused\",\"text\":\"\\u001b[2J\\u0000\"}\n",
        "{\"item\":\"work\",\"slot\":0}\n",
    };
    const int n = sizeof(items) / sizeof(items[0]);

    str_cut(out, 0);
    if (k < 6 * n) { /* from several agents, of this epoch, an old and a later one */
        int32_t other = k / n % 3 == 1 ? 0 : k / n % 3 == 2 ? INT32_MAX : epoch;

        str_addf(out, "{\"rung\":1,\"release\":\"0\",\"epoch\":%d,\"agent\":\"%016x\",",
                 other, k / n + 1);
        str_addf(out, "\"first\":1}\n%s", items[k % n]);
        return true;
    }
    switch (k - 6 * n) {
    case 0: return true; /* empty */
    case 1: str_addn(out, "\0\n\0\xff", 4); return true;
    case 2: put_large(out, '{'); return true;
    case 3: put_large(out, '\n'); return true;
    case 4: /* more than the transport lets through */
        put_large(out, 'x');
        put_large(out, 'x');
        return true;
    default: return false;
    }
}

static int nonsense(const char *dir)
{
    struct controller_file f;
    struct key_pair keys;
    struct socket *s;
    struct slice packet;
    struct str out = STR_INIT;
    struct err e;

    if (keys_load(dir, &keys, &e) < 0 || controller_file_read(dir, &f, &e) < 0 ||
        socket_connect(&s, &keys, f.public_key, f.address, &e) < 0) {
        fprintf(stderr, "intruder: %s\n", e.text);
        return 1;
    }
    for (int round = 0; round < 3; round++)
        for (int k = 0; make_packet(k, f.epoch, &out); k++) {
            socket_send(s, 0, out.p, out.len);
            socket_wait(s, NULL, 0, 0.002, NULL);
            while (socket_receive(s, NULL, &packet, NULL) > 0)
                ;
        }
    socket_wait(s, NULL, 0, 0.3, NULL);
    str_free(&out);
    socket_close(s);
    return 0;
}

static int crowd(const char *dir, int n)
{
    static const struct slice words[] = {{"", 0},
                                         {"GET / HTTP/1.0\r\n\r\n", 18},
                                         {"\xff\0\0\0\0\0\0\0\1\x7f", 10},
                                         {"\xff", 1}};
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct controller_file f;
    struct rlimit most;
    char c;

    if (controller_file_read(dir, &f, NULL) < 0)
        return fail("controller.json");
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(f.address, ':') + 1));
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0)
            return fail("socket");
        connect(fd, (struct sockaddr *)&to, sizeof(to)); /* some are still waiting */
        usleep(500);
        send(fd, words[i % 4].p, words[i % 4].len, MSG_NOSIGNAL);
    }
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}

/* Takes the first connection at a port that a controller had; prints what it is told when
 * it greets as a server does. */
static int listen_at(int port)
{
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\1\x7f\3\1"
                                     "CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 1};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, peer;
    char buf[4096];
    ssize_t n;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    alarm(30);
    /* What was killed has its sockets for a moment after /proc calls it gone. */
    while (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        if (errno != EADDRINUSE || usleep(10000) < 0)
            return fail("bind");
    if (listen(fd, 1) < 0)
        return fail("listen");
    if ((peer = accept(fd, NULL, NULL)) < 0)
        return fail("accept");
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    send(peer, greeting, sizeof(greeting), MSG_NOSIGNAL);
    while ((n = recv(peer, buf, sizeof(buf), 0)) > 0)
        fwrite(buf, 1, (size_t)n, stdout);
    return 0;
}

static int knock(const char *path)
{
    static const char report[] = "{\"step\":1,\"metrics\":{\"loss\":-666}}\n";
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char answer[256];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ssize_t n;

    strncpy(to.sun_path, path, sizeof(to.sun_path) - 1);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return fail("connect");
    send(fd, report, sizeof(report) - 1, MSG_NOSIGNAL);
    n = recv(fd, answer, sizeof(answer), 0);
    if (n <= 0)
        return fail("closed");
    printf("%.*s", (int)n, answer);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "nonsense") == 0)
        return nonsense(argv[2]);
    if (argc == 4 && strcmp(argv[1], "crowd") == 0)
        return crowd(argv[2], atoi(argv[3]));
    if (argc == 3 && strcmp(argv[1], "listen") == 0)
        return listen_at(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "knock") == 0)
        return knock(argv[2]);
    return 2;
}
