/* rung-train inside a sweep: an agent played here takes its lines, compares and answers;
 * what it leaves behind is looked at. Run from the build directory. */
#include "base/file.h"
#include "base/mem.h"
#include "store/tensors.h"
#include "worker/train/checkpoint.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define LINES_MAX  16
#define WORDS_MAX  16
#define PATIENCE_S 120

static char dir[] = "/tmp/rung-train-test-XXXXXX";

static char *below(const char *name)
{
    return path_join(dir, name);
}

/* ---- data: two kinds of 2x2 images that are easy to tell apart ---- */

static void put_file(const char *name, const void *head, size_t n_head, const char *body,
                     size_t n)
{
    char *path = below(name), *bytes = mem_alloc(n_head + n);

    memcpy(bytes, head, n_head);
    memcpy(bytes + n_head, body, n);
    assert_int_equal(file_write(path, bytes, n_head + n, 0666, NULL), 0);
    free(bytes);
    free(path);
}

static int setup(void **state)
{
    enum { N = 100 };
    char images[4 * N], labels[N];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    for (int i = 0; i < N; i++) {
        labels[i] = (char)(i % 2);
        for (int k = 0; k < 4; k++)
            images[4 * i + k] = (char)((k < 2) == (i % 2) ? 200 + i % 50 : i % 40);
    }
    put_file("train-images-idx3-ubyte", "\0\0\x08\x03\0\0\0\x64\0\0\0\2\0\0\0\2", 16,
             images, sizeof(images));
    put_file("train-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x64", 8, labels,
             sizeof(labels));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return dir_remove(dir, NULL);
}

/* ---- a run ---- */

/* What the agent expects and answers. */
struct exchange {
    const char *line;   /* how it must begin */
    const char *answer; /* NULL: the agent is gone */
};

struct run {
    const char *words[WORDS_MAX]; /* of the command, behind --data */
    const char *env[WORDS_MAX];   /* NAME=VALUE */
    struct exchange script[LINES_MAX];
    const char *checkpoints; /* a name in dir */
    int status;
    const char *says; /* on stderr */
};

/* In the child: becomes rung-train. */
static void become(const struct run *r)
{
    const char *build = getenv("top_builddir");
    char *program = path_join(build ? build : ".", "rung-train");
    char *argv[WORDS_MAX + 4] = {program, (char[]){"--data"}, dir};
    char *errors = below("stderr"), *output = below("stdout");
    size_t n = 3;

    for (size_t i = 0; r->words[i]; i++)
        argv[n++] = (char *)(uintptr_t)r->words[i];
    for (size_t i = 0; r->env[i]; i++)
        putenv((char *)(uintptr_t)r->env[i]);
    setenv("RUNG_SOCKET", below("agent"), 1);
    setenv("RUNG_CHECKPOINT_DIR", below(r->checkpoints), 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    if (freopen(output, "w", stdout) && freopen(errors, "w", stderr))
        execv(program, argv);
    fprintf(stderr, "%s: %s\n", program, strerror(errno));
    _exit(127);
}

/* The next line, without its newline; false when the connection ends. */
static bool read_line(int conn, char *line, size_t size)
{
    size_t n = 0;

    while (n + 1 < size && read(conn, line + n, 1) == 1 && line[n] != '\n')
        n++;
    line[n] = '\0';
    return n > 0;
}

static void converse(int conn, const struct run *r)
{
    char line[4096];
    size_t i = 0;

    for (; r->script[i].line; i++) {
        if (!read_line(conn, line, sizeof(line)))
            fail_msg("the program ended where '%s' was due", r->script[i].line);
        if (strncmp(line, r->script[i].line, strlen(r->script[i].line)) != 0)
            fail_msg("'%s' where '%s' was due", line, r->script[i].line);
        if (!r->script[i].answer)
            return;
        dprintf(conn, "%s\n", r->script[i].answer);
    }
    if (read_line(conn, line, sizeof(line)))
        fail_msg("'%s' where the end was due", line);
}

static int agent_listen(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* What the program said on stderr. */
static void read_errors(struct str *said)
{
    char *path = below("stderr");

    assert_int_equal(file_read(path, 1 << 20, said, NULL), 0);
    free(path);
}

static void check_end(const struct run *r, int status)
{
    struct str said = STR_INIT;

    read_errors(&said);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != r->status)
        fail_msg("wait status %#x, not exit status %d: %s", (unsigned)status, r->status,
                 said.p);
    if (r->says && !strstr(said.p, r->says))
        fail_msg("'%s' is not in '%s'", r->says, said.p);
    str_free(&said);
}

static void run(const struct run *r)
{
    char *path = below("agent");
    int listening = agent_listen(path), status;
    struct pollfd p = {listening, POLLIN, 0};
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_S); /* outlives exec: nothing hangs */
        become(r);
    }
    assert_int_equal(poll(&p, 1, PATIENCE_S * 1000), 1);
    int conn = accept(listening, NULL, NULL);
    assert_true(conn >= 0);
    close(listening);
    unlink(path);
    converse(conn, r);
    close(conn);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    check_end(r, status);
    free(path);
}

