/* Reports of shims that a launcher started on other nodes, where no pipe reaches: each
 * rank writes a file beside the attempt's log. */
#ifndef WORKER_AGENT_RANKS_H
#define WORKER_AGENT_RANKS_H

#include "base/err.h"
#include "worker/agent/shim.h"

/* In the environment of `rung exec`: the files are this and ".RANK". */
#define RANKS_ENV "RUNG_EXEC_REPORT"

/* Creates the file of a rank, which by being there says that the rank was launched; its
 * shim_report follows at the end. A descriptor, or an error. */
int ranks_open(const char *prefix, int32_t rank, struct err *e);

struct ranks {
    int launched, reported;    /* how many ranks */
    struct shim_report report; /* sums and maxima over all; exec_errno, exit_code, signal
                                  and rank are those of the one that failed first, as far
                                  as that can be told: ranks that were ended by a signal
                                  because another had failed come last */
};
/* Reads and removes the files. */
int ranks_collect(const char *prefix, struct ranks *out, struct err *e);

#endif
