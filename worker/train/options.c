#include "worker/train/options.h"

#include "base/num.h"
#include "base/suggest.h"
#include "base/units.h"
#include "worker/train/alike.h"
#include "worker/train/devices.h"
#include "worker/train/exchange.h"
#include "worker/train/model.h"
#include "worker/train/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    TEXT,
    CHOICE, /* one of row.choices */
    WHOLE,  /* int64_t, from least to most */
    BYTES,  /* int64_t, above 0 */
    REAL,   /* double, from least (above it, with above_least) to below most */
    SIZES,
    SEED, /* uint64_t */
    FLAG,
    SWITCH, /* bool: --NAME, --NAME=true, --NAME=false */
};

enum use {
    TUNABLE = 1, /* may come from the sweep's parameters */
    KEPT = 2,    /* goes into checkpoints */
    OWN = 4,     /* each rank may have its own, or it is compared as another row */
};

struct row {
    const char *name;  /* a parameter's; on the command line '-' stands for '_' */
    const char *value; /* what --help calls the value */
    const char *help;
    enum kind kind;
    unsigned use;
    size_t offset;
    double least, most;
    bool above_least;
    const char *const *choices;
};

#define AT(field)   offsetof(struct options, field)
#define COUNT_MAX   2147483647.0
#define OPTION_NAME 32
#define ADAMW_DECAY 0.01 /* PyTorch's default */

/* Sizes of cnn's dense layers where nobody says them. */
enum { CNN_L1 = 120, CNN_L2 = 84 };

