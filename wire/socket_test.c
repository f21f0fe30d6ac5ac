/* Real ZeroMQ over the loopback interface. */
#include "wire/socket.h"

#include "base/clock.h"
#include "wire/msg.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#define LONG_ENOUGH 20.0 /* seconds; nothing here takes one */

static struct key_pair server_key, agent_key, stranger;
static struct socket *server;

static struct socket *connect_to(const char *addresses, const struct key_pair *own,
                                 const char *key)
{
    struct socket *s;
    struct err e;
    if (socket_connect(&s, own, key, addresses, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

static struct socket *connect_agent(void)
{
    return connect_to(socket_address(server), &agent_key, server_key.public_key);
}

static void say(struct socket *s, uint64_t peer, const char *text)
{
    socket_send(s, peer, text, strlen(text));
}

/* Waits for a packet at `at`, serving both ends meanwhile: false after `seconds`. */
static bool await(struct socket *at, struct socket *other, double seconds, uint64_t *peer,
                  struct slice *packet)
{
    double end = clock_mono() + seconds;
    while (clock_mono() < end) {
        int got = socket_receive(at, peer, packet, NULL);
        assert_true(got >= 0);
        if (got)
            return true;
        assert_true(socket_wait(at, NULL, 0, 0.005, NULL) >= 0);
        if (other)
            assert_true(socket_wait(other, NULL, 0, 0, NULL) >= 0);
    }
    return false;
}

static uint64_t hears(struct socket *at, struct socket *other, const char *text)
{
    struct slice packet;
    uint64_t peer = 0;
    assert_true(await(at, other, LONG_ENOUGH, &peer, &packet));
    if (!slice_eq(packet, text))
        fail_msg("heard '%.*s', not '%s'", (int)packet.len, packet.p, text);
    return peer;
}

static void hears_nothing(struct socket *at, struct socket *other, double seconds)
{
    struct slice packet;
    assert_false(await(at, other, seconds, NULL, &packet));
}

static void test_bad_arguments(void **state)
{
    struct socket *s;
    struct err e;
    (void)state;
    assert_int_equal(socket_serve(&s, &server_key, "no key", true, &e), ERR_INVAL);
    assert_int_equal(socket_connect(&s, &agent_key, server_key.public_key, " ", &e),
                     ERR_INVAL);
    assert_int_equal(socket_connect(&s, &agent_key, server_key.public_key, "host", &e),
                     ERR_IO);
    assert_int_equal(socket_connect(&s, &agent_key, "no key", "tcp://127.0.0.1:1", &e),
                     ERR_IO);
    socket_close(NULL);
}

static void test_both_ways(void **state)
{
    struct socket *a = connect_agent(), *b = connect_agent();
    (void)state;
    say(a, 0, "from a");
    uint64_t peer_a = hears(server, a, "from a");
    say(b, 0, "from b");
    uint64_t peer_b = hears(server, b, "from b");
    assert_true(peer_a != peer_b);
    say(server, peer_a, "to a");
    say(server, peer_b, "to b");
    hears(a, server, "to a");
    hears(b, server, "to b");
    for (int i = 0; i < 100; i++)
        say(a, 0, i % 2 ? "odd" : "even");
    for (int i = 0; i < 100; i++)
        assert_int_equal(hears(server, a, i % 2 ? "odd" : "even"), peer_a);
    say(server, peer_a + 1000, "to nobody"); /* dropped */
    hears_nothing(a, server, 0.05);
    socket_close(a);
    say(server, peer_a, "to one who left");
    say(server, peer_b, "to b again");
    hears(b, server, "to b again");
    socket_close(b);
    assert_int_equal(socket_refused(server), 0);
}

static void test_wrong_key(void **state)
{
    struct socket *bad =
        connect_to(socket_address(server), &stranger, server_key.public_key);
    struct socket *good = connect_agent();
    double end = clock_mono() + LONG_ENOUGH;
    (void)state;
    say(bad, 0, "let me in");
    while (socket_refused(server) == 0 && clock_mono() < end)
        assert_true(socket_wait(server, NULL, 0, 0.01, NULL) >= 0);
    assert_true(socket_refused(server) > 0);
    hears_nothing(server, bad, 0.3);
    say(good, 0, "and me");
    hears(server, bad, "and me");
    socket_close(bad);
    socket_close(good);
}

/* An agent tells its secrets only to the controller that controller.json named. */
static void test_wrong_server(void **state)
{
    struct socket *a =
        connect_to(socket_address(server), &agent_key, stranger.public_key);
    (void)state;
    say(a, 0, "is it you?");
    hears_nothing(server, a, 0.5);
    socket_close(a);
}

/* Somebody who speaks ZeroMQ without any key. */
static void test_no_key(void **state)
{
    void *context = zmq_ctx_new(), *end = zmq_socket(context, ZMQ_DEALER);
    int no_linger = 0;
    (void)state;
    zmq_setsockopt(end, ZMQ_LINGER, &no_linger, sizeof(no_linger));
    assert_int_equal(zmq_connect(end, socket_address(server)), 0);
    assert_int_equal(zmq_send(end, "hello", 5, ZMQ_DONTWAIT), 5);
    hears_nothing(server, NULL, 0.5);
    zmq_close(end);
    zmq_ctx_term(context);
}

/* ---- who listens on the way ---- */

static int port_of(const char *address)
{
    return atoi(strrchr(address, ':') + 1);
}

static int connect_raw(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Between one client and the server; keeps what the client says. */
struct tap {
    int listener, client, server;
    char address[64];
    struct str said;
};

static void tap_open(struct tap *t)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    *t = (struct tap){.client = -1, .server = -1, .said = STR_INIT};
    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(t->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(t->listener, 1), 0);
    assert_int_equal(getsockname(t->listener, (struct sockaddr *)&at, &size), 0);
    snprintf(t->address, sizeof(t->address), "tcp://127.0.0.1:%d", ntohs(at.sin_port));
}

static void tap_close(struct tap *t)
{
    close(t->listener);
    close(t->client);
    close(t->server);
    str_free(&t->said);
}

static void tap_pump(struct tap *t)
{
    char buf[65536];
    ssize_t n;
    if (t->client < 0 && (t->client = accept(t->listener, NULL, NULL)) >= 0)
        t->server = connect_raw(port_of(socket_address(server)));
    while ((n = recv(t->client, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        str_addn(&t->said, buf, (size_t)n);
        assert_int_equal(send(t->server, buf, (size_t)n, MSG_NOSIGNAL), n);
    }
    while ((n = recv(t->server, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
        assert_int_equal(send(t->client, buf, (size_t)n, MSG_NOSIGNAL), n);
}

/* Serves for a moment, in which nobody is let in and nothing is heard. */
static void serve_strangers(double seconds)
{
    struct slice packet;
    assert_int_equal(socket_receive(server, NULL, &packet, NULL), 0);
    assert_true(socket_wait(server, NULL, 0, seconds, NULL) >= 0);
}

/* Says it all again, at once or waiting for the server's part of the handshake in
 * between, until the server hangs up. */
static void replay(const struct str *said, bool paced)
{
    static const size_t parts[] = {64, 202}; /* greeting, HELLO: as in ZMTP 3.1 */
    int fd = connect_raw(port_of(socket_address(server)));
    double end = clock_mono() + LONG_ENOUGH;
    size_t at = 0;
    char buf[65536];
    ssize_t n = 0;
    for (size_t i = 0; paced && i < 2; i++) {
        assert_int_equal(send(fd, said->p + at, parts[i], MSG_NOSIGNAL), parts[i]);
        at += parts[i];
        for (size_t got = 0; got < (i ? 170 : 64) && clock_mono() < end;) {
            serve_strangers(0.002);
            if ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
                got += (size_t)n;
        }
    }
    send(fd, said->p + at, said->len - at, MSG_NOSIGNAL);
    do {
        serve_strangers(0.002);
        n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    } while (clock_mono() < end && (n > 0 || (n < 0 && errno == EAGAIN)));
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}

/* Whoever recorded a whole connection of an agent, and plays it again, is not let in. */
static void test_replayed(void **state)
{
    struct tap t;
    struct slice packet;
    double end = clock_mono() + LONG_ENOUGH;
    int got = 0;
    (void)state;
    tap_open(&t);
    struct socket *a = connect_to(t.address, &agent_key, server_key.public_key);
    say(a, 0, "a packet of the agent");
    while (!got && clock_mono() < end) {
        tap_pump(&t);
        assert_true(socket_wait(server, NULL, 0, 0.002, NULL) >= 0);
        got = socket_receive(server, NULL, &packet, NULL);
    }
    assert_int_equal(got, 1);
    assert_true(slice_eq(packet, "a packet of the agent"));
    socket_close(a);
    assert_true(t.said.len > 64 + 202 + 257);
    assert_null(memmem(t.said.p, t.said.len, "packet", 6));
    assert_null(memmem(t.said.p, t.said.len, agent_key.secret_key, 40));
    replay(&t.said, false);
    replay(&t.said, true);
    tap_close(&t);
    a = connect_agent();
    say(a, 0, "still here");
    hears(server, a, "still here");
    socket_close(a);
}

/* Connects for ever and says nothing, garbage, or half a greeting. */
static _Noreturn void be_a_crowd(int n, int ready)
{
    static const char *const words[] = {"", "GET / HTTP/1.0\r\n\r\n", "\xff",
                                        "\xff\0\0\0"};
    struct rlimit most;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    for (int i = 0; i < n; i++) {
        int fd = connect_raw(port_of(socket_address(server)));
        const char *word = words[i % 4];
        send(fd, word, i % 4 == 3 ? 4 : strlen(word), MSG_NOSIGNAL);
        if (i % 50 == 0)
            usleep(10000); /* the kernel's queue is short */
    }
    if (write(ready, "x", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* More strangers than there are descriptors: who is in stays in, the controller can open
 * its files, and when they are gone there is room again. */
static void test_crowd(void **state)
{
    struct socket *a = connect_agent();
    struct rlimit before, few;
    int p[2];
    char c;
    (void)state;
    say(a, 0, "before");
    uint64_t peer = hears(server, a, "before");
    assert_int_equal(pipe(p), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    pid_t crowd = fork();
    assert_true(crowd >= 0);
    if (crowd == 0)
        be_a_crowd(150, p[1]);
    struct pollfd ready = {.fd = p[0], .events = POLLIN};
    while (!(ready.revents & POLLIN))
        assert_true(socket_wait(server, &ready, 1, LONG_ENOUGH, NULL) >= 0);
    assert_int_equal(read(p[0], &c, 1), 1);
    for (int i = 0; i < 100; i++) {
        FILE *f = fopen("/proc/self/status", "re");
        assert_non_null(f);
        fclose(f);
        say(a, 0, "meanwhile");
        assert_int_equal(hears(server, a, "meanwhile"), peer);
        say(server, peer, "yes");
        hears(a, server, "yes");
    }
    assert_int_equal(kill(crowd, SIGKILL), 0);
    assert_int_equal(waitpid(crowd, NULL, 0), crowd);
    struct socket *b = connect_agent();
    say(b, 0, "after");
    hears(server, b, "after");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(p[0]);
    close(p[1]);
    socket_close(a);
    socket_close(b);
}

static void test_several_addresses(void **state)
{
    char list[200];
    const char *good = socket_address(server);
    struct slice packet;
    uint64_t peer = 0;
    (void)state;
    /* Nobody is at the first; two lead to the same place. */
    snprintf(list, sizeof(list), "tcp://127.0.0.1:1 %s tcp://nowhere.invalid:1 %s", good,
             good);
    struct socket *a = connect_to(list, &agent_key, server_key.public_key);
    say(a, 0, "hello");
    hears(server, a, "hello");
    peer = hears(server, a, "hello");
    say(server, peer, "welcome");
    hears(a, server, "welcome");
    say(a, 0, "once");
    assert_int_equal(hears(server, a, "once"), peer);
    assert_false(await(server, a, 0.3, &peer, &packet));
    socket_close(a);
}

static void test_sizes(void **state)
{
    struct socket *a = connect_agent();
    char *large = malloc(WIRE_PACKET_MAX + 1000);
    struct slice packet;
    double end = clock_mono() + LONG_ENOUGH;
    bool heard = false;
    (void)state;
    memset(large, 'x', WIRE_PACKET_MAX + 1000);
    socket_send(a, 0, large, WIRE_PACKET_MAX);
    assert_true(await(server, a, LONG_ENOUGH, NULL, &packet));
    assert_int_equal(packet.len, WIRE_PACKET_MAX);
    assert_memory_equal(packet.p, large, packet.len);
    /* A longer one costs the connection, and a new one is made. */
    socket_send(a, 0, large, WIRE_PACKET_MAX + 1000);
    while (!heard && clock_mono() < end) {
        say(a, 0, "small");
        heard = await(server, a, 0.1, NULL, &packet);
    }
    assert_true(heard && slice_eq(packet, "small"));
    free(large);
    socket_close(a);
}

/* A controller that is gone, and its successor elsewhere under another key. */
static void test_turn_to_another(void **state)
{
    struct key_pair key;
    struct socket *second, *a = connect_agent();
    struct err e;
    (void)state;
    say(a, 0, "one");
    hears(server, a, "one");
    assert_int_equal(key_pair_make(&key, &e), 0);
    assert_int_equal(socket_serve(&second, &key, agent_key.public_key, true, &e), 0);
    socket_close(a);
    a = connect_to(socket_address(second), &agent_key, key.public_key);
    say(a, 0, "two");
    uint64_t peer = hears(second, a, "two");
    say(second, peer, "welcome");
    hears(a, second, "welcome");
    socket_close(a);
    socket_close(second);
}

static void test_addresses(void **state)
{
    struct socket *s, *a;
    struct err e;
    (void)state;
    assert_int_equal(strncmp(socket_address(server), "tcp://127.0.0.1:", 16), 0);
    if (socket_serve(&s, &server_key, agent_key.public_key, false, &e) != 0)
        fail_msg("%s", e.text);
    char name[256];
    assert_int_equal(gethostname(name, sizeof(name)), 0);
    assert_non_null(strstr(socket_address(s), name));
    assert_true(strlen(socket_address(s)) <
                sizeof(((struct controller_file *)NULL)->address));
    /* All interfaces: the loopback one too. */
    char local[64];
    snprintf(local, sizeof(local), "tcp://127.0.0.1%s", strrchr(socket_address(s), ':'));
    a = connect_to(local, &agent_key, server_key.public_key);
    say(a, 0, "hello");
    hears(s, a, "hello");
    socket_close(a);
    socket_close(s);
}

static void interrupt(int signal)
{
    (void)signal;
}

static void test_wait(void **state)
{
    struct socket *a = connect_agent();
    int p[2];
    double start = clock_mono();
    (void)state;
    assert_int_equal(pipe(p), 0);
    struct pollfd fds[] = {{.fd = p[0], .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    assert_int_equal(socket_wait(NULL, fds, 2, 0.03, NULL), 0);
    assert_int_equal(socket_wait(server, fds, 2, 0.03, NULL), 0);
    assert_true(clock_mono() - start >= 0.06);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(socket_wait(NULL, fds, 2, -1, NULL), 1);
    fds[0].revents = 0;
    assert_int_equal(socket_wait(server, fds, 2, -1, NULL), 1);
    assert_int_equal(fds[0].revents, POLLIN);
    assert_int_equal(fds[1].revents, 0);
    say(a, 0, "packet");
    start = clock_mono();
    while (socket_wait(server, fds, 2, LONG_ENOUGH, NULL) < 2) /* pipe and packet */
        assert_true(clock_mono() - start < LONG_ENOUGH);
    hears(server, a, "packet");
    close(p[1]);
    char c;
    assert_int_equal(read(p[0], &c, 1), 1);
    assert_int_equal(socket_wait(server, fds, 1, LONG_ENOUGH, NULL), 1);
    assert_int_equal(fds[0].revents, POLLHUP);
    close(p[0]);
    /* A signal ends the wait early. */
    struct sigaction act = {.sa_handler = interrupt};
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
    start = clock_mono();
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    assert_int_equal(socket_wait(NULL, NULL, 0, LONG_ENOUGH, NULL), 0);
    assert_true(clock_mono() - start < LONG_ENOUGH);
    socket_close(a);
}

static int make_keys(void **state)
{
    (void)state;
    return key_pair_make(&server_key, NULL) || key_pair_make(&agent_key, NULL) ||
           key_pair_make(&stranger, NULL);
}

static int begin(void **state)
{
    (void)state;
    return socket_serve(&server, &server_key, agent_key.public_key, true, NULL);
}

static int end(void **state)
{
    (void)state;
    socket_close(server);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_arguments), TEST(test_wrong_key),
        TEST(test_wrong_server),  TEST(test_no_key),
        TEST(test_both_ways),     TEST(test_several_addresses),
        TEST(test_sizes),         TEST(test_turn_to_another),
        TEST(test_addresses),     TEST(test_wait),
        TEST(test_replayed),      TEST(test_crowd),
    };
    return cmocka_run_group_tests_name("wire/socket", tests, make_keys, NULL);
}
