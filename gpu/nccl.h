/* NCCL, NVIDIA's library for what GPUs exchange, opened at run time: a communicator of
 * all ranks, each with a GPU. None of its calls is waited for without an eye on the clock
 * or on its errors: a communicator in which a rank has died never ends what it has begun.
 *
 * It is of 2.19 at least. Calls that need not block are older; but before it an abort
 * from another thread may never return (https://github.com/NVIDIA/nccl/issues/992).
 *
 * Streams are CUDA's (cudaStream_t). The thread that joins has its GPU set
 * (cudaSetDevice) and does all the rest, but where it says otherwise. */
#ifndef GPU_NCCL_H
#define GPU_NCCL_H

#include "gpu/device.h"

struct nccl;

/* libnccl.so.2, where it is found. ERR_UNSUPPORTED: it is not, or too old. */
int nccl_open(struct nccl **n, struct err *e);
/* Leaves: waits for the other ranks, half a minute at most. NULL is fine. */
void nccl_close(struct nccl *n);

/* 22809 is 2.28.9. */
int nccl_version(const struct nccl *n);

int nccl_make_id(struct nccl *n, struct device_group_id *id, struct err *e);
/* Once. ERR_TIMEOUT after g->seconds, ERR_IO where NCCL fails. From then on a thread
 * looks for errors of the communicator: it aborts what has one, and calls g->broken(). */
int nccl_join(struct nccl *n, const struct device_group *g, struct err *e);
/* Aborts the communicator of one that has joined: what waits for it goes on, with nothing
 * sensible in it. From any thread. Returns when that is done, or after 5 s. */
void nccl_abandon(struct nccl *n);
/* 0; ERR_IO once it has broken, or was abandoned: that is so before what waits goes on.
 */
int nccl_check(struct nccl *n, struct err *e);

/* Queues what makes x [count] its mean over the ranks. ERR_IO. */
int nccl_mean(struct nccl *n, float *x, size_t count, void *stream, struct err *e);

/* An array on its way to a rank, or from one. */
struct nccl_message {
    int rank;
    float *x; /* [count] */
    size_t count;
};
/* Queues that one goes out and one comes in, at the same time: a send by itself ends only
 * when it is received. Either may be NULL. ERR_IO. */
int nccl_exchange(struct nccl *n, const struct nccl_message *out,
                  const struct nccl_message *in, void *stream, struct err *e);

#endif
