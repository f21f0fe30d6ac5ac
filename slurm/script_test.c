#include "slurm/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct script plain = {.name = "fashion",
                                    .dir = "/home/ann/fashion-1",
                                    .workdir = "/home/ann",
                                    .rung = "/opt/bin/rung",
                                    .slots = 1,
                                    .nodes = 1,
                                    .tasks = 1,
                                    .cpus = 1};

static void text_of(const struct script *s, struct str *out)
{
    struct err e = {0};

    str_cut(out, 0);
    assert_int_equal(script_text(s, out, &e), 0);
}

/* Is this line in it? */
static void has(const struct str *text, const char *line)
{
    struct str whole = STR_INIT;

    str_addf(&whole, "\n%s\n", line);
    if (!strstr(text->p, whole.p))
        fail_msg("no line '%s' in:\n%s", line, text->p);
    str_free(&whole);
}

static void has_not(const struct str *text, const char *part)
{
    if (strstr(text->p, part))
        fail_msg("'%s' in:\n%s", part, text->p);
}

/* ---- what cannot be written ---- */

static void refused(const struct script *s, const char *part)
{
    struct str text = STR_INIT;
    struct err e = {0};

    assert_int_equal(script_text(s, &text, &e), ERR_INVAL);
    if (!strstr(e.text, part))
        fail_msg("'%s' is not in: %s", part, e.text);
    assert_int_equal(text.len, 0);
    str_free(&text);
}

static void test_refused(void **state)
{
    static const char *const evil[] = {"a\nb", "a\rb", "\x1b[2J", "a\x7f", "\n"};
    struct script_option option = {"comment", NULL};
    char *setting;

    (void)state;
    for (size_t i = 0; i < COUNT(evil); i++) {
        struct script s = plain;

        s.dir = evil[i];
        refused(&s, "sweep's directory has the control character U+00");
        s = plain;
        s.workdir = evil[i];
        refused(&s, "current directory has the control character U+00");
        s = plain;
        s.rung = evil[i];
        refused(&s, "path of rung has the control character U+00");
        s = plain;
        s.name = evil[i];
        refused(&s, "name has the control character U+00");
        s = plain;
        s.options = &option;
        s.n_options = 1;
        option = (struct script_option){"constraint", evil[i]};
        refused(&s, "constraint has the control character U+00");
        option = (struct script_option){evil[i], NULL};
        refused(&s, "a name in slurm has the control character U+00");
        s = plain;
        setting = (char *)evil[i];
        s.settings = &setting;
        s.n_settings = 1;
        refused(&s, "a setting has the control character U+00");
    }
    struct script s = plain;
    s.setup = "echo \x1b[2J";
    refused(&s, "setup has the control character U+001B");
    s = plain;
    s.dir = "/home/a\\b";
    refused(&s, "a backslash");
}

/* ---- what is written ---- */

