/* `rung log` and `rung exec`, called as main() calls them. The agent is a door of its own
 * (worker/agent/door.h), behind which the test answers. */
#include "base/clock.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/meter.h"
#include "worker/agent/door.h"
#include "worker/agent/ranks.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const struct cli_command cli_commands[] = {
    {"log", "", "", NULL, log_options, cmd_log},
    {"exec", "", "", NULL, exec_options, cmd_exec},
    {0},
};

static char dir[] = "/tmp/rung-cmd-test-XXXXXX";

struct agent {
    struct door *door;
    struct str heard;
    const char *answer;
};

static void said(void *ctx, uint64_t conn, const char *line, size_t n)
{
    struct agent *a = ctx;
    str_addn(&a->heard, line, n);
    str_addc(&a->heard, '\n');
    door_reply(a->door, conn, a->answer, strlen(a->answer));
}

/* Runs a command in a child, its output into out; its exit status. */
static int run(char **argv, struct agent *a, struct str *out)
{
    int p[2], status, argc = 0;
    char buf[1000];
    struct pollset set = {0};
    ssize_t n = 1;
    while (argv[argc])
        argc++;
    assert_int_equal(pipe(p), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], STDOUT_FILENO);
        dup2(p[1], STDERR_FILENO);
        close(p[0]);
        close(p[1]);
        status = cli_find(argv[0])->run(argc, argv);
        fflush(NULL);
        _exit(status);
    }
    close(p[1]);
    while (n > 0) {
        set.n = 0;
        vec_push(&set, ((struct pollfd){.fd = p[0], .events = POLLIN}));
        if (a->door)
            door_watch(a->door, true, &set);
        poll(set.v, set.n, -1);
        if (a->door)
            door_serve(a->door, &set, said, a);
        if (set.v[0].revents && (n = read(p[0], buf, sizeof(buf))) > 0)
            str_addn(out, buf, (size_t)n);
    }
    close(p[0]);
    vec_free(&set);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define WORDS 6

struct case_ {
    const char *words[WORDS]; /* a NULL ends them */
    const char *answer;       /* NULL: outside a sweep */
    int status;
    const char *out, *heard; /* out: "~TEXT" is part of it */
};

static void check(const struct case_ *c)
{
    struct agent a = {.answer = c->answer, .heard = STR_INIT};
    struct str out = STR_INIT;
    char *argv[WORDS + 1] = {0}, path[64];
    uint64_t ids = 0;
    for (int i = 0; i < WORDS && c->words[i]; i++)
        argv[i] = strdup(c->words[i]);
    snprintf(path, sizeof(path), "%s/agent", dir);
    if (c->answer) {
        assert_int_equal(door_open(&a.door, path, &ids, NULL), 0);
        setenv("RUNG_SOCKET", path, 1);
    } else {
        unsetenv("RUNG_SOCKET");
    }
    int status = run(argv, &a, &out);
    bool same =
        *c->out == '~' ? strstr(out.p, c->out + 1) != NULL : strcmp(out.p, c->out) == 0;
    if (status != c->status || !same || strcmp(a.heard.p, c->heard) != 0)
        fail_msg("%s %s: exit %d, out '%s', heard '%s'", argv[0], argv[1], status, out.p,
                 a.heard.p);
    door_close(a.door);
    for (int i = 0; argv[i]; i++)
        free(argv[i]);
    str_free(&a.heard);
    str_free(&out);
}

