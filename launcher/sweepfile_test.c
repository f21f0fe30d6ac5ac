#include "base/file.h"
#include "base/rng.h"
#include "launcher/sweepfile.h"
#include "launcher/sweepfile_keys.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEAST                                                                            \
    "command: ./train --lr {lr}\n"                                                       \
    "metric: loss\n"                                                                     \
    "space: {lr: 'uniform(0, 1)'}\n"                                                     \
    "search: {trials: 8}\n"                                                              \
    "schedule: {max_t: 9}\n"

static const char *source(const char *path, struct str *out)
{
    const char *top = getenv("top_srcdir");
    str_cut(out, 0);
    str_addf(out, "%s/%s", top ? top : ".", path);
    return out->p;
}

static struct sweepfile *good_at(const char *path, const char *text)
{
    struct sweepfile *f = NULL;
    struct str errors = STR_INIT;
    int rc = sweepfile_parse(path, text, strlen(text), &f, &errors);
    assert_string_equal(errors.p, "");
    assert_int_equal(rc, 0);
    str_free(&errors);
    return f;
}

static struct sweepfile *good(const char *text)
{
    return good_at("runs/f.yaml", text);
}

/* ---- wrong files ---- */

static void expect_mistakes(const char *path)
{
    struct str text = STR_INIT, want = STR_INIT, errors = STR_INIT, other = STR_INIT;
    struct sweepfile *f = NULL;
    const char *name = strrchr(path, '/') + 1;
    str_addf(&other, "%.*s.expect", (int)(strlen(path) - strlen(".yaml")), path);
    assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
    assert_int_equal(file_read(other.p, 1 << 20, &want, NULL), 0);
    assert_true(want.len > 0);
    assert_int_equal(sweepfile_parse(name, text.p, text.len, &f, &errors), ERR_INVAL);
    assert_string_equal(errors.p, want.p);
    assert_null(f);
    str_free(&text);
    str_free(&want);
    str_free(&errors);
    str_free(&other);
}

/* tests/sweepfile/NAME.yaml is wrong as NAME.expect says. */
static void test_wrong_files(void **state)
{
    struct str path = STR_INIT;
    glob_t files;
    (void)state;
    assert_int_equal(glob(source("tests/sweepfile/*.yaml", &path), 0, NULL, &files), 0);
    assert_true(files.gl_pathc >= 100);
    for (size_t i = 0; i < files.gl_pathc; i++)
        expect_mistakes(files.gl_pathv[i]);
    globfree(&files);
    str_free(&path);
}

static void test_good_files(void **state)
{
    struct str path = STR_INIT;
    glob_t files;
    (void)state;
    assert_int_equal(glob(source("tests/sweepfile/good/*.yaml", &path), 0, NULL, &files),
                     0);
    assert_int_equal(glob(source("examples/*.yaml", &path), GLOB_APPEND, NULL, &files),
                     0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct sweepfile *f = NULL;
        struct str errors = STR_INIT;
        int rc = sweepfile_load(files.gl_pathv[i], &f, &errors);
        assert_string_equal(errors.p, "");
        assert_int_equal(rc, 0);
        sweepfile_free(f);
    }
    globfree(&files);
    str_free(&path);
}

static void test_unreadable(void **state)
{
    struct sweepfile *f = NULL;
    struct str errors = STR_INIT, large = STR_INIT;
    (void)state;
    assert_int_equal(sweepfile_load("/no/such.yaml", &f, &errors), ERR_NOENT);
    assert_non_null(strstr(errors.p, "/no/such.yaml"));
    str_cut(&errors, 0);
    assert_true(sweepfile_load("/", &f, &errors) != 0);
    assert_non_null(strstr(errors.p, "/"));
    str_cut(&errors, 0);
    assert_int_equal(sweepfile_load("/dev/zero", &f, &errors), ERR_INVAL);
    assert_string_equal(errors.p,
                        "/dev/zero: larger than 1 MiB, which no sweep file is\n");
    str_cut(&errors, 0);
    while (large.len <= SWEEPFILE_MAX)
        str_add(&large, "# comment\n");
    assert_int_equal(sweepfile_parse("f", large.p, large.len, &f, &errors), ERR_INVAL);
    assert_string_equal(errors.p, "f: larger than 1 MiB, which no sweep file is\n");
    assert_null(f);
    str_free(&errors);
    str_free(&large);
}

