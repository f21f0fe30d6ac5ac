#include "worker/train/comm.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/vec.h"
#include "worker/train/comm_transport.h"
#include "worker/train/pmi2.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Milliseconds after which the thread looks whether it is still needed. */
#define THREAD_LOOKS 10

/* An array of which the ranks make the sum. */
struct reduction {
    float *x;
    size_t n;
};

struct comm {
    struct transport *transport;
    struct lifeline *lifeline;
    comm_lost *lost;
    void *lost_arg;
    pthread_mutex_t losing; /* held while these change, and once a rank is lost */
    void (*at_loss)(void *arg);
    void *at_loss_arg;
    /* By `running`, which is held while reductions are taken on: of the first that is not
     * over, `now`, `step` of 2 (size - 1) exchanges are under way or over. */
    pthread_mutex_t running;
    struct reduction now;
    bool taken, stepping;
    int step;
    float *piece; /* what comes in to be added */
    size_t piece_room;
    /* By `mutex`: reductions that were begun, of which `done` are over, and a thread that
     * takes them on while this rank does something else. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    VEC(struct reduction) reductions;
    size_t done;
    pthread_t thread;
    bool started, wanted, ends;
};

int comm_rank(const struct comm *c)
{
    return c ? c->transport->rank : 0;
}

int comm_size(const struct comm *c)
{
    return c ? c->transport->size : 1;
}

const char *comm_name(const struct comm *c)
{
    return c ? c->transport->ops->name : NULL;
}

/* ---- one message out, one in ---- */

/* Of whatever thread: the lifeline's, or one that waits for a transport. */
static void lose(void *arg, const char *text)
{
    struct comm *c = arg;

    pthread_mutex_lock(&c->losing);
    if (c->at_loss)
        c->at_loss(c->at_loss_arg);
    c->lost(c->lost_arg, text);
}

void comm_at_loss(struct comm *c, void (*act)(void *arg), void *arg)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->losing);
    c->at_loss = act;
    c->at_loss_arg = arg;
    pthread_mutex_unlock(&c->losing);
}

void comm_wait_lost(struct comm *c)
{
    if (c)
        lifeline_wait(c->lifeline);
}

/* Ends all where the transport fails. That is, as a rule, since a rank has died: then the
 * lifeline will say so. */
static void insist(struct comm *c, int rc, const struct err *e)
{
    if (rc == 0)
        return;
    comm_wait_lost(c);
    lose(c, e->text);
}

static void begin_send(struct comm *c, int to, const void *p, size_t bytes)
{
    struct err e = {0};
    insist(c, c->transport->ops->send(c->transport, to, p, bytes, &e), &e);
}

static void begin_receive(struct comm *c, int from, void *p, size_t bytes)
{
    struct err e = {0};
    insist(c, c->transport->ops->receive(c->transport, from, p, bytes, &e), &e);
}

static bool arrived(struct comm *c)
{
    struct err e = {0};
    int rc = c->transport->ops->test(c->transport, &e);

    insist(c, rc < 0 ? rc : 0, &e);
    return rc == 1;
}

/* A wait is short as a rule. One that is not, as while rank 0 saves, leaves the CPU to
 * others. */
static void rest(unsigned *turns)
{
    enum { SPIN = 1000, YIELD = 10000 };

    if (++*turns < SPIN)
        return;
    if (*turns < YIELD)
        sched_yield();
    else
        nanosleep(&(struct timespec){0, 100000}, NULL);
}

static void wait_arrival(struct comm *c)
{
    for (unsigned turns = 0; !arrived(c);)
        rest(&turns);
}

static void transfer(struct comm *c, int peer, void *p, size_t bytes,
                     void (*begin)(struct comm *c, int peer, char *p, size_t bytes))
{
    for (char *at = p; bytes;) {
        size_t n = bytes < MESSAGE_MAX ? bytes : MESSAGE_MAX;
        begin(c, peer, at, n);
        wait_arrival(c);
        at += n;
        bytes -= n;
    }
}

static void begin_out(struct comm *c, int peer, char *p, size_t bytes)
{
    begin_send(c, peer, p, bytes);
}

static void begin_in(struct comm *c, int peer, char *p, size_t bytes)
{
    begin_receive(c, peer, p, bytes);
}

