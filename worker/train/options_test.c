#include "worker/train/options.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORDS    12

/* Parameters of a trial: name, value, ..., NULL. */
static const char *parameter(const void *arg, const char *name)
{
    for (const char *const *p = arg; p && *p; p += 2)
        if (strcmp(p[0], name) == 0)
            return p[1];
    return NULL;
}

static int parse(struct options *o, const char *const words[WORDS],
                 const char *const parameters[], struct err *e)
{
    char *argv[WORDS + 2] = {(char[]){"rung-train"}};
    int argc = 1;

    while (argc <= WORDS && words[argc - 1]) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    return options_parse(o, argc, argv, parameter, parameters, e);
}

struct refusal {
    const char *words[WORDS], *parameters[5], *text;
};

static void assert_refused(const struct refusal *r)
{
    struct options o;
    struct err e = {0};

    assert_int_equal(parse(&o, r->words, r->parameters, &e), ERR_INVAL);
    if (!strstr(e.text, r->text))
        fail_msg("'%s' is not in '%s'", r->text, e.text);
}

static void test_wrong_usage_is_named(void **state)
{
    (void)state;
    static const struct refusal vectors[] = {
        {{NULL}, {NULL}, "--data is needed"},
        {{"data"}, {NULL}, "unexpected word 'data'"},
        {{"-d"}, {NULL}, "unexpected word '-d'"},
        {{"--"}, {NULL}, "unexpected word '--'"},
        {{"--data"}, {NULL}, "--data needs a value, DATA"},
        {{"--data", "x", "--bach-size", "1"},
         {NULL},
         "unknown option '--bach-size' (did you mean '--batch-size'?)"},
        {{"--data", "x", "--l3=5"}, {NULL}, "unknown option '--l3' (did you mean '--l"},
        {{"--data", "x", "--abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"},
         {NULL},
         "unknown option '--abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz'"},
        {{"--data", "x", "--quiet=1"}, {NULL}, "--quiet takes no value"},
        {{"--data", "x", "--lr", "fast"}, {NULL}, "--lr: 'fast' is no number"},
        {{"--data", "x", "--lr", "0"},
         {NULL},
         "--lr: 0 is too small: it must be above 0"},
        {{"--data", "x", "--lr=-1e-3"}, {NULL}, "--lr: -1e-3 is too small"},
        {{"--data", "x", "--lr", "nan"}, {NULL}, "--lr: 'nan' is no number"},
        {{"--data", "x", "--momentum", "1"}, {NULL}, "--momentum: 1 is too large"},
        {{"--data", "x", "--val-fraction", "0"},
         {NULL},
         "--val-fraction: 0 is too small"},
        {{"--data", "x", "--batch-size", "0"},
         {NULL},
         "--batch-size: 0 is not from 1 to"},
        {{"--data", "x", "--batch-size", "1.5"}, {NULL}, "'1.5' is no whole number"},
        {{"--data", "x", "--epochs", "1e12"}, {NULL}, "--epochs: 1e12 is not from 1 to"},
        {{"--data", "x", "--hidden", "64,,3"}, {NULL}, "--hidden: '' is no whole number"},
        {{"--data", "x", "--hidden", ""}, {NULL}, "--hidden: '' is no whole number"},
        {{"--data", "x", "--hidden", "64;3"},
         {NULL},
         "--hidden: '64;3' is no whole number"},
        {{"--data", "x", "--hidden", "64,0"}, {NULL}, "--hidden: 0 is not from 1 to"},
        {{"--data", "x", "--seed", "-1"}, {NULL}, "--seed: '-1' is no whole number"},
        {{"--data", "x", "--seed", ""}, {NULL}, "--seed: '' is no whole number"},
        {{"--data", "x", "--seed", "18446744073709551616"},
         {NULL},
         "--seed: '18446744073"},
        {{"--data", "x", "--optimizer", "adm"},
         {NULL},
         "'adm' is unknown (did you mean 'adam'"},
        {{"--data", "x", "--model", "transformer"},
         {NULL},
         "'transformer' is unknown: mlp"},
        {{"--data", "x", "--l2", "8"}, {NULL}, "l2 without l1"},
        {{"--data", "x", "--l1", "8", "--hidden", "8"},
         {NULL},
         "two ways to say the same"},
        {{"--data", "x"}, {"l1", "8", "hidden", "8"}, "two ways to say the same"},
        {{"--data", "x", "--model", "resnet18", "--hidden", "8"},
         {NULL},
         "model resnet18 has no hidden dense layers: leave out hidden, l1 and l2"},
        {{"--data", "x", "--model", "resnet50"}, {"l1", "8"}, "no hidden dense layers"},
        {{"--data", "x"},
         {"batch_size", "many"},
         "parameter batch_size: 'many' is no whole"},
        {{"--data", "x"},
         {"optimizer", "lion"},
         "parameter optimizer: 'lion' is unknown"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++)
        assert_refused(&vectors[i]);
}

static void test_wrong_ways_to_train_are_named(void **state)
{
    (void)state;
    static const struct refusal vectors[] = {
        {{"--data", "x", "--parallel", "pp"}, {NULL}, "--parallel: 'pp' is unknown"},
        {{"--data", "x", "--devices", "2"}, {NULL}, "--devices goes with --parallel dp"},
        {{"--data", "x", "--micro-batches", "0"}, {NULL}, "0 is not from 1 to"},
        {{"--data", "x", "--max-memory", "many"}, {NULL}, "--max-memory: "},
        {{"--data", "x", "--max-memory", "0"}, {NULL}, "--max-memory: "},
        {{"--data", "x", "--nesterov=2"}, {NULL}, "--nesterov: '2' is neither true nor"},
        {{"--data", "x"}, {"nesterov", "yes"}, "parameter nesterov: 'yes' is neither"},
        {{"--data", "x"}, {"flip", "yes"}, "parameter flip: 'yes' is neither"},
        {{"--data", "x", "--crop=-1"}, {NULL}, "--crop: -1 is not from 0"},
        {{"--data", "x"}, {"crop", "0.5"}, "parameter crop: '0.5' is no whole number"},
        {{"--data", "x", "--nesterov", "--momentum", "0"},
         {NULL},
         "nesterov without momentum"},
        {{"--data", "x", "--lr-schedule", "cosin"},
         {NULL},
         "--lr-schedule: 'cosin' is unknown (did you mean 'cosine'?)"},
        {{"--data", "x"},
         {"lr_schedule", "exponential"},
         "'exponential' is unknown: constant, cosine, step or onecycle"},
        {{"--data", "x", "--warmup-steps", "-1"},
         {NULL},
         "--warmup-steps: -1 is not from 0 to"},
        {{"--data", "x", "--warmup-steps", "0.5"}, {NULL}, "'0.5' is no whole number"},
        {{"--data", "x", "--lr-step-epochs", "0"},
         {NULL},
         "--lr-step-epochs: 0 is not from 1 to"},
        {{"--data", "x", "--lr-factor", "0"}, {NULL}, "--lr-factor: 0 is too small"},
        {{"--data", "x", "--lr-factor", "1"}, {NULL}, "--lr-factor: 1 is too large"},
        {{"--data", "x"}, {"lr_final", "-1"}, "parameter lr_final: -1 is too small"},
        {{"--data", "x", "--lr-final", "1"}, {NULL}, "--lr-final: 1 is too large"},
        {{"--data", "x", "--label-smoothing=-0.1"},
         {NULL},
         "--label-smoothing: -0.1 is too small"},
        {{"--data", "x"},
         {"label_smoothing", "1"},
         "parameter label_smoothing: 1 is too large"},
        {{"--data", "x", "--dropout", "1"}, {NULL}, "--dropout: 1 is too large"},
        {{"--data", "x"}, {"dropout", "-0.1"}, "parameter dropout: -0.1 is too small"},
        {{"--data", "x", "--model", "resnet18", "--dropout", "0.1"},
         {NULL},
         "model resnet18 has no hidden dense layers, behind which dropout would be"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++)
        assert_refused(&vectors[i]);
}

static void test_too_many_sizes_are_refused(void **state)
{
    (void)state;
    char list[2 * (HIDDEN_MAX + 1)];
    struct options o;

    for (int i = 0; i <= HIDDEN_MAX; i++)
        memcpy(list + 2 * i, i < HIDDEN_MAX ? "1," : "1", 2);
    assert_int_equal(parse(&o,
                           (const char *const[WORDS]){"--data", "x", "--hidden", list},
                           NULL, NULL),
                     ERR_INVAL);
    list[2 * HIDDEN_MAX - 1] = '\0';
    assert_int_equal(parse(&o,
                           (const char *const[WORDS]){"--data", "x", "--hidden", list},
                           NULL, NULL),
                     0);
    assert_int_equal(o.hidden.n, HIDDEN_MAX);
}

static void test_defaults(void **state)
{
    (void)state;
    struct options o;

    unsetenv("OMP_NUM_THREADS");
    unsetenv("SLURM_CPUS_PER_TASK");
    assert_int_equal(parse(&o, (const char *const[WORDS]){"--data", "x"}, NULL, NULL), 0);
    assert_string_equal(o.data, "x");
    assert_string_equal(o.model, "mlp");
    assert_string_equal(o.optimizer, "sgd");
    assert_int_equal(o.hidden.n, 1);
    assert_int_equal(o.hidden.v[0], 128);
    assert_true(o.lr == 0.01 && o.momentum == 0.9 && o.weight_decay == 0);
    assert_true(o.label_smoothing == 0 && o.dropout == 0);
    assert_string_equal(o.lr_schedule, "constant");
    assert_true(o.lr_factor == 0.1 && o.lr_final == 0);
    assert_true(o.warmup_steps == 0 && o.lr_step_epochs == 0);
    assert_false(o.nesterov);
    assert_true(o.crop == 0 && !o.flip);
    assert_int_equal(o.batch_size, 64);
    assert_int_equal(o.epochs, 0);
    assert_int_equal(o.limit, 0);
    assert_int_equal(o.threads, 1);
    assert_string_equal(o.precision, "fp32");
    assert_true(options_precision(&o) == PRECISION_FP32);
    assert_string_equal(o.parallel, "ddp");
    assert_true(o.devices == 0 && o.micro_batches == 0 && o.max_memory == 0);
    assert_true(isnan(o.val_fraction));
    assert_false(o.seed_given);
    assert_null(o.checkpoint_dir);
    assert_false(o.quiet);
}

static void test_how_it_is_spread(void **state)
{
    (void)state;
    struct options o;

    assert_int_equal(
        parse(&o,
              (const char *const[WORDS]){"--data", "x", "--parallel", "dp", "--devices=3",
                                         "--micro-batches", "4", "--max-memory", "1.5G"},
              NULL, NULL),
        0);
    assert_string_equal(o.parallel, "dp");
    assert_true(o.devices == 3 && o.micro_batches == 4);
    assert_true(o.max_memory == (int64_t)3 << 29);
}

static void test_both_spellings_and_all_numbers(void **state)
{
    (void)state;
    struct options o;

    assert_int_equal(
        parse(&o,
              (const char *const[WORDS]){"--data=a=b", "--batch_size", "32.0",
                                         "--weight-decay=1e-4", "--epochs", "1e2",
                                         "--seed", "18446744073709551615", "--quiet"},
              NULL, NULL),
        0);
    assert_string_equal(o.data, "a=b");
    assert_int_equal(o.batch_size, 32);
    assert_true(o.weight_decay == 1e-4);
    assert_int_equal(o.epochs, 100);
    assert_true(o.seed == UINT64_MAX && o.seed_given);
    assert_true(o.quiet);
}

static void test_switches(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS], *parameters[3];
        bool nesterov;
    } vectors[] = {
        {{"--data", "x", "--nesterov"}, {NULL}, true},
        {{"--data", "x", "--nesterov=true"}, {NULL}, true},
        {{"--data", "x", "--nesterov=false"}, {"nesterov", "true"}, false},
        {{"--data", "x"}, {"nesterov", "true"}, true},
        {{"--data", "x"}, {"nesterov", "0"}, false},
        {{"--data", "x", "--optimizer", "adam", "--momentum", "0"},
         {"nesterov", "1"},
         true}, /* means nothing to adam, as momentum does */
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct options o;
        assert_int_equal(parse(&o, vectors[i].words, vectors[i].parameters, NULL), 0);
        assert_true(o.nesterov == vectors[i].nesterov);
    }
}

