#include "gpu/nccl.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* ---- NCCL's own, as its header and its user guide have it ---- */

enum { /* ncclResult_t */
       NCCL_SUCCESS = 0,
       NCCL_UNHANDLED_CUDA_ERROR = 1,
       NCCL_SYSTEM_ERROR = 2,
       NCCL_INTERNAL_ERROR = 3,
       NCCL_INVALID_ARGUMENT = 4,
       NCCL_INVALID_USAGE = 5,
       NCCL_REMOTE_ERROR = 6,
       NCCL_IN_PROGRESS = 7,
       ABORTED = -1 /* by us */
};

enum { NCCL_FLOAT32 = 7 }; /* ncclDataType_t */
enum { NCCL_AVG = 4 };     /* ncclRedOp_t */

#define LEAST 21900 /* see nccl.h */

/* ncclConfig_t as of 2.14, the first that had one: later ones take it for what it is. */
struct nccl_options {
    size_t size;
    unsigned magic, version;
    int blocking;
    int unset; /* that lies where the next member came to lie */
};
#define OPTIONS_MAGIC   0xcafebeef
#define OPTIONS_VERSION 21400

/*    what it is here   its symbol                 arguments */
#define SYMBOL_MAP(X)                                                                    \
    X(get_version, ncclGetVersion, (int *))                                              \
    X(get_id, ncclGetUniqueId, (struct device_group_id *))                               \
    X(init, ncclCommInitRankConfig,                                                      \
      (void **, int, struct device_group_id, int, struct nccl_options *))                \
    X(async_error, ncclCommGetAsyncError, (void *, int *))                               \
    X(finalize, ncclCommFinalize, (void *))                                              \
    X(destroy, ncclCommDestroy, (void *))                                                \
    X(abort, ncclCommAbort, (void *))                                                    \
    X(all_reduce, ncclAllReduce,                                                         \
      (const void *, void *, size_t, int, int, void *, void *))                          \
    X(send, ncclSend, (const void *, size_t, int, int, void *, void *))                  \
    X(receive, ncclRecv, (void *, size_t, int, int, void *, void *))                     \
    X(group_start, ncclGroupStart, (void))                                               \
    X(group_end, ncclGroupEnd, (void))

#define LOOKS_MS      100  /* between two looks for errors of the communicator */
#define ABORT_SECONDS 5.0  /* that an abort is waited for */
#define LEAVE_SECONDS 30.0 /* that the ranks have to leave */

struct nccl {
    void *library;
#define MEMBER_(name, symbol, arguments) int(*name) arguments;
    SYMBOL_MAP(MEMBER_)
#undef MEMBER_
    const char *(*last_error)(void *communicator); /* ncclGetLastError */
    int version;
    struct device_group group;

    /* Held while NCCL is called: one thread at a time may, and none while it aborts. */
    pthread_mutex_t calls;
    void *communicator; /* NULL: there is none, or it was aborted */

    pthread_t thread; /* that looks after it, if it is watched */
    bool watched;
    pthread_mutex_t mutex; /* of these: */
    pthread_cond_t changed;
    bool leaving, abandoned, aborted;
    bool closed;        /* before it was aborted: then who aborts it releases this */
    struct err failure; /* why it is, or is about to be, aborted */
};

/* ---- opening ---- */

int nccl_version(const struct nccl *n)
{
    return n->version;
}

static int load(struct nccl *n, struct err *e)
{
    bool all = true;

    n->library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!n->library)
        return err_set(e, ERR_UNSUPPORTED,
                       "NCCL does not open: %s (is it in LD_LIBRARY_PATH? `module load "
                       "nccl`?)",
                       dlerror());
    /* POSIX: what dlsym() gives for a function is a pointer to it */
    *(void **)&n->last_error = dlsym(n->library, "ncclGetLastError");
#define LOAD_(name, symbol, arguments)                                                   \
    *(void **)&n->name = dlsym(n->library, #symbol);                                     \
    all = all && n->name;
    SYMBOL_MAP(LOAD_)
#undef LOAD_
    if (n->get_version)
        n->get_version(&n->version);
    if (!all || !n->last_error || n->version < LEAST)
        return err_set(
            e, ERR_UNSUPPORTED,
            "NCCL %d.%d is too old: it takes 2.19, which can be aborted at any time",
            n->version / (n->version < 10000 ? 1000 : 10000),
            n->version % (n->version < 10000 ? 1000 : 10000) / 100);
    return 0;
}