/* ---- from one rank to another ---- */

void comm_sent(struct comm *c)
{
    if (!c)
        return;
    assert(c->done == c->reductions.n);
    wait_arrival(c);
}

void comm_send(struct comm *c, int to, const void *p, size_t bytes)
{
    const char *at = p;

    for (comm_sent(c); bytes > MESSAGE_MAX; at += MESSAGE_MAX, bytes -= MESSAGE_MAX) {
        begin_send(c, to, at, MESSAGE_MAX);
        comm_sent(c);
    }
    begin_send(c, to, at, bytes);
}

void comm_receive(struct comm *c, int from, void *p, size_t bytes)
{
    assert(c->done == c->reductions.n);
    transfer(c, from, p, bytes, begin_in);
}

/* ---- all ranks at once: binomial trees ---- */

void comm_broadcast(struct comm *c, int root, void *p, size_t bytes)
{
    int size = comm_size(c), from_root = (comm_rank(c) - root + size) % size, bit = 1;

    if (size == 1)
        return;
    assert(c->done == c->reductions.n);
    for (; bit < size; bit *= 2)
        if (from_root & bit) {
            transfer(c, (from_root - bit + root) % size, p, bytes, begin_in);
            break;
        }
    for (bit /= 2; bit > 0; bit /= 2)
        if (from_root + bit < size)
            transfer(c, (from_root + bit + root) % size, p, bytes, begin_out);
}

/* Combines what all ranks have at p into rank 0's, in the order of the ranks. `other` has
 * room for as many bytes. */
static void combine(struct comm *c, void *p, void *other, size_t bytes,
                    void (*add)(void *p, const void *other, size_t bytes))
{
    int rank = comm_rank(c), size = comm_size(c);

    assert(c->done == c->reductions.n);
    for (int bit = 1; bit < size; bit *= 2) {
        if (rank & bit) {
            transfer(c, rank - bit, p, bytes, begin_out);
            return;
        }
        if (rank + bit < size) {
            transfer(c, rank + bit, other, bytes, begin_in);
            add(p, other, bytes);
        }
    }
}

static void add_doubles(void *p, const void *other, size_t bytes)
{
    double *x = p;
    const double *y = other;

    for (size_t i = 0; i < bytes / sizeof(*x); i++)
        x[i] += y[i];
}

void comm_sum(struct comm *c, double *x, size_t n)
{
    if (comm_size(c) == 1)
        return;
    double *other = mem_resize(NULL, n, sizeof(*other));
    combine(c, x, other, n * sizeof(*x), add_doubles);
    comm_broadcast(c, 0, x, n * sizeof(*x));
    free(other);
}

static void first_error(void *p, const void *other, size_t bytes)
{
    if (((struct err *)p)->code == 0)
        memcpy(p, other, bytes);
}

int comm_agree(struct comm *c, int rc, struct err *e)
{
    struct err mine = {0}, other;

    if (comm_size(c) == 1)
        return rc;
    if (rc < 0 && e)
        mine = *e;
    mine.code = rc;
    combine(c, &mine, &other, sizeof(mine), first_error);
    comm_broadcast(c, 0, &mine, sizeof(mine));
    if (mine.code < 0)
        err_set(e, mine.code, "%s", mine.text);
    return mine.code;
}

/* ---- sums of arrays: rings ----
 *
 * x is cut into as many pieces as there are ranks. In the first size - 1 steps each rank
 * passes a piece on, and adds its own to the one that comes: piece r is then whole on
 * rank r - 1, and in the other size - 1 steps goes once more round. */

static size_t piece_start(const struct comm *c, const struct reduction *r, int piece)
{
    size_t size = (size_t)comm_size(c), k = (size_t)piece;

    return r->n / size * k + (k < r->n % size ? k : r->n % size);
}

/* The piece that comes in at a step; the one before it goes out. */
static int piece_in(const struct comm *c, int step)
{
    int size = comm_size(c), back = comm_rank(c) - 1 - step;

    return (back % size + size) % size;
}

