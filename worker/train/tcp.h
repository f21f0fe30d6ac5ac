/* TCP connections among the ranks of one training, which know each other by a token that
 * travels by other ways. */
#ifndef WORKER_TRAIN_TCP_H
#define WORKER_TRAIN_TCP_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define TCP_HOSTS 8
#define TCP_HOST  46 /* a numeric IPv4 or IPv6 address */

/* Where a rank listens: plain bytes, to be sent. */
struct tcp_address {
    uint64_t token[2]; /* who connects says the first; who accepts answers the second */
    uint16_t port;
    char hosts[TCP_HOSTS][TCP_HOST]; /* of all its interfaces; "" after the last */
};

/* Listens on a port that the system chooses, on all interfaces. */
int tcp_listen(struct tcp_address *a, int *listening, struct err *e);

/* Connects, by the first of the hosts that answers as it should, and says `hello`. */
int tcp_connect(const struct tcp_address *a, const void *hello, size_t n, int *fd,
                struct err *e);
/* Takes the next connection that says the token, and its hello. Others are dropped.
 * ERR_TIMEOUT after `seconds`. */
int tcp_accept(int listening, const struct tcp_address *a, double seconds, void *hello,
               size_t n, int *fd, struct err *e);

#endif