static void test_too_many_mistakes(void **state)
{
    struct sweepfile *f = NULL;
    struct str errors = STR_INIT, text = STR_INIT;
    size_t lines = 0;
    (void)state;
    for (int i = 0; i < 20000; i++)
        str_addf(&text, "key_%d: 1\n", i);
    assert_int_equal(sweepfile_parse("f", text.p, text.len, &f, &errors), ERR_INVAL);
    for (const char *p = errors.p; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, 201);
    str_free(&errors);
    str_free(&text);
}

/* ---- what good files become ---- */

static void test_defaults(void **state)
{
    struct sweepfile *f = good(LEAST);
    struct spec fresh;
    (void)state;
    assert_string_equal(f->name, "f");
    assert_string_equal(f->text.p, LEAST);
    assert_string_equal(f->spec.objective[0].name, "loss");
    assert_false(f->spec.objective[0].maximize);
    assert_int_equal(f->slots, 1);
    assert_int_equal(f->slots_per_job, 1);
    assert_false(f->slots_per_job_set);
    assert_int_equal(f->trials_per_job, 0);
    assert_true(f->idle == 120);
    assert_int_equal(f->resources.nodes, 1);
    assert_int_equal(f->resources.tasks, 1);
    assert_int_equal(f->resources.cpus, 1);
    assert_int_equal(f->resources.gpus, 0);
    assert_int_equal(f->resources.memory, 0);
    assert_true(f->resources.time == 0 && f->timeout == 0);
    assert_int_equal(f->steps, STEPS_AUTO);
    assert_int_equal(f->keep_checkpoints, 3);
    assert_int_equal(f->checkpoint_signal, 0);
    assert_false(f->stop.has_metric);
    assert_true(f->stop.time == 0 && f->stop.trials == 0);
    assert_null(f->parse);
    assert_null(f->setup);
    assert_int_equal(f->slurm.n + f->srun.n, 0);
    assert_int_equal(f->controller.n, 1);
    assert_string_equal(f->controller.v[0].name, "mem");
    assert_string_equal(f->controller.v[0].value, "1024M");
    /* the defaults of sched/ and of the table of keys are the same */
    spec_init(&fresh);
    assert_int_equal(f->spec.search, fresh.search);
    assert_int_equal(f->spec.schedule, fresh.schedule);
    assert_int_equal(f->spec.mode, fresh.mode);
    assert_int_equal(f->spec.grace_period, fresh.grace_period);
    assert_int_equal(f->spec.eta.digits, fresh.eta.digits);
    assert_int_equal(f->spec.eta.places, fresh.eta.places);
    assert_int_equal(f->spec.brackets, fresh.brackets);
    assert_int_equal(f->spec.finalists, fresh.finalists);
    assert_int_equal(f->spec.in_place, fresh.in_place);
    assert_int_equal(f->spec.restart, fresh.restart);
    assert_int_equal(f->spec.retry_failures, fresh.retry_failures);
    assert_int_equal(f->spec.oom_param, fresh.oom_param);
    assert_true(f->spec.oom_factor == fresh.oom_factor &&
                f->spec.oom_min == fresh.oom_min);
    sweepfile_free(f);
}

static const char everything[] =
    "name: all.of_it-1\n"
    "command: ./train {l1} {lr}\n"
    "metric: val/acc@1\n"
    "mode: max\n"
    "seed: 9223372036854775000\n"
    "space:\n"
    "  l1: 2 ** randint(2, 9)\n"
    "  lr: loguniform(1e-4, 1e-1)\n"
    "  opt: 'choice(sgd, \"it''s\")'\n"
    "  word: sgd\n"
    "  text: \"fashion-mnist\"\n"
    "  big: true\n"
    "constraints: ['l1 >= 8', lr < 0.05]\n"
    "start:\n"
    "- {l1: 64, lr: 1e-3, opt: sgd, big: false}\n"
    "- {l1: 3.5, opt: \"4\"}\n"
    "search: {method: sobol, trials: 1e3}\n"
    "schedule: {method: asha, mode: stop, grace_period: 2, max_t: 27,\n"
    "           reduction_factor: 2.5, brackets: 2, finalists: 0}\n"
    "slots: 8\n"
    "slots_per_job: 4\n"
    "trials_per_job: 1\n"
    "idle: 90s\n"
    "resources: {nodes: 1, tasks: 2, cpus: 3, gpus: 4, memory: 2G,\n"
    "            time: 4:00:00}\n"
    "timeout: 15m\n"
    "slurm: {partition: gpu, exclusive: true, contiguous: false,\n"
    "        gres: 'gpu:a100:4', our-plugin: \"true\"}\n"
    "srun: {mpi: pmix}\n"
    "controller: {partition: cpu, account: lab, qos: long,\n"
    "             time: 1-00:00:00, memory: 1500000000}\n"
    "setup: |\n"
    "  module load cuda\n"
    "  module load mpi\n"
    "steps: no\n"
    "retry: {failures: 5, oom: {param: l1, factor: 0.25, min: 4}}\n"
    "stop: {time: 2h, trials: 500, metric: 0.99, cpu_hours: 10,\n"
    "       gpu_hours: 20.5, node_hours: 30}\n"
    "keep: {checkpoints: 0}\n"
    "checkpoint_signal: USR1\n";