static void step_begin(struct comm *c)
{
    const struct reduction *r = &c->now;
    int rank = comm_rank(c), size = comm_size(c);
    /* The second round starts with the piece that the first one ended with. */
    int in = piece_in(c, c->step < size - 1 ? c->step : c->step - size);
    int out = (in + 1) % size;
    size_t from = piece_start(c, r, in), from_out = piece_start(c, r, out);
    size_t n = piece_start(c, r, in + 1) - from;
    size_t n_out = piece_start(c, r, out + 1) - from_out;

    if (n > c->piece_room) {
        c->piece = mem_resize(c->piece, n, sizeof(*c->piece));
        c->piece_room = n;
    }
    begin_receive(c, (rank + size - 1) % size,
                  c->step < size - 1 ? c->piece : r->x + from, n * sizeof(*r->x));
    begin_send(c, (rank + 1) % size, r->x + from_out, n_out * sizeof(*r->x));
    c->stepping = true;
}

static void step_end(struct comm *c)
{
    const struct reduction *r = &c->now;
    int size = comm_size(c);

    c->stepping = false;
    if (c->step < size - 1) {
        int in = piece_in(c, c->step);
        size_t from = piece_start(c, r, in), n = piece_start(c, r, in + 1) - from;
        float *x = r->x + from;
        const float *piece = c->piece;
        for (size_t i = 0; i < n; i++)
            x[i] += piece[i];
    }
    if (++c->step == 2 * (size - 1)) {
        c->step = 0;
        c->taken = false;
        pthread_mutex_lock(&c->mutex);
        c->done++;
        pthread_mutex_unlock(&c->mutex);
    }
}

/* Takes up the next reduction; false: there is none. */
static bool take(struct comm *c)
{
    pthread_mutex_lock(&c->mutex);
    c->taken = c->done < c->reductions.n;
    if (c->taken)
        c->now = c->reductions.v[c->done];
    pthread_mutex_unlock(&c->mutex);
    return c->taken;
}

/* Takes reductions as far as they go without waiting; false: none is left. */
static bool go_on(struct comm *c)
{
    while (c->taken || take(c)) {
        if (!c->stepping)
            step_begin(c);
        if (!arrived(c))
            return true;
        step_end(c);
    }
    return false;
}

/* ---- and in a thread ----
 *
 * A transport moves bytes when it is called, and between two layers of a large batch more
 * time passes than a socket has room for. So a thread calls it whenever it can go on. Who
 * has nothing else to do, in comm_reduce_wait(), does so by itself. */