#define GO_ON "{\"decision\":\"continue\",\"until\":9}"
#define SAVE  "{\"decision\":\"continue\",\"until\":9,\"save\":true}"
#define PAUSE "{\"decision\":\"pause\"}"
#define STOP  "{\"decision\":\"stop\"}"

#define REPORT(step) "{\"step\":" #step ",\"metrics\":{\"loss\":"
#define SAVED(step)  "{\"saved\":" #step "}"

/* The step that the checkpoint holds; -1 if there is none. */
static int64_t held(const char *checkpoints)
{
    char *at = below(checkpoints), *path = path_join(at, CHECKPOINT_NAME);
    struct tensors *t;
    int64_t step = -1;

    if (tensors_open(path, &t, NULL) == 0) {
        assert_int_equal(tensors_get_int(t, "/progress", "step", &step, NULL), 0);
        tensors_close(t);
    }
    free(at);
    free(path);
    return step;
}

/* ---- tests ---- */

static void test_a_missing_checkpoint_is_no_fresh_start(void **state)
{
    (void)state;
    run(&(struct run){.env = {"RUNG_START=5"},
                      .checkpoints = "none",
                      .status = 1,
                      .says = "no checkpoint of step 5 is there"});
    run(&(struct run){.script = {{REPORT(1), PAUSE}, {SAVED(1), PAUSE}},
                      .checkpoints = "other"});
    run(&(struct run){.env = {"RUNG_START=2"},
                      .checkpoints = "other",
                      .status = 1,
                      .says = CHECKPOINT_NAME " holds step 1"});
}

static void test_bad_parameters_are_wrong_usage(void **state)
{
    (void)state;
    run(&(struct run){.env = {"RUNG_PARAM_batch_size=0"},
                      .checkpoints = "none",
                      .status = 2,
                      .says = "parameter batch_size: 0 is not from 1"});
}

/* The sweep does not say how long training is in the end; --epochs does. */
static void test_a_schedule_without_its_length_is_wrong_usage(void **state)
{
    (void)state;
    static const char *const kinds[] = {"cosine", "onecycle", "step"};

    for (size_t i = 0; i < COUNT(kinds); i++)
        run(&(struct run){.words = {"--lr-schedule", kinds[i]},
                          .env = {"RUNG_UNTIL=9"},
                          .checkpoints = "none",
                          .status = 2,
                          .says = "needs the training's length: give --epochs, inside a "
                                  "sweep its max_t"});
    run(&(struct run){.words = {"--lr-schedule", "step", "--lr-step-epochs", "1"},
                      .script = {{REPORT(1), GO_ON}, {REPORT(2), STOP}},
                      .checkpoints = "none"});
}

static void test_the_agent_goes(void **state)
{
    (void)state;
    run(&(struct run){.script = {{REPORT(1), GO_ON}, {REPORT(2), NULL}},
                      .checkpoints = "none",
                      .status = 1,
                      .says = "rung-train: "});
}

