/* Slurm's accounting: what is asked of sacct, and what its answer means. The fields are
 * those that 20.11 to 25.11 have. */
#ifndef SLURM_SACCT_H
#define SLURM_SACCT_H

#include "slurm/executor.h"

/* -D: all runs of a job that was requeued, not the last one alone. The job name is last,
 * since it may hold anything. */
#define SACCT_OPTIONS "--duplicates", "--noheader", "--parsable2", "--noconvert"
#define SACCT_FORMAT                                                                     \
    "--format=JobID,State,Start,End,ElapsedRaw,TotalCPU,MaxRSS,ConsumedEnergyRaw,"       \
    "NodeList,JobName"

/* The next record of such an answer; false at its end. Lines that are none (news of the
 * site) are passed over. Slices of it. Times are read as of here. */
bool sacct_next(struct slice *rest, struct account *record);

#endif
