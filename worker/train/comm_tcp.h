/* Ranks that exchange bytes over TCP, with a connection between any two. */
#ifndef WORKER_TRAIN_COMM_TCP_H
#define WORKER_TRAIN_COMM_TCP_H

#include "worker/train/comm_transport.h"
#include "worker/train/tcp.h"

/* Connects to the other ranks, all ranks at once. all [size] says where each listens;
 * `listening`, of tcp_listen(), is closed. ERR_TIMEOUT where a rank does not come. */
int transport_tcp(struct transport **t, int rank, int size, int listening,
                  const struct tcp_address *all, struct err *e);

#endif
