/* The keys of the sweep file, in one table: the parser, the defaults, the
 * suggestions, `rung resume --set`, the comments of `rung init` and the table in
 * doc/sweep-file.md all come from it. */
#ifndef LAUNCHER_SWEEPFILE_KEYS_H
#define LAUNCHER_SWEEPFILE_KEYS_H

#include "launcher/sweepfile.h"

enum key_id {
    KEY_NAME,
    KEY_COMMAND,
    KEY_SHELL,
    KEY_METRIC,
    KEY_MODE,
    KEY_METRICS,
    KEY_SEED,
    KEY_SPACE,
    KEY_CONSTRAINTS,
    KEY_START,
    KEY_SEARCH,
    KEY_SEARCH_METHOD,
    KEY_SEARCH_TRIALS,
    KEY_SEARCH_MULTIVARIATE,
    KEY_SEARCH_FROM,
    KEY_SCHEDULE,
    KEY_SCHEDULE_METHOD,
    KEY_SCHEDULE_MODE,
    KEY_GRACE_PERIOD,
    KEY_REDUCTION_FACTOR,
    KEY_MAX_T,
    KEY_INTERVAL,
    KEY_BRACKETS,
    KEY_FINALISTS,
    KEY_MIN_TRIALS,
    KEY_SLOTS,
    KEY_SLOTS_PER_JOB,
    KEY_TRIALS_PER_JOB,
    KEY_IDLE,
    KEY_RESOURCES,
    KEY_NODES,
    KEY_TASKS,
    KEY_CPUS,
    KEY_GPUS,
    KEY_MEMORY,
    KEY_TIME,
    KEY_TIMEOUT,
    KEY_SLURM,
    KEY_SRUN,
    KEY_CONTROLLER,
    KEY_CONTROLLER_PARTITION,
    KEY_CONTROLLER_ACCOUNT,
    KEY_CONTROLLER_QOS,
    KEY_CONTROLLER_TIME,
    KEY_CONTROLLER_MEMORY,
    KEY_SETUP,
    KEY_STEPS,
    KEY_RETRY,
    KEY_RETRY_FAILURES,
    KEY_OOM,
    KEY_OOM_PARAM,
    KEY_OOM_FACTOR,
    KEY_OOM_MIN,
    KEY_STOP,
    KEY_STOP_TIME,
    KEY_STOP_TRIALS,
    KEY_STOP_METRIC,
    KEY_STOP_CPU_HOURS,
    KEY_STOP_GPU_HOURS,
    KEY_STOP_NODE_HOURS,
    KEY_PLATEAU,
    KEY_PLATEAU_TRIALS,
    KEY_PLATEAU_IMPROVEMENT,
    KEY_KEEP,
    KEY_KEEP_CHECKPOINTS,
    KEY_PARSE,
    KEY_RESTART,
    KEY_CHECKPOINT_SIGNAL,
    KEYS
};

enum key_type {            /* what a key wants */
                WANT_INT,  /* lo..hi */
                WANT_REAL, /* between lo and hi, both excluded */
                WANT_ETA,
                WANT_FLAG,
                WANT_WORD, /* one of words, stored as its index */
                WANT_DURATION,
                WANT_SIZE,
                WANT_TEXT,
                /* These are no scalars: */
                WANT_SECTION,    /* a map of keys of this table */
                WANT_OPTIONS,    /* a map of options of another program */
                WANT_PARAMETERS, /* the search space */
                WANT_METRICS,    /* a map of metrics, to min or max */
                WANT_LIST,
};

struct key {
    const char *path; /* "schedule.max_t" */
    enum key_type type;
    bool required;
    bool none;             /* may be `none`: stored as 0, NAN for a number */
    bool settable;         /* by `rung resume --set` */
    const char *fallback;  /* the default, as it would be written; NULL: none */
    const char *otherwise; /* the default in words, where there is no fallback */
    double lo, hi;
    const char *const *words;
    size_t offset, size; /* of the field in struct sweepfile; size 0: none */
    const char *sample;  /* what one might write */
    const char *help;    /* a sentence, or two, without the last full stop */
};
extern const struct key keys[KEYS];

/* The key of a path, -1 if there is none. */
int key_find(const char *path);
/* What a key wants, for sentences: "a whole number of at least 1", "min or max". */
void key_wanted(const struct key *k, struct str *out);
/* Reads a scalar's text into the field. ERR_INVAL with a sentence: "slots must be a
 * whole number of at least 1, not '0'". */
int key_read(const struct key *k, const char *text, struct sweepfile *f, struct err *e);
/* The defaults of all keys. */
void keys_default(struct sweepfile *f);

/* The sentence about an unknown key of a section ("" for the top): "unknown key 'sede'
 * (did you mean 'seed'?)", with where it belongs if that is elsewhere. Returns the
 * key that was meant, -1 if that cannot be told. */
int key_unknown(const char *section, const char *name, struct str *out);
/* " (did you mean 'x'?)", or nothing. Returns x or NULL. */
const char *add_suggestion(struct str *out, const char *word, const char *const names[],
                           size_t n);

/* The table of doc/sweep-file.md, in Markdown. */
void keys_markdown(struct str *out);

#endif
