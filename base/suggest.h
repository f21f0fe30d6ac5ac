/* "did you mean ...?" */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

/* Damerau-Levenshtein distance (adjacent transpositions count one), in bytes,
 * case ignored. */
int edit_distance(const char *a, const char *b);

/* Whether that is 1 at most, in a hundredth of the time: a letter too many, too few or
 * wrong, or two in the wrong order. */
bool edit_slip(const char *a, const char *b);

/* The nearest of n names when near enough to have been meant (distance at most
 * a third of the longer one's length, at least 1 and at most 3), else NULL.
 * Ties: the first. */
const char *suggest(const char *word, const char *const names[], size_t n);

#endif
