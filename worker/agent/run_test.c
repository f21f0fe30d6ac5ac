/* The agent with real processes, sockets and a controller that is played. Each test ends
 * by looking for processes and files that should not be there any more. Run with
 * arguments the test is a program of its trials. */
#include "worker/agent/run.h"

#include "base/clock.h"
#include "base/file.h"
#include "worker/agent/kin.h"
#include "worker/agent/play.h"
#include "worker/agent/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE 60 /* seconds until a test gives up */

static char self[4096];

/* ---- programs ---- */

/* Says its arguments, a line each, and prints what comes back. */
static int program_say(char **lines)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", getenv("RUNG_SOCKET"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
        return 1;
    FILE *f = fdopen(fd, "r+");
    char answer[1000];
    for (; *lines; lines++) {
        fprintf(f, "%s\n", *lines);
        if (!fgets(answer, sizeof(answer), f))
            return 1;
        printf("%s", answer);
    }
    return 0;
}

/* Says something to the agent and does not wait for answers. */
static int program_shout(char **lines)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", getenv("RUNG_SOCKET"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
        return 1;
    for (; *lines; lines++)
        dprintf(fd, "%s\n", *lines);
    return 0;
}

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    caught = sig;
}

/* Exits 9 upon SIGUSR1. */
static int program_catch(void)
{
    sigset_t one, before;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigprocmask(SIG_BLOCK, &one, &before);
    signal(SIGUSR1, on_signal);
    program_say((char *[]){(char *)"{\"step\":1,\"metrics\":{}}", NULL});
    while (!caught)
        sigsuspend(&before);
    return 9;
}

/* Ignores SIGTERM and leaves a daemon that does, too, once its agent has heard of it. */
static _Noreturn void program_deaf(void)
{
    signal(SIGTERM, SIG_IGN);
    if (fork() == 0) {
        setsid();
        for (;;)
            pause();
    }
    program_say((char *[]){(char *)"{\"step\":1,\"metrics\":{}}", NULL});
    for (;;)
        pause();
}

/* What srun does with two ranks, the second of which exits 7; and what `rung exec` does.
 */
static int program_launch(void)
{
    int worst = 0;
    for (int rank = 0; rank < 2; rank++) {
        setenv("SLURM_PROCID", rank == 0 ? "0" : "1", 1);
        if (fork() == 0) {
            char *argv[] = {(char *)"sh", (char *)"-c",
                            (char *)"test $SLURM_PROCID = 0 || exit 7", NULL};
            int fd = ranks_open(getenv(RANKS_ENV), rank, NULL);
            _exit(shim_run(&(struct shim){.argv = argv,
                                          .envp = environ,
                                          .out_fd = -1,
                                          .err_fd = -1,
                                          .report_fd = fd,
                                          .keep_fds = true,
                                          .kill_seconds = 1}));
        }
    }
    for (int status; wait(&status) > 0;)
        worst |= status;
    return worst ? 1 : 0;
}

/* What srun says when a worker of its rank was ended for want of memory, and the rank
 * itself exits 0; and what `rung exec` says. */
static int program_oom(void)
{
    struct shim_report r = {.oom = 1, .step = -1};
    int fd = ranks_open(getenv(RANKS_ENV), 0, NULL);
    return write(fd, &r, sizeof(r)) == sizeof(r) ? 1 : 2;
}

static int program(char **argv)
{
    if (strcmp(argv[1], "say") == 0)
        return program_say(argv + 2);
    if (strcmp(argv[1], "shout") == 0)
        return program_shout(argv + 2);
    if (strcmp(argv[1], "catch") == 0)
        return program_catch();
    if (strcmp(argv[1], "launch") == 0)
        return program_launch();
    if (strcmp(argv[1], "oom") == 0)
        return program_oom();
    program_deaf();
}

/* ---- the agent ---- */

struct stage {
    struct play play;
    const char *const *scripts; /* of the trials; $SELF is this test */
    pid_t agent;
    struct agent_setup setup;
    bool shimmed;
    bool kills_idle;     /* the agent's shims die whenever an attempt is about to start */
    struct rusage usage; /* of the agent, when it has ended */
};

static struct stage stage;

static bool holds(void)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/hold", stage.play.dir);
    return access(path, F_OK) == 0;
}

