/* ZeroMQ: a ROUTER at the controller's end, DEALERs at the agents'.
 *
 * Each struct socket has a context of its own. libzmq authenticates clients by asking
 * a ZAP handler (rfc.zeromq.org/spec/27), which must be a REP socket bound to one
 * fixed inproc name in the same context. It is polled in the same loop as the packets,
 * so that the process needs no thread of its own: a client's handshake waits until its
 * server is next in socket_wait() or socket_receive().
 *
 * A controller's host may have addresses that an agent cannot reach. An agent opens
 * a DEALER to each and says everything to all of them until the first packet comes
 * back; that one is kept. (Both copies of a packet arriving is a case that the protocol
 * must bear anyhow.)
 *
 * Anybody can connect to a controller, as often as descriptors last. So ZeroMQ's threads,
 * which accept, have a table of descriptors of their own: when strangers have filled it,
 * the controller can still open its files, and those who wait without a handshake are
 * turned out after HANDSHAKE_MSEC. */
#include "wire/socket.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"
#include "wire/msg.h"

#include <errno.h>
#include <ifaddrs.h>
#include <math.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define ADDRESSES_MAX 8
#define QUEUE_MAX     512 /* packets waiting for one peer; more are dropped */
/* A controller answers handshakes between its fsyncs, which may take seconds. */
#define HANDSHAKE_MSEC 10000

struct socket {
    void *context;
    void *ends[ADDRESSES_MAX]; /* one at a controller, and once an agent is settled */
    int n_ends;
    void *zap;          /* NULL at an agent's end */
    uint8_t agents[32]; /* the public key that is let in */
    int refused;
    zmq_msg_t packet; /* what the last socket_receive() gave */
    struct str address;
    VEC(struct pollfd) poll;
};

static int zmq_error(struct err *e, const char *what)
{
    return err_set(e, ERR_IO, "%s: %s", what, zmq_strerror(errno));
}

static int set_int(void *end, int option, int value)
{
    return zmq_setsockopt(end, option, &value, sizeof(value));
}

static int set_text(void *end, int option, const char *text)
{
    return zmq_setsockopt(end, option, text, strlen(text));
}

/* What both ends need. Heartbeats find connections whose other side is gone without a
 * word; their times are TCP's business, not the protocol's. */
static int set_common(void *end, const struct key_pair *own)
{
    const struct {
        int option, value;
    } ints[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, QUEUE_MAX},
        {ZMQ_RCVHWM, QUEUE_MAX},
        {ZMQ_IPV6, 1},
        {ZMQ_HEARTBEAT_IVL, 5000},
        {ZMQ_HEARTBEAT_TIMEOUT, 15000},
        {ZMQ_CONNECT_TIMEOUT, 5000},
        {ZMQ_RECONNECT_IVL, 100},
        {ZMQ_RECONNECT_IVL_MAX, 2000},
    };
    const int64_t max = WIRE_PACKET_MAX + 256; /* CURVE's own bytes count, too */
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
        if (set_int(end, ints[i].option, ints[i].value) != 0)
            return -1;
    if (zmq_setsockopt(end, ZMQ_MAXMSGSIZE, &max, sizeof(max)) != 0)
        return -1;
    return set_text(end, ZMQ_CURVE_SECRETKEY, own->secret_key);
}

static struct socket *socket_new(void)
{
    struct socket *s = mem_alloc(sizeof(*s));
    s->context = zmq_ctx_new();
    s->address = (struct str)STR_INIT;
    zmq_msg_init(&s->packet);
    return s;
}

static void *open_end(struct socket *s, int type)
{
    void *end = zmq_socket(s->context, type);
    if (end)
        s->ends[s->n_ends++] = end;
    return end;
}

void socket_close(struct socket *s)
{
    if (!s)
        return;
    zmq_msg_close(&s->packet);
    for (int i = 0; i < s->n_ends; i++)
        zmq_close(s->ends[i]);
    if (s->zap)
        zmq_close(s->zap);
    if (s->context)
        zmq_ctx_term(s->context);
    vec_free(&s->poll);
    str_free(&s->address);
    free(s);
}

/* ---- the controller's end ---- */