static void log_(void **state)
{
    static const struct case_ cases[] = {
        {{"log"}, NULL, 2, "~wants step=N", ""},
        {{"log", "loss=1"}, NULL, 2, "~wants step=N", ""},
        {{"log", "saved=1", "loss=1"}, NULL, 2, "~wants step=N", ""},
        {{"log", "step"}, NULL, 2, "~'step' is not NAME=VALUE", ""},
        {{"log", "=3"}, NULL, 2, "~not NAME=VALUE", ""},
        {{"log", "step=x"}, NULL, 2, "~step=x", ""},
        {{"log", "step=-1"}, NULL, 2, "~step=-1", ""},
        {{"log", "step=1", "step=2"}, NULL, 2, "~twice", ""},
        {{"log", "step=1", "loss=low"}, NULL, 2, "~loss=low", ""},
        {{"log", "--step", "1"}, NULL, 2, "~unknown option", ""},
        {{"log", "--help"}, NULL, 0, "~usage", ""},
        {{"log", "step=3", "loss=0.25", "acc=nan"},
         NULL,
         0,
         "step=3 loss=0.25 acc=nan\n",
         ""},
        {{"log", "saved=3"}, NULL, 0, "", ""},
        {{"log", "step=3", "loss=-inf"},
         "{\"decision\":\"continue\"}\n",
         0,
         "",
         "{\"step\":3,\"metrics\":{\"loss\":\"-Infinity\"}}\n"},
        {{"log", "step=3"},
         "{\"decision\":\"continue\",\"save\":true}\n",
         0,
         "save\n",
         "{\"step\":3,\"metrics\":{}}\n"},
        {{"log", "step=3"},
         "{\"decision\":\"pause\"}\n",
         3,
         "",
         "{\"step\":3,\"metrics\":{}}\n"},
        {{"log", "step=3"},
         "{\"decision\":\"stop\"}\n",
         4,
         "",
         "{\"step\":3,\"metrics\":{}}\n"},
        {{"log", "step=3", "saved=3"},
         "{\"decision\":\"pause\"}\n",
         3,
         "",
         "{\"saved\":3}\n{\"step\":3,\"metrics\":{}}\n"},
        {{"log", "saved=3"}, "{\"decision\":\"pause\"}\n", 0, "", "{\"saved\":3}\n"},
        {{"log", "step=3", "rung=1"},
         "{\"error\":\"no such name\"}\n",
         1,
         "rung log: no such name\n",
         "{\"step\":3,\"metrics\":{\"rung\":1}}\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        check(&cases[i]);
}

static void no_agent(void **state)
{
    struct agent a = {.heard = STR_INIT};
    struct str out = STR_INIT;
    char *argv[] = {strdup("log"), strdup("step=1"), NULL};
    (void)state;
    setenv("RUNG_SOCKET", "/nonexistent/agent", 1);
    assert_int_equal(run(argv, &a, &out), 1);
    assert_non_null(strstr(out.p, "cannot reach the agent at /nonexistent/agent"));
    free(argv[0]);
    free(argv[1]);
    str_free(&out);
}

static void exec_(void **state)
{
    static const struct case_ cases[] = {
        {{"exec"}, NULL, 2, "~which program?", ""},
        {{"exec", "--"}, NULL, 2, "~which program?", ""},
        {{"exec", "--report", "1", "--", "true"}, NULL, 2, "~--report", ""},
        {{"exec", "--report", "99", "--", "true"}, NULL, 2, "~--report", ""},
        {{"exec", "--kill", "-1", "true"}, NULL, 2, "~--kill", ""},
        {{"exec", "--", "/no/such/program"}, NULL, 127, "", ""},
        {{"exec", "/etc/passwd"}, NULL, 126, "", ""},
        {{"exec", "--", "sh", "-c", "echo $0-$1; exit 5", "--help"},
         NULL,
         5,
         "--help-\n",
         ""},
        {{"exec", "echo", "--report", "3"}, NULL, 0, "--report 3\n", ""},
        {{"exec", "sh", "-c", "kill -KILL $$"}, NULL, 137, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        check(&cases[i]);
}

/* To a descriptor, and to where the agent's environment says; the program sees neither.
 */
static void exec_reports(void **state)
{
    struct agent a = {.heard = STR_INIT};
    struct str out = STR_INIT;
    struct shim_report r;
    struct ranks all;
    char number[16], prefix[64];
    int p[2];
    (void)state;
    assert_int_equal(pipe(p), 0);
    snprintf(number, sizeof(number), "%d", p[1]);
    setenv("SLURM_PROCID", "4", 1);
    char *argv[] = {(char *)"exec", (char *)"--report", number, (char *)"sh",
                    (char *)"-c",   (char *)"exit 6",   NULL};
    assert_int_equal(run(argv, &a, &out), 6);
    assert_int_equal(read(p[0], &r, sizeof(r)), sizeof(r));
    assert_int_equal(r.exit_code, 6);
    assert_int_equal(r.rank, 4);

    snprintf(prefix, sizeof(prefix), "%s/.exec", dir);
    setenv(RANKS_ENV, prefix, 1);
    char *again[] = {(char *)"exec", (char *)"sh", (char *)"-c",
                     (char *)"echo ${RUNG_EXEC_REPORT:-none}; exit 7", NULL};
    assert_int_equal(run(again, &a, &out), 7);
    assert_string_equal(out.p, "none\n");
    assert_int_equal(ranks_collect(prefix, &all, NULL), 0);
    assert_int_equal(all.reported, 1);
    assert_int_equal(all.report.exit_code, 7);
    assert_int_equal(all.report.rank, 4);

    setenv(RANKS_ENV, "/nonexistent/x", 1);
    assert_int_equal(run(again, &a, &out), 1);
    unsetenv(RANKS_ENV);
    unsetenv("SLURM_PROCID");
    str_free(&out);
    close(p[0]);
    close(p[1]);
}

static const char *text_at(const char *path)
{
    static char text[100];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    unlink(path);
    return f ? text : NULL;
}

/* The first rank tells which GPUs its step has; the program does not see where. */
static void exec_tells_gpus(void **state)
{
    struct agent a = {.heard = STR_INIT};
    struct str out = STR_INIT;
    char path[64];
    char *argv[] = {(char *)"exec", (char *)"sh", (char *)"-c",
                    (char *)"echo ${RUNG_STEP_GPUS:-none}", NULL};
    (void)state;
    snprintf(path, sizeof(path), "%s/.gpus", dir);
    setenv(METER_STEP_ENV, path, 1);
    assert_int_equal(run(argv, &a, &out), 0); /* it has none */
    assert_string_equal(out.p, "none\n");
    assert_null(text_at(path));
    setenv("SLURM_STEP_GPUS", "2,3", 1);
    assert_int_equal(run(argv, &a, &out), 0);
    assert_string_equal(text_at(path), "2,3");
    setenv("SLURM_PROCID", "1", 1);
    assert_int_equal(run(argv, &a, &out), 0);
    assert_null(text_at(path));
    unsetenv("SLURM_PROCID");
    setenv(METER_STEP_ENV, "/nonexistent/x", 1); /* it runs all the same */
    assert_int_equal(run(argv, &a, &out), 0);
    assert_string_equal(out.p, "none\nnone\nnone\nnone\n");
    unsetenv(METER_STEP_ENV);
    unsetenv("SLURM_STEP_GPUS");
    str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_),
        cmocka_unit_test(no_agent),
        cmocka_unit_test(exec_),
        cmocka_unit_test(exec_reports),
        cmocka_unit_test(exec_tells_gpus),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