static void test_stop_saves_nothing(void **state)
{
    (void)state;
    run(&(struct run){.script = {{REPORT(1), GO_ON}, {REPORT(2), STOP}},
                      .checkpoints = "stopped"});
    assert_int_equal(held("stopped"), -1);
}

static void test_save_and_go_on(void **state)
{
    (void)state;
    run(&(struct run){.script = {{REPORT(1), SAVE},
                                 {SAVED(1), GO_ON},
                                 {REPORT(2), GO_ON},
                                 {REPORT(3), STOP}},
                      .checkpoints = "saved"});
    assert_int_equal(held("saved"), 1);
}

static void test_own_end_is_saved(void **state)
{
    (void)state;
    run(&(struct run){
        .words = {"--epochs", "2"},
        .script = {{REPORT(1), GO_ON}, {REPORT(2), GO_ON}, {SAVED(2), GO_ON}},
        .checkpoints = "ended"});
    assert_int_equal(held("ended"), 2);
}

static void test_a_full_disk_fails_the_attempt(void **state)
{
    (void)state;
    char *path = below("file");

    assert_int_equal(file_write(path, "", 0, 0666, NULL), 0);
    run(&(struct run){.script = {{REPORT(1), PAUSE}},
                      .checkpoints = "file/below",
                      .status = 1,
                      .says = "cannot save a checkpoint"});
    free(path);
}

static void test_nan_is_reported_and_ends_it(void **state)
{
    (void)state;
    run(&(struct run){.words = {"--lr", "1e30", "--batch-size", "8"},
                      .script = {{REPORT(1) "\"NaN\"", GO_ON}},
                      .checkpoints = "none",
                      .says = "epoch 1: the loss is NaN; is the learning rate"});
    run(&(struct run){.words = {"--lr", "1e30", "--batch-size", "8"},
                      .script = {{REPORT(1) "\"NaN\"", STOP}},
                      .checkpoints = "none"});
}

/* Arrays of two checkpoints, byte for byte. */
static void assert_same_array(struct tensors *a, struct tensors *b, const char *path)
{
    struct tensor_info info;

    assert_int_equal(tensors_info(a, path, &info, NULL), 0);
    float *x = mem_alloc(info.count * sizeof(*x)),
          *y = mem_alloc(info.count * sizeof(*y));
    assert_int_equal(tensors_get(a, path, TENSOR_F32, info.count, x, NULL), 0);
    assert_int_equal(tensors_get(b, path, TENSOR_F32, info.count, y, NULL), 0);
    assert_memory_equal(x, y, info.count * sizeof(*x));
    free(x);
    free(y);
}

static void assert_same_training(const char *one, const char *other)
{
    static const char *const arrays[] = {
        "/model/dense1/weight",       "/model/dense1/bias",
        "/model/dense2/weight",       "/model/dense2/bias",
        "/model/dense3/weight",       "/optimizer/dense1/weight/m",
        "/optimizer/dense1/weight/v", "/optimizer/dense3/bias/v",
    };
    char *dirs[] = {below(one), below(other)}, *paths[2];
    struct tensors *t[2];

    for (int i = 0; i < 2; i++) {
        paths[i] = path_join(dirs[i], CHECKPOINT_NAME);
        assert_int_equal(tensors_open(paths[i], &t[i], NULL), 0);
    }
    for (size_t k = 0; k < COUNT(arrays); k++)
        assert_same_array(t[0], t[1], arrays[k]);
    for (int i = 0; i < 2; i++) {
        tensors_close(t[i]);
        free(paths[i]);
        free(dirs[i]);
    }
}

/* Four epochs straight; and two, paused, two more in another attempt: with parameters
 * and seed from the sweep. */
