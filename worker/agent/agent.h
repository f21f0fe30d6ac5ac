/* The agent: what a job runs. It asks for work for each of its slots, starts attempts,
 * answers their reports below the milestone by itself, carries everything to the
 * controller and obeys the highest epoch it has seen.
 *
 * This is its mind, without sockets, processes or a clock: what happens goes in through
 * the functions below, what is to be done comes out through `struct agent_port`. The
 * hands are in worker/agent/run.c; the simulation plugs in others. */
#ifndef WORKER_AGENT_AGENT_H
#define WORKER_AGENT_AGENT_H

#include "wire/msg.h"
#include "wire/timers.h"

struct agent_config { /* its slices live as long as the agent */
    uint64_t id;      /* random, of this process */
    int slots;
    struct slice host, job; /* job: the executor's name for this job */
    int64_t pid;
    struct slice release;
    bool promote;           /* the program is told to pause (mode promote); else pausing
                               the sweep saves and interrupts it */
    bool printed;           /* `parse:`: it cannot hear answers */
    bool restart;           /* `restart: true`: it has no checkpoints to ask for */
    int64_t max_t;          /* at this step a trial is complete; 0: not known */
    double timeout;         /* silence that counts as hung, seconds; 0: none */
    int64_t trials_per_job; /* attempts that each slot makes at most; 0: no such limit */
    double ends;            /* when the job's time is over, on the clock of `now`; 0: not
                               known. Before it checkpoints are asked for, and a slot
                               that has made an attempt asks for no other */
    struct timers timers;
};

/* What the agent wants done. None of these calls back into the agent. */
struct agent_port {
    void (*send)(void *ctx, const char *packet, size_t n);
    /* Starts an attempt; agent_ended() follows some time later, whatever happens. False:
     * its program does not run yet, as its checkpoint is being copied, and
     * agent_started() follows first, or the end. What `work` points to lives for the
     * call. */
    bool (*start)(void *ctx, int slot, const struct item *work);
    /* SIGTERM, and SIGKILL after timer KILL, to all of the attempt's processes. Once an
     * attempt at most. */
    void (*end)(void *ctx, int slot);
    /* A checkpoint of the slot's attempt is wanted soon, which "save" in its next answer
     * says too: for programs that have a `checkpoint_signal`. NULL: not wanted. */
    void (*save)(void *ctx, int slot);
    /* The attempt's directory holds a checkpoint, says the program or its end; before the
     * controller hears of it the directory's own name must be durable. NULL: it is. */
    void (*saved)(void *ctx, int slot);
    /* What the GPUs of the slot's attempt are doing; false: it has none, or nothing is
     * known of them. NULL: it never is. */
    bool (*gpus)(void *ctx, int slot, struct gpu_use *out);
    void (*reply)(void *ctx, int slot, uint64_t conn, const char *line, size_t n);
    /* Nothing is left to do: leave the loop. status: exit status of the agent. Once; the
     * agent then does nothing any more. */
    void (*quit)(void *ctx, int status, const char *why);
};

struct agent;
struct agent *agent_new(const struct agent_config *c, const struct agent_port *port,
                        void *ctx, double now);
void agent_free(struct agent *a);

/* `now` is a clock that never jumps, in seconds. */

/* controller.json named this epoch, and the transport now leads there: says hello. */
void agent_controller(struct agent *a, int32_t epoch, double now);
void agent_packet(struct agent *a, const char *data, size_t n, double now);
/* The program of the slot's attempt runs now: what came before was no silence of it. */
void agent_started(struct agent *a, int slot, double now);
/* A line from a program on the slot's socket. conn: where reply() goes, never 0; one line
 * for each, in the order of a connection's lines; none when the attempt ends first. */
void agent_line(struct agent *a, int slot, uint64_t conn, const char *line, size_t n,
                double now);
/* What `parse:` found in the program's output. */
void agent_printed(struct agent *a, int slot, int64_t step, const struct metric metrics[],
                   int n, double now);
/* The attempt's processes are all gone. Of facts: exit_code, signal, oom, cause NO_LAUNCH
 * where it never ran, EVICTED where somebody else ended it, which is the end of the job,
 * times and usage, note; the agent adds cause, answered, last_step, reports. */
void agent_ended(struct agent *a, int slot, const struct end_facts *facts, double now);
/* The job is being taken away (SIGTERM by Slurm or a person): end everything, say so. */
void agent_evict(struct agent *a, const char *why, double now);
/* Timers; and sends what has gathered. Call it after each batch of the above. */
void agent_tick(struct agent *a, double now);
double agent_deadline(const struct agent *a); /* when to call it at the latest */

/* Nothing was heard of the controller for CONTROLLER_SILENT seconds. */
bool agent_lost_controller(const struct agent *a, double now);
/* The transport should look into controller.json for a new one: it is lost, or leaves
 * something unanswered for RESEND seconds. */
bool agent_wants_controller(const struct agent *a, double now);
/* So much is unacknowledged that programs should not be read for a while. */
bool agent_choked(const struct agent *a);
/* The open attempt in a slot, or NULL. */
const struct open_attempt *agent_open(const struct agent *a, int slot);

#endif