/* Instead of the C library's, which base/copy.c calls: a disk that is so slow that no
 * copy gets on while there is a file `hold`. */
ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t n, unsigned flags)
{
    (void)in, (void)from, (void)out, (void)to, (void)n, (void)flags;
    while (holds())
        usleep(10000);
    errno = EXDEV;
    return -1;
}

static char *dup_text(const char *text)
{
    return strdup(text);
}

static void kill_children(void)
{
    pid_t kin[8];
    siginfo_t info;
    for (size_t n = kin_children(getpid(), kin, 8); n-- > 0;) {
        kill(kin[n], SIGKILL);
        waitid(P_PID, (id_t)kin[n], &info, WEXITED | WNOWAIT);
    }
}

static int launch(void *ctx, const struct item *work, int slot,
                  const char *checkpoint_dir, struct launch *out, struct err *e)
{
    const struct stage *s = ctx;
    const char *script = s->scripts[work->work.trial];
    struct str env = STR_INIT;
    (void)slot;
    if (s->kills_idle)
        kill_children();
    if (!script)
        return err_set(e, ERR_INVAL, "this trial has no command");
    out->argv = calloc(4, sizeof(char *));
    out->envp = calloc(5, sizeof(char *));
    out->argv[0] = dup_text("sh");
    out->argv[1] = dup_text("-c");
    out->argv[2] = dup_text(script);
    if (*script == '/') {
        free(out->argv[0]);
        out->argv[0] = dup_text(script);
    }
    out->envp[0] = dup_text("PATH=/usr/bin:/bin");
    str_addf(&env, "SELF=%s", self);
    out->envp[1] = str_take(&env);
    str_addf(&env, "RUNG_CHECKPOINT_DIR=%s", checkpoint_dir);
    out->envp[2] = str_take(&env);
    out->envp[3] = dup_text("RUNG_SOCKET=/of/another/agent");
    out->workdir = dup_text(checkpoint_dir);
    out->shimmed = s->shimmed;
    return 0;
}

static bool busy(void *ctx, int slot, struct gpu_use *out)
{
    (void)ctx;
    *out = (struct gpu_use){.gpus = 1 + slot, .util = 0.5};
    return true;
}

static const char *spent(void *ctx, int slot, struct end_facts *facts)
{
    (void)ctx;
    facts->gpu_util = 0.25;
    facts->gpu_seconds = 2 * (facts->ended - facts->started);
    return slot == 0 ? "a GPU was lost" : NULL;
}

/* Forks the agent; a controller only comes with serve(). */
static void begin(int slots, const char *const *scripts, int trials)
{
    stage = (struct stage){.scripts = scripts};
    assert_int_equal(play_open(&stage.play, "/tmp", NULL), 0);
    stage.play.trials = trials;
    struct agent_config *c = &stage.setup.config;
    stage.setup.dir = stage.play.dir;
    stage.setup.plug = (struct agent_plug){.ctx = &stage, .launch = launch};
    c->id = 0xabc;
    c->slots = slots;
    c->host = SLICE("here");
    c->job = SLICE("job");
    c->release = SLICE("0");
    c->promote = true;
    timers_default(&c->timers);
    assert_int_equal(timers_parse(&c->timers, "KILL=0.5,BEAT=0.2,RESEND=0.5,"
                                              "CONTROLLER_LOOK=0.02,CONTROLLER_SILENT=1"),
                     0);
}

static void start_agent(void)
{
    struct str errors = STR_INIT;
    str_addf(&errors, "%s/agent.err", stage.play.dir);
    stage.agent = fork();
    assert_true(stage.agent >= 0);
    if (stage.agent == 0) {
        int fd = open(errors.p, O_WRONLY | O_CREAT | O_APPEND, 0666);
        dup2(fd, STDERR_FILENO);
        _exit(agent_run(&stage.setup));
    }
    str_free(&errors);
}

static void serve(int epoch)
{
    struct err e;
    if (play_serve(&stage.play, epoch, &e) < 0)
        fail_msg("%s", e.text);
}

static bool left(const struct play *p)
{
    return p->left;
}

static bool one_report(const struct play *p)
{
    return p->reports.n >= 1;
}

static bool one_end(const struct play *p)
{
    return p->ends.n >= 1;
}

