/* A batch's pass through a model, or through a part of it: forward, and in training
 * backward. It holds the layers' outputs and the gradients with respect to them; a model
 * has as many passes as batches are under way at once. */
#ifndef WORKER_TRAIN_PASS_H
#define WORKER_TRAIN_PASS_H

#include "worker/train/model.h"

struct pass_config {
    size_t first, last; /* the layers [first, last); the model can be cut at both */
    size_t rows;        /* of the largest batch in training */
    size_t most_rows;   /* in evaluation, see pass_rows(); 0: no more than rows */
};

struct pass;

/* NULL on failure: ERR_INVAL for sizes beyond 2^31, ERR_FULL without memory. The model
 * stays the caller's. */
struct pass *pass_create(struct model *m, const struct pass_config *config,
                         struct err *e);
void pass_destroy(struct pass *p); /* NULL is fine */

/* Rows of the largest batch in evaluation, at least those of training. An output is
 * kept only until the last layer that takes it is done, so that more rows fit where
 * training keeps all that backward needs: so many as do, up to most_rows. (A model
 * small enough gets these in any case.) */
size_t pass_rows(const struct pass *p);

/* Returns the last layer's output [rows][out], valid until the next call. b->x must stay
 * until backward is done. */
const void *pass_forward(struct pass *p, const struct batch *b);

/* Where the gradient with respect to the last output goes, [rows][out], after forward in
 * training. */
void *pass_upstream(struct pass *p);

/* Told of each layer, from the last to the first, when its gradients are complete. */
typedef void pass_done(void *arg, size_t layer);

/* After forward in training, and with pass_upstream() set, which is used up: sets what
 * belongs to these layers' parameters in gradients [m->n] and, unless NULL, dx
 * [rows][in], the gradient with respect to the batch's x. Where several layers take one
 * output, its gradient is the sum from the last of them to the first. done may be NULL.
 */
void pass_backward(struct pass *p, float *gradients, void *dx, pass_done *done,
                   void *arg);

#endif
