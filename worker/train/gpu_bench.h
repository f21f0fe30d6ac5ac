/* What the files of the GPU's benchmark share. */
#ifndef WORKER_TRAIN_GPU_BENCH_H
#define WORKER_TRAIN_GPU_BENCH_H

#include "base/err.h"

/* Says so, and ends. */
void gpu_bench_quit(const struct err *e) __attribute__((noreturn));

/* Of all GPUs of this machine, a rank each, or of one, which is alone then:
 *
 *     ranks                so many
 *     bus                  bytes a second of a mean, as nccl-tests count them: what goes
 *                          over each GPU's links, twice (ranks - 1) / ranks of its bytes
 *     step alone           seconds of a step of resnet18 that exchanges nothing
 *     step after           more that it takes with its gradients' mean behind it
 *     step overlapped      more with the mean beside backward
 *     step host            more with the sum through the host, beside backward
 *
 * Of one rank no bus and no host. */
void gpu_bench_group(void);

#endif