static void play_until(bool (*enough)(const struct play *))
{
    assert_true(play_run(&stage.play, enough, PATIENCE));
}

static int agent_status(void)
{
    int status;
    assert_int_equal(wait4(stage.agent, &status, 0, &stage.usage), stage.agent);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run_all(void)
{
    start_agent();
    serve(1);
    play_until(left);
    play_run(&stage.play, left, 0);
    assert_int_equal(agent_status(), 0);
}

static const struct play_end *end_of(int32_t trial)
{
    for (size_t i = 0; i < stage.play.ends.n; i++)
        if (stage.play.ends.v[i].trial == trial)
            return &stage.play.ends.v[i];
    fail_msg("trial %ld has not ended", (long)trial);
    return NULL;
}

static void check_end(int32_t trial, int exit_code, int sig, enum end_cause cause,
                      const char *note)
{
    const struct play_end *end = end_of(trial);
    if (end->facts.exit_code != exit_code || end->facts.signal != sig ||
        end->facts.cause != cause || !strstr(end->note, note))
        fail_msg("trial %ld: exit %d, signal %d, cause %d, %s", (long)trial,
                 end->facts.exit_code, end->facts.signal, end->facts.cause, end->note);
}

/* A file below the sweep's directory, "" where there is none. */
static const char *text_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static const char *text_of(const char *fmt, ...)
{
    static char text[100000];
    char path[500];
    size_t n = (size_t)snprintf(path, sizeof(path), "%s/", stage.play.dir);
    va_list args;
    va_start(args, fmt);
    vsnprintf(path + n, sizeof(path) - n, fmt, args);
    va_end(args);
    struct str all = STR_INIT;
    file_read(path, sizeof(text) - 1, &all, NULL);
    memcpy(text, all.p, all.len + 1);
    str_free(&all);
    return text;
}

static int cleaned(void **state)
{
    pid_t kin[16];
    int bad = 0;
    (void)state;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    size_t n = kin_descendants(getpid(), kin, 16);
    for (size_t i = 0; i < n; i++, bad = -1)
        fprintf(stderr, "left behind: %ld\n", (long)kin[i]);
    play_close(&stage.play);
    return bad;
}

/* ---- tests ---- */

static void three_trials_in_two_slots(void **state)
{
    static const char *const scripts[] = {
        ("echo $RUNG_SOCKET; pwd; echo to stderr >&2; "
         "exec $SELF say '{\"step\":1,\"metrics\":{\"loss\":0.5}}'"),
        "exec $SELF say '{\"step\":1,\"metrics\":{\"loss\":0.25}}' '{\"saved\":1}'",
        "kill -SEGV $$"};
    (void)state;
    begin(2, scripts, 3);
    run_all();
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    check_end(1, 0, 0, CAUSE_NOTHING, "");
    check_end(2, -1, SIGSEGV, CAUSE_NOTHING, "");
    assert_int_equal(end_of(0)->facts.answered, DECISION_STOP);
    assert_int_equal(end_of(0)->facts.reports, 1);
    assert_true(end_of(0)->facts.max_rss > 1e5);
    assert_true(end_of(0)->facts.cpu_seconds >= 0);
    assert_true(end_of(0)->facts.ended >= end_of(0)->facts.started);
    assert_int_equal(stage.play.reports.n, 2);
    assert_int_equal(stage.play.saved.n, 1);

    char log[1000], wanted[1000], door[108];
    snprintf(log, sizeof(log), "%s", text_of("trials/000000/a01/attempt-01.log"));
    assert_int_equal(sscanf(log, "%107s", door), 1);
    snprintf(wanted, sizeof(wanted),
             "%s\n%s/trials/000000/a01\nto stderr\n{\"decision\":\"stop\"", door,
             stage.play.dir);
    assert_int_equal(strncmp(log, wanted, strlen(wanted)), 0);
    assert_int_equal(strncmp(door, "/tmp/rung-agent-", 16), 0);
    *strrchr(door, '/') = '\0';
    assert_int_not_equal(access(door, F_OK), 0);
}

static void cannot_be_launched(void **state)
{
    static const char *const scripts[] = {NULL, "/no/such/program", "exit 3"};
    (void)state;
    begin(1, scripts, 3);
    run_all();
    check_end(0, -1, 0, CAUSE_NO_LAUNCH, "this trial has no command");
    check_end(1, -1, 0, CAUSE_NO_LAUNCH, "cannot execute '/no/such/program'");
    check_end(2, 3, 0, CAUSE_NOTHING, "");
    assert_non_null(strstr(text_of("agent.err"), "trial 0, attempt 1: this trial has"));
}

static void later_attempt_has_the_directory(void **state)
{
    static const char *const scripts[] = {"exit 0"};
    char path[200];
    (void)state;
    begin(1, scripts, 1);
    snprintf(path, sizeof(path), "%s/trials/000000/a05", stage.play.dir);
    assert_int_equal(dir_make(path, 0755, NULL), 0);
    run_all();
    check_end(0, -1, 0, CAUSE_NO_LAUNCH, "attempt 5 has the directory already");
}

static void no_keys(void **state)
{
    static const char *const scripts[] = {"exit 0"};
    char path[200];
    (void)state;
    begin(1, scripts, 1);
    snprintf(path, sizeof(path), "%s/keys", stage.play.dir);
    assert_int_equal(dir_remove(path, NULL), 0);
    start_agent();
    assert_int_equal(agent_status(), 1);
    assert_non_null(strstr(text_of("agent.err"), "keys"));
}

static void sweep_is_over(void **state)
{
    struct controller_file f = {.epoch = 4, .address = "tcp://127.0.0.1:1"};
    (void)state;
    begin(1, NULL, 0);
    strcpy(f.state, "finished");
    strcpy(f.public_key, stage.play.own.public_key);
    assert_int_equal(controller_file_write(stage.play.dir, &f, NULL), 0);
    start_agent();
    assert_int_equal(agent_status(), 0);
    assert_non_null(strstr(text_of("agent.err"), "the sweep is finished"));
}

/* The same controller, and the way to it that the agent had is gone. */
static void way_is_gone(void **state)
{
    static const char *const scripts[] = {
        "exec $SELF say '{\"step\":1,\"metrics\":{\"loss\":1}}'"};
    (void)state;
    begin(1, scripts, 1);
    start_agent();
    serve(1);
    play_until(one_report);
    serve(1);
    play_until(left);
    play_run(&stage.play, left, 0);
    assert_int_equal(agent_status(), 0);
    check_end(0, 0, 0, CAUSE_NOTHING, "");
}

static void garbage(void **state)
{
    static const char *const scripts[] = {
        "$SELF say 'what?' '' '{\"step\":' "
        "'{\"step\":1,\"metrics\":{\"loss\":\"NaN\"}}'; "
        "head -c 3000000 /dev/zero | tr '\\0' x >long; "
        "$SELF shout \"$(head -c 100000 long)\"; exec $SELF say '{\"saved\":1}'"};
    (void)state;
    begin(1, scripts, 1);
    run_all();
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    assert_int_equal(stage.play.reports.n, 1);
    const char *log = text_of("trials/000000/a01/attempt-01.log");
    for (int i = 0; i < 3; i++, log = strchr(log, '\n') + 1)
        assert_int_equal(strncmp(log, "{\"error\":", 9), 0);
    assert_int_equal(strncmp(log, "{\"decision\":\"stop\"", 18), 0);
}

/* It says and goes, without waiting for an answer: nothing of it may be lost. */
static void shouts_and_goes(void **state)
{
    static const char *const scripts[] = {
        "exec $SELF shout '{\"step\":1,\"metrics\":{\"a\":1}}' "
        "'{\"step\":2,\"metrics\":{\"a\":1}}' '{\"step\":3,\"metrics\":{\"a\":1}}'"};
    (void)state;
    for (int i = 0; i < 10; i++) {
        if (i > 0)
            play_close(&stage.play);
        begin(1, scripts, 1);
        stage.play.until = 100;
        run_all();
        assert_int_equal(stage.play.reports.n, 3);
        assert_int_equal(end_of(0)->facts.last_step, 3);
    }
}

static void strays(void **state)
{
    static const char *const scripts[] = {"sleep 1000 & sleep 1000 & exit 0"};
    (void)state;
    begin(1, scripts, 1);
    run_all();
    check_end(0, 0, 0, CAUSE_NOTHING, "left processes behind, which were ended: 2");
}

static void shim_is_killed(void **state)
{
    static const char *const scripts[] = {"exec $SELF deaf", "exit 0"};
    pid_t shim[8];
    (void)state;
    begin(1, scripts, 2);
    stage.play.decision = DECISION_CONTINUE;
    start_agent();
    serve(1);
    play_until(one_report);
    assert_int_equal(kin_children(stage.agent, shim, 8), 1);
    kill(shim[0], SIGKILL);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, -1, SIGKILL, CAUSE_NOTHING, "its shim was killed");
    check_end(1, 0, 0, CAUSE_NOTHING, "");
}