static void test_pausing_changes_nothing(void **state)
{
    (void)state;
#define TRIAL                                                                            \
    "RUNG_PARAM_l1=16", "RUNG_PARAM_l2=8", "RUNG_PARAM_lr=0.01",                         \
        "RUNG_PARAM_optimizer=adamw", "RUNG_PARAM_batch_size=16",                        \
        "RUNG_PARAM_lr_schedule=onecycle", "RUNG_PARAM_label_smoothing=0.1",             \
        "RUNG_PARAM_dropout=0.25", "RUNG_PARAM_crop=1", "RUNG_PARAM_flip=true",          \
        "RUNG_SEED=12345678901234567890"
#define LENGTH "--epochs", "5"

    run(&(struct run){.words = {LENGTH},
                      .env = {TRIAL},
                      .script = {{REPORT(1), GO_ON},
                                 {REPORT(2), GO_ON},
                                 {REPORT(3), GO_ON},
                                 {REPORT(4), PAUSE},
                                 {SAVED(4), PAUSE}},
                      .checkpoints = "straight"});
    run(&(struct run){
        .words = {LENGTH},
        .env = {TRIAL},
        .script = {{REPORT(1), GO_ON}, {REPORT(2), PAUSE}, {SAVED(2), PAUSE}},
        .checkpoints = "twice"});
    run(&(struct run){
        .words = {LENGTH},
        .env = {TRIAL, "RUNG_START=2"},
        .script = {{REPORT(3), GO_ON}, {REPORT(4), PAUSE}, {SAVED(4), PAUSE}},
        .checkpoints = "twice"});
    assert_same_training("straight", "twice");
}

/* Ranks that are threads: one of them reports and saves; and then a pause is one, too. */
static void test_devices_of_one_process(void **state)
{
    (void)state;
#define DEVICES "--parallel", "dp", "--devices", "3"

    run(&(struct run){
        .words = {DEVICES, LENGTH},
        .env = {TRIAL},
        .script = {{REPORT(1), GO_ON}, {REPORT(2), PAUSE}, {SAVED(2), PAUSE}},
        .checkpoints = "devices",
        .says = "3 ranks by threads\n"});
    run(&(struct run){
        .words = {DEVICES, LENGTH, "--quiet"},
        .env = {TRIAL, "RUNG_START=2"},
        .script = {{REPORT(3), GO_ON}, {REPORT(4), PAUSE}, {SAVED(4), PAUSE}},
        .checkpoints = "devices"});
    run(&(struct run){.words = {DEVICES, LENGTH},
                      .env = {TRIAL},
                      .script = {{REPORT(1), GO_ON},
                                 {REPORT(2), GO_ON},
                                 {REPORT(3), GO_ON},
                                 {REPORT(4), PAUSE},
                                 {SAVED(4), PAUSE}},
                      .checkpoints = "devices-straight"});
    assert_same_training("devices", "devices-straight");
    run(&(struct run){.words = {DEVICES},
                      .env = {"RUNG_START=5"},
                      .checkpoints = "none",
                      .status = 1,
                      .says = "no checkpoint of step 5 is there"});
    run(&(struct run){.words = {"--parallel", "mp"},
                      .checkpoints = "none",
                      .status = 2,
                      .says = "--parallel mp is for several ranks, and this is one"});
}

static void test_memory_that_is_too_little(void **state)
{
    (void)state;
    run(&(struct run){.words = {"--max-memory", "1M"},
                      .checkpoints = "none",
                      .status = 1,
                      .says = "--max-memory 1 MiB is too little: program, data and"});
    run(&(struct run){.words = {"--max-memory", "100G"},
                      .script = {{REPORT(1), STOP}},
                      .checkpoints = "none"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_checkpoint_is_no_fresh_start),
        cmocka_unit_test(test_bad_parameters_are_wrong_usage),
        cmocka_unit_test(test_a_schedule_without_its_length_is_wrong_usage),
        cmocka_unit_test(test_the_agent_goes),
        cmocka_unit_test(test_stop_saves_nothing),
        cmocka_unit_test(test_save_and_go_on),
        cmocka_unit_test(test_own_end_is_saved),
        cmocka_unit_test(test_a_full_disk_fails_the_attempt),
        cmocka_unit_test(test_nan_is_reported_and_ends_it),
        cmocka_unit_test(test_pausing_changes_nothing),
        cmocka_unit_test(test_devices_of_one_process),
        cmocka_unit_test(test_memory_that_is_too_little),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("rung-train", tests, setup, teardown);
}
