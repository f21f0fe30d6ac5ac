/* What attempts run: their command and environment, made of the sweep file and of what
 * the controller hands out; under Slurm also the job step around them. */
#ifndef LAUNCHER_ATTEMPTS_H
#define LAUNCHER_ATTEMPTS_H

#include "launcher/gpus.h"
#include "launcher/sweepfile.h"
#include "slurm/step.h"
#include "worker/agent/run.h"

struct attempts {
    /* the caller's, and they live as long: */
    const struct sweepfile *file;
    const char *dir;     /* the sweep's, absolute */
    int slots;           /* of the agent */
    double kill_seconds; /* between SIGTERM and SIGKILL */
    /* ours: */
    char *rung; /* our own program */
    char *shim; /* rung-exec; NULL: there is none */
    struct gpus *gpus;
    struct levels milestones;
    struct step step; /* of all of them, but for trial and milestone */
};

void attempts_open(struct attempts *p);
void attempts_close(struct attempts *p);

/* The `launch` of an agent_plug, with a struct attempts as its ctx. */
int attempts_launch(void *ctx, const struct item *work, int slot,
                    const char *checkpoint_dir, struct launch *out, struct err *e);

#endif