/* Between two attempts, just before it is told of the second. */
static void idle_shim_is_killed(void **state)
{
    static const char *const scripts[] = {"exit 0", "exit 0"};
    (void)state;
    begin(1, scripts, 2);
    stage.kills_idle = true;
    run_all();
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    check_end(1, 0, 0, CAUSE_NOTHING, "");
}

/* Its directory below /tmp is left for the next agent to remove, or, here, the test. */
static void agent_is_killed(void **state)
{
    static const char *const scripts[] = {"echo $RUNG_SOCKET; exec $SELF deaf"};
    char door[108];
    pid_t kin[8];
    (void)state;
    begin(1, scripts, 1);
    start_agent();
    serve(1);
    play_until(one_report);
    kill(stage.agent, SIGKILL);
    assert_int_equal(agent_status(), -SIGKILL);
    double until = clock_mono() + PATIENCE;
    while (kin_descendants(getpid(), kin, 8) > 0 && clock_mono() < until) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        usleep(10000);
    }
    assert_int_equal(kin_descendants(getpid(), kin, 8), 0);
    assert_int_equal(sscanf(text_of("trials/000000/a01/attempt-01.log"), "%107s", door),
                     1);
    *strrchr(door, '/') = '\0';
    assert_int_equal(dir_remove(door, NULL), 0);
}

