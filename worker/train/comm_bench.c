/* How much of the sum over ranks is hidden behind backward: resnet18 on two ranks, one
 * thread each, a step as the trainer does it, the same with the sum after all of
 * backward, and without any sum. Such a round is as long as its slower rank takes; each
 * kind takes turns within a run, and medians count. Over TCP, within this host and over
 * links of limited speed, and over MPI where mpirun starts it.
 *
 * Within a host a sum is the CPUs' work, which nothing hides where the ranks have them
 * all: so beside it stands its CPU time. A link is a pair of virtual interfaces of two
 * network namespaces, with a token bucket at both ends. */
#include "base/clock.h"
#include "base/rank.h"
#include "base/mem.h"
#include "worker/train/comm_tcp.h"
#include "worker/train/cpu.h"
#include "worker/train/trainer_private.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 2, ROUNDS = 21 };

/* Between the two ranks, with as many samples for each as take backward about as long as
 * the sum. */
struct link {
    const char *name, *rate; /* for people and for tc; NULL: within this host */
    size_t rows;
    int rounds;
};

static const struct link host = {"within this host", NULL, 4, ROUNDS};
static const struct link links[] = {
    {"over 10 Gbit/s", "10gbit", 4, ROUNDS},
    {"over 1 Gbit/s", "1gbit", 32, 9},
};

enum kind { ALONE, AFTER, OVERLAPPED, KINDS };

struct bench {
    const struct link *link;
    struct comm *comm;
    struct device *device;
    struct data *data;
    struct model *model;
    struct optimizer *optimizer;
    struct trainer *together, *alone;
    size_t at[2]; /* where the next batch of each begins */
};

static struct trainer *make_trainer(const struct bench *b, struct comm *c, size_t batch)
{
    struct err e = {0};
    struct trainer *t =
        trainer_create(b->device, b->data, b->model, b->optimizer,
                       &(struct trainer_config){.comm = c, .batch_size = batch}, &e);

    if (!t) {
        fprintf(stderr, "%s\n", e.text);
        exit(EXIT_FAILURE);
    }
    return t;
}

/* The next batch: the loader has it already. */
static void step(struct trainer *t, size_t *at)
{
    size_t n = t->config.batch_size;

    step_train(t, &t->training, *at, n);
    *at = (*at + n) % t->training.part->n;
}

/* Of the slower rank. */
static double slower(struct bench *b, double mine)
{
    double took[RANKS] = {0}, longest = 0;

    took[comm_rank(b->comm)] = mine;
    comm_sum(b->comm, took, RANKS);
    for (int i = 0; i < RANKS; i++)
        longest = fmax(longest, took[i]);
    return longest;
}