static const struct row rows[] = {
    {"data", "DATA", "fashion-mnist, a directory, HDF5 file or synthetic:...", TEXT,
     TUNABLE | KEPT | OWN, AT(data), 0, 0, false, NULL},
    {"model", "KIND", "mlp, cnn, resnet18 or resnet50", CHOICE, TUNABLE, AT(model), 0, 0,
     false, model_kinds},
    {"hidden", "N,N,...", "sizes of hidden dense layers; of cnn 120,84", SIZES,
     TUNABLE | KEPT, AT(hidden), 1, COUNT_MAX, false, NULL},
    {"l1", "N", "the same as --hidden N, or N,M with --l2 M", WHOLE, TUNABLE | OWN,
     AT(l1), 1, COUNT_MAX, false, NULL},
    {"l2", "M", "size of the second hidden dense layer", WHOLE, TUNABLE | OWN, AT(l2), 1,
     COUNT_MAX, false, NULL},
    {"lr", "R", "learning rate", REAL, TUNABLE | KEPT, AT(lr), 0, INFINITY, true, NULL},
    {"batch_size", "N", "samples in an optimiser step, of all ranks", WHOLE,
     TUNABLE | KEPT, AT(batch_size), 1, COUNT_MAX, false, NULL},
    {"optimizer", "KIND", "sgd, adam or adamw", CHOICE, TUNABLE | KEPT, AT(optimizer), 0,
     0, false, optimizer_kinds},
    {"momentum", "R", "of sgd", REAL, TUNABLE | KEPT, AT(momentum), 0, 1, false, NULL},
    {"nesterov", NULL, "the momentum of sgd is Nesterov's (or =false)", SWITCH,
     TUNABLE | KEPT, AT(nesterov), 0, 0, false, NULL},
    {"weight_decay", "R", "of the weights: L2, decoupled in adamw (0; adamw: 0.01)", REAL,
     TUNABLE | KEPT, AT(weight_decay), 0, INFINITY, false, NULL},
    {"label_smoothing", "R", "share of a label that all classes get, in training", REAL,
     TUNABLE | KEPT, AT(label_smoothing), 0, 1, false, NULL},
    {"dropout", "R", "share that training drops of hidden dense layers", REAL,
     TUNABLE | KEPT, AT(dropout), 0, 1, false, NULL},
    {"crop", "N", "pad images by N, crop at random, in training alone (0)", WHOLE,
     TUNABLE | KEPT, AT(crop), 0, COUNT_MAX, false, NULL},
    {"flip", NULL, "mirror images at random, one in two (or =false)", SWITCH,
     TUNABLE | KEPT, AT(flip), 0, 0, false, NULL},
    {"lr_schedule", "KIND", "constant, cosine, step or onecycle", CHOICE, TUNABLE | KEPT,
     AT(lr_schedule), 0, 0, false, schedule_kinds},
    {"warmup_steps", "N", "optimiser steps of rising lr (0; onecycle: 30 %)", WHOLE,
     TUNABLE | KEPT, AT(warmup_steps), 0, COUNT_MAX, false, NULL},
    {"lr_step_epochs", "N", "of step: epochs from drop to drop (a third of all)", WHOLE,
     TUNABLE | KEPT, AT(lr_step_epochs), 1, COUNT_MAX, false, NULL},
    {"lr_factor", "R", "of step: what a drop leaves of lr", REAL, TUNABLE | KEPT,
     AT(lr_factor), 0, 1, true, NULL},
    {"lr_final", "R", "of cosine, onecycle: share of lr at the end", REAL, TUNABLE | KEPT,
     AT(lr_final), 0, 1, false, NULL},
    {"epochs", "N", "train so many in all (10; inside a sweep: until told)", WHOLE,
     TUNABLE, AT(epochs), 1, COUNT_MAX, false, NULL},
    {"limit", "N", "use N samples to train and N to validate, not all", WHOLE,
     TUNABLE | KEPT, AT(limit), 1, COUNT_MAX, false, NULL},
    {"val_fraction", "R", "share that validates where there is no test part (0.1)", REAL,
     TUNABLE | KEPT, AT(val_fraction), 0, 1, true, NULL},
    {"seed", "N", "of the start and of the order of samples", SEED, 0, AT(seed), 0, 0,
     false, NULL},
    {"device", "KIND", "auto (a GPU if there is one), cpu or cuda", CHOICE, 0, AT(device),
     0, 0, false, device_kinds},
    {"precision", "KIND", "fp32; where the device has it tf32, bf16 or fp16", CHOICE,
     TUNABLE | KEPT, AT(precision), 0, 0, false, precision_kinds},
    {"threads", "N", "OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else 1", WHOLE, OWN,
     AT(threads), 1, 4096, false, NULL},
    {"parallel", "KIND", "of ranks ddp or mp; dp: of devices in one process", CHOICE, 0,
     AT(parallel), 0, 0, false, parallel_kinds},
    {"devices", "N", "of dp (all GPUs, or CPUs with --threads each)", WHOLE, 0,
     AT(devices), 1, 4096, false, NULL},
    {"exchange", "KIND", "of GPUs: auto (NCCL if it can be), host or nccl", CHOICE, 0,
     AT(exchange), 0, 0, false, exchange_kinds},
    {"deterministic", NULL, "the same bits again, of sums by NCCL, too", FLAG, 0,
     AT(deterministic), 0, 0, false, NULL},
    {"micro_batches", "N", "take batches in N parts (1; mp: 4 a rank)", WHOLE, 0,
     AT(micro_batches), 1, COUNT_MAX, false, NULL},
    {"max_memory", "SIZE", "cut batches so that no process, or GPU, has more", BYTES, OWN,
     AT(max_memory), 0, 0, false, NULL},
    {"checkpoint_dir", "DIR", "save there, and go on from what is there", TEXT, OWN,
     AT(checkpoint_dir), 0, 0, false, NULL},
    {"quiet", NULL, "print errors only", FLAG, OWN, AT(quiet), 0, 0, false, NULL},
    {"help", NULL, "print this", FLAG, OWN, AT(help), 0, 0, false, NULL},
    {"version", NULL, "print the version", FLAG, OWN, AT(version), 0, 0, false, NULL},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

const char *const parallel_kinds[] = {"ddp", "dp", "mp", NULL};

const char *const precision_kinds[] = {
    [PRECISION_FP32] = "fp32",
    [PRECISION_TF32] = "tf32",
    [PRECISION_BF16] = "bf16",
    [PRECISION_FP16] = "fp16",
    NULL,
};

enum device_precision options_precision(const struct options *o)
{
    int p = 0;

    while (strcmp(precision_kinds[p], o->precision) != 0)
        p++;
    return (enum device_precision)p;
}

static void set_defaults(struct options *o)
{
    *o = (struct options){
        .model = "mlp",
        .hidden = {.v = {128}, .n = 1},
        .lr = 0.01,
        .batch_size = 64,
        .optimizer = "sgd",
        .momentum = 0.9,
        .weight_decay = NAN,
        .lr_schedule = "constant",
        .device = "auto",
        .precision = "fp32",
        .lr_factor = 0.1,
        .val_fraction = NAN,
        .parallel = "ddp",
        .exchange = "auto",
    };
}

/* ---- values ---- */

static int set_choice(const struct row *row, const char **field, const char *text,
                      struct err *e)
{
    size_t n = 0;

    for (; row->choices[n]; n++)
        if (strcmp(row->choices[n], text) == 0) {
            *field = text;
            return 0;
        }
    const char *near = suggest(text, row->choices, n);
    if (near)
        return err_set(e, ERR_INVAL, "'%s' is unknown (did you mean '%s'?)", text, near);
    return err_set(e, ERR_INVAL, "'%s' is unknown: %s", text, row->help);
}

/* Takes 64, and 64.0 or 1e3 as well: a sweep's arithmetic may give them. */
static int parse_whole(const struct row *row, const char *text, size_t n, int64_t *v,
                       struct err *e)
{
    double real;

    if (num_parse(text, n, &real) < 0 || real != floor(real))
        return err_set(e, ERR_INVAL, "'%.*s' is no whole number", (int)n, text);
    if (real < row->least || real > row->most)
        return err_set(e, ERR_INVAL, "%.*s is not from %.0f to %.0f", (int)n, text,
                       row->least, row->most);
    *v = (int64_t)real;
    return 0;
}

static int set_real(const struct row *row, double *field, const char *text, struct err *e)
{
    double v;

    if (num_parse(text, strlen(text), &v) < 0)
        return err_set(e, ERR_INVAL, "'%s' is no number", text);
    if (v < row->least || (row->above_least && v == row->least))
        return err_set(e, ERR_INVAL, "%s is too small: it must be %s %g", text,
                       row->above_least ? "above" : "at least", row->least);
    if (v >= row->most)
        return err_set(e, ERR_INVAL, "%s is too large: it must be below %g", text,
                       row->most);
    *field = v;
    return 0;
}

static int set_sizes(const struct row *row, struct sizes *field, const char *text,
                     struct err *e)
{
    struct sizes sizes = {.n = 0};

    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        int64_t v = 0;
        if (sizes.n == HIDDEN_MAX)
            return err_set(e, ERR_INVAL, "more than %d sizes", HIDDEN_MAX);
        int rc = parse_whole(row, p, n, &v, e);
        if (rc < 0)
            return rc;
        sizes.v[sizes.n++] = (size_t)v;
        p += n;
        if (*p == '\0')
            break;
    }
    *field = sizes;
    return 0;
}

