/* The ranks of one training: how they find each other, exchange arrays, and end together.
 *
 * A transport (comm_transport.h) carries bytes between two ranks; what all of them do at
 * once is made of that here. So sums have the same bits for the same number of ranks,
 * whatever carries them, and run after run. Every rank calls these in the same order.
 *
 * None of these fails: where a rank has died, or what carries the bytes breaks, all ranks
 * end with one sentence (lifeline.h). Ordinary errors, of one rank or of several, are
 * made everyone's by comm_agree(), and then each rank takes the same way out. */
#ifndef WORKER_TRAIN_COMM_H
#define WORKER_TRAIN_COMM_H

#include "base/err.h"
#include "worker/train/lifeline.h"

#include <stdbool.h>
#include <stddef.h>

struct comm;

/* Finds the other ranks: by MPI if an MPI launcher started this process (PMIx, mpirun),
 * by PMI2 if srun --mpi=pmi2 did, else it is alone. *c is NULL for one that is alone: all
 * functions take that. On failure, the same on all ranks, it is, too: ERR_INVAL where a
 * step of several tasks made processes that do not know each other, ERR_UNSUPPORTED where
 * this build lacks what launched it. */
int comm_open(struct comm **c, comm_lost *lost, void *arg, struct err *e);
/* Ranks that are n > 1 threads of this process: thread i is to use, and close, c[i]. */
void comm_threads(int n, struct comm *c[]);
/* Waits for all ranks: those that end by themselves end together. */
void comm_close(struct comm *c);

/* What is done first, within seconds, where another rank is lost, by the thread that
 * finds it out; NULL: nothing, from when this returns. */
void comm_at_loss(struct comm *c, void (*act)(void *arg), void *arg);
/* Gives time to find out whether one is lost: returns if none is. From any thread. */
void comm_wait_lost(struct comm *c);

int comm_rank(const struct comm *c);         /* 0 of one that is alone */
int comm_size(const struct comm *c);         /* 1 */
const char *comm_name(const struct comm *c); /* "MPI", "TCP"; NULL */

/* Whether this process speaks for all ranks, as far as the environment tells: after
 * comm_open() has failed. */
bool comm_speaks(void);

/* ---- all ranks at once; not while a reduction is under way ---- */

void comm_broadcast(struct comm *c, int root, void *p, size_t bytes);
/* x becomes its sum over the ranks, with the same bits on each. */
void comm_sum(struct comm *c, double *x, size_t n);
/* rc is what it came to on this rank, with its sentence in *e, if not NULL. Returns, on
 * all, that of the lowest rank that failed, and sets *e to its sentence; 0 if none did.
 */
int comm_agree(struct comm *c, int rc, struct err *e);

/* ---- from one rank to another; not while a reduction is under way ---- */

/* Begins to send; p stays as it is until comm_sent(). Waits for what was begun before. */
void comm_send(struct comm *c, int to, const void *p, size_t bytes);
/* Waits until what was sent has arrived. */
void comm_sent(struct comm *c);
/* Waits for what `from` sends, as many bytes, and for what this rank sent. */
void comm_receive(struct comm *c, int from, void *p, size_t bytes);

/* ---- sums of arrays, while something else is done ---- */

/* Begins to make x [n] its sum over the ranks; x is the sum when comm_reduce_wait() has
 * returned, and nobody's before. Several may be begun: they go one after another, a ring
 * of two rounds each (Patarasuk and Yuan 2009), in which the order of the additions
 * depends on n and the number of ranks alone. */
void comm_reduce(struct comm *c, float *x, size_t n);
/* Takes them as far as they go without waiting, or, over TCP, has a thread do so from now
 * on. To be called often in between. */
void comm_progress(struct comm *c);
void comm_reduce_wait(struct comm *c);

#endif
