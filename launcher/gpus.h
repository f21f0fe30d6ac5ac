/* The GPUs of this machine, shared out among the slots of a sweep.
 *
 * A slot takes its share when it runs its first trial and has it for as long as its
 * agent lives. What is taken is known to all agents of the sweep on this machine,
 * whichever controller started them, by names that the kernel forgets with their
 * process. */
#ifndef LAUNCHER_GPUS_H
#define LAUNCHER_GPUS_H

#include "base/err.h"
#include "base/str.h"

struct gpus;

/* Those that CUDA_VISIBLE_DEVICES lists, else all of the machine. dir: the sweep's. */
struct gpus *gpus_new(const char *dir, int slots, int per_slot);
void gpus_free(struct gpus *g);

/* Appends the slot's share as CUDA_VISIBLE_DEVICES wants it: nothing where the machine
 * has no GPU. ERR_RANGE: all are taken. */
int gpus_of_slot(struct gpus *g, int slot, struct str *out, struct err *e);

#endif
