/* Checkpoints written while the training goes on: it waits for a copy of itself in
 * memory, and a thread writes that. One at a time. */
#ifndef WORKER_TRAIN_SAVER_H
#define WORKER_TRAIN_SAVER_H

#include "worker/train/checkpoint.h"

struct saver;

/* Both are the caller's and outlive the saver; dir is the saver's until it is closed. A
 * thread begins to take the memory for the copy, so that the first is as quick as any. */
struct saver *saver_open(struct checkpoint_dir *dir, const struct training *t);
/* Waits for what is being written; its failure is lost. NULL is fine. */
void saver_close(struct saver *s);

/* Begins to write what the training is now. Before that it waits for the one that is
 * being written, if any, whose failure it returns; what is not collected
 * (saver_collect()) is superseded. */
int saver_begin(struct saver *s, struct err *e);

/* 1 once for each checkpoint that has come to be on disk, durably, with its step; 0 if
 * there is nothing new; or its failure. With `wait` not before there is none being
 * written. */
int saver_collect(struct saver *s, bool wait, int64_t *step, struct err *e);

/* Is one being written, or not yet collected? */
bool saver_busy(const struct saver *s);

/* What the last one that was collected took, begin to end: that is how often it may be
 * repeated. */
double saver_seconds(const struct saver *s);

#endif