static void evicted(void **state)
{
    static const char *const scripts[] = {"exec $SELF deaf", "exit 0"};
    (void)state;
    begin(1, scripts, 2);
    stage.play.decision = DECISION_CONTINUE;
    start_agent();
    serve(1);
    play_until(one_report);
    kill(stage.agent, SIGINT); /* is for the controller */
    kill(stage.agent, SIGHUP);
    kill(stage.agent, SIGTERM);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, -1, SIGKILL, CAUSE_EVICTED, "");
    assert_int_equal(stage.play.ends.n, 1);
}

static void checkpoint_signal(void **state)
{
    static const char *const scripts[] = {"exec $SELF catch"};
    (void)state;
    begin(1, scripts, 1);
    stage.setup.checkpoint_signal = SIGUSR1;
    stage.setup.config.promote = false;
    stage.play.decision = DECISION_CONTINUE;
    start_agent();
    serve(1);
    play_until(one_report);
    play_say(&stage.play, &(struct item){.kind = ITEM_PAUSE});
    play_until(one_end);
    assert_int_equal(end_of(0)->facts.exit_code, 9);
    play_say(&stage.play, &(struct item){.kind = ITEM_BYE, .why.text = SLICE("paused")});
    play_until(left);
    assert_int_equal(agent_status(), 0);
}

/* The decision comes from the second controller; its attempt has run through. */
static void another_controller(void **state)
{
    static const char *const scripts[] = {
        "exec $SELF say '{\"step\":1,\"metrics\":{\"loss\":1}}'"};
    (void)state;
    begin(1, scripts, 1);
    stage.play.decision = DECISION_NONE;
    start_agent();
    serve(1);
    play_until(one_report);
    stage.play.decision = DECISION_STOP;
    serve(2);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    assert_non_null(strstr(text_of("agent.err"), "controller of epoch 2"));
    assert_non_null(strstr(text_of("trials/000000/a01/attempt-01.log"), "stop"));
}

