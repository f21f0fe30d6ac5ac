/* A libnccl.so.2 for tests: of NCCL 2.99.1, built with the CUDA that its message tells.
 * Ranks are threads of one process, "GPUs" have the host's memory, and streams do not
 * matter: what ranks do is done when all that it takes has come. As with NCCL a send ends
 * when it is received, and nothing may be called while something is in progress: who does
 * is ended. FAKE_NCCL says what is wrong, in words:
 *
 *     old              it is of NCCL 2.18.6
 *     refuse=CODE      ncclCommInitRankConfig() returns that
 *     init=CODE        the communicator comes to that
 *     break=N=CODE     what each rank does as its Nth, from 1, comes to that
 *     stuck=N          what each rank does as its Nth never ends
 *     lonely           ncclCommFinalize() never ends
 *     hang             ncclCommAbort() does not return as long as it says so */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 4, IN_PROGRESS = 7 };
enum { FLOAT32 = 7, AVG = 4 };
enum { RANKS_MAX = 16 };

struct id {
    char bytes[128]; /* a number, then zeros */
};

struct config {
    size_t size;
    unsigned magic, version;
    int blocking;
};

struct message {
    float *x;
    size_t n;
    int rank;
    bool there;
};

struct communicator;

/* The ranks of one id. */
struct world {
    int size, came, finalized, left;
    struct communicator *ranks[RANKS_MAX];
};

struct communicator {
    struct world *world;
    int rank, done; /* so many things, the one in progress among them */
    int error;      /* that it has come to */
    bool stuck, finalizing;
    struct message mean, out, in; /* in progress */
    struct message next_out, next_in;
    atomic_flag called;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct world *worlds[1000];
static int n_worlds;
static _Thread_local int groups;
static _Thread_local struct communicator *grouped;

static const char *wrong(const char *word)
{
    const char *all = getenv("FAKE_NCCL");
    const char *at = all ? strstr(all, word) : NULL;

    return at ? at + strlen(word) : NULL;
}

static void misused(const char *how)
{
    fprintf(stderr, "libnccl for tests: %s\n", how);
    abort();
}

/* One thread at a time, and none while another aborts. */
static void enter(struct communicator *c)
{
    if (atomic_flag_test_and_set(&c->called))
        misused("two threads call it for one communicator");
    pthread_mutex_lock(&mutex);
}

static int leave(struct communicator *c, int code)
{
    pthread_mutex_unlock(&mutex);
    atomic_flag_clear(&c->called);
    return code;
}

/* ---- what ranks do together ---- */

static void try_mean(struct world *w)
{
    const struct message *first = &w->ranks[0]->mean;

    for (int r = 0; r < w->size; r++)
        if (!w->ranks[r] || !w->ranks[r]->mean.there || w->ranks[r]->stuck)
            return;
    for (size_t i = 0; i < first->n; i++) {
        float sum = 0;
        for (int r = 0; r < w->size; r++) {
            if (w->ranks[r]->mean.n != first->n)
                misused("ranks reduce arrays of different sizes");
            sum += w->ranks[r]->mean.x[i];
        }
        for (int r = 0; r < w->size; r++)
            w->ranks[r]->mean.x[i] = sum / (float)w->size;
    }
    for (int r = 0; r < w->size; r++)
        w->ranks[r]->mean.there = false;
}

static void try_messages(struct world *w)
{
    for (int r = 0; r < w->size; r++) {
        struct communicator *to = w->ranks[r];
        if (!to || !to->in.there || to->stuck)
            continue;
        struct communicator *from = w->ranks[to->in.rank];
        if (!from || !from->out.there || from->out.rank != r || from->stuck)
            continue;
        if (from->out.n != to->in.n)
            misused("as much is not received as was sent");
        memcpy(to->in.x, from->out.x, to->in.n * sizeof(float));
        from->out.there = to->in.there = false;
    }
}

static bool busy(const struct communicator *c)
{
    return c->mean.there || c->out.there || c->in.there;
}

static int state(struct communicator *c)
{
    struct world *w = c->world;

    if (c->error)
        return c->error;
    if (w->came < w->size)
        return IN_PROGRESS;
    try_mean(w);
    try_messages(w);
    if (c->finalizing)
        return w->finalized == w->size && !wrong("lonely") ? SUCCESS : IN_PROGRESS;
    return busy(c) ? IN_PROGRESS : SUCCESS;
}

static int begin(struct communicator *c)
{
    const char *number = wrong("break=");

    c->done++;
    if (number && atoi(number) == c->done)
        c->error = atoi(strchr(number, '=') + 1);
    number = wrong("stuck=");
    c->stuck = number && atoi(number) == c->done;
    return state(c);
}

/* ---- communicators ---- */

int ncclGetVersion(int *version);
const char *ncclGetLastError(void *communicator);
int ncclGetUniqueId(struct id *id);
int ncclCommInitRankConfig(struct communicator **c, int size, struct id id, int rank,
                           struct config *config);
int ncclCommGetAsyncError(struct communicator *c, int *code);
int ncclCommFinalize(struct communicator *c);
int ncclCommDestroy(struct communicator *c);
int ncclCommAbort(struct communicator *c);
int ncclAllReduce(const void *from, void *to, size_t n, int type, int how,
                  struct communicator *c, void *stream);
int ncclSend(const void *x, size_t n, int type, int to, struct communicator *c,
             void *stream);
int ncclRecv(void *x, size_t n, int type, int from, struct communicator *c, void *stream);
int ncclGroupStart(void);
int ncclGroupEnd(void);
int fake_nccl_left(void);

int ncclGetVersion(int *version)
{
    *version = wrong("old") ? 21806 : 29901;
    return SUCCESS;
}

const char *ncclGetLastError(void *communicator)
{
    static const char message[] = "NCCL version 2.99.1+cuda13.0";

    return communicator ? message : "";
}

int ncclGetUniqueId(struct id *id)
{
    memset(id, 0, sizeof(*id));
    pthread_mutex_lock(&mutex);
    worlds[n_worlds] = calloc(1, sizeof(*worlds[0]));
    memcpy(id->bytes, &n_worlds, sizeof(n_worlds));
    n_worlds++;
    pthread_mutex_unlock(&mutex);
    return SUCCESS;
}

int ncclCommInitRankConfig(struct communicator **out, int size, struct id id, int rank,
                           struct config *config)
{
    const char *code = wrong("refuse=");
    int number;