static void test_everything(void **state)
{
    struct sweepfile *f = good(everything);
    const struct spec *s = &f->spec;
    (void)state;
    assert_string_equal(f->name, "all.of_it-1");
    assert_true(s->objective[0].maximize);
    assert_true(s->seed == 9223372036854775000u);
    assert_int_equal(space_count(s->space), 6);
    assert_int_equal(space_dims(s->space), 3);
    assert_int_equal(s->n_start, 2);
    assert_int_equal(s->start[0][0].kind, VALUE_INT);
    assert_true(s->start[0][1].kind == VALUE_REAL && s->start[0][1].r == 1e-3);
    assert_int_equal(s->start[0][5].kind, VALUE_BOOL);
    assert_int_equal(s->start[1][0].kind, VALUE_REAL);
    assert_int_equal(s->start[1][1].kind, VALUE_ABSENT);
    assert_string_equal(s->start[1][2].s, "4"); /* in quotes: text */
    assert_int_equal(s->search, SEARCH_SOBOL);
    assert_int_equal(s->trials, 1000);
    assert_int_equal(spec_total(s), 1000);
    assert_int_equal(s->mode, MODE_STOP);
    assert_int_equal(s->grace_period, 2);
    assert_int_equal(s->max_t, 27);
    assert_true(eta_value(s->eta) == 2.5);
    assert_int_equal(s->brackets, 2);
    assert_int_equal(s->finalists, 0);
    assert_false(s->in_place);
    sweepfile_free(f);
}

static void test_everything_for_jobs(void **state)
{
    struct sweepfile *f = good(everything);
    const struct spec *s = &f->spec;
    (void)state;
    assert_true(f->slots == 8 && f->slots_per_job == 4 && f->slots_per_job_set);
    assert_true(f->idle == 90 && f->timeout == 900 && f->resources.time == 14400);
    assert_true(f->resources.tasks == 2 && f->resources.cpus == 3 &&
                f->resources.gpus == 4);
    assert_true(f->resources.memory == INT64_C(2) << 30);
    assert_int_equal(f->slurm.n, 4); /* contiguous: false is as if it were not there */
    assert_string_equal(f->slurm.v[0].value, "gpu");
    assert_string_equal(f->slurm.v[1].name, "exclusive");
    assert_null(f->slurm.v[1].value);
    assert_string_equal(f->slurm.v[3].value, "true");
    assert_string_equal(f->srun.v[0].name, "mpi");
    assert_int_equal(f->controller.n, 5);
    assert_string_equal(f->controller.v[3].value, "1-00:00:00");
    assert_string_equal(f->controller.v[4].value, "1431M");
    assert_string_equal(f->setup, "module load cuda\nmodule load mpi\n");
    assert_int_equal(f->steps, STEPS_NO);
    assert_int_equal(s->retry_failures, 5);
    assert_int_equal(s->oom_param, 0);
    assert_true(s->oom_factor == 0.25 && s->oom_min == 4);
    assert_true(f->stop.time == 7200 && f->stop.trials == 500 && f->stop.has_metric);
    assert_true(f->stop.metric == 0.99 && f->stop.gpu_hours == 20.5);
    assert_int_equal(f->keep_checkpoints, 0);
    assert_int_equal(f->checkpoint_signal, SIGUSR1);
    sweepfile_free(f);
}

