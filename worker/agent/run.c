/* The loop around the agent's mind. One thread, which waits for packets, signals, lines
 * from programs and printed output at once; whatever comes is told to the mind, which
 * answers through the port.
 *
 * Each attempt has a socket, named by its nonce, in a private directory. Each slot has a
 * shim, which runs its attempts one after another. A shim belongs to this thread
 * (PR_SET_PDEATHSIG): when the agent is gone, its attempts end. Should a shim be killed,
 * the agent, being a subreaper, inherits what ran under it: its children are the shims
 * and launchers it knows, and, only then, others, which are killed. */
#include "worker/agent/run.h"

#include "base/clock.h"
#include "wire/keys.h"
#include "wire/socket.h"
#include "worker/agent/hand.h"
#include "worker/agent/kin.h"
#include "worker/agent/private_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PACKETS_IN_TURN 256  /* programs want to be heard, too */
#define CLEAN_SECONDS   0.02 /* between two looks for what a killed shim left */
#define STRAYS_MAX      1024 /* killed in one look */

struct hands {
    const struct agent_setup *setup;
    struct agent *mind;
    struct hand_tools tools;
    struct hand *v; /* [slots] */
    int n;
    struct key_pair keys;
    struct socket *socket; /* NULL: no controller yet */
    int epoch;             /* that the socket leads to */
    double connected;      /* since when */
    double look_at;        /* when controller.json is read next */
    double clean_at;
    int signals; /* signalfd */
    struct pollset set;
    struct private_dir sockets;
    char slurm_job[64];
    bool done;
    int status;
};

/* ---- what the mind wants ---- */

static void port_send(void *ctx, const char *packet, size_t n)
{
    const struct hands *h = ctx;
    if (h->socket)
        socket_send(h->socket, 0, packet, n);
}

static bool port_start(void *ctx, int slot, const struct item *work)
{
    struct hands *h = ctx;
    hand_start(&h->v[slot], work, slot);
    return h->v[slot].state != HAND_COPYING;
}

static void port_end(void *ctx, int slot)
{
    struct hands *h = ctx;
    hand_end(&h->v[slot], clock_mono());
}

static void port_save(void *ctx, int slot)
{
    struct hands *h = ctx;
    hand_save(&h->v[slot]);
}

static void port_saved(void *ctx, int slot)
{
    struct hands *h = ctx;
    hand_secure(&h->v[slot]);
}

static bool port_gpus(void *ctx, int slot, struct gpu_use *out)
{
    const struct hands *h = ctx;
    const struct agent_plug *plug = &h->setup->plug;
    return plug->gpus && plug->gpus(plug->ctx, slot, out);
}

static void port_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    struct hands *h = ctx;
    if (h->v[slot].door)
        door_reply(h->v[slot].door, conn, line, n);
}

static void port_quit(void *ctx, int status, const char *why)
{
    struct hands *h = ctx;
    fprintf(stderr, "rung agent: leaves: %s\n", why);
    h->done = true;
    h->status = status;
}

static const struct agent_port port = {.send = port_send,
                                       .start = port_start,
                                       .end = port_end,
                                       .save = port_save,
                                       .saved = port_saved,
                                       .gpus = port_gpus,
                                       .reply = port_reply,
                                       .quit = port_quit};

/* ---- what programs say ---- */

struct speaker {
    struct hands *h;
    int slot;
};

static void on_line(void *ctx, uint64_t conn, const char *line, size_t n)
{
    const struct speaker *s = ctx;
    agent_line(s->h->mind, s->slot, conn, line, n, clock_mono());
}

static void on_printed(void *ctx, int64_t step, const struct metric metrics[], int n)
{
    const struct speaker *s = ctx;
    agent_printed(s->h->mind, s->slot, step, metrics, n, clock_mono());
}

/* ---- the controller ---- */

/* Is it worth another connection? To a successor; and to who is silent for so long: the
 * way to the address that was settled on may be gone, and others may lead there. */
static bool worth_connecting(const struct hands *h, const struct controller_file *f,
                             double now)
{
    double patience = h->setup->config.timers.s[TIMER_CONTROLLER_SILENT];
    if (f->epoch != h->epoch)
        return f->epoch > h->epoch;
    return agent_lost_controller(h->mind, now) && now >= h->connected + patience;
}

static void look_for_controller(struct hands *h, double now)
{
    struct controller_file f;
    struct err e;
    h->look_at = now + h->setup->config.timers.s[TIMER_CONTROLLER_LOOK];
    if (controller_file_read(h->setup->dir, &f, &e) < 0)
        return; /* not there yet, or just being replaced */
    if (controller_file_over(&f) && f.epoch >= h->epoch) {
        char why[64];
        snprintf(why, sizeof(why), "the sweep is %s", f.state);
        agent_evict(h->mind, why, now);
        return;
    }
    if (!worth_connecting(h, &f, now))
        return;
    struct socket *s;
    if (socket_connect(&s, &h->keys, f.public_key, f.address, &e) < 0) {
        fprintf(stderr, "rung agent: controller of epoch %d: %s\n", f.epoch, e.text);
        return;
    }
    socket_close(h->socket);
    h->socket = s;
    h->connected = now;
    if (f.epoch == h->epoch)
        return;
    fprintf(stderr, "rung agent: controller of epoch %d at %s\n", f.epoch, f.address);
    h->epoch = f.epoch;
    agent_controller(h->mind, f.epoch, now);
}

