/* librung against an agent that is played by a thread: it takes the lines of a script
 * one after another, compares and answers. */
#include "worker/lib/rung.h"

#include <limits.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct exchange {
    const char *line;   /* as it must come, without the newline */
    const char *answer; /* as it goes; NULL or behind a '!': closes the connection */
};

struct agent {
    pthread_t thread;
    int fd;
    const struct exchange *script;
    size_t n, failures;
};

static char dir[] = "/tmp/rung-lib-test-XXXXXX";
static char path[64];

/* In pieces, as a stream may come. */
static void answer(int conn, const char *text)
{
    size_t half = strlen(text) / 2;
    send(conn, text, half, MSG_NOSIGNAL);
    send(conn, text + half, strlen(text) - half, MSG_NOSIGNAL);
    send(conn, "\n", 1, MSG_NOSIGNAL);
}

/* Plays the script, over as many connections as it takes; then closes the last. */
static void *play(void *arg)
{
    struct agent *a = arg;
    int conn = -1;
    for (size_t i = 0; i < a->n;) {
        char line[4096];
        size_t n = 0;
        if (conn < 0)
            conn = accept(a->fd, NULL, NULL);
        while (n < sizeof(line) && read(conn, line + n, 1) == 1 && line[n] != '\n')
            n++;
        const struct exchange *x = &a->script[i++];
        if (strlen(x->line) != n || memcmp(x->line, line, n) != 0) {
            fprintf(stderr, "wanted %s\ngot    %.*s\n", x->line, (int)n, line);
            a->failures++;
        }
        if (x->answer)
            answer(conn, x->answer + (*x->answer == '!'));
        if (!x->answer || *x->answer == '!') {
            close(conn);
            conn = -1;
        }
    }
    if (conn >= 0)
        close(conn);
    return NULL;
}

static void agent_start(struct agent *a, const struct exchange *script, size_t n)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    *a = (struct agent){.script = script, .n = n};
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(a->fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(a->fd, 8), 0);
    assert_int_equal(pthread_create(&a->thread, NULL, play, a), 0);
}

static void agent_stop(struct agent *a)
{
    pthread_join(a->thread, NULL);
    close(a->fd);
    unlink(path);
    assert_int_equal(a->failures, 0);
}
#define SCRIPT(s) (s), sizeof(s) / sizeof(*(s))

/* ---- inside a sweep ---- */

static void set_environment(void)
{
    setenv("RUNG_SOCKET", path, 1);
    setenv("RUNG_TRIAL", "12", 1);
    setenv("RUNG_ATTEMPT", "3", 1);
    setenv("RUNG_START", "1", 1);
    setenv("RUNG_UNTIL", "3", 1);
    setenv("RUNG_SEED", "18446744073709551615", 1);
    setenv("RUNG_CHECKPOINT_DIR", "/sweep/trials/000012/a03", 1);
    setenv("RUNG_PARAM_lr", "0.001", 1);
    setenv("RUNG_PARAM_l1", "64", 1);
    setenv("RUNG_PARAM_empty", "", 1);
}

static void wrong_arguments(void **state)
{
    (void)state;
    set_environment();
    struct rung *r = rung_open();
    struct rung_metric nameless = {NULL, 1}, empty = {"", 1};
    assert_int_equal(rung_report(r, -1, 0, NULL), RUNG_ERR_INVAL);
    assert_int_equal(rung_report(r, 1, 1, NULL), RUNG_ERR_INVAL);
    assert_int_equal(rung_report(r, 1, 1, &nameless), RUNG_ERR_INVAL);
    assert_int_equal(rung_report(r, 1, 1, &empty), RUNG_ERR_INVAL);
    assert_int_equal(rung_saved(r, -1), RUNG_ERR_INVAL);
    assert_true(strlen(rung_error(r)) > 0);
    rung_close(r);
    rung_close(NULL);
}

static void nobody_there(void **state)
{
    struct rung_metric m = {"loss", 1};
    char long_path[200];
    (void)state;
    set_environment();
    struct rung *r = rung_open();
    assert_int_equal(rung_active(r), 1);
    assert_non_null(strstr(rung_error(r), path));
    assert_int_equal(rung_report(r, 1, 1, &m), RUNG_ERR_AGENT);
    assert_int_equal(rung_saved(r, 1), RUNG_ERR_AGENT);
    assert_non_null(strstr(rung_error(r), path));
    rung_close(r);

    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    setenv("RUNG_SOCKET", long_path, 1);
    r = rung_open();
    assert_int_equal(rung_report(r, 1, 1, &m), RUNG_ERR_AGENT);
    rung_close(r);
}

