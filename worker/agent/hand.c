#include "worker/agent/hand.h"

#include "base/clock.h"
#include "worker/agent/attempt_dir.h"
#include "worker/agent/order.h"
#include "worker/agent/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_SIZE 65536 /* of output in one turn, so that a flood waits for its turn */
/* More than a pipe holds. A shim that was killed may leave behind who writes for ever. */
#define DRAIN_READS 64
/* A launcher whose ranks do not end by SIGUSR2 gets this long after their SIGKILL. */
#define LAUNCHER_SECONDS 5.0

/* All but the tools and the shim. */
static void begin(struct hand *h)
{
    *h = (struct hand){.tools = h->tools,
                       .shim = h->shim,
                       .shim_fd = h->shim_fd,
                       .shim_signaled = h->shim_signaled,
                       .out_fd = -1,
                       .log_fd = -1,
                       .out = LINES_INIT,
                       .params = STR_INIT,
                       .ranks = STR_INIT,
                       .dir = STR_INIT,
                       .program = STR_INIT,
                       .note = STR_INIT};
}

void hand_init(struct hand *h, struct hand_tools *tools)
{
    *h = (struct hand){.tools = tools, .shim_fd = -1};
    begin(h);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void hand_clear(struct hand *h)
{
    close_fd(&h->out_fd);
    close_fd(&h->log_fd);
    door_close(h->door);
    lines_free(&h->out);
    str_free(&h->params);
    str_free(&h->ranks);
    str_free(&h->dir);
    str_free(&h->program);
    str_free(&h->note);
    begin(h);
}

/* An idle shim has nothing to see to; one that is busy ends what it runs when we end. */
static void drop_shim(struct hand *h, bool idle)
{
    close_fd(&h->shim_fd);
    if (idle && h->shim > 0) {
        kill(h->shim, SIGKILL);
        waitpid(h->shim, NULL, 0);
    }
    h->shim = 0;
    h->shim_signaled = false;
}

void hand_close(struct hand *h)
{
    bool idle = h->pid != h->shim;
    if (h->state == HAND_COPYING)
        kill(h->copier.pid, SIGKILL);
    hand_clear(h);
    drop_shim(h, idle);
}

void launch_free(struct launch *l)
{
    char **lists[] = {l->argv, l->envp};
    for (int i = 0; i < 2; i++) {
        for (char **s = lists[i]; s && *s; s++)
            free(*s);
        free(lists[i]);
    }
    free(l->workdir);
    *l = (struct launch){0};
}

/* The note, to which a sentence is about to be added. */
static struct str *next_note(struct hand *h)
{
    if (h->note.len > 0)
        str_add(&h->note, "; ");
    return &h->note;
}

/* ---- starting ---- */

/* What a program is started with. */
struct start {
    struct launch launch;
    char **envp; /* the launch's, and ours */
    struct str socket_env, ranks_env;
    struct str dir; /* of the attempt */
    int out_fd;     /* for the program */
};

static void start_free(struct start *s)
{
    launch_free(&s->launch);
    free(s->envp);
    str_free(&s->socket_env);
    str_free(&s->ranks_env);
    str_free(&s->dir);
    close_fd(&s->out_fd);
}

static bool names(const char *var, const char *name)
{
    size_t n = strlen(name);
    return strncmp(var, name, n) == 0 && var[n] == '=';
}

static void make_envp(struct hand *h, struct start *s)
{
    size_t n = 0, k = 0;
    while (s->launch.envp[n])
        n++;
    s->envp = mem_alloc((n + 3) * sizeof(*s->envp));
    for (size_t i = 0; i < n; i++)
        if (!names(s->launch.envp[i], "RUNG_SOCKET") &&
            !names(s->launch.envp[i], RANKS_ENV))
            s->envp[k++] = s->launch.envp[i];
    s->envp[k++] = s->socket_env.p;
    if (s->launch.shimmed) {
        str_addf(&h->ranks, "%s/.exec", s->dir.p);
        str_addf(&s->ranks_env, RANKS_ENV "=%s", h->ranks.p);
        s->envp[k++] = s->ranks_env.p;
    }
}

static int make_pipe(int *ours, int *theirs, struct err *e)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_sys(e, "pipe");
    fcntl(p[1], F_SETFL, 0); /* a program does not expect EAGAIN on its output */
    *ours = p[0];
    *theirs = p[1];
    return 0;
}

static struct attempt_source source_of(const struct item *work)
{
    return (struct attempt_source){work->work.source_trial, work->work.source_attempt};
}