static void *thread_main(void *arg)
{
    struct comm *c = arg;
    struct pollfd fds[2];

    pthread_mutex_lock(&c->mutex);
    while (!c->ends) {
        if (!c->wanted) {
            pthread_cond_wait(&c->changed, &c->mutex);
            continue;
        }
        pthread_mutex_unlock(&c->mutex);
        pthread_mutex_lock(&c->running);
        bool left = go_on(c);
        if (left)
            c->transport->ops->waits_for(c->transport, fds);
        pthread_mutex_unlock(&c->running);
        if (left)
            poll(fds, 2, THREAD_LOOKS);
        pthread_mutex_lock(&c->mutex);
        c->wanted = c->wanted && c->done < c->reductions.n;
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

/* Signals are the training's. Without a thread it only takes longer. */
static void start(struct comm *c)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->started = pthread_create(&c->thread, NULL, thread_main, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop(struct comm *c)
{
    if (!c->started)
        return;
    pthread_mutex_lock(&c->mutex);
    c->ends = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
}

void comm_reduce(struct comm *c, float *x, size_t n)
{
    if (comm_size(c) == 1 || n == 0)
        return;
    pthread_mutex_lock(&c->mutex);
    vec_push(&c->reductions, ((struct reduction){x, n}));
    pthread_mutex_unlock(&c->mutex);
}

void comm_progress(struct comm *c)
{
    if (comm_size(c) == 1)
        return;
    if (!c->transport->ops->waits_for) {
        go_on(c);
        return;
    }
    pthread_mutex_lock(&c->mutex);
    if (!c->wanted && c->done < c->reductions.n) {
        c->wanted = true;
        if (!c->started)
            start(c);
        pthread_cond_signal(&c->changed);
    }
    pthread_mutex_unlock(&c->mutex);
}

void comm_reduce_wait(struct comm *c)
{
    if (comm_size(c) == 1)
        return;
    pthread_mutex_lock(&c->mutex);
    c->wanted = false;
    pthread_mutex_unlock(&c->mutex);
    pthread_mutex_lock(&c->running);
    int step = c->step;
    for (unsigned turns = 0; go_on(c); rest(&turns)) {
        if (c->step != step)
            turns = 0;
        step = c->step;
    }
    pthread_mutex_unlock(&c->running);
    pthread_mutex_lock(&c->mutex);
    c->reductions.n = c->done = 0;
    pthread_mutex_unlock(&c->mutex);
}

/* ---- finding each other ---- */

static int64_t environment_number(const char *name)
{
    const char *text = getenv(name);
    int64_t n;

    return text && num_parse_int(text, strlen(text), &n) == 0 ? n : -1;
}

/* The first of the variables that is a number; -1 if none is. mpirun's own word comes
 * first: below a shell that is a step itself, Slurm's is about the shell. */
static int64_t launcher_said(const char *mpirun, const char *slurm)
{
    int64_t n = environment_number(mpirun);

    return n >= 0 ? n : environment_number(slurm);
}

bool comm_speaks(void)
{
    return launcher_said("OMPI_COMM_WORLD_RANK", "SLURM_PROCID") <= 0;
}

static int check_size(int size, struct err *e)
{
    int64_t tasks = launcher_said("OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS");

    if (tasks <= 0 || tasks == size)
        return 0;
    return err_set(e, ERR_INVAL,
                   "%" PRId64
                   " tasks were started, but each finds %d in all: launch them "
                   "with srun --mpi=pmix or --mpi=pmi2, or with mpirun",
                   tasks, size);
}

/* The way to the other ranks; NULL, without an error, where nobody launched any. */
static int open_transport(struct transport **t, struct err *e)
{
    *t = NULL;
    if (getenv("PMIX_RANK") || getenv("OMPI_COMM_WORLD_SIZE"))
        return transport_mpi(t, e);
    if (pmi2_launched())
        return transport_pmi2(t, e);
    return 0;
}

static int open_lifeline(struct comm *c, struct err *e)
{
    int rank = comm_rank(c), size = comm_size(c), listening = -1;
    struct lifeline_call call;
    int rc = rank == 0 ? lifeline_listen(&call, &listening, e) : 0;

    rc = comm_agree(c, rc, e);
    if (rc < 0)
        return rc;
    comm_broadcast(c, 0, &call, sizeof(call));
    rc = lifeline_open(&c->lifeline, rank, size, &call, listening, lose, c, e);
    return comm_agree(c, rc, e);
}

struct comm *comm_over(struct transport *t, comm_lost *lost, void *arg)
{
    struct comm *c = mem_alloc(sizeof(*c));

    c->transport = t;
    c->lost = lost;
    c->lost_arg = arg;
    pthread_mutex_init(&c->losing, NULL);
    pthread_mutex_init(&c->running, NULL);
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->changed, NULL);
    return c;
}

void comm_threads(int n, struct comm *c[])
{
    struct transport **t = mem_alloc((size_t)n * sizeof(*t));

    transport_threads(n, t);
    for (int i = 0; i < n; i++)
        c[i] = comm_over(t[i], NULL, NULL);
    free(t);
}

int comm_open(struct comm **out, comm_lost *lost, void *arg, struct err *e)
{
    struct transport *t;
    struct comm *c;
    int rc = open_transport(&t, e);

    *out = NULL;
    if (rc == 0)
        rc = check_size(t ? t->size : 1, e);
    if (rc < 0 || !t || t->size == 1) {
        if (t)
            t->ops->close(t);
        return rc;
    }
    c = comm_over(t, lost, arg);
    rc = open_lifeline(c, e);
    if (rc < 0)
        comm_close(c);
    else
        *out = c;
    return rc;
}

void comm_close(struct comm *c)
{
    if (!c)
        return;
    stop(c);
    comm_agree(c, 0, NULL);
    c->transport->ops->close(c->transport);
    lifeline_close(c->lifeline);
    pthread_mutex_destroy(&c->losing);
    pthread_mutex_destroy(&c->running);
    pthread_mutex_destroy(&c->mutex);
    pthread_cond_destroy(&c->changed);
    vec_free(&c->reductions);
    free(c->piece);
    free(c);
}