/* Appends " tcp://HOST:PORT", if controller.json has room for all of it. */
static void add_address(struct str *out, const char *host, const char *port)
{
    const size_t room = sizeof(((struct controller_file *)NULL)->address);
    size_t before = out->len;
    bool v6 = strchr(host, ':');
    str_addf(out, "%stcp://%s%s%s:%s", out->len ? " " : "", v6 ? "[" : "", host,
             v6 ? "]" : "", port);
    if (out->len >= room)
        str_cut(out, before);
}

/* Addresses of interfaces that are up and lead somewhere: not to this machine alone, nor
 * only to neighbours on a link. */
static void add_interfaces(struct str *out, int family, const char *port)
{
    struct ifaddrs *all, *a;
    char host[NI_MAXHOST];
    if (getifaddrs(&all) != 0)
        return;
    for (a = all; a; a = a->ifa_next) {
        if (!a->ifa_addr || a->ifa_addr->sa_family != family ||
            !(a->ifa_flags & IFF_UP) || a->ifa_flags & IFF_LOOPBACK)
            continue;
        const struct sockaddr_in6 *in6 = (const void *)a->ifa_addr;
        if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
            continue;
        socklen_t size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*in6);
        if (getnameinfo(a->ifa_addr, size, host, sizeof(host), NULL, 0, NI_NUMERICHOST) ==
            0)
            add_address(out, host, port);
    }
    freeifaddrs(all);
}

static int find_addresses(struct socket *s, bool local, struct err *e)
{
    char bound[256], name[256];
    size_t size = sizeof(bound);
    if (zmq_getsockopt(s->ends[0], ZMQ_LAST_ENDPOINT, bound, &size) != 0)
        return zmq_error(e, "the controller's socket");
    const char *port = strrchr(bound, ':') + 1;
    if (local) {
        add_address(&s->address, "127.0.0.1", port);
        return 0;
    }
    add_interfaces(&s->address, AF_INET, port);
    if (gethostname(name, sizeof(name)) == 0)
        add_address(&s->address, name, port);
    add_interfaces(&s->address, AF_INET6, port);
    return 0;
}

/* From here on this thread's table of descriptors is not ZeroMQ's threads' any more.
 * Those that they talk by are in both already. A kernel that cannot do it is one where
 * strangers can stop the sweep, to be resumed: no reason not to begin it. */
static void keep_own_descriptors(void)
{
    close_range(~0u, ~0u, CLOSE_RANGE_UNSHARE);
}

int socket_serve(struct socket **out, const struct key_pair *own, const char *agents,
                 bool local, struct err *e)
{
    struct socket *s = socket_new();
    int rc = 0;
    void *end;
    if (!zmq_z85_decode(s->agents, agents)) {
        rc = err_set(e, ERR_INVAL, "the agents' public key is none");
        goto out;
    }
    s->zap = zmq_socket(s->context, ZMQ_REP);
    end = open_end(s, ZMQ_ROUTER);
    if (!s->zap || !end || set_int(s->zap, ZMQ_LINGER, 0) != 0 ||
        zmq_bind(s->zap, "inproc://zeromq.zap.01") != 0 || set_common(end, own) != 0 ||
        set_int(end, ZMQ_CURVE_SERVER, 1) != 0 || set_text(end, ZMQ_ZAP_DOMAIN, "rung") ||
        set_int(end, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MSEC) != 0 ||
        zmq_bind(end, local ? "tcp://127.0.0.1:*" : "tcp://*:*") != 0)
        rc = zmq_error(e, "the controller's socket");
    else
        rc = find_addresses(s, local, e);
    if (rc == 0)
        keep_own_descriptors();
out:
    if (rc)
        socket_close(s);
    else
        *out = s;
    return rc;
}

const char *socket_address(const struct socket *s)
{
    return s->address.p;
}

int socket_refused(const struct socket *s)
{
    return s->refused;
}

/* Frames of a ZAP request: version, request, domain, address, identity, mechanism,
 * credentials. Ones that do not fit are cut, which makes them differ from all we want. */
enum { ZAP_VERSION, ZAP_REQUEST, ZAP_MECHANISM = 5, ZAP_CREDENTIALS, ZAP_FRAMES };

struct zap_frame {
    char bytes[64];
    int n;
};

static bool frame_is(const struct zap_frame *f, const void *bytes, size_t n)
{
    return f->n == (int)n && memcmp(f->bytes, bytes, n) == 0;
}

