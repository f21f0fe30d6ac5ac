/* The simulated world: what the parts of the simulation share.
 *
 * Real are the controller's and the agent's minds, the epoch with its journal, the sweep
 * file's parser and all of sched/. Simulated are the disk (disk.h), the network and the
 * clock (world.c), controllers' processes (processes.c), jobs with their trial programs
 * (machines.c), and people. Everything that happens follows from the seed. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "base/vec.h"
#include "launcher/epoch.h"
#include "tests/sim/case.h"
#include "worker/agent/agent.h"

#include <ucontext.h>

enum stream {
    S_CASE,
    S_NET,
    S_DISK,
    S_PROCESS,
    S_JOB,
    S_PROGRAM,
    S_PEOPLE,
    S_SUBMIT,
    S_METHOD,
    S_POPULATION,
    STREAMS
};

#define SWEEP_DIR "/sim/sweep"
#define SLOTS_MAX 4
#define HOSTS     3

struct flight { /* a packet */
    double at;
    uint64_t order;
    int machine, process; /* to whom; -1 */
    char *data;
    size_t n;
};

struct program {
    bool runs, waits, exiting;
    int32_t trial, attempt;
    uint64_t nonce;
    int64_t step, until;
    int64_t breaks; /* steps from its start to what its manner does; 0: never */
    uint32_t number;
    bool reached; /* the report that it waits on is at its milestone */
    bool save;    /* it was told to */
    double next;  /* when it acts, or is gone when `exiting` */
    enum decision told;
    int code, signal;
};

struct world;

struct machine { /* a job: an agent with its programs */
    struct world *w;
    int index;
    uint64_t id;
    char job[16];
    struct agent *mind; /* NULL: not begun yet */
    double begins;
    bool gone;
    bool seems;    /* gone, and its job still seems to run: its node hangs */
    int32_t epoch; /* of the controller that it is connected to */
    int process;   /* and which that is; -1: none */
    double look_at, cut_until;
    double ends; /* its walltime; INFINITY: none */
    struct program program[SLOTS_MAX];
};

struct submission { /* of a job, of which the executor has not told yet */
    double at;
    int machine; /* -1: it was refused */
};

struct process { /* of a controller */
    struct world *w;
    int index, host;
    struct epoch ep;
    ucontext_t context;
    char *stack;
    double wake; /* when it goes on; waiting for packets, also when one comes */
    bool waits, dead, over, resume;
    bool torn; /* if it is killed in a write, that is done in part */
    double cut_until;
    VEC(struct slice) inbox;
    VEC(struct submission) submissions;
    VEC(int) children; /* machines whose end it has not been told of */
    int64_t appended;  /* events of its epoch, committed or not */
};

struct trial_dir { /* the current attempt's directory */
    int32_t attempt;
    uint64_t nonce;
    int64_t step; /* of the checkpoint in it, 0: none */
};

struct kept_dir { /* an attempt's, which stays while later ones have copies */
    int32_t trial, attempt;
    int64_t step;
};

struct judge;

struct world {
    struct sim_case c;
    uint32_t draws[STREAMS];
    double now;
    double rate[FAULTS]; /* a chance, or times a second */
    double next[FAULTS]; /* when one with times a second strikes */
    double faults_end;
    bool slow_submits; /* a job is told of some time after it was submitted */
    bool only_network; /* of all that can end an attempt from outside */
    /* the sweep */
    bool promote, in_place, keeps_idle, restart, printed;
    int64_t max_t;
    int trials, slots, slots_per_job, trials_per_job;
    double timeout;
    int num, den; /* eta */
    int grace, brackets, finalists, retries;
    int interval; /* of pbt */
    enum schedule_method method;
    struct timers timers;
    char *yaml;
    /* what there is */
    VEC(struct flight) air; /* a heap */
    uint64_t flights;
    VEC(struct machine *) machines;
    VEC(struct process *) processes;
    struct process *current; /* whose system calls these are; NULL: the world's own */
    ucontext_t context;
    VEC(struct trial_dir) dirs;
    VEC(struct kept_dir) kept;
    double jump[HOSTS]; /* of each host's wall clock */
    double full_until;
    double person_at; /* looks after the sweep */
    bool finished;
    struct judge *judge;
    int64_t events, attempts, packets, epochs; /* for the tally */
};

/* ---- world.c (and case.h: world_run()) ---- */

double chance(struct world *w, enum stream s);
bool may(const struct world *w, enum fault f); /* now */
bool happens(struct world *w, enum fault f, enum stream s);
double between(struct world *w, enum stream s, double lo, double hi);
void fly(struct world *w, int machine, int process, const char *data, size_t n);
void tell(const struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* when loud */
/* Ends the case: what was promised does not hold. */
void broken(const struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* ---- processes.c ---- */

void process_begin(struct world *w, bool resume);
void process_go_on(struct process *p);
void process_kill(struct process *p); /* its system calls have no effect any more */
void process_hear(struct process *p, char *data, size_t n); /* takes data */
bool process_responds(const struct process *p);
double process_due(const struct process *p);
void process_free(struct process *p);
struct disk_port;
extern const struct disk_port disk_of_processes; /* but ctx, the world */

/* ---- machines.c ---- */

int machine_begin(struct world *w); /* a new job's index */
void machine_act(struct machine *m);
void machine_hear(struct machine *m, const char *data, size_t n);
void machine_die(struct machine *m);
void machine_evict(struct machine *m, const char *why);
double machine_due(const struct machine *m);
void machine_free(struct machine *m);

/* ---- judge.c ---- */

struct judge *judge_new(void);
void judge_free(struct judge *j);
/* A controller lets a packet go: all that it has appended is promised. */
void judge_sent(struct world *w, const struct process *p);
void judge_started(struct world *w, const struct machine *m, const struct item *work);
void judge_said(struct world *w, const struct program *p, int64_t step, double value,
                bool metric);
void judge_saved(struct world *w, const struct program *p);
/* A program in mode promote goes on from its milestone. */
void judge_went_on(struct world *w, const struct program *p);
/* The newest controller's state against a replay of its journal. */
void judge_state(struct world *w, const struct process *p);
void judge_end(struct world *w);

#endif