static void printed(void **state)
{
    static const char *const scripts[] = {
        "echo begin; echo 'step 1 loss 0.5'; printf 'step 2 loss nan' >&2; exit 0",
        ("yes 'a line of no interest, again and again' | head -c 100000000; "
         "echo step 7 loss 0.125"),
        ("printf 'step 1 loss 2\\rstep 2 loss 1\\r'; head -c 200000 /dev/zero; echo; "
         "echo step 3 loss 0.5")};
    (void)state;
    begin(2, scripts, 3);
    stage.setup.parse = "step (?<step>\\d+) loss (?<loss>\\S+)";
    stage.setup.config.printed = true;
    stage.play.until = 1000;
    run_all();
    for (int trial = 0; trial < 3; trial++)
        check_end(trial, 0, 0, CAUSE_NOTHING, "");
    assert_int_equal(stage.play.reports.n, 6);
    assert_int_equal(end_of(0)->facts.last_step, 2);
    assert_int_equal(end_of(1)->facts.last_step, 7);
    assert_int_equal(end_of(2)->facts.last_step, 3);
    assert_string_equal(stage.play.reports.v[0].name, "loss");
    assert_string_equal(text_of("trials/000000/a01/attempt-01.log"),
                        "begin\nstep 1 loss 0.5\nstep 2 loss nan");
    char path[200];
    snprintf(path, sizeof(path), "%s/trials/000001/a01/attempt-01.log", stage.play.dir);
    int fd = open(path, O_RDONLY);
    assert_int_equal(lseek(fd, 0, SEEK_END), 100000000 + 18);
    close(fd);
    assert_true(stage.usage.ru_maxrss < 60000); /* kB: the flood went through it */
}

/* A program that prints without end is one of two; the other is heard all the same. */
static void flood_beside(void **state)
{
    static const char *const scripts[] = {
        "yes 'a line of no interest, again and again' >&2",
        "for i in 1 2 3 4 5 6 7 8 9; do echo step $i loss 1; sleep 0.01; done; exit 4",
    };
    (void)state;
    begin(2, scripts, 2);
    stage.setup.parse = "step (?<step>\\d+) loss (?<loss>\\S+)";
    stage.setup.config.printed = true;
    stage.play.until = 1000;
    start_agent();
    serve(1);
    play_until(one_end);
    check_end(1, 4, 0, CAUSE_NOTHING, "");
    assert_int_equal(end_of(1)->facts.last_step, 9);
    kill(stage.agent, SIGTERM);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, -1, SIGTERM, CAUSE_EVICTED, "");
}

/* srun is the agent's child, and the shims are srun's. */
static void launcher_with_ranks(void **state)
{
    static const char *const scripts[] = {"exec $SELF launch", "exit 1", "exec $SELF oom",
                                          ("trap 'exit 5' USR2; "
                                           ": >$RUNG_EXEC_REPORT.0; "
                                           "$SELF shout '{\"step\":1,\"metrics\":{}}'; "
                                           "while :; do sleep 0.05; done")};
    (void)state;
    begin(1, scripts, 4);
    stage.shimmed = true;
    stage.play.until = 1000;
    start_agent();
    serve(1);
    play_until(one_report);
    kill(stage.agent, SIGTERM);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, 7, 0, CAUSE_NOTHING, "");
    assert_true(end_of(0)->facts.max_rss > 1e5);
    check_end(1, 1, 0, CAUSE_NO_LAUNCH, "started nothing");
    check_end(2, 0, 0, CAUSE_NOTHING, "");
    assert_true(end_of(2)->facts.oom);
    check_end(3, 5, 0, CAUSE_EVICTED, "1 of 1 ranks did not tell how they ended");
    assert_string_equal(text_of("trials/000000/a01/.exec.0"), "");
    assert_int_not_equal(access("trials/000000/a01/.exec.0", F_OK), 0);
}

static bool two_ends(const struct play *p)
{
    return p->ends.n >= 2;
}

/* Where launcher/ reads GPUs, beats and ends tell of them; not of what never ran. */
static void gpus(void **state)
{
    static const char *const scripts[] = {"sleep 0.5; exit 3", NULL};
    const struct end_facts *f;
    (void)state;
    begin(1, scripts, 2);
    stage.setup.plug.gpus = busy;
    stage.setup.plug.spent = spent;
    start_agent();
    serve(1);
    play_until(two_ends);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, 3, 0, CAUSE_NOTHING, "a GPU was lost");
    f = &end_of(0)->facts;
    assert_true(f->gpu_util == 0.25 && isnan(f->gpu_energy));
    assert_true(f->gpu_seconds == 2 * (f->ended - f->started));
    assert_true(stage.play.gpus.gpus == 1 && stage.play.gpus.util == 0.5);
    check_end(1, -1, 0, CAUSE_NO_LAUNCH, "this trial has no command");
}