static int set_seed(uint64_t *field, const char *text, struct err *e)
{
    uint64_t v = 0;

    for (const char *p = text; *p || p == text; p++)
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return err_set(e, ERR_INVAL, "'%s' is no whole number from 0 to %" PRIu64,
                           text, UINT64_MAX);
    *field = v;
    return 0;
}

static int set_switch(bool *field, const char *text, struct err *e)
{
    bool yes = !text || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;

    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return err_set(e, ERR_INVAL, "'%s' is neither true nor false", text);
    *field = yes;
    return 0;
}

static int set(struct options *o, const struct row *row, const char *text, struct err *e)
{
    void *field = (char *)o + row->offset;

    switch (row->kind) {
    case TEXT: *(const char **)field = text; return 0;
    case CHOICE: return set_choice(row, field, text, e);
    case WHOLE: return parse_whole(row, text, strlen(text), field, e);
    case BYTES: return size_parse(text, field, e) < 0 ? ERR_INVAL : 0;
    case REAL: return set_real(row, field, text, e);
    case SIZES: return set_sizes(row, field, text, e);
    case SEED: return set_seed(field, text, e);
    case FLAG: *(bool *)field = true; return 0;
    case SWITCH: return set_switch(field, text, e);
    }
    return 0;
}

/* ---- sources of values ---- */

