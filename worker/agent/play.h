/* A controller for tests and the benchmark of the agent's hands: over a real socket it
 * hands out trials 0, 1, ... to one agent, decides as it is told to, and remembers what
 * it hears. It has no journal and no space: a trial's command is the plug's affair. */
#ifndef WORKER_AGENT_PLAY_H
#define WORKER_AGENT_PLAY_H

#include "base/vec.h"
#include "wire/keys.h"
#include "wire/msg.h"
#include "wire/socket.h"

struct play_end {
    int32_t trial;
    struct end_facts facts; /* without its slices, but for the note: */
    char note[200];
};

struct play_report {
    int32_t trial;
    int64_t step;
    int n_metrics;
    char name[32]; /* and value, of the first metric */
    double value;
};

struct play {
    char dir[64]; /* the sweep's directory */
    struct key_pair own;
    struct socket *socket;
    struct packet *reader;
    struct str out;
    int epoch;
    uint64_t agent, peer, taken;

    int trials, next; /* how many there are, and were handed out */
    int32_t attempt;  /* number of each one's attempt */
    int64_t until;
    int32_t child, source;  /* this trial begins from attempt 1 of that one; 0: of none */
    enum decision decision; /* NONE: reports are left waiting */
    struct gpu_use gpus;    /* the last that was heard of */
    int beats;
    bool left; /* the agent has said that it leaves */
    VEC(struct play_end) ends;
    VEC(struct play_report) reports;
    VEC(int64_t) saved;
};

/* Makes a sweep's directory, with keys, below a directory. 0 or an error, as below. */
int play_open(struct play *p, const char *below, struct err *e);
/* Begins an epoch, after another one without goodbye. */
int play_serve(struct play *p, int epoch, struct err *e);
/* Serves until enough(p), or for so many seconds: true in the first case. */
bool play_run(struct play *p, bool (*enough)(const struct play *), double seconds);
/* Says something of its own accord. */
void play_say(struct play *p, const struct item *it);
void play_close(struct play *p); /* and removes the directory */

#endif