    if (config->magic != 0xcafebeef || config->version != 21400 || config->blocking != 0)
        misused("this is no ncclConfig_t that does not block");
    if (code)
        return atoi(code);
    memcpy(&number, id.bytes, sizeof(number));
    struct communicator *c = calloc(1, sizeof(*c));
    pthread_mutex_lock(&mutex);
    c->world = worlds[number];
    c->rank = rank;
    c->world->size = size;
    c->world->came++;
    c->world->ranks[rank] = c;
    code = wrong("init=");
    c->error = code ? atoi(code) : SUCCESS;
    atomic_flag_clear(&c->called);
    *out = c;
    pthread_mutex_unlock(&mutex);
    return IN_PROGRESS;
}

int ncclCommGetAsyncError(struct communicator *c, int *code)
{
    enter(c);
    *code = state(c);
    return leave(c, SUCCESS);
}

int ncclCommFinalize(struct communicator *c)
{
    enter(c);
    if (busy(c))
        misused("ncclCommFinalize() while something is in progress");
    c->finalizing = true;
    c->world->finalized++;
    return leave(c, SUCCESS);
}

static void end(struct communicator *c)
{
    c->world->ranks[c->rank] = NULL;
    if (++c->world->left == c->world->size) {
        for (int i = 0; i < n_worlds; i++)
            if (worlds[i] == c->world)
                worlds[i] = NULL;
        free(c->world);
    }
    leave(c, SUCCESS);
    free(c);
}

int ncclCommDestroy(struct communicator *c)
{
    enter(c);
    if (!c->finalizing)
        misused("ncclCommDestroy() of what was not finalized");
    end(c);
    return SUCCESS;
}

int ncclCommAbort(struct communicator *c)
{
    while (wrong("hang"))
        usleep(10000);
    enter(c);
    end(c);
    return SUCCESS;
}

/* Communicators that were neither destroyed nor aborted. */
int fake_nccl_left(void)
{
    int n = 0;

    pthread_mutex_lock(&mutex);
    for (int i = 0; i < n_worlds; i++)
        for (int r = 0; worlds[i] && r < RANKS_MAX; r++)
            n += worlds[i]->ranks[r] != NULL;
    pthread_mutex_unlock(&mutex);
    return n;
}

/* ---- exchange ---- */

int ncclAllReduce(const void *from, void *to, size_t n, int type, int how,
                  struct communicator *c, void *stream)
{
    (void)stream;
    enter(c);
    if (from != to || type != FLOAT32 || how != AVG || groups || busy(c))
        misused("this is no mean in place of floats by itself");
    c->mean = (struct message){to, n, 0, true};
    return leave(c, begin(c));
}

static int add(struct communicator *c, struct message *m, void *x, size_t n, int type,
               int rank)
{
    enter(c);
    if (!groups || type != FLOAT32 || m->there || busy(c))
        misused("this is no message of floats in a group");
    *m = (struct message){x, n, rank, true};
    grouped = c;
    return leave(c, SUCCESS);
}

int ncclSend(const void *x, size_t n, int type, int to, struct communicator *c,
             void *stream)
{
    (void)stream;
    return add(c, &c->next_out, (void *)x, n, type, to);
}

int ncclRecv(void *x, size_t n, int type, int from, struct communicator *c, void *stream)
{
    (void)stream;
    return add(c, &c->next_in, x, n, type, from);
}

int ncclGroupStart(void)
{
    groups++;
    return SUCCESS;
}

int ncclGroupEnd(void)
{
    struct communicator *c = grouped;

    if (groups-- != 1 || !c)
        misused("there is no group, or nothing in it");
    grouped = NULL;
    enter(c);
    c->out = c->next_out;
    c->in = c->next_in;
    c->next_out.there = c->next_in.there = false;
    return leave(c, begin(c));
}