/* ---- a checkpoint that is being copied ---- */

#define PARENT 100

/* Trial `child` begins from that of a parent, and its copy is held. */
static void begin_copy(int slots, const char *const *scripts, int trials, int32_t child)
{
    char path[200];
    begin(slots, scripts, trials);
    stage.play.child = child;
    stage.play.source = PARENT;
    stage.play.until = 1000000;
    snprintf(path, sizeof(path), "%s/trials/%06d/a01", stage.play.dir, PARENT);
    assert_int_equal(dir_make(path, 0755, NULL), 0);
    strcat(path, "/model");
    assert_int_equal(file_write(path, "weights", 7, 0644, NULL), 0);
    assert_int_equal(truncate(path, 3 << 20), 0);
    snprintf(path, sizeof(path), "%s/hold", stage.play.dir);
    assert_int_equal(file_write(path, "", 0, 0644, NULL), 0);
}

static void release(void)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/hold", stage.play.dir);
    assert_int_equal(unlink(path), 0);
}

static bool there(int32_t trial, const char *name)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/trials/%06d/%s", stage.play.dir, trial, name);
    return access(path, F_OK) == 0;
}

/* The copy of trial 0 has begun. */
static bool copying(const struct play *p)
{
    (void)p;
    return there(0, "a01.tmp/model");
}

static void play_until_copying(void)
{
    double until = clock_mono() + PATIENCE;
    while (!copying(&stage.play) && clock_mono() < until)
        play_run(&stage.play, copying, 0.02);
    assert_true(copying(&stage.play));
}

/* Nothing has the name of the attempt's directory, and nobody copies any more. */
static void check_no_copy(void)
{
    pid_t kin[8];
    double until = clock_mono() + PATIENCE;
    while (kin_descendants(getpid(), kin, 8) > 0 && clock_mono() < until) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        usleep(10000);
    }
    assert_int_equal(kin_descendants(getpid(), kin, 8), 0);
    assert_false(there(0, "a01"));
}

static bool heard_enough(const struct play *p)
{
    return p->reports.n >= 5 && p->beats >= 5;
}

/* As long as it may take, the other slot goes on, and the controller hears of both. */
static void copies_beside(void **state)
{
    static const char *const scripts[] = {
        "test $(wc -c <model) = 3145728 && exec $SELF say "
        "'{\"step\":1,\"metrics\":{\"loss\":1}}' '{\"saved\":1}'",
        "i=0; while test -e ../../../hold; do i=$((i + 1)); "
        "$SELF say \"{\\\"step\\\":$i,\\\"metrics\\\":{\\\"loss\\\":1}}\" || exit 1; "
        "done"};
    (void)state;
    begin_copy(2, scripts, 2, 0);
    stage.setup.config.timeout = 0.5; /* longer silent than that, but not the program */
    start_agent();
    serve(1);
    play_until_copying();
    stage.play.reports.n = 0;
    stage.play.beats = 0;
    play_until(heard_enough);
    assert_true(stage.play.ends.n == 0 && !there(0, "a01") && there(0, "a01.tmp"));
    release();
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    check_end(1, 0, 0, CAUSE_NOTHING, "");
    assert_int_equal(end_of(0)->facts.last_step, 1);
    assert_true(there(0, "a01/model") && !there(0, "a01.tmp"));
}

/* What ends an attempt ends its copy, at once: no copy gets on here. */
static void copy_is_ended(void **state)
{
    static const char *const scripts[] = {"exit 1"};
    static const struct item pause = {.kind = ITEM_PAUSE};
    struct item stop = {.kind = ITEM_KILL};
    const enum end_cause causes[] = {CAUSE_EVICTED, CAUSE_PAUSING, CAUSE_USER_STOP};
    (void)state;
    stop.kill.attempt = 1;
    stop.kill.nonce = 1;
    stop.kill.cause = CAUSE_USER_STOP;
    for (int i = 0; i < 3; i++) {
        if (i > 0)
            play_close(&stage.play);
        begin_copy(1, scripts, 1, 0);
        start_agent();
        serve(1);
        play_until_copying();
        if (causes[i] == CAUSE_EVICTED)
            kill(stage.agent, SIGTERM);
        else
            play_say(&stage.play, causes[i] == CAUSE_PAUSING ? &pause : &stop);
        play_until(left);
        assert_int_equal(agent_status(), 0);
        check_end(0, -1, 0, causes[i], "");
        check_no_copy();
    }
}