static void test_whole(void **state)
{
    static const struct script_option options[] = {{"partition", "gpu"},
                                                   {"exclusive", NULL}};
    static char setting[] = "stop.trials=9";
    char *const settings[] = {setting};
    struct script s = plain;
    struct str text = STR_INIT;

    (void)state;
    s.time = 5400;
    s.memory = (int64_t)2 << 30;
    s.gpus = 1;
    s.options = options;
    s.n_options = COUNT(options);
    s.settings = settings;
    s.n_settings = 1;
    s.setup = "module load cuda\nmodule load openmpi\n";
    text_of(&s, &text);
    assert_string_equal(
        text.p,
        "#!/bin/bash\n"
        "# A job of the sweep fashion, with 1 slot: it runs trials one after another.\n"
        "# rung submits arrays of it. Submitted by hand, it joins the sweep while\n"
        "# that is served and has fewer slots than it wants, and else ends at once:\n"
        "#\n"
        "#     sbatch /home/ann/fashion-1/jobs/slots.sh\n"
        "#\n"
        "# The sweep and all of its jobs are ended by\n"
        "#\n"
        "#     rung stop /home/ann/fashion-1\n"
        "#\n"
        "#SBATCH --job-name=fashion\n"
        "#SBATCH --chdir=/home/ann\n"
        "#SBATCH --output=/home/ann/fashion-1/jobs/%j.log\n"
        "#SBATCH --comment=\"rung stop /home/ann/fashion-1\"\n"
        "#SBATCH --no-requeue\n"
        "#SBATCH --nodes=1\n"
        "#SBATCH --ntasks=1\n"
        "#SBATCH --cpus-per-task=1\n"
        "#SBATCH --mem=2048M\n"
        "#SBATCH --time=0-01:30:00\n"
        "#SBATCH --partition=gpu\n"
        "#SBATCH --exclusive\n"
        "#SBATCH --gres=gpu:1\n"
        "\n"
        "set -e\n"
        "rung_ends=$(($(date +%s) + 5400))\n"
        "\n"
        "module load cuda\n"
        "module load openmpi\n"
        "\n"
        "exec /opt/bin/rung agent --executor slurm --slots 1 --ends \"$rung_ends\" "
        "--set stop.trials=9 /home/ann/fashion-1\n");
    str_free(&text);
}

/* What is not said is the site's to say. */
static void test_unsaid(void **state)
{
    struct str text = STR_INIT;

    (void)state;
    text_of(&plain, &text);
    has_not(&text, "--mem");
    has_not(&text, "--time");
    has_not(&text, "--gres");
    has_not(&text, "--ends");
    has_not(&text, "rung_ends");
    str_free(&text);
}

/* Slots multiply tasks, memory and GPUs; CPUs are a task's. */
static void test_slots(void **state)
{
    struct script s = plain;
    struct str text = STR_INIT;

    (void)state;
    s.slots = 4;
    s.tasks = 2;
    s.cpus = 3;
    s.gpus = 2;
    s.memory = ((int64_t)1 << 30) + 1; /* a byte more than a gibibyte */
    text_of(&s, &text);
    has(&text, "#SBATCH --nodes=1");
    has(&text, "#SBATCH --ntasks=8");
    has(&text, "#SBATCH --cpus-per-task=3");
    has(&text, "#SBATCH --gres=gpu:8");
    has(&text, "#SBATCH --mem=4100M");
    has(&text, "exec /opt/bin/rung agent --executor slurm --slots 4 /home/ann/fashion-1");

    s.slots = 100000; /* nothing overflows */
    s.tasks = 1000000;
    s.memory = INT64_MAX;
    text_of(&s, &text);
    has(&text, "#SBATCH --ntasks=100000000000");
    has(&text, "#SBATCH --mem=879609302220800000M");
    str_free(&text);
}

/* Slurm would fill the first node, and leave the last one a task. */
static void test_nodes_get_as_many_tasks_each(void **state)
{
    struct script s = plain;
    struct str text = STR_INIT;

    (void)state;
    s.nodes = 2;
    s.tasks = 4;
    text_of(&s, &text);
    has(&text, "#SBATCH --ntasks=4");
    has(&text, "#SBATCH --ntasks-per-node=2");
    s.tasks = 5;
    text_of(&s, &text);
    has_not(&text, "--ntasks-per-node");
    str_free(&text);
}

static void test_gres(void **state)
{
    static const struct {
        const char *given, *line;
    } cases[] = {
        {"nvme:1", "#SBATCH --gres=gpu:2,nvme:1"},
        {"gpu:h100:2", "#SBATCH --gres=gpu:h100:2"},
        {"nvme,gpu", "#SBATCH --gres=nvme,gpu"},
        {"gpu,nvme", "#SBATCH --gres=gpu,nvme"},
        {"gpufs:1", "#SBATCH --gres=gpu:2,gpufs:1"},
    };
    struct str text = STR_INIT;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct script_option option = {"gres", cases[i].given};
        struct script s = plain;

        s.gpus = 2;
        s.options = &option;
        s.n_options = 1;
        text_of(&s, &text);
        has(&text, cases[i].line);
        assert_null(strstr(strstr(text.p, "--gres") + 1, "--gres"));
    }
    str_free(&text);
}

