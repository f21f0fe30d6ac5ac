/* Messages between agents and controller. (Format, rules and examples: doc/protocol.md.)
 *
 * A packet is one ZeroMQ frame: a header line and item lines, each a JSON object and
 * a newline. An agent's items that must not be lost (ask, report, saved, end, leave)
 * are numbered; `first` in the header is the number of the packet's first numbered
 * item, the others follow in order. The controller acknowledges the highest number up
 * to which it has durably taken everything; an agent keeps what is not acknowledged
 * and sends it again after a pause or to a new epoch's controller. An ask and a report
 * that wait for an answer are sent again under their old numbers even when they were
 * acknowledged, so that a lost answer is given once more. Doing so is harmless: the
 * controller knows a report by (attempt, number), an end by its attempt, an ask by
 * (agent, slot, number), from its journal.
 *
 * Versions: `rung` in the header is the protocol's version (WIRE_VERSION). Unknown keys
 * and unknown item kinds are skipped by both sides; a peer whose `rung` differs gets an
 * item `refused` with a sentence, and is told of by both. The header line and `refused`
 * are the same in all versions. */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include "base/err.h"
#include "sched/event.h"

#define WIRE_VERSION    1
#define WIRE_PACKET_MAX (4 << 20) /* bytes; the transport refuses longer ones */

struct packet_head {
    int version;          /* WIRE_VERSION of the sender */
    struct slice release; /* "0.1.0" */
    int32_t epoch;        /* highest that the sender knows, 0: none yet */
    uint64_t agent;       /* who sends, or who is meant */
    uint64_t first;       /* from agents: number of the first numbered item, 0: none */
    uint64_t ack;         /* from the controller: all up to this one are durable */
};

/*    NAME     name     numbered   from whom, meaning */
#define ITEM_MAP(X)                                                                      \
    X(HELLO, hello, 0)     /* agent: here I am, with what I run */                       \
    X(BEAT, beat, 0)       /* agent: alive, with what I run; controller: heard */        \
    X(ASK, ask, 1)         /* agent: this slot is free */                                \
    X(REPORT, report, 1)   /* agent: a trial reported */                                 \
    X(SAVED, saved, 1)     /* agent: a trial's checkpoint holds a step */                \
    X(END, end, 1)         /* agent: an attempt is over */                               \
    X(LEAVE, leave, 1)     /* agent: this job ends */                                    \
    X(WHO, who, 0)         /* controller: I don't know you, say hello */                 \
    X(WELCOME, welcome, 0) /* controller: hello heard, you are in */                     \
    X(WORK, work, 0)       /* controller: run this in that slot */                       \
    X(RETIRE, retire, 0)   /* controller: that slot is not needed any more */            \
    X(ANSWER, answer, 0)   /* controller: the decision on a report */                    \
    X(KILL, kill, 0)       /* controller: end that attempt now */                        \
    X(PAUSE, pause, 0)     /* controller: save at the next report, then end attempts */  \
    X(BYE, bye, 0)         /* controller: the sweep, or your job, is over: leave */      \
    X(REFUSED, refused, 0) /* either: versions do not fit */

enum item_kind {
    ITEM_NONE,
#define ITEM_ENUM_(NAME, name, numbered) ITEM_##NAME,
    ITEM_MAP(ITEM_ENUM_)
#undef ITEM_ENUM_
        ITEM_KINDS
};
const char *item_name(enum item_kind k);
bool item_numbered(enum item_kind k);

struct open_attempt {
    int32_t trial, attempt, slot;
    uint64_t nonce;
};

/* What the GPUs of a slot's attempt are doing, on the agent's node. NaN: unknown. */
struct gpu_use {
    int32_t slot;
    int32_t gpus;               /* how many they are */
    double util;                /* mean share of the last second in which they computed */
    double mem_used, mem_total; /* bytes, of the one that has most in use */
    double power;               /* W, of all together */
};

