/* One slot's hand: the attempt that runs in a slot, from its directory to its end. */
#ifndef WORKER_AGENT_HAND_H
#define WORKER_AGENT_HAND_H

#include "base/str.h"
#include "worker/agent/copier.h"
#include "worker/agent/door.h"
#include "worker/agent/lines.h"
#include "worker/agent/parse.h"
#include "worker/agent/run.h"
#include "worker/agent/shim.h"

#include <sys/resource.h>

/* What the hands of an agent share. */
struct hand_tools {
    const char *dir;     /* the sweep's */
    const char *sockets; /* a private directory for the doors */
    const struct agent_plug *plug;
    struct parse *parse; /* NULL: the program's output goes straight to its log */
    int checkpoint_signal;
    double kill_seconds;
    int null_fd;         /* the programs' stdin */
    struct rlimit files; /* their limit of open files */
    struct slice node, slurm_job;
    uint64_t conns; /* connections so far */
};

enum hand_state {
    HAND_FREE,
    HAND_COPYING, /* a copier makes the attempt's directory, and its program runs then */
    HAND_RUNNING,
    HAND_CLEANING, /* the shim was killed: what it left behind is being ended */
    HAND_ENDED     /* hand_facts() tells how; then hand_clear() */
};

struct hand {
    struct hand_tools *tools;
    /* The slot's shim, which stays from attempt to attempt; 0: none yet, or it died. */
    pid_t shim;
    int shim_fd;        /* to tell it, and to hear of ends */
    bool shim_signaled; /* one may have come when its program had ended */
    enum hand_state state;
    pid_t pid; /* of the shim, or of the launcher whose shims are elsewhere */
    struct copier copier;
    struct item work; /* COPYING: what it is for, and its params */
    struct str params;
    int slot;
    bool shimmed;
    int out_fd, log_fd; /* -1: none */
    int shim_at;        /* as out_at */
    double end_at;      /* shimmed, being ended: when the next, harder signal is due */
    int ends;           /* signals sent to that end */
    int out_at;         /* its place in a pollset, for run.c */
    struct door *door;
    struct lines out;
    int64_t step;      /* that was printed last, -1: none */
    struct str ranks;  /* where shims elsewhere leave their reports, see ranks.h */
    struct str dir;    /* of the attempt */
    int32_t attempt;   /* its number */
    char job_step[16]; /* shimmed: its number */
    bool secure;       /* hand_secure() was here */
    struct str program, note;
    struct end_facts facts;
};

void hand_init(struct hand *h, struct hand_tools *tools);
/* Starts an attempt, or first a copy of what it begins from. Where that fails the hand is
 * ENDED at once, with cause NO_LAUNCH and a note. */
void hand_start(struct hand *h, const struct item *work, int slot);
void hand_end(struct hand *h, double now);
void hand_save(struct hand *h); /* sends checkpoint_signal, if there is one */
/* The program syncs its checkpoints; the names of the directories above them, which are
 * ours, are made durable here. Once an attempt, and not where it keeps nothing. */
void hand_secure(struct hand *h);

/* When hand_tick() is due; INFINITY. */
double hand_deadline(const struct hand *h);
void hand_tick(struct hand *h, double now);

/* What a line of output said. */
typedef void hand_printed_fn(void *ctx, int64_t step, const struct metric metrics[],
                             int n);
/* Reads some output, without waiting: into the log and, parsed, to printed(). False when
 * there was none. */
bool hand_read(struct hand *h, hand_printed_fn *printed, void *ctx);
/* The shim says something: reads that, without waiting, and where the attempt is over,
 * the rest of its output. */
void hand_heard(struct hand *h, hand_printed_fn *printed, void *ctx);
/* Is the process one of this hand's? */
bool hand_has(const struct hand *h, pid_t pid);
/* It has ended, with wait()'s status. Where that was the copier, the program is started.
 */
void hand_reaped(struct hand *h, pid_t pid, int status, hand_printed_fn *printed,
                 void *ctx);
/* CLEANING is over. */
void hand_cleaned(struct hand *h);

/* ENDED: how, once; its slices live until hand_clear(). */
const struct end_facts *hand_facts(struct hand *h, int slot);
void hand_clear(struct hand *h); /* FREE again; also gives up what still runs */
/* The agent leaves: the shim goes, and what still runs is given up. */
void hand_close(struct hand *h);

#endif