static int open_files(struct hand *h, struct start *s, const struct item *work,
                      struct err *e)
{
    int rc = attempt_dir_take(h->tools->dir, work->work.trial, work->work.attempt,
                              source_of(work), &s->dir, e);
    if (rc)
        return rc;
    str_add(&h->dir, s->dir.p);
    int log = attempt_log_open(s->dir.p, work->work.attempt, e);
    if (log < 0)
        return log;
    if (!h->tools->parse) {
        s->out_fd = log;
        return 0;
    }
    h->log_fd = log;
    return make_pipe(&h->out_fd, &s->out_fd, e);
}

static int open_door(struct hand *h, struct start *s, const struct item *work,
                     struct err *e)
{
    struct str path = STR_INIT;
    str_addf(&path, "%s/%016llx", h->tools->sockets,
             (unsigned long long)work->work.nonce);
    int rc = door_open(&h->door, path.p, &h->tools->conns, e);
    str_addf(&s->socket_env, "RUNG_SOCKET=%s", path.p);
    str_free(&path);
    return rc;
}

static int prepare(struct hand *h, struct start *s, const struct item *work,
                   struct err *e)
{
    const struct agent_plug *plug = h->tools->plug;
    int rc = open_files(h, s, work, e);
    if (!rc)
        rc = open_door(h, s, work, e);
    if (!rc)
        rc = plug->launch(plug->ctx, work, h->slot, s->dir.p, &s->launch, e);
    if (rc)
        return rc;
    make_envp(h, s);
    h->shimmed = s->launch.shimmed;
    str_addf(&h->program, "'%s'", s->launch.argv[0]);
    if (s->launch.workdir)
        str_addf(&h->program, " in '%s'", s->launch.workdir);
    return 0;
}

/* The child's side where the launcher starts the shims: only async-signal-safe calls, as
 * in shim.c. */
static _Noreturn void become_launcher(const struct start *s, pid_t agent)
{
    struct sigaction act = {.sa_handler = SIG_DFL};
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != agent)
        _exit(128 + SIGTERM);
    setsid();
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &act, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(s->out_fd, STDOUT_FILENO);
    dup2(s->out_fd, STDERR_FILENO);
    if (!s->launch.workdir || chdir(s->launch.workdir) == 0)
        execvpe(s->launch.argv[0], s->launch.argv, s->envp);
    _exit(127);
}

/* Forks, with the standard input and the limits that programs get. */
static pid_t fork_child(const struct hand_tools *t)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(t->null_fd, STDIN_FILENO);
        setrlimit(RLIMIT_NOFILE, &t->files);
    }
    return pid;
}

static int start_shim(struct hand *h, struct err *e)
{
    int ends[2];
    pid_t agent = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_sys(e, "socketpair");
    h->shim = fork_child(h->tools);
    if (h->shim == 0)
        _exit(shim_serve(ends[1], agent));
    close(ends[1]);
    h->shim_fd = ends[0];
    if (h->shim > 0)
        return 0;
    h->shim = 0;
    err_sys(e, "fork");
    close_fd(&h->shim_fd);
    return e->code;
}

static int start_process(struct hand *h, const struct start *s, struct err *e)
{
    const struct hand_tools *t = h->tools;
    struct shim order = {.argv = s->launch.argv,
                         .envp = s->envp,
                         .workdir = s->launch.workdir,
                         .out_fd = s->out_fd,
                         .kill_seconds = t->kill_seconds};
    pid_t agent = getpid();
    int rc = 0;
    if (s->launch.shimmed) {
        h->pid = fork_child(t);
        if (h->pid == 0)
            become_launcher(s, agent);
        return h->pid < 0 ? err_sys(e, "fork") : 0;
    }
    if (h->shim_signaled)
        drop_shim(h, true);
    /* A second one where the first died since it was last heard of. */
    for (int tries = 0; tries < 2; tries++) {
        if (h->shim == 0)
            rc = start_shim(h, e);
        if (!rc)
            rc = order_send(h->shim_fd, &order, e);
        if (!rc || h->shim == 0)
            break;
        close_fd(&h->shim_fd);
        h->shim = 0;
    }
    if (!rc)
        h->pid = h->shim;
    return rc;
}

static void cannot_launch(struct hand *h, const char *why)
{
    h->facts.cause = CAUSE_NO_LAUNCH;
    h->facts.ended = clock_wall();
    h->state = HAND_ENDED;
    str_add(next_note(h), why);
}

static void start_program(struct hand *h, const struct item *work)
{
    struct start s = {
        .socket_env = STR_INIT, .ranks_env = STR_INIT, .dir = STR_INIT, .out_fd = -1};
    struct err e = {0};
    h->state = HAND_RUNNING;
    if (prepare(h, &s, work, &e) != 0 || start_process(h, &s, &e) != 0)
        cannot_launch(h, e.text);
    start_free(&s);
}

