/* Packets over ZeroMQ, encrypted and authenticated with CURVE. The only file that speaks
 * ZeroMQ (wire/keys.c has its keys made). Nothing here blocks but socket_wait(), and
 * clients are let in only while that or socket_receive() runs. */
#ifndef WIRE_SOCKET_H
#define WIRE_SOCKET_H

#include "base/err.h"
#include "base/str.h"
#include "wire/keys.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct socket;

/* The controller's end: a free TCP port on all interfaces (`local`: on 127.0.0.1 only),
 * which lets in only clients whose public key is `agents` (ZAP). */
int socket_serve(struct socket **out, const struct key_pair *own, const char *agents,
                 bool local, struct err *e);
/* The address to put in controller.json: "tcp://HOST:PORT ...", numeric addresses of the
 * host's interfaces and its own name, as many as fit there, or 127.0.0.1 for `local`. */
const char *socket_address(const struct socket *s);

/* An agent's end: connects to the addresses of the list (8 at most) and stays with the
 * first that a packet comes from; ZeroMQ keeps trying that. Closing and opening anew is
 * how an agent turns to another controller, or finds another way to the same one. */
int socket_connect(struct socket **out, const struct key_pair *own,
                   const char *server_key, const char *addresses, struct err *e);
void socket_close(struct socket *s); /* drops what was not sent; NULL is fine */

/* One packet, if there is one: 1, 0, or an error. From the controller's end, *peer says
 * whom socket_send() would answer to. The packet lives until the next call. */
int socket_receive(struct socket *s, uint64_t *peer, struct slice *packet, struct err *e);
/* Sends or drops (an unreachable peer, a full queue): loss is the protocol's to mend.
 * peer is ignored at an agent's end. */
void socket_send(struct socket *s, uint64_t peer, const char *packet, size_t n);
/* Clients that were refused so far (wrong key), for `rung status` and tests. */
int socket_refused(const struct socket *s);

/* Waits until a packet can be received, one of fds is ready (poll()'s events and
 * revents) or `seconds` have passed (< 0: for ever). s may be NULL. How many fds are
 * ready, packet included; ERR_IO on failure; on EINTR it returns 0 early. */
int socket_wait(struct socket *s, struct pollfd fds[], int n, double seconds,
                struct err *e);

#endif
