/* Every timer of controller, agent and trial, in one table: name, seconds, reason.
 * doc/protocol.md shows the same table; a test holds the two together. */
#ifndef WIRE_TIMERS_H
#define WIRE_TIMERS_H

#define TIMER_MAP(X)                                                                     \
    X(BEAT, 5.0, "an agent says that it lives and what it runs")                         \
    X(RESEND, 3.0, "unanswered messages are sent again; ZeroMQ loses them only when a "  \
                   "connection breaks")                                                  \
    X(CONTROLLER_LOOK, 1.0, "without an answer, how often controller.json is read for "  \
                            "a new controller")                                          \
    X(CONTROLLER_SILENT, 15.0, "three beats without an answer: the controller may be "   \
                               "gone")                                                   \
    X(DECISION, 60.0, "a trial at its milestone waits this long for a decision when "    \
                      "there is no controller")                                          \
    X(ORPHAN, 300.0, "an agent with nothing running leaves after this long without a "   \
                     "controller")                                                       \
    X(AGENT_LOST, 60.0, "an agent this silent, whose job its executor cannot see "       \
                        "either, is lost")                                               \
    X(AGENT_SILENT, 600.0, "an agent this silent is lost even if its job seems to live") \
    X(REJOIN, 10.0, "a new controller waits this long for the agents of its "            \
                    "predecessor, if their jobs live")                                   \
    X(KILL, 30.0, "between SIGTERM and SIGKILL")                                         \
    X(STAY, 600.0, "how long a program may stay after pause or stop, when `timeout` "    \
                   "is not set")                                                         \
    X(LAUNCH_RETRY, 2.0, "after an attempt that could not be launched, doubled each "    \
                         "time up to a minute")                                          \
    X(REQUESTS, 0.5, "how often requests/ is looked into")                               \
    X(VIEW, 1.0, "sweep.h5 is written at most this often, and never for more than 2 % "  \
                 "of the time")

enum { TIMER_BEFORE_FIRST_ = -1,
#define TIMER_ENUM_(name, seconds, why) TIMER_##name,
       TIMER_MAP(TIMER_ENUM_)
#undef TIMER_ENUM_
       TIMERS };

/* Seconds of a timer. RUNG_TIMERS="DECISION=2,BEAT=0.2" in the environment of a test
 * changes some; timer_load() reads it once at start-up. */
struct timers {
    double s[TIMERS];
};
void timers_default(struct timers *t);
int timers_parse(struct timers *t, const char *text); /* 0, or -1: unknown name or value */
const char *timer_name(int timer);
const char *timer_reason(int timer);

#endif