static void start_copier(struct hand *h, const struct item *work)
{
    struct err e;
    h->state = HAND_COPYING;
    str_addn(&h->params, work->work.params.p, work->work.params.len);
    h->work = *work;
    h->work.work.params = (struct slice){h->params.p, h->params.len};
    if (copier_start(&h->copier, h->tools->dir, work->work.trial, work->work.attempt,
                     source_of(work), &e) != 0)
        cannot_launch(h, e.text);
}

static void copied(struct hand *h, int status)
{
    struct err e = {0};
    int rc = copier_ended(&h->copier, status, &e);
    if (h->ends > 0) {
        h->state = HAND_ENDED;
        h->facts.ended = clock_wall();
    } else if (rc) {
        cannot_launch(h, e.text);
    } else {
        start_program(h, &h->work);
    }
}

void hand_start(struct hand *h, const struct item *work, int slot)
{
    hand_clear(h);
    h->slot = slot;
    h->step = -1;
    h->attempt = work->work.attempt;
    h->end_at = INFINITY;
    h->facts = (struct end_facts){.exit_code = -1,
                                  .started = clock_wall(),
                                  USAGE_UNKNOWN,
                                  .node = h->tools->node,
                                  .slurm_job = h->tools->slurm_job};
    if (attempt_dir_copies(h->tools->dir, work->work.trial, work->work.attempt,
                           source_of(work)))
        start_copier(h, work);
    else
        start_program(h, work);
}

/* ---- ending ---- */

void hand_end(struct hand *h, double now)
{
    if ((h->state != HAND_RUNNING && h->state != HAND_COPYING) || h->ends > 0)
        return;
    h->ends = 1;
    if (h->state == HAND_COPYING) {
        kill(h->copier.pid, SIGKILL);
        return;
    }
    h->shim_signaled = true;
    kill(h->pid, h->shimmed ? SIGUSR2 : SIGTERM); /* the shim sees to the rest */
    if (h->shimmed)
        h->end_at = now + h->tools->kill_seconds + LAUNCHER_SECONDS;
}

void hand_save(struct hand *h)
{
    if (h->state != HAND_RUNNING || !h->tools->checkpoint_signal)
        return;
    h->shim_signaled = true;
    kill(h->pid, h->tools->checkpoint_signal);
}

void hand_secure(struct hand *h)
{
    struct err e = {0};
    if (h->secure || h->dir.len == 0 || !attempt_dir_keeps(h->dir.p))
        return;
    h->secure = true;
    if (attempt_dir_sync(h->dir.p, &e) != 0)
        str_addf(next_note(h), "a crash of its node may lose its checkpoint: %s", e.text);
}

double hand_deadline(const struct hand *h)
{
    return h->state == HAND_RUNNING ? h->end_at : INFINITY;
}

void hand_tick(struct hand *h, double now)
{
    if (now < hand_deadline(h))
        return;
    kill(h->pid, h->ends++ == 1 ? SIGTERM : SIGKILL);
    h->end_at = now + LAUNCHER_SECONDS;
}

/* ---- output ---- */

struct reader {
    struct hand *h;
    hand_printed_fn *printed;
    void *ctx;
};

static void read_line(void *ctx, const char *line, size_t n, bool cut)
{
    const struct reader *r = ctx;
    const struct metric *metrics;
    int n_metrics;
    (void)cut; /* what stands in the first 64 kB counts */
    if (parse_line(r->h->tools->parse, line, n, &r->h->step, &metrics, &n_metrics))
        r->printed(r->ctx, r->h->step, metrics, n_metrics);
}

/* A log that cannot be written does not end the program. */
static void write_log(struct hand *h, const char *data, size_t n)
{
    while (h->log_fd >= 0 && n > 0) {
        ssize_t written = write(h->log_fd, data, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            str_addf(next_note(h), "its log is incomplete: %s", strerror(errno));
            close_fd(&h->log_fd);
            return;
        }
        data += written;
        n -= (size_t)written;
    }
}

bool hand_read(struct hand *h, hand_printed_fn *printed, void *ctx)
{
    char buf[READ_SIZE];
    struct reader r = {h, printed, ctx};
    if (h->out_fd < 0)
        return false;
    ssize_t n = read(h->out_fd, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        close_fd(&h->out_fd);
        lines_finish(&h->out, read_line, &r);
        return false;
    }
    write_log(h, buf, (size_t)n);
    lines_feed(&h->out, buf, (size_t)n, PARSE_LINE_MAX, "\n\r", read_line, &r);
    return true;
}

/* ---- the end ---- */

