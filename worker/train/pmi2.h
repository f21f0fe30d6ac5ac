/* The tasks of a step that `srun --mpi=pmi2` started: who they are, and a few bytes from
 * each to all. Slurm's libpmi2 is GPL, so it is opened at run time and not linked. One of
 * these at a time in a process, in one thread. */
#ifndef WORKER_TRAIN_PMI2_H
#define WORKER_TRAIN_PMI2_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes that a task may give: Slurm's values have 1,023 characters. */
#define PMI2_BYTES 500

struct pmi2;

/* Whether this process is one of several such tasks, as the environment tells. */
bool pmi2_launched(void);

/* ERR_UNSUPPORTED with a sentence on what to do where libpmi2 is not there. */
int pmi2_open(struct pmi2 **p, int *rank, int *size, struct err *e);
/* all [size][bytes] becomes what each task gave as `mine` [bytes], up to PMI2_BYTES. All
 * tasks at once. */
int pmi2_exchange(struct pmi2 *p, const void *mine, size_t bytes, void *all,
                  struct err *e);
void pmi2_close(struct pmi2 *p); /* NULL is fine */

#endif