int nccl_open(struct nccl **out, struct err *e)
{
    struct nccl *n = mem_alloc(sizeof(*n));
    pthread_condattr_t attributes;

    pthread_mutex_init(&n->calls, NULL);
    pthread_mutex_init(&n->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&n->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = load(n, e);
    if (rc < 0) {
        nccl_close(n);
        return rc;
    }
    *out = n;
    return 0;
}

/* ---- what its codes mean ---- */

static const char *sentence(int code)
{
    switch (code) {
    case NCCL_UNHANDLED_CUDA_ERROR:
        return "a call of CUDA's fails: the GPU does, or the driver is too old for it";
    case NCCL_SYSTEM_ERROR:
        return "a call of the system fails: the network (NCCL_SOCKET_IFNAME names an "
               "interface), or shared memory (/dev/shm may be full)";
    case NCCL_INTERNAL_ERROR: return "it fails inside";
    case NCCL_INVALID_USAGE:
        return "it is used wrongly: two ranks may share a GPU, or have different "
               "versions of it, or NCCL_SOCKET_IFNAME names what is no interface";
    case NCCL_REMOTE_ERROR: return "another rank has ended, or the network to it fails";
    default: return "it refuses";
    }
}

int nccl_check(struct nccl *n, struct err *e)
{
    pthread_mutex_lock(&n->mutex);
    int rc = n->failure.code;
    if (rc < 0)
        err_set(e, rc, "%s", n->failure.text);
    pthread_mutex_unlock(&n->mutex);
    return rc;
}

static void rest(unsigned *turns)
{
    enum { SPIN = 1000 };

    if (++*turns < SPIN)
        sched_yield();
    else
        nanosleep(&(struct timespec){0, 100000}, NULL);
}

/* False once it has failed: an abort may keep them for ever then. */
static bool take_calls(struct nccl *n)
{
    for (unsigned turns = 0; pthread_mutex_trylock(&n->calls) != 0; rest(&turns))
        if (nccl_check(n, NULL) < 0)
            return false;
    return true;
}

/* Its last words, where it has any, are more exact than its codes. */
static int fault(struct nccl *n, int code, const char *what, struct err *e)
{
    if (code == ABORTED || !take_calls(n))
        return nccl_check(n, e);
    const char *more = n->last_error(n->communicator);
    int rc = err_set(e, ERR_IO, "NCCL, %s: %s%s%s (NCCL_DEBUG=WARN tells more)", what,
                     sentence(code), more && *more ? ": " : "", more ? more : "");
    pthread_mutex_unlock(&n->calls);
    return rc;
}

int nccl_make_id(struct nccl *n, struct device_group_id *id, struct err *e)
{
    int code = n->get_id(id);

    return code == NCCL_SUCCESS ? 0 : fault(n, code, "beginning", e);
}

/* ---- waiting for it ---- */

/* How the communicator is: what it does not block for may still be in progress. */
static int state(struct nccl *n)
{
    int code = ABORTED, rc = NCCL_SUCCESS;

    if (!take_calls(n))
        return ABORTED;
    if (n->communicator)
        rc = n->async_error(n->communicator, &code);
    pthread_mutex_unlock(&n->calls);
    return rc == NCCL_SUCCESS ? code : rc;
}

/* Waits until a call that gave this code is over. Until then no other may be made, and
 * nothing be queued where it queues. */
static int settle(struct nccl *n, int code, double seconds, const char *what,
                  struct err *e)
{
    double end = clock_mono() + seconds;

    if (code == NCCL_SUCCESS) /* of some, only begun: the state tells */
        code = state(n);
    for (unsigned turns = 0; code == NCCL_IN_PROGRESS; rest(&turns)) {
        if (clock_mono() > end)
            return err_set(e, ERR_TIMEOUT, "NCCL, %s: not all ranks came within %g s",
                           what, seconds);
        code = state(n);
    }
    return code == NCCL_SUCCESS ? 0 : fault(n, code, what, e);
}

/* ---- ending it ---- */

static struct timespec in_seconds(double seconds)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    double end = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec + seconds;
    return (struct timespec){(time_t)end, (long)((end - floor(end)) * 1e9)};
}

/* No signal is to meet a thread of ours: they are the program's. */
static bool start(pthread_t *thread, void *(*body)(void *), struct nccl *n)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, body, n) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* The library stays: threads of its own may still run in it. */
static void release(struct nccl *n)
{
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->mutex);
    pthread_mutex_destroy(&n->calls);
    free(n);
}

static void *abort_it(void *arg)
{
    struct nccl *n = arg;

    pthread_mutex_lock(&n->calls);
    if (n->communicator)
        n->abort(n->communicator);
    n->communicator = NULL;
    pthread_mutex_unlock(&n->calls);
    pthread_mutex_lock(&n->mutex);
    n->aborted = true;
    bool last = n->closed;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mutex);
    if (last)
        release(n);
    return NULL;
}

static void wait_for_abort(struct nccl *n)
{
    struct timespec end = in_seconds(ABORT_SECONDS);
    int rc = 0;

    pthread_mutex_lock(&n->mutex);
    while (!n->aborted && rc == 0)
        rc = pthread_cond_timedwait(&n->changed, &n->mutex, &end);
    pthread_mutex_unlock(&n->mutex);
}

/* In a thread: of what waits for other ranks to abort, too, nobody knows for how long. */
static void fail(struct nccl *n, const struct err *why)
{
    pthread_t thread;

    pthread_mutex_lock(&n->mutex);
    n->failure = *why;
    pthread_mutex_unlock(&n->mutex);
    if (start(&thread, abort_it, n))
        pthread_detach(thread);
    else
        abort_it(n);
    wait_for_abort(n);
}