static void environment(void **state)
{
    (void)state;
    set_environment();
    struct rung *r = rung_open();
    unsetenv("RUNG_PARAM_lr"); /* the handle has copies */
    setenv("RUNG_PARAM_l1", "1", 1);
    assert_string_equal(rung_param(r, "lr"), "0.001");
    assert_string_equal(rung_param(r, "l1"), "64");
    assert_string_equal(rung_param(r, "empty"), "");
    assert_null(rung_param(r, "l"));
    assert_null(rung_param(r, "l11"));
    assert_null(rung_param(r, ""));
    assert_int_equal(rung_trial(r), 12);
    assert_int_equal(rung_attempt(r), 3);
    assert_int_equal(rung_start(r), 1);
    assert_int_equal(rung_until(r), 3);
    assert_true(rung_seed(r) == ULLONG_MAX);
    assert_string_equal(rung_checkpoint_dir(r), "/sweep/trials/000012/a03");
    rung_close(r);
}

static void answers(void **state)
{
    static const struct exchange script[] = {
        {"{\"step\":1,\"metrics\":{\"val_loss\":0.21}}",
         "{\"decision\":\"continue\",\"until\":9}"},
        {"{\"step\":2,\"metrics\":{}}",
         "{\"save\": true, \"later\": [1, {\"x\": null}], \"decision\": \"continue\"}"},
        {"{\"saved\":2}", "{\"decision\":\"continue\",\"until\":9}"},
        {"{\"step\":9,\"metrics\":{\"a\":\"NaN\",\"b\":\"Infinity\",\"c\":\"-Infinity\"}"
         "}",
         "{\"decision\":\"pause\"}"},
        {"{\"saved\":9}", "{\"decision\":\"pause\"}"},
        {"{\"step\":10,\"metrics\":{\"\\\"\\\\\\u0001\xc3\xa9\":1}}",
         "{\"decision\":\"stop\"}"},
    };
    struct agent a;
    struct rung_metric loss = {"val_loss", 0.21}, odd = {"\"\\\1\xc3\xa9", 1};
    struct rung_metric not_finite[] = {{"a", NAN}, {"b", INFINITY}, {"c", -INFINITY}};
    (void)state;
    set_environment();
    agent_start(&a, SCRIPT(script));
    struct rung *r = rung_open();
    assert_string_equal(rung_error(r), "");
    assert_int_equal(rung_report(r, 1, 1, &loss), RUNG_CONTINUE);
    assert_int_equal(rung_until(r), 9);
    assert_int_equal(rung_report(r, 2, 0, NULL), RUNG_CONTINUE | RUNG_SAVE);
    assert_int_equal(rung_saved(r, 2), 0);
    assert_int_equal(rung_report(r, 9, 3, not_finite), RUNG_PAUSE);
    assert_int_equal(rung_saved(r, 9), 0);
    assert_int_equal(rung_report(r, 10, 1, &odd), RUNG_STOP);
    assert_int_equal(rung_until(r), 9);
    assert_string_equal(rung_error(r), "");
    rung_close(r);
    agent_stop(&a);
}

static void refusals(void **state)
{
    static const struct exchange script[] = {
        {"{\"step\":1,\"metrics\":{\"step\":1}}",
         "{\"error\":\"'step' is no name for a metric, \\\"loss\\\" is\"}"},
        {"{\"step\":1,\"metrics\":{\"loss\":1}}", "{\"decision\":\"continue\"}"},
        {"{\"step\":2,\"metrics\":{\"loss\":1}}", "!{\"decision\":\"perhaps\"}"},
        {"{\"step\":3,\"metrics\":{\"loss\":1}}", "!what?"},
        {"{\"step\":4,\"metrics\":{\"loss\":1}}", "!{}"},
        {"{\"step\":5,\"metrics\":{\"loss\":1}}", "{\"decision\":\"continue\"}"},
    };
    struct agent a;
    struct rung_metric bad = {"step", 1}, m = {"loss", 1};
    (void)state;
    set_environment();
    agent_start(&a, SCRIPT(script));
    struct rung *r = rung_open();
    assert_int_equal(rung_report(r, 1, 1, &bad), RUNG_ERR_REFUSED);
    assert_string_equal(rung_error(r), "'step' is no name for a metric, \"loss\" is");
    assert_int_equal(rung_report(r, 1, 1, &m), RUNG_CONTINUE);
    assert_string_equal(rung_error(r), "");
    /* What cannot be understood costs the connection: answers must stay in step. */
    for (int step = 2; step <= 4; step++)
        assert_int_equal(rung_report(r, step, 1, &m), RUNG_ERR_AGENT);
    assert_int_equal(rung_report(r, 5, 1, &m), RUNG_CONTINUE);
    rung_close(r);
    agent_stop(&a);
}

