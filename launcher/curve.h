/* The learning curve of one trial, as text. */
#ifndef LAUNCHER_CURVE_H
#define LAUNCHER_CURVE_H

#include "launcher/loaded.h"

/* The metric over the steps as one line of at most `width` characters from ▁ (the least
 * value) to █; a step that was reported again has its last value, one that is not finite
 * is a blank. Nothing when fewer than two values are finite. UTF-8. */
void curve_spark(const struct loaded *l, int32_t trial, int width, struct str *out);

/* Its reports, a line each, the sweep's metric before the others. Of many, the first, the
 * last, the best and those that a rung recorded are shown, and "..." where some are left
 * out. */
void curve_table(const struct loaded *l, int32_t trial, int indent, struct str *out);

#endif