static void test_weight_decay_by_the_optimizer(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS];
        double weight_decay;
    } vectors[] = {
        {{"--data", "x", "--optimizer", "adam"}, 0},
        {{"--data", "x", "--optimizer", "adamw"}, 0.01},
        {{"--data", "x", "--optimizer", "adamw", "--weight-decay", "0"}, 0},
        {{"--data", "x", "--weight-decay", "5e-4"}, 5e-4},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct options o;
        assert_int_equal(parse(&o, vectors[i].words, NULL, NULL), 0);
        assert_true(o.weight_decay == vectors[i].weight_decay);
    }
}

static void test_the_command_line_comes_before_parameters(void **state)
{
    (void)state;
    static const char *const parameters[] = {
        "lr", "0.5",     "batch_size", "16",    "l1", "32", "l2",
        "8",  "threads", "7",          "quiet", "1",  NULL};
    struct options o;

    setenv("OMP_NUM_THREADS", "3,2", 1);
    assert_int_equal(parse(&o, (const char *const[WORDS]){"--data", "x", "--lr", "0.1"},
                           parameters, NULL),
                     0);
    assert_true(o.lr == 0.1);
    assert_int_equal(o.batch_size, 16);
    assert_int_equal(o.hidden.n, 2);
    assert_int_equal(o.hidden.v[0], 32);
    assert_int_equal(o.hidden.v[1], 8);
    /* Not for a sweep to tune. */
    assert_int_equal(o.threads, 3);
    assert_false(o.quiet);
    unsetenv("OMP_NUM_THREADS");

    /* Half of the pair from each. */
    assert_int_equal(parse(&o, (const char *const[WORDS]){"--data", "x", "--l1", "5"},
                           parameters, NULL),
                     0);
    assert_int_equal(o.hidden.v[0], 5);
    assert_int_equal(o.hidden.v[1], 8);
    /* The list puts both aside. */
    assert_int_equal(parse(&o, (const char *const[WORDS]){"--data", "x", "--hidden", "5"},
                           parameters, NULL),
                     0);
    assert_int_equal(o.hidden.n, 1);
    assert_int_equal(o.hidden.v[0], 5);
}

