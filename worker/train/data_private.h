/* What the files that open data sets share. */
#ifndef WORKER_TRAIN_DATA_PRIVATE_H
#define WORKER_TRAIN_DATA_PRIVATE_H

#include "worker/train/data.h"

/* Divides what was read, and makes room for mean and scale. */
int data_divide(struct data *d, const struct data_config *config, struct err *e);

#endif
