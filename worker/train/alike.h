/* Whether all ranks were started alike. One with another option, or with other data at
 * the same path of its node, would train something else, and nobody would see it. */
#ifndef WORKER_TRAIN_ALIKE_H
#define WORKER_TRAIN_ALIKE_H

#include "base/str.h"
#include "worker/train/comm.h"

/* One thing that must be alike: a line of `mine`, below. */
void alike_add(struct str *mine, const char *name, const char *value);

/* `mine` are the lines of this rank, of the same names on all. All ranks at once, with
 * the same result on all: 0, or ERR_INVAL with a sentence on the first line in which a
 * rank is unlike rank 0, and on which ranks are. */
int alike_check(struct comm *c, const struct str *mine, struct err *e);

#endif
