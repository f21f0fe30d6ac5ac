/* Real ZeroMQ over the loopback interface. */
#include "wire/socket.h"

#include "base/clock.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
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
    };
    return cmocka_run_group_tests_name("wire/socket", tests, make_keys, NULL);
}
