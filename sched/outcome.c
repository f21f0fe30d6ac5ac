/* How an attempt ended: CONTRACT of a trial program's ends, as one function of the facts
 * and of what the trial had been told. (doc/trial-protocol.md lists the rules.) */
#include "sched/sweep_private.h"

#define LOST_ENDS_MAX 3

/* What rung did to end it, where that alone decides. */
static const struct {
    bool decides;
    enum outcome outcome;
} by_cause[CAUSES] = {
    [CAUSE_NO_LAUNCH] = {true, OUTCOME_LAUNCH_FAILED},
    [CAUSE_AGENT_GONE] = {true, OUTCOME_LOST},
    [CAUSE_EVICTED] = {true, OUTCOME_PREEMPTED},
    [CAUSE_USER_STOP] = {true, OUTCOME_STOPPED},
    [CAUSE_HANG] = {true, OUTCOME_HUNG},
};

/* How Slurm says that a job ended, where the attempt went with it. */
static const struct {
    const char *state;
    enum outcome outcome;
} by_state[] = {
    {"PREEMPTED", OUTCOME_PREEMPTED}, {"TIMEOUT", OUTCOME_TIMEOUT},
    {"DEADLINE", OUTCOME_TIMEOUT},    {"NODE_FAIL", OUTCOME_NODE_FAIL},
    {"BOOT_FAIL", OUTCOME_NODE_FAIL}, {"CANCELLED", OUTCOME_CANCELLED},
    {"OUT_OF_MEMORY", OUTCOME_OOM},
};

/* Why its job is gone nobody knows. Once that is the site's affair; a trial that takes
 * its slot with it each time before it has reported anything would go on doing so for
 * ever. */
static enum outcome lost(const struct trial *t)
{
    bool again = t->last_number == 0 && t->lost_ends + 1 >= LOST_ENDS_MAX;

    return again ? OUTCOME_FAILED : OUTCOME_LOST;
}

static enum outcome with_job(const struct trial *t, const struct end_facts *f)
{
    for (size_t i = 0; i < sizeof(by_state) / sizeof(by_state[0]); i++) {
        if (slice_eq(f->slurm_state, by_state[i].state))
            return by_state[i].outcome;
    }
    return f->cause == CAUSE_AGENT_GONE ? lost(t) : by_cause[f->cause].outcome;
}

static enum outcome fault(const struct end_facts *f)
{
    return f->oom ? OUTCOME_OOM : OUTCOME_FAILED;
}

static enum outcome after_pause(const struct sweep *sw, const struct trial *t,
                                const struct end_facts *f, int64_t *saved)
{
    bool promoted = t->promoted >= t->rung; /* while it was told to pause, for want of a
                                               controller: it goes on, at no cost */

    if (f->exit_code == 0)
        *saved = f->last_step;
    else if (f->cause != CAUSE_AFTER_PAUSE ||
             !(sw->spec->restart || t->saved >= f->last_step))
        return fault(f);
    return promoted ? OUTCOME_INTERRUPTED : OUTCOME_PAUSED;
}

/* Was the trial recorded at the milestone that its attempt was to reach? */
static bool recorded_there(const struct sweep *sw, const struct trial *t)
{
    return t->rung >= 0 && sweep_milestone(sw, t->bracket, t->rung) >= t->began_until;
}

static enum outcome alone(const struct sweep *sw, const struct trial *t,
                          const struct end_facts *f, int64_t *saved)
{
    if (f->exit_code != 0 || f->oom)
        return fault(f);
    if (f->reports == 0)
        return OUTCOME_FAILED;
    if (f->last_step >= sw->spec->max_t)
        return OUTCOME_COMPLETED;
    if (f->last_step < t->began_until || !recorded_there(sw, t))
        return OUTCOME_COMPLETED; /* early: it cannot be promoted */
    *saved = f->last_step;
    return t->promoted >= t->rung ? OUTCOME_INTERRUPTED : OUTCOME_PAUSED;
}

enum outcome sweep_outcome(const struct sweep *sw, int32_t trial,
                           const struct end_facts *facts, int64_t *saved)
{
    const struct trial *t = &sw->trials.v[trial];

    *saved = -1;
    if (t->complete)
        return OUTCOME_COMPLETED;
    if (t->stop_asked || t->answered == DECISION_STOP)
        return OUTCOME_STOPPED;
    if (facts->cause == CAUSE_AGENT_GONE || facts->cause == CAUSE_EVICTED)
        return with_job(t, facts);
    if (by_cause[facts->cause].decides)
        return by_cause[facts->cause].outcome;
    if (facts->cause == CAUSE_PAUSING) {
        if (facts->exit_code == 0 && facts->answered == DECISION_PAUSE)
            *saved = facts->last_step;
        return OUTCOME_INTERRUPTED;
    }
    if (facts->answered == DECISION_PAUSE)
        return after_pause(sw, t, facts, saved);
    return alone(sw, t, facts, saved);
}
