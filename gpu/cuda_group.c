/* What GPUs of several ranks give each other, by NCCL, on a stream of its own: events say
 * when it may begin, and when what follows may go on. It is not on the tape: so a step of
 * several ranks is no graph, and what the tape keeps back is run when others need it. */
#include "gpu/cuda_private.h"

#include "base/mem.h"
#include "gpu/nccl.h"

#include <stdio.h>
#include <stdlib.h>

struct cuda_group {
    struct nccl *nccl;
    cudaStream_t stream;
    cudaEvent_t queued;  /* what was, before something begins here */
    cudaEvent_t written; /* what goes out */
    cudaEvent_t over;    /* what was begun here */
    /* NCCL's send ends when it is received. Two ranks that send to each other and then
     * receive would wait for ever: so one is begun together with what comes in next. */
    struct nccl_message out; /* count 0: none */
};

static const char what[] = "what ranks exchange";

/* ---- beginning and end ---- */

static int group_find(struct device *d, char *name, size_t size, struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;

    if (!cuda->group) {
        struct nccl *nccl;
        int rc = nccl_open(&nccl, e);
        if (rc < 0)
            return rc;
        cuda->group = mem_alloc(sizeof(*cuda->group));
        cuda->group->nccl = nccl;
    }
    int v = nccl_version(cuda->group->nccl);
    snprintf(name, size, "NCCL %d.%d.%d", v / 10000, v % 10000 / 100, v % 100);
    return 0;
}

static int group_make_id(struct device *d, struct device_group_id *id, struct err *e)
{
    return nccl_make_id(((struct cuda *)d)->group->nccl, id, e);
}

/* It is to begin as soon as it can, whatever else there is to do: others wait for it. */
static int open_stream(struct cuda *cuda, struct err *e)
{
    struct cuda_group *g = cuda->group;
    int lowest, highest;
    cudaError_t rc = cudaDeviceGetStreamPriorityRange(&lowest, &highest);

    if (rc == cudaSuccess)
        rc = cudaStreamCreateWithPriority(&g->stream, cudaStreamNonBlocking, highest);
    if (rc == cudaSuccess)
        rc = cudaEventCreateWithFlags(&g->queued, cudaEventDisableTiming);
    if (rc == cudaSuccess)
        rc = cudaEventCreateWithFlags(&g->written, cudaEventDisableTiming);
    if (rc == cudaSuccess)
        rc = cudaEventCreateWithFlags(&g->over, cudaEventDisableTiming);
    return fault_cuda(rc, &cuda->versions, what, e);
}

void cuda_group_close(struct cuda *cuda)
{
    struct cuda_group *g = cuda->group;

    if (!g)
        return;
    nccl_close(g->nccl);
    if (g->queued)
        cudaEventDestroy(g->queued);
    if (g->written)
        cudaEventDestroy(g->written);
    if (g->over)
        cudaEventDestroy(g->over);
    if (g->stream)
        cudaStreamDestroy(g->stream);
    free(g);
    cuda->group = NULL;
}

static int group_join(struct device *d, const struct device_group *g, struct err *e)
{
    struct cuda *cuda = (struct cuda *)d;
    int rc = open_stream(cuda, e);

    if (rc == 0)
        rc = nccl_join(cuda->group->nccl, g, e);
    if (rc < 0)
        cuda_group_close(cuda);
    return rc;
}

/* A stream goes on when the communicator is aborted, as if all was well. */
void cuda_group_check(struct cuda *cuda)
{
    struct err e;

    if (cuda->group)
        cuda_note(cuda, nccl_check(cuda->group->nccl, &e), &e);
}

static void group_leave(struct device *d)
{
    cuda_group_close((struct cuda *)d);
}

static void group_abandon(struct device *d)
{
    nccl_abandon(((struct cuda *)d)->group->nccl);
}

/* ---- in the order of the streams ---- */

/* What begins here now comes after all that was queued on the GPU's stream so far. */
static bool follow(struct cuda *cuda)
{
    struct cuda_group *g = cuda->group;

    return cuda_ok(cuda, cudaEventRecord(g->queued, cuda_stream(cuda)), what) &&
           cuda_ok(cuda, cudaStreamWaitEvent(g->stream, g->queued, 0), what);
}

/* And what is queued there from now on comes after what was begun here. */
static void be_followed(struct cuda *cuda)
{
    struct cuda_group *g = cuda->group;

    if (cuda_ok(cuda, cudaEventRecord(g->over, g->stream), what))
        cuda_ok(cuda, cudaStreamWaitEvent(cuda_stream(cuda), g->over, 0), what);
}

static void group_mean(struct device *d, float *x, size_t n)
{
    struct cuda *cuda = (struct cuda *)d;
    struct cuda_group *g = cuda->group;
    struct err e;

    if (follow(cuda))
        cuda_note(cuda, nccl_mean(g->nccl, x, n, g->stream, &e), &e);
}

static void group_mean_wait(struct device *d)
{
    be_followed((struct cuda *)d);
}

static void exchange(struct cuda *cuda, const struct nccl_message *in)
{
    struct cuda_group *g = cuda->group;
    const struct nccl_message *out = g->out.count ? &g->out : NULL;
    struct err e;

    if (cuda_note(cuda, nccl_exchange(g->nccl, out, in, g->stream, &e), &e))
        be_followed(cuda);
    g->out.count = 0;
}

static void group_sent(struct device *d)
{
    struct cuda *cuda = (struct cuda *)d;

    if (cuda->group->out.count &&
        cuda_ok(cuda, cudaStreamWaitEvent(cuda->group->stream, cuda->group->written, 0),
                what))
        exchange(cuda, NULL);
}

static void group_send(struct device *d, int to, const float *x, size_t n)
{
    struct cuda *cuda = (struct cuda *)d;

    group_sent(d);
    if (cuda_ok(cuda, cudaEventRecord(cuda->group->written, cuda_stream(cuda)), what))
        cuda->group->out = (struct nccl_message){to, (float *)(uintptr_t)x, n};
}

static void group_receive(struct device *d, int from, float *x, size_t n)
{
    struct cuda *cuda = (struct cuda *)d;

    if (follow(cuda))
        exchange(cuda, &(struct nccl_message){from, x, n});
}

const struct device_group_ops cuda_group_ops = {
    .find = group_find,
    .make_id = group_make_id,
    .join = group_join,
    .leave = group_leave,
    .abandon = group_abandon,
    .mean = group_mean,
    .mean_wait = group_mean_wait,
    .send = group_send,
    .sent = group_sent,
    .receive = group_receive,
};