static bool many_beats(const struct play *p)
{
    return p->beats >= 8;
}

/* Its job's time runs out: its program hears of that as soon as it can. */
static void time_is_short_while_copying(void **state)
{
    static const char *const scripts[] = {
        "exec $SELF say '{\"step\":1,\"metrics\":{\"loss\":1}}'"};
    (void)state;
    begin_copy(1, scripts, 1, 0);
    stage.setup.config.ends = clock_mono() + 1;
    stage.setup.checkpoint_signal = SIGALRM; /* which would end the copier */
    start_agent();
    serve(1);
    play_until(many_beats);
    assert_true(stage.play.ends.n == 0 && copying(&stage.play));
    release();
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    assert_non_null(strstr(text_of("trials/000000/a01/attempt-01.log"), "\"save\":true"));
}

static void copier_is_killed(void **state)
{
    static const char *const scripts[] = {"exit 1", "exit 0"};
    pid_t copier[8];
    (void)state;
    begin_copy(1, scripts, 2, 0);
    start_agent();
    serve(1);
    play_until_copying();
    assert_int_equal(kin_children(stage.agent, copier, 8), 1);
    kill(copier[0], SIGKILL);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, -1, 0, CAUSE_NO_LAUNCH, "what copied its checkpoint was killed by sig");
    check_end(1, 0, 0, CAUSE_NOTHING, "");
    check_no_copy();
}

static void disk_is_full(void **state)
{
    static const char *const scripts[] = {"exit 1", "exit 0"};
    struct rlimit before, files;
    (void)state;
    begin_copy(1, scripts, 2, 0);
    release();
    getrlimit(RLIMIT_FSIZE, &before);
    files = (struct rlimit){1 << 20, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &files); /* as a disk that is full */
    start_agent();
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    serve(1);
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, -1, 0, CAUSE_NO_LAUNCH, "trials/000000/a01.tmp/model: ");
    check_end(1, 0, 0, CAUSE_NOTHING, "");
    check_no_copy();
    assert_false(there(0, "a01.tmp"));
}

/* The next attempt begins with a copy of its own. */
static void agent_is_killed_while_copying(void **state)
{
    static const char *const scripts[] = {"test $(wc -c <model) = 3145728"};
    (void)state;
    begin_copy(1, scripts, 1, 0);
    start_agent();
    serve(1);
    play_until_copying();
    kill(stage.agent, SIGKILL);
    assert_int_equal(agent_status(), -SIGKILL);
    check_no_copy();
    release();
    stage.play.next = 0;
    stage.play.attempt = 2;
    stage.play.taken = 0;
    stage.setup.config.id++;
    start_agent();
    play_until(left);
    assert_int_equal(agent_status(), 0);
    check_end(0, 0, 0, CAUSE_NOTHING, "");
    assert_true(there(0, "a02/model") && !there(0, "a01") && !there(0, "a01.tmp"));
}

#define TEST(name) cmocka_unit_test_teardown(name, cleaned)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(three_trials_in_two_slots),
        TEST(cannot_be_launched),
        TEST(later_attempt_has_the_directory),
        TEST(no_keys),
        TEST(sweep_is_over),
        TEST(way_is_gone),
        TEST(garbage),
        TEST(shouts_and_goes),
        TEST(strays),
        TEST(shim_is_killed),
        TEST(idle_shim_is_killed),
        TEST(agent_is_killed),
        TEST(evicted),
        TEST(checkpoint_signal),
        TEST(another_controller),
        TEST(printed),
        TEST(flood_beside),
        TEST(launcher_with_ranks),
        TEST(gpus),
        TEST(copies_beside),
        TEST(copy_is_ended),
        TEST(time_is_short_while_copying),
        TEST(copier_is_killed),
        TEST(disk_is_full),
        TEST(agent_is_killed_while_copying),
    };
    if (argc > 1)
        return program(argv);
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return 1;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