static void test_sizes_of_cnn(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS];
        size_t n, sizes[2];
    } vectors[] = {
        {{"--data", "x", "--model", "cnn"}, 2, {120, 84}},
        {{"--data", "x", "--model", "cnn", "--l1", "8"}, 2, {8, 84}},
        {{"--data", "x", "--model", "cnn", "--l2", "8"}, 2, {120, 8}},
        {{"--data", "x", "--model", "cnn", "--hidden", "9"}, 1, {9}},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct options o;
        assert_int_equal(
            parse(&o, vectors[i].words, (const char *const[WORDS]){NULL}, NULL), 0);
        assert_int_equal(o.hidden.n, vectors[i].n);
        for (size_t k = 0; k < o.hidden.n; k++)
            assert_int_equal(o.hidden.v[k], vectors[i].sizes[k]);
    }
}

static void test_threads_by_the_environment(void **state)
{
    (void)state;
    static const struct {
        const char *omp, *slurm;
        int threads;
    } vectors[] = {{"", "4", 4},
                   {"0", "4", 4},
                   {"x", "y", 1},
                   {"99999999999999999999", "2", 2},
                   {"2", "4", 2}};

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct options o;
        setenv("OMP_NUM_THREADS", vectors[i].omp, 1);
        setenv("SLURM_CPUS_PER_TASK", vectors[i].slurm, 1);
        assert_int_equal(parse(&o, (const char *const[WORDS]){"--data", "x"}, NULL, NULL),
                         0);
        assert_int_equal(o.threads, vectors[i].threads);
    }
    unsetenv("OMP_NUM_THREADS");
    unsetenv("SLURM_CPUS_PER_TASK");
}

