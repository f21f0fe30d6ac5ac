/* For tests of the trainer: small data sets that a model can learn from, and a trainer.
 */
#ifndef WORKER_TRAIN_FIXTURE_H
#define WORKER_TRAIN_FIXTURE_H

#include "worker/train/checkpoint.h"
#include "worker/train/trainer.h"

/* Of the samples; of the resnets' FEW. */
enum { FEATURES = 20, CLASSES = 4, TRAINING = 333, VALIDATION = 777, FEW = 44 };

/* A trainer and all it works on. */
struct bench {
    struct training t;
    struct trainer *trainer; /* NULL where it could not be made */
};

/* mlp has vectors for samples, cnn images of 16x16, resnet18 of 8x8; hidden layers of 16
 * and 8, weight decay and, with sgd, momentum. */
void bench_open_on(struct bench *b, struct device *device, const char *model,
                   double dropout, const char *optimizer, double lr,
                   const struct trainer_config *config, struct err *e);
void bench_close(struct bench *b);

/* Trains so many epochs; the metrics of the last. */
struct metrics train(struct bench *b, int epochs);

/* Whether all that training changes has the same bits. */
bool same_state(const struct training *a, const struct training *b);

#endif
