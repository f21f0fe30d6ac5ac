/* How much of the sum over ranks is hidden behind backward: resnet18 on two ranks, one
 * thread each, a step as the trainer does it, the same with the sum after all of
 * backward, and without any sum. Such a round is as long as its slower rank takes; each
 * kind takes turns within a run, and medians count. Over TCP, and over MPI where mpirun
 * starts it. */
#include "base/clock.h"
#include "base/median.h"
#include "base/mem.h"
#include "worker/train/comm_tcp.h"
#include "worker/train/cpu.h"
#include "worker/train/trainer_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 2, ROUNDS = 21, ROWS = 4 }; /* rows of each rank */

enum kind { ALONE, AFTER, OVERLAPPED, KINDS };

struct bench {
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
static double seconds(struct bench *b, enum kind kind)
{
    double took[RANKS] = {0}, longest = 0, begun;

    comm_agree(b->comm, 0, NULL);
    begun = clock_mono();
    if (kind == OVERLAPPED)
        step(b->together, &b->at[0]);
    else
        step(b->alone, &b->at[1]);
    if (kind == AFTER) {
        comm_reduce(b->comm, b->model->gradients, b->model->n);
        comm_reduce_wait(b->comm);
    }
    took[comm_rank(b->comm)] = clock_mono() - begun;
    comm_sum(b->comm, took, RANKS);
    for (int i = 0; i < RANKS; i++)
        longest = fmax(longest, took[i]);
    return longest;
}

/* What a kind takes more than one without a sum does in the same round: the machine's
 * other load is alike there. */
static double cost(double took[KINDS][ROUNDS], enum kind kind)
{
    double more[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        more[i] = took[kind][i] - took[ALONE][i];
    return median(more, ROUNDS);
}

static void print(const struct bench *b, double took[KINDS][ROUNDS])
{
    double after = cost(took, AFTER), overlapped = cost(took, OVERLAPPED);

    printf("%.0f %%\t>= 50 %%\tof the time of a sum over %d ranks is hidden behind "
           "backward, by %s: it adds %.1f ms, after backward %.1f ms, to %.0f ms; "
           "resnet18, %zu MB, %d samples a rank, median of %d in turns\n",
           100 * (1 - overlapped / after), RANKS, comm_name(b->comm), 1e3 * overlapped,
           1e3 * after, 1e3 * median(took[ALONE], ROUNDS),
           b->model->n * sizeof(float) / 1000000, ROWS, ROUNDS);
    fflush(stdout);
}

static void measure(struct comm *c)
{
    struct bench b = {.comm = c, .device = cpu_open(1)};
    double took[KINDS][ROUNDS];

    b.data =
        data_open(&(struct data_config){"synthetic:3x32x32,samples=160", 0, NAN}, NULL);
    data_measure(b.data); /* 144 train: whole batches */
    b.model = model_create(
        b.device, &(struct model_config){"resnet18", {32, 32, 3}, 10, NULL, 0, 1, 0},
        NULL);
    b.optimizer =
        optimizer_create(b.device, &(struct optimizer_config){"sgd", 1e-3, 0.9, 0, false},
                         b.model->n, NULL);
    b.together = make_trainer(&b, c, RANKS * ROWS);
    b.alone = make_trainer(&b, NULL, ROWS);
    for (int i = -1; i < ROUNDS; i++) /* once to warm up */
        for (enum kind k = 0; k < KINDS; k++)
            took[k][i < 0 ? 0 : i] = seconds(&b, k);
    if (comm_rank(c) == 0)
        print(&b, took);
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

static int over_tcp(void)
{
    struct tcp_address all[RANKS];
    int listening[RANKS], status = 0, rank = 0;
    struct transport *t;
    struct err e = {0};

    for (int i = 0; i < RANKS; i++)
        if (tcp_listen(&all[i], &listening[i], &e) < 0)
            goto out;
    pid_t child = fork();
    rank = child == 0;
    close(listening[1 - rank]);
    if (transport_tcp(&t, rank, RANKS, listening[rank], all, &e) < 0)
        goto out;
    struct comm *c = comm_over(t);
    measure(c);
    comm_close(c);
    if (rank)
        _exit(EXIT_SUCCESS);
    waitpid(child, &status, 0);
    return status;
out:
    fprintf(stderr, "%s\n", e.text);
    return EXIT_FAILURE;
}

int main(int argc, char *argv[])
{
    struct comm *c;
    struct err e = {0};

    (void)argc;
    if (!getenv("OMPI_COMM_WORLD_SIZE")) {
        if (over_tcp() != 0)
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
    measure(c);
    comm_close(c);
    return EXIT_SUCCESS;
}