static void test_help_names_all_options_and_their_defaults(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "--data DATA",          "--hidden N,N,...", "(128)\n",      "--lr R",  "(0.01)\n",
        "--batch-size N",       "(64)\n",           "--momentum R", "(0.9)\n", "--seed N",
        "--checkpoint-dir DIR", "--quiet ",         "(sgd)\n",
    };
    struct options o;
    struct str help = STR_INIT;

    assert_int_equal(parse(&o,
                           (const char *const[WORDS]){"--lr", "0.1", "--help", "junk"},
                           NULL, NULL),
                     0);
    assert_true(o.help);
    options_help(&help);
    for (size_t i = 0; i < COUNT(parts); i++)
        assert_non_null(strstr(help.p, parts[i]));
    for (const char *line = help.p; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    str_free(&help);
}

static void test_settings_are_what_a_checkpoint_keeps(void **state)
{
    (void)state;
    struct setting settings[OPTIONS_SETTINGS];
    struct str text = STR_INIT;
    struct options o;
    int found = 0;

    assert_int_equal(
        parse(&o,
              (const char *const[WORDS]){"--data", "x", "--l1", "9", "--l2", "4",
                                         "--batch-size", "8", "--seed", "1"},
              NULL, NULL),
        0);
    size_t n = options_settings(&o, settings, &text);
    assert_true(n > 0 && n <= OPTIONS_SETTINGS);
    for (size_t i = 0; i < n; i++) {
        const struct setting *s = &settings[i];
        if (strcmp(s->name, "hidden") == 0)
            found += s->type == SETTING_TEXT && strcmp(s->text, "9,4") == 0;
        if (strcmp(s->name, "batch_size") == 0)
            found += s->type == SETTING_INT && s->i == 8;
        if (strcmp(s->name, "lr") == 0)
            found += s->type == SETTING_NUM && s->r == 0.01;
        assert_string_not_equal(s->name, "seed"); /* is in /rng */
    }
    assert_int_equal(found, 3);
    str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_usage_is_named),
        cmocka_unit_test(test_wrong_ways_to_train_are_named),
        cmocka_unit_test(test_too_many_sizes_are_refused),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_how_it_is_spread),
        cmocka_unit_test(test_both_spellings_and_all_numbers),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_weight_decay_by_the_optimizer),
        cmocka_unit_test(test_the_command_line_comes_before_parameters),
        cmocka_unit_test(test_sizes_of_cnn),
        cmocka_unit_test(test_threads_by_the_environment),
        cmocka_unit_test(test_help_names_all_options_and_their_defaults),
        cmocka_unit_test(test_settings_are_what_a_checkpoint_keeps),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
