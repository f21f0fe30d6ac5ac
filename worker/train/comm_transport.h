/* What carries bytes between two ranks. Between any two they arrive in the order sent,
 * and the receiver knows how many come. At any time one message may be on its way out and
 * one on its way in: rings and trees need no more. */
#ifndef WORKER_TRAIN_COMM_TRANSPORT_H
#define WORKER_TRAIN_COMM_TRANSPORT_H

#include "base/err.h"
#include "worker/train/lifeline.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* Longest message: MPI counts in int. */
#define MESSAGE_MAX ((size_t)1 << 30)

struct comm;

struct transport {
    const struct transport_ops *ops;
    int rank, size;
    /* an implementation's own follows */
};

struct transport_ops {
    const char *name;
    /* Begin to send and to receive `bytes`, at most MESSAGE_MAX; p stays the transport's
     * until test() has said that it is done. */
    int (*send)(struct transport *t, int to, const void *p, size_t bytes, struct err *e);
    int (*receive)(struct transport *t, int from, void *p, size_t bytes, struct err *e);
    /* Goes on with both. 1: none is under way any more; 0: not yet; else an error. */
    int (*test)(struct transport *t, struct err *e);
    /* What must be ready for test() to go on: a thread waits for it, and calls test().
     * NULL where that cannot be said, or only the thread that opened it may call test().
     */
    void (*waits_for)(const struct transport *t, struct pollfd fds[2]);
    void (*close)(struct transport *t);
};

/* By MPI, which it initialises. ERR_UNSUPPORTED if this build has none. */
int transport_mpi(struct transport **t, struct err *e);
/* By TCP, where Slurm's PMI2 (pmi2.h) makes the ranks known to each other. */
int transport_pmi2(struct transport **t, struct err *e);
/* For n threads of this process, one each. They cannot fail. */
void transport_threads(int n, struct transport *transports[]);

/* The ranks of a transport, which it takes over; without a lifeline. Where the transport
 * can fail, lost() ends the process. */
struct comm *comm_over(struct transport *t, comm_lost *lost, void *arg);

#endif
