/* A model's layers as oneDNN's primitives, called bare: what a training step is held
 * against in step_bench.c. Each is in the format that oneDNN likes best, whatever its
 * neighbours have, and nothing is between them. Numbers in them mean nothing. */
#ifndef WORKER_TRAIN_BARE_H
#define WORKER_TRAIN_BARE_H

#include "worker/train/model.h"

struct bare;

/* For batches of so many rows. Images lie [n][h][w][c] with `plain`, else as oneDNN has
 * it. Exits where oneDNN fails. */
struct bare *bare_create(const struct model *m, size_t rows, bool plain);
void bare_destroy(struct bare *b);

/* All layers forward, then backward: to the weights, and to what is before them. */
void bare_step(struct bare *b);

#endif
