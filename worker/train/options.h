/* The options of rung-train: one table for the command line, for the parameters that a
 * sweep gives, for --help and for what a checkpoint keeps. */
#ifndef WORKER_TRAIN_OPTIONS_H
#define WORKER_TRAIN_OPTIONS_H

#include "base/err.h"
#include "base/str.h"
#include "worker/train/checkpoint.h"

#define HIDDEN_MAX 64

struct sizes {
    size_t v[HIDDEN_MAX];
    size_t n;
};

struct options {
    const char *data;
    const char *model;
    struct sizes hidden;
    int64_t l1, l2; /* as given; both are in hidden, too */
    double lr;
    int64_t batch_size;
    const char *optimizer;
    double momentum;
    double weight_decay; /* not said: 0.01 with adamw, else 0 */
    bool nesterov;
    double label_smoothing;
    double dropout;
    int64_t crop;
    bool flip;
    int64_t epochs; /* 0: not said */
    const char *lr_schedule;
    int64_t warmup_steps;
    int64_t lr_step_epochs; /* 0: not said, a third of all */
    double lr_factor, lr_final;
    uint64_t seed;
    bool seed_given;
    const char *checkpoint_dir; /* NULL: not said */
    int64_t threads;            /* not said: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, 1 */
    const char *device;         /* one of device_kinds */
    const char *precision;      /* one of precision_kinds */
    const char *parallel;       /* one of parallel_kinds */
    const char *exchange;       /* one of exchange_kinds */
    int64_t devices;            /* of dp; 0: not said */
    int64_t micro_batches;      /* 0: not said */
    int64_t max_memory;         /* bytes; 0: not said */
    int64_t limit;              /* 0: all */
    double val_fraction;        /* NaN: not said */
    bool deterministic;
    bool quiet, help, version;
};

/* What several processes, or devices, do with a training: "ddp", each has a share of
 * every batch, with a process each; "dp", the same with a thread each; "mp", each has
 * some of the layers. NULL at the end. */
extern const char *const parallel_kinds[];

/* By enum device_precision. */
extern const char *const precision_kinds[];
enum device_precision options_precision(const struct options *o);

/* The value of a parameter of the sweep, or NULL. */
typedef const char *options_lookup(const void *arg, const char *name);

/* Fills *o: from the command line, else from a parameter of the same name (batch_size
 * for --batch-size), else the default. lookup may be NULL. Texts in *o are those of argv
 * and lookup. ERR_INVAL with a sentence on what cannot be used. With --help or
 * --version nothing else is looked at. */
int options_parse(struct options *o, int argc, char *const argv[], options_lookup *lookup,
                  const void *arg, struct err *e);

void options_help(struct str *out);

/* What must be the same on all ranks of a training, for alike_check(). */
void options_alike(const struct options *o, struct str *out);

/* What a checkpoint keeps of the options; settings has room for OPTIONS_SETTINGS. text
 * owns what the settings point into. Returns their number. */
#define OPTIONS_SETTINGS 32
size_t options_settings(const struct options *o, struct setting settings[],
                        struct str *text);

#endif
