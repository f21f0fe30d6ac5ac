/* What the files of the controller's mind share. */
#ifndef LAUNCHER_CONTROLLER_PRIVATE_H
#define LAUNCHER_CONTROLLER_PRIVATE_H

#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"
#include "launcher/controller.h"

struct slot {
    uint32_t ask;    /* the last that was taken */
    uint32_t served; /* the last that work was handed out for */
    bool parked;     /* it waits for work */
    bool retired;
    double since;      /* parked: since when */
    double not_before; /* no work before this: the last attempt could not be launched */
    int launch_failures;
    bool step;            /* its attempt is a job step */
    double paced_elapsed; /* of its attempt, up to its last report */
    struct gpu_use gpu;   /* of its attempt, by the last beat; gpus 0: nothing is known */
};

struct peer { /* an agent */
    uint64_t id;
    bool known;    /* its hello was heard in this epoch */
    bool gone;     /* left, or lost; who was lost may come back */
    bool left;     /* it has said LEAVE: what comes of it later, it said before */
    bool stranger; /* it came up by itself, and did not say hello yet */
    bool garbled;  /* it was said that it says what cannot be read */
    char *job, *host;
    int n_slots;
    int held; /* of these, those that are not given back */
    struct slot *slots;
    uint64_t taken; /* all of its numbered items up to this one */
    double heard;
    double ends; /* the walltime of its job; INFINITY: it has none, as far as is known */
    double lost_at;     /* its job is gone: when to give it up; 0: not */
    bool job_over;      /* its job is gone: once given up, it does not come back */
    bool doubtful;      /* an attempt could not be launched there: does its job live? */
    char job_state[24]; /* Slurm's word for how its job ended */
    double evicted_at; /* it left since its job was taken away, and why is not known; 0 */
    bool owes;         /* a packet is due, if only for its acknowledgement */
    struct str out;    /* items of the next packet */
};

struct parked {
    uint32_t peer;
    int32_t slot;
};

struct pending_job { /* submitted, and its agent did not say hello yet */
    char *job;
    bool inherited;    /* of an earlier epoch: the executor tells no news of it */
    double since;      /* when it came to be one */
    double runs_since; /* 0: it was not seen running */
};

struct bad_node {
    char *name;
    int jobs; /* that ended there before their agents could join */
};

struct controller {
    struct controller_config c;
    struct controller_port port;
    void *ctx;
    double now, wall, began;
    struct sweep *sw;
    VEC(struct peer) peers;
    struct map by_id;
    VEC(struct parked) parked; /* in the order they asked */
    VEC(struct pending_job) pending;
    struct packet *packet;
    struct str text; /* scratch */
    bool urgent;     /* something other than reports was appended */
    int slots_held;
    /* no storms */
    VEC(struct bad_node) bad_nodes;
    int stillborn; /* jobs in a row that ended before their agent said hello */
    int asked;     /* jobs that the executor is about to submit */
    int most;      /* jobs to ask for at once: fewer after each refusal; 0: any number */
    int refusals;  /* in a row */
    char *refusal; /* the last sentence that was said of one; NULL */
    double next_submit;
    int unexplained;     /* jobs that were taken away, nobody has said why yet */
    int launch_failures; /* in a row, of all slots; but those that may pass */
    bool launch_waits;   /* it was said that there are such */
    int barren;          /* attempts that failed before any report of the sweep */
    bool missed;         /* it was said that the metric is not reported */
    bool garbled;        /* it was said that a packet could not be read */
    int strangers;       /* peers that are */
    /* draws made ahead */
    struct draft *draft; /* to be used next; NULL: none */
    bool drafting;       /* one is made by the port */
    bool superseded;     /* and is of no use: another trial was drawn meanwhile */
    /* job steps */
    double launches, launches_at; /* how many may begin now, as of then */
    int64_t steps_begun;
    double paced_seconds; /* what steps of training took in this epoch */
    int64_t paced_steps;  /* and how many those were */
    int64_t
        save_gap; /* the fewest between two checkpoints on the way to a milestone; 0 */
    /* the end */
    enum controller_state state;
    char *reason;
    bool troubled;
    bool interrupting;
    double over_since;
    double next_check;
    struct cost spent; /* as of the last check */
};

/* Applies an event, and hands it to the journal. */
struct verdict controller_happen(struct controller *c, struct event *ev);

struct peer *controller_peer(struct controller *c, uint64_t id); /* NULL: unknown */
struct peer *controller_add_peer(struct controller *c, uint64_t id);
void controller_send(struct peer *p, const struct item *it);
void controller_send_work(struct controller *c, struct peer *p, int32_t slot,
                          int32_t trial);
void controller_kill(struct controller *c, int32_t trial, enum end_cause cause);
/* Ends all of its attempts as lost and forgets its slots. */
void controller_lose(struct controller *c, struct peer *p, const char *why);
void controller_retire(struct controller *c, struct peer *p, int32_t slot);
void controller_joined(struct controller *c, struct peer *p);
void controller_end_attempt(struct controller *c, int32_t trial,
                            const struct end_facts *f);
bool controller_over(const struct controller *c);

/* launcher/controller_jobs.c */

/* Gives up agents and jobs that are gone, or were silent for too long. */
void controller_look(struct controller *c);
/* Asks for as many jobs as are missing, if there is work: what sweep_next() says. */
void controller_want_jobs(struct controller *c, const struct work *next);

/* launcher/controller_steps.c */

/* A report at that step, so long after its attempt began. last: the trial's highest step
 * before it. */
void controller_pace(struct controller *c, struct slot *s, int64_t last, int64_t step,
                     double elapsed);
/* How long an attempt of the trial will take from one step to another: by its own earlier
 * steps, else by those of all. Seconds, without its start-up; NaN: nothing is known. */
double controller_estimate(const struct controller *c, int32_t trial, int64_t start,
                           int64_t until);
/* A checkpoint of the trial that holds this step. */
void controller_saved(struct controller *c, const struct trial *t, int64_t step);
/* Will the job last until this reaches its milestone, or a checkpoint on the way? A
 * slot's first attempt is made in any case: else jobs whose time is short would be asked
 * for again and again. */
bool controller_fits(const struct controller *c, const struct peer *p, int32_t slot,
                     const struct work *w);
/* When an attempt may begin, whatever it is: c->now or later, so that its being a job
 * step is no part of a storm of them. */
double controller_launch_due(const struct controller *c);
/* Shall this one, which begins now, be a job step? */
bool controller_as_step(struct controller *c, const struct work *w);

#endif
