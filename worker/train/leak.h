/* Does a process leak? */
#ifndef WORKER_TRAIN_LEAK_H
#define WORKER_TRAIN_LEAK_H

#include <stddef.h>

/* From the memory that it had at the end of each of n epochs, in bytes: by how much it
 * grows an epoch, or 0 if it does not, or too little to speak of (16 MiB in all that are
 * looked at, and a fiftieth of what was there).
 *
 * The last 10, 20, 40... epochs are looked at, cut into five pieces: their lows must rise
 * from each to the next, by no less than half of the largest rise. So it takes 10 epochs;
 * what is held for a while, as for a checkpoint, does not matter, nor what is got once
 * and kept. A NaN is not known. */
double leak_rate(const double *bytes, size_t n);

#endif
