/* Learning-rate schedules: which share of the learning rate an optimiser step takes. That
 * is a pure function of the step's number, so a training that goes on from a checkpoint
 * takes the same steps as one that was never interrupted.
 *
 * Steps count from 0, over the whole training, not one attempt. With T for `steps`, W for
 * `warmup` and F for `final`, the share of step t is
 *
 *     constant   1
 *     cosine     F + (1 - F) (1 + cos(pi (t - W) / (T - W))) / 2, from step W on: the
 *                first period of Loshchilov and Hutter 2017, PyTorch's CosineAnnealingLR.
 *                It gets to F behind the last step, at t = T
 *     step       factor^floor(t / every): PyTorch's StepLR, of which `every` counts from
 *                the beginning, also with warm-up
 *     onecycle   from 1/25 up to 1 and down to F, each by half a cosine: Smith and Topin
 *                2019 as PyTorch's OneCycleLR has it, with its div_factor, and without
 *                its cycle of momentum (cycle_momentum=False). With R = 0.3 T, or W if
 *                that is not 0, 1 is reached at t = R - 1, and F at T - 1. (Without a
 *                word PyTorch ends at 4e-6.)
 *
 * times (t + 1) / (W + 1) for t < W, except with onecycle: the gradual warm-up of Goyal
 * et al. 2017, section 2.2, or PyTorch's LinearLR from 1/(W + 1) on. */
#ifndef WORKER_TRAIN_SCHEDULE_H
#define WORKER_TRAIN_SCHEDULE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    const char *kind; /* NULL is constant */
    int64_t steps;    /* of the whole training; 0: not known */
    int64_t warmup;
    int64_t every; /* of step, above 0 */
    double factor; /* of step */
    double final;  /* of cosine and onecycle */
};

/* Names of the kinds, NULL at the end. */
extern const char *const schedule_kinds[];

/* Whether a kind depends on `steps`. */
bool schedule_has_length(const char *kind);

/* ERR_INVAL, and a sentence, for what makes no schedule: an unknown kind, no length where
 * one is needed, a warm-up that leaves nothing of it. */
int schedule_check(const struct schedule *s, struct err *e);

/* The share, from 0 to 1, of a schedule that was checked. Behind the end of cosine and
 * onecycle it is their last. */
double schedule_share(const struct schedule *s, int64_t step);

#endif
