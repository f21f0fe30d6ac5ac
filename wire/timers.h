/* Every timer of controller, agent and trial, in one table: name, seconds, reason.
 * doc/reliability.md shows the same table; a test holds the two together. */
#ifndef WIRE_TIMERS_H
#define WIRE_TIMERS_H

#define TIMER_MAP(X)                                                                     \
    X(BEAT, 5.0, "an agent says that it lives and what it runs")                         \
    X(GPUS, 2.0, "the GPUs of running trials are read")                                  \
    X(GATHER, 0.01,                                                                      \
      "reports that nobody waits for gather this long, to be sent and synced together")  \
    X(RESEND, 3.0, "what was not answered is sent again: connections break")             \
    X(CONTROLLER_LOOK, 1.0,                                                              \
      "how often a silent controller's successor is looked for in controller.json")      \
    X(CONTROLLER_SILENT, 15.0,                                                           \
      "three beats without an answer: the controller may be gone")                       \
    X(DECISION, 60.0,                                                                    \
      "a trial at its milestone waits this long when there is no controller")            \
    X(ORPHAN, 300.0,                                                                     \
      "an agent that runs nothing leaves after this long without a controller")          \
    X(AGENT_LOST, 60.0,                                                                  \
      "an agent this silent, whose job its executor cannot see either, is lost")         \
    X(AGENT_SILENT, 600.0,                                                               \
      "an agent this silent is lost, even if its job seems to live")                     \
    X(LAST_WORDS, 1.0,                                                                   \
      "between a job's end and giving up its agent: its last packets may still come")    \
    X(FAREWELL, 5.0, "how long agents may take to leave a sweep that is over")           \
    X(LOOK, 0.5, "how often a controller looks whether its agents and jobs live")        \
    X(KILL, 30.0, "between SIGTERM and SIGKILL")                                         \
    X(STAY, 600.0,                                                                       \
      "how long a program may stay after pause or stop, if `timeout` is not set")        \
    X(LAUNCH_RETRY, 2.0,                                                                 \
      "after an attempt that could not be launched, doubled each time up to a minute")   \
    X(SUBMIT_RETRY, 5.0,                                                                 \
      "after jobs that could not be submitted now, doubled each time up to 5 minutes")   \
    X(SQUEUE, 15.0,                                                                      \
      "Slurm is asked about jobs no more often, and only while somebody wants to know")  \
    X(UNSEEN, 10.0,                                                                      \
      "a job that Slurm does not list and never did has ended, when it was submitted "   \
      "this long ago")                                                                   \
    X(ACCOUNT, 600.0,                                                                    \
      "attempts that ended are looked up in Slurm's accounting no more often")           \
    X(LAST_ACCOUNT, 20.0, "a sweep that is over waits this long for that, at most")      \
    X(SUCCESSOR, 3.0,                                                                    \
      "a controller that is a job looks for its successor: who submitted it may just "   \
      "be "                                                                              \
      "submitting that one")                                                             \
    X(SUCCESSOR_RETRY, 60.0, "and again, when Slurm did not answer, or refused it")      \
    X(TELL, 30.0,                                                                        \
      "how often Slurm was called is told no more often, in controller.json")            \
    X(WALLTIME, 60.0,                                                                    \
      "taken away so shortly before its end, a job has come to its walltime")            \
    X(SAVE, 120.0,                                                                       \
      "a checkpoint is asked for this long before a job's time is over (a tenth of the " \
      "time, if that is less), and whenever half of the rest has passed")                \
    X(REQUESTS, 0.5, "how often requests/ is looked into")                               \
    X(VIEW, 1.0, "sweep.h5 is written no more often, and for at most 2 % of the time")

enum {
#define TIMER_ENUM_(name, seconds, why) TIMER_##name,
    TIMER_MAP(TIMER_ENUM_)
#undef TIMER_ENUM_
        TIMERS
};

/* Seconds of each timer. Tests run with shorter ones: main() hands the environment's
 * RUNG_TIMERS="DECISION=2,BEAT=0.2" to timers_parse() once, at start-up. */
struct timers {
    double s[TIMERS];
};
void timers_default(struct timers *t);
/* Changes the timers that text names; NULL or "" changes none. 0, or -1 for an unknown
 * name or a value that is no number above 0, and then nothing is changed. */
int timers_parse(struct timers *t, const char *text);
const char *timer_name(int timer);
const char *timer_reason(int timer);

#endif
