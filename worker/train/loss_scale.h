/* The factor of the loss in fp16, whose small gradients would else be zero (Micikevicius
 * et al. 2018, section 3.2): halved after a step whose gradients overflow, which is left
 * out, and doubled after 2000 that did not; the numbers are those of PyTorch's
 * GradScaler.
 */
#ifndef WORKER_TRAIN_LOSS_SCALE_H
#define WORKER_TRAIN_LOSS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

struct loss_scale {
    double factor;
    int64_t since;   /* steps that were taken since it changed; -1: it is 1 for ever */
    int64_t skipped; /* steps that were left out, in all */
};

/* For a training in fp16, or another; one that goes on from `before`, or from zeros. */
struct loss_scale loss_scale_start(bool fp16, struct loss_scale before);

/* Does the factor change? */
static inline bool loss_scale_used(const struct loss_scale *s)
{
    return s->since >= 0;
}

/* What a step's gradients come to: finite, or not. */
void loss_scale_step(struct loss_scale *s, bool finite);

#endif
