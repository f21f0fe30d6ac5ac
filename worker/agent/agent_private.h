/* What the files of the agent's mind share: agent.c holds the agent and its side of the
 * protocol, agent_slot.c one slot and the attempt in it. */
#ifndef WORKER_AGENT_AGENT_PRIVATE_H
#define WORKER_AGENT_AGENT_PRIVATE_H

#include "base/vec.h"
#include "wire/trial.h"
#include "worker/agent/agent.h"

/* Whoever said or printed a line; who said it wants one back. */
struct asker {
    uint64_t conn;  /* 0: it was printed, and nobody is told */
    bool report;    /* the line was a report: it may be told to save */
    uint32_t needs; /* waits for the decision on this report of the attempt */
    double since;
};

struct attempt {
    struct open_attempt id;
    double began;
    bool copying;           /* its program does not run yet */
    double heard;           /* its last line, or what it was told last */
    int64_t until;          /* the next milestone */
    int64_t last_step;      /* highest reported, 0 for none */
    int64_t checkpoint;     /* highest said to be saved, -1 for none */
    uint32_t reports;       /* made so far */
    uint32_t saves;         /* and how often it said that it has saved */
    uint32_t asked;         /* the newest report that wants the controller's decision */
    uint32_t decided;       /* the newest that has it; 0 for none, both */
    enum decision answered; /* what the program was told last */
    enum decision late;     /* PAUSE or STOP: decided, and not yet told */
    int64_t final_step;     /* last_step when it was told to pause or stop */
    double stay_from;       /* since when it should be gone; INFINITY: it may stay */
    bool alone;             /* decides by itself, until a controller is back */
    bool pausing;           /* the sweep pauses */
    bool save_wanted;       /* to be told at its next report */
    int64_t save_step;      /* where it was told so while pausing; -1: not yet */
    double save_due;        /* when the job's time makes the next checkpoint due */
    bool ending;            /* port.end() was called */
    enum end_cause cause;
};

enum slot_state {
    SLOT_FREE,    /* asks at the next tick */
    SLOT_ASKING,  /* its ask waits for work */
    SLOT_RUNNING, /* has an attempt */
    SLOT_CLOSED,  /* asks no more */
};

struct slot {
    enum slot_state state;
    bool retired;      /* CLOSED by the controller, which may still change its mind */
    int64_t made;      /* attempts */
    uint32_t ask;      /* number of the last ask */
    uint64_t ask_item; /* and of its item */
    double ask_due;    /* when that is sent again */
    struct attempt at; /* RUNNING */
    VEC(struct asker) waiting; /* for a decision, in the order they came */
    struct str line; /* item of report at.asked, to be sent again until it is decided */
    uint64_t line_item; /* its number */
    double line_due;
};

struct agent {
    struct agent_config c;
    struct agent_port port;
    void *ctx;
    double began;
    double now;    /* of the call at hand */
    bool dirty;    /* something happened since the last tick */
    double ticked; /* when that was */
    double due;    /* and when the next one was to be, at the latest */
    struct slot *slots;
    double save_ahead; /* how long before c.ends checkpoints are asked for */

    int32_t epoch;       /* highest seen, 0 for none */
    bool welcomed;       /* by its controller */
    double heard;        /* last packet of that epoch */
    double hello_due;    /* not welcomed */
    double beat_due;     /* welcomed */
    double gather_due;   /* when items that were put are sent at the latest */
    double progress_due; /* items are out: when they are sent again */

    struct outbox *outbox;
    struct packet *packet; /* reader */
    struct str out;        /* packet being made */
    struct str reply;
    struct trial_line line;
    VEC(struct open_attempt) open; /* for hello and beat */
    VEC(struct gpu_use) gpus;      /* for beat */

    bool closing; /* slots ask no more: evicted, sent away, refused */
    bool evicted, sent_away, refused;
    bool leaving;       /* LEAVE is on its way */
    double leave_until; /* and not waited for any longer */
    bool done;          /* port.quit() was called */
    char *why;          /* of leaving */
};

/* ---- agent.c ---- */

/* Puts an item on its way; its number. Reports that nobody waits for gather a while. */
uint64_t agent_put(struct agent *a, const struct item *it);

/* ---- agent_slot.c ---- */

void slot_close(struct slot *s); /* unless an attempt runs in it */
void slot_ask(struct agent *a, struct slot *s);
void slot_work(struct agent *a, struct slot *s, const struct item *it);
void slot_started(const struct agent *a, struct slot *s);
void slot_line(struct agent *a, struct slot *s, uint64_t conn, const char *text,
               size_t n);
void slot_printed(struct agent *a, struct slot *s, int64_t step,
                  const struct metric metrics[], int n);
void slot_answer(struct agent *a, struct slot *s, const struct item *it);
void slot_pause(struct agent *a, struct slot *s);
void slot_end(struct agent *a, struct slot *s, enum end_cause cause);
void slot_ended(struct agent *a, struct slot *s, const struct end_facts *facts);
void slot_welcomed(struct agent *a, struct slot *s);   /* says again what waits */
void slot_time(const struct agent *a, struct slot *s); /* the job's end is another */
/* Nothing ran here, neither this agent nor the program, for so long. */
void slot_slept(struct agent *a, struct slot *s, double seconds);
void slot_tick(struct agent *a, struct slot *s);
double slot_deadline(const struct agent *a, const struct slot *s);
/* When its ask, or its newest report that waits for a decision, is to be said again. They
 * were acknowledged, so the outbox says them no more. INFINITY: neither waits. */
double slot_ask_due(const struct agent *a, const struct slot *s);
double slot_line_due(const struct agent *a, const struct slot *s);

static inline int slot_index(const struct agent *a, const struct slot *s)
{
    return (int)(s - a->slots);
}

static inline bool is_final(enum decision d)
{
    return d == DECISION_PAUSE || d == DECISION_STOP;
}

#endif
