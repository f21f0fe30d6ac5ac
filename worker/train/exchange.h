/* What ranks give each other of arrays on their devices. Devices of a group do that by
 * themselves (device.h, GPUs by NCCL). Else it is comm.h's, which takes memory of the
 * host: where a device has its own, a copy goes there and back. Neither can fail on the
 * spot: the device's download() will say it, and exchange_agree() what that means. */
#ifndef WORKER_TRAIN_EXCHANGE_H
#define WORKER_TRAIN_EXCHANGE_H

#include "base/str.h"
#include "gpu/device.h"
#include "worker/train/comm.h"

struct exchange;

/* "auto": by the devices where they can, else through the host, with a note; "host";
 * "nccl": by the devices or not at all, and of one rank, too. NULL at the end. */
extern const char *const exchange_kinds[];

struct exchange_config {
    const char *kind;
    struct comm *comm;     /* the ranks; NULL: one alone */
    struct device *device; /* this one's */
    float *gradients;      /* [n], of a model, on the device */
    size_t n;
    double seconds;  /* that devices have to come together */
    comm_lost *lost; /* ends the process where they break, or this rank's does */
    void *arg;
    struct str *notes; /* gets a line that says how devices of several ranks exchange;
                          NULL: none */
};

/* All ranks at once, with the same result. The comm, device and gradients outlive it. Of
 * "nccl" ERR_UNSUPPORTED where there is none, ERR_IO or ERR_TIMEOUT where it fails. */
int exchange_open(struct exchange **x, const struct exchange_config *config,
                  struct err *e);
void exchange_close(struct exchange *x); /* NULL is fine */

/* Of arrays [n] of the device, as comm_send(), comm_sent() and comm_receive(). */
void exchange_send(struct exchange *x, int to, const float *p, size_t n);
void exchange_sent(struct exchange *x);
void exchange_receive(struct exchange *x, int from, float *p, size_t n);

/* What is taken on by exchange_reduce() is either the sum over the ranks or, by devices,
 * the mean: this many times the gradients of each rank make their sum of it. */
float exchange_weight(const struct exchange *x);
/* Begins to do so with the gradients from `from` up to `to`. They are there when
 * exchange_reduce_wait() has returned, which is due for all of them. */
void exchange_reduce(struct exchange *x, size_t from, size_t to);
/* To be called often in between. */
void exchange_progress(struct exchange *x);
void exchange_reduce_wait(struct exchange *x);

/* As comm_agree(), of what download() has said. A device that failed has left others
 * waiting for it, who cannot agree on anything: then all ranks end here. Want of memory
 * is no such failure. */
int exchange_agree(struct exchange *x, int rc, struct err *e);

#endif