static int receive(struct hands *h, struct err *e)
{
    struct slice packet;
    uint64_t peer;
    int got = 0;
    for (int i = 0; h->socket && i < PACKETS_IN_TURN; i++) {
        got = socket_receive(h->socket, &peer, &packet, e);
        if (got <= 0)
            break;
        agent_packet(h->mind, packet.p, packet.len, clock_mono());
    }
    return got < 0 ? got : 0;
}

/* ---- processes and signals ---- */

static struct hand *hand_of(struct hands *h, pid_t pid)
{
    for (int i = 0; i < h->n; i++)
        if (hand_has(&h->v[i], pid))
            return &h->v[i];
    return NULL;
}

static void reap(struct hands *h)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct hand *hand = hand_of(h, pid);
        if (!hand)
            continue; /* an orphan */
        struct speaker s = {h, (int)(hand - h->v)};
        bool copied = hand->state == HAND_COPYING;
        if (hand->door)
            door_drain(hand->door, on_line, &s);
        hand_reaped(hand, pid, status, on_printed, &s);
        if (copied && hand->state == HAND_RUNNING)
            agent_started(h->mind, s.slot, clock_mono());
        if (hand->state == HAND_CLEANING)
            h->clean_at = 0;
    }
}

/* Kills the children that belong to no hand; when there are none left, those hands are
 * clean whose shims had been killed. */
static void clean(struct hands *h, double now)
{
    pid_t kin[STRAYS_MAX];
    size_t n = kin_children(getpid(), kin, STRAYS_MAX), strays = 0;
    for (size_t i = 0; i < n; i++)
        if (!hand_of(h, kin[i])) {
            kill(kin[i], SIGKILL);
            strays++;
        }
    h->clean_at = now + CLEAN_SECONDS;
    for (int i = 0; strays == 0 && i < h->n; i++)
        if (h->v[i].state == HAND_CLEANING)
            hand_cleaned(&h->v[i]);
}

static void take_signals(struct hands *h)
{
    struct signalfd_siginfo s;
    while (read(h->signals, &s, sizeof(s)) == sizeof(s))
        if (s.ssi_signo == SIGTERM) {
            fprintf(stderr, "rung agent: SIGTERM: ends what runs\n");
            agent_evict(h->mind, "SIGTERM", clock_mono());
        }
    reap(h);
}

/* SIGTERM and SIGCHLD come as reads; a terminal's signals are for the controller, which
 * tells the agents what to do. */
static int arrange_signals(struct hands *h, struct err *e)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    struct sigaction act = {.sa_handler = SIG_IGN};
    sigset_t ours;
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        sigaction(ignored[i], &act, NULL);
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ours, NULL); /* before ZeroMQ begins its threads */
    h->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    return h->signals < 0 ? err_sys(e, "signalfd") : 0;
}

/* ---- the loop ---- */

static bool any(const struct hands *h, enum hand_state state)
{
    for (int i = 0; i < h->n; i++)
        if (h->v[i].state == state)
            return true;
    return false;
}

static void watch_fd(struct pollset *set, int fd)
{
    vec_push(set, ((struct pollfd){.fd = fd, .events = POLLIN}));
}

/* Fills the pollset: signals first, then for each hand its output, door and shim. */
static void watch(struct hands *h)
{
    bool read = !agent_choked(h->mind);
    h->set.n = 0;
    watch_fd(&h->set, h->signals);
    for (int i = 0; i < h->n; i++) {
        struct hand *hand = &h->v[i];
        hand->out_at = hand->out_fd >= 0 && read ? (int)h->set.n : -1;
        if (hand->out_at >= 0)
            watch_fd(&h->set, hand->out_fd);
        if (hand->door)
            door_watch(hand->door, read, &h->set);
        hand->shim_at =
            hand->state == HAND_RUNNING && hand->shim_fd >= 0 ? (int)h->set.n : -1;
        if (hand->shim_at >= 0)
            watch_fd(&h->set, hand->shim_fd);
    }
}

static void listen_to_programs(struct hands *h)
{
    for (int i = 0; i < h->n; i++) {
        struct hand *hand = &h->v[i];
        struct speaker s = {h, i};
        if (hand->out_at >= 0 && h->set.v[hand->out_at].revents)
            hand_read(hand, on_printed, &s);
        if (hand->door)
            door_serve(hand->door, &h->set, on_line, &s);
        if (hand->shim_at >= 0 && h->set.v[hand->shim_at].revents) {
            door_drain(hand->door, on_line, &s);
            hand_heard(hand, on_printed, &s);
        }
    }
}

