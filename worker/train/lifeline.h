/* Tells a rank whether the others live. A thread of each rank sends a byte a second along
 * a TCP connection to rank 0, which answers alike: whoever dies closes it, and whoever is
 * stopped, or is on a node that is gone, falls silent. Then all ranks end, and one says
 * why. A rank that merely takes long is not silent, so nothing needs to be known about
 * how long a save or a validation may take. */
#ifndef WORKER_TRAIN_LIFELINE_H
#define WORKER_TRAIN_LIFELINE_H

#include "worker/train/tcp.h"

/* Seconds of silence after which a rank is given up. */
#define LIFELINE_SILENCE 20

struct lifeline;

/* A process, for people. */
struct lifeline_who {
    int32_t rank, pid;
    char host[64];
};

/* What the others need to know to come to rank 0: plain bytes, to be sent. */
struct lifeline_call {
    struct tcp_address address;
    struct lifeline_who who;
};

/* Ends the process, from whatever thread calls it, and does not return. The text is for
 * people; NULL where another rank has said it. */
typedef void comm_lost(void *arg, const char *text);

/* Rank 0, first: waits for the others at *listening. */
int lifeline_listen(struct lifeline_call *call, int *listening, struct err *e);
/* All ranks at once, rank 0 with its `listening`, which is closed. */
int lifeline_open(struct lifeline **l, int rank, int size,
                  const struct lifeline_call *call, int listening, comm_lost *lost,
                  void *arg, struct err *e);
/* Says goodbye, so that the end of this process is no death. NULL is fine. */
void lifeline_close(struct lifeline *l);

/* Gives the thread time to find out who died, and to end this process: returns if nobody
 * did. NULL is fine. */
void lifeline_wait(struct lifeline *l);

#endif
