/* `rung doctor`: what each part finds out, and how it says so. Nothing here waits for
 * much longer than `patience`, whatever hangs. */
#ifndef LAUNCHER_DOCTOR_H
#define LAUNCHER_DOCTOR_H

#include "base/proc.h"
#include "base/vec.h"
#include "launcher/sweepfile.h"
#include "slurm/site.h"

enum doctor_mark {
    MARK_OK,
    MARK_NOTE, /* good to know: something is missing, or limited */
    MARK_BAD   /* sweeps, or this one, do not work so */
};

struct doctor_check {
    const char *group, *what; /* static */
    enum doctor_mark mark;
    char *finding, *next; /* next: what to do, NULL for MARK_OK */
};

/* What Slurm was asked. */
enum slurm_question {
    ASK_CONFIG,
    ASK_PARTITIONS,
    ASK_NODES,
    ASK_ASSOCIATIONS,
    ASK_QOS,
    ASK_SACCT,
    ASK_MPI,
    ASK_VERSION,
    ASK_COUNT
};

struct doctor {
    double patience; /* seconds that each command has, and the file system */
    const char *dir; /* where sweeps would be */
    const char *group;
    VEC(struct doctor_check) checks;
    /* Slurm, as far as it answered */
    bool slurm;          /* there is an sbatch */
    bool answers;        /* and a slurmctld */
    const char *cluster; /* of a site with several, NULL: the one we are on */
    struct proc asked[ASK_COUNT];
    struct proc_result answer[ASK_COUNT];
    bool good[ASK_COUNT]; /* it did answer */
    struct site site;
};

/* Appends a check of the group at hand. The finding is a phrase; next tells what to do
 * about a note or what is bad. */
void doctor_say(struct doctor *d, enum doctor_mark mark, const char *what,
                const char *next, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void doctor_free(struct doctor *d);

/* Runs fn in a process of its own, for what may hang in the kernel, or crash; the facts
 * are zeroes, and shared with it. False when it did not end well: then they say how far
 * it came. */
void *doctor_facts(size_t size);
void doctor_facts_free(void *facts, size_t size);
bool doctor_apart(const struct doctor *d, void (*fn)(void *facts), void *facts);

/* Starts a command, or says that there is none: false. Then waits for its answer: true
 * when it succeeded. *r as from proc_wait(), but a process that cannot be killed is left
 * alone. */
bool doctor_start(const struct doctor *d, struct proc *p, char *const argv[]);
bool doctor_answer(struct proc *p, struct proc_result *r);

/* The parts. Of Slurm, the questions are asked first, since others take time, too. */
void doctor_rung(struct doctor *d);
void doctor_host(struct doctor *d);
void doctor_directory(struct doctor *d);
void doctor_mpi(struct doctor *d);
void doctor_gpu(struct doctor *d);
void doctor_slurm_ask(struct doctor *d);
void doctor_slurm(struct doctor *d);
/* Does the sweep fit what the others found? */
void doctor_sweep(struct doctor *d, const struct sweepfile *f);

/* What `scontrol show config` tells. */
struct slice doctor_config(const struct doctor *d, const char *name);

#endif