/* What the keys decide together. */
static void test_derived(void **state)
{
    static const struct {
        const char *command, *more;
        enum schedule_mode mode;
        bool in_place, until;
    } cases[] = {
        {"./train", "", MODE_PROMOTE, true, false},
        {"./train --epochs {until}", "", MODE_PROMOTE, false, true},
        {"./train --epochs {{until}}", "", MODE_PROMOTE, true, false},
        {"./train --epochs $RUNG_UNTIL", "shell: true\n", MODE_PROMOTE, false, true},
        {"./train", "trials_per_job: 1\n", MODE_PROMOTE, false, false},
        {"./train", "trials_per_job: 2\n", MODE_PROMOTE, true, false},
        {"./train", "parse: '(?<step>1) (?<loss>2)'\n", MODE_STOP, true, false},
        {"./train", "parse: '(?<step>1) (?<loss>2)'\nrestart: true\n", MODE_PROMOTE, true,
         false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct str text = STR_INIT;
        str_addf(&text,
                 "command: %s\nmetric: loss\nspace: {lr: 1}\nsearch: {trials: 1}\n"
                 "schedule: {max_t: 3}\n%s",
                 cases[i].command, cases[i].more);
        struct sweepfile *f = good(text.p);
        assert_int_equal(f->spec.mode, cases[i].mode);
        assert_int_equal(f->spec.in_place, cases[i].in_place);
        assert_int_equal(f->command_has_until, cases[i].until);
        sweepfile_free(f);
        str_free(&text);
    }
}

static void test_totals(void **state)
{
    static const struct {
        const char *space, *search;
        int64_t trials, total, planned;
    } cases[] = {
        {"{a: \"grid(1, 2, 3)\", b: \"grid(x, y)\"}", "{method: grid}", 1, 7, 7},
        {"{a: \"grid(1, 2, 3)\", b: \"grid(x, y)\"}", "{method: grid, trials: 5}", 1, 7,
         7},
        {"{a: \"grid(1, 2, 3)\", b: {sample: \"grid(x, y)\", when: a == 1}}",
         "{method: grid}", 1, 7, 5},
        {"{a: \"grid(1, 2, 3)\", b: \"uniform(0, 1)\"}", "{method: grid, trials: 5}", 5,
         16, 16},
        {"{a: \"grid(1, 2, 3)\", b: \"uniform(0, 1)\"}", "{method: grid}", 1, 4, 4},
        {"{a: \"grid(1, 2, 3)\"}", "{method: random, trials: 5}", 5, 5, 5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct str text = STR_INIT;
        str_addf(&text,
                 "command: x\nmetric: loss\nschedule: {max_t: 3}\nspace: %s\nsearch: %s\n"
                 "start: [{a: 1}]\n",
                 cases[i].space, cases[i].search);
        struct sweepfile *f = good(text.p);
        assert_int_equal(f->spec.trials, cases[i].trials);
        assert_int_equal(spec_total(&f->spec), cases[i].total);
        assert_int_equal(spec_planned(&f->spec), cases[i].planned);
        sweepfile_free(f);
        str_free(&text);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *path, *name;
    } cases[] = {
        {"f.yaml", "f"},
        {"/a/b.c/my sweep.yml", "my_sweep"},
        {".yaml", "_yaml"},
        {"a.b.yaml", "a.b"},
        {"-x", "_x"},
        {"noextension", "noextension"},
        {"d/\xc3\xa9.yaml", "__"},
        {"d/", "sweep"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sweepfile *f = good_at(cases[i].path, LEAST);
        assert_string_equal(f->name, cases[i].name);
        sweepfile_free(f);
    }
}

/* ---- the command ---- */

static void check_words(const struct sweepfile *f, const struct command_env *env,
                        const char *want)
{
    char **words = command_words(f, env);
    struct str got = STR_INIT;
    for (size_t i = 0; words[i]; i++) {
        str_addf(&got, "<%s>", words[i]);
        free(words[i]);
    }
    free(words);
    assert_string_equal(got.p, want);
    str_free(&got);
}

/* Values never become words or commands of their own. */
static void test_command(void **state)
{
    static const struct {
        const char *command, *want;
    } cases[] = {
        {"a --x={gone} b", "<a><b>"},
        {"a 'x{gone}y{lr}' b", "<a><b>"},
        {"a {evil} \"{evil}\" x{evil}y",
         "<a><; rm -rf '$x'><; rm -rf '$x'><x; rm -rf '$x'y>"},
        {"a 'b c' \"d 'e\" f\\ g ''", "<a><b c><d 'e><f g><>"},
        {"a {lr} --lr={lr}{l1} {yes}", "<a><0.001><--lr=0.00116><true>"},
        {"a {trial}.{attempt} {seed} {start}-{until}", "<a><12.3><77><4-9>"},
        {"a {checkpoint_dir} {sweep_dir}/x", "<a></c p></s/x>"},
        {"a {{lr}} {{ }} } '{{\"lr\": {lr}}}'", "<a><{lr}><{><}><}><{\"lr\": 0.001}>"},
        {"$HOME/a *.c `b` ; c", "<$HOME/a><*.c><`b`><;><c>"},
        {"a\n  b\t c", "<a><b><c>"},
    };
    struct value values[5] = {{.kind = VALUE_REAL, .r = 0.001},
                              {.kind = VALUE_INT, .i = 16},
                              {.kind = VALUE_ABSENT},
                              {.kind = VALUE_STR, .s = "; rm -rf '$x'"},
                              {.kind = VALUE_BOOL, .b = true}};
    struct command_env env = {12, 3, 77, 4, 9, "/c p", "/s", values};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct str text = STR_INIT;
        str_add(&text, "metric: loss\nsearch: {trials: 1}\nschedule: {max_t: 3}\n"
                       "space:\n  lr: 0.5\n  l1: 1\n  gone: {sample: 1, when: l1 > 1}\n"
                       "  evil: x\n  yes: true\ncommand: |\n  ");
        for (const char *p = cases[i].command; *p; p++)
            str_addf(&text, "%c%s", *p, *p == '\n' ? "  " : "");
        struct sweepfile *f = good(text.p);
        check_words(f, &env, cases[i].want);
        sweepfile_free(f);
        str_free(&text);
    }
}

static void test_shell(void **state)
{
    struct sweepfile *f =
        good("command: |\n  exec ./train --x '{nothing}' $RUNG_PARAM_lr\n"
             "shell: true\nmetric: loss\nspace: {lr: 1}\n"
             "search: {trials: 1}\nschedule: {max_t: 3}\n");
    struct command_env env = {0};
    (void)state;
    check_words(f, &env, "</bin/sh><-c><exec ./train --x '{nothing}' $RUNG_PARAM_lr\n>");
    sweepfile_free(f);
}

/* ---- rung resume --set ---- */

static void test_set(void **state)
{
    static const struct {
        const char *key, *value, *want; /* NULL: good */
    } cases[] = {
        {"slot", "3",
         "'slot' is no key (did you mean 'slots'?); these can: search.trials,"},
        {"metric", "x", "'metric' cannot be changed; these can: search.trials, slots,"},
        {"stop", "3", "'stop' cannot be changed"},
        {"slots", "none", "slots must be a whole number from 1 to 100000, not 'none'"},
        {"slots", "1", "slots_per_job (2) is more than slots (1)"},
        {"search.trials", "1", "start has 2 entries, more than search.trials (1)"},
        {"resources.nodes", "2", "slots_per_job (2) needs resources.nodes 1"},
        {"resources.memory", "many", "resources.memory must be a size like 512M or 2G"},
        {"stop.time", "", "stop.time must be a duration"},
        {"slots", "64", NULL},
        {"search.trials", "200", NULL},
        {"keep.checkpoints", "0", NULL},
        {"resources.memory", "4G", NULL},
        {"resources.time", "none", NULL},
        {"stop.time", "1h", NULL},
        {"stop.metric", "0.5", NULL},
    };
    struct sweepfile *f = good(LEAST "start: [{lr: 1}, {lr: 2}]\nslots: 4\n"
                                     "slots_per_job: 2\nresources: {time: 1h}\n");
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err e = {0};
        int rc = sweepfile_set(f, cases[i].key, cases[i].value, &e);
        assert_int_equal(rc, cases[i].want ? ERR_INVAL : 0);
        if (cases[i].want)
            assert_memory_equal(e.text, cases[i].want, strlen(cases[i].want));
        if (i == 8) { /* nothing has changed so far */
            assert_true(f->slots == 4 && f->spec.trials == 8 && f->resources.nodes == 1);
            assert_true(f->resources.memory == 0 && f->stop.time == 0);
        }
    }
    assert_true(f->slots == 64 && f->spec.trials == 200 && f->keep_checkpoints == 0);
    assert_true(f->resources.memory == INT64_C(4) << 30 && f->resources.time == 0);
    assert_true(f->stop.time == 3600 && f->stop.has_metric && f->stop.metric == 0.5);
    assert_int_equal(sweepfile_set(f, "stop.metric", "none", NULL), 0);
    assert_false(f->stop.has_metric);
    sweepfile_free(f);
}

/* ---- the table of keys ---- */

/* doc/sweep-file.md has the table as it is, and its example is one. */
static void test_manual(void **state)
{
    struct str path = STR_INIT, manual = STR_INIT, table = STR_INIT;
    struct err e;
    (void)state;
    if (file_read(source("doc/sweep-file.md", &path), 1 << 20, &manual, &e) != 0)
        fail_msg("%s", e.text);
    keys_markdown(&table);
    if (!strstr(manual.p, table.p))
        fail_msg("the table of keys in doc/sweep-file.md should be\n%s", table.p);
    char *example = strstr(manual.p, "```yaml\n") + strlen("```yaml\n");
    *strstr(example, "```") = '\0';
    sweepfile_free(good(example));
    str_free(&path);
    str_free(&manual);
    str_free(&table);
}

static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < KEYS; i++) {
        assert_non_null(keys[i].path);
        assert_int_equal(key_find(keys[i].path), i);
        assert_true(keys[i].help[strlen(keys[i].help) - 1] != '.');
        assert_true(!keys[i].settable || keys[i].size > 0);
        const char *dot = strrchr(keys[i].path, '.');
        if (dot) { /* its section is there, and before it */
            char *section = mem_strndup(keys[i].path, (size_t)(dot - keys[i].path));
            int s = key_find(section);
            assert_true(s >= 0 && s < i && keys[s].type == WANT_SECTION);
            free(section);
        }
    }
}