static bool is_error(int code)
{
    return code != NCCL_SUCCESS && code != NCCL_IN_PROGRESS;
}

/* Waits until there is a reason to end; the state of the communicator then. */
static int wait_for_end(struct nccl *n)
{
    int code = NCCL_SUCCESS;

    pthread_mutex_lock(&n->mutex);
    while (!n->leaving && !n->abandoned && !is_error(code)) {
        struct timespec next = in_seconds(1e-3 * LOOKS_MS);
        pthread_cond_timedwait(&n->changed, &n->mutex, &next);
        pthread_mutex_unlock(&n->mutex);
        code = state(n);
        pthread_mutex_lock(&n->mutex);
    }
    pthread_mutex_unlock(&n->mutex);
    return code;
}

/* The thread that looks for errors, and aborts: who waits for the GPU cannot. */
static void *watch(void *arg)
{
    struct nccl *n = arg;
    struct err e;
    int code = wait_for_end(n);

    if (is_error(code)) {
        fault(n, code, "exchanging", &e);
        fail(n, &e);
        n->group.broken(n->group.arg, e.text);
        return NULL;
    }
    pthread_mutex_lock(&n->mutex);
    bool abandoned = n->abandoned;
    pthread_mutex_unlock(&n->mutex);
    if (abandoned) {
        err_set(&e, ERR_IO, "what ranks exchange was given up");
        fail(n, &e);
    }
    return NULL;
}

void nccl_abandon(struct nccl *n)
{
    pthread_mutex_lock(&n->mutex);
    n->abandoned = true;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mutex);
    wait_for_abort(n);
}

static void stop_watching(struct nccl *n)
{
    pthread_mutex_lock(&n->mutex);
    n->leaving = true;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mutex);
    if (n->watched)
        pthread_join(n->thread, NULL);
    n->watched = false;
}

static void leave(struct nccl *n)
{
    struct err e;

    stop_watching(n);
    if (nccl_check(n, NULL) < 0 || !n->communicator)
        return;
    pthread_mutex_lock(&n->calls);
    int code = n->finalize(n->communicator);
    pthread_mutex_unlock(&n->calls);
    if (settle(n, code, LEAVE_SECONDS, "leaving", &e) < 0) {
        fail(n, &e);
        return;
    }
    n->destroy(n->communicator);
    n->communicator = NULL;
}

void nccl_close(struct nccl *n)
{
    if (!n)
        return;
    leave(n);
    pthread_mutex_lock(&n->mutex);
    n->closed = n->failure.code < 0 && !n->aborted;
    bool used = n->closed;
    pthread_mutex_unlock(&n->mutex);
    if (!used)
        release(n);
}

/* ---- beginning ---- */

int nccl_join(struct nccl *n, const struct device_group *g, struct err *e)
{
    struct nccl_options options = {sizeof(options), OPTIONS_MAGIC, OPTIONS_VERSION, 0,
                                   INT_MIN};
    static const char what[] = "coming together";

    n->group = *g;
    int code = n->init(&n->communicator, g->size, g->id, g->rank, &options);
    struct err why = {0};
    int rc = n->communicator ? settle(n, code, g->seconds, what, &why)
                             : fault(n, code, what, &why);
    if (rc == 0) {
        n->watched = start(&n->thread, watch, n);
        if (!n->watched)
            rc = err_set(&why, ERR_IO, "cannot start a thread to watch NCCL");
    }
    if (rc < 0) {
        fail(n, &why);
        err_set(e, rc, "%s", why.text);
    }
    return rc;
}

/* ---- exchanging ---- */

int nccl_mean(struct nccl *n, float *x, size_t count, void *stream, struct err *e)
{
    int code = ABORTED;

    if (!take_calls(n))
        return nccl_check(n, e);
    if (n->communicator)
        code =
            n->all_reduce(x, x, count, NCCL_FLOAT32, NCCL_AVG, n->communicator, stream);
    pthread_mutex_unlock(&n->calls);
    return settle(n, code, INFINITY, "a mean over the ranks", e);
}

static int exchange(struct nccl *n, const struct nccl_message *out,
                    const struct nccl_message *in, void *stream)
{
    void *c = n->communicator;
    int code = n->group_start();

    if (code == NCCL_SUCCESS && out)
        code = n->send(out->x, out->count, NCCL_FLOAT32, out->rank, c, stream);
    if (!is_error(code) && in)
        code = n->receive(in->x, in->count, NCCL_FLOAT32, in->rank, c, stream);
    int end = n->group_end();
    return is_error(code) ? code : end;
}

int nccl_exchange(struct nccl *n, const struct nccl_message *out,
                  const struct nccl_message *in, void *stream, struct err *e)
{
    int code = ABORTED;

    if (!take_calls(n))
        return nccl_check(n, e);
    if (n->communicator)
        code = exchange(n, out, in, stream);
    pthread_mutex_unlock(&n->calls);
    return settle(n, code, INFINITY, out ? "sending to a rank" : "receiving from a rank",
                  e);
}