/* A broken connection is mended once; an agent that is gone is told. */
static void reconnects(void **state)
{
    static const struct exchange script[] = {
        {"{\"step\":1,\"metrics\":{\"loss\":1}}", "{\"decision\":\"continue\"}"},
        {"{\"step\":2,\"metrics\":{\"loss\":1}}", NULL},
        {"{\"step\":2,\"metrics\":{\"loss\":1}}", "{\"decision\":\"pause\"}"},
        {"{\"step\":3,\"metrics\":{\"loss\":1}}", NULL},
        {"{\"step\":3,\"metrics\":{\"loss\":1}}", NULL},
    };
    struct agent a;
    struct rung_metric m = {"loss", 1};
    (void)state;
    set_environment();
    agent_start(&a, SCRIPT(script));
    struct rung *r = rung_open();
    assert_int_equal(rung_report(r, 1, 1, &m), RUNG_CONTINUE);
    assert_int_equal(rung_report(r, 2, 1, &m), RUNG_PAUSE);
    assert_int_equal(rung_report(r, 3, 1, &m), RUNG_ERR_AGENT);
    agent_stop(&a);
    assert_int_equal(rung_report(r, 4, 1, &m), RUNG_ERR_AGENT);
    rung_close(r);
}

/* ---- numbers ---- */

static void numbers(void **state)
{
    static const struct exchange script[] = {
        {"{\"step\":1,\"metrics\":{\"x\":0.1}}", "{\"decision\":\"continue\"}"},
        {"{\"step\":2,\"metrics\":{\"x\":1e-05}}", "{\"decision\":\"continue\"}"},
        {"{\"step\":3,\"metrics\":{\"x\":0.30000000000000004}}",
         "{\"decision\":\"continue\"}"},
        {"{\"step\":4,\"metrics\":{\"x\":-1.7976931348623157e+308}}",
         "{\"decision\":\"continue\"}"},
        {"{\"step\":5,\"metrics\":{\"x\":-0}}", "{\"decision\":\"continue\"}"},
    };
    static const double values[] = {0.1, 1e-5, 0.1 + 0.2, -1.7976931348623157e308, -0.0};
    struct agent a;
    (void)state;
    set_environment();
    setlocale(LC_ALL, "de_DE.UTF-8"); /* a decimal comma, where it is installed */
    agent_start(&a, SCRIPT(script));
    struct rung *r = rung_open();
    for (int i = 0; i < 5; i++) {
        struct rung_metric m = {"x", values[i]};
        assert_int_equal(rung_report(r, i + 1, 1, &m), RUNG_CONTINUE);
    }
    rung_close(r);
    agent_stop(&a);
    setlocale(LC_ALL, "C");
}

/* ---- by hand ---- */

static void by_hand(void **state)
{
    char out[100] = "";
    int before = dup(1), p[2];
    struct rung_metric m[] = {{"val_loss", 0.21}, {"acc", NAN}};
    (void)state;
    set_environment();
    unsetenv("RUNG_SOCKET");
    struct rung *r = rung_open();
    assert_int_equal(rung_active(r), 0);
    assert_int_equal(rung_trial(r), -1);
    assert_int_equal(rung_attempt(r), 0);
    assert_int_equal(rung_start(r), 0);
    assert_true(rung_until(r) == LONG_MAX);
    assert_true(rung_seed(r) == 0);
    assert_string_equal(rung_checkpoint_dir(r), ".");

    assert_int_equal(pipe(p), 0);
    fflush(stdout);
    dup2(p[1], 1);
    int one = rung_report(r, 3, 2, m), two = rung_report(r, 4, 0, NULL);
    int three = rung_saved(r, 4);
    dup2(before, 1);
    close(p[1]);
    assert_true(read(p[0], out, sizeof(out) - 1) > 0);
    assert_string_equal(out, "step=3 val_loss=0.21 acc=nan\nstep=4\n");
    assert_int_equal(one, RUNG_CONTINUE);
    assert_int_equal(two, RUNG_CONTINUE);
    assert_int_equal(three, 0);
    close(p[0]);
    close(before);
    rung_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_arguments), cmocka_unit_test(nobody_there),
        cmocka_unit_test(environment),     cmocka_unit_test(answers),
        cmocka_unit_test(refusals),        cmocka_unit_test(reconnects),
        cmocka_unit_test(numbers),         cmocka_unit_test(by_hand),
    };
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/agent", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
