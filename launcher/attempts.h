/* What attempts run: their command and environment, made of the sweep file and of what
 * the controller hands out; under Slurm also the job step around them. */
#ifndef LAUNCHER_ATTEMPTS_H
#define LAUNCHER_ATTEMPTS_H

#include "launcher/gpus.h"
#include "launcher/meter.h"
#include "launcher/sweepfile.h"
#include "slurm/step.h"
#include "worker/agent/run.h"

struct attempts {
    /* the caller's, and they live as long: */
    const struct sweepfile *file;
    const char *dir;      /* the sweep's, absolute */
    int slots;            /* of the agent */
    double kill_seconds;  /* between SIGTERM and SIGKILL */
    double meter_seconds; /* between two readings of GPUs */
    /* ours: */
    char *rung; /* our own program */
    char *shim; /* rung-exec; NULL: there is none */
    struct gpus *gpus;
    struct meter *meter; /* NULL: no attempt has GPUs */
    int *given;          /* [slots], GPUs of the attempt there, on all its nodes */
    struct str *told;    /* [slots], file that will tell which ones; "": none */
    struct levels milestones;
    struct step step; /* of all of them, but for trial and milestone */
};

/* Before there are threads. */
void attempts_open(struct attempts *p);
void attempts_close(struct attempts *p);

/* The functions of an agent_plug, with a struct attempts as its ctx. */
int attempts_launch(void *ctx, const struct item *work, int slot,
                    const char *checkpoint_dir, struct launch *out, struct err *e);
bool attempts_gpus(void *ctx, int slot, struct gpu_use *out);
const char *attempts_spent(void *ctx, int slot, struct end_facts *facts);

#endif