/* Turns one of the two spellings of a name into the other. */
static const char *spell(char out[OPTION_NAME], const char *name, char from, char to)
{
    snprintf(out, OPTION_NAME, "%s", name);
    for (char *p = out; *p; p++)
        if (*p == from)
            *p = to;
    return out;
}

static const char *option_name(char out[OPTION_NAME], const char *name)
{
    return spell(out, name, '_', '-');
}

/* The row of a word "--NAME" or "--NAME=VALUE"; -1 if there is none. */
static int find_row(const char *word, struct err *e)
{
    const char *names[ROWS];
    char name[OPTION_NAME], shown[OPTION_NAME];
    int length = (int)strcspn(word + 2, "=");

    spell(name, word + 2, '-', '_');
    if (length < OPTION_NAME)
        name[length] = '\0';
    for (size_t i = 0; i < ROWS; i++) {
        names[i] = rows[i].name;
        if (length < OPTION_NAME && strcmp(names[i], name) == 0)
            return (int)i;
    }
    const char *near = suggest(name, names, ROWS);
    err_set(e, ERR_INVAL, "unknown option '--%.*s'%s%s%s", length, word + 2,
            near ? " (did you mean '--" : "", near ? option_name(shown, near) : "",
            near ? "'?)" : "");
    return -1;
}

/* One option at argv[*i], its value perhaps in the next word. */
static int take_option(struct options *o, char *const argv[], int *i, bool given[],
                       struct err *e)
{
    const char *word = argv[*i], *equals = strchr(word, '='), *value = NULL;
    char name[OPTION_NAME];

    if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
        return err_set(e, ERR_INVAL, "unexpected word '%s'", word);
    int k = find_row(word, e);
    if (k < 0)
        return ERR_INVAL;
    const struct row *row = &rows[k];
    option_name(name, row->name);
    if (row->kind == FLAG && equals)
        return err_set(e, ERR_INVAL, "--%s takes no value", name);
    if (row->kind == SWITCH && equals)
        value = equals + 1;
    if (row->kind != FLAG && row->kind != SWITCH) {
        value = equals ? equals + 1 : argv[*i + 1];
        if (!value)
            return err_set(e, ERR_INVAL, "--%s needs a value, %s", name, row->value);
        if (!equals)
            ++*i;
    }
    given[k] = true;
    int rc = set(o, row, value, e);
    if (rc < 0)
        err_prefix(e, "--%s", name);
    return rc;
}

static bool *given_at(bool given[], size_t offset)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].offset == offset)
            return &given[i];
    return NULL;
}

static int take_parameters(struct options *o, options_lookup *lookup, const void *arg,
                           bool given[], struct err *e)
{
    bool *hidden = given_at(given, AT(hidden));
    bool *l1 = given_at(given, AT(l1)), *l2 = given_at(given, AT(l2));
    /* The command line's hidden layers put the parameters' aside. */
    bool by_list = *hidden, by_size = *l1 || *l2;

    for (size_t i = 0; lookup && i < ROWS; i++) {
        bool size = &given[i] == l1 || &given[i] == l2;
        if (given[i] || !(rows[i].use & TUNABLE) || (by_list && size) ||
            (by_size && &given[i] == hidden))
            continue;
        const char *value = lookup(arg, rows[i].name);
        if (!value)
            continue;
        given[i] = true;
        int rc = set(o, &rows[i], value, e);
        if (rc < 0) {
            err_prefix(e, "parameter %s", rows[i].name);
            return rc;
        }
    }
    return 0;
}

/* The first number of OMP_NUM_THREADS, which may be a list, and the like. */
static int64_t default_threads(void)
{
    static const char *const variables[] = {"OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"};

    for (size_t i = 0; i < 2; i++) {
        const char *text = getenv(variables[i]);
        int64_t n;
        if (text && num_parse_int(text, strspn(text, "0123456789"), &n) == 0 && n >= 1 &&
            n <= 4096)
            return n;
    }
    return 1;
}