static void tell_ends(struct hands *h, double now)
{
    for (int i = 0; i < h->n; i++) {
        struct hand *hand = &h->v[i];
        hand_tick(hand, now);
        if (hand->state != HAND_ENDED)
            continue;
        if (hand->facts.exit_code == 0) /* after pause that says that it is saved */
            hand_secure(hand);
        const struct end_facts *facts = hand_facts(hand, i);
        const struct open_attempt *at = agent_open(h->mind, i);
        if (facts->cause == CAUSE_NO_LAUNCH && at)
            fprintf(stderr, "rung agent: trial %ld, attempt %ld: %.*s\n", (long)at->trial,
                    (long)at->attempt, (int)facts->note.len, facts->note.p);
        agent_ended(h->mind, i, facts, now);
        hand_clear(hand);
    }
}

static double seconds_to_wait(const struct hands *h)
{
    double now = clock_mono(), due = agent_deadline(h->mind);
    if (agent_wants_controller(h->mind, now))
        due = fmin(due, h->look_at);
    if (any(h, HAND_CLEANING))
        due = fmin(due, h->clean_at);
    if (any(h, HAND_ENDED))
        due = now;
    for (int i = 0; i < h->n; i++)
        due = fmin(due, hand_deadline(&h->v[i]));
    return fmax(0, fmin(due - now, 3600));
}

static int turn(struct hands *h, struct err *e)
{
    watch(h);
    int rc = socket_wait(h->socket, h->set.v, (int)h->set.n, seconds_to_wait(h), e);
    if (rc < 0)
        return rc;
    listen_to_programs(h);
    if (h->set.v[0].revents)
        take_signals(h);
    rc = receive(h, e);
    if (rc < 0)
        return rc;
    double now = clock_mono();
    if (any(h, HAND_CLEANING) && now >= h->clean_at)
        clean(h, now);
    tell_ends(h, now);
    if (now >= h->look_at && agent_wants_controller(h->mind, now))
        look_for_controller(h, now);
    agent_tick(h->mind, now);
    return 0;
}

/* ---- begin and end ---- */

/* As sacct takes it: "1234_5", "1234", or "" outside Slurm. */
static void slurm_job_name(char *name, size_t size)
{
    const char *array = getenv("SLURM_ARRAY_JOB_ID"),
               *task = getenv("SLURM_ARRAY_TASK_ID");
    const char *job = getenv("SLURM_JOB_ID");
    if (array && task)
        snprintf(name, size, "%s_%s", array, task);
    else
        snprintf(name, size, "%s", job ? job : "");
}

/* Several descriptors a slot, for many slots; programs get the limit that we had. */
static void raise_file_limit(struct hand_tools *t)
{
    if (getrlimit(RLIMIT_NOFILE, &t->files) < 0)
        return;
    struct rlimit most = {t->files.rlim_max, t->files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &most);
}

static int hands_open(struct hands *h, struct err *e)
{
    const struct agent_setup *s = h->setup;
    int rc = keys_load(s->dir, &h->keys, e);
    if (!rc && s->parse)
        rc = parse_new(s->parse, &h->tools.parse, e);
    if (!rc)
        rc = arrange_signals(h, e);
    if (rc)
        return rc;
    rc = private_dir_make(&h->sockets, e);
    if (rc)
        return rc;
    h->tools.sockets = h->sockets.path;
    h->tools.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (h->tools.null_fd < 0)
        return err_sys(e, "/dev/null");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    raise_file_limit(&h->tools);
    slurm_job_name(h->slurm_job, sizeof(h->slurm_job));
    h->tools.slurm_job = slice_of(h->slurm_job);
    for (int i = 0; i < h->n; i++)
        hand_init(&h->v[i], &h->tools);
    h->mind = agent_new(&s->config, &port, h, clock_mono());
    return 0;
}

static void hands_close(struct hands *h)
{
    for (int i = 0; h->mind && i < h->n; i++)
        hand_close(&h->v[i]);
    free(h->v);
    agent_free(h->mind);
    socket_close(h->socket);
    parse_free(h->tools.parse);
    vec_free(&h->set);
    private_dir_remove(&h->sockets);
    if (h->tools.null_fd >= 0)
        close(h->tools.null_fd);
    if (h->signals >= 0)
        close(h->signals);
}

int agent_run(const struct agent_setup *setup)
{
    struct hands h = {.setup = setup,
                      .n = setup->config.slots,
                      .v = mem_alloc((size_t)setup->config.slots * sizeof(struct hand)),
                      .signals = -1,
                      .tools = {.dir = setup->dir,
                                .plug = &setup->plug,
                                .checkpoint_signal = setup->checkpoint_signal,
                                .kill_seconds = setup->config.timers.s[TIMER_KILL],
                                .node = setup->config.host,
                                .null_fd = -1}};
    struct err e = {0};
    int rc = hands_open(&h, &e);
    while (!rc && !h.done)
        rc = turn(&h, &e);
    if (rc)
        fprintf(stderr, "rung agent: %s\n", e.text);
    hands_close(&h);
    return rc ? 1 : h.status;
}
