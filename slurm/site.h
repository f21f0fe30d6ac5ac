/* What a Slurm site has and allows, as its commands tell: `scontrol show config`, `show
 * partition`, sinfo, sacctmgr and srun of Slurm 20.11 to 25.11. What a version does not
 * tell is unknown, not wrong; lines that mean nothing are passed over. */
#ifndef SLURM_SITE_H
#define SLURM_SITE_H

#include "base/str.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

struct site_partition {
    char *name, *state; /* UP, DOWN, DRAIN, INACTIVE */
    bool is_default;
    /* seconds; INFINITY: no limit, NAN: not told */
    double max_time, default_time;
    bool whole_memory; /* it has no DefMemPerCPU or the like */
    /* comma-separated, NULL: all may, none is denied */
    char *accounts, *accounts_denied, *qos, *qos_denied;
    char *own_qos; /* whose limits count for each of its jobs, NULL: none */
};

/* Nodes of a partition that are alike, and in the same state. */
struct site_nodes {
    char *partition;
    char *gres;  /* NULL: none */
    bool usable; /* neither down nor drained nor the like */
    int64_t n, cpus, megabytes, gpus;
};

/* What an association or a QOS allows: -1, INFINITY or NULL for no limit. */
struct site_limits {
    char *name;                      /* of the account, or of the QOS */
    char *partition, *qos, *own_qos; /* of an association, NULL: all, any, the site's */
    int64_t submitted, running;      /* jobs at once */
    double wall;                     /* seconds of a job */
    char *tres_of_job, *tres_of_all; /* "cpu=8,gres/gpu=2", of all running jobs */
};

struct site {
    VEC(struct site_partition) partitions;
    VEC(struct site_nodes) nodes;
    VEC(struct site_limits) associations, qos;
    VEC(char *) mpi; /* plug-ins: "pmix", "pmix_v4" */
};

void site_free(struct site *s); /* {0} again */

/* Each adds what such an answer tells. */
void site_read_partitions(struct site *s,
                          struct slice text);            /* show partition --oneliner */
void site_read_nodes(struct site *s, struct slice text); /* sinfo, as below */
/* sacctmgr --parsable2 show associations, and qos. Those of another cluster are not ours.
 */
void site_read_associations(struct site *s, struct slice text, struct slice cluster);
void site_read_qos(struct site *s, struct slice text);
void site_read_mpi(struct site *s, struct slice text); /* srun --mpi=list, out or err */
#define SINFO_FORMAT "--format=%P|%D|%T|%c|%m|%G"

/* By name; NULL when there is none. */
const struct site_partition *site_partition(const struct site *s, const char *name);
const struct site_limits *site_qos(const struct site *s, const char *name);

/* Is the word in a comma-separated list, as it is or as "WORD=VALUE"? Then *value, which
 * may be NULL, is what is behind the '='. */
bool slurm_listed(struct slice list, const char *word, struct slice *value);
/* "cpu=8,mem=32G,gres/gpu=2": the least of that name, memory in MiB; -1: it is not there.
 */
int64_t slurm_tres(const char *list, const char *name);
/* The GPUs of "gpu:h100:4(S:0-1),shard:8". */
int64_t slurm_gres_gpus(const char *gres);

#endif