static int finish(struct options *o, bool given[], struct err *e)
{
    if (!o->data)
        return err_set(e, ERR_INVAL,
                       "--data is needed: fashion-mnist, a directory, an HDF5 file, or "
                       "synthetic:SHAPE");
    if (*given_at(given, AT(hidden)) && (o->l1 || o->l2))
        return err_set(e, ERR_INVAL,
                       "hidden and l1, l2 are two ways to say the same: give one");
    if (!model_has_hidden(o->model)) {
        if (*given_at(given, AT(hidden)) || o->l1 || o->l2)
            return err_set(e, ERR_INVAL,
                           "model %s has no hidden dense layers: leave out hidden, l1 "
                           "and l2",
                           o->model);
        if (o->dropout > 0)
            return err_set(e, ERR_INVAL,
                           "model %s has no hidden dense layers, behind which dropout "
                           "would be: leave it out",
                           o->model);
        o->hidden.n = 0;
    }
    if (strcmp(o->model, "cnn") == 0 && !*given_at(given, AT(hidden)))
        o->hidden = (struct sizes){
            .v = {(size_t)(o->l1 ? o->l1 : CNN_L1), (size_t)(o->l2 ? o->l2 : CNN_L2)},
            .n = 2};
    else if (o->l2 && !o->l1)
        return err_set(e, ERR_INVAL, "l2 without l1: the first hidden layer has no size");
    else if (o->l1)
        o->hidden =
            (struct sizes){.v = {(size_t)o->l1, (size_t)o->l2}, .n = o->l2 ? 2 : 1};
    if (isnan(o->weight_decay))
        o->weight_decay = strcmp(o->optimizer, "adamw") == 0 ? ADAMW_DECAY : 0;
    if (o->nesterov && strcmp(o->optimizer, "sgd") == 0 && o->momentum == 0)
        return err_set(e, ERR_INVAL,
                       "nesterov without momentum: it is a kind of momentum");
    if (o->devices && strcmp(o->parallel, "dp") != 0)
        return err_set(e, ERR_INVAL, "--devices goes with --parallel dp alone");
    o->seed_given = *given_at(given, AT(seed));
    if (!o->threads)
        o->threads = default_threads();
    return 0;
}

int options_parse(struct options *o, int argc, char *const argv[], options_lookup *lookup,
                  const void *arg, struct err *e)
{
    bool given[ROWS] = {false};

    set_defaults(o);
    for (int i = 1; i < argc; i++) {
        int rc = take_option(o, argv, &i, given, e);
        if (rc < 0)
            return rc;
        if (o->help || o->version)
            return 0;
    }
    int rc = take_parameters(o, lookup, arg, given, e);
    return rc < 0 ? rc : finish(o, given, e);
}

/* ---- what the options are, for people and for checkpoints ---- */

static void sizes_text(const struct sizes *s, struct str *out)
{
    for (size_t i = 0; i < s->n; i++)
        str_addf(out, "%s%zu", i ? "," : "", s->v[i]);
}

/* " (0.01)", or nothing for a default that is not a value. */
static void add_default(const struct row *row, const struct options *defaults,
                        struct str *out)
{
    const void *field = (const char *)defaults + row->offset;
    char number[NUM_MAX];

    if (row->kind == CHOICE)
        str_addf(out, " (%s)", *(const char *const *)field);
    if (row->kind == WHOLE && *(const int64_t *)field)
        str_addf(out, " (%" PRId64 ")", *(const int64_t *)field);
    if (row->kind == REAL && !isnan(*(const double *)field)) {
        num_format_short(number, *(const double *)field, 6);
        str_addf(out, " (%s)", number);
    }
    if (row->kind == SIZES) {
        str_add(out, " (");
        sizes_text(field, out);
        str_addc(out, ')');
    }
    if (row->kind == SEED)
        str_add(out, " (0)");
}