/* ---- nothing that is written crashes it ---- */

#define MUTANTS 2000

static uint32_t number(uint32_t mutant, uint32_t i, uint32_t below)
{
    return (uint32_t)(rng_u64(7, RNG_TEST, mutant, i, 0) % (below ? below : 1));
}

/* Cuts, repeats or changes a piece, or puts one in that means something to YAML. */
static void mutate(struct str *text, uint32_t mutant, uint32_t i)
{
    static const char *const pieces[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ": ",
                                         "- ",
                                         "\n",
                                         "\t",
                                         "\"",
                                         "'",
                                         "(",
                                         ")",
                                         ",",
                                         " #",
                                         "&a ",
                                         "*a",
                                         "|",
                                         "> ",
                                         "%",
                                         "\\",
                                         "\xff",
                                         "\xc2\xa0",
                                         "\r\n",
                                         "? ",
                                         "\n---\n",
                                         "null",
                                         "{{",
                                         "{lr}",
                                         "uniform(0, 1)",
                                         "1e999",
                                         "<<: "};
    struct str s = STR_INIT;
    size_t at = number(mutant, 5 * i, (uint32_t)text->len);
    size_t n = number(mutant, 5 * i + 1, 30);
    if (at + n > text->len)
        n = text->len - at;
    str_addn(&s, text->p, at);
    switch (number(mutant, 5 * i + 2, 4)) {
    case 0: break;
    case 1:
        str_addn(&s, text->p + at, n);
        str_addn(&s, text->p + at, n);
        break;
    case 2: str_addc(&s, (char)number(mutant, 5 * i + 3, 256)); break;
    default:
        str_add(&s, pieces[number(mutant, 5 * i + 4, sizeof(pieces) / sizeof(*pieces))]);
        n = 0;
    }
    str_addn(&s, text->p + at + n, text->len - at - n);
    str_free(text);
    *text = s;
}

