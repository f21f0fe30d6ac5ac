/* What libyaml finds wrong, in words that help. */
#ifndef LAUNCHER_YAML_EXPLAIN_H
#define LAUNCHER_YAML_EXPLAIN_H

#include "launcher/mistakes.h"

/* Adds one mistake. problem and context are libyaml's texts (context may be NULL), the
 * others the bytes of the file that they belong to. */
void yaml_explain(struct mistakes *m, const char *problem, size_t problem_at,
                  const char *context, size_t context_at);

#endif