static double seconds(struct bench *b, enum kind kind)
{
    comm_agree(b->comm, 0, NULL);
    double begun = clock_mono();
    if (kind == OVERLAPPED)
        step(b->together, &b->at[0]);
    else
        step(b->alone, &b->at[1]);
    if (kind == AFTER) {
        comm_reduce(b->comm, b->model->gradients, b->model->n);
        comm_reduce_wait(b->comm);
    }
    return slower(b, clock_mono() - begun);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The CPU time of a sum: of what it does, without turning round while it waits. */
static double working(struct bench *b, double most)
{
    comm_agree(b->comm, 0, NULL);
    double begun = cpu_seconds(), end = clock_mono() + most;
    comm_reduce(b->comm, b->model->gradients, b->model->n);
    while (clock_mono() < end) {
        comm_progress(b->comm);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    comm_reduce_wait(b->comm);
    return slower(b, cpu_seconds() - begun);
}

/* What a kind takes more than one without a sum does in the same round: the machine's
 * other load is alike there. */
static double cost(const struct bench *b, double took[KINDS][ROUNDS], enum kind kind)
{
    double more[ROUNDS];

    for (int i = 0; i < b->link->rounds; i++)
        more[i] = took[kind][i] - took[ALONE][i];
    return median(more, (size_t)b->link->rounds);
}

static void print(const struct bench *b, double took[KINDS][ROUNDS], double *worked)
{
    double after = cost(b, took, AFTER), overlapped = cost(b, took, OVERLAPPED);
    size_t n = (size_t)b->link->rounds;

    printf("%.0f %%\t>= 50 %%\tof the time of a sum over %d ranks is hidden behind "
           "backward, by %s %s: it adds %.1f ms, after backward %.1f ms, of which %.1f "
           "ms are the CPUs', to %.0f ms; resnet18, %zu MB, %zu samples a rank, median "
           "of %zu in turns\n",
           100 * (1 - overlapped / after), RANKS, comm_name(b->comm), b->link->name,
           1e3 * overlapped, 1e3 * after, 1e3 * median(worked, n),
           1e3 * median(took[ALONE], n), b->model->n * sizeof(float) / 1000000,
           b->link->rows, n);
    fflush(stdout);
}

static void measure(struct comm *c, const struct link *link)
{
    struct bench b = {.link = link, .comm = c, .device = cpu_open(1)};
    size_t batch = RANKS * link->rows;
    double took[KINDS][ROUNDS], worked[ROUNDS];
    char source[64];

    snprintf(source, sizeof(source), "synthetic:3x32x32,samples=%zu", 4 * batch);
    b.data = data_open(&(struct data_config){source, 0, 0.5}, NULL); /* whole batches */
    data_measure(b.data);
    b.model = model_create(
        b.device, &(struct model_config){"resnet18", {32, 32, 3}, 10, NULL, 0, 1, 0},
        NULL);
    b.optimizer =
        optimizer_create(b.device, &(struct optimizer_config){"sgd", 1e-3, 0.9, 0, false},
                         b.model->n, NULL);
    b.together = make_trainer(&b, c, batch);
    b.alone = make_trainer(&b, NULL, link->rows);
    for (int i = -1; i < link->rounds; i++) { /* once to warm up */
        for (enum kind k = 0; k < KINDS; k++)
            took[k][i < 0 ? 0 : i] = seconds(&b, k);
        worked[i < 0 ? 0 : i] = working(&b, 2 * (took[AFTER][0] - took[ALONE][0]));
    }
    if (comm_rank(c) == 0)
        print(&b, took, worked);
    trainer_destroy(b.alone);
    trainer_destroy(b.together);
    optimizer_destroy(b.optimizer);
    model_destroy(b.model);
    data_close(b.data);
    device_close(b.device);
}

static void lost(void *arg, const char *text)
{
    (void)arg;
    if (text)
        fprintf(stderr, "%s\n", text);
    _exit(EXIT_FAILURE);
}

/* ---- two processes ---- */

static void swap(int fd, const void *mine, void *other, size_t bytes)
{
    if (send(fd, mine, bytes, MSG_NOSIGNAL) != (ssize_t)bytes ||
        recv(fd, other, bytes, MSG_WAITALL) != (ssize_t)bytes)
        _exit(EXIT_FAILURE); /* the other has said why */
}

/* This rank's end of the link, once both are in namespaces of their own. */
static bool join(const struct link *link, int rank, int pair)
{
    char text[512];
    pid_t mine = getpid(), other;

    if (unshare(CLONE_NEWNET) < 0)
        return false;
    swap(pair, &mine, &other, sizeof(mine));
    snprintf(text, sizeof(text), "ip link add veth0 type veth peer name veth1 netns %ld",
             (long)other);
    bool made = rank || system(text) == 0;
    swap(pair, &made, &made, sizeof(made));
    snprintf(text, sizeof(text),
             "ip addr add 10.0.0.%d/30 dev veth%d && ip link set veth%d up && "
             "tc qdisc add dev veth%d root tbf rate %s burst 256kb latency 20ms",
             rank + 1, rank, rank, rank, link->rate);
    return made && system(text) == 0;
}

static int run_rank(const struct link *link, int rank, int pair)
{
    struct tcp_address all[RANKS];
    struct transport *t;
    struct err e = {0};
    int listening;

    if (link->rate && !join(link, rank, pair)) {
        if (rank == 0)
            printf(
                "skipped\t>= 50 %%\tof the time of a sum is hidden behind backward, by "
                "TCP %s: that takes root, and ip and tc (iproute2) with veth and tbf\n",
                link->name);
        return EXIT_SUCCESS;
    }
    if (tcp_listen(&all[rank], &listening, &e) < 0)
        goto out;
    swap(pair, &all[rank], &all[1 - rank], sizeof(all[rank]));
    if (transport_tcp(&t, rank, RANKS, listening, all, &e) < 0)
        goto out;
    struct comm *c = comm_over(t, lost, NULL);
    measure(c, link);
    comm_close(c);
    return EXIT_SUCCESS;
out:
    fprintf(stderr, "%s\n", e.text);
    return EXIT_FAILURE;
}

static int over_tcp(const struct link *link)
{
    int pair[2], failed = 0, status;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return EXIT_FAILURE;
    for (int rank = 0; rank < RANKS; rank++)
        if (fork() == 0) {
            close(pair[1 - rank]);
            status = run_rank(link, rank, pair[rank]);
            fflush(stdout);
            _exit(status);
        }
    close(pair[0]);
    close(pair[1]);
    while (wait(&status) > 0)
        failed |= status;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
    struct comm *c;
    struct err e = {0};

    (void)argc;
    if (!getenv("OMPI_COMM_WORLD_SIZE")) {
        if (over_tcp(&host) != 0)
            return EXIT_FAILURE;
        for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
            if (over_tcp(&links[i]) != 0)
                return EXIT_FAILURE;
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
        execlp("mpirun", "mpirun", "-n", "2", argv[0], NULL);
        return EXIT_SUCCESS; /* there is no MPI here */
    }
    if (comm_open(&c, lost, NULL, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return EXIT_FAILURE;
    }
    measure(c, &host);
    comm_close(c);
    return EXIT_SUCCESS;
}