/* Reads one request to its end; false when none is there. */
static bool zap_request(struct socket *s, struct zap_frame frame[ZAP_FRAMES])
{
    int more = 1;
    size_t size = sizeof(more);
    memset(frame, 0, ZAP_FRAMES * sizeof(*frame));
    for (int i = 0; more; i++) {
        struct zap_frame rest, *f = i < ZAP_FRAMES ? &frame[i] : &rest;
        f->n = zmq_recv(s->zap, f->bytes, sizeof(f->bytes), ZMQ_DONTWAIT);
        if (f->n < 0)
            return false;
        zmq_getsockopt(s->zap, ZMQ_RCVMORE, &more, &size);
    }
    return true;
}

/* Answers all clients that wait to be let in. */
static void zap_answer(struct socket *s)
{
    struct zap_frame frame[ZAP_FRAMES];
    while (s->zap && zap_request(s, frame)) {
        bool good = frame_is(&frame[ZAP_VERSION], "1.0", 3) &&
                    frame_is(&frame[ZAP_MECHANISM], "CURVE", 5) &&
                    frame_is(&frame[ZAP_CREDENTIALS], s->agents, sizeof(s->agents));
        const struct zap_frame *id = &frame[ZAP_REQUEST];
        const char *status = good ? "200" : "400", *text = good ? "OK" : "unknown key";
        s->refused += !good;
        zmq_send(s->zap, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(s->zap, id->bytes, (size_t)id->n, ZMQ_SNDMORE);
        zmq_send(s->zap, status, 3, ZMQ_SNDMORE);
        zmq_send(s->zap, text, strlen(text), ZMQ_SNDMORE);
        zmq_send(s->zap, "", 0, ZMQ_SNDMORE); /* user id */
        zmq_send(s->zap, "", 0, 0);           /* metadata */
    }
}

/* ---- an agent's end ---- */

static int connect_one(struct socket *s, const struct key_pair *own,
                       const char *server_key, const char *address, struct err *e)
{
    /* A name that takes its time to be looked up holds up its own I/O thread only. */
    const uint64_t thread = UINT64_C(1) << s->n_ends;
    void *end = open_end(s, ZMQ_DEALER);
    if (!end || zmq_setsockopt(end, ZMQ_AFFINITY, &thread, sizeof(thread)) != 0 ||
        set_common(end, own) != 0 ||
        set_text(end, ZMQ_CURVE_PUBLICKEY, own->public_key) ||
        set_text(end, ZMQ_CURVE_SERVERKEY, server_key) != 0 || zmq_connect(end, address))
        return zmq_error(e, address);
    return 0;
}

int socket_connect(struct socket **out, const struct key_pair *own,
                   const char *server_key, const char *addresses, struct err *e)
{
    struct socket *s = socket_new();
    char *list = mem_strdup(addresses), *next = list, *address;
    int rc = 0, n = 0;
    for (const char *p = addresses; *p; p++)
        n += *p == ' ';
    zmq_ctx_set(s->context, ZMQ_IO_THREADS,
                n + 1 < ADDRESSES_MAX ? n + 1 : ADDRESSES_MAX);
    while (!rc && s->n_ends < ADDRESSES_MAX && (address = strsep(&next, " ")))
        if (*address)
            rc = connect_one(s, own, server_key, address, e);
    if (!rc && s->n_ends == 0)
        rc = err_set(e, ERR_INVAL, "no address of a controller");
    free(list);
    if (rc)
        socket_close(s);
    else
        *out = s;
    return rc;
}

static void keep_only(struct socket *s, int kept)
{
    for (int i = 0; i < s->n_ends; i++)
        if (i != kept)
            zmq_close(s->ends[i]);
    s->ends[0] = s->ends[kept];
    s->n_ends = 1;
}

/* ---- both ---- */

/* A ROUTER gives each connection five bytes for a name: 0 and a number. */
static bool peer_of(zmq_msg_t *m, uint64_t *peer)
{
    uint32_t number;
    const char *bytes = zmq_msg_data(m);
    if (zmq_msg_size(m) != 5 || bytes[0] != 0)
        return false;
    memcpy(&number, bytes + 1, 4);
    *peer = number;
    return true;
}

/* Receives the frames of one message: [name,] packet. 1, 0 when there is none, -1 for one
 * that is none of ours and was dropped. */
static int receive_frames(struct socket *s, void *end, uint64_t *peer)
{
    bool named = !s->zap;
    int frames = 0;
    if (s->zap) {
        if (zmq_msg_recv(&s->packet, end, ZMQ_DONTWAIT) < 0)
            return 0;
        named = peer_of(&s->packet, peer);
    }
    do {
        if (zmq_msg_recv(&s->packet, end, ZMQ_DONTWAIT) < 0)
            return 0;
        frames++;
    } while (zmq_msg_more(&s->packet));
    return named && frames == 1 ? 1 : -1;
}

int socket_receive(struct socket *s, uint64_t *peer, struct slice *packet, struct err *e)
{
    uint64_t from = 0;
    zap_answer(s);
    for (int i = 0; i < s->n_ends; i++) {
        int got;
        errno = 0;
        do
            got = receive_frames(s, s->ends[i], &from);
        while (got < 0);
        if (got == 0 && errno != EAGAIN && errno != EINTR)
            return zmq_error(e, "receiving a packet");
        if (got == 0)
            continue;
        if (s->n_ends > 1)
            keep_only(s, i);
        if (peer)
            *peer = from;
        *packet = (struct slice){zmq_msg_data(&s->packet), zmq_msg_size(&s->packet)};
        return 1;
    }
    return 0;
}

void socket_send(struct socket *s, uint64_t peer, const char *packet, size_t n)
{
    if (s->zap) {
        char name[5] = {0};
        uint32_t number = (uint32_t)peer;
        memcpy(name + 1, &number, 4);
        if (zmq_send(s->ends[0], name, 5, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
            return;
    }
    for (int i = 0; i < s->n_ends; i++)
        zmq_send(s->ends[i], packet, n, ZMQ_DONTWAIT);
}

/* ---- waiting ---- */

static bool packet_waits(const struct socket *s)
{
    for (int i = 0; i < s->n_ends; i++) {
        int events = 0;
        size_t size = sizeof(events);
        if (zmq_getsockopt(s->ends[i], ZMQ_EVENTS, &events, &size) == 0 &&
            events & ZMQ_POLLIN)
            return true;
    }
    return false;
}

static void add_end(struct socket *s, void *end)
{
    struct pollfd p = {.events = POLLIN};
    size_t size = sizeof(p.fd);
    if (end && zmq_getsockopt(end, ZMQ_FD, &p.fd, &size) == 0)
        vec_push(&s->poll, p);
}

/* ppoll() for at most `seconds` (< 0: for ever). -1 only for an error: EINTR gives 0. */
static int poll_for(struct pollfd fds[], size_t n, double seconds)
{
    struct timespec t = {.tv_sec = 1000000};
    if (seconds >= 0 && seconds < 1e6) {
        t.tv_sec = (time_t)seconds;
        t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    }
    int got = ppoll(fds, n, seconds < 0 ? NULL : &t, NULL);
    return got < 0 && errno == EINTR ? 0 : got;
}

/* ZeroMQ's descriptors say that something happened inside, once, and not what: so its
 * sockets are asked before and after each sleep. */
int socket_wait(struct socket *s, struct pollfd fds[], int n, double seconds,
                struct err *e)
{
    double until = clock_mono() + seconds;
    for (;;) {
        bool packet = false;
        struct pollfd *all = fds;
        size_t n_all = (size_t)n;
        if (s) {
            s->poll.n = 0;
            for (int i = 0; i < n; i++)
                vec_push(&s->poll, fds[i]);
            for (int i = 0; i < s->n_ends; i++)
                add_end(s, s->ends[i]);
            add_end(s, s->zap);
            zap_answer(s);
            packet = packet_waits(s);
            all = s->poll.v;
            n_all = s->poll.n;
        }
        double left = seconds < 0 ? -1 : fmax(0, until - clock_mono());
        int got = poll_for(all, n_all, packet ? 0 : left);
        if (got < 0)
            return err_sys(e, "waiting for packets");
        int ready = 0;
        for (int i = 0; i < n; i++) {
            fds[i].revents = got ? all[i].revents : 0;
            ready += fds[i].revents != 0;
        }
        if (s) {
            zap_answer(s);
            ready += packet_waits(s);
        }
        /* Nothing of the caller's, but something inside of ZeroMQ: on with the wait. */
        if (ready || got == 0 || left == 0)
            return ready;
    }
}
