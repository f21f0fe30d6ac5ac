/* The words for what sched/event.h enumerates, on both protocols. (wire/ takes the types
 * of sched/, and none of its code.) */
#ifndef WIRE_WORDS_H
#define WIRE_WORDS_H

#include "sched/event.h"

/* Tables of words end with NULL. */
extern const char
    *const decision_words[];            /* by enum decision; the one for NONE is "none" */
extern const char *const cause_words[]; /* by enum end_cause */

/* The index of a word, or -1. */
int word_index(const char *const words[], struct slice word);

#endif
