/* A case of the simulation, and what running it gives. */
#ifndef TESTS_SIM_CASE_H
#define TESTS_SIM_CASE_H

#include <stdbool.h>
#include <stdint.h>

/* What may go wrong, and how trial programs may behave: each can be turned off. */
#define FAULT_MAP(X)                                                                     \
    X(LOSE, lose, "packets are lost")                                                    \
    X(DOUBLE, double, "packets come twice")                                              \
    X(LATE, late, "packets come late, by seconds or hours")                              \
    X(CRASH, crash, "controllers are killed, between any two system calls")              \
    X(POWER, power, "a controller's host loses power, and what was not synced")          \
    X(SECOND, second, "a second controller begins while one serves")                     \
    X(SLOW, slow, "system calls of controllers take their time")                         \
    X(FREEZE, freeze, "a controller stops for minutes or hours, and then goes on")       \
    X(FULL, full, "the disk is full for a while")                                        \
    X(SYNC, sync, "an fsync fails")                                                      \
    X(DEATH, death, "a job's node dies")                                                 \
    X(EVICT, evict, "a job is evicted")                                                  \
    X(CUT, cut, "a job or a controller is cut off from the network")                     \
    X(STILLBORN, stillborn, "a job ends before its agent says anything")                 \
    X(JUMP, jump, "wall clocks jump")                                                    \
    X(PEOPLE, people, "people pause the sweep, and stop trials")                         \
    X(FAIL, fail, "programs fail at any step")                                           \
    X(HANG, hang, "programs fall silent")                                                \
    X(NAN, nan, "metrics are NaN or infinite")                                           \
    X(OMIT, omit, "reports lack the metric, or come twice at a step")                    \
    X(LEAP, leap, "programs leap over steps")                                            \
    X(EARLY, early, "programs end early, or at their milestone without waiting")         \
    X(DEAF, deaf, "programs go on after they were told to pause or stop")                \
    X(FORGET, forget, "programs begin at step 0 whatever they saved")                    \
    X(REFUSE, refuse, "jobs cannot be submitted for a while")

enum fault {
#define FAULT_ENUM_(NAME, name, what) F_##NAME,
    FAULT_MAP(FAULT_ENUM_)
#undef FAULT_ENUM_
        FAULTS
};

/* A case: what the seed draws, and what is taken away from it. */
struct sim_case {
    uint64_t seed;
    uint32_t off;       /* bits of faults that do not happen */
    double from, until; /* faults happen only in this time */
    int trials, slots;  /* at most; 0: as drawn */
    bool loud;          /* tell what happens, on stdout */
};

struct tally {
    int64_t sweeps, events, attempts, packets, epochs;
    double seconds; /* simulated */
};
void world_run(const struct sim_case *c, struct tally *t);

#endif