static void test_mutants(void **state)
{
    struct str path = STR_INIT;
    glob_t files;
    (void)state;
    assert_int_equal(glob(source("tests/sweepfile/*.yaml", &path), 0, NULL, &files), 0);
    assert_int_equal(
        glob(source("tests/sweepfile/good/*.yaml", &path), GLOB_APPEND, NULL, &files), 0);
    for (uint32_t m = 0; m < MUTANTS; m++) {
        struct str text = STR_INIT, errors = STR_INIT;
        struct sweepfile *f = NULL;
        uint32_t file = number(m, 100, (uint32_t)files.gl_pathc);
        assert_int_equal(file_read(files.gl_pathv[file], 1 << 20, &text, NULL), 0);
        for (uint32_t i = 0; i <= number(m, 101, 4); i++)
            mutate(&text, m, i);
        int rc = sweepfile_parse("f", text.p, text.len, &f, &errors);
        assert_true(rc == 0 ? errors.len == 0 && f
                            : strncmp(errors.p, "f:", 2) == 0 && !f);
        sweepfile_free(f);
        str_free(&text);
        str_free(&errors);
    }
    globfree(&files);
    str_free(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_good_files),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_too_many_mistakes),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_everything_for_jobs),
        cmocka_unit_test(test_derived),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_shell),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_mutants),
    };
    return cmocka_run_group_tests_name("launcher/sweepfile", tests, NULL, NULL);
}
