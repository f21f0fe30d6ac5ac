#include "sched/event.h"

#include <string.h>

/* The position of name among n names; -1 when it is none of them. */
static int find(const char *const names[], int n, struct slice name)
{
    for (int i = 0; i < n; i++)
        if (names[i] && slice_eq(name, names[i]))
            return i;
    return -1;
}

static const char *const event_names[EVENT_KINDS] = {
#define EVENT_NAME_(NAME, name) [EVENT_##NAME] = #name,
    EVENT_MAP(EVENT_NAME_)
#undef EVENT_NAME_
};

const char *event_name(enum event_kind kind)
{
    return kind > EVENT_NONE && kind < EVENT_KINDS ? event_names[kind] : "none";
}

enum event_kind event_kind_of(struct slice name)
{
    int i = find(event_names, EVENT_KINDS, name);
    return i < 0 ? EVENT_NONE : (enum event_kind)i;
}

static const char *const decision_names[] = {
    [DECISION_NONE] = "none",
    [DECISION_CONTINUE] = "continue",
    [DECISION_PAUSE] = "pause",
    [DECISION_STOP] = "stop",
};
enum { DECISIONS = sizeof(decision_names) / sizeof(decision_names[0]) };

const char *decision_name(enum decision d)
{
    return (int)d >= 0 && (int)d < DECISIONS ? decision_names[d] : "none";
}

enum decision decision_of(struct slice name)
{
    int i = find(decision_names, DECISIONS, name);
    return i < 0 ? DECISION_NONE : (enum decision)i;
}

static const struct {
    const char *name;
    enum outcome_class class;
} outcomes[OUTCOMES] = {
#define OUTCOME_ROW_(NAME, name, class) [OUTCOME_##NAME] = {#name, OUTCOME_IS_##class},
    OUTCOME_MAP(OUTCOME_ROW_)
#undef OUTCOME_ROW_
};

const char *outcome_name(enum outcome o)
{
    return outcomes[o].name;
}

int outcome_of(struct slice name)
{
    for (int i = 0; i < OUTCOMES; i++)
        if (slice_eq(name, outcomes[i].name))
            return i;
    return -1;
}

enum outcome_class outcome_class(enum outcome o)
{
    return outcomes[o].class;
}

static const char *const cause_names[CAUSES] = {
#define CAUSE_NAME_(NAME, name) [CAUSE_##NAME] = #name,
    CAUSE_MAP(CAUSE_NAME_)
#undef CAUSE_NAME_
};

const char *cause_name(enum end_cause c)
{
    return cause_names[c];
}

int cause_of(struct slice name)
{
    return find(cause_names, CAUSES, name);
}
