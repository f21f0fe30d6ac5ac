/* What ranks give each other of arrays on their devices. comm.h takes memory of the host:
 * where a device has its own, a copy goes there and back. That cannot fail on the spot:
 * the device's download() will say it. */
#ifndef WORKER_TRAIN_EXCHANGE_H
#define WORKER_TRAIN_EXCHANGE_H

#include "gpu/device.h"
#include "worker/train/comm.h"

struct exchange;

/* Of these ranks, and of a model's gradients [n] on this device; all three outlive it. */
struct exchange *exchange_open(struct comm *c, struct device *d, float *gradients,
                               size_t n);
void exchange_close(struct exchange *x); /* NULL is fine */

/* Of arrays [n] of the device, as comm_send(), comm_sent() and comm_receive(). */
void exchange_send(struct exchange *x, int to, const float *p, size_t n);
void exchange_sent(struct exchange *x);
void exchange_receive(struct exchange *x, int from, float *p, size_t n);

/* Begins to make the gradients from `from` up to `to` their sums over the ranks. They are
 * the sums when exchange_reduce_wait() has returned, which is due for all of them. */
void exchange_reduce(struct exchange *x, size_t from, size_t to);
void exchange_reduce_wait(struct exchange *x);

#endif
