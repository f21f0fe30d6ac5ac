/* The sweep file: YAML in, a checked description out, or all of its mistakes at once.
 * (The keys: doc/sweep-file.md.) */
#ifndef LAUNCHER_SWEEPFILE_H
#define LAUNCHER_SWEEPFILE_H

#include "base/vec.h"
#include "sched/spec.h"

#define SWEEPFILE_MAX (1 << 20) /* bytes */

/* One word of the command, cut at its placeholders. */
struct command_part {
    enum {
        PART_TEXT,
        PART_PARAM,
        PART_TRIAL,
        PART_ATTEMPT,
        PART_SEED,
        PART_START,
        PART_UNTIL,
        PART_CHECKPOINT_DIR,
        PART_SWEEP_DIR
    } kind;
    char *text; /* PART_TEXT */
    int param;  /* PART_PARAM */
};
struct command_word {
    VEC(struct command_part) parts;
    bool optional; /* holds a conditional parameter: left out when that is absent */
};

struct option { /* of sbatch or srun: --name=value, value NULL: --name */
    char *name, *value;
};

enum steps_mode { STEPS_AUTO, STEPS_YES, STEPS_NO };

struct stop_rules { /* 0 or NAN: not set */
    double time;    /* seconds */
    int64_t trials;
    bool has_metric;
    double metric;
    double cpu_hours, gpu_hours, node_hours;
    int64_t plateau; /* trials; spec.improvement */
};

struct sweepfile {
    char *path;      /* as given, for messages */
    struct str text; /* verbatim */
    struct spec spec;

    char *name;
    char *command_text;
    VEC(struct command_word) command;
    bool command_has_until;
    bool shell;
    int slots, slots_per_job;
    bool slots_per_job_set;
    int64_t trials_per_job;
    double idle; /* seconds */
    struct {
        int nodes, tasks, cpus, gpus;
        int64_t memory; /* bytes a node, 0: not said */
        double time;    /* seconds, 0: not said */
    } resources;
    double timeout; /* seconds, 0: none */
    VEC(struct option) slurm, srun;
    VEC(struct option) controller; /* as options of sbatch: partition, time, mem, ... */
    char *setup;                   /* NULL: none */
    enum steps_mode steps;
    struct stop_rules stop;
    int keep_checkpoints;
    char *parse; /* NULL: none */
    char *from;  /* an earlier sweep's directory, as it is written; NULL: none */
    int checkpoint_signal; /* 0: none */
};

/* Reads and checks a file. Mistakes are written to `errors`, one line each, sorted by
 * position: "fashion.yaml:9:7: unknown distribution 'logunifrom' (did you mean
 * 'loguniform'?)". 0, or ERR_INVAL (mistakes), ERR_NOENT, ERR_IO. *out is only
 * set on success. */
int sweepfile_load(const char *path, struct sweepfile **out, struct str *errors);
/* The same for text at hand; `path` is for messages and the default name. */
int sweepfile_parse(const char *path, const char *text, size_t n, struct sweepfile **out,
                    struct str *errors);
void sweepfile_free(struct sweepfile *f); /* NULL is fine */

/* Applies one `--set key=value` (stop.*, slots, search.trials, keep.checkpoints,
 * resources.*), checked as the file is; the spec is changed too. ERR_INVAL with
 * a sentence, which names the keys that can be set when it is another. */
int sweepfile_set(struct sweepfile *f, const char *key, const char *value, struct err *e);

/* What the placeholders stand for in one attempt. */
struct command_env {
    int32_t trial, attempt;
    uint64_t seed;
    int64_t start, until;
    const char *checkpoint_dir, *sweep_dir;
    const struct value *values; /* [space_count] */
};
/* The words of the command for an attempt: NULL-terminated, malloc'ed, free each and the
 * array. With `shell: true` that is /bin/sh -c COMMAND. */
char **command_words(const struct sweepfile *f, const struct command_env *env);

#endif