struct item {
    enum item_kind kind;
    union {
        struct { /* HELLO; BEAT from agents has `open`, `gpus`, `oldest` and `left` of it
                  */
            const struct open_attempt *open;
            int n_open;
            const struct gpu_use *gpus; /* of BEATs */
            int n_gpus;
            int32_t slots;          /* how many it has, EVENT_SLOTS_MAX at most */
            int32_t closed;         /* of these, how many will ask for nothing more */
            struct slice host, job; /* job: the executor's name for it */
            int64_t pid;
            uint64_t oldest; /* number of the oldest unacknowledged item, or of the
                                next one when there is none: a controller that
                                knows less expects this one next */
            double left;     /* seconds until its job's walltime is over, NaN: never, or
                                it does not know; of BEATs from controllers, too */
        } hello;
        struct {
            int32_t slot;
            uint32_t ask; /* counts up for each slot of the agent */
        } ask;            /* ASK, RETIRE */
        struct {
            int32_t trial, attempt;
            uint64_t nonce;
            uint32_t number;
            int64_t step;
            double elapsed;
            bool wait; /* an answer is wanted: a decision may fall here */
            const struct metric *metrics;
            int n_metrics;
        } report;
        struct {
            int32_t trial, attempt;
            uint64_t nonce;
            uint32_t number; /* of what the attempt said so, from 1 */
            int64_t step;
        } saved;
        struct {
            int32_t trial, attempt;
            uint64_t nonce;
            struct end_facts facts;
        } end;
        struct {
            int32_t slot;
            uint32_t ask;
            int32_t trial, attempt;
            uint64_t nonce;
            int64_t start;
            int64_t until; /* the next milestone: below it the agent answers by itself */
            uint64_t seed;
            bool step; /* under Slurm: as a job step */
            /* The directory of that attempt stays as it is: where it is the newest of
             * this trial, or another trial's and this one has none yet, the attempt
             * begins with a copy of it. 0: none */
            int32_t source_trial, source_attempt;
            struct slice params; /* JSON object */
        } work;
        struct {
            int32_t trial, attempt;
            uint32_t number;
            enum decision decision;
            int64_t until;
        } answer;
        struct {
            int32_t trial, attempt;
            uint64_t nonce;
            enum end_cause cause; /* USER_STOP, PAUSING, or AGENT_GONE: superseded */
        } kill;
        struct {
            struct slice text; /* LEAVE, BYE, REFUSED: a sentence */
            bool evicted;      /* LEAVE: its job is taken away */
        } why;
    };
};

void packet_begin(struct str *out, const struct packet_head *h); /* header line */
void item_encode(const struct item *it, struct str *out);        /* one item line */

/* Reading: packet_open() parses the header, packet_next() one item after another.
 * Slices and arrays of a header or an item live until the next packet_next(), and no
 * longer than data, which is not copied. Items of unknown kinds are skipped (numbered
 * ones are counted: an unknown item with "n":1 is). */
struct packet;
struct packet *packet_new(void); /* a reusable reader */
void packet_free(struct packet *p);
/* 0, or ERR_PROTO; no agent has the number 0. A header of another version is read as
 * well: look at h->version. */
int packet_open(struct packet *p, const char *data, size_t n, struct packet_head *h,
                struct err *e);
/* 1: an item; 0: the end; ERR_PROTO: it cannot be read (the rest is not tried), or holds
 * what no agent lets through: more slots than EVENT_SLOTS_MAX, a step below 0, metrics
 * beyond the bounds of wire/trial.h. *number is a numbered item's number, 0 for others.
 */
int packet_next(struct packet *p, struct item *it, uint64_t *number, struct err *e);

/* ---- what an agent has said and not yet heard acknowledged ---- */

struct outbox;
struct outbox *outbox_new(void);
void outbox_free(struct outbox *o);
uint64_t outbox_put(struct outbox *o, const struct item *it); /* numbered; its number */
/* Forgets all up to number; false when that was known already, or cannot be. */
bool outbox_ack(struct outbox *o, uint64_t number);
void outbox_rewind(struct outbox *o); /* send all again */
size_t outbox_unsent(const struct outbox *o), outbox_unacked(const struct outbox *o);
size_t outbox_bytes(const struct outbox *o);    /* of what is not acknowledged */
uint64_t outbox_oldest(const struct outbox *o); /* see item.hello.oldest */
uint64_t outbox_next(const struct outbox *o);   /* number of the first unsent item, or of
                                                   the next one when there is none */
/* Appends unsent items to a packet, at most `max` bytes but at least one item if there
 * is one, and counts them as sent; the first is outbox_next(). How many. */
size_t outbox_take(struct outbox *o, size_t max, struct str *out);

#endif
