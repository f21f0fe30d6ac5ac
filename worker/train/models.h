/* Which layers the kinds of models are made of. */
#ifndef WORKER_TRAIN_MODELS_H
#define WORKER_TRAIN_MODELS_H

#include "worker/train/model.h"

/* Adds the layers of config->kind to a model that has none yet. ERR_INVAL for an unknown
 * kind, for what no image is where the model wants one, and for sizes that cannot be. */
int models_build(struct model *m, const struct model_config *config, struct err *e);

#endif
