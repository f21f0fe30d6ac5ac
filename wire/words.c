#include "wire/words.h"

const char *const decision_words[] = {
    [DECISION_NONE] = "none",
    [DECISION_CONTINUE] = "continue",
    [DECISION_PAUSE] = "pause",
    [DECISION_STOP] = "stop",
    NULL,
};

const char *const cause_words[] = {
#define CAUSE_WORD_(NAME, name) [CAUSE_##NAME] = #name,
    CAUSE_MAP(CAUSE_WORD_)
#undef CAUSE_WORD_
        NULL,
};

int word_index(const char *const words[], struct slice word)
{
    for (int i = 0; words[i]; i++)
        if (slice_eq(word, words[i]))
            return i;
    return -1;
}
