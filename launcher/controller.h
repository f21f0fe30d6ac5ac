/* The controller: owns a sweep's state, hands trials to slots, answers reports.
 *
 * This is its mind, without sockets, disk, processes or a clock. Events it makes go
 * out through port.append() at once and are applied to the state; packets to agents
 * gather inside and go out through port.send() only in controller_flush(), which the
 * loop (launcher/serve.c) calls after what was appended is durable. So nothing that an
 * agent ever hears can be lost. */
#ifndef LAUNCHER_CONTROLLER_H
#define LAUNCHER_CONTROLLER_H

#include "launcher/costs.h"
#include "launcher/gpu_rows.h"
#include "sched/draft.h"
#include "sched/sweep.h"
#include "slurm/executor.h"
#include "wire/msg.h"
#include "wire/timers.h"

struct controller_port {
    void (*append)(void *ctx, const struct event *ev, const struct verdict *v);
    void (*send)(void *ctx, uint64_t agent, const char *packet, size_t n);
    /* Jobs: how many more to start, each of which is told of by
     * controller_job_submitted() or controller_jobs_refused(), from within or later; and
     * what one is doing. */
    void (*submit)(void *ctx, int jobs);
    enum job_state (*job_state)(void *ctx, const char *job);
    /* Seconds until a job's walltime is over; NaN: never, or it is not known. */
    double (*job_left)(void *ctx, const char *job);
    /* May what is said of an attempt that could not be launched pass by itself? NULL: it
     * never does. */
    bool (*passes)(void *ctx, struct slice note);
    /* No more jobs on that node; false: that is not to be had. May be NULL. */
    bool (*exclude)(void *ctx, const char *node);
    /* Adds where a job's output is and how it ends, if that is known; may be NULL. */
    void (*job_output)(void *ctx, const char *job, struct str *out);
    /* draft_make() apart from us, then controller_drafted(). There is one at a time;
     * until that it is the other side's. NULL: draws are made when they are wanted. */
    void (*draft)(void *ctx, struct draft *d);
    /* A sentence for the person who watches, and for the log. */
    void (*say)(void *ctx, const char *text);
};

struct controller_config {
    struct sweepfile *file; /* settings; changed by controller_set() */
    struct sweep *sw;       /* replayed up to now */
    struct costs *costs;    /* as well */
    int32_t epoch;
    const char *release;
    int slots_per_job;
    bool keeps_idle;
    enum steps_mode steps; /* are attempts job steps? */
    double uptime_before;  /* of earlier epochs, for stop.time */
    struct timers timers;
};

struct controller;
struct controller *controller_new(const struct controller_config *c,
                                  const struct controller_port *port, void *ctx,
                                  double now);
void controller_free(struct controller *c);

/* `now` is a clock that never jumps; `wall` the time that goes into events. */
void controller_clock(struct controller *c, double now, double wall);

/* From the replay, before the first packet: the agent of an earlier epoch and its job. */
void controller_expect(struct controller *c, uint64_t agent, const char *job,
                       const char *host, int slots);
/* The same for a job of an earlier epoch whose agent did not join, as far as is known. */
void controller_expect_job(struct controller *c, const char *job);

/* Returns the id of the agent that sent it, 0 for one that is to have no answer: when the
 * packet cannot be read, or nothing is known of the agent and nothing is to be. Trouble
 * is said once, however often it comes. */
uint64_t controller_packet(struct controller *c, const char *data, size_t n);
/* The executor's news, see slurm/executor.h. */
void controller_job_submitted(struct controller *c, const char *job);
void controller_jobs_refused(struct controller *c, int n, const char *why, bool passing);
void controller_job_gone(struct controller *c, const char *job,
                         const struct job_end *end);

/* A KNOWN event, see launcher/earlier.h. */
void controller_known(struct controller *c, const struct event *ev);

/* An ACCOUNT event, see launcher/accounts.h. */
void controller_account(struct controller *c, struct event *ev);

/* It was made, and is ours again. */
void controller_drafted(struct controller *c, struct draft *d);

/* What people ask. trial -1: the whole sweep. */
void controller_stop(struct controller *c, int32_t trial, const char *reason);
void controller_pause(struct controller *c, const char *reason);
/* The same because something is wrong. */
void controller_trouble(struct controller *c, const char *reason);
void controller_interrupt(struct controller *c); /* end what runs now, without saving */
void controller_resume(struct controller *c, const char *reason);
int controller_set(struct controller *c, const char *key, const char *value,
                   struct err *e);

/* Our own job is taken away by somebody: noted, for those that come after us. */
void controller_evicted(struct controller *c, const char *job);

/* Timers, work for free slots, the ends of sweeps. Call it after each batch. */
void controller_tick(struct controller *c);
double controller_deadline(const struct controller *c);
/* Does somebody wait for what controller_flush() would send? Not for reports to be
 * acknowledged. */
bool controller_urgent(const struct controller *c);
/* What was appended is durable: send what waits for that. */
void controller_flush(struct controller *c);

enum controller_state {
    CONTROLLER_RUNNING,
    CONTROLLER_PAUSING,  /* saving and ending what runs */
    CONTROLLER_PAUSED,   /* nothing runs any more */
    CONTROLLER_FINISHED, /* the sweep is over */
};
enum controller_state controller_state(const struct controller *c);
const char *controller_reason(const struct controller *c); /* why it paused; "" */
bool controller_troubled(const struct controller *c); /* because something is wrong */
/* All agents have left (or are given up): the process may end. */
bool controller_done(const struct controller *c);
/* How the GPUs of open attempts are doing, by trial, as far as their agents told lately:
 * fills out. */
void controller_gpus(const struct controller *c, struct gpu_rows *out);
int controller_slots(const struct controller *c);     /* slots held by agents now */
int64_t controller_steps(const struct controller *c); /* job steps of this epoch */
/* Why it has fewer jobs than it wants, as Slurm said it last; "": it has, or nobody said.
 */
const char *controller_refusal(const struct controller *c);
/* Calls fn for each job that may still live: its agent has not left, or never joined. */
void controller_jobs(const struct controller *c, void (*fn)(void *ctx, const char *job),
                     void *ctx);

#endif