static void take_report(struct hand *h, const struct shim_report *r)
{
    struct end_facts *f = &h->facts;
    f->exit_code = r->exit_code;
    f->signal = r->signal;
    f->oom = r->oom;
    f->cpu_seconds = r->cpu_seconds;
    f->max_rss = r->max_rss;
    if (r->exec_errno) {
        f->cause = CAUSE_NO_LAUNCH;
        str_addf(next_note(h), "cannot execute %s: %s", h->program.p,
                 strerror(r->exec_errno));
    }
    if (r->strays > 0)
        str_addf(next_note(h), "left processes behind, which were ended: %ld",
                 (long)r->strays);
}

/* What a launcher that began nothing says, if it is srun. */
static void nothing_launched(struct hand *h)
{
    struct str said = STR_INIT;
    attempt_log_said(h->dir.p, h->attempt, "srun: error: ", &said);
    h->facts.cause = CAUSE_NO_LAUNCH;
    str_addf(next_note(h), "%s started nothing", h->program.p);
    if (said.len > 0)
        str_addf(&h->note, ": %s", said.p);
    str_free(&said);
}

/* How a launcher ended, told by the reports of its ranks as far as there are any. */
static void take_ranks(struct hand *h, int status)
{
    struct ranks all;
    int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (ranks_collect(h->ranks.p, &all, NULL) == 0 && all.reported > 0) {
        take_report(h, &all.report);
        if (all.report.step >= 0) {
            snprintf(h->job_step, sizeof(h->job_step), "%ld", (long)all.report.step);
            h->facts.slurm_step = slice_of(h->job_step);
        }
        if (all.report.evicted && h->ends == 0) /* by Slurm, and no rank had failed */
            h->facts.cause = CAUSE_EVICTED;
    }
    if (all.launched == 0) {
        nothing_launched(h);
    } else if (all.reported < all.launched) {
        str_addf(next_note(h), "%d of %d ranks did not tell how they ended",
                 all.launched - all.reported, all.launched);
    }
    /* A launcher that failed where no rank did: a node is gone, say. (srun fails, too,
     * when any process was out of memory.) */
    if (h->facts.exit_code <= 0 && h->facts.signal == 0 && !h->facts.oom) {
        h->facts.exit_code = exit_code;
        h->facts.signal = sig;
    }
}

/* Nothing is left of the program: its output's end is read, and that is all. */
static void over(struct hand *h, hand_printed_fn *printed, void *ctx)
{
    struct reader reader = {h, printed, ctx};
    for (int i = 0; i < DRAIN_READS && hand_read(h, printed, ctx); i++)
        ;
    lines_finish(&h->out, read_line, &reader);
    h->pid = 0;
    h->state = HAND_ENDED;
    h->facts.ended = clock_wall();
}

void hand_heard(struct hand *h, hand_printed_fn *printed, void *ctx)
{
    struct shim_report r;
    ssize_t n = recv(h->shim_fd, &r, sizeof(r), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != sizeof(r)) { /* it is dead: hand_reaped() comes next */
        close_fd(&h->shim_fd);
        return;
    }
    over(h, printed, ctx);
    take_report(h, &r);
}

bool hand_has(const struct hand *h, pid_t pid)
{
    return pid == h->shim || (h->state == HAND_RUNNING && pid == h->pid) ||
           (h->state == HAND_COPYING && pid == h->copier.pid);
}

void hand_reaped(struct hand *h, pid_t pid, int status, hand_printed_fn *printed,
                 void *ctx)
{
    bool busy = h->state == HAND_RUNNING && pid == h->pid;
    if (h->state == HAND_COPYING && pid == h->copier.pid) {
        copied(h, status);
        return;
    }
    if (busy && h->shimmed) {
        over(h, printed, ctx);
        take_ranks(h, status);
        return;
    }
    if (busy && h->shim_fd >= 0) /* its last report may be on its way */
        hand_heard(h, printed, ctx);
    close_fd(&h->shim_fd);
    h->shim = 0;
    if (!busy || h->state == HAND_ENDED)
        return;
    over(h, printed, ctx);
    h->facts.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    str_add(next_note(h), "its shim was killed");
    h->state = HAND_CLEANING;
}

void hand_cleaned(struct hand *h)
{
    h->state = HAND_ENDED;
    h->facts.ended = clock_wall();
}

const struct end_facts *hand_facts(struct hand *h, int slot)
{
    const struct agent_plug *plug = h->tools->plug;
    const char *said = plug->spent ? plug->spent(plug->ctx, slot, &h->facts) : NULL;
    if (said)
        str_add(next_note(h), said);
    h->facts.note = (struct slice){h->note.p, h->note.len};
    return &h->facts;
}