/* Values that would end a word, begin a comment, a command or a pattern. */
static void test_quoted(void **state)
{
    static const struct script_option options[] = {
        {"constraint", "[a100*2&b]|c"}, {"wckey", "x # y"},       {"licenses", "a\"b\\c"},
        {"reservation", "it's"},        {"mail-user", "$(id)`;"}, {"nodelist", ""},
    };
    struct script s = plain;
    struct str text = STR_INIT;

    (void)state;
    s.dir = "/x y/50%j/$(id)'s";
    s.workdir = "/x y";
    s.rung = "/x y/rung";
    s.options = options;
    s.n_options = COUNT(options);
    text_of(&s, &text);
    has(&text, "#SBATCH --constraint=[a100*2&b]|c");
    has(&text, "#SBATCH --wckey=\"x # y\"");
    has(&text, "#SBATCH --licenses=\"a\\\"b\\\\c\"");
    has(&text, "#SBATCH --reservation=\"it's\"");
    has(&text, "#SBATCH --mail-user=\"$(id)`;\"");
    has(&text, "#SBATCH --nodelist=\"\"");
    has(&text, "#SBATCH --chdir=\"/x y\"");
    has(&text, "#SBATCH --output=\"/x y/50%%j/$(id)'s/jobs/%j.log\"");
    has(&text, "#SBATCH --comment=\"rung stop '/x y/50%j/$(id)'\\\\''s'\"");
    has(&text, "#     sbatch '/x y/50%j/$(id)'\\''s/jobs/slots.sh'");
    has(&text, "exec '/x y/rung' agent --executor slurm --slots 1 "
               "'/x y/50%j/$(id)'\\''s'");
    str_free(&text);
}

static void test_setup(void **state)
{
    struct script s = plain;
    struct str text = STR_INIT;

    (void)state;
    s.setup = "echo one \\"; /* does not take the agent's line with it */
    text_of(&s, &text);
    has(&text, "set -e\n\necho one \\\n\nexec /opt/bin/rung agent --executor slurm "
               "--slots 1 /home/ann/fashion-1");
    s.setup = "";
    text_of(&s, &text);
    has(&text, "set -e\n\nexec /opt/bin/rung agent --executor slurm --slots 1 "
               "/home/ann/fashion-1");
    str_free(&text);
}

/* ---- sbatch ---- */

static void words_are(char **argv, const char *const expect[])
{
    size_t i = 0;

    for (; expect[i]; i++) {
        assert_non_null(argv[i]);
        assert_string_equal(argv[i], expect[i]);
        free(argv[i]);
    }
    assert_null(argv[i]);
    free(argv);
}

static void test_sbatch(void **state)
{
    (void)state;
    words_are(script_sbatch("/a b/100%", 16, NULL),
              (const char *const[]){"sbatch", "--parsable", "--array=0-15",
                                    "--output=/a b/100%%/jobs/%A_%a.log",
                                    "/a b/100%/jobs/slots.sh", NULL});
    words_are(script_sbatch("/a", 1, "n[1-2],n7"),
              (const char *const[]){"sbatch", "--parsable", "--array=0",
                                    "--output=/a/jobs/%A_%a.log", "--exclude=n[1-2],n7",
                                    "/a/jobs/slots.sh", NULL});
    words_are(script_sbatch("/a", 0, NULL),
              (const char *const[]){"sbatch", "--parsable", "/a/jobs/slots.sh", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_unsaid),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_nodes_get_as_many_tasks_each),
        cmocka_unit_test(test_gres),
        cmocka_unit_test(test_quoted),
        cmocka_unit_test(test_setup),
        cmocka_unit_test(test_sbatch),
    };
    return cmocka_run_group_tests_name("slurm/script", tests, NULL, NULL);
}
