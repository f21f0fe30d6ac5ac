/* A training step as one CUDA graph: what its calls queue is captured instead of run, and
 * then launched, step after step, without the host's work on each kernel. Arguments of a
 * graph stay as they were captured; those that change from step to step lie in memory of
 * the GPU, where a kernel before the graph puts them. A graph knows the space that
 * operations work in: that stays as it is while there are graphs (cuda_space_try()). */
#include "gpu/cuda_private.h"

static void run(void *arg, const void *call)
{
    const struct call *c = call;

    c->run(arg, c);
}

static size_t count_values(const struct call *calls, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += calls[i].varies;
    return count;
}

const union kernel_values *cuda_later(struct cuda *cuda)
{
    return cuda->capturing ? &cuda->values[cuda->captured_values++] : NULL;
}

/* What the calls queue; NULL where something cannot be captured. */
static cudaGraph_t capture(struct cuda *cuda, const struct call *calls, size_t n)
{
    static const char what[] = "the capture of a step";
    cudaGraph_t graph = NULL;

    cuda->capturing = true;
    cuda->captured_values = 0;
    for (size_t i = 0; i < n && !cuda->failure.code; i++)
        calls[i].run(cuda, &calls[i]);
    cuda_join_gatherer(cuda);
    cuda->capturing = false;
    cuda_ok(cuda, cudaStreamEndCapture(cuda->queue, &graph), what);
    if (cuda->failure.code && graph) {
        cudaGraphDestroy(graph);
        graph = NULL;
    }
    return graph;
}

/* What fails here fails once more, and is noted, when the calls are run; or it does not,
 * and then nothing is amiss. */
static void *record(void *arg, const void *calls, size_t n)
{
    struct cuda *cuda = arg;
    cudaGraphExec_t exec = NULL;

    if (cuda->failure.code || count_values(calls, n) > KERNEL_VALUES)
        return NULL;
    cuda_join_gatherer(cuda); /* outside of the graph: it began there */
    if (cudaStreamBeginCapture(cuda->queue, cudaStreamCaptureModeThreadLocal) ==
        cudaSuccess) {
        cudaGraph_t graph = capture(cuda, calls, n);
        if (graph && cudaGraphInstantiate(&exec, graph, 0) != cudaSuccess)
            exec = NULL;
        if (graph)
            cudaGraphDestroy(graph);
    }
    /* What it needs of the GPU's memory it gets now, while there is another way. */
    if (exec && cudaGraphUpload(exec, cuda->queue) != cudaSuccess) {
        cudaGraphExecDestroy(exec);
        exec = NULL;
    }
    if (!exec) {
        cudaGetLastError(); /* or the next launch would be blamed */
        cuda->failure = (struct err){0};
        cuda->gathering = false;
    }
    return exec;
}

static void launch(void *arg, void *recording, const void *calls, size_t n)
{
    static const char what[] = "a step";
    struct cuda *cuda = arg;
    union kernel_values values[KERNEL_VALUES];
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        const struct call *c = (const struct call *)calls + i;
        if (c->varies)
            values[count++] = c->values;
    }
    cuda_join_gatherer(cuda);
    if (cuda_ok(cuda, kernel_put_values(cuda->queue, count, values, cuda->values),
                what) &&
        cuda_ok(cuda, cudaGraphLaunch(recording, cuda->queue), what))
        cuda->device.launches++;
}

static void destroy(void *arg, void *recording)
{
    struct cuda *cuda = arg;

    cudaStreamSynchronize(cuda->queue); /* it may be under way */
    cudaGraphExecDestroy(recording);
}

int cuda_graph_open(struct cuda *cuda, struct err *e)
{
    void *p;
    int rc = cache_allocate(cuda->cache, KERNEL_VALUES * sizeof(*cuda->values), &p, e);

    if (rc < 0)
        return rc;
    cuda->values = p;
    cuda->tape = tape_open(&(struct tape_ops){
        .size = sizeof(struct call),
        .fixed = offsetof(struct call, values),
        .run = run,
        .record = record,
        .launch = launch,
        .destroy = destroy,
        .arg = cuda,
    });
    return 0;
}