void options_help(struct str *out)
{
    struct options defaults;

    set_defaults(&defaults);
    str_add(
        out,
        "usage: rung-train --data DATA [OPTION...]\n\n"
        "Trains a classifier and reports each epoch. DATA is fashion-mnist (Debian's\n"
        "dataset-fashion-mnist), a directory that holds MNIST's idx files (also .gz) or\n"
        "the binary ones of CIFAR-10 (data_batch_1.bin) or CIFAR-100 (train.bin), or an\n"
        "HDF5 file with X [samples]... and y [samples]. Inside a sweep of rung it does "
        "as\n"
        "it is told, and what is not given here comes from the trial's parameters of "
        "the\n"
        "same name (batch_size for --batch-size).\n\n");
    for (size_t i = 0; i < ROWS; i++) {
        char option[64], name[OPTION_NAME];
        snprintf(option, sizeof(option), "--%s%s%s", option_name(name, rows[i].name),
                 rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
        str_addf(out, "  %-22s %s", option, rows[i].help);
        add_default(&rows[i], &defaults, out);
        str_addc(out, '\n');
    }
    str_add(out, "\nA schedule says which share of --lr each optimiser step takes. Those "
                 "of cosine,\n"
                 "onecycle and step (without --lr-step-epochs) go over the whole "
                 "training, that is\n"
                 "--epochs: inside a sweep say its max_t there, not {until}. Reported "
                 "loss is what\n"
                 "is minimised, with --label-smoothing; val_loss is without.\n");
    str_add(out, "\nExit status: 0 done or told to end, 1 failed, 2 wrong usage.\n");
}

static void add_value(const struct row *row, const void *field, struct str *out)
{
    int64_t whole = row->kind == WHOLE ? *(const int64_t *)field : 0;
    double real = row->kind == REAL ? *(const double *)field : 0;
    char number[NUM_MAX];

    if ((row->kind == WHOLE && whole < row->least) || isnan(real)) {
        str_add(out, "not said");
        return;
    }
    switch (row->kind) {
    case TEXT:
    case CHOICE: str_add(out, *(const char *const *)field); return;
    case WHOLE: str_addf(out, "%" PRId64, whole); return;
    case BYTES: str_addf(out, "%" PRId64, *(const int64_t *)field); return;
    case REAL:
        num_format(number, real);
        str_add(out, number);
        return;
    case SIZES: sizes_text(field, out); return;
    case SEED: str_addf(out, "%" PRIu64, *(const uint64_t *)field); return;
    case FLAG:
    case SWITCH: str_add(out, *(const bool *)field ? "true" : "false"); return;
    }
}

void options_alike(const struct options *o, struct str *out)
{
    struct str value = STR_INIT, option = STR_INIT;
    char name[OPTION_NAME];

    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].use & OWN)
            continue;
        str_cut(&value, 0);
        add_value(&rows[i], (const char *)o + rows[i].offset, &value);
        str_cut(&option, 0);
        str_addf(&option, "--%s", option_name(name, rows[i].name));
        alike_add(out, option.p, value.p);
    }
    str_free(&option);
    str_free(&value);
}

size_t options_settings(const struct options *o, struct setting settings[],
                        struct str *text)
{
    size_t n = 0;

    sizes_text(&o->hidden, text);
    for (size_t i = 0; i < ROWS; i++) {
        const void *field = (const char *)o + rows[i].offset;
        struct setting s = {.name = rows[i].name};
        if (!(rows[i].use & KEPT))
            continue;
        if (rows[i].kind == WHOLE) {
            s.type = SETTING_INT;
            s.i = *(const int64_t *)field;
        } else if (rows[i].kind == SWITCH) {
            s.type = SETTING_INT;
            s.i = *(const bool *)field;
        } else if (rows[i].kind == REAL) {
            s.type = SETTING_NUM;
            s.r = *(const double *)field;
        } else {
            s.type = SETTING_TEXT;
            s.text = rows[i].kind == SIZES ? text->p : *(const char *const *)field;
        }
        settings[n++] = s;
    }
    return n;
}
